//! `python_package_installer_args` as pip takes them.
//!
//! What names an index goes into the requirements file, which only its owner reads, since arguments are visible to the
//! whole machine. Values are not checked here: pip knows what it accepts, and its message is shown.

use super::error::ResolveError;
use super::index::has_userinfo;
use super::request::ResolveRequest;
use super::requirement;
use crate::python::lock::lexically_absolute;

/// The arguments of one resolution, sorted by how they reach pip.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PipArguments {
    /// Arguments of `pip install`.
    pub(super) all: Vec<String>,
    /// Lines that stand before the requirements; they may hold secrets.
    pub(super) lines: Vec<String>,
}

/// What happens to an argument.
enum Meaning {
    /// It says how to install, which is not pip's work here.
    Ignored,
    /// The image decides.
    Decided,
    /// A line in the requirements file.
    Line(&'static str),
    /// A path, made absolute.
    Path(&'static str),
    /// Under this name.
    Named(&'static str),
    /// As it is.
    Passed,
}

fn meaning(key: &str) -> Meaning {
    use Meaning::{Decided, Ignored, Line, Named, Passed, Path};
    match key {
        "break-system-packages"
        | "cache-dir"
        | "compile"
        | "disable-pip-version-check"
        | "no-cache-dir"
        | "no-clean"
        | "no-color"
        | "no-compile"
        | "no-input"
        | "no-warn-conflicts"
        | "no-warn-script-location"
        | "only-binary"
        | "progress-bar"
        | "q"
        | "quiet"
        | "root-user-action"
        | "user"
        | "v"
        | "verbose" => Ignored,
        "abi" | "dry-run" | "e" | "editable" | "implementation" | "platform" | "prefix" | "python"
        | "python-version" | "r" | "report" | "requirement" | "root" | "src" | "t" | "target" => Decided,
        "i" | "index-url" | "pypi-url" => Line("--index-url"),
        "extra-index-url" => Line("--extra-index-url"),
        "f" | "find-links" => Line("--find-links"),
        "trusted-host" => Line("--trusted-host"),
        "no-index" => Line("--no-index"),
        "c" | "constraint" => Path("--constraint"),
        "build-constraint" => Path("--build-constraint"),
        "default-timeout" | "timeout" => Named("--timeout"),
        "U" | "upgrade" => Named("--upgrade"),
        "I" | "ignore-installed" => Named("--ignore-installed"),
        "prerelease" => Named("--pre"),
        _ => Passed,
    }
}

impl PipArguments {
    /// Translates the arguments of `request`.
    ///
    /// # Errors
    /// Fails for an argument that the image decides, or one that would show a credential.
    pub(super) fn of(request: &ResolveRequest) -> Result<Self, ResolveError> {
        let mut found = Self::default();
        for (key, value) in &request.arguments {
            found.take(key.trim_start_matches('-'), value.as_deref(), request)?;
        }
        if request.upgrade && !found.all.iter().any(|argument| argument == "--upgrade") {
            found.all.push("--upgrade".into());
        }
        if request.offline {
            found.lines.push("--no-index".into());
        }
        Ok(found)
    }

    fn take(&mut self, key: &str, value: Option<&str>, request: &ResolveRequest) -> Result<(), ResolveError> {
        let given = value.unwrap_or_default();
        match meaning(key) {
            Meaning::Ignored => {}
            Meaning::Decided => return Err(ResolveError::Decided { argument: key.into() }),
            Meaning::Line("--no-index") => {
                self.lines.extend((given != "false").then(|| "--no-index".to_owned()));
            }
            Meaning::Line(option) => {
                for part in given.split([' ', ',']).map(str::trim).filter(|part| !part.is_empty()) {
                    let is_folder = option == "--find-links" && requirement::is_local(part);
                    let absolute = || lexically_absolute(&request.folder, part).display().to_string();
                    let part = if is_folder { absolute() } else { part.to_owned() };
                    self.lines.push(format!("{option} {part}"));
                }
            }
            Meaning::Path(option) => {
                let path = lexically_absolute(&request.folder, given).display().to_string();
                self.all.push(format!("{option}={path}"));
            }
            Meaning::Named(option) => self.all.push(spelt(option, value)),
            Meaning::Passed if has_userinfo(given) => {
                return Err(ResolveError::SecretArgument { argument: key.into() });
            }
            Meaning::Passed => self.all.push(spelt(&format!("--{key}"), value)),
        }
        Ok(())
    }
}

fn spelt(option: &str, value: Option<&str>) -> String {
    match (option, value) {
        // Switches of pip take no value.
        ("--upgrade" | "--ignore-installed" | "--pre", _) | (_, None) => option.to_owned(),
        (_, Some(value)) => format!("{option}={value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolver::request::tests::request;

    fn arguments(pairs: &[(&str, Option<&str>)]) -> Result<PipArguments, ResolveError> {
        let mut request = request("a");
        request.arguments = pairs.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned))).collect();
        PipArguments::of(&request)
    }

    #[test]
    fn indexes_become_lines_and_never_arguments() {
        let found = arguments(&[
            ("index-url", Some("https://u:s3cret@index.example/simple")),
            ("extra-index-url", Some("https://b.example/s https://c.example/s")),
            ("find-links", Some("wheels")),
            ("trusted-host", Some("index.example")),
            ("no-cache-dir", None),
            ("default-timeout", Some("60")),
            ("constraint", Some("c.txt")),
            ("no-deps", None),
            ("pre", None),
        ])
        .unwrap();
        assert_eq!(found.all, ["--constraint=/project/c.txt", "--timeout=60", "--no-deps", "--pre"]);
        let lines = [
            "--extra-index-url https://b.example/s",
            "--extra-index-url https://c.example/s",
            "--find-links /project/wheels",
            "--index-url https://u:s3cret@index.example/simple",
            "--trusted-host index.example",
        ];
        assert_eq!(found.lines, lines);
    }

    #[test]
    fn what_the_image_decides_or_what_shows_a_secret_is_refused() {
        for (key, value) in [("target", Some("/x")), ("platform", Some("any")), ("proxy", Some("http://u:p@h"))] {
            let error = arguments(&[(key, value)]).unwrap_err().to_string();
            assert!(error.contains(&format!("argument `{key}`")) && !error.contains("u:p"), "{error}");
        }
    }
}
