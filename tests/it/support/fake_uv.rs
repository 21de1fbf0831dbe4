//! A script in the place of uv, which answers from files and notes what it was asked.
//!
//! It resolves nothing: a test says what the answer is.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::parents::lock_text;
use super::readback::sha256;
use super::wheel_maker::WheelMaker;
use super::yard::{Ran, Yard};

/// Answers `pip compile` with `answer.toml`, `pip install` with `changes`, `export` with `export` and `pip freeze` with
/// `freeze`, or fails where that is not there; a lock is out of date while there is `outdated`. `sync` and `venv` make an
/// environment, the former with a project where a lock is taken as it is; `pip install --no-deps` puts one there; `run --no-project` tells of a project; notes requirement lines and the skeleton in `asked`, and all arguments in
/// `argv`. While there is an `sdist.toml`, wheels alone are no answer and it is. `build` leaves
/// the one wheel in `built`, and writes where it builds. An answer of `MADE` stands for the last file of a requirement.
const SCRIPT: &str = r#"#!/bin/sh
PATH=/usr/bin:/bin
case "$*" in
  *--version*) echo uv 0.13.8; exit 0 ;;
  "python find"*) [ -f FOLDER/python3 ] && echo FOLDER/python3; exit 0 ;;
esac
echo "$*" >> FOLDER/argv
case "$1 $2" in
  "export --format=pylock.toml")
    [ -f FOLDER/outdated ] && { echo "error: The lockfile at \`uv.lock\` needs to be updated" >&2; exit 2; }
    [ -f uv.lock ] || echo "version = 1" > uv.lock
    exec /bin/cat FOLDER/export ;;
  "pip install")
    case "$*" in
      *--no-deps*)
        site=$5/lib/python3.11/site-packages info=$5/lib/python3.11/site-packages/ferry-1.dist-info
        mkdir -p "$info" && cp src/ferry.py "$site" && printf uv > "$info/INSTALLER"
        printf 'Name: ferry\nRequires-Dist: cleat\n' > "$info/METADATA"
        printf '{"url":"file://%s","dir_info":{}}' "$PWD" > "$info/direct_url.json"
        exit 0 ;;
    esac ;;
  sync*|venv*)
    at=$UV_PROJECT_ENVIRONMENT site=$UV_PROJECT_ENVIRONMENT/lib/python3.11/site-packages
    mkdir -p "$at/bin" "$site" && ln -s lib "$at/lib64" && ln -s /usr/bin/python3 "$at/bin/python"
    ln -s python "$at/bin/python3" && ln -s python "$at/bin/python3.11"
    printf 'home = /usr/bin\nuv = 0.13.8\nversion_info = 3.9.1\ninclude-system-site-packages = false\n' > "$at/pyvenv.cfg"
    echo "VIRTUAL_ENV='$at'" > "$at/bin/activate"
    case "$*" in
      *--seed*)
        echo "seed = true" >> "$at/pyvenv.cfg" && : > "$at/bin/stray"
        mkdir "$site/pip-26.3.dist-info" "$site/setuptools-84.2.dist-info"
        echo "../../../bin/stray,," > "$site/pip-26.3.dist-info/RECORD" ;;
    esac
    [ "$1" = sync ] && : > "$at/.lock" && chmod 666 "$at/.lock"
    case "$*" in *--frozen*) echo "$PWD/src" > "$site/ferry.pth" && ls src > built.txt ;; esac
    exit 0 ;;
  export*) exec /bin/cat FOLDER/export ;;
  "run --no-project")
    [ -f build.py ] && { echo "error: the build script build.py would be run" >&2; exit 1; }
    for at in "$@"; do :; done
    mkdir -p "$at/ketch-1.dist-info" && printf 'Name: ketch\n' > "$at/ketch-1.dist-info/METADATA"
    printf '{"info": "ketch-1.dist-info", "pth": "ketch.pth", "bases": ["src"], "console": ["ketch = ketch:go"], ' > "$at/told.json"
    printf '"gui": [], "files": []}' >> "$at/told.json"
    wc -c < src/ketch/__init__.py >> FOLDER/asked
    exit 0 ;;
  "pip freeze") printf '# of %s\n' "$VIRTUAL_ENV"; exec /bin/cat FOLDER/freeze ;;
esac
if [ "$1" = build ]; then
  for word in "$@"; do
    [ "$before" = --out-dir ] && out=$word
    before=$word
  done
  if [ -d "$word" ]; then
    echo "built" $(ls "$word") >> FOLDER/asked
    mkdir "$word/build"
  else
    echo "built" $(basename "$word") >> FOLDER/asked
  fi
  [ -d FOLDER/built ] || { echo nothing to build >&2; exit 1; }
  mkdir -p "$out" && cp FOLDER/built/*.whl "$out"
  exit 0
fi
{
  echo "== $1 $2"
  for word in "$@"; do
    case "$word" in *.txt) [ -f "$word" ] && sed 's/^/line /' "$word" ;; esac
  done
  [ "$2" = install ] && ls skeleton | sed 's/^/has /'
} >> FOLDER/asked
if [ -f FOLDER/sdist.toml ]; then
  case "$*" in *--only-binary*) echo "all versions have no usable wheels" >&2; exit 1 ;; esac
fi
case "$2" in
  compile)
    if [ -f FOLDER/sdist.toml ]; then
      cat FOLDER/sdist.toml
    else
      sed "s#MADE#$(echo $PWD/made-0/*.whl)#" FOLDER/answer.toml
    fi ;;
  install) cat FOLDER/changes >&2 ;;
esac
"#;

/// Says of itself what the test says, and plays pip, which answers with `report.json`.
const PYTHON: &str = r#"#!/bin/sh
PATH=/usr/bin:/bin
case "$1" in
  -I) cat FOLDER/python.json; exit 0 ;;
esac
shift 9
echo "pip $*" >> FOLDER/asked
for word in "$@"; do
  case "$word" in *.txt) sed 's/^/line /' "$word" >> FOLDER/asked ;; esac
done
cat FOLDER/report.json
"#;

/// Knows one commit of any repository, which holds one file.
const GIT: &str = r#"#!/bin/sh
PATH=/usr/bin:/bin
echo "git $*" >> FOLDER/asked
case "$1" in
  ls-remote) printf 'COMMIT\trefs/tags/v1\n' ;;
  rev-parse) echo COMMIT ;;
  checkout) echo content > fender.txt ;;
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
        fake.script("uv", SCRIPT);
        fake.script("python3", PYTHON);
        fake.python("3.11.7", "x86_64");
        fake.answers(&[], "");
        fake
    }

    fn script(&self, name: &str, text: &str) {
        let path = self.folder().join(name);
        std::fs::write(&path, text.replace("FOLDER", &self.folder().display().to_string())).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The folder of the scripts and their answers.
    pub(crate) fn folder(&self) -> PathBuf {
        self.yard.path("uv")
    }

    /// What this machine's Python says that it is; it has no pip.
    pub(crate) fn python(&self, version: &str, machine: &str) {
        self.python_with(version, machine, &Value::Null);
    }

    fn python_with(&self, version: &str, machine: &str, pip: &Value) {
        let told = json!({"version": version, "machine": machine, "libc": "glibc 2.36", "soabi": "", "pip": pip});
        std::fs::write(self.folder().join("python.json"), told.to_string()).unwrap();
    }

    /// Gives the Python a pip of this version, which reports these wheels.
    pub(crate) fn pip(&self, version: &str, wheels: &[&WheelMaker]) {
        self.python_with("3.11.7", "x86_64", &json!([self.folder().join("pip"), version]));
        let item = |wheel: &&WheelMaker| {
            let (path, bytes) = (self.folder().join(wheel.filename()), wheel.build());
            std::fs::write(&path, &bytes).unwrap();
            let hex = sha256(&bytes).replace("sha256:", "");
            let info = json!({"hash": format!("sha256={hex}")});
            let filename = wheel.filename();
            let mut parts = filename.split('-');
            let metadata = json!({"name": parts.next(), "version": parts.next()});
            json!({
                "download_info": {"url": format!("file://{}", path.display()), "archive_info": info},
                "is_direct": false, "requested": true, "metadata": metadata,
            })
        };
        let report = json!({"version": "0", "install": wheels.iter().map(item).collect::<Vec<_>>()});
        std::fs::write(self.folder().join("report.json"), report.to_string()).unwrap();
    }

    /// Puts a git beside the scripts whose repositories have one commit.
    pub(crate) fn git(&self, commit: &str) {
        self.script("git", &GIT.replace("COMMIT", commit));
    }

    /// What the next `uv build` makes.
    pub(crate) fn builds(&self, wheel: &WheelMaker) {
        self.builds_named(&wheel.filename(), &wheel.build());
    }

    /// The same, as a file of any name and content.
    pub(crate) fn builds_named(&self, name: &str, bytes: &[u8]) {
        let folder = self.folder().join("built");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join(name), bytes).unwrap();
    }

    /// What the next runs answer: the wheel that was made for the first requirement.
    pub(crate) fn answers_made(&self, wheel: &WheelMaker) {
        let hex = sha256(&wheel.build()).replace("sha256:", "");
        let filename = wheel.filename();
        let name = filename.split('-').next().unwrap();
        let text = format!(
            "lock-version = \"1.0\"\ncreated-by = \"test\"\n[[packages]]\nname = \"{name}\"\n\
             archive = {{ path = \"MADE\", hashes = {{ sha256 = \"{hex}\" }} }}\n"
        );
        std::fs::write(self.folder().join("answer.toml"), text).unwrap();
    }

    /// What the next runs answer: a source distribution beside the scripts.
    pub(crate) fn answers_sdist(&self, filename: &str, sha256: &str) {
        let (name, rest) = filename.split_once('-').unwrap();
        let version = rest.strip_suffix(".tar.gz").unwrap();
        let (path, hex) = (self.folder().join(filename), sha256.replace("sha256:", ""));
        let text = format!(
            "lock-version = \"1.0\"\ncreated-by = \"test\"\n[[packages]]\nname = \"{name}\"\nversion = \"{version}\"\n\
             sdist = {{ path = \"{}\", hashes = {{ sha256 = \"{hex}\" }} }}\n",
            path.display()
        );
        std::fs::write(self.folder().join("sdist.toml"), text).unwrap();
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

    /// Runs a build with these requirement lines.
    pub(crate) fn run(&self, store: &str, lines: &str, more: &[&str]) -> Ran {
        self.yard.write("requirements.txt", lines);
        let flags = ["--format", "json", "-r", "requirements.txt"];
        let mut command = self.yard.build_command(store, &[&flags, more].concat());
        command.env("LAPSTRAKE_UV", self.program()).env("PATH", self.folder()).output().unwrap().into()
    }

    /// Builds with these requirement lines and gives the only image of `--format json`.
    pub(crate) fn build(&self, store: &str, lines: &str, more: &[&str]) -> Value {
        let ran = self.run(store, lines, more);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let mut printed: Value = serde_json::from_str(&ran.stdout).unwrap();
        printed["images"][0].take()
    }
}
