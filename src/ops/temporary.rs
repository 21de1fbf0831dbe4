//! T
//!
//! T
#![allow(missing_docs)]
use crate::plan::files::*;
use crate::plan::*;
#[derive(Default)]
pub struct StageLayers;
impl StageLayers {
    pub fn new(_: Vec<PlannedLayer>, _: Vec<crate::oci::DiffId>) -> Self {
        Self
    }
}
pub fn copied_layer(
    _: &StageLayers,
    _: &CopyArguments,
    s: &crate::inputs::copy::Selection,
    _: &StageFiles,
    title: String,
) -> PlannedLayer {
    files_layer(std::path::Path::new(""), s.placed.files.clone(), title)
}
pub fn files_layer(_: &std::path::Path, files: PlacedFiles, title: String) -> PlannedLayer {
    PlannedLayer {
        kind: LayerKind::Sources,
        title,
        key: Some(files_key(&files)),
        blob: None,
        place: None,
        action: Action::Build,
        bytes: Some(files.total_bytes()),
        fetch: 0,
        making: None,
    }
}
