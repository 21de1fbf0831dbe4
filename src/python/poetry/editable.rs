//! What Poetry leaves of a project that it installs itself: a `.pth` file, programs and a dist-info, by its own templates.
//!
//! What the project says of itself is told by poetry-core, which is run elsewhere with [`SCRIPT`].

use std::collections::BTreeMap;

use pep440_rs::Version;
use serde::Deserialize;
use serde_json::json;

use crate::diagnostic::Diagnose;
use crate::oci::Digest;
use crate::python::record::hash_text;
use crate::python::uv_environment::{Below, LeftBehind, LeftKind};

/// Run by Python with poetry-core in the project's folder: writes the dist-info and what else is to be known into a folder.
pub const SCRIPT: &str = "\
import json, sys
from pathlib import Path
from poetry.core.factory import Factory
from poetry.core.masonry.builders.wheel import WheelBuilder
from poetry.core.masonry.utils.package_include import PackageInclude
here = Path.cwd().resolve()
try:
    poetry = Factory().create_poetry(here)
    if poetry.package.build_script:
        sys.exit('error: the build script ' + poetry.package.build_script + ' would be run')
    left = Path(sys.argv[1])
    left.mkdir()
    builder = WheelBuilder(poetry)
    builder.prepare_metadata(left)
    module = builder._module
except Exception as error:
    sys.exit('error: ' + str(error).replace('\\n', ' '))
bases = {
    include.base.resolve().relative_to(here).as_posix()
    for include in module.includes
    if isinstance(include, PackageInclude) and (include.is_module() or include.is_package())
}
points = builder.convert_entry_points()
scripts = poetry.local_config.get('scripts', {})
told = {
    'info': builder.dist_info,
    'pth': Path(module.name).with_suffix('.pth').name,
    'bases': sorted(bases),
    'console': points.get('console_scripts', []),
    'gui': points.get('gui_scripts', []),
    'files': [[name, own.get('reference')] for name, own in scripts.items()
              if isinstance(own, dict) and own.get('type') == 'file'],
}
(left / 'told.json').write_text(json.dumps(told))
";

/// Where [`SCRIPT`] says what it found.
const TOLD: &str = "told.json";
/// The first Poetry that leaves all of the dist-info: WHEEL and licences.
const WITH_LICENCES: [u64; 2] = [2, 2];
/// The first one that makes programs for windows, and of files.
const WITH_MORE_PROGRAMS: [u64; 2] = [2, 5];

/// Why it is not known what is left, as a clause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditableError {
    /// poetry-core did not tell what was asked.
    #[error("poetry-core does not tell what the project is")]
    Untold,
    /// A program is not said as `module:function`.
    #[error("the program `{0}` is none that Poetry makes")]
    Program(String),
    /// A path or a name that is written in quotes or escaped.
    #[error("`{0}` has characters that are written in another way")]
    Quoted(String),
}

impl Diagnose for EditableError {}

/// The permissions and bytes of a file of the project.
pub type OwnFile<'a> = &'a dyn Fn(&str) -> Option<(u32, Vec<u8>)>;

/// A project as poetry-core tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Editable {
    told: Told,
    /// The files of the dist-info, by their paths below it.
    info: BTreeMap<String, (u32, Vec<u8>)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Told {
    info: String,
    pth: String,
    bases: Vec<String>,
    console: Vec<String>,
    gui: Vec<String>,
    files: Vec<(String, Option<String>)>,
}

/// Where it is installed, in absolute paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EditablePlace {
    /// The project's folder.
    pub project: String,
    /// The folder of packages.
    pub site: String,
    /// That of programs.
    pub scripts: String,
    /// The interpreter that programs name.
    pub interpreter: String,
}

impl Editable {
    /// Reads what [`SCRIPT`] left in an environment's place.
    ///
    /// # Errors
    /// Fails when that is not what it writes.
    pub fn read(left: &LeftBehind) -> Result<Self, EditableError> {
        let of = |path: &str| match left.entries.get(&LeftBehind::key(Below::Environment, path)) {
            Some((_, LeftKind::File { mode, bytes })) => Some((*mode, bytes.clone())),
            _ => None,
        };
        let (_, told) = of(TOLD).ok_or(EditableError::Untold)?;
        let told: Told = serde_json::from_slice(&told).map_err(|_| EditableError::Untold)?;
        let inside = LeftBehind::key(Below::Environment, &format!("{}/", told.info));
        let info = left.entries.iter().filter_map(|(path, (_, kind))| match (path.strip_prefix(&inside), kind) {
            (Some(below), LeftKind::File { mode, bytes }) => Some((below.to_owned(), (*mode, bytes.clone()))),
            _ => None,
        });
        let info: BTreeMap<_, _> = info.collect();
        if info.contains_key("METADATA") { Ok(Self { told, info }) } else { Err(EditableError::Untold) }
    }

    /// The name of its dist-info.
    pub fn info(&self) -> &str {
        &self.told.info
    }

    /// All that Poetry `version` leaves, by absolute paths; `own` gives files of the project.
    ///
    /// # Errors
    /// Fails for programs that Poetry refuses, and for text that is written in another way than as it is.
    pub fn entries(
        &self,
        version: &Version,
        place: &EditablePlace,
        own: OwnFile<'_>,
    ) -> Result<BTreeMap<String, LeftKind>, EditableError> {
        for text in [&place.project, &place.site, &place.scripts, &place.interpreter] {
            plain(text)?;
        }
        let is_from = |first: [u64; 2]| version.release() >= &first[..];
        let mut left = Leaving::default();
        let line = |base: &String| match base.as_str() {
            "." => format!("{}\n", place.project),
            base => format!("{}/{base}\n", place.project),
        };
        let paths: String = self.told.bases.iter().map(line).collect();
        left.put(format!("{}/{}", place.site, plain(&self.told.pth)?), 0o644, paths.into_bytes());
        self.programs(&mut left, place, is_from(WITH_MORE_PROGRAMS), own)?;
        let info = format!("{}/{}", place.site, plain(&self.told.info)?);
        left.entries.insert(info.clone(), LeftKind::Folder);
        let is_left = |path: &str| is_from(WITH_LICENCES) || ["METADATA", "entry_points.txt"].contains(&path);
        let installer = (format!("{info}/INSTALLER"), 0o644, b"poetry".to_vec());
        let mut files: Vec<_> = self.info.iter().filter(|(path, _)| is_left(path)).collect();
        files.sort_by_key(|(path, _)| path.split('/').map(str::to_owned).collect::<Vec<_>>());
        // Before, each file was written down as it came, and INSTALLER between the two.
        let at = if is_from(WITH_LICENCES) { files.len() } else { 1.min(files.len()) };
        for (path, (mode, bytes)) in &files[..at] {
            left.below(&info, plain(path)?);
            // A licence is copied with its permissions.
            let mode = path.strip_prefix("licenses/").and_then(own).map_or(*mode, |(mode, _)| mode);
            left.put(format!("{info}/{path}"), mode, bytes.clone());
        }
        left.put(installer.0, installer.1, installer.2);
        for (path, (mode, bytes)) in &files[at..] {
            left.put(format!("{info}/{path}"), *mode, bytes.clone());
        }
        let url = json!(format!("file://{}", place.project));
        let direct = format!("{{\"dir_info\": {{\"editable\": true}}, \"url\": {url}}}");
        left.put(format!("{info}/direct_url.json"), 0o644, direct.into_bytes());
        Ok(left.recorded(&format!("{info}/RECORD")))
    }

    fn programs(
        &self,
        left: &mut Leaving,
        place: &EditablePlace,
        has_all: bool,
        own: OwnFile<'_>,
    ) -> Result<(), EditableError> {
        let gui: &[String] = if has_all { &self.told.gui } else { &[] };
        for point in self.told.console.iter().chain(gui) {
            let refused = || EditableError::Program(point.clone());
            let (name, object) = point.split_once(" = ").ok_or_else(refused)?;
            let object = object.split('[').next().unwrap_or_default();
            let (module, function) = object.split_once(':').ok_or_else(refused)?;
            if function.contains(':') || name.contains('/') {
                return Err(refused());
            }
            let holder = function.split('.').next().unwrap_or_default();
            let text = format!(
                "#!{}\nimport sys\nfrom {module} import {holder}\n\nif __name__ == '__main__':\n    sys.exit({function}())\n",
                place.interpreter
            );
            left.put(format!("{}/{}", place.scripts, plain(name)?), 0o755, text.into_bytes());
        }
        let files: &[_] = if has_all { &self.told.files } else { &[] };
        for (name, reference) in files {
            // Poetry says that it does not find such a file, and goes on.
            let Some((_, bytes)) = reference.as_deref().and_then(own) else {
                return Err(EditableError::Program(name.clone()));
            };
            left.put(format!("{}/{}", place.scripts, plain(name)?), 0o755, bytes);
        }
        Ok(())
    }
}

/// Files in the order in which they are written down.
#[derive(Default)]
struct Leaving {
    entries: BTreeMap<String, LeftKind>,
    order: Vec<String>,
}

impl Leaving {
    fn put(&mut self, path: String, mode: u32, bytes: Vec<u8>) {
        self.entries.insert(path.clone(), LeftKind::File { mode, bytes });
        self.order.push(path);
    }

    /// The folders between `folder` and what is at `path` below it.
    fn below(&mut self, folder: &str, path: &str) {
        for (at, _) in path.match_indices('/') {
            self.entries.insert(format!("{folder}/{}", &path[..at]), LeftKind::Folder);
        }
    }

    /// With a RECORD, whose lines are those of Python's `csv` and have absolute paths.
    fn recorded(mut self, record: &str) -> BTreeMap<String, LeftKind> {
        let mut text = String::new();
        for path in &self.order {
            if let Some(LeftKind::File { bytes, .. }) = self.entries.get(path) {
                text += &format!("{path},{},{}\r\n", hash_text(&Digest::of(bytes)), bytes.len());
            }
        }
        text += &format!("{record},,\r\n");
        self.entries.insert(record.to_owned(), LeftKind::File { mode: 0o644, bytes: text.into_bytes() });
        self.entries
    }
}

fn plain(text: &str) -> Result<&str, EditableError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_@+=./-".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => Ok(text),
        false => Err(EditableError::Quoted(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use super::*;

    fn file(path: &str, text: &str) -> (String, (Below, LeftKind)) {
        let kind = LeftKind::File { mode: 0o644, bytes: text.as_bytes().to_vec() };
        (LeftBehind::key(Below::Environment, path), (Below::Environment, kind))
    }

    fn editable(console: &str) -> Editable {
        let told = format!(
            "{{\"info\": \"led_ger-1.dist-info\", \"pth\": \"led_ger.pth\", \"bases\": [\".\", \"src\"], \
             \"console\": [{console}], \"gui\": [\"win = w:go\"], \"files\": [[\"run\", \"bin/run.sh\"]]}}"
        );
        let info = |name: &str, text: &str| file(&format!("led_ger-1.dist-info/{name}"), text);
        let entries = BTreeMap::from([
            file("told.json", &told),
            info("METADATA", "m"),
            info("WHEEL", "w"),
            info("entry_points.txt", "e"),
            info("licenses/LICENSE", "l"),
        ]);
        Editable::read(&LeftBehind { entries, ..LeftBehind::default() }).unwrap()
    }

    fn place() -> EditablePlace {
        EditablePlace {
            project: "/app".into(),
            site: "/v/lib/python3.11/site-packages".into(),
            scripts: "/v/bin".into(),
            interpreter: "/v/bin/python".into(),
        }
    }

    fn left(version: &str) -> BTreeMap<String, LeftKind> {
        let own = |path: &str| Some((0o600, format!("own {path}").into_bytes()));
        let version = Version::from_str(version).unwrap();
        editable("\"ledger = led.cli:app.main [x]\"").entries(&version, &place(), &own).unwrap()
    }

    fn text(left: &BTreeMap<String, LeftKind>, path: &str) -> String {
        match left.get(path) {
            Some(LeftKind::File { mode, bytes }) => format!("{mode:o} {}", String::from_utf8_lossy(bytes)),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_newest_poetry_leaves_programs_and_all_of_the_dist_info() {
        let left = left("2.5.1");
        let info = "/v/lib/python3.11/site-packages/led_ger-1.dist-info";
        let program = "#!/v/bin/python\nimport sys\nfrom led.cli import app\n\n\
                       if __name__ == '__main__':\n    sys.exit(app.main ())\n";
        for (path, expected) in [
            ("/v/lib/python3.11/site-packages/led_ger.pth", "644 /app\n/app/src\n".to_owned()),
            ("/v/bin/ledger", format!("755 {program}")),
            ("/v/bin/run", "755 own bin/run.sh".into()),
            (&format!("{info}/INSTALLER"), "644 poetry".into()),
            (&format!("{info}/WHEEL"), "644 w".into()),
            (&format!("{info}/licenses/LICENSE"), "600 l".into()),
            (
                &format!("{info}/direct_url.json"),
                "644 {\"dir_info\": {\"editable\": true}, \"url\": \"file:///app\"}".into(),
            ),
        ] {
            assert_eq!(text(&left, path), expected, "{path}");
        }
        assert_eq!(left[&format!("{info}/licenses")], LeftKind::Folder);
        let record = text(&left, &format!("{info}/RECORD"));
        let named: Vec<&str> =
            record.split("\r\n").filter_map(|row| row.split(',').next()?.rsplit('/').next()).collect();
        let expected = [
            "led_ger.pth",
            "ledger",
            "win",
            "run",
            "METADATA",
            "WHEEL",
            "entry_points.txt",
            "LICENSE",
            "INSTALLER",
            "direct_url.json",
            "RECORD",
            "",
        ];
        assert_eq!(named, expected);
        assert!(record.ends_with(&format!("{info}/RECORD,,\r\n")), "{record}");
    }

    #[test]
    fn older_ones_leave_less() {
        let (first, middle) = (left("2.1.4"), left("2.4.3"));
        let names = |left: &BTreeMap<String, LeftKind>| {
            let names = left.keys().filter_map(|path| path.rsplit('/').next().map(str::to_owned));
            names.collect::<Vec<_>>().join(" ")
        };
        assert!(names(&middle).contains("WHEEL") && !names(&middle).contains("win"), "{}", names(&middle));
        let expected =
            "ledger led_ger-1.dist-info INSTALLER METADATA RECORD direct_url.json entry_points.txt led_ger.pth";
        assert_eq!(names(&first), expected);
    }

    #[test]
    fn what_is_written_otherwise_is_refused() {
        let version = Version::from_str("2.5.1").unwrap();
        let none = |_: &str| None;
        for (console, project, expected) in [
            ("\"a = b\"", "/app", EditableError::Program("a = b".into())),
            ("\"a = b:c:d\"", "/app", EditableError::Program("a = b:c:d".into())),
            ("", "/my app", EditableError::Quoted("/my app".into())),
            ("", "/app", EditableError::Program("run".into())),
        ] {
            let place = EditablePlace { project: project.into(), ..place() };
            assert_eq!(editable(console).entries(&version, &place, &none), Err(expected));
        }
        assert_eq!(Editable::read(&LeftBehind::default()), Err(EditableError::Untold));
    }
}
