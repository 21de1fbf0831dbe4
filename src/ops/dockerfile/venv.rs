//! `python -m venv`: the files of an environment, and the pip that comes with it.
//!
//! What an environment consists of is said in `python::virtual_environment`; its pip is installed as any package is.

use crate::dockerfile::absolute;
use crate::dockerfile::run::{Interpreter, Mounted, PipInstall, Step, Venv, VenvTool};
use crate::image::filesystem::{Content, Found, Node};
use crate::image::users::Owner;
use crate::layer::EntryPath;
use crate::plan::files::{Draft, FileContent, NotNative, Placed, PlacedEntry, PlacedKind, StageFiles};
use crate::python::environment::{EnvironmentKind, PythonEnvironment, PythonHints};
use crate::python::virtual_environment::{EnvironmentEntry, PythonVersion, VirtualEnvironment};
use crate::settings::Installer;

use super::super::error::OpsError;
use super::super::python as packages;
use super::evaluate::{Evaluation, Outcome};
use super::stage::Stage;

const FOLDER: u32 = 0o755;
const FILE: u32 = 0o644;
const LINK: u32 = 0o777;

impl Evaluation<'_> {
    /// Makes an environment.
    pub(super) async fn venv(
        &mut self,
        stage: &mut Stage,
        mounts: &[Mounted],
        step: &Step,
        venv: &Venv,
        (folder, owner): (&str, Owner),
    ) -> Result<Outcome, OpsError> {
        let files = self.files(stage).await?;
        let at = absolute(folder, &venv.folder);
        let prepared = refused(venv, mounts, &at).and_then(|()| asked(stage, &files, step, venv, &at)).and_then(
            |(asked, library)| {
                let seeds = if asked.with_pip { seeds(&files, &library)? } else { Vec::new() };
                Ok((placed(&files, &asked, &library, owner)?, seeds))
            },
        );
        let (made, seeds) = match prepared {
            Ok(prepared) => prepared,
            Err(reason) => return Ok(Err(reason)),
        };
        let first = stage.layers.len();
        self.place(stage, made, step.command.clone())?;
        let keys = stage.layers[first..].iter().flat_map(|layer| &layer.key).map(ToString::to_string);
        stage.material.extend(keys.collect::<Vec<_>>());
        if seeds.is_empty() {
            return Ok(Ok("an environment without pip".into()));
        }
        let named = seeds.join(" and ");
        let install = installation(format!("{at}/bin/python"), seeds);
        match self.pip(stage, mounts, step, &install, (folder, owner)).await {
            Ok(Ok(_)) => Ok(Ok(format!("an environment with {named}"))),
            Ok(Err(reason)) => Ok(Err(reason)),
            // They are out of an index, where those of the interpreter need not be.
            Err(error) => Ok(Err(NotNative::because(format!("its {named} cannot be had: {error}")))),
        }
    }
}

/// What `. FOLDER/bin/activate` comes to.
pub(super) fn activated(files: &StageFiles, folder: &str) -> Outcome {
    let script = format!("{folder}/bin/activate");
    match files.view().reach(&script, true) {
        Ok(reached) if reached.found.node().is_some_and(Node::is_file) => Ok(String::new()),
        _ => Err(NotNative::because(format!("`{script}` is no file that is known"))),
    }
}

/// Fails for what is asked that only a run can do.
fn refused(venv: &Venv, mounts: &[Mounted], at: &str) -> Result<(), NotNative> {
    let covers = |target: &str| at == target || at.starts_with(&format!("{}/", target.trim_end_matches('/')));
    let reason = if venv.tool == VenvTool::Virtualenv {
        "the files that `virtualenv` makes are its own"
    } else if venv.copies {
        "it copies the interpreter"
    } else if venv.upgrade_deps {
        "it upgrades what it brings"
    } else if mounts.iter().filter_map(Mounted::target).any(covers) {
        "its folder is below a mount"
    } else {
        return Ok(());
    };
    Err(NotNative::because(reason))
}

/// The environment that is asked for, and the folder of the interpreter's own modules.
fn asked(
    stage: &Stage,
    files: &StageFiles,
    step: &Step,
    venv: &Venv,
    at: &str,
) -> Result<(VirtualEnvironment, String), NotNative> {
    let path = step.environment.get("PATH").cloned().or_else(|| stage.scope.value("PATH")).unwrap_or_default();
    let (executable, real_executable) = executable(files, &venv.interpreter, &path)?;
    let python = system(stage, files, &executable, &real_executable)?;
    if venv.system_site_packages && stage.installs.is_some() {
        return Err(NotNative::because("it sees packages that are not known before they are made"));
    }
    let (major, minor) = python.version;
    let library = format!("{}/lib/python{major}.{minor}", python.prefix);
    let asked = VirtualEnvironment {
        folder: at.to_owned(),
        version: exact_version(stage, &python)
            .ok_or_else(|| NotNative::because(format!("the exact version of `{executable}` is not known")))?,
        executable,
        real_executable,
        system_site_packages: venv.system_site_packages,
        with_pip: venv.with_pip,
        clear: venv.clear,
        prompt: venv.prompt.clone(),
    };
    Ok((asked, library))
}

/// The interpreter `executable`, which with all links followed is `real_executable`.
///
/// # Errors
/// Fails where it is none with a prefix of its own.
pub(super) fn system(
    stage: &Stage,
    files: &StageFiles,
    executable: &str,
    real_executable: &str,
) -> Result<PythonEnvironment, NotNative> {
    let bin = executable.rsplit_once('/').map_or("", |(bin, _)| bin);
    let mut config = stage.config.config.clone();
    config.set_env("VIRTUAL_ENV", "");
    config.set_env("PATH", bin);
    let python = packages::found(&files.view().files(), &config, &PythonHints::default());
    let python = python.map_err(|error| NotNative::because(error.to_string()))?;
    let same = files
        .view()
        .reach(&python.scheme.interpreter, true)
        .is_ok_and(|reached| format!("/{}", String::from_utf8_lossy(&reached.path)) == real_executable);
    match same && python.kind == EnvironmentKind::System {
        true => Ok(python),
        false => Err(NotNative::because(format!("`{executable}` is not an interpreter with a prefix of its own"))),
    }
}

/// The program that makes it, as it was called and with all links followed.
pub(super) fn executable(files: &StageFiles, asked: &Interpreter, path: &str) -> Result<(String, String), NotNative> {
    let candidates: Vec<String> = match asked {
        Interpreter::Named(name) => {
            path.split(':').filter(|folder| folder.starts_with('/')).map(|folder| format!("{folder}/{name}")).collect()
        }
        Interpreter::Path(program) if program.starts_with('/') => vec![program.clone()],
        _ => Vec::new(),
    };
    for candidate in candidates {
        let Ok(reached) = files.view().reach(&candidate, true) else { continue };
        match reached.found {
            Found::Known(node) if node.is_file() => {
                return Ok((candidate, format!("/{}", String::from_utf8_lossy(&reached.path))));
            }
            Found::Unknown => return Err(NotNative::unknown(&reached.path)),
            Found::Known(_) | Found::Absent => {}
        }
    }
    Err(NotNative::because("its interpreter is not where it is looked for"))
}

/// The version that an official image of Python says in a variable of its own.
pub(super) fn exact_version(stage: &Stage, python: &PythonEnvironment) -> Option<PythonVersion> {
    let of_base = stage.base.image.config.env();
    let (_, said) = of_base.iter().find(|(name, _)| name == "PYTHON_VERSION" && python.prefix == "/usr/local")?;
    let mut numbers = said.split('.').map(|number| number.parse::<u32>().ok());
    let version = (numbers.next()??, numbers.next()??, numbers.next()??);
    (numbers.next().is_none() && (version.0, version.1) == python.version).then_some(version)
}

/// The packages that the interpreter keeps for new environments, as requirements.
fn seeds(files: &StageFiles, library: &str) -> Result<Vec<String>, NotNative> {
    let folder = format!("{library}/ensurepip/_bundled");
    let listed = listed(files, &folder)?;
    let mut seeds = Vec::new();
    for name in listed.iter().filter_map(|(name, _, _)| name.strip_suffix(".whl")) {
        let mut parts = name.split('-');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(package @ ("pip" | "setuptools")), Some(version), Some("py3")) => {
                seeds.push(format!("{package}=={version}"));
            }
            _ => return Err(NotNative::because(format!("`{folder}` holds `{name}`"))),
        }
    }
    let has = |package: &str| seeds.iter().filter(|seed| seed.starts_with(package)).count();
    if has("pip==") == 1 && has("setuptools==") <= 1 {
        Ok(seeds)
    } else {
        Err(NotNative::because(format!("which pip it brings is not told by `{folder}`")))
    }
}

/// The files of a folder: name, mode, content where it is known.
fn listed(files: &StageFiles, folder: &str) -> Result<Vec<(String, u32, Option<String>)>, NotNative> {
    let reached = files.view().reach(folder, true).map_err(|error| NotNative::because(error.to_string()))?;
    if !reached.is_directory() {
        return Err(NotNative::because(format!("`{folder}` is no folder that is known")));
    }
    let listing = files.view().list(&reached.path);
    if !listing.is_complete {
        return Err(NotNative::unknown(&reached.path));
    }
    let file = |(path, node): &(&EntryPath, &Node)| {
        let content = match files.view().content(path.as_bytes()) {
            Content::Known(content) => String::from_utf8(content.to_vec()).ok(),
            Content::Absent | Content::Unknown => None,
        };
        (String::from_utf8_lossy(path.file_name()).into_owned(), node.mode, content)
    };
    Ok(listing.entries.iter().filter(|(_, node)| !node.is_directory()).map(file).collect())
}

/// The environment's files in the stage.
fn placed(files: &StageFiles, asked: &VirtualEnvironment, library: &str, owner: Owner) -> Result<Placed, NotNative> {
    let entries = asked.entries().map_err(|error| NotNative::because(error.to_string()))?;
    let (mut draft, root) = placed_entries(files, &asked.folder, &entries, owner)?;
    for (name, mode, template) in templates(files, library)? {
        let path =
            EntryPath::parse(format!("{root}/bin/{name}")).map_err(|error| NotNative::because(error.to_string()))?;
        draft.put(PlacedEntry { path, kind: text_file(&asked.script(&template)), mode, owner }, None);
    }
    Ok(draft.finish())
}

fn text_file(text: &str) -> PlacedKind {
    PlacedKind::File { size: text.len() as u64, content: FileContent::Text(text.as_bytes().into()) }
}

/// A draft with `entries` below `folder`, which may be there when it is empty, and the folder's real path.
///
/// # Errors
/// Fails when the folder has files, or when it is not known.
pub(super) fn placed_entries(
    files: &StageFiles,
    folder: &str,
    entries: &[EnvironmentEntry],
    owner: Owner,
) -> Result<(Draft, String), NotNative> {
    let reached = files.view().reach(folder, true).map_err(|error| NotNative::because(error.to_string()))?;
    match reached.found {
        Found::Absent if !reached.path.is_empty() => {}
        Found::Known(_) if reached.is_directory() => {
            let listing = files.view().list(&reached.path);
            if !listing.is_complete || !listing.entries.is_empty() {
                return Err(NotNative::because(format!("`{folder}` has files")));
            }
        }
        _ => return Err(NotNative::because(format!("`{folder}` is no place that is known"))),
    }
    let root = String::from_utf8_lossy(&reached.path).into_owned();
    let above = files.view().directories_above(format!("{root}/x").as_bytes());
    if owner.uid != 0 && above.last().is_none_or(|(_, node)| node.uid != owner.uid) {
        return Err(NotNative::because("it is run by a user who may lack the right"));
    }
    let mut draft = Draft::on(files);
    draft.make_directories(root.as_bytes(), FOLDER, Some(owner))?;
    let mut put = |path: &str, kind: PlacedKind, mode: u32, kept: Option<&[u8]>| {
        let path = EntryPath::parse(format!("{root}/{path}")).map_err(|error| NotNative::because(error.to_string()))?;
        draft.put(PlacedEntry { path, kind, mode, owner }, kept.map(Into::into));
        Ok::<_, NotNative>(())
    };
    for entry in entries {
        match entry {
            EnvironmentEntry::Folder(path) => put(path, PlacedKind::Directory, FOLDER, None)?,
            EnvironmentEntry::Link { path, target } => {
                put(path, PlacedKind::Symlink { target: target.as_bytes().into() }, LINK, None)?;
            }
            EnvironmentEntry::File { path, text } => put(path, text_file(text), FILE, Some(text.as_bytes()))?,
        }
    }
    Ok((draft, root))
}

/// The interpreter's templates of scripts: name, mode, text.
fn templates(files: &StageFiles, library: &str) -> Result<Vec<(String, u32, String)>, NotNative> {
    let mut templates = Vec::new();
    for folder in ["common", "posix"].map(|folder| format!("{library}/venv/scripts/{folder}")) {
        for (name, mode, content) in listed(files, &folder)? {
            let content =
                content.ok_or_else(|| NotNative::because(format!("the content of `{folder}/{name}` is not known")))?;
            templates.push((name, mode, content));
        }
    }
    Ok(templates)
}

/// How the interpreter installs what it brings: by its own pip, which no setting or cache reaches.
fn installation(interpreter: String, requirements: Vec<String>) -> PipInstall {
    let bare = PipInstall::bare(Installer::Pip, Interpreter::Path(interpreter));
    PipInstall { requirements, compiles: true, ..bare }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::filesystem::{NodeKind, View};
    use crate::plan::files::PlacedFiles;

    const LIBRARY: &str = "/usr/local/lib/python3.11";
    const ROOT: Owner = Owner { uid: 0, gid: 0 };

    /// A stage: `path/` a folder, `path -> target` a link, `path = text` a kept file, `path` alone a file of unknown content.
    fn stage(lines: &[&str]) -> StageFiles {
        let mut files = StageFiles::new(View::default());
        for line in lines {
            let (path, node) = if let Some((path, target)) = line.split_once(" -> ") {
                (path, Node::new(NodeKind::Symlink { target: target.into() }, LINK, 0, 0))
            } else if let Some((path, text)) = line.split_once(" = ") {
                let kind = NodeKind::File { size: text.len() as u64 };
                (path, Node::new(kind, FILE, 0, 0).with_content(text.as_bytes()))
            } else if let Some(path) = line.strip_suffix('/') {
                (path, Node::new(NodeKind::Directory, FOLDER, 0, 0))
            } else {
                (*line, Node::new(NodeKind::File { size: 9 }, FOLDER, 0, 0))
            };
            files.put(EntryPath::parse(path).unwrap(), node);
        }
        files
    }

    const PYTHON: [&str; 8] = [
        "usr/local/bin/python -> python3",
        "usr/local/bin/python3 -> python3.11",
        "usr/local/bin/python3.11",
        "usr/local/lib/python3.11/ensurepip/_bundled/__init__.py",
        "usr/local/lib/python3.11/ensurepip/_bundled/pip-24.0-py3-none-any.whl",
        "usr/local/lib/python3.11/ensurepip/_bundled/setuptools-65.5.0-py3-none-any.whl",
        "usr/local/lib/python3.11/venv/scripts/common/activate = d=\"__VENV_DIR__\"",
        "usr/local/lib/python3.11/venv/scripts/posix/",
    ];

    fn wanted() -> VirtualEnvironment {
        VirtualEnvironment {
            folder: "/opt/venv".into(),
            executable: "/usr/local/bin/python".into(),
            real_executable: "/usr/local/bin/python3.11".into(),
            version: (3, 11, 9),
            system_site_packages: false,
            with_pip: true,
            clear: false,
            prompt: None,
        }
    }

    #[test]
    fn an_environment_is_placed_with_the_interpreters_own_scripts() {
        let Placed { files: PlacedFiles { entries, .. }, after } =
            placed(&stage(&PYTHON), &wanted(), LIBRARY, ROOT).unwrap();
        let activate = entries.iter().find(|entry| entry.path.as_bytes() == b"opt/venv/bin/activate").unwrap();
        let text = FileContent::Text(b"d=\"/opt/venv\""[..].into());
        assert_eq!((activate.mode, &activate.kind), (FILE, &PlacedKind::File { size: 13, content: text }));
        let known = after.view().content("/opt/venv/pyvenv.cfg");
        assert!(matches!(known, Content::Known(text) if text.starts_with(b"home = /usr/local/bin\n")));
        assert_eq!(activated(&after, "/opt/venv"), Ok(String::new()));
        assert!(activated(&after, "/opt/other").is_err());
        let again = placed(&after, &wanted(), LIBRARY, ROOT).unwrap_err();
        assert_eq!(again.reason, "`/opt/venv` has files");
    }

    #[test]
    fn what_is_not_known_of_the_stage_is_left_to_a_backend() {
        let untold = "usr/local/lib/python3.11/venv/scripts/posix/activate.csh";
        let files = stage(&[&PYTHON[..], &[untold]].concat());
        let reason = placed(&files, &wanted(), LIBRARY, ROOT).unwrap_err().reason;
        assert_eq!(reason, "the content of `/usr/local/lib/python3.11/venv/scripts/posix/activate.csh` is not known");
        let user = Owner { uid: 7, gid: 7 };
        assert!(placed(&stage(&PYTHON), &wanted(), LIBRARY, user).is_err());
    }

    #[test]
    fn what_an_interpreter_brings_is_told_by_names_of_wheels() {
        let bundled = |names: &[&str]| {
            let folder = "usr/local/lib/python3.11/ensurepip/_bundled";
            let lines: Vec<String> = names.iter().map(|name| format!("{folder}/{name}")).collect();
            seeds(&stage(&lines.iter().map(String::as_str).collect::<Vec<_>>()), LIBRARY).ok()
        };
        let both = ["pip-24.0-py3-none-any.whl", "setuptools-65.5.0-py3-none-any.whl", "__init__.py"];
        assert_eq!(bundled(&both), Some(vec!["pip==24.0".to_owned(), "setuptools==65.5.0".to_owned()]));
        assert_eq!(bundled(&both[..1]), Some(vec!["pip==24.0".to_owned()]));
        for others in [&[][..], &["setuptools-65.5.0-py3-none-any.whl"], &["pip-1-py3-none-any.whl", both[0]]] {
            assert_eq!(bundled(others), None, "{others:?}");
        }
        assert_eq!(bundled(&["wheel-1-py3-none-any.whl", both[0]]), None);
    }

    #[test]
    fn the_interpreter_is_the_first_of_its_name_on_the_path() {
        let files = stage(&PYTHON);
        let named = |name: &str| Interpreter::Named(name.to_owned());
        let real = "/usr/local/bin/python3.11".to_owned();
        for (asked, expected) in [
            (named("python"), Some("/usr/local/bin/python")),
            (named("python3.11"), Some("/usr/local/bin/python3.11")),
            (named("python3.12"), None),
            (Interpreter::Path("/usr/local/bin/python3".into()), Some("/usr/local/bin/python3")),
            (Interpreter::Path("bin/python3".into()), None),
            (Interpreter::Found, None),
        ] {
            let found = executable(&files, &asked, "/nowhere:/usr/local/bin").ok();
            assert_eq!(found, expected.map(|path| (path.to_owned(), real.clone())), "{asked:?}");
        }
    }
}
