//! What the standard library's `venv` makes: folders, links, `pyvenv.cfg`, and scripts out of the interpreter's templates.
//!
//! A description alone. Nothing is placed, and pip, which `venv` then installs, is not part of it.

use crate::diagnostic::Diagnose;

/// A version of Python: major, minor, micro.
pub type PythonVersion = (u32, u32, u32);

/// Why an environment cannot be described, as a clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UndescribedError {
    /// The version's `venv` was not looked at.
    #[error("what `venv` of this version makes is not known")]
    Version,
    /// A path or prompt that scripts would quote.
    #[error("its folder or prompt has characters that scripts quote")]
    Quoted,
}

impl Diagnose for UndescribedError {}

/// How an environment is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualEnvironment {
    /// Its folder, absolute and without `..`.
    pub folder: String,
    /// The interpreter as it was called, absolute: `/usr/local/bin/python`.
    pub executable: String,
    /// The same with all links followed: `/usr/local/bin/python3.11`.
    pub real_executable: String,
    /// Its version.
    pub version: PythonVersion,
    /// Whether the interpreter's packages are seen.
    pub system_site_packages: bool,
    /// Whether pip is put into it.
    pub with_pip: bool,
    /// Whether the folder is emptied first.
    pub clear: bool,
    /// What the prompt says, where that is not the folder's name.
    pub prompt: Option<String>,
}

/// Something that an environment has, by its path below the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvironmentEntry {
    /// A folder of mode 0755.
    Folder(String),
    /// A link.
    Link {
        /// Where it is.
        path: String,
        /// Where it leads.
        target: String,
    },
    /// A file of mode 0644.
    File {
        /// Where it is.
        path: String,
        /// What it says.
        text: String,
    },
}

const OLDEST: u32 = 9;
const NEWEST: u32 = 13;

impl VirtualEnvironment {
    /// All that is made before scripts are, folders before what is in them.
    ///
    /// # Errors
    /// Fails for a version that is not known, and for text that scripts would quote.
    pub fn entries(&self) -> Result<Vec<EnvironmentEntry>, UndescribedError> {
        self.check()?;
        let (_, minor, _) = self.version;
        let python = format!("python3.{minor}");
        let folder = |path: &str| EnvironmentEntry::Folder(path.to_owned());
        let link =
            |path: &str, target: &str| EnvironmentEntry::Link { path: path.to_owned(), target: target.to_owned() };
        let mut entries = vec![folder("include")];
        if minor >= 11 {
            entries.push(folder(&format!("include/{python}")));
        }
        entries.extend([folder("lib"), folder(&format!("lib/{python}"))]);
        entries.push(folder(&format!("lib/{python}/site-packages")));
        entries.extend([link("lib64", "lib"), folder("bin")]);
        let name = self.executable.rsplit('/').next().unwrap_or_default();
        entries.push(link(&format!("bin/{name}"), &self.executable));
        let others = ["python", "python3", python.as_str()];
        entries
            .extend(others.into_iter().filter(|other| *other != name).map(|other| link(&format!("bin/{other}"), name)));
        entries.push(EnvironmentEntry::File { path: "pyvenv.cfg".into(), text: self.configuration() });
        if minor >= 13 {
            let text = "# Created by venv; see https://docs.python.org/3/library/venv.html\n*\n".to_owned();
            entries.push(EnvironmentEntry::File { path: ".gitignore".into(), text });
        }
        Ok(entries)
    }

    /// The script that comes of `template`, a file of the interpreter's folder `venv/scripts`.
    pub fn script(&self, template: &str) -> String {
        let (_, minor, _) = self.version;
        let name = self.folder.rsplit('/').next().unwrap_or_default();
        let prompt = self.prompt.as_deref().unwrap_or(name);
        let prompt = if minor >= 13 { prompt.to_owned() } else { format!("({prompt}) ") };
        // Templates without quotes of their own get values that have them, in what version soever somebody put them in.
        let is_quoted = !template.contains("\"__VENV_DIR__\"");
        let prompt = if is_quoted && !prompt.chars().all(is_plain) { format!("'{prompt}'") } else { prompt };
        let executable = self.executable.rsplit('/').next().unwrap_or_default();
        template
            .replace("__VENV_DIR__", &self.folder)
            .replace("__VENV_NAME__", name)
            .replace("__VENV_PROMPT__", &prompt)
            .replace("__VENV_BIN_NAME__", "bin")
            .replace("__VENV_PYTHON__", &format!("{}/bin/{executable}", self.folder))
    }

    fn check(&self) -> Result<(), UndescribedError> {
        match self.version {
            (3, OLDEST..=NEWEST, _) => {}
            _ => return Err(UndescribedError::Version),
        }
        let is_prompt = |prompt: &String| prompt.chars().all(|c| is_plain(c) || c == ' ');
        let is_known = self.folder.chars().all(is_plain) && self.prompt.as_ref().is_none_or(is_prompt);
        if is_known { Ok(()) } else { Err(UndescribedError::Quoted) }
    }

    fn configuration(&self) -> String {
        let Self { folder, executable, real_executable, version: (major, minor, micro), .. } = self;
        let home = executable.rsplit_once('/').map_or("", |(home, _)| home);
        let mut text = format!("home = {home}\n");
        text += &format!("include-system-site-packages = {}\n", self.system_site_packages);
        text += &format!("version = {major}.{minor}.{micro}\n");
        if let Some(prompt) = &self.prompt {
            text += &format!("prompt = '{prompt}'\n");
        }
        if *minor < 11 {
            return text;
        }
        let options = [
            (!self.with_pip, "--without-pip ".to_owned()),
            (self.system_site_packages, "--system-site-packages ".to_owned()),
            (self.clear, "--clear ".to_owned()),
            (self.prompt.is_some(), format!("--prompt=\"{}\" ", self.prompt.as_deref().unwrap_or_default())),
        ];
        let options: String = options.into_iter().filter(|(is_given, _)| *is_given).map(|(_, text)| text).collect();
        text += &format!("executable = {real_executable}\ncommand = {executable} -m venv {options}{folder}\n");
        text
    }
}

/// Whether a character means itself to a shell.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_@%+=,./-".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(version: PythonVersion) -> VirtualEnvironment {
        VirtualEnvironment {
            folder: "/opt/venv".into(),
            executable: "/usr/local/bin/python".into(),
            real_executable: format!("/usr/local/bin/python3.{}", version.1),
            version,
            system_site_packages: false,
            with_pip: true,
            clear: false,
            prompt: None,
        }
    }

    fn lines(asked: &VirtualEnvironment) -> Vec<String> {
        let line = |entry| match entry {
            EnvironmentEntry::Folder(path) => format!("{path}/"),
            EnvironmentEntry::Link { path, target } => format!("{path} -> {target}"),
            EnvironmentEntry::File { path, .. } => path,
        };
        asked.entries().unwrap().into_iter().map(line).collect()
    }

    fn configuration(asked: &VirtualEnvironment) -> String {
        let of = |entry| match entry {
            EnvironmentEntry::File { path, text } if path == "pyvenv.cfg" => Some(text),
            _ => None,
        };
        asked.entries().unwrap().into_iter().find_map(of).unwrap()
    }

    #[test]
    fn an_environment_has_what_its_version_makes() {
        for (version, expected) in [
            (
                (3, 10, 13),
                "include/ lib/ lib/python3.10/ lib/python3.10/site-packages/ lib64 -> lib bin/ bin/python -> /usr/local/bin/python bin/python3 -> python bin/python3.10 -> python pyvenv.cfg",
            ),
            (
                (3, 11, 7),
                "include/ include/python3.11/ lib/ lib/python3.11/ lib/python3.11/site-packages/ lib64 -> lib bin/ bin/python -> /usr/local/bin/python bin/python3 -> python bin/python3.11 -> python pyvenv.cfg",
            ),
            (
                (3, 13, 0),
                "include/ include/python3.13/ lib/ lib/python3.13/ lib/python3.13/site-packages/ lib64 -> lib bin/ bin/python -> /usr/local/bin/python bin/python3 -> python bin/python3.13 -> python pyvenv.cfg .gitignore",
            ),
        ] {
            assert_eq!(lines(&asked(version)).join(" "), expected, "{version:?}");
        }
        let named = VirtualEnvironment { executable: "/usr/local/bin/python3".into(), ..asked((3, 11, 7)) };
        let links: Vec<String> = lines(&named).into_iter().filter(|line| line.contains("bin/python")).collect();
        let expected = ["bin/python3 -> /usr/local/bin/python3", "bin/python -> python3", "bin/python3.11 -> python3"];
        assert_eq!(links, expected);
    }

    #[test]
    fn the_configuration_says_how_it_was_asked_for() {
        let plain = "home = /usr/local/bin\ninclude-system-site-packages = false\nversion = 3.10.13\n";
        assert_eq!(configuration(&asked((3, 10, 13))), plain);
        let options = VirtualEnvironment {
            with_pip: false,
            system_site_packages: true,
            prompt: Some("a b".into()),
            ..asked((3, 12, 1))
        };
        let expected = "home = /usr/local/bin\ninclude-system-site-packages = true\nversion = 3.12.1\nprompt = 'a b'\n\
            executable = /usr/local/bin/python3.12\n\
            command = /usr/local/bin/python -m venv --without-pip --system-site-packages --prompt=\"a b\" /opt/venv\n";
        assert_eq!(configuration(&options), expected);
    }

    #[test]
    fn scripts_are_filled_as_the_version_fills_them() {
        let older = "d=\"__VENV_DIR__\" p=\"__VENV_PROMPT__\" b=__VENV_BIN_NAME__ n=__VENV_NAME__ x=__VENV_PYTHON__";
        let newer = &older.replace('"', "");
        for (version, template, folder, prompt) in [
            ((3, 11, 2), older, "\"/opt/venv\"", "\"(venv) \""),
            ((3, 11, 2), newer, "/opt/venv", "'(venv) '"),
            ((3, 13, 0), older, "\"/opt/venv\"", "\"venv\""),
            ((3, 13, 1), newer, "/opt/venv", "venv"),
        ] {
            let expected = format!("d={folder} p={prompt} b=bin n=venv x=/opt/venv/bin/python");
            assert_eq!(asked(version).script(template), expected, "{version:?}");
        }
        let spaced = VirtualEnvironment { prompt: Some("a b".into()), ..asked((3, 13, 1)) };
        assert!(spaced.script(newer).contains("p='a b' "));
    }

    #[test]
    fn what_was_not_looked_at_is_not_described() {
        for (changed, expected) in [
            (asked((3, 8, 18)), UndescribedError::Version),
            (asked((3, 14, 0)), UndescribedError::Version),
            (VirtualEnvironment { folder: "/opt/a b".into(), ..asked((3, 11, 7)) }, UndescribedError::Quoted),
            (VirtualEnvironment { prompt: Some("it's".into()), ..asked((3, 11, 7)) }, UndescribedError::Quoted),
        ] {
            assert_eq!(changed.entries(), Err(expected));
        }
    }
}
