//! A script in the place of git, which answers from files and notes what it was asked, in which environment.
//!
//! It knows no repository: a test says what the answers are.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::yard::Yard;

/// Answers `status`, `config`, `for-each-ref`, `rev-parse`, and `ls-files` by its own flags.
const SCRIPT: &str = r#"#!/bin/sh
echo "$*" >> FOLDER/argv
env >> FOLDER/environment
for word in "$@"; do
  case "$word" in
    status) name=status ;;
    config) name=config ;;
    for-each-ref) name=refs ;;
    rev-parse) name=revision ;;
    --cached) name=cached ;;
    --others) name=others ;;
    --ignored) name=ignored ;;
  esac
done
if [ -f FOLDER/refusal ]; then cat FOLDER/refusal >&2; exit 128; fi
[ -f FOLDER/$name ] || exit 1
cat FOLDER/$name
"#;

/// The script, and what it answers.
pub(crate) struct FakeGit {
    folder: PathBuf,
}

impl FakeGit {
    /// A checkout of the yard's project: commit `c0ffee…`, clean, and at `origin`.
    pub(crate) fn new(yard: &Yard) -> Self {
        let folder = yard.path("git");
        std::fs::create_dir_all(&folder).unwrap();
        let script = SCRIPT.replace("FOLDER", &folder.display().to_string());
        std::fs::write(folder.join("git"), script).unwrap();
        std::fs::set_permissions(folder.join("git"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let fake = Self { folder };
        fake.answers(
            "status",
            &format!("# branch.oid {}\0# branch.head main\0# branch.upstream origin/main\0", commit()),
        );
        fake.answers(
            "config",
            "remote.origin.url\nhttps://ci:s3cret@git.example/team/app.git\0\
             remote.origin.fetch\n+refs/heads/*:refs/remotes/origin/*\0",
        );
        fake.answers("refs", "refs/remotes/origin/main\n");
        fake.answers("revision", "false\nFETCH_HEAD\n");
        std::fs::create_dir_all(yard.project().join(".git")).unwrap();
        fake
    }

    /// What the next runs answer to one kind of question; a refusal is what git says on stderr, whatever it is asked.
    pub(crate) fn answers(&self, name: &str, answer: &str) {
        std::fs::write(self.folder.join(name), answer).unwrap();
    }

    /// Everything that it was asked, and in which environment.
    pub(crate) fn heard(&self) -> String {
        ["argv", "environment"].map(|name| std::fs::read_to_string(self.folder.join(name)).unwrap_or_default()).concat()
    }

    /// A search path that finds it first.
    pub(crate) fn path(&self) -> String {
        format!("{}:/usr/bin:/bin", self.folder.display())
    }
}

/// The commit that is checked out.
pub(crate) fn commit() -> String {
    "c0ffee".repeat(6) + "c0ff"
}
