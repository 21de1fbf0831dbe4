//! `apt_packages` as a segment.
//!
//! The line is the one that ZenML writes, in one form for one set of packages.

use super::segment::Segment;
use crate::oci::{Platform, Reference};

/// The segment that installs Debian packages upon `parent`, which names a digest: sorted, each once, without
/// recommended packages, and without the lists of packages, which would age in the image. `user` is whom the parent
/// runs as, by its config; root installs, and the image runs as before. `None` without packages.
pub fn apt_segment(parent: &Reference, user: &str, packages: &[String], platform: Platform) -> Option<Segment> {
    let line = apt_line(packages)?;
    let text = match user {
        "" | "root" | "0" | "0:0" | "root:root" => format!("FROM {parent}\n{line}\n"),
        user => format!("FROM {parent}\nUSER root\n{line}\nUSER {user}\n"),
    };
    Some(Segment::new(text, platform))
}

/// `RUN apt-get update && apt-get install ...`; `None` without packages.
fn apt_line(packages: &[String]) -> Option<String> {
    let mut sorted: Vec<&str> = packages.iter().map(|package| package.trim()).filter(|name| !name.is_empty()).collect();
    sorted.sort_unstable();
    sorted.dedup();
    if sorted.is_empty() {
        return None;
    }
    let quoted: Vec<String> = sorted.iter().map(|package| format!("'{}'", package.replace('\'', r"'\''"))).collect();
    Some(format!(
        "RUN apt-get update && apt-get install -y --no-install-recommends {} && apt-get clean && rm -rf /var/lib/apt/lists/*",
        quoted.join(" ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_installs_and_the_image_runs_as_before() {
        let parent = Reference::parse(&format!("a.test/x@sha256:{}", "0".repeat(64))).unwrap();
        let text = |user: &str| {
            let packages = ["git".to_owned()];
            apt_segment(&parent, user, &packages, Platform::new("linux", "amd64")).unwrap().dockerfile
        };
        assert!(!text("").contains("USER") && !text("root").contains("USER"));
        assert!(text("app:app").contains("USER root\nRUN") && text("app:app").ends_with("\nUSER app:app\n"));
    }

    #[test]
    fn one_set_of_packages_gives_one_line() {
        let line = |packages: &[&str]| apt_line(&packages.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        let expected = "RUN apt-get update && apt-get install -y --no-install-recommends 'curl' 'git=1:2.39*' \
                        && apt-get clean && rm -rf /var/lib/apt/lists/*";
        assert_eq!(line(&["git=1:2.39*", "curl"]).as_deref(), Some(expected));
        assert_eq!(line(&["curl", " git=1:2.39*", "curl", ""]).as_deref(), Some(expected));
        assert_eq!(line(&[]), None);
        assert!(line(&["a'; rm -rf /; '"]).unwrap().contains(r"'a'\''; rm -rf /; '\'''"));
    }
}
