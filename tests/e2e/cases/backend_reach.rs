//! The ways to a BuildKit daemon that is elsewhere: TCP behind TLS, SSH, a container, a pod.
//!
//! All are on this machine. Of Kubernetes there is but `kubectl`'s part, played by a script.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::backend::{buildkit, dockerfile, order, path, processes, right};
use crate::authority::{Authority, Pair};
use crate::harness::{Case, Figures, Halt, check, same};
use crate::process::{command, done, run};
use crate::segments::Order;
use crate::servers::{Buildkitd, Serving, TlsDoor, free_port};
use crate::tools;
use crate::world::World;

pub(super) const CASES: &[Case] = &[
    Case { name: "a backend: BUILDKIT_HOST is tcp:// behind TLS with certificates on both ends", run: tls },
    Case { name: "a backend: BUILDKIT_HOST is ssh:// through OpenSSH", run: ssh },
    Case { name: "a backend: BUILDKIT_HOST is docker-container:// in Debian's Docker", run: container },
    Case { name: "a backend: BUILDKIT_HOST is kube-pod://, with a stand-in for kubectl", run: pod },
];

/// Writes a program.
fn script(at: &Path, text: &str) -> Result<(), Halt> {
    std::fs::write(at, format!("#!/bin/sh\n{text}\n"))?;
    Ok(std::fs::set_permissions(at, std::fs::Permissions::from_mode(0o755))?)
}

/// An order whose last instruction is of this case alone, so that nothing remembers it.
fn own_order(world: &World, name: &str, path: &str) -> Result<Order, Halt> {
    let text = dockerfile(&world.plain()?.reference);
    let text = format!("{text}RUN echo {name} > /way\n");
    order(world, &format!("segment-{name}"), &text, &format!("segments/{name}"), path)
}

/// Builds the order by a daemon that is elsewhere, and by no private one.
fn built_elsewhere(world: &World, order: &Order) -> Result<String, Halt> {
    let made = order.build(world)?;
    same("the backend", made.made_by.as_deref(), Some("buildkit"))?;
    check(processes(&format!("--root={}", order.store.display()))?.is_empty(), || "a private daemon ran".to_owned())?;
    right(&made.reference)?;
    Ok(made.reference)
}

/// A folder with certificates under the names that `buildctl --tlsdir` knows.
fn certificates(folder: PathBuf, authority: &Authority, pair: Option<&Pair>) -> Result<String, Halt> {
    std::fs::create_dir_all(&folder)?;
    std::fs::copy(authority.certificate(), folder.join("ca.pem"))?;
    if let Some(pair) = pair {
        std::fs::copy(&pair.certificate, folder.join("cert.pem"))?;
        std::fs::copy(&pair.key, folder.join("key.pem"))?;
    }
    Ok(folder.display().to_string())
}

fn tls(world: &World) -> Figures {
    let path = buildkit(world)?;
    let folder = world.fresh("buildkit-tls")?;
    let authority = Authority::new(&folder.join("ca"))?;
    let strangers = Authority::new(&folder.join("strangers"))?;
    // By this name alone, so that the name has to be said.
    let server = authority.sign("server", "DNS:buildkitd.example", 2)?;
    let ours = certificates(folder.join("ours"), &authority, Some(&authority.sign("client", "DNS:me", 2)?))?;
    let wrong = certificates(folder.join("wrong"), &authority, Some(&strangers.sign("client", "DNS:me", 2)?))?;
    let none = certificates(folder.join("none"), &authority, None)?;
    let address = format!("tcp://127.0.0.1:{}", free_port()?);
    let flag = |name: &str, file: &Path| format!("--{name}={}", file.display());
    let door = TlsDoor {
        address: Some(address.clone()),
        of_daemon: vec![
            flag("tlscacert", &authority.certificate()),
            flag("tlscert", &server.certificate),
            flag("tlskey", &server.key),
        ],
        of_caller: vec![format!("--tlsdir={ours}"), "--tlsservername=buildkitd.example".to_owned()],
    };
    let _daemon = Buildkitd::behind(&folder.join("daemon"), &world.registry()?.address, "", &door)?;
    let plain = own_order(world, "tls", &path)?.with("BUILDKIT_HOST", &address);
    let named = plain.clone().with("LAPSTRAKE_BUILDKIT_TLS_SERVER_NAME", "buildkitd.example");
    let with = |order: &Order, folder: &str| order.clone().with("LAPSTRAKE_BUILDKIT_TLS_DIR", folder);
    let mut figures = Vec::new();
    for (order, what) in [
        (plain.clone(), "no certificates"),
        (with(&plain, &ours), "another name"),
        (with(&named, &wrong), "a stranger's certificate"),
        (with(&named, &none), "no certificate of ours"),
        (with(&named, "/nowhere"), "no folder"),
    ] {
        let error = order.refused(world)?;
        check(error.contains(&format!("`BUILDKIT_HOST` is `{address}`")), || format!("{what}: {error}"))?;
        check(error.contains("LAPSTRAKE_BUILDKIT_TLS_"), || format!("{what} is refused without a cure: {error}"))?;
        figures.push(format!("{what}: {}", error.lines().collect::<Vec<_>>().join(" / ")));
    }
    built_elsewhere(world, &with(&named, &ours))?;
    Ok(figures)
}

fn ssh(world: &World) -> Figures {
    tools::need(&["sshd", "ssh", "ssh-keygen"])?;
    let path = path(world, &["buildctl", "buildkitd", "runc"])?;
    let daemon = Buildkitd::start(&world.fresh("buildkit-ssh")?, &world.registry()?.address, "")?;
    let folder = world.fresh("ssh")?;
    let below = |name: &str| folder.join(name).display().to_string();
    for key in ["host", "mine", "strange"] {
        done("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", &below(key)])?;
    }
    std::fs::copy(folder.join("mine.pub"), folder.join("authorized"))?;
    let port = free_port()?;
    let (authorized, host_key) = (below("authorized"), below("host"));
    let settings = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {host_key}\nAuthorizedKeysFile {authorized}\nStrictModes no\n\
         UsePAM no\nPasswordAuthentication no\nPidFile none\nSetEnv PATH={path}:/usr/bin:/bin BUILDKIT_HOST={}\n",
        daemon.address
    );
    std::fs::write(below("sshd_config"), settings)?;
    // Where Debian's unit makes it.
    std::fs::create_dir_all("/run/sshd")?;
    let sshd = tools::find("sshd").unwrap_or_default().display().to_string();
    let arguments = ["-D", "-e", "-f", &below("sshd_config")];
    let mut server = Serving::start(&sshd, &arguments, &folder.join("log"), Stdio::null())?;
    let listens = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    server.wait(listens).map_err(|log| Halt::Skipped(format!("sshd does not start here: {log}")))?;
    let host = std::fs::read_to_string(below("host.pub"))?;
    std::fs::write(below("known"), format!("[127.0.0.1]:{port} {host}"))?;
    // OpenSSH takes the home of the account and not `HOME`; the program alone can be told of another configuration.
    let bin = |key: &str| -> Result<String, Halt> {
        let programs = folder.join(format!("bin-{key}"));
        std::fs::create_dir(&programs)?;
        let real = tools::find("ssh").unwrap_or_default();
        let (known, key) = (below("known"), below(key));
        let own = format!("-F none -o UserKnownHostsFile={known} -o IdentitiesOnly=yes -o BatchMode=yes -i {key}");
        script(&programs.join("ssh"), &format!("exec {} {own} \"$@\"", real.display()))?;
        Ok(format!("{}:{path}", programs.display()))
    };
    let address = format!("ssh://root@127.0.0.1:{port}");
    let order = own_order(world, "ssh", &path)?.with("BUILDKIT_HOST", &address);
    let error = order.clone().with("PATH", &bin("strange")?).refused(world)?;
    check(error.contains(&address) && error.contains("nothing answers"), || error.clone())?;
    built_elsewhere(world, &order.with("PATH", &bin("mine")?))?;
    let log = std::fs::read_to_string(below("log"))?;
    check(log.contains("Accepted publickey for root"), || log.clone())?;
    Ok(vec![format!("a strange key: {}", error.lines().collect::<Vec<_>>().join(" / "))])
}

fn container(world: &World) -> Figures {
    let path = path(world, &["buildctl", "docker"])?;
    tools::need(&["buildkitd", "runc"])?;
    let dockerd = world.dockerd()?;
    let folder = world.fresh("buildkit-container")?;
    let parent = &world.plain()?.reference;
    let registry = &world.registry()?.address;
    std::fs::create_dir(folder.join("bin"))?;
    for name in ["buildctl", "buildkitd", "runc"] {
        std::fs::copy(tools::find(name).unwrap_or_default(), folder.join("bin").join(name))?;
    }
    let config = format!("[worker.containerd]\nenabled = false\n[registry.\"{registry}\"]\nhttp = true\n");
    std::fs::write(folder.join("buildkitd.toml"), config)?;
    let name = format!("lapstrake-e2e-{}", std::process::id());
    let mount = |from: &str, to: &str| format!("{}:{to}", folder.join(from).display());
    let (programs, settings, root) = (
        mount("bin", "/opt/bin:ro"),
        mount("buildkitd.toml", "/etc/buildkit/buildkitd.toml:ro"),
        mount("root", "/var/lib/buildkit"),
    );
    let environment = "PATH=/opt/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let start = ["run", "--detach", "--network=host", "--name", &name, "--env", environment];
    // What a privileged container has of it, and no more than this machine may itself have.
    let rights = [
        "--cap-add=SYS_ADMIN",
        "--security-opt=seccomp=unconfined",
        "--security-opt=apparmor=unconfined",
        "--security-opt=systempaths=unconfined",
        "--cgroupns=host",
        "--volume=/sys/fs/cgroup:/sys/fs/cgroup",
    ];
    let mounts = ["--volume", &programs, "--volume", &settings, "--volume", &root, parent];
    dockerd.docker(&[&start[..], &rights, &mounts, &["buildkitd", "--oci-worker-net=host"]].concat())?;
    let _container = Container { name: &name, dockerd };
    let order = own_order(world, "container", &path)?.with("DOCKER_HOST", dockerd.address());
    let order = order.with("BUILDKIT_HOST", &format!("docker-container://{name}"));
    let asks = ["exec", name.as_str(), "buildctl", "debug", "workers"];
    let begun = std::time::Instant::now();
    while dockerd.docker(&asks).is_err() {
        let log = || dockerd.docker(&["logs", &name]).unwrap_or_default();
        if begun.elapsed() > std::time::Duration::from_secs(30) {
            return Err(Halt::Skipped(format!("buildkitd does not start in a container here: {}", log())));
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    built_elsewhere(world, &order)?;
    let absent = Order { dockerfile: order.dockerfile.replace("echo container", "echo absent"), ..order };
    let error = absent.with("BUILDKIT_HOST", "docker-container://nobody-of-this-name").refused(world)?;
    check(error.contains("docker-container://nobody-of-this-name"), || error.clone())?;
    Ok(vec![format!("no such container: {}", error.lines().collect::<Vec<_>>().join(" / "))])
}

/// A container that is removed with the value.
struct Container<'a> {
    name: &'a str,
    dockerd: &'a crate::servers::Dockerd,
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let _ = self.dockerd.docker(&["rm", "--force", "--volumes", self.name]);
    }
}

fn pod(world: &World) -> Figures {
    let path = buildkit(world)?;
    let daemon = Buildkitd::start(&world.fresh("buildkit-pod")?, &world.registry()?.address, "")?;
    let folder = world.fresh("kubectl")?;
    let (asked, buildctl) = (folder.join("asked"), tools::find("buildctl").unwrap_or_default());
    script(
        &folder.join("kubectl"),
        &format!(
            "echo \"$*\" >> {}\nexec {} --addr {} dial-stdio",
            asked.display(),
            buildctl.display(),
            daemon.address
        ),
    )?;
    let order = own_order(world, "pod", &format!("{}:{path}", folder.display()))?;
    let address = "kube-pod://buildkitd-0?context=yard&namespace=builds&container=daemon";
    built_elsewhere(world, &order.with("BUILDKIT_HOST", address))?;
    let asked = std::fs::read_to_string(asked)?;
    let first = asked.lines().next().unwrap_or_default().to_owned();
    for part in ["--context=yard", "--namespace=builds", "--container=daemon", "buildkitd-0", "buildctl dial-stdio"] {
        check(first.contains(part), || format!("kubectl was not told `{part}`: {asked}"))?;
    }
    let version = run(&mut command("buildctl", ["--version"]))?.stdout;
    Ok(vec![format!("kubectl {first}"), format!("no cluster, but a local daemon behind it: {}", version.trim())])
}
