//! A stage while its instructions are carried out: what it stands on, what was added, what is known of its files.
//!
//! Decides nothing; `evaluate` goes through the instructions.

use std::collections::BTreeMap;

use crate::dockerfile::{Scope, StageConfig};
use crate::image::{ConfigChange, InstructedConfig, InstructedStep, ParentImage};
use crate::oci::{Digest, ImageConfig, Manifest, Platform, Raw, Repository};
use crate::plan::files::StageFiles;
use crate::plan::{KeyHasher, PlannedLayer, ResolutionKey};

use super::super::chosen::NewChoice;
use super::super::error::OpsError;
use super::super::parent_index::ParentIndex;
use super::python::Installs;

/// What a stage stands on.
#[derive(Clone, Debug)]
pub(super) struct Base {
    /// The image.
    pub(super) image: ParentImage,
    /// Where its layers are; `None` of `scratch`, which has none.
    pub(super) at: Option<Repository>,
}

impl Base {
    /// An image without anything in it.
    ///
    /// # Errors
    /// Fails when its empty manifest cannot be written.
    pub(super) fn scratch(platform: &Platform) -> Result<Self, OpsError> {
        let name = "scratch".to_owned();
        let damaged = |source| OpsError::ParentDocument { reference: name.clone(), source };
        let mut config = ImageConfig::new(platform);
        config.set_working_dir("/");
        let config = Raw::of(config).map_err(damaged)?;
        let manifest = Manifest::new(config.descriptor(crate::oci::media_type::OCI_CONFIG), Vec::new());
        let manifest = Raw::of(manifest).map_err(damaged)?;
        let mut descriptor = manifest.descriptor(crate::oci::media_type::OCI_MANIFEST);
        descriptor.platform = Some(platform.clone());
        let image = ParentImage {
            name: name.clone(),
            descriptor,
            manifest: manifest.value().clone(),
            config: config.value().clone(),
        };
        Ok(Self { image, at: None })
    }
}

/// A stage as far as it has come.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    /// What it stands on.
    pub(super) base: Base,
    /// The config so far.
    pub(super) config: StageConfig,
    /// Variables and arguments.
    pub(super) scope: Scope,
    /// What is added to the base, lowest first.
    pub(super) layers: Vec<PlannedLayer>,
    /// What was done, for the history.
    pub(super) history: Vec<InstructedStep>,
    /// Its files, once somebody asked.
    pub(super) files: Option<StageFiles>,
    /// The index of the base, once somebody asked.
    pub(super) index: Option<ParentIndex>,
    /// What installations of packages stand on besides the base: keys of all that may have put packages there.
    pub(super) material: Vec<String>,
    /// Installations of packages since the base, or since something that hides what they did.
    pub(super) installs: Option<Installs>,
    /// Those into other places before them.
    pub(super) past: Vec<Installs>,
    /// The places that packages went to.
    pub(super) sites: Vec<String>,
    /// Projects that were installed themselves, by where packages go: a digest of what that left.
    pub(super) projects: BTreeMap<String, Digest>,
    /// Folders into which installations put programs that no index has yet.
    pub(super) scripts: Vec<String>,
    /// Under which key its packages were chosen.
    pub(super) resolution: Option<ResolutionKey>,
    /// What was chosen, for the next build.
    pub(super) choice: Option<(Digest, Option<NewChoice>)>,
    /// The instructions since the base that count for a command, as they were written; `None` once files were added,
    /// and of a stage upon another one.
    pub(super) preamble: Option<Vec<String>>,
}

impl Stage {
    /// The beginning of a stage upon `base`.
    pub(super) fn new(base: Base) -> Self {
        let config = StageConfig::new(base.image.config.clone());
        let scope = Scope::of_image(config.config.env());
        Self {
            files: base.at.is_none().then(StageFiles::default),
            index: None,
            base,
            config,
            scope,
            layers: Vec::new(),
            history: Vec::new(),
            material: Vec::new(),
            installs: None,
            past: Vec::new(),
            sites: Vec::new(),
            projects: BTreeMap::new(),
            scripts: Vec::new(),
            resolution: None,
            choice: None,
            preamble: Some(Vec::new()),
        }
    }

    /// The beginning of a stage upon this one.
    pub(super) fn continued(&self) -> Self {
        Self { config: self.config.inherited(), preamble: None, ..self.clone() }
    }

    /// The same stage upon the image that a backend made of it; arguments keep their values.
    pub(super) fn rebased(&self, base: Base) -> Self {
        let mut config = self.config.clone();
        config.config = base.image.config.clone();
        config.config.copy_runtime_of(&self.config.config);
        Self { scope: self.scope.clone(), config, ..Self::new(base) }
    }

    /// Takes a layer in, which `words` of an instruction made.
    pub(super) fn add(&mut self, layer: PlannedLayer) {
        self.layers.push(layer);
        self.preamble = None;
    }

    /// Notes an instruction that added the last `layers` layers.
    pub(super) fn note(&mut self, created_by: impl Into<String>, layers: usize) {
        self.history.push(InstructedStep { created_by: created_by.into(), layers });
    }

    /// What the stage makes of the base's config.
    pub(super) fn change(&self, created: Option<String>, labels: &BTreeMap<String, String>) -> ConfigChange {
        let mut config = self.config.config.clone();
        labels.iter().for_each(|(name, value)| config.set_label(name, value));
        let instructed = InstructedConfig { config, steps: self.history.clone() };
        ConfigChange { created, instructed: Some(Box::new(instructed)), ..ConfigChange::default() }
    }

    /// The key of its files: base and layers.
    pub(super) fn key_of_files(&self) -> Digest {
        let mut key = KeyHasher::new("stage/1").with("base", self.base.image.descriptor.digest.as_str());
        for layer in &self.layers {
            key.add("layer", layer.key.as_ref().map(ToString::to_string).unwrap_or_default());
        }
        key.finish()
    }

    /// `path` as the stage's working folder sees it, without its leading slash; empty for the root.
    pub(super) fn place(&self, path: &str) -> String {
        crate::dockerfile::absolute(&self.config.working_dir(), path).trim_start_matches('/').to_owned()
    }
}
