//! What the demo is made of: a parent image and a project, embedded in the binary.
//!
//! `fixtures/demo/make.py` makes the parent's layer, the wheels and the lock.

use std::path::Path;
use std::sync::Arc;

use lapstrake::oci::{Descriptor, ImageConfig, Manifest, MediaType, Raw, Reference, media_type};
use lapstrake::ops::OpsError;
use lapstrake::registry::{BlobBody, Registry};

const PARENT_LAYER: &[u8] = include_bytes!("../../fixtures/demo/parent.tar.gz");
const PARENT_CONFIG: &[u8] = include_bytes!("../../fixtures/demo/parent.json");

macro_rules! embedded {
    ($($path:literal),* $(,)?) => {
        [$(($path, include_bytes!(concat!("../../fixtures/demo/project/", $path)) as &[u8])),*]
    };
}

const PROJECT: [(&str, &[u8]); 11] = embedded![
    ".dockerignore",
    "lapstrake.yaml",
    "pipeline.py",
    "pylock.toml",
    "steps/__init__.py",
    "steps/load.py",
    "steps/train.py",
    "wheels/keelson-2.1.0-py3-none-any.whl",
    "wheels/oarlock-0.3.1-py3-none-any.whl",
    "wheels/rowlock-1.4.2-py3-none-any.whl",
    "wheels/treenail-5.0.0-py3-none-any.whl",
];

/// Writes the project into `folder`.
pub(crate) fn write(folder: &Path) -> std::io::Result<()> {
    for (name, content) in PROJECT {
        let path = folder.join(name);
        if let Some(above) = path.parent() {
            std::fs::create_dir_all(above)?;
        }
        std::fs::write(path, content)?;
    }
    Ok(())
}

/// Pushes the parent image under `reference`.
pub(crate) async fn push_parent(registry: &Arc<dyn Registry>, reference: &Reference) -> Result<(), OpsError> {
    let damaged = |source| OpsError::ParentDocument { reference: reference.to_string(), source };
    let config = Raw::<ImageConfig>::read(PARENT_CONFIG.to_vec(), None).map_err(damaged)?;
    let config = config.descriptor(media_type::OCI_CONFIG);
    let layer = Descriptor::of(media_type::OCI_LAYER_GZIP, PARENT_LAYER);
    let repository = reference.repository();
    for (blob, bytes) in [(&layer, PARENT_LAYER), (&config, PARENT_CONFIG)] {
        registry.push_blob(&repository, blob, BlobBody::Bytes(bytes.to_vec().into()), &|_| ()).await?;
    }
    let manifest = Raw::of(Manifest::new(config, vec![layer])).map_err(damaged)?;
    registry.push_manifest(reference, &MediaType::new(media_type::OCI_MANIFEST), manifest.bytes()).await?;
    Ok(())
}
