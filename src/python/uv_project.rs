//! A `pyproject.toml` as far as `uv sync` goes by it: what the project is, and whether that is all understood.
//!
//! A setting that is not known here is refused by its name. What is to be installed says the lock.

use toml::{Table, Value};

use super::normalize::normalize_name;
use crate::diagnostic::Diagnose;

/// Why a project is not understood, as a clause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotUnderstood {
    /// No TOML.
    #[error("`pyproject.toml` cannot be read")]
    Syntax,
    /// No `[project]` with a name.
    #[error("`pyproject.toml` has no `project.name`")]
    NoProject,
    /// A setting of uv or of a build.
    #[error("`{0}` of `pyproject.toml` is not understood here")]
    Setting(String),
    /// A build by something that may do anything.
    #[error("its build takes `{0}`, of which it is not known what it does")]
    Build(String),
}

impl Diagnose for NotUnderstood {}

/// A project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UvProject {
    /// Its normalised name.
    pub name: String,
    /// `requires-python`.
    pub requires_python: Option<String>,
    /// Whether it is installed itself.
    pub is_package: bool,
    /// Whether something of it is told by its build alone.
    pub is_dynamic: bool,
    /// Whether some of its requirements come from elsewhere for uv.
    pub has_sources: bool,
    /// Whether other projects may belong to it: members of a workspace, and folders.
    pub has_members: bool,
    /// Whether `[tool.uv]` is there.
    pub has_settings: bool,
    /// Why its build is not done here; `None` where it is.
    pub unbuildable: Option<NotUnderstood>,
}

/// Settings that a lock has in it, or that change nothing of what is installed.
const SETTINGS: [&str; 30] = [
    "build-backend",
    "cache-keys",
    "compile-bytecode",
    "conflicts",
    "constraint-dependencies",
    "default-groups",
    "dependency-groups",
    "dev-dependencies",
    "environments",
    "exclude-newer",
    "extra-index-url",
    "fork-strategy",
    "index",
    "index-strategy",
    "index-url",
    "link-mode",
    "managed",
    "native-tls",
    "override-dependencies",
    "package",
    "pip",
    "prerelease",
    "publish-url",
    "python-downloads",
    "required-environments",
    "required-version",
    "resolution",
    "sources",
    "system-certs",
    "workspace",
];

/// What builds may take: they read the project's files and nothing else.
const BUILDERS: [&str; 9] = [
    "editables",
    "flit-core",
    "hatchling",
    "packaging",
    "pdm-backend",
    "poetry-core",
    "setuptools",
    "uv-build",
    "wheel",
];

/// Tables by which a build runs code of its own.
const HOOKS: [&str; 6] = [
    "tool.hatch.build.hooks",
    "tool.hatch.build.targets.wheel.hooks",
    "tool.hatch.metadata.hooks",
    "tool.pdm.build",
    "tool.poetry.build",
    "tool.setuptools.ext-modules",
];

impl UvProject {
    /// Reads the text of a `pyproject.toml`.
    ///
    /// # Errors
    /// Fails for what is no project, and for settings of uv that are not known here.
    pub fn parse(text: &str) -> Result<Self, NotUnderstood> {
        let document: Table = text.parse().map_err(|_| NotUnderstood::Syntax)?;
        let project = document.get("project").and_then(Value::as_table).ok_or(NotUnderstood::NoProject)?;
        let name = project.get("name").and_then(Value::as_str).ok_or(NotUnderstood::NoProject)?;
        let settings = at(&document, "tool.uv").and_then(Value::as_table);
        for (key, value) in settings.into_iter().flatten() {
            let is_refused = match (key.as_str(), value) {
                ("managed", value) => value.as_bool() != Some(true),
                ("link-mode", value) => value.as_str() == Some("symlink"),
                (key, _) => !SETTINGS.contains(&key),
            };
            if is_refused {
                return Err(NotUnderstood::Setting(format!("tool.uv.{key}")));
            }
        }
        let sources = settings.and_then(|settings| settings.get("sources")).and_then(Value::as_table);
        let package = settings.and_then(|settings| settings.get("package")).and_then(Value::as_bool);
        Ok(Self {
            name: normalize_name(name),
            requires_python: project.get("requires-python").and_then(Value::as_str).map(str::to_owned),
            is_package: package.unwrap_or(document.contains_key("build-system")),
            is_dynamic: project.get("dynamic").and_then(Value::as_array).is_some_and(|names| !names.is_empty()),
            has_sources: settings.is_some_and(|settings| settings.contains_key("sources")),
            has_members: settings.is_some_and(|settings| settings.contains_key("workspace"))
                || sources.into_iter().flat_map(|sources| sources.values()).any(is_local),
            has_settings: settings.is_some(),
            unbuildable: unbuildable(&document),
        })
    }
}

/// Whether a source is a folder or a member of the workspace.
fn is_local(source: &Value) -> bool {
    match source {
        Value::Table(source) => source.contains_key("path") || source.contains_key("workspace"),
        Value::Array(sources) => sources.iter().any(is_local),
        _ => false,
    }
}

fn at<'a>(document: &'a Table, path: &str) -> Option<&'a Value> {
    let (above, last) = path.rsplit_once('.').unwrap_or(("", path));
    let mut table = document;
    for part in above.split('.').filter(|part| !part.is_empty()) {
        table = table.get(part)?.as_table()?;
    }
    table.get(last)
}

fn unbuildable(document: &Table) -> Option<NotUnderstood> {
    if let Some(hooks) = HOOKS.iter().find(|path| at(document, path).is_some()) {
        return Some(NotUnderstood::Setting((*hooks).to_owned()));
    }
    let system = document.get("build-system").and_then(Value::as_table);
    let Some(system) = system else { return Some(NotUnderstood::Build("setuptools' defaults".into())) };
    if let Some(key) = system.keys().find(|key| !["requires", "build-backend"].contains(&key.as_str())) {
        return Some(NotUnderstood::Setting(format!("build-system.{key}")));
    }
    let requires = system.get("requires").and_then(Value::as_array).into_iter().flatten();
    for requirement in requires.map(|requirement| requirement.as_str().unwrap_or_default()) {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let name = normalize_name(requirement.split(|c| !is_part(c)).next().unwrap_or_default());
        if !BUILDERS.contains(&name.as_str()) || requirement.contains('@') {
            return Some(NotUnderstood::Build(requirement.to_owned()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const HATCH: &str = "[build-system]\nrequires = [\"hatchling==1.27.0\"]\nbuild-backend = \"hatchling.build\"\n";
    const NAMED: &str = "[project]\nname = \"My.Proj_x\"\n";

    #[test]
    fn a_project_is_what_its_tables_say() {
        let plain = UvProject::parse("[project]\nname = \"My.Proj_x\"\nrequires-python = \">=3.11\"\n").unwrap();
        assert_eq!((plain.name.as_str(), plain.requires_python.as_deref()), ("my-proj-x", Some(">=3.11")));
        assert!(!plain.is_package && !plain.is_dynamic && !plain.has_settings);
        let package = UvProject::parse(&format!("{HATCH}{NAMED}dynamic = [\"version\"]\n")).unwrap();
        assert!(package.is_package && package.is_dynamic && package.unbuildable.is_none());
        let not = UvProject::parse(&format!("{HATCH}{NAMED}[tool.uv]\npackage = false\n")).unwrap();
        assert!(!not.is_package && not.has_settings && !not.has_members);
        for members in ["[tool.uv.workspace]\n", "[tool.uv.sources]\nx = [{ path = \"x\" }]\n"] {
            assert!(UvProject::parse(&format!("{NAMED}{members}")).unwrap().has_members, "{members}");
        }
    }

    #[test]
    fn what_may_change_the_installation_is_refused_by_name() {
        for (text, expected) in [
            ("[project", NotUnderstood::Syntax),
            ("[tool.poetry]\nname = \"x\"\n", NotUnderstood::NoProject),
            (&format!("{NAMED}[tool.uv]\nno-binary = true\n"), NotUnderstood::Setting("tool.uv.no-binary".into())),
            (&format!("{NAMED}[tool.uv]\nmanaged = false\n"), NotUnderstood::Setting("tool.uv.managed".into())),
        ] {
            assert_eq!(UvProject::parse(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn builds_that_may_do_anything_are_none_of_ours() {
        let of = |text: &str| UvProject::parse(&format!("{text}{NAMED}")).unwrap().unbuildable;
        assert_eq!(of(HATCH), None);
        let plugin = HATCH.replace("==1.27.0", "\", \"hatch-vcs");
        assert_eq!(of(&plugin), Some(NotUnderstood::Build("hatch-vcs".into())));
        let hook = format!("{HATCH}[tool.hatch.build.hooks.custom]\n");
        assert_eq!(of(&hook), Some(NotUnderstood::Setting("tool.hatch.build.hooks".into())));
        let own = format!("{HATCH}backend-path = [\".\"]\n");
        assert_eq!(of(&own), Some(NotUnderstood::Setting("build-system.backend-path".into())));
        assert!(of("").is_some());
    }
}
