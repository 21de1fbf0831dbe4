//! What the package `virtualenv` makes: folders, links, `pyvenv.cfg`, and scripts out of the templates in its wheel.
//!
//! A description alone, of the versions whose files were looked at: which scripts there are and what they say tells the
//! wheel, the rest a few versions from which something is otherwise. The pip that it brings is not part of it.

use super::virtual_environment::{EnvironmentEntry, PythonVersion};
use crate::diagnostic::Diagnose;
use crate::oci::Digest;

/// Why an environment cannot be described, as a clause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VirtualenvError {
    /// The version's files were not looked at.
    #[error("what virtualenv {version} makes is not known")]
    Version {
        /// The version.
        version: String,
    },
    /// The same of the interpreter's.
    #[error("what virtualenv makes for Python {major}.{minor} is not known")]
    Python {
        /// Its major version.
        major: u32,
        /// Its minor version.
        minor: u32,
    },
    /// A path or prompt that scripts would quote.
    #[error("its folder or prompt has characters that scripts quote")]
    Quoted,
    /// The wheel is not as those that were looked at.
    #[error("virtualenv's wheel has no `{path}` as it was known")]
    Template {
        /// The file.
        path: String,
    },
}

impl Diagnose for VirtualenvError {}

/// How an environment is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Virtualenv {
    /// Its folder, absolute and without `..`.
    pub folder: String,
    /// The interpreter with all links followed: `/usr/local/bin/python3.11`.
    pub executable: String,
    /// Its version.
    pub python: PythonVersion,
    /// The version of `virtualenv`.
    pub version: String,
    /// What the prompt says.
    pub prompt: String,
    /// The interpreter that virtualenv itself is run by, as it is called: `/usr/local/bin/python3`.
    pub run_by: String,
}

/// A version's three numbers.
type Version = (u32, u32, u32);

/// The first and the last version that was looked at.
const OLDEST: Version = (20, 28, 0);
const NEWEST: Version = (21, 15, 8);
/// `pyvenv.cfg` says the command and quotes the prompt, and there is a folder for headers.
const SAYS_COMMAND: Version = (20, 38, 0);
/// The module that undoes settings of distutils is for Python 3.9 alone.
const WITHOUT_MODULE: Version = (21, 6, 0);
/// `pyvenv.cfg` says `python-version`.
const SAYS_PYTHON: Version = (21, 12, 0);
/// Everything is quoted for fish, and for the C shell.
const FISH_QUOTED: Version = (21, 14, 2);
const C_SHELL_QUOTED: Version = (21, 14, 9);
/// The modules that make an environment, below the package.
const MAKERS: [&str; 28] = [
    "activation/activator.py",
    "activation/bash/__init__.py",
    "activation/batch/__init__.py",
    "activation/cshell/__init__.py",
    "activation/fish/__init__.py",
    "activation/nushell/__init__.py",
    "activation/powershell/__init__.py",
    "activation/python/__init__.py",
    "activation/via_template.py",
    "activation/xonsh/__init__.py",
    "create/creator.py",
    "create/describe.py",
    "create/pyenv_cfg.py",
    "create/via_global_ref/api.py",
    "create/via_global_ref/builtin/builtin_way.py",
    "create/via_global_ref/builtin/cpython/common.py",
    "create/via_global_ref/builtin/cpython/cpython3.py",
    "create/via_global_ref/builtin/ref.py",
    "create/via_global_ref/builtin/via_global_self_do.py",
    "run/__init__.py",
    "run/session.py",
    "seed/embed/base_embed.py",
    "seed/embed/via_app_data/pip_install/base.py",
    "seed/embed/via_app_data/pip_install/copy.py",
    "seed/embed/via_app_data/pip_install/symlink.py",
    "seed/embed/via_app_data/via_app_data.py",
    "seed/wheels/bundle.py",
    "util/text.py",
];
/// The list of activators and creators, in the wheel's dist-info.
const ENTRY_POINTS: &str = "entry_points.txt";
/// What these come to in the last version; one that has the same makes the same.
const MADE_BY: &str = "7ba1c68182115147c641b2b93fc7541997178fb8e065c27d863eeb1f6648487e";
const ALWAYS: Version = (0, 0, 0);
const NEVER: Version = (u32::MAX, 0, 0);

/// A script and what it is made of.
struct Script {
    template: &'static str,
    name: &'static str,
    /// Whether it came with a later version.
    is_newer: bool,
    quotes: Quotes,
}

#[derive(Clone, Copy)]
enum Quotes {
    /// Single ones from a version on; before it those of a shell, which leaves a plain value as it is.
    SingleFrom(Version),
    Nu,
}

const SCRIPTS: [Script; 8] = [
    script("bash/activate.sh", "activate", false, Quotes::SingleFrom(NEVER)),
    script("cshell/activate.csh", "activate.csh", false, Quotes::SingleFrom(C_SHELL_QUOTED)),
    script("cshell/deactivate.csh", "deactivate.csh", true, Quotes::SingleFrom(C_SHELL_QUOTED)),
    script("fish/activate.fish", "activate.fish", false, Quotes::SingleFrom(FISH_QUOTED)),
    script("nushell/activate.nu", "activate.nu", false, Quotes::Nu),
    script("powershell/activate.ps1", "activate.ps1", false, Quotes::SingleFrom(ALWAYS)),
    script("python/activate_this.py", "activate_this.py", false, Quotes::SingleFrom(ALWAYS)),
    script("xonsh/activate.xsh", "activate.xsh", true, Quotes::SingleFrom(ALWAYS)),
];

const fn script(template: &'static str, name: &'static str, is_newer: bool, quotes: Quotes) -> Script {
    Script { template, name, is_newer, quotes }
}

/// The templates' folder in the wheel, the module that is put into environments, and the list of what is brought.
const TEMPLATES: &str = "virtualenv/activation";
const MODULE: &str = "virtualenv/create/via_global_ref/_virtualenv.py";
const BUNDLED: &str = "virtualenv/seed/wheels/embed";

const CACHE_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # This file is a cache directory tag created by Python virtualenv.\n\
    # For information about cache directory tags, see:\n#   https://bford.info/cachedir/";

impl Virtualenv {
    /// All that is made, folders before what is in them; `read` gives the text of a file of virtualenv's wheel.
    ///
    /// # Errors
    /// Fails for versions that are not known, for text that scripts would quote, and for a wheel that is another.
    pub fn entries(&self, read: &dyn Fn(&str) -> Option<String>) -> Result<Vec<EnvironmentEntry>, VirtualenvError> {
        let version = self.check(read)?;
        let (major, minor, _) = self.python;
        let python = format!("python{major}.{minor}");
        let site = format!("lib/{python}/site-packages");
        let template = |path: &str| read(path).ok_or_else(|| VirtualenvError::Template { path: path.to_owned() });
        let folder = |path: &str| EnvironmentEntry::Folder(path.to_owned());
        let link =
            |path: &str, target: &str| EnvironmentEntry::Link { path: path.to_owned(), target: target.to_owned() };
        let file = |path: String, text: String| EnvironmentEntry::File { path, text };
        let mut entries = vec![folder("bin"), folder("lib"), folder(&format!("lib/{python}")), folder(&site)];
        entries.extend((version >= SAYS_COMMAND).then(|| folder("include")));
        entries.push(link("bin/python", &self.executable));
        entries.extend([format!("python{major}"), python].map(|name| link(&format!("bin/{name}"), "python")));
        entries.push(file("pyvenv.cfg".into(), self.configuration(version)));
        entries.push(file(".gitignore".into(), "# created by virtualenv automatically\n*\n".into()));
        entries.push(file("CACHEDIR.TAG".into(), CACHE_TAG.into()));
        if version < WITHOUT_MODULE || minor < 10 {
            entries.push(file(format!("{site}/_virtualenv.pth"), "import _virtualenv".into()));
            let module = template(MODULE)?.replace("\"__SCRIPT_DIR__\"", "'../../../bin'");
            entries.push(file(format!("{site}/_virtualenv.py"), module));
        }
        for script in &SCRIPTS {
            let path = format!("{TEMPLATES}/{}", script.template);
            let text = match template(&path) {
                Ok(text) => self.script(&text, |value| script.quotes.around(value, version)),
                Err(_) if script.is_newer => continue,
                Err(error) => return Err(error),
            };
            if text.contains("__VIRTUAL_") || text.contains("_LIBRARY__") {
                return Err(VirtualenvError::Template { path });
            }
            // Those of PowerShell begin with a mark of their encoding.
            let mark = if script.name.ends_with(".ps1") { "\u{feff}" } else { "" };
            entries.push(file(format!("bin/{}", script.name), format!("{mark}{text}")));
        }
        Ok(entries)
    }

    /// Whether a `.venv` that names the environment is put beside it, where a project lies there that has none.
    pub fn is_pointed_to(&self) -> bool {
        numbers(&self.version).is_none_or(|version| version >= SAYS_PYTHON) && !self.folder.ends_with("/.venv")
    }

    /// The file in virtualenv's wheel that is the pip for this Python.
    ///
    /// # Errors
    /// Fails when the list of what is brought does not tell.
    pub fn bundled_pip(&self, read: &dyn Fn(&str) -> Option<String>) -> Result<String, VirtualenvError> {
        let list = format!("{BUNDLED}/__init__.py");
        let (major, minor, _) = self.python;
        let text = read(&list);
        let found = text.as_deref().and_then(|text| {
            let (_, of_python) = text.split_once(&format!("\"{major}.{minor}\": {{"))?;
            let (of_python, _) = of_python.split_once('}')?;
            let (_, name) = of_python.split_once("\"pip\": \"")?;
            Some(name.split_once('"')?.0.to_owned())
        });
        let is_pip = |name: &String| name.starts_with("pip-") && name.ends_with("-py3-none-any.whl");
        match found.filter(is_pip) {
            Some(name) => Ok(format!("{BUNDLED}/{name}")),
            None => Err(VirtualenvError::Template { path: list }),
        }
    }

    fn check(&self, read: &dyn Fn(&str) -> Option<String>) -> Result<Version, VirtualenvError> {
        let is_known =
            |version: &Version| *version >= OLDEST && (*version <= NEWEST || self.made_by(read).hex() == MADE_BY);
        let version = numbers(&self.version).filter(is_known);
        let version = version.ok_or_else(|| VirtualenvError::Version { version: self.version.clone() })?;
        let (major, minor, _) = self.python;
        if major != 3 || !(9..=13).contains(&minor) {
            return Err(VirtualenvError::Python { major, minor });
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_@+=:,./-".contains(c);
        let are_plain = [&self.folder, &self.prompt].iter().all(|text| !text.is_empty() && text.chars().all(is_plain));
        if are_plain && !self.folder.contains(':') { Ok(version) } else { Err(VirtualenvError::Quoted) }
    }

    /// What the modules of this wheel come to.
    fn made_by(&self, read: &dyn Fn(&str) -> Option<String>) -> Digest {
        let mut bytes = Vec::new();
        let points = format!("virtualenv-{}.dist-info/{ENTRY_POINTS}", self.version);
        let modules = MAKERS.iter().map(|name| (*name, format!("virtualenv/{name}")));
        for (name, path) in modules.chain([(ENTRY_POINTS, points)]) {
            let text = read(&path).unwrap_or_default();
            bytes.extend(format!("{name} {}\n{text}", text.len()).into_bytes());
        }
        Digest::of(&bytes)
    }

    fn configuration(&self, version: Version) -> String {
        let Self { executable, python: (major, minor, micro), prompt, .. } = self;
        let home = executable.rsplit_once('/').map_or("", |(home, _)| home);
        let prefix = home.rsplit_once('/').map_or("", |(prefix, _)| prefix);
        let mut lines = vec![format!("home = {home}"), "implementation = CPython".into()];
        lines.extend((version >= SAYS_PYTHON).then(|| format!("python-version = {major}.{minor}")));
        lines.push(format!("version_info = {major}.{minor}.{micro}.final.0"));
        if version >= SAYS_COMMAND {
            lines.push(format!("version = {major}.{minor}.{micro}"));
            lines.push(format!("executable = {executable}"));
            lines.push(format!("command = {} -m virtualenv {}", self.run_by, self.folder));
        }
        lines.push(format!("virtualenv = {}", self.version));
        lines.extend((version >= SAYS_COMMAND).then(|| format!("prompt = \"{prompt}\"")));
        lines.push("include-system-site-packages = false".into());
        lines.extend(["base-prefix", "base-exec-prefix"].map(|key| format!("{key} = {prefix}")));
        lines.push(format!("base-executable = {executable}"));
        lines.extend((version < SAYS_COMMAND).then(|| format!("prompt = {prompt}")));
        lines.join("\n") + "\n"
    }

    fn script(&self, template: &str, quoted: impl Fn(&str) -> String) -> String {
        let (major, minor, _) = self.python;
        let name = self.folder.rsplit('/').next().unwrap_or_default();
        let site = format!("../lib/python{major}.{minor}/site-packages");
        // What a prompt shows is in quotes whatever else is.
        let shown = format!("'{}'", self.prompt);
        let shown = ["TCSH", "PLAIN"].map(|shell| (format!("__VIRTUAL_PROMPT_DISPLAY_{shell}__"), shown.clone()));
        // In the order in which virtualenv puts them in. Tcl's folders are told by a variable, which is refused.
        let values = [
            ("__VIRTUAL_PROMPT__", self.prompt.as_str()),
            ("__VIRTUAL_ENV__", &self.folder),
            ("__VIRTUAL_NAME__", name),
            ("__BIN_NAME__", "bin"),
            ("__PATH_SEP__", ":"),
            ("__LIB_FOLDERS__", &site),
            ("__DECODE_PATH__", ""),
            ("__TCL_LIBRARY__", ""),
            ("__TK_LIBRARY__", ""),
        ];
        let values = values.into_iter().map(|(key, value)| (key.to_owned(), quoted(value)));
        shown.into_iter().chain(values).fold(template.to_owned(), |text, (key, value)| text.replace(&key, &value))
    }
}

impl Quotes {
    /// A value of plain characters as the language of a script has it.
    fn around(self, value: &str, version: Version) -> String {
        match self {
            Self::Nu => format!("r#'{value}'#"),
            Self::SingleFrom(first) if version < first && !value.is_empty() => value.to_owned(),
            Self::SingleFrom(_) => format!("'{value}'"),
        }
    }
}

/// A version that has three numbers and nothing else.
fn numbers(version: &str) -> Option<Version> {
    let numbers: Option<Vec<u32>> = version.split('.').map(|number| number.parse().ok()).collect();
    match numbers?.as_slice() {
        [first, second, third] => Some((*first, *second, *third)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Virtualenv {
        Virtualenv {
            folder: "/app/.venv".into(),
            executable: "/usr/local/bin/python3.11".into(),
            python: (3, 11, 7),
            version: "20.32.0".into(),
            prompt: "ledger-py3.11".into(),
            run_by: "/opt/poetry/bin/python".into(),
        }
    }

    fn read(path: &str) -> Option<String> {
        let text = match path.rsplit('/').next()? {
            "deactivate.csh" | "activate.xsh" => return None,
            "_virtualenv.py" => "dir = \"__SCRIPT_DIR__\"",
            "__init__.py" => {
                "\"3.10\": {\n \"pip\": \"x\"},\n\"3.11\": {\n \"pip\": \"pip-25.1.1-py3-none-any.whl\",\n }"
            }
            "activate_this.py" => "__LIB_FOLDERS__ __BIN_NAME__ __VIRTUAL_PROMPT__",
            _ => "__VIRTUAL_ENV__ __BIN_NAME__ __VIRTUAL_PROMPT__",
        };
        Some(text.to_owned())
    }

    fn shown(made: &Virtualenv, read: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
        let entries = made.entries(read).unwrap().into_iter().map(|entry| match entry {
            EnvironmentEntry::Folder(path) => format!("{path}/"),
            EnvironmentEntry::Link { path, target } => format!("{path} -> {target}"),
            EnvironmentEntry::File { path, text } => format!("{path}: {text}"),
        });
        entries.collect()
    }

    #[test]
    fn an_environment_has_what_virtualenv_makes() {
        let configuration = "pyvenv.cfg: home = /usr/local/bin\nimplementation = CPython\n\
            version_info = 3.11.7.final.0\nvirtualenv = 20.32.0\ninclude-system-site-packages = false\n\
            base-prefix = /usr/local\nbase-exec-prefix = /usr/local\nbase-executable = /usr/local/bin/python3.11\n\
            prompt = ledger-py3.11\n";
        let tag = format!("CACHEDIR.TAG: {CACHE_TAG}");
        let expected = [
            "bin/",
            "lib/",
            "lib/python3.11/",
            "lib/python3.11/site-packages/",
            "bin/python -> /usr/local/bin/python3.11",
            "bin/python3 -> python",
            "bin/python3.11 -> python",
            configuration,
            ".gitignore: # created by virtualenv automatically\n*\n",
            &tag,
            "lib/python3.11/site-packages/_virtualenv.pth: import _virtualenv",
            "lib/python3.11/site-packages/_virtualenv.py: dir = '../../../bin'",
            "bin/activate: /app/.venv bin ledger-py3.11",
            "bin/activate.csh: /app/.venv bin ledger-py3.11",
            "bin/activate.fish: /app/.venv bin ledger-py3.11",
            "bin/activate.nu: r#'/app/.venv'# r#'bin'# r#'ledger-py3.11'#",
            "bin/activate.ps1: \u{feff}'/app/.venv' 'bin' 'ledger-py3.11'",
            "bin/activate_this.py: '../lib/python3.11/site-packages' 'bin' 'ledger-py3.11'",
        ];
        assert_eq!(shown(&asked(), &read), expected);
        let pip = "virtualenv/seed/wheels/embed/pip-25.1.1-py3-none-any.whl";
        assert_eq!(asked().bundled_pip(&read).as_deref(), Ok(pip));
    }

    #[test]
    fn later_versions_make_what_they_are_known_for() {
        let newer = |path: &str| {
            let shown = "__VIRTUAL_PROMPT_DISPLAY_TCSH__ [__TCL_LIBRARY__] __VIRTUAL_NAME__";
            if path.contains("activation") { Some(shown.to_owned()) } else { read(path) }
        };
        let has = |version: &str, python: (u32, u32, u32), line: &str| {
            let made = Virtualenv { version: version.into(), python, ..asked() };
            shown(&made, &newer).iter().any(|own| own == line || own.lines().any(|own| own == line))
        };
        let of_311 = (3, 11, 7);
        for (line, before, from) in [
            ("include/", "20.36.1", "20.38.0"),
            ("command = /opt/poetry/bin/python -m virtualenv /app/.venv", "20.36.1", "20.38.0"),
            ("prompt = \"ledger-py3.11\"", "20.36.1", "20.38.0"),
            ("version = 3.11.7", "20.36.1", "20.38.0"),
            ("python-version = 3.11", "21.11.1", "21.12.0"),
            ("bin/activate.fish: 'ledger-py3.11' [''] '.venv'", "21.14.1", "21.14.2"),
            ("bin/activate.csh: 'ledger-py3.11' [''] '.venv'", "21.14.8", "21.14.9"),
        ] {
            assert!(!has(before, of_311, line) && has(from, of_311, line), "{line}");
        }
        let module = "lib/python3.11/site-packages/_virtualenv.pth: import _virtualenv";
        assert!(has("21.5.2", of_311, module) && !has("21.6.0", of_311, module));
        assert!(has("21.15.8", (3, 9, 18), &module.replace("3.11", "3.9")));
        assert!(has("21.15.8", of_311, "bin/activate: 'ledger-py3.11' [''] .venv"));
        assert!(has("21.15.8", of_311, "bin/deactivate.csh: 'ledger-py3.11' [''] '.venv'"));
        let elsewhere = |version: &str| Virtualenv { version: version.into(), folder: "/e/a".into(), ..asked() };
        assert!(elsewhere("21.12.0").is_pointed_to() && !elsewhere("21.11.1").is_pointed_to());
        assert!(!Virtualenv { version: "21.15.8".into(), ..asked() }.is_pointed_to());
    }

    #[test]
    fn a_newer_version_is_known_by_its_modules_alone() {
        let newer = Virtualenv { version: "21.16.0".into(), ..asked() };
        let one = |text: &'static str| move |path: &str| path.ends_with("creator.py").then(|| text.to_owned());
        assert_ne!(newer.made_by(&one("a")), newer.made_by(&one("b")));
        let points = |path: &str| (path == "virtualenv-21.16.0.dist-info/entry_points.txt").then(|| "x".to_owned());
        assert_ne!(newer.made_by(&points), newer.made_by(&|_| None));
        assert!(newer.entries(&read).is_err());
    }

    #[test]
    fn what_was_not_looked_at_is_not_described() {
        for (changed, expected) in [
            (
                Virtualenv { version: "21.15.9".into(), ..asked() },
                VirtualenvError::Version { version: "21.15.9".into() },
            ),
            (
                Virtualenv { version: "20.27.1".into(), ..asked() },
                VirtualenvError::Version { version: "20.27.1".into() },
            ),
            (Virtualenv { version: "20.x".into(), ..asked() }, VirtualenvError::Version { version: "20.x".into() }),
            (Virtualenv { python: (3, 14, 0), ..asked() }, VirtualenvError::Python { major: 3, minor: 14 }),
            (Virtualenv { folder: "/a b".into(), ..asked() }, VirtualenvError::Quoted),
        ] {
            assert_eq!(changed.entries(&read), Err(expected));
        }
        let newer = |_: &str| Some("__VIRTUAL_OTHER__".to_owned());
        assert!(matches!(asked().entries(&newer), Err(VirtualenvError::Template { .. })));
        assert!(matches!(asked().bundled_pip(&|_| None), Err(VirtualenvError::Template { .. })));
    }
}
