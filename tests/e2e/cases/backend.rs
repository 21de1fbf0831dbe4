//! Backends that are real: BuildKit with a private daemon and with one that runs, buildah, docker.
//!
//! Parents are Debian, made here; instructions really run.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::harness::{Case, Figures, Halt, check, same};
use crate::image;
use crate::process::{Running, command, done, run};
use crate::registries::{Door, Maker, Registry};
use crate::segments::{self, Order};
use crate::tools;
use crate::world::World;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a backend: a private BuildKit daemon runs a Dockerfile, and a fresh machine finds the image",
        run: private,
    },
    Case { name: "a backend: the instruction that fails is named with its last lines", run: failing },
    Case { name: "a backend: after SIGKILL no daemon, process, mount or secret is left", run: killed },
    Case { name: "a backend: after SIGTERM neither", run: terminated },
    Case { name: "a backend: a daemon that dies in the middle is an error, and nothing is published", run: dying },
    Case {
        name: "a backend: BUILDKIT_HOST names the daemon, and its cache in the registry serves another",
        run: named,
    },
    Case { name: "a backend: a registry that wants a login gets it from us, and a refusal is told", run: login },
    Case { name: "a backend: Debian's packages are installed once", run: packages },
    Case { name: "a backend: without root the private daemon is rootless", run: rootless },
    Case { name: "a backend: buildah builds the same Dockerfile", run: buildah },
    Case { name: "a backend: docker without BuildKit builds it too", run: docker },
];

pub(super) const SECRET: &str = "canary-5f1c-e2e";

/// The search path with the programs of one backend alone, so that no other is found.
pub(super) fn path(world: &World, programs: &[&str]) -> Result<String, Halt> {
    tools::need(programs)?;
    let folder = world.folder(&format!("bin-{}", programs.join("-")));
    std::fs::create_dir_all(&folder)?;
    for name in programs.iter().chain(&["sh", "unshare", "true", "tar", "newuidmap", "newgidmap", "runc", "ps"]) {
        let (Some(program), link) = (tools::find(name), folder.join(name)) else { continue };
        if link.symlink_metadata().is_err() {
            std::os::unix::fs::symlink(program, link)?;
        }
    }
    Ok(folder.display().to_string())
}

pub(super) fn buildkit(world: &World) -> Result<String, Halt> {
    tools::need_root()?;
    path(world, &["buildctl", "buildkitd", "runc"])
}

/// A Dockerfile that copies, runs, and uses an argument and a secret.
pub(super) fn dockerfile(parent: &str) -> String {
    format!(
        "FROM {parent}\nARG WHO\nENV GREETING=hello\nWORKDIR /srv\nCOPY --chown=33:33 . .\n\
         RUN echo \"$GREETING $WHO\" > greeting && mkdir /data && chown 33 /data && chmod 750 /data\n\
         CMD [\"python3\", \"-V\"]\n"
    )
}

/// The same with an instruction that sees a secret.
pub(super) fn with_secret(text: &str) -> String {
    format!("{text}RUN --mount=type=secret,id=token wc -c < /run/secrets/token > /token-bytes\n")
}

/// The secret was seen, and is not in the image.
pub(super) fn secret_was_seen(reference: &str) -> Result<(), Halt> {
    let export = |command: &str| done("sh", ["-c", &format!("crane export {reference} - | {command}")]);
    same("the bytes of the secret", export("tar -xO token-bytes")?.trim(), SECRET.len().to_string().as_str())?;
    same("lines with the secret", export(&format!("grep -ac {SECRET} || true"))?.trim(), "0")?;
    let config = image::config(reference)?.to_string();
    check(!config.contains(SECRET), || "the secret is in the config".to_owned())
}

/// The order of that Dockerfile, with its context.
pub(super) fn order(world: &World, store: &str, text: &str, repository: &str, path: &str) -> Result<Order, Halt> {
    let context = world.folder("segment-context");
    if !context.exists() {
        std::fs::create_dir(&context)?;
        std::fs::write(context.join("app.py"), "print('ahoy')\n")?;
        std::fs::write(context.join("secrets.env"), "not in the image")?;
    }
    let mut order = Order::new(world, store, text, &format!("{}/{repository}", world.registry()?.address), path);
    order.context = Some(context);
    order.ignore = "*.env\n".to_owned();
    order.build_args.insert("WHO".into(), "crew".into());
    Ok(order)
}

/// What the Dockerfile says, held against the image under `reference`.
pub(super) fn right(reference: &str) -> Result<(), Halt> {
    image::accepted(reference)?;
    let config = image::config(reference)?;
    same("CMD", config["config"]["Cmd"].clone(), serde_json::json!(["python3", "-V"]))?;
    let env = config["config"]["Env"].to_string();
    check(env.contains("GREETING=hello"), || format!("no ENV: {env}"))?;
    let listing = done("sh", ["-c", &format!("crane export {reference} - | tar -tv --numeric-owner")])?;
    let has = |end: &str, start: &str| listing.lines().any(|line| line.ends_with(end) && line.starts_with(start));
    check(has(" srv/app.py", "-rw-r--r-- 33/33"), || "app.py is not as it was copied".to_owned())?;
    check(has(" data/", "drwxr-x--- 33/0") || has(" data", "drwxr-x--- 33/0"), || {
        format!("RUN left no /data: {:?}", listing.lines().filter(|line| line.contains(" data")).collect::<Vec<_>>())
    })?;
    check(!listing.contains("secrets.env"), || "an ignored file is in the image".to_owned())?;
    let greeting = done("sh", ["-c", &format!("crane export {reference} - | tar -xO srv/greeting")])?;
    same("what RUN wrote", greeting.as_str(), "hello crew\n")
}

/// Processes whose command line holds `word`.
pub(super) fn processes(word: &str) -> Result<Vec<String>, Halt> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        // The suite itself has the word in none of its arguments.
        if line.contains(word) {
            found.push(line);
        }
    }
    Ok(found)
}

/// Ends the case when, within a moment, anything of a build is left: a process, a mount, a scratch folder.
pub(super) fn nothing_left(store: &Path, marks: &[&str]) -> Result<String, Halt> {
    let start = Instant::now();
    loop {
        let mut left = Vec::new();
        for mark in marks.iter().copied().chain([store.to_string_lossy().as_ref()]) {
            left.extend(processes(mark)?);
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
        left.extend(mounts.lines().filter(|line| line.contains(&*store.to_string_lossy())).map(str::to_owned));
        let temporary = store.join("tmp");
        // Where the store was mounted for the build alone, there is none.
        if temporary.exists() {
            let find = [&temporary.display().to_string(), "-name", "buildkit-*", "-o", "-name", "segment-*"];
            left.extend(done("find", find)?.lines().map(str::to_owned));
        }
        for entry in std::fs::read_dir(segments::temporary()).into_iter().flatten().flatten() {
            left.push(entry.path().display().to_string());
        }
        if left.is_empty() {
            return Ok(format!("nothing is left after {:.1} s", start.elapsed().as_secs_f64()));
        }
        // A root file system is removed as fast as the disk allows.
        check(start.elapsed() < Duration::from_secs(120), || format!("left:\n{}", left.join("\n")))?;
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn private(world: &World) -> Figures {
    let path = buildkit(world)?;
    let text = with_secret(&dockerfile(&world.plain()?.reference));
    let mut order = order(world, "segment-one", &text, "segments/private", &path)?;
    order.secrets.insert("token".into(), SECRET.into());
    let start = Instant::now();
    let made = order.build(world)?;
    let cold = start.elapsed().as_secs_f64();
    same("the backend", made.made_by.as_deref(), Some("buildkit"))?;
    right(&made.reference)?;
    secret_was_seen(&made.reference)?;
    check(made.steps.iter().any(|step| step.starts_with("RUN echo")), || format!("steps: {:?}", made.steps))?;
    let left = nothing_left(&order.store, &[])?;
    // Another machine: no store, no BuildKit; a file that is ignored differs.
    let mut fresh = Order { store: world.folder("segment-fresh"), ..order.clone() };
    fresh.environment.insert("PATH".into(), "/nowhere".into());
    let start = Instant::now();
    let found = fresh.build(world)?;
    same("the backend of the second build", found.made_by, None)?;
    same("the image", found.reference, made.reference.clone())?;
    Ok(vec![
        format!("{cold:.1} s with a private daemon; {left}"),
        format!("{:.2} s on a fresh machine without a backend", start.elapsed().as_secs_f64()),
    ])
}

fn failing(world: &World) -> Figures {
    let path = buildkit(world)?;
    let text = format!("FROM {}\nRUN echo one; echo $WHO >&2; exit 7\n", world.plain()?.reference);
    let order = order(world, "segment-one", &text, "segments/failing", &path)?;
    let error = order.refused(world)?;
    check(error.contains("failed in buildkit: exit code: 7\n| one\n"), || error.clone())?;
    nothing_left(&order.store, &[])?;
    Ok(error.lines().map(str::to_owned).collect())
}

/// An order whose `RUN` does not end by itself, running, with `mark` in its command line.
fn asleep(world: &World, name: &str, mark: &str) -> Result<(Order, Running), Halt> {
    let path = buildkit(world)?;
    let text = format!("FROM {}\nRUN --mount=type=secret,id=token sleep {mark}\n", world.plain()?.reference);
    let mut order = order(world, &format!("segment-{name}"), &text, &format!("segments/{name}"), &path)?;
    order.secrets.insert("token".into(), SECRET.into());
    let running = Running::start(&mut order.command(world)?)?;
    let start = Instant::now();
    while processes(&format!("sleep {mark}"))?.iter().all(|line| !line.starts_with("sleep")) {
        check(start.elapsed() < Duration::from_secs(240), || "the instruction does not begin".to_owned())?;
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok((order, running))
}

fn killed(world: &World) -> Figures {
    let (order, running) = asleep(world, "killed", "61.71")?;
    running.kill()?;
    Ok(vec![nothing_left(&order.store, &["sleep 61.71"])?])
}

fn terminated(world: &World) -> Figures {
    // The suite's own program has no handler, as the command line has: the kernel ends it at once.
    let (order, running) = asleep(world, "terminated", "61.72")?;
    running.signal(rustix::process::Signal::TERM)?;
    let (ran, _) = running.end()?;
    same("the exit code", ran.code, None)?;
    Ok(vec![nothing_left(&order.store, &["sleep 61.72"])?])
}

/// The process id of the private daemon that builds for this store.
pub(super) fn private_daemon(store: &Path) -> Result<String, Halt> {
    let store = store.display().to_string();
    // Where the store's path is too long for a socket, its folder is in that of this suite for temporary files.
    let temporary = format!("lapstrake-e2e-{}/", std::process::id());
    let listing = done("ps", ["-ww", "-eo", "pid,args"])?;
    let daemon = listing.lines().map(str::trim).find(|line| {
        line.split(' ').nth(1).is_some_and(|program| program.ends_with("buildkitd"))
            && (line.contains(&store) || line.contains(&temporary))
    });
    let id = daemon.and_then(|line| line.split(' ').next()).ok_or_else(|| Halt::Failed("no daemon".to_owned()))?;
    Ok(id.to_owned())
}

fn dying(world: &World) -> Figures {
    let (order, running) = asleep(world, "dying", "61.73")?;
    done("kill", ["-KILL", &private_daemon(&order.store)?])?;
    let (ran, seconds) = running.end()?;
    same("the exit code", ran.code, Some(1))?;
    check(ran.stderr.contains("buildkit"), || ran.stderr.clone())?;
    let tags = run(&mut command("crane", ["ls", &order.target]))?;
    check(tags.code != Some(0) || !tags.stdout.contains("lapstrake-segment"), || tags.stdout.clone())?;
    let left = nothing_left(&order.store, &["sleep 61.73"])?;
    Ok([format!("failed {seconds:.1} s after the start; {left}")]
        .into_iter()
        .chain(ran.stderr.lines().map(str::to_owned))
        .collect())
}

fn named(world: &World) -> Figures {
    let path = buildkit(world)?;
    let daemon = crate::servers::Buildkitd::start(&world.folder("buildkitd"), &world.registry()?.address, "")?;
    let parent = &world.plain()?.reference;
    let slow = "RUN date +%s%N > /when\n";
    let text = format!("FROM {parent}\n{slow}RUN echo one\n");
    let first = order(world, "segment-named", &text, "segments/named", &path)?.with("BUILDKIT_HOST", &daemon.address);
    let made = first.build(world)?;
    check(processes("segment-named")?.is_empty(), || "a private daemon runs".to_owned())?;
    let when = |reference: &str| done("sh", ["-c", &format!("crane export {reference} - | tar -xO when")]);
    // Another machine, another daemon, the end of the Dockerfile changed: the first `RUN` comes from the registry.
    let text = format!("FROM {parent}\n{slow}RUN echo two\n");
    let second = order(world, "segment-named-2", &text, "segments/named", &path)?.build(world)?;
    check(second.reference != made.reference, || "the second is the first".to_owned())?;
    same("what the first instruction wrote", when(&second.reference)?, when(&made.reference)?)?;
    drop(daemon);
    let dead = Order { dockerfile: format!("FROM {parent}\nRUN echo three\n"), ..first };
    let error = dead.refused(world)?;
    check(error.contains("`BUILDKIT_HOST` is `unix://"), || error.clone())?;
    Ok(error.lines().map(str::to_owned).collect())
}

fn login(world: &World) -> Figures {
    tools::need(&["htpasswd"])?;
    let path = buildkit(world)?;
    let folder = world.fresh("segment-registry")?;
    let file = folder.join("htpasswd");
    done("htpasswd", ["-Bbc", &file.display().to_string(), "boatswain", SECRET])?;
    let registry = Registry::start(Maker::Debian, &folder, &Door { htpasswd: Some(&file), ..Door::default() })?;
    let client = crate::clients::Client::known(&folder, &registry.address, "boatswain", SECRET)?;
    let text = format!("FROM {}\nRUN echo one\n", world.plain()?.reference);
    let mut order = order(world, "segment-login", &text, "segments/login", &path)?;
    order.target = format!("{}/segments/login", registry.address);
    let known = Order {
        environment: order.environment.clone().into_iter().chain(client.environment.clone()).collect(),
        ..order.clone()
    };
    let made = known.build(world)?;
    client.accepts(&made.reference)?;
    let error = order.refused(world)?;
    check(error.contains(&registry.address) && !error.contains(SECRET), || error.clone())?;
    nothing_left(&order.store, &[])?;
    Ok(error.lines().map(str::to_owned).collect())
}

fn packages(world: &World) -> Figures {
    let path = buildkit(world)?;
    let parent = &world.plain()?.reference;
    let line =
        "RUN apt-get update && apt-get install -y --no-install-recommends 'libgomp1' && rm -rf /var/lib/apt/lists/*";
    let order = order(world, "segment-apt", &format!("FROM {parent}\n{line}\n"), "segments/apt", &path)?;
    let order = Order { context: None, ignore: String::new(), build_args: Default::default(), ..order };
    let start = Instant::now();
    let ran = order.run(world)?;
    if ran.code != Some(0)
        && ["Could not connect", "Temporary failure", "Unable to fetch", "Could not resolve"]
            .iter()
            .any(|sign| ran.stderr.contains(sign))
    {
        return Err(Halt::Skipped(format!("the package mirror cannot be reached from inside:\n{}", ran.stderr)));
    }
    let made: segments::Made = serde_json::from_str(&ran.done()?.stdout)?;
    let cold = start.elapsed().as_secs_f64();
    let listing = done("sh", ["-c", &format!("crane export {} - | tar -t", made.reference)])?;
    check(listing.contains("libgomp.so.1"), || "the package is not installed".to_owned())?;
    let lists = listing.lines().filter(|line| line.starts_with("var/lib/apt/lists/") && *line != "var/lib/apt/lists/");
    same("lists of packages", lists.count(), 0)?;
    let mut fresh = Order { store: world.folder("segment-apt-2"), ..order };
    fresh.environment.insert("PATH".into(), "/nowhere".into());
    let start = Instant::now();
    same("the backend of the second build", fresh.build(world)?.made_by, None)?;
    Ok(vec![format!("installed in {cold:.1} s, found in {:.2} s", start.elapsed().as_secs_f64())])
}

/// Lets `nobody` have subordinate ids, in a mount namespace of its own, and runs a program as `nobody`.
const AS_NOBODY: &str = r#"mount --bind "$1" /etc/subuid && mount --bind "$1" /etc/subgid && shift &&
exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@""#;

fn rootless(world: &World) -> Figures {
    tools::need_root()?;
    let programs = ["buildctl", "buildkitd", "runc", "rootlesskit", "newuidmap", "newgidmap", "setpriv", "unshare"];
    tools::need(&programs)?;
    // Where `nobody` can read.
    let folder = tempfile::Builder::new().prefix("lapstrake-rootless-").tempdir_in("/tmp")?;
    let below = |name: &str| folder.path().join(name);
    let shown = |name: &str| below(name).display().to_string();
    std::fs::create_dir(below("bin"))?;
    for name in ["buildctl", "buildkitd"] {
        std::fs::copy(tools::find(name).unwrap_or_default(), below("bin").join(name))?;
    }
    std::fs::copy(std::env::current_exe()?, below("suite"))?;
    std::fs::write(below("ids"), "nobody:100000:65536\n")?;
    let text = format!("FROM {}\nRUN id -u > /who\n", world.plain()?.reference);
    let path = format!("{}:/usr/bin:/usr/sbin:/bin:/sbin", shown("bin"));
    let mut order = order(world, "unused", &text, "segments/rootless", &path)?;
    order.context = None;
    order.backend = Some("buildkit".to_owned());
    order.store = below("store");
    let order = order.with("HOME", &shown("")).with("TMPDIR", &shown("")).with("XDG_RUNTIME_DIR", &shown(""));
    std::fs::write(below("order"), serde_json::to_vec(&order)?)?;
    done("chown", ["-R", "65534:65534", &shown("")])?;
    let ids = shown("ids");
    let mut command = command("unshare", ["--mount", "sh", "-c", AS_NOBODY, "sh", &ids, &shown("suite")]);
    let ran = run(command.env_clear().envs(&order.environment).env(segments::ORDER, below("order")))?;
    if ran.code != Some(0) {
        return Err(Halt::Skipped(format!("the kernel does not allow it here: {}", ran.stderr.trim())));
    }
    let made: segments::Made = serde_json::from_str(&ran.stdout)?;
    image::accepted(&made.reference)?;
    same("the backend", made.made_by.as_deref(), Some("buildkit"))?;
    Ok(vec![nothing_left(&order.store, &[])?])
}

fn buildah(world: &World) -> Figures {
    tools::need_root()?;
    let path = path(world, &["buildah"])?;
    let text = with_secret(&dockerfile(&world.plain()?.reference));
    let storage = storage(world)?;
    let mut order = order(world, "segment-buildah", &text, "segments/buildah", &path)?;
    order = order.with("BUILDAH_ISOLATION", "chroot").with("CONTAINERS_STORAGE_CONF", &storage.display().to_string());
    order.secrets.insert("token".into(), SECRET.into());
    let start = Instant::now();
    let made = order.build(world)?;
    same("the backend", made.made_by.as_deref(), Some("buildah"))?;
    right(&made.reference)?;
    secret_was_seen(&made.reference)?;
    let mut failing = order.clone();
    failing.dockerfile = format!("FROM {}\nRUN echo one; exit 7\n", world.plain()?.reference);
    let error = failing.refused(world)?;
    check(error.contains("`RUN echo one; exit 7` failed in buildah") && error.contains("| one\n"), || error.clone())?;
    let seconds = start.elapsed().as_secs_f64();
    Ok([format!("both in {seconds:.1} s")].into_iter().chain(error.lines().map(str::to_owned)).collect())
}

/// Container storage of the suite's own.
pub(super) fn storage(world: &World) -> Result<PathBuf, Halt> {
    let folder = world.fresh("containers")?;
    let file = folder.join("storage.conf");
    let (graph, run) = (folder.join("graph"), folder.join("run"));
    let text =
        format!("[storage]\ndriver = \"vfs\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n", graph.display(), run.display());
    std::fs::write(&file, text)?;
    Ok(file)
}

fn docker(world: &World) -> Figures {
    let path = path(world, &["docker"])?;
    let text = dockerfile(&world.plain()?.reference);
    let dockerd = world.dockerd()?;
    let mut order = order(world, "segment-docker", &text, "segments/docker", &path)?;
    order.backend = Some("docker".to_owned());
    let order = order.with("DOCKER_HOST", dockerd.address());
    let made = order.build(world)?;
    right(&made.reference)?;
    let mut failing = order.clone();
    failing.dockerfile = format!("FROM {}\nRUN echo one; exit 7\n", world.plain()?.reference);
    let error = failing.refused(world)?;
    check(error.contains("`RUN echo one; exit 7` failed in docker"), || error.clone())?;
    Ok(error.lines().map(str::to_owned).collect())
}
