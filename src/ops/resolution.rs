//! Asks the resolver, unless the answer to the same question is in the store.
//!
//! Credentials of indexes go to the resolver and nowhere else; no key and no record holds one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use crate::inputs::requirements::{RequirementLine, RequirementOption, SourcedRequirements};
use crate::oci::{Digest, Platform};
use crate::python::environment::{Libc, PythonEnvironment};
use crate::python::lock::Lock;
use crate::python::tags::CompatibleTags;
use crate::resolver::child::ChildEnvironment;
use crate::resolver::request::{ParentDistribution, PythonTarget, RequirementText, ResolveRequest};
use crate::resolver::{self, Chosen, WheelFetcher};

use super::error::OpsError;
use super::means::Means;
use super::request::BuildRequest;
use super::wheels::{self, Making};

/// The machine's name as Python has it.
pub(super) fn machine(platform: &Platform) -> &str {
    match platform.architecture.as_str() {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        other => other,
    }
}

/// The installer's arguments without what may hold a secret, for keys.
pub(super) fn public_arguments(arguments: &IndexMap<String, Option<String>>) -> Vec<(String, String)> {
    let public = |value: &str| match url::Url::parse(value) {
        Ok(mut url) if url.has_host() => {
            let _ = url.set_username("");
            let _ = url.set_password(None);
            url.to_string()
        }
        _ => value.to_owned(),
    };
    let words = |value: &String| value.split(' ').map(public).collect::<Vec<_>>().join(" ");
    let arguments: BTreeMap<_, _> = arguments.iter().collect();
    arguments.into_iter().map(|(name, value)| (name.clone(), value.as_ref().map(words).unwrap_or_default())).collect()
}

/// The answer to a question to the resolver.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    /// What is to be installed.
    pub lock: Lock,
    /// The same for the next build, unless it depends on folders of this machine.
    pub chosen: Option<Chosen>,
    /// How many packages stand as an earlier build chose them, when lines were only added.
    pub kept: Option<usize>,
    /// Of several installations, which one placed each package.
    pub of: BTreeMap<String, usize>,
}

/// What a question is put with.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) means: &'a Means,
    pub(super) request: &'a BuildRequest,
    pub(super) tags: &'a CompatibleTags,
    pub(super) fetcher: &'a WheelFetcher,
    /// What was chosen before.
    pub(super) last: Option<&'a Chosen>,
}

/// The answer to `asked`, asked once in a run.
///
/// # Errors
/// Fails when the resolver finds no answer, and shows its explanation.
pub(super) async fn resolve_once(with: Asking<'_>, asked: &ResolveRequest) -> Result<Answer, OpsError> {
    let ask = async || resolve(with, asked).await;
    match resolver::resolution_key(asked) {
        Some(key) => with.means.memory.answers.get(key.to_string(), ask).await,
        None => ask().await,
    }
}

/// The lock for `asked`: from the store when the same was asked before; on top of `last` when lines were only added;
/// else from the resolver.
///
/// # Errors
/// Fails when the resolver finds no answer, and shows its explanation.
async fn resolve(with: Asking<'_>, asked: &ResolveRequest) -> Result<Answer, OpsError> {
    let Asking { means, request, tags, fetcher, last } = with;
    let answer = |lock: Lock, kept: Option<usize>| {
        let mut chosen = Chosen::of(asked, lock.clone());
        if let (Some(chosen), Some(last)) = (&mut chosen, last) {
            chosen.add_metadata_of(last);
        }
        Answer { lock, chosen, kept, ..Answer::default() }
    };
    if !request.no_cache
        && let Some(lock) = resolver::recall(&means.store, asked)?
        && wheels::are_here(&means.store, &lock)
    {
        return Ok(answer(lock, None));
    }
    let making = Making { means, asked, tags, fetcher };
    let complete_question = ResolveRequest { made: making.of_places().await?, ..asked.clone() };
    let extended = match last {
        Some(last) => means.resolver.extend(last, &complete_question, tags, &means.store, &means.reporter).await?,
        None => None,
    };
    let kept = extended.is_some().then(|| last.map_or(0, |last| last.lock().packages.len()));
    let resolved = match extended {
        Some(resolved) => resolved,
        None => means.resolver.resolve(&complete_question, tags, &means.store, &means.reporter).await?,
    };
    let mut lock = making.complete(resolved).await?;
    fetcher.add_sizes(&mut lock.packages).await?;
    resolver::remember(&means.store, asked, &lock)?;
    Ok(answer(lock, kept))
}

/// Whether the answer for `sources` depends on folders of this machine, so that no key can stand for it.
pub(super) fn is_local(
    means: &Means,
    request: &BuildRequest,
    sources: &[SourcedRequirements],
    contents: &BTreeMap<PathBuf, Digest>,
) -> bool {
    resolver::resolution_key(&question(means, request, sources, contents, None)).is_none()
}

/// The question to the resolver about all `sources` together; without `interpreter` only where it may look and with which
/// credentials.
pub(super) fn question(
    means: &Means,
    request: &BuildRequest,
    sources: &[SourcedRequirements],
    contents: &BTreeMap<PathBuf, Digest>,
    interpreter: Option<(&PythonEnvironment, &Platform)>,
) -> ResolveRequest {
    let mut requirements = Vec::new();
    let mut constraints = Vec::new();
    for SourcedRequirements { set, folder, .. } in sources {
        requirements.extend(texts(&set.options, &set.requirements, folder));
        constraints.extend(texts(&[], &set.constraints, folder));
    }
    if requirements.is_empty() {
        // uv wants a file, if only an empty one.
        requirements.push(RequirementText {
            name: "requirements".into(),
            text: String::new(),
            folder: request.folder.clone(),
        });
    }
    ResolveRequest {
        requirements,
        constraints,
        target: target(means, interpreter),
        installed: interpreter.map(|(python, _)| installed(python)).unwrap_or_default(),
        installer: request.settings.docker.python_package_installer,
        contents: contents.clone(),
        made: Vec::new(),
        arguments: request.settings.docker.python_package_installer_args.clone().into_iter().collect(),
        folder: request.folder.clone(),
        scratch: means.store.root().join("tmp"),
        environment: installers_environment(means, request),
        offline: means.resolver.is_offline(),
        upgrade: request.upgrade,
    }
}

/// The client's environment with the indexes that the image's variables name, as `ENV` before an installation does, and
/// with the secrets of the settings.
///
/// What else they tell an installer, such as where its cache is, holds inside the image and not here.
fn installers_environment(means: &Means, request: &BuildRequest) -> ChildEnvironment {
    let names_index = |name: &str| (name.starts_with("PIP_") || name.starts_with("UV_")) && name.contains("INDEX");
    let named = request.settings.docker.environment.iter().filter(|(name, _)| names_index(name));
    let environment = means.resolver.environment().clone();
    let environment = named.fold(environment, |environment, (name, value)| environment.with(name, value));
    let secrets = request.secrets.iter().filter_map(|(name, secret)| Some((name, secret.expose_text()?)));
    secrets.fold(environment, |environment, (name, value)| environment.with(name, value))
}

/// `lines` as files, one for each run of lines from one place, so that messages name that place; `options` stand in the
/// first.
fn texts(options: &[RequirementOption], lines: &[RequirementLine], folder: &Path) -> Vec<RequirementText> {
    let text = |name: &str, text: String| RequirementText { name: name.to_owned(), text, folder: folder.to_owned() };
    let of_run =
        |run: &[RequirementLine]| text(&run[0].file, run.iter().map(|line| line.text.clone() + "\n").collect());
    let mut texts: Vec<RequirementText> = lines.chunk_by(|a, b| a.file == b.file).map(of_run).collect();
    let of_all: String = options.iter().map(|option| option.text() + "\n").collect();
    match (texts.first_mut(), options.first()) {
        (Some(first), _) => first.text.insert_str(0, &of_all),
        (None, Some(option)) => texts.push(text(&option.file, of_all)),
        (None, None) => {}
    }
    texts
}

fn target(means: &Means, interpreter: Option<(&PythonEnvironment, &Platform)>) -> PythonTarget {
    let Some((python, platform)) = interpreter else {
        return PythonTarget { version: "3".into(), platform: means.host_platform.clone(), libc: Libc::Unknown };
    };
    PythonTarget {
        version: format!("{}.{}", python.version.0, python.version.1),
        platform: platform.clone(),
        libc: python.libc,
    }
}

fn installed(python: &PythonEnvironment) -> Vec<ParentDistribution> {
    let told = python.installed.iter().map(|dist| ParentDistribution {
        name: dist.name.clone(),
        version: dist.version.clone(),
        metadata: dist.metadata.clone(),
        installer: dist.installer.clone(),
    });
    told.collect()
}

/// A fetcher of wheels with the credentials of the indexes that `request` names.
///
/// # Errors
/// Fails when a keyring was asked for and does not answer.
pub(super) async fn fetcher(
    means: &Means,
    request: &BuildRequest,
    sources: &[SourcedRequirements],
) -> Result<WheelFetcher, OpsError> {
    let asked = question(means, request, sources, &BTreeMap::new(), None);
    let mut credentials = resolver::index_credentials(&asked);
    resolver::add_keyring(&asked, &mut credentials).await?;
    if let Some(text) = &means.netrc {
        credentials.add_netrc(text);
    }
    Ok(means.resolver.fetcher(&means.store, credentials, &means.reporter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_arguments_hold_no_userinfo() {
        let arguments = IndexMap::from([
            ("index-url".to_owned(), Some("https://me:secret@index.example/simple".to_owned())),
            ("pre".to_owned(), None),
        ]);
        let public = public_arguments(&arguments);
        assert_eq!(public[0].1, "https://index.example/simple");
        assert_eq!(public[1], ("pre".to_owned(), String::new()));
    }
}
