//! Where a container gets its code from: the image, a code repository, an artifact store, or nowhere.
//!
//! Decided before anything else is planned; uploads are left to `build` (docs/adr/0016).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::image::annotation;
use crate::inputs::git::{self, GitError, GitState, Remote, Untracked};
use crate::inputs::secrets::{Suspect, suspects};
use crate::inputs::source::{Omission, SourceTree};
use crate::settings::CodeRepository;

use super::code_archive::{self, ArchivedCode};
use super::code_tree::{self, ChosenBy};
use super::error::OpsError;
use super::means::Means;
use super::request::BuildRequest;

/// ZenML's variable: files that git does not track do not make a checkout dirty.
const IGNORE_UNTRACKED: &str = "ZENML_CODE_REPOSITORY_IGNORE_UNTRACKED_FILES";
/// How many files a reason or warning names.
const NAMED: usize = 3;

/// Code in a repository, for the container to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryCode {
    /// The repository, without anything secret.
    pub url: String,
    /// The full ID of the commit.
    pub commit: String,
    /// Where the source root lies in the repository; empty for its top.
    pub subdirectory: String,
    /// The branch that is checked out here; it is not recorded in the image.
    pub branch: Option<String>,
}

/// How code comes into the container.
#[derive(Clone, Debug)]
pub enum CodeDelivery {
    /// It is in the image.
    Include,
    /// The container fetches it from a code repository.
    Repository(RepositoryCode),
    /// The container fetches it from an artifact store.
    Archive(ArchivedCode),
    /// It does not.
    Nothing,
}

impl CodeDelivery {
    /// The word in machine-readable output and in the annotation.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Include => "include",
            Self::Repository(_) => "repository",
            Self::Archive(_) => "archive",
            Self::Nothing => "nothing",
        }
    }
}

/// The code of a build: where it is, how it is delivered, and what it holds.
#[derive(Clone, Debug)]
pub struct Code {
    /// The source root.
    pub root: PathBuf,
    /// How it comes into the container.
    pub delivery: CodeDelivery,
    /// Why, in the order in which ways were looked at.
    pub reasons: Vec<String>,
    /// The files that are delivered; `None` when the repository has them, or nothing is delivered.
    pub tree: Option<Arc<SourceTree>>,
    /// What decided which files those are.
    pub chosen_by: ChosenBy,
    /// Files among them that look like secrets.
    pub suspects: Vec<Suspect>,
    /// What a person should hear of.
    pub warnings: Vec<String>,
}

/// Everything that decides about code: images of one run with equal keys have the same.
pub(super) fn key(request: &BuildRequest) -> String {
    let (docker, native) = (&request.settings.docker, &request.settings.lapstrake);
    let allowed = [
        docker.allow_including_files_in_images,
        docker.allow_download_from_code_repository,
        docker.allow_download_from_artifact_store,
        docker.local_project_install_command.is_some(),
        request.strict,
    ];
    let named = (&docker.build_config.dockerignore, &native.code_repository, &native.artifact_store);
    format!("{:?}", (&request.source_root, &request.folder, &request.not_sources, allowed, named))
}

/// Decides, and reads what is delivered.
///
/// # Errors
/// Fails when the sources cannot be read, when the artifact store cannot be asked, and, with `strict`, when a file looks
/// like a secret.
pub(super) async fn decide(means: &Means, request: &BuildRequest) -> Result<Code, OpsError> {
    let (docker, native) = (&request.settings.docker, &request.settings.lapstrake);
    let mut code = Code {
        root: request.source_root.clone(),
        delivery: CodeDelivery::Nothing,
        reasons: Vec::new(),
        tree: None,
        chosen_by: ChosenBy::Everything,
        suspects: Vec::new(),
        warnings: Vec::new(),
    };
    if docker.local_project_install_command.is_some() {
        code.reasons.push("`local_project_install_command` needs the files in the image".to_owned());
        code.include(request).await?;
        return code.looked_into(request).await;
    }
    if let (true, Some(asked)) = (docker.allow_download_from_code_repository, &native.code_repository) {
        match repository(request, asked).await {
            Ok(found) => {
                code.reasons.push("the checkout is clean, and its commit is at the remote".to_owned());
                code.delivery = CodeDelivery::Repository(found);
                return Ok(code);
            }
            Err(why) => code.reasons.push(format!("not from the code repository: {why}")),
        }
    }
    if let (true, Some(store)) = (docker.allow_download_from_artifact_store, &native.artifact_store) {
        let (tree, chosen_by) = code.archive_tree(request).await?;
        if tree.file_count() > 0 {
            let archived = code_archive::make(means, request, store, &tree).await?;
            code.reasons.push(format!("`lapstrake.artifact_store` is {store}"));
            (code.delivery, code.tree, code.chosen_by) = (CodeDelivery::Archive(archived), Some(tree), chosen_by);
            return code.looked_into(request).await;
        }
        code.reasons.push("not from the artifact store: there is no file to put there".to_owned());
    }
    if docker.allow_including_files_in_images {
        code.include(request).await?;
        return code.looked_into(request).await;
    }
    code.reasons.push("`allow_including_files_in_images` is off".to_owned());
    code.warnings.push(format!("the container gets no code: {}", code.reasons.join("; ")));
    Ok(code)
}

impl Code {
    async fn include(&mut self, request: &BuildRequest) -> Result<(), OpsError> {
        let (tree, chosen_by) = code_tree::included(request).await?;
        (self.delivery, self.tree, self.chosen_by) = (CodeDelivery::Include, Some(tree), chosen_by);
        Ok(())
    }

    async fn archive_tree(&mut self, request: &BuildRequest) -> Result<(Arc<SourceTree>, ChosenBy), OpsError> {
        let chosen = code_tree::archived(request).await?;
        self.warnings.extend(chosen.warnings);
        Ok((chosen.tree, chosen.chosen_by))
    }

    /// The same, with what its files look like.
    async fn looked_into(mut self, request: &BuildRequest) -> Result<Self, OpsError> {
        let Some(tree) = self.tree.clone() else { return Ok(self) };
        self.warnings.extend(tree.left_out().iter().map(|left| {
            let what = match left.what {
                Omission::Socket => "a socket",
                Omission::Fifo => "a named pipe",
                Omission::Device => "a device",
            };
            format!("`{}` is {what} and stays out of the image", left.path)
        }));
        let root = self.root.clone();
        let found = tokio::task::spawn_blocking(move || suspects(&tree, &root)).await.map_err(OpsError::Worker)??;
        let names: Vec<String> = found.iter().map(|suspect| suspect.path.to_string()).collect();
        if request.strict && !names.is_empty() {
            return Err(OpsError::Secrets { files: several(&names) });
        }
        let place = if matches!(self.delivery, CodeDelivery::Include) { "image" } else { "archive" };
        self.warnings.extend(
            found
                .iter()
                .map(|suspect| format!("`{}` looks like {} and goes into the {place}", suspect.path, suspect.what)),
        );
        self.suspects = found;
        Ok(self)
    }

    /// The files that go into the image; empty when only the folder does, `None` when not even that.
    pub(super) fn image_tree(&self, has_user: bool) -> Option<Arc<SourceTree>> {
        match &self.delivery {
            CodeDelivery::Include => self.tree.clone().filter(|tree| has_user || !tree.entries().is_empty()),
            // Whoever runs the container can write where the code is put.
            CodeDelivery::Repository(_) | CodeDelivery::Archive(_) => Some(Arc::default()),
            CodeDelivery::Nothing => has_user.then(Arc::default),
        }
    }

    /// The variables that tell a container where its code is.
    pub fn environment(&self) -> Vec<(String, String)> {
        let pairs: Vec<(&str, &str)> = match &self.delivery {
            CodeDelivery::Include | CodeDelivery::Nothing => Vec::new(),
            CodeDelivery::Repository(code) => vec![
                ("LAPSTRAKE_CODE_REPOSITORY", &code.url),
                ("LAPSTRAKE_CODE_COMMIT", &code.commit),
                ("LAPSTRAKE_CODE_SUBDIRECTORY", &code.subdirectory),
            ],
            CodeDelivery::Archive(code) => {
                vec![("LAPSTRAKE_CODE_ARCHIVE", &code.uri), ("LAPSTRAKE_CODE_DIGEST", code.digest.as_str())]
            }
        };
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// The annotations of the image's manifest.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let pairs: Vec<(&str, &str)> = match &self.delivery {
            CodeDelivery::Include | CodeDelivery::Nothing => return BTreeMap::new(),
            CodeDelivery::Repository(code) => vec![
                (annotation::SOURCE, &code.url),
                (annotation::REVISION, &code.commit),
                (annotation::CODE_SUBDIRECTORY, &code.subdirectory),
            ],
            CodeDelivery::Archive(code) => {
                vec![(annotation::CODE_ARCHIVE, &code.uri), (annotation::CODE_DIGEST, code.digest.as_str())]
            }
        };
        let pairs = pairs.into_iter().chain([(annotation::CODE_DELIVERY, self.delivery.word())]);
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

/// The code in its repository, or why it cannot be fetched from there.
async fn repository(request: &BuildRequest, asked: &CodeRepository) -> Result<RepositoryCode, String> {
    let said = |error: GitError| match std::error::Error::source(&error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    };
    let found = git::find(&request.source_root, &request.variables).map_err(said)?;
    let checkout = found.ok_or_else(|| format!("`{}` is in no git checkout", request.source_root.display()))?;
    let untracked = match request.variables.get(IGNORE_UNTRACKED).map(String::as_str) {
        Some("1" | "y" | "yes" | "True" | "true") => Untracked::Ignore,
        _ => Untracked::Count,
    };
    let state = checkout.state(untracked).await.map_err(said)?;
    let commit = state.commit.clone().ok_or("the checkout has no commit yet")?;
    if !state.is_clean() {
        return Err(differences(&state));
    }
    let remote = remote(&state, asked, &commit)?;
    let subdirectory = checkout.subdirectory().to_str().ok_or("the name of its folder is not UTF-8")?.to_owned();
    let url = match asked {
        CodeRepository::Url(url) => git::RemoteUrl::parse(url).to_string(),
        CodeRepository::Remote => remote.url.to_string(),
    };
    Ok(RepositoryCode { url, commit, subdirectory, branch: state.branch })
}

fn differences(state: &GitState) -> String {
    let mut parts = Vec::new();
    if !state.changed.is_empty() {
        let verb = if state.changed.len() == 1 { "differs" } else { "differ" };
        parts.push(format!("{} {verb} from the commit", several(&state.changed)));
    }
    if !state.untracked.is_empty() {
        let verb = if state.untracked.len() == 1 { "is" } else { "are" };
        parts.push(format!("{} {verb} not tracked", several(&state.untracked)));
    }
    parts.join(", and ")
}

/// The remote that has the commit and is the one asked for.
fn remote<'a>(state: &'a GitState, asked: &CodeRepository, commit: &str) -> Result<&'a Remote, String> {
    let is_asked_for = |remote: &&Remote| match asked {
        CodeRepository::Url(url) => remote.url.is_same_place(&git::RemoteUrl::parse(url)),
        CodeRepository::Remote => true,
    };
    let candidates: Vec<&Remote> = state.remotes.iter().filter(is_asked_for).collect();
    let Some(first) = candidates.first() else {
        return Err(match asked {
            CodeRepository::Url(url) => format!("no remote of the checkout is `{}`", git::RemoteUrl::parse(url)),
            CodeRepository::Remote => "the checkout has no remote".to_owned(),
        });
    };
    let short = commit.get(..12).unwrap_or(commit);
    let having = candidates.iter().find(|remote| state.is_at(remote));
    let remote = having.ok_or_else(|| format!("commit {short} is not known to be at `{}`; push it", first.name))?;
    if *asked == CodeRepository::Remote && remote.url.is_local() {
        return Err(format!("remote `{}` is a folder of this machine", remote.name));
    }
    Ok(remote)
}

/// The first few names, and how many more there are.
fn several(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
    match names.len().saturating_sub(NAMED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
