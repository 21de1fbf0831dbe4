//! Puts a parent, layers and a config change together into an image.
//!
//! Pure: the layers' bytes are somebody else's business, and nothing is pushed here.

use std::collections::BTreeMap;

use crate::image::annotation;
use crate::oci::{Descriptor, DiffId, DocumentError, HistoryEntry, ImageConfig, Manifest, Raw, media_type};

/// A parent as it was read: its manifest's layers and its config.
#[derive(Clone, Debug)]
pub struct ParentImage {
    /// What people call it, for `org.opencontainers.image.base.name`.
    pub name: String,
    /// The descriptor of the manifest that serves the platform.
    pub descriptor: Descriptor,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its config.
    pub config: ImageConfig,
}

/// A layer that comes on top of the parent's.
#[derive(Clone, Debug)]
pub struct AddedLayer {
    /// The blob, annotated.
    pub descriptor: Descriptor,
    /// The digest of its tar.
    pub diff_id: DiffId,
    /// What it holds, for the history.
    pub title: String,
}

/// What changes in the parent's config, in the order in which a Dockerfile would do it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigChange {
    /// `WorkingDir`.
    pub working_dir: Option<String>,
    /// Variables, later ones win.
    pub environment: Vec<(String, String)>,
    /// `User`.
    pub user: Option<String>,
    /// `Entrypoint`; as in a Dockerfile, a new one forgets the parent's `Cmd`.
    pub entrypoint: Option<Vec<String>>,
    /// `Cmd`.
    pub cmd: Option<Vec<String>>,
    /// Labels, added to the parent's.
    pub labels: BTreeMap<String, String>,
    /// RFC 3339 time for `created` and the new history entries; the parent's `created` when absent.
    pub created: Option<String>,
    /// What a Dockerfile's instructions made of the parent's config; nothing else of this is looked at then but `created`.
    pub instructed: Option<Box<InstructedConfig>>,
}

/// The config of an image whose instructions were carried out one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstructedConfig {
    /// The parent's config with what the instructions changed; layers and history are still the parent's.
    pub config: ImageConfig,
    /// What was done, in order.
    pub steps: Vec<InstructedStep>,
}

/// One instruction, for the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstructedStep {
    /// What it is, as the history says it.
    pub created_by: String,
    /// How many of the added layers are its own.
    pub layers: usize,
}

/// A finished image: two documents and how to point at them.
#[derive(Clone, Debug)]
pub struct Image {
    /// The config.
    pub config: Raw<ImageConfig>,
    /// The manifest.
    pub manifest: Raw<Manifest>,
    /// How an index points at the manifest: with its platform.
    pub descriptor: Descriptor,
}

/// Why an image cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// The parent's config and manifest disagree.
    #[error("parent `{name}` has {layers} layers in its manifest but {diff_ids} diff_ids in its config")]
    LayerCount {
        /// The parent.
        name: String,
        /// Layers in the manifest.
        layers: usize,
        /// Entries of `rootfs.diff_ids`.
        diff_ids: usize,
    },
    /// More layers than runtimes take.
    #[error("the image would have {0} layers, and runtimes stop at 127")]
    TooManyLayers(usize),
    /// A document could not be written.
    #[error("cannot write the image's documents")]
    Write(#[source] DocumentError),
}

impl crate::diagnostic::Diagnose for AssembleError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::LayerCount { .. } => Some("the parent image is damaged; build or push it again".into()),
            Self::TooManyLayers(_) => Some("flatten the parent image, or lower `lapstrake.layers.budget`".into()),
            Self::Write(_) => None,
        }
    }
}

/// The most layers that container runtimes mount (overlayfs and Docker's limit).
pub const MAX_LAYERS: usize = 127;

/// Assembles the image; `annotations` go onto its manifest beside the base name and digest.
///
/// # Errors
/// Fails when the parent contradicts itself or there are too many layers.
pub fn assemble(
    parent: &ParentImage,
    added: &[AddedLayer],
    change: &ConfigChange,
    annotations: BTreeMap<String, String>,
) -> Result<Image, AssembleError> {
    let diff_ids = parent.config.diff_ids().len();
    let below = parent.manifest.layers.len();
    if diff_ids != below {
        return Err(AssembleError::LayerCount { name: parent.name.clone(), layers: below, diff_ids });
    }
    if below + added.len() > MAX_LAYERS {
        return Err(AssembleError::TooManyLayers(below + added.len()));
    }
    let mut config = parent.config.clone();
    change_config(&mut config, added, change);
    let platform = config.platform();
    let config = Raw::of(config).map_err(AssembleError::Write)?;

    let mut layers: Vec<Descriptor> = parent.manifest.layers.iter().map(in_oci_family).collect();
    layers.extend(added.iter().map(|layer| layer.descriptor.clone()));
    let mut manifest = Manifest::new(config.descriptor(media_type::OCI_CONFIG), layers);
    manifest.annotations = annotations;
    manifest.annotations.insert(annotation::BASE_NAME.into(), parent.name.clone());
    manifest.annotations.insert(annotation::BASE_DIGEST.into(), parent.descriptor.digest.to_string());
    let manifest = Raw::of(manifest).map_err(AssembleError::Write)?;
    let mut descriptor = manifest.descriptor(media_type::OCI_MANIFEST);
    descriptor.platform = Some(platform);
    Ok(Image { config, manifest, descriptor })
}

fn in_oci_family(layer: &Descriptor) -> Descriptor {
    Descriptor { media_type: layer.media_type.to_oci(), ..layer.clone() }
}

fn change_config(config: &mut ImageConfig, added: &[AddedLayer], change: &ConfigChange) {
    let created = change.created.clone().or_else(|| config.created().map(ToOwned::to_owned));
    let entry = |by: String| HistoryEntry {
        created: created.clone(),
        created_by: Some(by),
        comment: Some("lapstrake".to_owned()),
        ..HistoryEntry::default()
    };
    if let Some(instructed) = &change.instructed {
        config.clone_from(&instructed.config);
        follow(config, added, &instructed.steps, entry);
    }
    if let Some(directory) = &change.working_dir {
        config.set_working_dir(directory);
        config.push_empty_history(entry(format!("WORKDIR {directory}")));
    }
    for layer in added.iter().filter(|_| change.instructed.is_none()) {
        config.push_layer(&layer.diff_id, entry(layer.title.clone()));
    }
    for (name, value) in &change.environment {
        config.set_env(name, value);
        config.push_empty_history(entry(format!("ENV {name}={value}")));
    }
    for (name, value) in &change.labels {
        config.set_label(name, value);
        config.push_empty_history(entry(format!("LABEL {name}={value}")));
    }
    if let Some(user) = &change.user {
        config.set_user(user);
        config.push_empty_history(entry(format!("USER {user}")));
    }
    if let Some(entrypoint) = &change.entrypoint {
        config.set_entrypoint(entrypoint);
        config.set_cmd(&[]);
        config.push_empty_history(entry(format!("ENTRYPOINT {}", serde_json::json!(entrypoint))));
    }
    if let Some(cmd) = &change.cmd {
        config.set_cmd(cmd);
        config.push_empty_history(entry(format!("CMD {}", serde_json::json!(cmd))));
    }
    if let Some(created) = &created {
        config.set_created(created);
    }
}

/// Adds layers and history in the order of the steps; layers that no step has are the last ones.
fn follow(
    config: &mut ImageConfig,
    added: &[AddedLayer],
    steps: &[InstructedStep],
    entry: impl Fn(String) -> HistoryEntry,
) {
    let mut layers = added.iter();
    for step in steps {
        if step.layers == 0 {
            config.push_empty_history(entry(step.created_by.clone()));
        }
        for layer in layers.by_ref().take(step.layers) {
            config.push_layer(&layer.diff_id, entry(format!("{} # {}", step.created_by, layer.title)));
        }
    }
    for layer in layers {
        config.push_layer(&layer.diff_id, entry(layer.title.clone()));
    }
}
