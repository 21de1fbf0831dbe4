//! Parents under the names that real Dockerfiles have behind `FROM`: Python's official images, and uv's.
//!
//! Made of Debian's packages, since no public registry is asked; they lie in a registry of the suite as in a mirror.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::clients::Client;
use crate::harness::Halt;
use crate::parents::{cached, certificates_layer, pack, plain_layer, push_as};
use crate::rootfs;
use crate::tools;
use crate::world::World;

/// Moves Debian's Python to `/usr/local`.
const MOVE: &str = include_str!("official.sh");
/// What the official images have beside Python, and what `python -m venv` puts into an environment.
const WHEELS: [&str; 4] = ["pip==24.0", "setuptools==65.5.0", "setuptools==65.5.1", "wheel==0.45.1"];
const PATH: &str = "PATH=/usr/local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Where this machine's authorities stand in the parents; programs that bring their own look into the variables.
const AUTHORITIES: [&str; 2] =
    ["SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt", "REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt"];

/// The layer with Python in `/usr/local`.
fn python_layer(world: &World) -> Result<PathBuf, Halt> {
    let plain = plain_layer(world)?;
    cached(world, "official-2.tar.gz", |file| {
        let root = world.fresh("official-root")?;
        rootfs::extract(&plain, &root)?;
        for wheel in WHEELS {
            rootfs::download_wheels(&[wheel], &root.join("mnt"))?;
        }
        std::fs::write(root.join("mnt/move.sh"), MOVE)?;
        rootfs::chroot(&root, &[], &["sh", "/mnt/move.sh"])?;
        for entry in std::fs::read_dir(root.join("mnt"))? {
            std::fs::remove_file(entry?.path())?;
        }
        rootfs::pack_root(&root, file)?;
        rootfs::remove(&root)
    })
}

/// A layer with the programs `uv` and `uvx` of this machine below `folder`, as uv's own images have them.
fn uv_layer(world: &World, folder: &str) -> Result<PathBuf, Halt> {
    let name = format!("uv-layer-{}", folder.replace('/', "-"));
    let root = world.fresh(&name)?;
    let to = root.join(folder);
    std::fs::create_dir_all(&to)?;
    for program in ["uv", "uvx"] {
        tools::need(&[program])?;
        let from = tools::find(program).unwrap_or_default().canonicalize()?;
        std::fs::copy(from, to.join(program))?;
        std::fs::set_permissions(to.join(program), std::fs::Permissions::from_mode(0o755))?;
    }
    let file = world.work.join(format!("{name}.tar.gz"));
    let first = folder.split('/').next().filter(|first| !first.is_empty());
    match first {
        Some(first) => pack(&root, &[first], &file)?,
        None => pack(&root, &["uv", "uvx"], &file)?,
    }
    rootfs::remove(&root)?;
    Ok(file)
}

/// Pushes the parents to a registry that then serves as a mirror of `docker.io` and `ghcr.io`.
pub(crate) fn push_all(world: &World, address: &str) -> Result<Vec<String>, Halt> {
    let base = vec![python_layer(world)?, certificates_layer(world, false)?];
    let with_uv: Vec<PathBuf> = base.iter().cloned().chain([uv_layer(world, "usr/local/bin")?]).collect();
    let variables = AUTHORITIES.into_iter().chain([PATH, "PYTHON_VERSION=3.11.2"]);
    let variables: Vec<&str> = variables.flat_map(|variable| ["--env", variable]).collect();
    let python = [variables.as_slice(), &["--cmd", "python3"]].concat();
    let put = |name: &str, layers: &[PathBuf], change: &[&str]| {
        let reference = format!("{address}/{name}");
        push_as(&Client::default(), &reference, layers, "linux/amd64", change).map(|parent| parent.figures)
    };
    let mut figures = Vec::new();
    for tag in ["3.11", "3.11-slim", "3.11-slim-bookworm"] {
        figures.push(put(&format!("library/python:{tag}"), &base, &python)?);
    }
    figures.push(put("astral-sh/uv:latest", &[uv_layer(world, "")?], &["--entrypoint", "/uv"])?);
    figures.push(put("astral-sh/uv:python3.11-bookworm-slim", &with_uv, &python)?);
    figures.push(put("library/debian:bookworm", &[plain_layer(world)?, base[1].clone()], &["--cmd", "bash"])?);
    Ok(figures)
}

/// The configuration by which BuildKit finds the parents at `address`.
pub(crate) fn buildkit_mirrors(address: &str) -> String {
    ["docker.io", "ghcr.io"].map(|host| format!("[registry.\"{host}\"]\nmirrors = [\"{address}\"]\n")).concat()
}

/// The same for lapstrake, as a file.
pub(crate) fn lapstrake_mirrors(address: &str, file: &Path) -> Result<(), Halt> {
    let hosts = ["docker.io", "ghcr.io"].map(|host| format!("  {host}:\n    mirrors: [{address}]\n")).concat();
    Ok(std::fs::write(file, format!("registries:\n{hosts}"))?)
}
