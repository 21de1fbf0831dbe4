//! Requirement files of a stage, read from where the plan's own copies came from.
//!
//! What they come to is resolved elsewhere; no file of a parent is read.

use std::collections::BTreeMap;
use std::path::Path;

use crate::dockerfile::absolute;
use crate::dockerfile::run::{Mounted, PipInstall, Step};
use crate::inputs::requirements::{
    self, RequirementOption, RequirementOrigin, RequirementSet, RequirementSource, SourcedRequirements,
};
use crate::layer::EntryPath;
use crate::oci::Digest;
use crate::plan::files::{FileContent, NotNative, StageFiles};
use crate::resolver::IndexCredentials;

use super::super::error::OpsError;
use super::evaluate::Evaluation;

/// Options that a requirement file can have, so that they travel with the lines that they hold for.
const IN_FILES: [&str; 5] = ["--index-url", "--extra-index-url", "--find-links", "--no-index", "--trusted-host"];

/// A file of the image, by where its content comes from.
pub(super) struct Asked<'a> {
    pub(super) mounts: &'a [Mounted],
    pub(super) files: &'a StageFiles,
    pub(super) folder: &'a str,
    pub(super) variables: &'a BTreeMap<String, String>,
}

impl Evaluation<'_> {
    /// What is asked for, with all that requirement files include, and with `secret` options that no text has.
    pub(super) fn source(
        &self,
        asked: &Asked<'_>,
        step: &Step,
        install: &PipInstall,
        secret: Vec<RequirementOption>,
    ) -> Result<Result<SourcedRequirements, NotNative>, OpsError> {
        let root =
            self.recipe.context.as_ref().map_or_else(|| self.request.folder.clone(), |tree| tree.root().to_owned());
        let mut set = RequirementSet { options: options(install), ..RequirementSet::default() };
        for file in &install.requirement_files {
            match read(asked, &root, file)? {
                Ok(read) => join(&mut set, read),
                Err(reason) => return Ok(Err(reason)),
            }
        }
        for file in &install.constraints {
            match read(asked, &root, file)? {
                Ok(mut read) => {
                    let lines = std::mem::take(&mut read.requirements);
                    read.constraints.extend(lines);
                    join(&mut set, read);
                }
                Err(reason) => return Ok(Err(reason)),
            }
        }
        let named =
            RequirementSource::Lines { name: format!("`{}`", step.command), lines: install.requirements.clone() };
        join(&mut set, requirements::read(&root, &named, asked.variables)?);
        let is_here = |line: &&requirements::RequirementLine| {
            matches!(line.kind, requirements::LineKind::Path | requirements::LineKind::Editable)
        };
        if let Some(line) = set.requirements.iter().find(is_here) {
            return Ok(Err(NotNative::because(format!("`{}` is a folder or file of the image", line.text))));
        }
        let text = set.to_text();
        set.options.splice(0..0, secret);
        self.sign(&mut set, asked.mounts)?;
        let place = format!("`{}`", step.command);
        Ok(Ok(SourcedRequirements::new(RequirementOrigin::User, place, text, &root, set)))
    }

    /// Gives the indexes that are named the credentials of a netrc file among the secrets.
    fn sign(&self, set: &mut RequirementSet, mounts: &[Mounted]) -> Result<(), OpsError> {
        let mut credentials = IndexCredentials::default();
        for mount in mounts {
            let Mounted::SecretFile { target, id, required } = mount else { continue };
            if !target.ends_with("/.netrc") {
                continue;
            }
            match self.request.secrets.get(id).and_then(|secret| secret.expose_text()) {
                Some(text) => credentials.add_netrc(text),
                None if *required => return Err(OpsError::NoSecret { id: id.clone() }),
                None => {}
            }
        }
        for option in &mut set.options {
            if let Some(signed) = option.value.as_deref().and_then(|url| credentials.signed(url)) {
                option.value = Some(signed);
            }
        }
        Ok(())
    }
}

/// Reads a requirement file of the image from where its content comes from.
fn read(asked: &Asked<'_>, root: &Path, file: &str) -> Result<Result<RequirementSet, NotNative>, OpsError> {
    let at = absolute(asked.folder, file);
    if !at.ends_with(".txt") && !at.ends_with(".in") && (at.ends_with(".toml") || at.ends_with(".py")) {
        return Ok(Err(NotNative::because(format!("`{file}` is no plain file of requirements"))));
    }
    let content = match content(asked, &at) {
        Some(content) => content,
        None => return Ok(Err(NotNative::because(format!("`{at}` is no file that was copied from the context")))),
    };
    let source = match &content {
        FileContent::Context { path, .. } => RequirementSource::File(path.to_string().into()),
        FileContent::Text(text) => {
            RequirementSource::Text { name: file.to_owned(), text: String::from_utf8_lossy(text).into_owned() }
        }
        FileContent::Member { .. } | FileContent::Layer(_) => {
            return Ok(Err(NotNative::because(format!("`{at}` comes out of an archive"))));
        }
    };
    let set = requirements::read(root, &source, asked.variables)?;
    let FileContent::Context { path, .. } = &content else {
        return Ok(if set.files.is_empty() { Ok(set) } else { Err(NotNative::because("a text includes files")) });
    };
    // What a file includes is looked for beside it, and there it has to be in the image as well.
    let folder = |path: &str| path.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_owned());
    let (here, there) = (folder(&path.to_string()), folder(&at));
    for included in set.files.iter().skip(1) {
        let relative = match here.is_empty() {
            true => Some(included.name.as_str()),
            false => included.name.strip_prefix(&format!("{here}/")),
        };
        let is_same = relative.filter(|name| !name.starts_with('/')).is_some_and(|name| {
            let found = self::content(asked, &absolute(&there, name));
            matches!(found, Some(FileContent::Context { path, .. }) if path.to_string() == included.name)
        });
        if !is_same {
            let text = format!("`{file}` includes `{}`, which is not beside it in the image", included.name);
            return Ok(Err(NotNative::because(text)));
        }
    }
    Ok(Ok(set))
}

/// Where the content of the image's file at `at` comes from.
pub(super) fn content(asked: &Asked<'_>, at: &str) -> Option<FileContent> {
    for mount in asked.mounts {
        let Mounted::Files { target, source, from: None } = mount else { continue };
        let target = absolute(asked.folder, target);
        let below = match at.strip_prefix(target.trim_end_matches('/')) {
            Some("") => "",
            Some(rest) => rest.strip_prefix('/').unwrap_or_default(),
            None => continue,
        };
        let path = absolute("/", &format!("{}/{below}", source.as_deref().unwrap_or_default()));
        let path = EntryPath::parse(path.trim_matches('/')).ok()?;
        return Some(FileContent::Context { path, digest: Digest::of(b"") });
    }
    let reached = asked.files.view().reach(at, true).ok()?;
    let path = EntryPath::parse(&reached.path).ok()?;
    asked.files.content(&path).cloned()
}

fn join(set: &mut RequirementSet, read: RequirementSet) {
    set.requirements.extend(read.requirements);
    set.constraints.extend(read.constraints);
    set.options.extend(read.options);
    set.files.extend(read.files);
}

/// The options that stand in files too.
pub(super) fn options(install: &PipInstall) -> Vec<RequirementOption> {
    let of = |(name, value): (&String, &Option<String>)| {
        let name = IN_FILES.into_iter().find(|known| known.trim_start_matches('-') == name)?;
        let values: Vec<Option<String>> = match value {
            Some(value) => value.split_whitespace().map(|value| Some(value.to_owned())).collect(),
            None => vec![None],
        };
        Some(values.into_iter().map(move |value| RequirementOption { name, value, file: "RUN".into(), line: 1 }))
    };
    install.installer_args.iter().filter_map(of).flatten().collect()
}

/// The options that do not.
pub(super) fn arguments(install: &PipInstall) -> indexmap::IndexMap<String, Option<String>> {
    let is_own = |name: &str| !IN_FILES.iter().any(|known| known.trim_start_matches('-') == name);
    let own = install.installer_args.iter().filter(|(name, _)| is_own(name));
    own.map(|(name, value)| (name.clone(), value.clone())).collect()
}
