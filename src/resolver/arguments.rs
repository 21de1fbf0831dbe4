//! `python_package_installer_args` as uv takes them.
//!
//! What names an index goes into a settings file, since arguments are visible to the whole machine.
//! Values are not checked here: uv knows what it accepts, and its message is shown.

use std::fmt::Write as _;

use super::error::ResolveError;
use super::index::{IndexCredentials, has_userinfo, without_userinfo};
use super::request::{InstallerArguments, ResolveRequest};
use super::requirement;
use crate::python::lock::lexically_absolute;

/// The arguments of one resolution, sorted by how they reach uv.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct UvArguments {
    /// For every uv command.
    pub(super) both: Vec<String>,
    /// For `uv pip install` alone.
    pub(super) install: Vec<String>,
    /// The text of `uv.toml`; it may hold secrets.
    pub(super) settings: String,
    /// Whether the default index is replaced, so that the environment's must not win.
    pub(super) replaces_index: bool,
    /// `UV_HTTP_TIMEOUT`, in seconds.
    pub(super) timeout: Option<String>,
}

/// What happens to an argument.
enum Meaning {
    /// It says how to install, which is not uv's work here.
    Ignored,
    /// The image decides.
    Decided,
    /// A list of index URLs or folders in `uv.toml`, under this key.
    Setting(&'static str),
    /// A switch in `uv.toml`.
    Switch(&'static str),
    /// A path, made absolute.
    Path(&'static str),
    /// For `uv pip install` alone.
    Install(&'static str),
    /// In these words.
    Said(&'static [&'static str]),
    Timeout,
    NoBinary,
    /// As it is.
    Passed,
}

fn meaning(key: &str) -> Meaning {
    use Meaning::{Decided, Ignored, Install, NoBinary, Passed, Path, Said, Setting, Switch, Timeout};
    match key {
        "break-system-packages"
        | "cache-dir"
        | "compile"
        | "compile-bytecode"
        | "disable-pip-version-check"
        | "link-mode"
        | "no-build"
        | "no-cache"
        | "no-cache-dir"
        | "no-color"
        | "no-compile"
        | "no-compile-bytecode"
        | "no-input"
        | "no-progress"
        | "no-warn-conflicts"
        | "no-warn-script-location"
        | "only-binary"
        | "prefer-binary"
        | "progress-bar"
        | "q"
        | "quiet"
        | "retries"
        | "root-user-action"
        | "system"
        | "user"
        | "v"
        | "verbose" => Ignored,
        "abi" | "dry-run" | "e" | "editable" | "format" | "implementation" | "o" | "output-file" | "output-format"
        | "p" | "platform" | "prefix" | "python" | "python-platform" | "python-version" | "r" | "report"
        | "requirement" | "requirements" | "root" | "t" | "target" | "universal" => Decided,
        "i" | "index-url" | "default-index" => Setting("index-url"),
        "extra-index-url" | "index" => Setting("extra-index-url"),
        "f" | "find-links" => Setting("find-links"),
        "allow-insecure-host" | "trusted-host" => Setting("allow-insecure-host"),
        "no-index" => Switch("no-index"),
        "c" | "constraint" | "constraints" => Path("--constraint"),
        "override" | "overrides" => Path("--override"),
        "b" | "build-constraint" | "build-constraints" => Path("--build-constraint"),
        "U" | "upgrade" => Install("--upgrade"),
        "upgrade-package" => Install("--upgrade-package"),
        "force-reinstall" | "ignore-installed" | "reinstall" => Install("--reinstall"),
        "reinstall-package" => Install("--reinstall-package"),
        "exact" => Install("--exact"),
        "no-verify-hashes" => Install("--no-verify-hashes"),
        "require-hashes" => Install("--require-hashes"),
        "verify-hashes" => Install("--verify-hashes"),
        "strict" => Install("--strict"),
        "pre" => Said(&["--prerelease", "allow"]),
        "default-timeout" | "timeout" => Timeout,
        "no-binary" => NoBinary,
        _ => Passed,
    }
}

impl UvArguments {
    /// Translates the arguments of `request`.
    ///
    /// # Errors
    /// Fails for an argument that the image decides, or one that would show a credential.
    pub(super) fn of(request: &ResolveRequest) -> Result<Self, ResolveError> {
        let mut found = Self::default();
        for (key, value) in &request.arguments {
            found.take(key.trim_start_matches('-'), value.as_deref(), request)?;
        }
        if request.upgrade && !found.install.iter().any(|argument| argument == "--upgrade") {
            found.install.push("--upgrade".into());
        }
        Ok(found)
    }

    fn take(&mut self, key: &str, value: Option<&str>, request: &ResolveRequest) -> Result<(), ResolveError> {
        let given = value.unwrap_or_default();
        match meaning(key) {
            Meaning::Ignored => {}
            Meaning::Decided => return Err(ResolveError::Decided { argument: key.into() }),
            Meaning::Setting(setting) => self.set(setting, given, request),
            Meaning::Switch(setting) if given != "false" => {
                let _ = writeln!(self.settings, "{setting} = true");
            }
            Meaning::Switch(_) => {}
            Meaning::Path(option) => {
                let path = lexically_absolute(&request.folder, given).display().to_string();
                self.both.extend([option.to_owned(), path]);
            }
            Meaning::Install(option) => self.install.push(spelt(option, value)),
            Meaning::Said(words) => self.both.extend(words.iter().map(|word| (*word).to_owned())),
            Meaning::Timeout => self.timeout = Some(given.to_owned()),
            Meaning::NoBinary if given.is_empty() => self.both.push("--no-binary=:all:".to_owned()),
            Meaning::NoBinary | Meaning::Passed => {
                if has_userinfo(given) {
                    return Err(ResolveError::SecretArgument { argument: key.into() });
                }
                self.both.push(spelt(&format!("--{key}"), value));
            }
        }
        Ok(())
    }

    fn set(&mut self, setting: &str, given: &str, request: &ResolveRequest) {
        let values = listed(setting, given, request);
        self.replaces_index |= setting == "index-url";
        let quoted: Vec<String> = values.into_iter().map(|value| toml::Value::String(value).to_string()).collect();
        let _ = match (setting, quoted.as_slice()) {
            ("index-url", [first, ..]) => writeln!(self.settings, "{setting} = {first}"),
            ("index-url", []) => Ok(()),
            _ => writeln!(self.settings, "{setting} = [{}]", quoted.join(", ")),
        };
    }
}

fn spelt(option: &str, value: Option<&str>) -> String {
    value.map_or_else(|| option.to_owned(), |value| format!("{option}={value}"))
}

/// The values of a list: URLs are parted by commas or spaces, paths by commas.
fn listed(setting: &str, given: &str, request: &ResolveRequest) -> Vec<String> {
    let mut values = Vec::new();
    for part in given.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        if setting == "find-links" && requirement::is_local(part) {
            values.push(lexically_absolute(&request.folder, part).display().to_string());
        } else {
            values.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    values
}

/// The index URLs that a resolution uses, userinfo and all: from arguments, requirement files and the environment.
pub(super) fn index_urls(request: &ResolveRequest) -> Vec<String> {
    let mut urls = Vec::new();
    for (key, value) in &request.arguments {
        if let Meaning::Setting("index-url" | "extra-index-url" | "find-links") = meaning(key.trim_start_matches('-')) {
            urls.extend(listed("index-url", value.as_deref().unwrap_or_default(), request));
        }
    }
    let options = ["--index-url", "-i", "--extra-index-url", "--find-links", "-f"];
    for file in request.requirements.iter().chain(&request.constraints) {
        let lines = requirement::logical_lines(&file.text);
        urls.extend(requirement::option_values(&lines, &options).into_iter().map(str::to_owned));
        urls.extend(requirement::places(&lines).map(str::to_owned));
    }
    for name in [
        "UV_DEFAULT_INDEX",
        "UV_INDEX_URL",
        "UV_EXTRA_INDEX_URL",
        "UV_INDEX",
        "UV_FIND_LINKS",
        "PIP_INDEX_URL",
        "PIP_EXTRA_INDEX_URL",
        "PIP_FIND_LINKS",
    ] {
        let value = request.environment.value(name).unwrap_or_default();
        urls.extend(value.split([' ', ',']).map(|index| unnamed(index).1.to_owned()));
    }
    urls.retain(|url| url.contains("://"));
    urls
}

/// The credentials of all indexes of `request`: userinfo, and `UV_INDEX_NAME_USERNAME` and `_PASSWORD`.
///
/// A netrc file is added by the caller, which can read it.
pub fn index_credentials(request: &ResolveRequest) -> IndexCredentials {
    let mut credentials = IndexCredentials::default();
    for url in index_urls(request) {
        credentials.add_url(&url);
    }
    for variable in ["UV_DEFAULT_INDEX", "UV_INDEX"] {
        for index in request.environment.value(variable).unwrap_or_default().split_whitespace() {
            let (Some(name), url) = unnamed(index) else { continue };
            let name = name.to_ascii_uppercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
            let part = |what: &str| request.environment.value(&format!("UV_INDEX_{name}_{what}")).unwrap_or_default();
            if let Ok(url) = url::Url::parse(url) {
                credentials.add(url, part("USERNAME"), part("PASSWORD"));
            }
        }
    }
    credentials
}

/// `name=url` in its parts.
fn unnamed(index: &str) -> (Option<&str>, &str) {
    match index.split_once('=') {
        Some((name, url)) if !name.contains([':', '/']) => (Some(name), url),
        _ => (None, index),
    }
}

/// The arguments without secrets, for a key.
pub(super) fn without_secrets(arguments: &InstallerArguments) -> InstallerArguments {
    let clean = |value: &String| value.split([' ', ',']).map(without_userinfo).collect::<Vec<_>>().join(" ");
    let is_meant = |key: &str| !matches!(meaning(key.trim_start_matches('-')), Meaning::Ignored | Meaning::Timeout);
    let kept = arguments.iter().filter(|(key, _)| is_meant(key));
    kept.map(|(key, value)| (key.clone(), value.as_ref().map(clean))).collect()
}

/// Whether an argument names a folder of this machine, whose content no key can cover.
pub(super) fn names_a_folder(arguments: &InstallerArguments) -> bool {
    arguments.iter().any(|(key, value)| match meaning(key.trim_start_matches('-')) {
        Meaning::Setting("find-links" | "index-url" | "extra-index-url") => {
            let given = value.as_deref().unwrap_or_default();
            given.contains("file:") || given.split(',').any(requirement::is_local)
        }
        Meaning::Path(_) => true,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolver::request::tests::request;

    fn arguments(pairs: &[(&str, Option<&str>)]) -> ResolveRequest {
        let mut request = request("a");
        let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned)));
        request.arguments = pairs.collect();
        request
    }

    #[test]
    fn indexes_go_into_the_settings_file_and_never_among_the_arguments() {
        let request = arguments(&[
            ("index-url", Some("https://u:s3cret@index.example/simple")),
            ("extra-index-url", Some("https://t@b.example/s https://c.example/s")),
            ("find-links", Some("wheels, /abs")),
            ("no-index", None),
            ("no-cache-dir", None),
            ("pre", None),
            ("resolution", Some("lowest")),
            ("upgrade", None),
            ("constraint", Some("c.txt")),
            ("default-timeout", Some("60")),
        ]);
        let found = UvArguments::of(&request).unwrap();
        assert_eq!(found.both, ["--constraint", "/project/c.txt", "--prerelease", "allow", "--resolution=lowest"]);
        assert_eq!(found.install, ["--upgrade"]);
        assert_eq!(found.timeout.as_deref(), Some("60"));
        assert!(found.replaces_index);
        let lines: Vec<&str> = found.settings.lines().collect();
        assert_eq!(
            lines,
            [
                "extra-index-url = [\"https://t@b.example/s\", \"https://c.example/s\"]",
                "find-links = [\"/project/wheels\", \"/abs\"]",
                "index-url = \"https://u:s3cret@index.example/simple\"",
                "no-index = true",
            ]
        );
        let clean = format!("{:?}", without_secrets(&request.arguments));
        assert!(!clean.contains("s3cret") && !clean.contains("no-cache-dir"), "{clean}");
        assert!(names_a_folder(&request.arguments));
    }

    #[test]
    fn arguments_that_the_image_decides_or_that_show_a_secret_are_refused() {
        for (key, value, expected) in [
            ("target", Some("/x"), "argument `target`"),
            ("python-version", Some("3.9"), "argument `python-version`"),
            ("proxy", Some("http://u:p@h"), "argument `proxy`"),
        ] {
            let error = UvArguments::of(&arguments(&[(key, value)])).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("u:p"), "{error}");
        }
    }

    #[test]
    fn credentials_are_found_in_arguments_files_and_environment() {
        let mut request = arguments(&[("index-url", Some("https://a:1@a.example/s"))]);
        request.requirements[0].text =
            "--extra-index-url https://b:2@b.example/s\nx @ https://e:5@e.example/x.whl".into();
        let variables = [
            ("UV_EXTRA_INDEX_URL", "https://c:3@c.example/s"),
            ("UV_INDEX", "my-own=https://d.example/s"),
            ("UV_INDEX_MY_OWN_USERNAME", "d"),
            ("UV_INDEX_MY_OWN_PASSWORD", "4"),
        ];
        for (name, value) in variables {
            request.environment = request.environment.with(name, value);
        }
        let credentials = index_credentials(&request);
        for (host, password) in [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "5")] {
            let url = url::Url::parse(&format!("https://{host}.example/f.whl")).unwrap();
            assert_eq!(credentials.for_url(&url).unwrap().password(), password, "{host}");
        }
    }
}
