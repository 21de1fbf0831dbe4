//! What the package `virtualenv` makes: folders, links, `pyvenv.cfg`, and scripts out of the templates in its wheel.
//!
//! A description alone, of the versions whose files were looked at. The pip that it brings is not part of it.

use super::virtual_environment::{EnvironmentEntry, PythonVersion};
use crate::diagnostic::Diagnose;

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
}

/// A script and what it is made of.
struct Script {
    template: &'static str,
    name: &'static str,
    quotes: Quotes,
}

#[derive(Clone, Copy)]
enum Quotes {
    Shell,
    Nu,
    Single,
}

const SCRIPTS: [Script; 6] = [
    Script { template: "bash/activate.sh", name: "activate", quotes: Quotes::Shell },
    Script { template: "cshell/activate.csh", name: "activate.csh", quotes: Quotes::Shell },
    Script { template: "fish/activate.fish", name: "activate.fish", quotes: Quotes::Shell },
    Script { template: "nushell/activate.nu", name: "activate.nu", quotes: Quotes::Nu },
    Script { template: "powershell/activate.ps1", name: "activate.ps1", quotes: Quotes::Single },
    Script { template: "python/activate_this.py", name: "activate_this.py", quotes: Quotes::Single },
];

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
        self.check()?;
        let (major, minor, _) = self.python;
        let python = format!("python{major}.{minor}");
        let site = format!("lib/{python}/site-packages");
        let template = |path: &str| read(path).ok_or_else(|| VirtualenvError::Template { path: path.to_owned() });
        let folder = |path: &str| EnvironmentEntry::Folder(path.to_owned());
        let link =
            |path: &str, target: &str| EnvironmentEntry::Link { path: path.to_owned(), target: target.to_owned() };
        let file = |path: String, text: String| EnvironmentEntry::File { path, text };
        let mut entries = vec![folder("bin"), folder("lib"), folder(&format!("lib/{python}")), folder(&site)];
        entries.push(link("bin/python", &self.executable));
        entries.extend([format!("python{major}"), python].map(|name| link(&format!("bin/{name}"), "python")));
        entries.push(file("pyvenv.cfg".into(), self.configuration()));
        entries.push(file(".gitignore".into(), "# created by virtualenv automatically\n*\n".into()));
        entries.push(file("CACHEDIR.TAG".into(), CACHE_TAG.into()));
        entries.push(file(format!("{site}/_virtualenv.pth"), "import _virtualenv".into()));
        let module = template(MODULE)?.replace("\"__SCRIPT_DIR__\"", "'../../../bin'");
        entries.push(file(format!("{site}/_virtualenv.py"), module));
        for script in &SCRIPTS {
            let path = format!("{TEMPLATES}/{}", script.template);
            let text = self.script(&template(&path)?, script.quotes);
            if text.contains("__VIRTUAL_") || text.contains("_LIBRARY__") {
                return Err(VirtualenvError::Template { path });
            }
            // Those of PowerShell begin with a mark of their encoding.
            let mark = if script.name.ends_with(".ps1") { "\u{feff}" } else { "" };
            entries.push(file(format!("bin/{}", script.name), format!("{mark}{text}")));
        }
        Ok(entries)
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

    fn check(&self) -> Result<(), VirtualenvError> {
        let mut numbers = self.version.split('.').map(|number| number.parse::<u32>().ok());
        let version = (numbers.next().flatten(), numbers.next().flatten(), numbers.next().flatten());
        if !matches!(version, (Some(20), Some(28..=32), Some(_))) || numbers.next().is_some() {
            return Err(VirtualenvError::Version { version: self.version.clone() });
        }
        let (major, minor, _) = self.python;
        if major != 3 || !(9..=13).contains(&minor) {
            return Err(VirtualenvError::Python { major, minor });
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
        let are_plain = [&self.folder, &self.prompt].iter().all(|text| !text.is_empty() && text.chars().all(is_plain));
        if are_plain && !self.folder.contains(':') { Ok(()) } else { Err(VirtualenvError::Quoted) }
    }

    fn configuration(&self) -> String {
        let Self { executable, python: (major, minor, micro), version, prompt, .. } = self;
        let home = executable.rsplit_once('/').map_or("", |(home, _)| home);
        let prefix = home.rsplit_once('/').map_or("", |(prefix, _)| prefix);
        format!(
            "home = {home}\nimplementation = CPython\nversion_info = {major}.{minor}.{micro}.final.0\n\
             virtualenv = {version}\ninclude-system-site-packages = false\nbase-prefix = {prefix}\n\
             base-exec-prefix = {prefix}\nbase-executable = {executable}\nprompt = {prompt}\n"
        )
    }

    fn script(&self, template: &str, quotes: Quotes) -> String {
        let (major, minor, _) = self.python;
        let name = self.folder.rsplit('/').next().unwrap_or_default();
        let site = format!("../lib/python{major}.{minor}/site-packages");
        // In the order in which virtualenv puts them in.
        let values = [
            ("__VIRTUAL_PROMPT__", self.prompt.as_str()),
            ("__VIRTUAL_ENV__", &self.folder),
            ("__VIRTUAL_NAME__", name),
            ("__BIN_NAME__", "bin"),
            ("__PATH_SEP__", ":"),
            ("__LIB_FOLDERS__", &site),
            ("__DECODE_PATH__", ""),
        ];
        values.into_iter().fold(template.to_owned(), |text, (key, value)| text.replace(key, &quotes.around(value)))
    }
}

impl Quotes {
    /// A value of plain characters as the language of a script has it.
    fn around(self, value: &str) -> String {
        match self {
            Self::Shell => value.to_owned(),
            Self::Nu => format!("r#'{value}'#"),
            Self::Single => format!("'{value}'"),
        }
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
        }
    }

    fn read(path: &str) -> Option<String> {
        let text = match path.rsplit('/').next()? {
            "_virtualenv.py" => "dir = \"__SCRIPT_DIR__\"",
            "__init__.py" => {
                "\"3.10\": {\n \"pip\": \"x\"},\n\"3.11\": {\n \"pip\": \"pip-25.1.1-py3-none-any.whl\",\n }"
            }
            "activate_this.py" => "__LIB_FOLDERS__ __BIN_NAME__ __VIRTUAL_PROMPT__",
            _ => "__VIRTUAL_ENV__ __BIN_NAME__ __VIRTUAL_PROMPT__",
        };
        Some(text.to_owned())
    }

    #[test]
    fn an_environment_has_what_virtualenv_makes() {
        let shown = asked().entries(&read).unwrap().into_iter().map(|entry| match entry {
            EnvironmentEntry::Folder(path) => format!("{path}/"),
            EnvironmentEntry::Link { path, target } => format!("{path} -> {target}"),
            EnvironmentEntry::File { path, text } => format!("{path}: {text}"),
        });
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
        assert_eq!(shown.collect::<Vec<_>>(), expected);
        let pip = "virtualenv/seed/wheels/embed/pip-25.1.1-py3-none-any.whl";
        assert_eq!(asked().bundled_pip(&read).as_deref(), Ok(pip));
    }

    #[test]
    fn what_was_not_looked_at_is_not_described() {
        for (changed, expected) in [
            (
                Virtualenv { version: "20.33.0".into(), ..asked() },
                VirtualenvError::Version { version: "20.33.0".into() },
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
        let newer = |_: &str| Some("__TCL_LIBRARY__".to_owned());
        assert!(matches!(asked().entries(&newer), Err(VirtualenvError::Template { .. })));
        assert!(matches!(asked().bundled_pip(&|_| None), Err(VirtualenvError::Template { .. })));
    }
}
