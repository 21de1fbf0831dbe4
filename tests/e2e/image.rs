//! Images as other people's tools see them.
//!
//! Asks skopeo, crane and umoci; lapstrake is not asked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::Halt;
use crate::process::{command, done, run};
use crate::rootfs;
use crate::tools;
use crate::world::World;

/// An image unpacked by umoci.
pub(crate) struct Unpacked {
    pub(crate) root: PathBuf,
    bundle: PathBuf,
}

impl Unpacked {
    /// Copies the image out of the registry with skopeo and unpacks it with umoci.
    pub(crate) fn of(world: &World, name: &str, reference: &str) -> Result<Self, Halt> {
        tools::need(&["skopeo", "umoci"])?;
        let layout = world.fresh(&format!("{name}-layout"))?;
        let source = format!("docker://{reference}");
        let target = format!("oci:{}:image", layout.display());
        done("skopeo", ["copy", "--quiet", "--src-tls-verify=false", &source, &target])?;
        let unpacked = Self::of_layout(world, name, &layout, "image")?;
        rootfs::remove(&layout)?;
        Ok(unpacked)
    }

    /// Unpacks the image `tag` of a layout.
    pub(crate) fn of_layout(world: &World, name: &str, layout: &Path, tag: &str) -> Result<Self, Halt> {
        tools::need(&["umoci"])?;
        tools::need_root()?;
        let bundle = world.folder(&format!("{name}-bundle"));
        rootfs::remove(&bundle)?;
        let image = format!("{}:{tag}", layout.display());
        done("umoci", ["unpack", "--image", &image, &bundle.display().to_string()])?;
        Ok(Self { root: bundle.join("rootfs"), bundle })
    }

    /// Gives the disk back.
    pub(crate) fn remove(self) -> Result<(), Halt> {
        rootfs::remove(&self.bundle)
    }
}

/// The manifest or index, as crane reads it.
pub(crate) fn manifest(reference: &str) -> Result<Value, Halt> {
    tools::need(&["crane"])?;
    Ok(serde_json::from_str(&done("crane", ["manifest", reference])?)?)
}

/// The config, as crane reads it.
pub(crate) fn config(reference: &str) -> Result<Value, Halt> {
    tools::need(&["crane"])?;
    Ok(serde_json::from_str(&done("crane", ["config", reference])?)?)
}

/// Lets crane and skopeo read every byte of an image and find nothing wrong.
pub(crate) fn accepted(reference: &str) -> Result<(), Halt> {
    accepted_with(reference, &BTreeMap::new())
}

/// The same, in an environment that says how the registry is reached.
pub(crate) fn accepted_with(reference: &str, environment: &BTreeMap<String, String>) -> Result<(), Halt> {
    tools::need(&["crane", "skopeo"])?;
    run(command("crane", ["validate", "--remote", reference]).envs(environment))?.done()?;
    let mut skopeo = command("skopeo", ["inspect"]);
    if !environment.contains_key("SSL_CERT_FILE") {
        skopeo.arg("--tls-verify=false");
    }
    run(skopeo.arg(format!("docker://{reference}")).envs(environment))?.done().map(drop)
}
