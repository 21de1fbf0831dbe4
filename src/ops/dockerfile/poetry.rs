//! `poetry install` and `poetry config`: what a lock says, installed as any packages are.
//!
//! Which packages those are is told by `python::poetry`, where they go by `poetry_environment`.

use std::collections::{BTreeMap, BTreeSet};

use crate::dockerfile::absolute;
use crate::dockerfile::run::{Interpreter, Mounted, PipInstall, PoetryInstall, PoetrySetting, Step};
use crate::image::users::Owner;
use crate::layer::EntryPath;
use crate::plan::files::{Draft, FileContent, NotNative, Placed, PlacedEntry, PlacedKind, StageFiles};
use crate::python::poetry::{LockedPackage, PoetryLock, PoetryProject, Selection, Surroundings, choose};
use crate::settings::Installer;

use super::super::error::OpsError;
use super::super::installer::By;
use super::super::resolution::machine;
use super::evaluate::{Evaluation, Outcome};
use super::poetry_environment::Target;
use super::poetry_settings::{CONFIG, Settings, check_mounts, check_variables, mirror, with_setting};
use super::poetry_tool::Tool;
use super::project_files;
use super::requirements::Asked;
use super::stage::Stage;

impl Evaluation<'_> {
    /// Carries `poetry install` out.
    pub(super) async fn poetry(
        &mut self,
        stage: &mut Stage,
        mounts: &[Mounted],
        step: &Step,
        install: &PoetryInstall,
        place: (&str, Owner),
    ) -> Result<Outcome, OpsError> {
        match self.poetry_steps(stage, mounts, step, install, place).await {
            Ok(Ok(why)) => Ok(Ok(why)),
            Ok(Err(reason)) => Ok(Err(reason)),
            // The index need not have what the image's Poetry would find, or not for this machine.
            Err(error) => Ok(Err(NotNative::because(format!("what its lock names cannot be had: {error}")))),
        }
    }

    async fn poetry_steps(
        &mut self,
        stage: &mut Stage,
        mounts: &[Mounted],
        step: &Step,
        install: &PoetryInstall,
        (folder, owner): (&str, Owner),
    ) -> Result<Outcome, OpsError> {
        let files = self.files(stage).await?;
        let variables = self.variables(stage, mounts, step)?;
        let asked = Asked { mounts, files: &files, folder, variables: &variables };
        let home = super::run::home_of(stage, &files);
        let (project, lock, settings) = match self.poetry_files(&asked, install, home.as_deref()) {
            Ok(read) => read,
            Err(reason) => return Ok(Err(reason)),
        };
        let tool = match self.poetry_tool(stage, &files, &variables, (&install.command, folder)).await? {
            Ok(tool) => tool,
            Err(reason) => return Ok(Err(reason)),
        };
        let target = match self.poetry_target(stage, &files, (&tool, &settings, &variables), (folder, &project)) {
            Ok(target) => target,
            Err(reason) => return Ok(Err(reason)),
        };
        let here = Surroundings::linux(target.version(), machine(&stage.base.image.config.platform()));
        let chosen = match chosen(&project, &lock, install, (&tool, &target), &here) {
            Ok(chosen) => chosen,
            Err(reason) => return Ok(Err(reason)),
        };
        let root = match install.no_root || !project.is_package {
            true => None,
            false => match self.poetry_root(stage, &asked, &project, (&tool, &target)).await? {
                Ok(root) => Some(root),
                Err(reason) => return Ok(Err(reason)),
            },
        };
        let by = By::Poetry { version: tool.version(), interpreter: target.launched_by() };
        let interpreter = target.interpreter();
        let mut whys = Vec::new();
        if let Target::New(made) = &target {
            match self.poetry_environment(stage, mounts, step, (&tool, made), (folder, owner)).await? {
                Ok(why) => whys.push(why),
                Err(reason) => return Ok(Err(reason)),
            }
        }
        if !chosen.is_empty() && !install.only_root {
            let lines = chosen.values().map(|package| line(package)).collect();
            let indexes = indexes(&chosen, mirror(&tool, &variables));
            let wanted = installation(interpreter, lines, indexes);
            match self.install(stage, mounts, step, (&wanted, by), (folder, owner)).await? {
                Ok(why) => whys.push(format!("{} of the lock, by Poetry {}: {why}", chosen.len(), tool.version())),
                Err(reason) => return Ok(Err(reason)),
            }
        }
        if let Some(root) = root {
            match self.place_project(stage, (&project.name, root.site), &root.left, owner)? {
                Ok(()) => whys.push(format!("the project {} by Poetry {}", project.name, tool.version())),
                Err(reason) => return Ok(Err(reason)),
            }
        }
        Ok(Ok(if whys.is_empty() { "the lock names nothing".to_owned() } else { whys.join("; ") }))
    }

    /// The project, its lock, and Poetry's settings.
    fn poetry_files(
        &self,
        asked: &Asked<'_>,
        install: &PoetryInstall,
        home: Option<&str>,
    ) -> Result<(PoetryProject, PoetryLock, Settings), NotNative> {
        check_mounts(asked.mounts)?;
        check_variables(asked.variables)?;
        let project = self.text_of(asked, "pyproject.toml")?;
        let project = project.ok_or_else(|| NotNative::because("its folder has no pyproject.toml"))?;
        let project = PoetryProject::parse(&project).map_err(|error| NotNative::because(error.to_string()))?;
        let Selection { with, without, only, all_groups, .. } = &install.selection;
        let has_groups = *all_groups || [with, without, only].iter().any(|named| !named.is_empty());
        if install.only_root && (install.no_root || install.sync || has_groups) {
            return Err(NotNative::because("`--only-root` does not go with what else it is asked for"));
        }
        let lock = self.text_of(asked, "poetry.lock")?;
        let lock = lock.ok_or_else(|| NotNative::because("there is no poetry.lock, so that versions are chosen"))?;
        let lock = PoetryLock::parse(&lock).map_err(|error| NotNative::because(error.to_string()))?;
        let of_user = match home {
            Some(home) => self.text_of(asked, &format!("{home}/{CONFIG}"))?,
            None => return Err(NotNative::because("the user's home is not known")),
        };
        let of_project = self.text_of(asked, "poetry.toml")?;
        let texts = [of_user, of_project];
        let settings = Settings::read(texts.iter().flatten(), install, asked.variables, home)?;
        Ok((project, lock, settings))
    }

    /// The text of a file of the image; `None` where there is none.
    pub(super) fn text_of(&self, asked: &Asked<'_>, path: &str) -> Result<Option<String>, NotNative> {
        let root =
            self.recipe.context.as_ref().map_or_else(|| self.request.folder.clone(), |tree| tree.root().to_owned());
        project_files::text_of(asked, &root, &absolute(asked.folder, path))
    }

    /// Carries `poetry config` out.
    pub(super) async fn poetry_config(
        &mut self,
        stage: &mut Stage,
        mounts: &[Mounted],
        step: &Step,
        setting: PoetrySetting,
        (folder, owner): (&str, Owner),
    ) -> Result<Outcome, OpsError> {
        let files = self.files(stage).await?;
        let variables = self.variables(stage, mounts, step)?;
        let asked = Asked { mounts, files: &files, folder, variables: &variables };
        let home = super::run::home_of(stage, &files);
        let at = match (setting.local, home) {
            (true, _) => format!("{}/poetry.toml", folder.trim_end_matches('/')),
            (false, Some(home)) => format!("{}/{CONFIG}", home.trim_end_matches('/')),
            (false, None) => return Ok(Err(NotNative::because("the user's home is not known"))),
        };
        let made = check_variables(&variables).and_then(|()| {
            let text = with_setting(self.text_of(&asked, &at)?.as_deref(), setting)?;
            written(&files, (&at, &text), owner, mounts)
        });
        match made {
            Ok(made) => {
                self.place(stage, made, step.command.clone())?;
                Ok(Ok("Poetry's settings".to_owned()))
            }
            Err(reason) => Ok(Err(reason)),
        }
    }
}

/// The packages of the lock that are installed.
fn chosen<'a>(
    project: &PoetryProject,
    lock: &'a PoetryLock,
    install: &PoetryInstall,
    (tool, target): (&Tool, &Target),
    here: &Surroundings,
) -> Result<BTreeMap<String, &'a LockedPackage>, NotNative> {
    match project.is_for(&tool.parsed_version()) {
        Some(true) => {}
        _ => return Err(NotNative::because("the project asks for another Poetry")),
    }
    if install.sync && !matches!(target, Target::New(_)) {
        return Err(NotNative::because("it removes packages that the lock does not name"));
    }
    let chosen =
        choose(project, lock, &install.selection, here).map_err(|error| NotNative::because(error.to_string()))?;
    if chosen.contains_key("pip") {
        return Err(NotNative::because("the lock names pip, which Poetry installs with programs of other names"));
    }
    match tool.from_places.iter().find(|name| chosen.contains_key(*name)) {
        Some(name) => {
            Err(NotNative::because(format!("`{name}` was installed from a place that the lock does not name")))
        }
        None => Ok(chosen),
    }
}

/// A package as a requirement that just its files fulfil.
fn line(package: &LockedPackage) -> String {
    let hashes: String = package.hashes.iter().map(|hash| format!(" --hash=sha256:{hash}")).collect();
    format!("{}=={}{hashes}", package.name, package.version)
}

/// The options that name indexes. Which of them a file comes from does not count, since its hash is known.
fn indexes(chosen: &BTreeMap<String, &LockedPackage>, mirror: Option<String>) -> BTreeMap<String, Option<String>> {
    let named: BTreeSet<&str> =
        chosen.values().filter_map(|package| package.index.as_ref()).map(|index| index.url.as_str()).collect();
    let are_all_named = chosen.values().all(|package| package.index.is_some());
    let mut named: Vec<String> = named.into_iter().map(str::to_owned).collect();
    let first = if are_all_named && !named.is_empty() { Some(named.remove(0)) } else { mirror };
    let mut options = BTreeMap::from([("no-deps".to_owned(), None)]);
    options.extend(first.map(|url| ("index-url".to_owned(), Some(url))));
    if !named.is_empty() {
        options.insert("extra-index-url".to_owned(), Some(named.join(" ")));
        options.insert("index-strategy".to_owned(), Some("unsafe-best-match".to_owned()));
    }
    options
}

/// The installation of requirements that name everything, which no setting of the image reaches.
pub(super) fn installation(
    interpreter: Interpreter,
    requirements: Vec<String>,
    installer_args: BTreeMap<String, Option<String>>,
) -> PipInstall {
    PipInstall { requirements, installer_args, ..PipInstall::bare(Installer::Uv, interpreter) }
}

/// A file of settings in the stage, in folders that are made for it.
fn written(
    files: &StageFiles,
    (at, text): (&str, &str),
    owner: Owner,
    mounts: &[Mounted],
) -> Result<Placed, NotNative> {
    let covers = |target: &str| at.starts_with(&format!("{}/", target.trim_end_matches('/')));
    if mounts.iter().filter_map(Mounted::target).any(covers) {
        return Err(NotNative::because("its file of settings is below a mount"));
    }
    let (folder, _) = at.rsplit_once('/').unwrap_or_default();
    let mut draft = Draft::on(files);
    draft.make_directories(folder.trim_start_matches('/').as_bytes(), 0o755, Some(owner))?;
    let path = EntryPath::parse(at.trim_start_matches('/')).map_err(|error| NotNative::because(error.to_string()))?;
    let bytes: std::sync::Arc<[u8]> = text.as_bytes().into();
    let kind = PlacedKind::File { size: bytes.len() as u64, content: FileContent::Text(bytes.clone()) };
    draft.put(PlacedEntry { path, kind, mode: 0o600, owner }, Some(bytes));
    Ok(draft.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_allows_just_the_files_of_the_lock() {
        let lock = |source: &str| {
            let text = format!(
                "[[package]]\nname = 'A_b'\nversion = '1.0'\npython-versions = '*'\n\
                 files = [{{file = 'x', hash = 'sha256:{0}'}}, {{file = 'y', hash = 'md5:0'}}]\n{source}\
                 [metadata]\nlock-version = '2.0'\n",
                "0".repeat(64)
            );
            PoetryLock::parse(&text).unwrap()
        };
        let own = lock("");
        assert_eq!(line(&own.packages[0]), format!("a-b==1.0 --hash=sha256:{}", "0".repeat(64)));
        let other = lock("[package.source]\ntype = 'legacy'\nurl = 'https://h.example/simple'\nreference = 'h'\n");
        let both = BTreeMap::from([("a".to_owned(), &own.packages[0]), ("b".to_owned(), &other.packages[0])]);
        let url = |options: &BTreeMap<String, Option<String>>, name: &str| options.get(name).cloned().flatten();
        let options = indexes(&both, Some("https://m.example".into()));
        assert_eq!(url(&options, "index-url").as_deref(), Some("https://m.example"));
        assert_eq!(url(&options, "extra-index-url").as_deref(), Some("https://h.example/simple"));
        let alone = BTreeMap::from([("b".to_owned(), &other.packages[0])]);
        let options = indexes(&alone, None);
        assert_eq!(url(&options, "index-url").as_deref(), Some("https://h.example/simple"));
        assert!(!options.contains_key("extra-index-url") && options.contains_key("no-deps"));
    }
}
