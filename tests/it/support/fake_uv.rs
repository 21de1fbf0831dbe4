//! A script in the place of uv, which answers from files and notes what it was asked.
//!
//! It resolves nothing: a test says what the answer is.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::Value;

use super::parents::lock_text;
use super::wheel_maker::WheelMaker;
use super::yard::Yard;

/// Answers `pip compile` with `answer.toml`, `pip install` with `changes`, `export` with `export` and `pip freeze` with
/// `freeze`, or fails where that is not there; notes requirement lines and the skeleton in `asked`, and all arguments in
/// `argv`.
const SCRIPT: &str = r#"#!/bin/sh
case "$*" in
  *--version*) echo uv 0.13.8; exit 0 ;;
esac
echo "$*" >> FOLDER/argv
case "$1 $2" in
  export*) exec /bin/cat FOLDER/export ;;
  "pip freeze") printf '# of %s\n' "$VIRTUAL_ENV"; exec /bin/cat FOLDER/freeze ;;
esac
{
  echo "== $1 $2"
  for word in "$@"; do
    case "$word" in *.txt) [ -f "$word" ] && sed 's/^/line /' "$word" ;; esac
  done
  [ "$2" = install ] && ls skeleton | sed 's/^/has /'
} >> FOLDER/asked
case "$2" in
  compile) cat FOLDER/answer.toml ;;
  install) cat FOLDER/changes >&2 ;;
esac
"#;

/// The script, and what it answers.
pub(crate) struct FakeUv<'a> {
    yard: &'a Yard,
}

impl<'a> FakeUv<'a> {
    /// Writes the script into the yard.
    pub(crate) fn new(yard: &'a Yard) -> Self {
        std::fs::create_dir_all(yard.path("uv")).unwrap();
        let fake = Self { yard };
        let folder = yard.path("uv");
        std::fs::write(folder.join("uv"), SCRIPT.replace("FOLDER", &folder.display().to_string())).unwrap();
        std::fs::set_permissions(folder.join("uv"), std::fs::Permissions::from_mode(0o755)).unwrap();
        fake.answers(&[], "");
        fake
    }

    /// The script's path.
    pub(crate) fn program(&self) -> PathBuf {
        self.yard.path("uv/uv")
    }

    /// What the next runs answer.
    pub(crate) fn answers(&self, wheels: &[&WheelMaker], changes: &str) {
        let folder = self.yard.path("uv");
        let made: Vec<(String, Vec<u8>)> = wheels.iter().map(|wheel| (wheel.filename(), wheel.build())).collect();
        std::fs::create_dir_all(folder.join("wheels")).unwrap();
        for (name, bytes) in &made {
            std::fs::write(folder.join("wheels").join(name), bytes).unwrap();
        }
        let named: Vec<(&str, &[u8])> = made.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
        let text = lock_text(&named).replace("path = \"wheels", &format!("path = \"{}/wheels", folder.display()));
        std::fs::write(folder.join("answer.toml"), text).unwrap();
        std::fs::write(folder.join("changes"), changes).unwrap();
    }

    /// What was asked since the last call.
    pub(crate) fn asked(&self) -> String {
        let path = self.yard.path("uv/asked");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let _ = std::fs::remove_file(path);
        text
    }

    /// Builds with these requirement lines and gives the only image of `--format json`.
    pub(crate) fn build(&self, store: &str, lines: &str, more: &[&str]) -> Value {
        self.yard.write("requirements.txt", lines);
        let flags = ["--format", "json", "-r", "requirements.txt"];
        let mut command = self.yard.build_command(store, &[&flags, more].concat());
        let output = command.env("LAPSTRAKE_UV", self.program()).env("PATH", "/usr/bin:/bin").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut printed: Value = serde_json::from_slice(&output.stdout).unwrap();
        printed["images"][0].take()
    }
}
