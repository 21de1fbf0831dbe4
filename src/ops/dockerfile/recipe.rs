//! Reads a Dockerfile and its context, once for all platforms.
//!
//! Nothing is carried out here, and no registry is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::dockerfile::{BuildArguments, Copy, Dockerfile, InstructionKind, MountKind, Origin, StageError};
use crate::inputs::context::ContextTree;
use crate::inputs::copy::{CopyError, copy_from_context};
use crate::inputs::ignore::IgnoreRules;
use crate::inputs::source::WalkOptions;
use crate::oci::Platform;
use crate::plan::LayerKey;
use crate::plan::files::{CopyArguments, CopyVerb, StageFiles, files_key};

use super::super::error::{Lower, OpsError};
use super::super::request::BuildRequest;
use super::request::DockerfileRequest;

/// A Dockerfile that was read.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    /// The file's name, for messages.
    pub(super) name: String,
    /// What it says.
    pub(super) file: Dockerfile,
    /// The position of the stage that is built.
    pub(super) target: usize,
    /// The files to copy from; `None` when no instruction copies any.
    pub(super) context: Option<Arc<ContextTree>>,
    /// The text of the ignore file.
    pub(super) ignore: String,
}

impl Recipe {
    /// Reads the file, and lists the context when it is wanted.
    ///
    /// # Errors
    /// Fails when the file cannot be read or is no Dockerfile, when it has no stage of the name asked for, and when
    /// the context cannot be listed.
    pub(super) fn read(request: &BuildRequest, asked: &DockerfileRequest) -> Result<Self, OpsError> {
        let name = asked.file.display().to_string();
        let text = read(&asked.file)?;
        let in_file = |source| OpsError::Dockerfile { path: asked.file.clone(), problem: Box::new(source) };
        let file = Dockerfile::parse(&text).map_err(in_file)?;
        let target = file.stage(asked.target.as_deref()).map_err(|source| of_stage(asked, source))?;
        let ignore = ignore_file(asked).map(|path| read(&path)).transpose()?.unwrap_or_default();
        let reads_context = file.stages.iter().flat_map(|stage| &stage.instructions).any(|line| reads(&line.kind));
        let mut recipe = Self { name, file, target, context: None, ignore };
        if reads_context {
            recipe.context = recipe.listed(request, asked)?;
        }
        Ok(recipe)
    }

    /// The files to copy from, listed now.
    ///
    /// # Errors
    /// Fails when the ignore file makes no sense, or a folder cannot be read.
    pub(super) fn listed(
        &self,
        request: &BuildRequest,
        asked: &DockerfileRequest,
    ) -> Result<Option<Arc<ContextTree>>, OpsError> {
        let Some(root) = &asked.context else { return Ok(None) };
        let rules = IgnoreRules::parse(self.ignore.as_bytes())?;
        let options = WalkOptions { without: request.not_sources.clone(), ..WalkOptions::default() };
        Ok(Some(Arc::new(ContextTree::walk(root, &rules, &options)?)))
    }

    /// The build arguments of one platform.
    ///
    /// # Errors
    /// Fails when a default before the first `FROM` cannot be expanded.
    pub(super) fn arguments(
        &self,
        asked: &DockerfileRequest,
        host: &Platform,
        platform: &Platform,
    ) -> Result<BuildArguments, OpsError> {
        let given: BTreeMap<String, String> = asked.build_args.clone();
        let stage = asked.target.clone().unwrap_or_default();
        let mut arguments = BuildArguments::new(given, host, platform, &stage);
        arguments.declare(&self.file.args, self.file.directives.escape).map_err(|source| OpsError::Instruction {
            place: format!("{}:{}", self.name, self.file.args.first().map_or(1, |argument| argument.lines.first)),
            text: "ARG".to_owned(),
            source: Lower::of(source),
        })?;
        Ok(arguments)
    }

    /// The stages that are needed, each after all that it needs, with what each begins with.
    ///
    /// # Errors
    /// Fails when the name of an image cannot be expanded.
    pub(super) fn needed(
        &self,
        asked: &DockerfileRequest,
        arguments: &BuildArguments,
    ) -> Result<Vec<(usize, Origin)>, OpsError> {
        let lookup = |name: &str| arguments.global(name);
        let failed = |source| of_stage(asked, source);
        let needed = self.file.needed(self.target, &lookup).map_err(failed)?;
        needed.into_iter().map(|at| Ok((at, self.file.base(at, &lookup).map_err(failed)?))).collect()
    }

    /// The keys of what the instructions of these stages take out of the context, wherever it goes.
    ///
    /// # Errors
    /// Fails when a file that is taken cannot be read.
    pub(super) fn taken(&self, positions: &BTreeSet<usize>) -> Result<Vec<LayerKey>, OpsError> {
        let Some(context) = &self.context else { return Ok(Vec::new()) };
        let mut keys = Vec::new();
        let stages = positions.iter().filter_map(|position| self.file.stages.get(*position));
        for copy in stages.flat_map(|stage| &stage.instructions).flat_map(|line| copies(&line.kind)) {
            let files = StageFiles::default();
            let arguments = CopyArguments::new(&copy, CopyVerb::Copy, "/", &files)?;
            match copy_from_context(&arguments, context, &files) {
                Ok(placed) => keys.push(files_key(&placed.files)),
                Err(CopyError::Context(error)) => return Err(error.into()),
                // What else is wrong with it is said when it is carried out.
                Err(_) => {}
            }
        }
        Ok(keys)
    }

    /// What a stage is called: its name, else its number.
    pub(super) fn stage_name(&self, position: usize) -> String {
        self.file.stages[position].name.clone().unwrap_or_else(|| position.to_string())
    }

    /// Where an instruction stands, for messages.
    pub(super) fn place(&self, line: usize) -> String {
        format!("{}:{line}", self.name)
    }
}

fn of_stage(asked: &DockerfileRequest, source: StageError) -> OpsError {
    OpsError::Instruction {
        place: asked.file.display().to_string(),
        text: "FROM".to_owned(),
        source: Lower::of(source),
    }
}

/// What an instruction takes out of the context; all of it where a name is a variable.
fn copies(kind: &InstructionKind) -> Vec<Copy> {
    let of = |sources: &[String], exclude: &[String]| {
        let is_named = !sources.iter().any(|source| source.contains('$'));
        let sources = if is_named { sources.to_vec() } else { vec![".".to_owned()] };
        let exclude = if is_named { exclude.to_vec() } else { Vec::new() };
        Copy { sources, exclude, destination: "/context/".into(), ..Copy::default() }
    };
    match kind {
        InstructionKind::Copy(copy) | InstructionKind::Add(copy) if copy.from.is_none() => {
            let local: Vec<String> = copy.sources.iter().filter(|source| !source.contains("://")).cloned().collect();
            if local.is_empty() { Vec::new() } else { vec![of(&local, &copy.exclude)] }
        }
        InstructionKind::Run(run) => {
            let bound = run.mounts.iter().filter(|mount| mount.kind == MountKind::Bind && mount.from.is_none());
            bound.map(|mount| of(&[mount.source.clone().unwrap_or_else(|| ".".into())], &[])).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether an instruction reads files of the context.
fn reads(kind: &InstructionKind) -> bool {
    match kind {
        InstructionKind::Copy(copy) | InstructionKind::Add(copy) => copy.from.is_none(),
        InstructionKind::Run(run) => run.mounts.iter().any(|mount| mount.from.is_none()),
        InstructionKind::OnBuild(_) => true,
        _ => false,
    }
}

/// The ignore file that Docker would take: the one that is named, the Dockerfile's own, that of the context.
pub(super) fn ignore_file(asked: &DockerfileRequest) -> Option<PathBuf> {
    let mut own = asked.file.as_os_str().to_owned();
    own.push(".dockerignore");
    let usual = [Some(PathBuf::from(own)), asked.context.as_ref().map(|root| root.join(".dockerignore"))];
    asked.ignore.clone().or_else(|| usual.into_iter().flatten().find(|path| path.is_file()))
}

fn read(path: &Path) -> Result<String, OpsError> {
    std::fs::read_to_string(path).map_err(|source| OpsError::ReadFile { path: path.to_owned(), source })
}
