//! `COPY` and `ADD`: out of the context, out of stages, out of images.
//!
//! What is selected and where it goes is decided in `inputs::copy`; bytes are read when a layer is made.

use std::sync::Arc;

use crate::dockerfile::{Copy, Origin};
use crate::image::filesystem::{Found, View};
use crate::inputs::copy::{CopyError, copy_from_context};
use crate::layer::EntryPath;
use crate::plan::Action;
use crate::plan::files::{CopyArguments, CopySource, CopyVerb, StageFiles, files_layer};

use super::super::copied::{self, plan_copy};
use super::super::error::OpsError;
use super::super::ground::Mode;
use super::super::placed;
use super::evaluate::{Evaluation, Outcome};
use super::stage::Stage;

impl Evaluation<'_> {
    /// Carries a `COPY` or `ADD` out.
    pub(super) async fn copy(
        &mut self,
        position: usize,
        stage: &mut Stage,
        copy: &Copy,
        verb: CopyVerb,
    ) -> Result<Outcome, OpsError> {
        let files = self.files(stage).await?;
        let arguments = match CopyArguments::new(copy, verb, &stage.config.working_dir(), &files) {
            Ok(arguments) => arguments,
            Err(error) => return Err(error.into()),
        };
        match &copy.from {
            None => self.copied_from_context(stage, arguments, files).await,
            Some(from) => {
                let origin = self.recipe.file.origin(position, from);
                self.copied_from_origin(stage, &origin, from, &arguments, &files).await
            }
        }
    }

    async fn copied_from_context(
        &mut self,
        stage: &mut Stage,
        arguments: CopyArguments,
        files: StageFiles,
    ) -> Result<Outcome, OpsError> {
        // A trigger of the parent may copy where nothing in the file does.
        let context = match &self.recipe.context {
            Some(context) => Some(Arc::clone(context)),
            None => self.recipe.listed(self.request, self.asked)?,
        };
        let context = context.ok_or(OpsError::NoContext)?;
        let root = context.root().to_owned();
        let selected = tokio::task::spawn_blocking(move || copy_from_context(&arguments, &context, &files));
        let made = match selected.await.map_err(OpsError::Worker)? {
            Ok(made) => made,
            Err(CopyError::NotNative(reason)) => return Ok(Err(reason)),
            Err(error) => return Err(error.into()),
        };
        let (count, bytes) = (made.files.file_count(), made.files.total_bytes());
        let files = if count == 1 { "1 file".to_owned() } else { format!("{count} files") };
        if made.files.is_empty() {
            stage.files = Some(made.after);
            return Ok(Ok("nothing that is not there".into()));
        }
        let title = match made.files.entries.first() {
            Some(first) if made.files.entries.len() == 1 => format!("/{}", first.path),
            _ => format!("{files} of the context"),
        };
        let layer = self.located(files_layer(made.files, &root, title))?;
        stage.add(layer);
        stage.files = Some(made.after);
        Ok(Ok(format!("{files} of the context, {bytes} bytes")))
    }

    async fn copied_from_origin(
        &mut self,
        stage: &mut Stage,
        origin: &Origin,
        word: &str,
        arguments: &CopyArguments,
        files: &StageFiles,
    ) -> Result<Outcome, OpsError> {
        let (layers, source, name) = match origin {
            Origin::Scratch => (Vec::new(), StageFiles::default(), "`scratch`".to_owned()),
            Origin::Stage(at) => {
                let mut other = self.stages.get(at).cloned().ok_or(OpsError::ParentUnset)?;
                let mut source = self.files(&mut other).await?;
                // Programs of packages lie among others, and nobody knows their names before they are installed.
                for folder in &other.scripts {
                    if let Ok(path) = EntryPath::parse(folder.trim_start_matches('/')) {
                        source.mark_contents_unknown(&path);
                    }
                }
                let mut layers = match is_of_stage_alone(&other, &source, arguments) {
                    true => Vec::new(),
                    false => self.base_layers(&other).await?,
                };
                layers.extend(other.layers.clone());
                (layers, source, format!("stage `{word}`"))
            }
            Origin::Image(name) => {
                let base = self.origins.base(self.means, name, self.platform).await?;
                let at = base.at.clone().ok_or(OpsError::ParentUnset)?;
                let index = self.index(&base.image, &at).await?;
                self.copied.push((base.image.descriptor.clone(), index.clone()));
                let source = StageFiles::new(View::new(Arc::clone(&index.files)));
                (self.base_layers(&Stage::new(base)).await?, source, format!("image `{word}`"))
            }
        };
        let title = format!("{} of {name}", arguments.sources.join(" "));
        let from = CopySource { name: name.clone(), layers };
        let (layer, after) = match plan_copy(&from, source.view(), arguments, files, title) {
            Ok(planned) => planned,
            Err(CopyError::NotNative(reason)) => return Ok(Err(reason)),
            Err(error) => return Err(error.into()),
        };
        let mut layer = self.located(layer)?;
        if self.mode == Mode::Look
            && layer.action == Action::Build
            && let Some(bytes) = copied::fetched(self.means, &layer)?
        {
            layer.fetch = bytes;
        }
        stage.material.extend(layer.key.as_ref().map(ToString::to_string));
        stage.add(layer);
        stage.files = Some(after);
        Ok(Ok(format!("files of {name}")))
    }

    /// The layers of what a stage stands on.
    async fn base_layers(&self, stage: &Stage) -> Result<Vec<crate::plan::PlannedLayer>, OpsError> {
        let Some(at) = &stage.base.at else { return Ok(Vec::new()) };
        let layers = &stage.base.image.manifest.layers;
        placed::parent_layers(self.means, None, at, layers, &self.known).await
    }
}

/// Whether nothing of what the stage stands on is copied, so that none of its layers is looked into.
fn is_of_stage_alone(stage: &Stage, files: &StageFiles, arguments: &CopyArguments) -> bool {
    let Some(index) = &stage.index else { return stage.base.at.is_none() };
    let is_own = |source: &String| {
        // A link on the way, or a pattern, may lead anywhere.
        let is_pattern = source.contains(['*', '?', '[', '\\']);
        let Ok(path) = EntryPath::parse(source.trim_start_matches("./").trim_matches('/')) else { return false };
        let Ok(reached) = files.view().reach(path.as_bytes(), true) else { return false };
        let is_known = matches!(reached.found, Found::Known(_)) && reached.path == path.as_bytes();
        is_known && !is_pattern && index.files.node(&path).is_none()
    };
    !arguments.parents && arguments.sources.iter().all(is_own)
}
