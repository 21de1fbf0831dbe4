//! Whether a wheel that was built on this machine is usable in the image, and else why not.
//!
//! It looks at names and versions alone; the tags of a wheel built here say nothing of its C library.

use super::host_python::HostPython;
use super::request::PythonTarget;
use crate::image::filesystem::Libc;
use crate::python::filename::WheelFilename;
use crate::python::tags::CompatibleTags;

/// What keeps a wheel that `host` built out of the image: a clause without a subject.
pub(super) fn obstacle(
    wheel: &WheelFilename,
    tags: &CompatibleTags,
    target: &PythonTarget,
    host: &HostPython,
) -> Option<String> {
    let is_pure = wheel.tags.iter().all(|tag| tag.platform == "any" && tag.abi == "none");
    if is_pure && tags.fits(wheel).is_some() {
        return None;
    }
    let what = if wheel.tags.iter().any(|tag| tag.abi != "none") { "a C extension" } else { "files of one platform" };
    let machine = match target.platform.architecture.as_str() {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        other => other,
    };
    if !is_pure && host.machine != machine {
        return Some(format!("builds {what} for {}, which this machine is not", target.platform));
    }
    let version = target.version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
    if tags.fits(wheel).is_none() && host.short_version() != version {
        return Some(format!("builds {what} for Python {version}, which this machine does not have"));
    }
    let is_newer = match (host.libc, target.libc) {
        (Libc::Glibc(major, minor), Libc::Glibc(have_major, have_minor)) => (major, minor) > (have_major, have_minor),
        (Libc::Musl(..), Libc::Musl(..)) => false,
        _ => true,
    };
    if !is_pure && is_newer {
        return Some(format!("builds {what} for {} here, and the image has {}", host.libc, target.libc));
    }
    tags.why_not(wheel).map(|reason| format!("builds `{}`: {reason}", wheel_tags(wheel)))
}

fn wheel_tags(wheel: &WheelFilename) -> String {
    wheel.tags.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Platform;
    use crate::python::tags::Interpreter;

    fn why(name: &str, architecture: &str, version: (u32, u32), libc: Libc) -> Option<String> {
        let machine = if architecture == "arm64" { "aarch64" } else { "x86_64" };
        let tags = CompatibleTags::of(&Interpreter {
            implementation: "cp".into(),
            version,
            free_threaded: false,
            libc,
            machine: machine.into(),
        });
        let platform = Platform::new("linux", architecture);
        let target = PythonTarget { version: format!("{}.{}", version.0, version.1), platform, libc };
        let host = HostPython {
            path: "/usr/bin/python3".into(),
            version: "3.11.7".into(),
            machine: "x86_64".into(),
            libc: Libc::Glibc(2, 36),
            pip: None,
        };
        obstacle(&WheelFilename::parse(&format!("a-1-{name}.whl")).unwrap(), &tags, &target, &host)
    }

    #[test]
    fn pure_wheels_go_anywhere_and_others_where_this_machine_is_alike() {
        let (pure, native) = ("py3-none-any", "cp311-cp311-linux_x86_64");
        let glibc = Libc::Glibc(2, 36);
        assert_eq!(why(pure, "arm64", (3, 12), Libc::Musl(1, 2)), None);
        assert_eq!(why(native, "amd64", (3, 11), glibc), None);
        assert_eq!(why(native, "amd64", (3, 11), Libc::Glibc(2, 41)), None);
        for (name, architecture, version, libc, expected) in [
            (native, "arm64", (3, 11), glibc, "builds a C extension for linux/arm64, which this machine is not"),
            (
                "py3-none-linux_x86_64",
                "arm64",
                (3, 11),
                glibc,
                "builds files of one platform for linux/arm64, which this machine is not",
            ),
            (native, "amd64", (3, 12), glibc, "builds a C extension for Python 3.12, which this machine does not have"),
            (
                native,
                "amd64",
                (3, 11),
                Libc::Glibc(2, 31),
                "builds a C extension for glibc 2.36 here, and the image has glibc 2.31",
            ),
            (
                native,
                "amd64",
                (3, 11),
                Libc::Musl(1, 2),
                "builds a C extension for glibc 2.36 here, and the image has musl 1.2",
            ),
        ] {
            assert_eq!(why(name, architecture, version, libc).as_deref(), Some(expected));
        }
        let old = why("py2-none-any", "amd64", (3, 11), glibc).unwrap();
        assert!(old.starts_with("builds `py2-none-any`: needs py2"), "{old}");
    }
}
