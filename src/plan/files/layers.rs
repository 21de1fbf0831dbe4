//! Planned layers of placed and of copied files.
//!
//! What they hold was worked out before; here it gets a key and a making.

use std::path::Path;

use crate::plan::{Action, LayerKey, LayerKind, Making, PlannedLayer};

use super::super::layers::{add_owner, hasher};
use super::arguments::CopyArguments;
use super::placed::{PlacedFiles, files_key};
use super::stage::StageFiles;

/// A stage or image that is copied from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopySource {
    /// Its name, for messages.
    pub name: String,
    /// Its layers, the lowest first. Each has a blob with its place, or is made first.
    pub layers: Vec<PlannedLayer>,
}

/// What a `COPY --from` needs when its layer is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedFiles {
    /// Where the files are.
    pub source: CopySource,
    /// Which files, and where they go.
    pub arguments: CopyArguments,
    /// The files of the stage that they are copied to, before.
    pub before: StageFiles,
}

/// The layer that places `files` of the context at `context`.
pub fn files_layer(files: PlacedFiles, context: &Path, title: String) -> PlannedLayer {
    PlannedLayer {
        kind: LayerKind::Files,
        title,
        key: Some(files_key(&files)),
        blob: None,
        place: None,
        action: Action::Build,
        bytes: Some(files.total_bytes()),
        fetch: 0,
        making: Some(Making::Files { files, context: context.into() }),
    }
}

/// The key of a copy: all layers of the source, the arguments, and what is known of the result, which says what the copy
/// finds at its destination. `None` when a layer of the source has neither key nor digest.
pub fn copied_key(source: &CopySource, arguments: &CopyArguments, planned: &PlacedFiles) -> Option<LayerKey> {
    let mut key = hasher("copied/2");
    for layer in &source.layers {
        match (&layer.key, &layer.blob) {
            (Some(known), _) => key.add("layer-key", known.to_string()),
            (None, Some((blob, _))) => key.add("layer", blob.digest.as_str()),
            (None, None) => return None,
        }
    }
    arguments.add_to(&mut key);
    for directory in &planned.directories {
        key.add("directory", directory.path.as_bytes());
        key.add("mode", directory.mode.to_le_bytes());
        add_owner(&mut key, directory.owner);
    }
    for entry in &planned.entries {
        key.add("path", entry.path.as_bytes());
        key.add("mode", entry.mode.to_le_bytes());
        add_owner(&mut key, entry.owner);
    }
    Some(LayerKey(key.finish()))
}

/// The layer of a copy from `source`, of which `planned` is known already.
pub fn copied_layer(
    source: &CopySource,
    arguments: &CopyArguments,
    before: &StageFiles,
    planned: &PlacedFiles,
    title: String,
) -> PlannedLayer {
    let (source, arguments, before) = (source.clone(), arguments.clone(), before.clone());
    let key = copied_key(&source, &arguments, planned);
    PlannedLayer {
        kind: LayerKind::Files,
        title,
        key,
        blob: None,
        place: None,
        action: Action::Build,
        bytes: Some(planned.total_bytes()),
        fetch: source.layers.iter().map(fetched).sum(),
        making: Some(Making::Copied(Box::new(CopiedFiles { source, arguments, before }))),
    }
}

/// Bytes that a layer of the source costs at most.
fn fetched(layer: &PlannedLayer) -> u64 {
    match (&layer.blob, &layer.place) {
        (Some(_), Some(crate::plan::Place::Store)) => 0,
        (Some((blob, _)), _) => blob.size,
        (None, _) => layer.fetch,
    }
}
