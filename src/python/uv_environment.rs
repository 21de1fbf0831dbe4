//! What a command of uv left on this machine, moved to where it would have left it in an image.
//!
//! Nothing is run or placed here. Text that is not understood is refused: the next uv may write something else.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::record::{self, RecordRow};
use super::virtual_environment::PythonVersion;
use crate::diagnostic::Diagnose;

/// Why what uv left cannot be moved, as a clause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnmovableError {
    /// A folder that scripts would quote.
    #[error("`{0}` has characters that scripts quote")]
    Quoted(String),
    /// A line of `pyvenv.cfg` that this version was not written for.
    #[error("uv writes `{0}` into `pyvenv.cfg`, which is not known here")]
    Setting(String),
    /// A link that is none of an environment's.
    #[error("uv makes a link `{0}`, which is not known here")]
    Link(String),
    /// Layouts of 64-bit Linux have `lib64`.
    #[error("uv lays environments out in another way on this machine")]
    Layout,
    /// A wheel for one platform.
    #[error("its build is for one platform alone (`{0}`)")]
    Platform(String),
    /// A damaged RECORD.
    #[error("its `{0}` cannot be read")]
    Record(String),
}

impl Diagnose for UnmovableError {}

/// Which of two folders a path is below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Below {
    /// The environment.
    Environment,
    /// The project.
    Project,
}

/// Something that uv left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeftKind {
    /// A folder.
    Folder,
    /// A link.
    Link(String),
    /// A file, with its permission bits.
    File {
        /// 0755, 0644, or 0666 where everybody may write.
        mode: u32,
        /// What it says.
        #[serde(with = "bytes")]
        bytes: Vec<u8>,
    },
}

/// All that a command of uv left in a project and its environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftBehind {
    /// The project's folder on this machine.
    pub project: String,
    /// The environment's.
    pub environment: String,
    /// The version of this machine's Python: `3.11`.
    pub python: String,
    /// What there is, by its path below one of the two.
    pub entries: BTreeMap<String, (Below, LeftKind)>,
}

/// Where it would be in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InImage {
    /// The project's folder.
    pub project: String,
    /// The environment's.
    pub environment: String,
    /// The interpreter as uv finds it: `/usr/local/bin/python3`.
    pub executable: String,
    /// Its version.
    pub version: PythonVersion,
}

impl LeftBehind {
    /// The key of an entry.
    pub fn key(below: Below, path: &str) -> String {
        match below {
            Below::Environment => format!("environment/{path}"),
            Below::Project => format!("project/{path}"),
        }
    }

    /// What there is besides what `plain` has, which the same command left without a project.
    #[must_use]
    pub fn without(mut self, plain: &Self) -> Self {
        self.entries.retain(|path, _| !plain.entries.contains_key(path));
        self
    }

    /// The same without the files of packages; the folders that name them stay (`NAME-VERSION.dist-info`).
    #[must_use]
    pub fn without_packages(mut self) -> Self {
        let mut programs = BTreeSet::new();
        for (path, (_, kind)) in &self.entries {
            let LeftKind::File { bytes, .. } = kind else { continue };
            if path.ends_with(".dist-info/RECORD") {
                let rows = record::parse(bytes).unwrap_or_default();
                programs.extend(rows.iter().filter_map(|row| row.path.strip_prefix("../../../").map(str::to_owned)));
            }
        }
        self.entries.retain(|path, (below, kind)| match path.split_once("/site-packages/") {
            Some((_, name)) => *kind == LeftKind::Folder && !name.contains('/') && name.ends_with(".dist-info"),
            None => *below != Below::Environment || !path.split_once('/').is_some_and(|(_, at)| programs.contains(at)),
        });
        self
    }

    /// What pip would have left in uv's place.
    #[must_use]
    pub fn by_pip(mut self) -> Self {
        let is_uvs =
            |path: &str| path.ends_with(".dist-info/uv_cache.json") || path.ends_with(".dist-info/uv_build.json");
        self.entries.retain(|path, _| !is_uvs(path));
        for (path, (_, kind)) in &mut self.entries {
            let LeftKind::File { bytes, .. } = kind else { continue };
            let text = String::from_utf8_lossy(bytes).into_owned();
            if path.ends_with(".dist-info/INSTALLER") {
                *bytes = b"pip\n".to_vec();
            } else if path.ends_with(".dist-info/RECORD") {
                let lines = text.lines().filter(|line| !is_uvs(line.split(',').next().unwrap_or_default()));
                *bytes = lines.map(|line| format!("{line}\n")).collect::<String>().into_bytes();
            } else if path.ends_with(".dist-info/direct_url.json") {
                let said: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
                let info = if said["dir_info"]["editable"] == true { "\"editable\": true" } else { "" };
                *bytes = format!("{{\"dir_info\": {{{info}}}, \"url\": {}}}", said["url"]).into_bytes();
            }
        }
        self
    }

    /// The same in an image: absolute paths, folders before what is in them.
    ///
    /// # Errors
    /// Fails for what is not understood, and for a wheel that is not of every platform.
    pub fn moved(&self, to: &InImage) -> Result<BTreeMap<String, LeftKind>, UnmovableError> {
        for folder in [&to.project, &to.environment] {
            if !folder.chars().all(|c| c.is_ascii_alphanumeric() || "_@%+=,./-".contains(c)) {
                return Err(UnmovableError::Quoted(folder.clone()));
            }
        }
        let mover = Mover { from: self, to, python: format!("python{}.{}", to.version.0, to.version.1) };
        let mut moved = BTreeMap::new();
        for (key, (below, kind)) in &self.entries {
            let path = key.split_once('/').map_or("", |(_, path)| path);
            moved.insert(mover.path(*below, path), mover.kind(*below, path, kind)?);
        }
        recorded(moved)
    }
}

/// The same files, with the hashes of what is there now in each RECORD.
///
/// # Errors
/// Fails for a RECORD that cannot be read, or that names what is not there.
pub(super) fn recorded(mut files: BTreeMap<String, LeftKind>) -> Result<BTreeMap<String, LeftKind>, UnmovableError> {
    let records: Vec<String> = files.keys().filter(|path| path.ends_with(".dist-info/RECORD")).cloned().collect();
    for record in records {
        let text = record_of(&record, &files)?;
        files.insert(record, LeftKind::File { mode: 0o644, bytes: text });
    }
    Ok(files)
}

struct Mover<'a> {
    from: &'a LeftBehind,
    to: &'a InImage,
    /// `python3.11` of the image.
    python: String,
}

impl Mover<'_> {
    fn path(&self, below: Below, path: &str) -> String {
        let of_host = format!("python{}", self.from.python);
        match below {
            Below::Project => format!("{}/{path}", self.to.project),
            Below::Environment => {
                let named = |part: &str| if part == of_host { self.python.clone() } else { part.to_owned() };
                let parts: Vec<String> = path.split('/').map(named).collect();
                format!("{}/{}", self.to.environment, parts.join("/"))
            }
        }
    }

    fn kind(&self, below: Below, path: &str, kind: &LeftKind) -> Result<LeftKind, UnmovableError> {
        match kind {
            LeftKind::Folder => Ok(LeftKind::Folder),
            LeftKind::Link(target) if below == Below::Environment => self.link(path, target).map(LeftKind::Link),
            LeftKind::Link(target) => Ok(LeftKind::Link(target.clone())),
            LeftKind::File { mode, bytes } => {
                let name = path.rsplit('/').next().unwrap_or_default();
                let bytes = match name {
                    "pyvenv.cfg" if path == name => self.configuration(bytes)?,
                    "uv_cache.json" => timeless(bytes),
                    "WHEEL" if path.ends_with(".dist-info/WHEEL") => every_platform(bytes)?,
                    _ => self.text(path, bytes),
                };
                Ok(LeftKind::File { mode: *mode, bytes })
            }
        }
    }

    fn link(&self, path: &str, target: &str) -> Result<String, UnmovableError> {
        match (path, target) {
            ("lib64", "lib") => Ok(target.to_owned()),
            ("bin/python", target) if target.starts_with('/') => Ok(self.to.executable.clone()),
            (path, "python") if path == "bin/python3" || path == format!("bin/python{}", self.from.python) => {
                Ok(target.to_owned())
            }
            _ => Err(UnmovableError::Link(path.to_owned())),
        }
    }

    fn configuration(&self, bytes: &[u8]) -> Result<Vec<u8>, UnmovableError> {
        if !self.from.entries.contains_key("environment/lib64") {
            return Err(UnmovableError::Layout);
        }
        let home = self.to.executable.rsplit_once('/').map_or("", |(home, _)| home);
        let (major, minor, micro) = self.to.version;
        let mut text = String::new();
        for line in String::from_utf8_lossy(bytes).lines() {
            let (key, value) = line.split_once(" = ").unwrap_or((line, ""));
            match (key, value) {
                ("home", _) => text += &format!("home = {home}\n"),
                ("version_info", _) => text += &format!("version_info = {major}.{minor}.{micro}\n"),
                ("implementation", "CPython") | ("uv" | "include-system-site-packages" | "prompt" | "seed", _) => {
                    text += &format!("{line}\n");
                }
                _ => return Err(UnmovableError::Setting(line.to_owned())),
            }
        }
        Ok(text.into_bytes())
    }

    /// The same bytes with the image's folders, and below `bin` with the image's version.
    fn text(&self, path: &str, bytes: &[u8]) -> Vec<u8> {
        let bytes = replaced(bytes, &self.from.environment, &self.to.environment);
        let bytes = replaced(&bytes, &self.from.project, &self.to.project);
        match path.starts_with("bin/") {
            true => {
                let (from, to) = (format!("/python{}/", self.from.python), format!("/{}/", self.python));
                replaced(&bytes, &from, &to)
            }
            false => bytes,
        }
    }
}

fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let (from, mut left, mut made) = (from.as_bytes(), bytes, Vec::with_capacity(bytes.len()));
    if from.is_empty() || from == to.as_bytes() {
        return bytes.to_vec();
    }
    while let Some(at) = left.windows(from.len()).position(|window| window == from) {
        made.extend_from_slice(&left[..at]);
        made.extend_from_slice(to.as_bytes());
        left = &left[at + from.len()..];
    }
    made.extend_from_slice(left);
    made
}

/// The times of a project's files are no input: they are those of its copy here. Numbers become 0.
fn timeless(bytes: &[u8]) -> Vec<u8> {
    let (mut made, mut is_text, mut in_number) = (Vec::with_capacity(bytes.len()), false, false);
    for byte in bytes {
        is_text ^= *byte == b'"';
        let is_digit = !is_text && byte.is_ascii_digit();
        if !is_digit {
            made.push(*byte);
        } else if !in_number {
            made.push(b'0');
        }
        in_number = is_digit;
    }
    made
}

fn every_platform(bytes: &[u8]) -> Result<Vec<u8>, UnmovableError> {
    let text = String::from_utf8_lossy(bytes);
    let mut tags = text.lines().filter_map(|line| line.strip_prefix("Tag:")).map(str::trim);
    match tags.find(|tag| !tag.ends_with("-none-any")) {
        Some(tag) => Err(UnmovableError::Platform(tag.to_owned())),
        None => Ok(bytes.to_vec()),
    }
}

/// The RECORD at `path` with the hashes of what is there now.
fn record_of(path: &str, files: &BTreeMap<String, LeftKind>) -> Result<Vec<u8>, UnmovableError> {
    let failed = || UnmovableError::Record(path.to_owned());
    let Some(LeftKind::File { bytes, .. }) = files.get(path) else { return Err(failed()) };
    let site = path.rsplitn(3, '/').nth(2).unwrap_or_default();
    let mut rows = record::parse(bytes).map_err(|_| failed())?;
    for row in &mut rows {
        let mut parts: Vec<&str> = site.split('/').collect();
        for part in row.path.split('/') {
            match part {
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        let at = if row.path.starts_with('/') { row.path.clone() } else { parts.join("/") };
        match files.get(&at) {
            Some(LeftKind::File { bytes, .. }) if row.hash.is_some() => {
                *row = RecordRow::of(row.path.clone(), bytes);
            }
            Some(LeftKind::File { .. }) => {}
            _ if row.hash.is_none() => {}
            _ => return Err(failed()),
        }
    }
    record::write(&rows).map_err(|_| failed())
}

/// Bytes in base64.
pub(super) mod bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(in crate::python) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(in crate::python) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> LeftKind {
        LeftKind::File { mode: 0o644, bytes: text.as_bytes().to_vec() }
    }

    fn link(target: &str) -> LeftKind {
        LeftKind::Link(target.to_owned())
    }

    fn left(entries: &[(Below, &str, LeftKind)]) -> LeftBehind {
        let entry =
            |(below, path, kind): &(Below, &str, LeftKind)| (LeftBehind::key(*below, path), (*below, kind.clone()));
        LeftBehind {
            project: "/tmp/t/project".into(),
            environment: "/tmp/t/project/.venv".into(),
            python: "3.12".into(),
            entries: entries.iter().map(entry).collect(),
        }
    }

    fn target() -> InImage {
        InImage {
            project: "/app".into(),
            environment: "/opt/venv".into(),
            executable: "/usr/local/bin/python3".into(),
            version: (3, 11, 9),
        }
    }

    fn text(moved: &BTreeMap<String, LeftKind>, path: &str) -> String {
        match &moved[path] {
            LeftKind::File { bytes, .. } => String::from_utf8(bytes.clone()).unwrap(),
            LeftKind::Link(target) => format!("-> {target}"),
            LeftKind::Folder => "/".into(),
        }
    }

    const CONFIGURATION: &str = "home = /usr/bin\nimplementation = CPython\nuv = 0.13.8\nversion_info = 3.12.1\n\
        include-system-site-packages = false\nprompt = ferry\n";

    #[test]
    fn packages_that_are_not_of_interest_leave_their_names() {
        use Below::Environment;
        let site = "lib/python3.12/site-packages";
        let left = left(&[
            (Environment, "bin/activate", file("")),
            (Environment, "bin/pip", file("")),
            (Environment, site, LeftKind::Folder),
            (Environment, &format!("{site}/pip"), LeftKind::Folder),
            (Environment, &format!("{site}/pip-26.3.dist-info"), LeftKind::Folder),
            (Environment, &format!("{site}/pip-26.3.dist-info/RECORD"), file("../../../bin/pip,,\npip/x.py,,\n")),
        ]);
        let kept: Vec<String> = left.without_packages().entries.into_keys().collect();
        let names = ["bin/activate", site, &format!("{site}/pip-26.3.dist-info")];
        assert_eq!(kept, names.map(|name| format!("environment/{name}")));
    }

    #[test]
    fn an_environment_is_the_images() {
        use Below::Environment;
        let moved = left(&[
            (Environment, "bin/activate", file("VIRTUAL_ENV='/tmp/t/project/.venv'\n")),
            (Environment, "bin/activate_this.py", file("../lib/python3.12/site-packages")),
            (Environment, "bin/python", link("/usr/bin/python3.12")),
            (Environment, "bin/python3", link("python")),
            (Environment, "bin/python3.12", link("python")),
            (Environment, "lib/python3.12", LeftKind::Folder),
            (Environment, "lib64", link("lib")),
            (Environment, "pyvenv.cfg", file(CONFIGURATION)),
        ]);
        let moved = moved.moved(&target()).unwrap();
        for (path, expected) in [
            ("bin/activate", "VIRTUAL_ENV='/opt/venv'\n"),
            ("bin/activate_this.py", "../lib/python3.11/site-packages"),
            ("bin/python", "-> /usr/local/bin/python3"),
            ("bin/python3.11", "-> python"),
            ("lib/python3.11", "/"),
        ] {
            assert_eq!(text(&moved, &format!("/opt/venv/{path}")), expected, "{path}");
        }
        let expected = CONFIGURATION.replace("/usr/bin", "/usr/local/bin").replace("3.12.1", "3.11.9");
        assert_eq!(text(&moved, "/opt/venv/pyvenv.cfg"), expected);
    }

    #[test]
    fn a_projects_files_name_its_folder_in_the_image_and_record_says_what_they_are() {
        use Below::{Environment, Project};
        let site = "lib/python3.12/site-packages";
        let info = format!("{site}/ferry-1.dist-info");
        let record = "../../../bin/ferry,sha256=x,9\n_ferry.pth,sha256=x,1\nferry-1.dist-info/RECORD,,\n\
                      ferry-1.dist-info/uv_cache.json,sha256=x,3\n";
        let behind = left(&[
            (Environment, "bin/ferry", file("#!/tmp/t/project/.venv/bin/python\n")),
            (Environment, &format!("{site}/_ferry.pth"), file("/tmp/t/project/src")),
            (Environment, &format!("{info}/RECORD"), file(record)),
            (Environment, &format!("{info}/WHEEL"), file("Tag: py3-none-any\n")),
            (Environment, &format!("{info}/uv_cache.json"), file(r#"{"timestamp":{"secs":17},"commit":null}"#)),
            (Project, "ferry.egg-info/SOURCES.txt", file("src\n")),
        ]);
        let moved = behind.moved(&target()).unwrap();
        let site = "/opt/venv/lib/python3.11/site-packages";
        assert_eq!(text(&moved, "/opt/venv/bin/ferry"), "#!/opt/venv/bin/python\n");
        assert_eq!(text(&moved, &format!("{site}/_ferry.pth")), "/app/src");
        assert_eq!(text(&moved, "/app/ferry.egg-info/SOURCES.txt"), "src\n");
        let cache = text(&moved, &format!("{site}/ferry-1.dist-info/uv_cache.json"));
        assert_eq!(cache, r#"{"timestamp":{"secs":0},"commit":null}"#);
        let rows = text(&moved, &format!("{site}/ferry-1.dist-info/RECORD"));
        let expected = record::hash_text(&crate::oci::Digest::of(b"/app/src"));
        assert!(rows.contains(&format!("_ferry.pth,{expected},8\n")) && rows.contains("RECORD,,\n"), "{rows}");
        let bytes = serde_json::to_vec(&behind).unwrap();
        assert_eq!(serde_json::from_slice::<LeftBehind>(&bytes).unwrap(), behind);
        assert!(behind.clone().without(&behind).entries.is_empty());
    }

    #[test]
    fn what_is_not_known_is_refused() {
        use Below::Environment;
        let lib = (Environment, "lib64", link("lib"));
        let configured = |line: &str| left(&[lib.clone(), (Environment, "pyvenv.cfg", file(line))]);
        let wheel = "lib/python3.12/site-packages/a-1.dist-info/WHEEL";
        for (behind, expected) in [
            (configured("relocatable = true\n"), UnmovableError::Setting("relocatable = true".into())),
            (configured("implementation = PyPy\n"), UnmovableError::Setting("implementation = PyPy".into())),
            (left(&[(Environment, "pyvenv.cfg", file("home = /\n"))]), UnmovableError::Layout),
            (left(&[(Environment, "bin/pypy", link("python"))]), UnmovableError::Link("bin/pypy".into())),
            (
                left(&[(Environment, wheel, file("Tag: cp312-cp312-linux_x86_64\n"))]),
                UnmovableError::Platform("cp312-cp312-linux_x86_64".into()),
            ),
        ] {
            assert_eq!(behind.moved(&target()), Err(expected));
        }
        let quoted = InImage { environment: "/opt/a b".into(), ..target() };
        assert_eq!(left(&[]).moved(&quoted), Err(UnmovableError::Quoted("/opt/a b".into())));
    }
}
