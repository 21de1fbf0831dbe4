//! The parent images: Debian with its Python, the same with a virtual environment, and one for arm64.
//!
//! Their root filesystems are kept between runs, since they take minutes to make; nothing is kept in a registry.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::clients::Client;
use crate::harness::Halt;
use crate::process::{command, done, run};
use crate::project::noise;
use crate::rootfs;
use crate::tools;
use crate::world::World;

const DEBIAN_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const PLAIN: &str = "python3,python3-pip,python3-venv,ca-certificates";
/// Enough to be seen as a Python image; nothing of it is ever run here.
const FOREIGN: &str = "python3,libpython3-stdlib,base-files,base-passwd,libc6";

/// What the virtual environment has before: one that the project replaces, and ones that satisfy it.
pub(crate) const PREINSTALLED: [(&str, &str); 3] = [("certifi", "2023.7.22"), ("idna", "3.4"), ("numpy", "1.26.4")];

/// A user whom the slim parent knows beside Debian's own, with the number 1000.
const USER: &str = "non-root-user";
/// What the slim root filesystem does without.
const NOT_SLIM: [&str; 9] = [
    "usr/share/locale",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/perl",
    "usr/share/python-wheels",
    "usr/share/zoneinfo",
    "usr/lib/x86_64-linux-gnu/gconv",
    "usr/lib/x86_64-linux-gnu/perl",
];

/// The references of pushed parents.
#[derive(Clone, Debug)]
pub(crate) struct Parent {
    pub(crate) reference: String,
    /// What was done to come to it, for people.
    pub(crate) figures: String,
}

/// Makes a file of the cache, once: `make` gets the path of an unfinished file.
pub(crate) fn cached(world: &World, name: &str, make: impl FnOnce(&Path) -> Result<(), Halt>) -> Result<PathBuf, Halt> {
    let folder = world.cache.join("parents");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join(name);
    if !file.is_file() {
        let unfinished = folder.join(format!("unfinished-{}-{name}", std::process::id()));
        make(&unfinished)?;
        std::fs::rename(&unfinished, &file)?;
    }
    Ok(file)
}

fn bootstrap(world: &World, name: &str, options: &[&str]) -> Result<PathBuf, Halt> {
    tools::need(&["mmdebstrap"])?;
    tools::need_root()?;
    cached(world, name, |file| {
        let tar = world.work.join("bootstrap.tar");
        let tar_name = tar.display().to_string();
        done("mmdebstrap", options.iter().copied().chain(["bookworm", &tar_name]))?;
        let packed = std::fs::File::create(file)?;
        let mut gzip = command("gzip", ["-1", "--no-name", "--stdout", &tar_name]);
        let packed = gzip.stdout(packed).status()?;
        std::fs::remove_file(&tar)?;
        if packed.success() { Ok(()) } else { Err(Halt::Failed("gzip failed".to_owned())) }
    })
}

/// The layer of the plain root filesystem.
pub(crate) fn plain_layer(world: &World) -> Result<PathBuf, Halt> {
    let include = format!("--include={PLAIN}");
    bootstrap(world, "plain-1.tar.gz", &["--variant=minbase", &include])
}

/// A tar of a folder's content, the same for the same content.
pub(crate) fn pack(folder: &Path, what: &[&str], file: &Path) -> Result<(), Halt> {
    let (folder, file) = (folder.display().to_string(), file.display().to_string());
    let fixed = ["--sort=name", "--mtime=@0", "--numeric-owner", "--owner=0", "--group=0"];
    let arguments = fixed.into_iter().chain(["-C", &folder, "-czf", &file]);
    done("tar", arguments.chain(what.iter().copied())).map(drop)
}

/// A layer with this machine's trusted certificates, so that the parent is as users of such machines make it.
pub(crate) fn certificates_layer(world: &World, with_accounts: bool) -> Result<PathBuf, Halt> {
    let folder = world.fresh("certificates")?;
    let etc = folder.join("etc");
    std::fs::create_dir_all(etc.join("ssl/certs"))?;
    let bundle = Path::new("/etc/ssl/certs/ca-certificates.crt");
    if bundle.is_file() {
        std::fs::copy(bundle, etc.join("ssl/certs/ca-certificates.crt"))?;
    }
    if with_accounts {
        // Packages for another architecture are unpacked and not configured, so nobody wrote these.
        std::fs::write(etc.join("passwd"), "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/sh\n")?;
        std::fs::write(etc.join("group"), "root:x:0:\nwww-data:x:33:\n")?;
    }
    for path in [&etc, &etc.join("ssl"), &etc.join("ssl/certs")] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
    }
    let file = world.work.join(if with_accounts { "accounts.tar.gz" } else { "certificates.tar.gz" });
    pack(&folder, &["etc"], &file)?;
    Ok(file)
}

/// Pushes an image of `layers`, with `change` made to its config.
fn push(reference: &str, layers: &[PathBuf], platform: &str, change: &[&str]) -> Result<Parent, Halt> {
    push_as(&Client::default(), reference, layers, platform, change)
}

pub(crate) fn push_as(
    client: &Client,
    reference: &str,
    layers: &[PathBuf],
    platform: &str,
    change: &[&str],
) -> Result<Parent, Halt> {
    tools::need(&["crane"])?;
    let mut append = command("crane", ["append", "--oci-empty-base", "--new_tag", reference]);
    for layer in layers {
        append.arg("--new_layer").arg(layer);
    }
    run(append.envs(&client.environment))?.done()?;
    let mut mutate = command("crane", ["mutate", reference, "--tag", reference, "--set-platform", platform]);
    run(mutate.args(["--env", "LANG=C.UTF-8"]).args(change).envs(&client.environment))?.done()?;
    let bytes: u64 = layers.iter().filter_map(|layer| layer.metadata().ok()).map(|data| data.len()).sum();
    let figures = format!("{reference}: {} layers, {:.1} MB", layers.len(), bytes as f64 / 1e6);
    Ok(Parent { reference: reference.to_owned(), figures })
}

/// Debian with python3 and pip.
pub(crate) fn plain(world: &World) -> Result<Parent, Halt> {
    let reference = format!("{}/parents/plain:bookworm", world.registry()?.address);
    let layers = [plain_layer(world)?, certificates_layer(world, false)?];
    push(&reference, &layers, "linux/amd64", &["--env", &format!("PATH={DEBIAN_PATH}")])
}

/// The demo's parent, nine kilobytes, with `more` layers of chance of 300 kB each upon it.
pub(crate) fn small(world: &World, client: &Client, address: &str, more: u64) -> Result<Parent, Halt> {
    let reference = format!("{address}/parents/small-{more}:1");
    let mut layers = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/demo/parent.tar.gz")];
    let folder = world.fresh("cargo")?;
    for number in 0..more {
        let (name, file) = (format!("cargo-{number}"), world.work.join(format!("cargo-{number}.tar.gz")));
        std::fs::write(folder.join(&name), noise(300_000, number + 1))?;
        pack(&folder, &[&name], &file)?;
        layers.push(file);
    }
    push_as(client, &reference, &layers, "linux/amd64", &["--env", "PATH=/usr/local/bin:/usr/bin:/bin"])
}

/// The layer of a virtual environment at `/opt/venv` that has packages already.
fn venv_layer(world: &World) -> Result<PathBuf, Halt> {
    let plain = plain_layer(world)?;
    cached(world, "venv-1.tar.gz", |file| {
        let root = world.fresh("venv-root")?;
        rootfs::extract(&plain, &root)?;
        let wheels = root.join("mnt");
        let pinned = PREINSTALLED.map(|(name, version)| format!("{name}=={version}"));
        rootfs::download_wheels(&pinned.each_ref().map(String::as_str), &wheels)?;
        rootfs::chroot(&root, &[], &["python3", "-m", "venv", "/opt/venv"])?;
        let install = ["/opt/venv/bin/pip", "install", "--no-index", "--find-links", "/mnt"];
        let names = pinned.iter().map(String::as_str);
        rootfs::chroot(&root, &[], &install.into_iter().chain(names).collect::<Vec<_>>())?;
        pack(&root, &["opt/venv"], file)?;
        rootfs::remove(&root)
    })
}

/// `layers` with the virtual environment upon them, and as what a shell finds first.
fn with_venv(world: &World, reference: &str, mut layers: Vec<PathBuf>) -> Result<Parent, Halt> {
    layers.push(venv_layer(world)?);
    let path = format!("PATH=/opt/venv/bin:{DEBIAN_PATH}");
    push(reference, &layers, "linux/amd64", &["--env", "VIRTUAL_ENV=/opt/venv", "--env", &path])
}

/// The same with a virtual environment at `/opt/venv` that has packages already.
pub(crate) fn venv(world: &World) -> Result<Parent, Halt> {
    let reference = format!("{}/parents/venv:bookworm", world.registry()?.address);
    with_venv(world, &reference, vec![plain_layer(world)?, certificates_layer(world, false)?])
}

/// The layer of the plain root filesystem without what nobody reads there, and with a user who is not root.
fn slim_layer(world: &World) -> Result<PathBuf, Halt> {
    let plain = plain_layer(world)?;
    cached(world, "slim-1.tar.gz", |file| {
        let root = world.fresh("slim-root")?;
        rootfs::extract(&plain, &root)?;
        let add = ["useradd", "--uid", "1000", "--user-group", "--create-home", USER];
        rootfs::chroot(&root, &[], &add)?;
        for part in NOT_SLIM {
            rootfs::remove(&root.join(part))?;
        }
        rootfs::pack_root(&root, file)?;
        rootfs::remove(&root)
    })
}

/// A small Debian with python3 and pip, at this registry.
pub(crate) fn slim(world: &World, address: &str) -> Result<Parent, Halt> {
    let reference = format!("{address}/parents/slim:bookworm");
    let layers = [slim_layer(world)?, certificates_layer(world, false)?];
    push(&reference, &layers, "linux/amd64", &["--env", &format!("PATH={DEBIAN_PATH}")])
}

/// The same with the virtual environment.
pub(crate) fn slim_venv(world: &World) -> Result<Parent, Halt> {
    let reference = format!("{}/parents/slim-venv:bookworm", world.registry()?.address);
    with_venv(world, &reference, vec![slim_layer(world)?, certificates_layer(world, false)?])
}

/// Debian with python3 for arm64, unpacked and never run.
pub(crate) fn arm64(world: &World) -> Result<Parent, Halt> {
    let reference = format!("{}/parents/arm64:bookworm", world.registry()?.address);
    let include = format!("--include={FOREIGN}");
    let layer = bootstrap(world, "arm64-1.tar.gz", &["--variant=extract", "--arch=arm64", &include])?;
    let layers = [layer, certificates_layer(world, true)?];
    push(&reference, &layers, "linux/arm64", &["--env", &format!("PATH={DEBIAN_PATH}")])
}

/// One name for both platforms.
pub(crate) fn index(world: &World) -> Result<Parent, Halt> {
    let reference = format!("{}/parents/both:bookworm", world.registry()?.address);
    let (amd64, arm64) = (world.plain()?, world.arm64()?);
    let both = ["index", "append", "-m", &amd64.reference, "-m", &arm64.reference, "-t", &reference];
    done("crane", both)?;
    Ok(Parent { figures: format!("{reference}: amd64 and arm64"), reference })
}
