//! Engines beside BuildKit's own: podman, and Docker with buildx.
//!
//! Each builds the Dockerfile that `backend` holds against what it says.

use std::path::Path;

use super::backend::{SECRET, dockerfile, order, path, right, secret_was_seen, storage, with_secret};
use crate::harness::{Case, Figures, Halt, check, same};
use crate::segments::Order;
use crate::tools;
use crate::world::World;

pub(super) const CASES: &[Case] = &[
    Case { name: "a backend: podman builds the same Dockerfile with runc", run: podman },
    Case { name: "a backend: docker buildx builds it by the daemon's own BuildKit", run: buildx },
];

/// What a failing instruction comes to with this backend.
fn failing(world: &World, order: &Order, name: &str) -> Result<String, Halt> {
    let dockerfile = format!("FROM {}\nRUN echo one; exit 7\n", world.plain()?.reference);
    let error = Order { dockerfile, ..order.clone() }.refused(world)?;
    check(error.contains(&format!("failed in {name}")) && error.contains("| one\n"), || error.clone())?;
    Ok(error.lines().collect::<Vec<_>>().join(" / "))
}

fn podman(world: &World) -> Figures {
    tools::need_root()?;
    tools::need(&["runc", "conmon"])?;
    let path = path(world, &["podman", "conmon"])?;
    let folder = world.fresh("podman")?;
    let settings = folder.join("containers.conf");
    std::fs::write(
        &settings,
        "[engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\n",
    )?;
    let text = with_secret(&dockerfile(&world.plain()?.reference));
    let mut order = order(world, "segment-podman", &text, "segments/podman", &path)?;
    order.backend = Some("podman".to_owned());
    order = order
        .with("CONTAINERS_STORAGE_CONF", &storage(world)?.display().to_string())
        .with("CONTAINERS_CONF", &settings.display().to_string());
    order.secrets.insert("token".into(), SECRET.into());
    // In containers of their own where the kernel lets runc make them, else without.
    let mut figures = Vec::new();
    let mut made = order.build(world);
    if let Err(Halt::Failed(why)) = &made {
        figures.push(format!("runc makes no container here, so that it is isolated by chroot: {}", last(why)));
        order = order.with("BUILDAH_ISOLATION", "chroot");
        made = order.build(world);
    }
    let made = made?;
    same("the backend", made.made_by.as_deref(), Some("podman"))?;
    right(&made.reference)?;
    secret_was_seen(&made.reference)?;
    figures.push(failing(world, &order, "podman")?);
    Ok(figures)
}

/// What an engine said last.
fn last(text: &str) -> &str {
    text.lines().rev().find_map(|line| line.trim().strip_prefix("| ")).unwrap_or(text)
}

fn buildx(world: &World) -> Figures {
    let path = path(world, &["docker"])?;
    tools::need(&["docker-buildx"])?;
    let dockerd = world.dockerd()?;
    let config = world.fresh("docker-buildx")?;
    std::fs::create_dir(config.join("cli-plugins"))?;
    let plugin = tools::find("docker-buildx").unwrap_or_default();
    std::os::unix::fs::symlink(plugin, config.join("cli-plugins/docker-buildx"))?;
    std::fs::write(config.join("config.json"), "{}")?;
    let text = with_secret(&dockerfile(&world.plain()?.reference));
    let mut order = order(world, "segment-buildx", &text, "segments/buildx", &path)?;
    order.backend = Some("docker-buildx".to_owned());
    // The suite's dockerd has no bridge, which would be this machine's affair.
    order.network = Some("none".to_owned());
    order.secrets.insert("token".into(), SECRET.into());
    let order = order.with("DOCKER_HOST", dockerd.address()).with("DOCKER_CONFIG", shown(&config));
    let made = order.build(world)?;
    same("the backend", made.made_by.as_deref(), Some("docker-buildx"))?;
    right(&made.reference)?;
    secret_was_seen(&made.reference)?;
    Ok(vec![failing(world, &order, "docker-buildx")?])
}

fn shown(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}
