//! Root filesystems on the disk: unpacked, and entered by `chroot`.
//!
//! Needs root. Mounts are made in a mount namespace of their own, so that none is left behind.

use std::path::Path;

use crate::harness::Halt;
use crate::process::{command, done, run};
use crate::tools;

/// Mounts what a program expects, as far as this machine lets us, and goes in.
const ENTER: &str = r#"set -e; root=$1; shift
mkdir -p "$root/proc" "$root/dev"
mount -t proc proc "$root/proc" 2>/dev/null || true
mount --rbind /dev "$root/dev" 2>/dev/null || true
IFS='
'
for bind in $BINDS; do mount --bind "${bind%:*}" "$root/${bind##*:}"; done
exec chroot "$@""#;

/// Unpacks a gzipped tar over `root`.
pub(crate) fn extract(layer: &Path, root: &Path) -> Result<(), Halt> {
    std::fs::create_dir_all(root)?;
    let (layer, root) = (layer.display().to_string(), root.display().to_string());
    done("tar", ["-C", &root, "--numeric-owner", "-xpzf", &layer]).map(drop)
}

/// A gzipped tar of a root filesystem, the same for the same content.
pub(crate) fn pack_root(root: &Path, file: &Path) -> Result<(), Halt> {
    let (root, file) = (root.display().to_string(), file.display().to_string());
    let fixed = ["--sort=name", "--mtime=@0", "--numeric-owner"];
    done("tar", fixed.into_iter().chain(["-C", &root, "-czf", &file, "."])).map(drop)
}

/// Removes a root filesystem.
pub(crate) fn remove(root: &Path) -> Result<(), Halt> {
    if root.exists() {
        done("rm", ["-rf", "--one-file-system", &root.display().to_string()])?;
    }
    Ok(())
}

/// Runs a program in `root` as root, with folders of this machine mounted read and write below `root`.
pub(crate) fn chroot_with(root: &Path, mounts: &[(&Path, &str)], arguments: &[&str]) -> Result<String, Halt> {
    let bind = |(folder, at): &(&Path, &str)| format!("{}:{at}", folder.display());
    let binds = mounts.iter().map(bind).collect::<Vec<_>>().join("\n");
    chroot_as(root, "0:0", &[("BINDS", &binds)], arguments)
}

/// Runs a program in `root` as root, with nothing but `environment`, and gives stdout.
pub(crate) fn chroot(root: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Result<String, Halt> {
    chroot_as(root, "0:0", environment, arguments)
}

/// The same as `user` (`uid:gid`).
pub(crate) fn chroot_as(
    root: &Path,
    user: &str,
    environment: &[(&str, &str)],
    arguments: &[&str],
) -> Result<String, Halt> {
    tools::need(&["unshare", "chroot"])?;
    tools::need_root()?;
    let root = root.display().to_string();
    let userspec = format!("--userspec={user}");
    let start = ["--mount", "--fork", "--kill-child", "sh", "-c", ENTER, "sh", &root, &userspec, &root];
    let mut enter = command("unshare", start.iter().chain(arguments));
    enter.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    enter.env("LANG", "C.UTF-8").env("PYTHONDONTWRITEBYTECODE", "1").envs(environment.iter().copied());
    Ok(run(&mut enter)?.done()?.stdout)
}

/// Downloads the wheels of just these requirements for the parents' Python, with this machine's pip.
pub(crate) fn download_wheels(requirements: &[&str], to: &Path) -> Result<(), Halt> {
    tools::need(&["python3"])?;
    let to = to.display().to_string();
    let mut pip = command("python3", ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]);
    pip.args(["--dest", &to, "--implementation", "cp", "--python-version", "3.11", "--abi", "cp311", "--abi", "abi3"]);
    pip.args(["--abi", "none"]);
    // As pip itself would choose on glibc 2.36: the newest first.
    for platform in ["manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014", "manylinux_2_5"] {
        pip.args(["--platform", &format!("{platform}_x86_64")]);
    }
    run(pip.args(requirements))?.done().map(drop)
}
