//! `COPY` and `ADD`: out of the context, out of stages, out of images.
//!
//! What is selected and where it goes is decided in `inputs::copy`; bytes are read when a layer is made.

use std::sync::Arc;

use super::super::temporary::{StageLayers, copied_layer, files_layer};
use crate::dockerfile::{Copy, Origin};
use crate::image::filesystem::View;
use crate::inputs::copy::{CopyError, copy_from_context, copy_from_view};
use crate::plan::files::{CopyArguments, CopyVerb, StageFiles};

use super::super::error::OpsError;
use super::super::{parent_index, placed};
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
            None => self.from_context(stage, arguments, files).await,
            Some(from) => {
                let origin = self.recipe.file.origin(position, from);
                self.from_origin(stage, &origin, from, &arguments, &files).await
            }
        }
    }

    async fn from_context(
        &mut self,
        stage: &mut Stage,
        arguments: CopyArguments,
        files: StageFiles,
    ) -> Result<Outcome, OpsError> {
        let context = match (&self.recipe.context, arguments.sources.is_empty()) {
            (Some(context), _) => Arc::clone(context),
            (None, _) => return Err(OpsError::NoContext),
        };
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
        let layer = self.located(files_layer(&root, made.files, title))?;
        stage.add(layer);
        stage.files = Some(made.after);
        Ok(Ok(format!("{files} of the context, {bytes} bytes")))
    }

    async fn from_origin(
        &mut self,
        stage: &mut Stage,
        origin: &Origin,
        word: &str,
        arguments: &CopyArguments,
        files: &StageFiles,
    ) -> Result<Outcome, OpsError> {
        let (layers, source, place) = match origin {
            Origin::Scratch => (StageLayers::default(), StageFiles::default(), "`scratch`".to_owned()),
            Origin::Stage(at) => {
                let mut other = self.stages.get(at).cloned().ok_or(OpsError::ParentUnset)?;
                let source = self.files(&mut other).await?;
                let mut layers = self.base_layers(&other).await?;
                layers.extend(other.layers.clone());
                (StageLayers::new(layers, Vec::new()), source, format!("stage `{word}`"))
            }
            Origin::Image(name) => {
                let base = self.origins.base(self.means, name, self.platform).await?;
                let at = base.at.clone().ok_or(OpsError::ParentUnset)?;
                let index = parent_index::find(self.means, &base.image, &at, None).await?;
                let source = StageFiles::new(View::new(Arc::clone(&index.files)));
                let other = Stage::new(base);
                (StageLayers::new(self.base_layers(&other).await?, Vec::new()), source, format!("image `{word}`"))
            }
        };
        let selection = match copy_from_view(arguments, source.view(), &place, files) {
            Ok(selection) => selection,
            Err(CopyError::NotNative(reason)) => return Ok(Err(reason)),
            Err(error) => return Err(error.into()),
        };
        let title = format!("{} of {place}", arguments.sources.join(" "));
        let layer = copied_layer(&layers, arguments, &selection, files, title);
        let layer = self.located(layer)?;
        stage.material.extend(layer.key.as_ref().map(ToString::to_string));
        stage.add(layer);
        stage.files = Some(selection.placed.after);
        Ok(Ok(format!("files of {place}")))
    }

    /// The layers of what a stage stands on.
    async fn base_layers(&self, stage: &Stage) -> Result<Vec<crate::plan::PlannedLayer>, OpsError> {
        let Some(at) = &stage.base.at else { return Ok(Vec::new()) };
        let layers = &stage.base.image.manifest.layers;
        placed::parent_layers(self.means, None, at, layers, &self.known).await
    }
}
