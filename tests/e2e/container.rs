//! Containers: an image that umoci unpacked as a runtime's bundle, run by runc, or in chroot where runc can start none.
//!
//! What runs, as whom, where and with which variables is what umoci read out of the image.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::harness::Halt;
use crate::process::{Ran, command, done, run};
use crate::rootfs;
use crate::tools;
use crate::world::World;

/// An image that can be run.
pub(crate) struct Container {
    name: String,
    /// What runc takes: the root filesystem, and `config.json`.
    bundle: PathBuf,
    states: PathBuf,
}

/// What a runtime's bundle says of its process, as far as chroot can follow it.
#[derive(Deserialize)]
struct Process {
    user: User,
    args: Vec<String>,
    env: Vec<String>,
    cwd: String,
}

#[derive(Deserialize)]
struct User {
    uid: u32,
    gid: u32,
}

impl Container {
    /// Unpacks the image `reference` under this name.
    ///
    /// The layout in between is shared by all, so that what images have in common is fetched once.
    pub(crate) fn of(world: &World, name: &str, reference: &str) -> Result<Self, Halt> {
        tools::need(&["skopeo", "umoci"])?;
        tools::need_root()?;
        let image = format!("{}:{name}", world.folder("containers-layout").display());
        let source = format!("docker://{reference}");
        done("skopeo", ["copy", "--quiet", "--src-tls-verify=false", &source, &format!("oci:{image}")])?;
        let bundle = world.fresh(&format!("{name}-bundle"))?;
        let name = format!("lapstrake-e2e-{}-{name}", std::process::id());
        let container = Self { name, bundle, states: world.folder("runc") };
        let root = container.root().display().to_string();
        // Without the list of hashes by which `umoci unpack` would find changes again.
        done("umoci", ["raw", "unpack", "--image", &image, &root])?;
        let config = container.bundle.join("config.json").display().to_string();
        done("umoci", ["raw", "runtime-config", "--image", &image, "--rootfs", &root, &config])?;
        Ok(container)
    }

    /// Runs what the image says, or `instead`, to its end, and gives stdout.
    pub(crate) fn run(&self, instead: Option<&[&str]>) -> Result<String, Halt> {
        let file = self.bundle.join("config.json");
        let mut bundle: Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
        bundle["process"]["terminal"] = Value::Bool(false);
        let asked = bundle["process"]["args"].clone();
        if let Some(arguments) = instead {
            bundle["process"]["args"] = json!(arguments);
        }
        std::fs::write(&file, bundle.to_string())?;
        let ran = self.start(&bundle);
        bundle["process"]["args"] = asked;
        std::fs::write(&file, bundle.to_string())?;
        Ok(ran?.done()?.stdout)
    }

    fn start(&self, bundle: &Value) -> Result<Ran, Halt> {
        if tools::find("runc").is_some() {
            let mut runc = command("runc", ["--root", &self.states.display().to_string(), "run", "--bundle"]);
            let ran = run(runc.arg(&self.bundle).arg(&self.name))?;
            if !ran.stderr.contains("runc run failed") {
                return Ok(ran);
            }
        }
        let process: Process = serde_json::from_value(bundle["process"].clone())?;
        let user = format!("{}:{}", process.user.uid, process.user.gid);
        let environment: Vec<(&str, &str)> = process.env.iter().filter_map(|line| line.split_once('=')).collect();
        let into = ["sh", "-c", "cd \"$0\" && exec \"$@\"", &process.cwd];
        let arguments: Vec<&str> = into.into_iter().chain(process.args.iter().map(String::as_str)).collect();
        let stdout = rootfs::chroot_as(&self.root(), &user, &environment, &arguments)?;
        Ok(Ran { line: arguments.join(" "), code: Some(0), stdout, stderr: String::new() })
    }

    /// The folder of the image's files.
    pub(crate) fn root(&self) -> PathBuf {
        self.bundle.join("rootfs")
    }

    /// Gives the disk back.
    pub(crate) fn remove(self) -> Result<(), Halt> {
        rootfs::remove(&self.bundle)
    }
}
