//! Faults of a backend while lapstrake builds a Dockerfile: it ends soon with a reason, the tag stays where it was, and
//! no process, mount, container or scratch folder is left.
//!
//! The Dockerfile is one of the settings, with an instruction that only a backend can run.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::backend::{buildkit, nothing_left, private_daemon, processes};
use crate::harness::{Case, Figures, Halt, check, same};
use crate::nginx::Nginx;
use crate::process::{Ran, Running, command, done, run};
use crate::project::Project;
use crate::segments;
use crate::servers::Buildkitd;
use crate::tools;
use crate::world::World;

pub(super) const CASES: &[Case] = &[
    Case { name: "a Dockerfile's backend that dies in the middle is an error, and the tag stays", run: dies },
    Case { name: "a Dockerfile's backend that hangs is ended by ctrl-C", run: hangs },
    Case {
        name: "a Dockerfile's instruction without an end is ended by ctrl-C, by SIGTERM and by SIGKILL",
        run: ended,
    },
    Case { name: "a daemon that serves others runs nothing more after ctrl-C and SIGKILL", run: shared },
    Case { name: "a Dockerfile's backend that fills the disk is an error with the instruction", run: full },
    Case { name: "a Dockerfile's backend that makes another platform's image is refused", run: platform },
    Case { name: "a registry that refuses the backend alone is an error that names it", run: refused },
    Case { name: "a log of 100 MB takes no memory, and its end is in the error", run: loud },
];

/// Longer than any end of a build takes, and much shorter than what is waited for otherwise.
const SOON: Duration = Duration::from_secs(60);

/// A project with a Dockerfile, and a tag that must not move.
struct Ground {
    project: Project,
    store: PathBuf,
    /// `registry/repository`.
    repository: String,
    parent: String,
    tags: String,
}

impl Ground {
    /// Makes the project; its images go to `address`, the suite's registry or what stands before it.
    fn open(world: &World, name: &str, address: &str) -> Result<Self, Halt> {
        tools::need(&["crane", "setpriv"])?;
        let path = buildkit(world)?;
        let store = world.fresh(&format!("fault-{name}-store"))?;
        let project = Project::demo(world, &format!("fault-{name}"))?;
        let temporary = segments::temporary();
        std::fs::create_dir_all(&temporary)?;
        let project = project
            .with("LAPSTRAKE_STORE", &store.display().to_string())
            .with("LAPSTRAKE_LEDGER", "off")
            .with("TMPDIR", &temporary.display().to_string())
            .with("PATH", &path);
        let settings = format!(
            "settings:\n  docker:\n    dockerfile: Dockerfile\n    target_repository: faults/{name}\n    \
             allow_including_files_in_images: false\n    allow_download_from_code_repository: false\n    \
             allow_download_from_artifact_store: false\n    install_stack_requirements: false\n\
             lapstrake:\n  registry: {address}\n"
        );
        project.write("run.yaml", &settings)?;
        let parent = world.slim()?.reference.clone();
        let repository = format!("{}/faults/{name}", world.registry()?.address);
        done("crane", ["copy", &parent, &format!("{repository}:latest")])?;
        let tags = tags(&repository)?;
        Ok(Self { project, store, repository, parent, tags })
    }

    /// Starts a build of the parent with these instructions upon it.
    fn start(&self, instructions: &str) -> Result<Running, Halt> {
        self.write(&format!("FROM {}\n{instructions}\n", self.parent))?;
        Running::start(&mut self.project.lapstrake(&["build", "run.yaml", "--progress", "none"]))
    }

    fn write(&self, dockerfile: &str) -> Result<(), Halt> {
        self.project.write("Dockerfile", dockerfile)
    }

    /// Starts a build whose `RUN` sleeps for `mark` seconds, and waits until it does.
    fn asleep(&self, mark: &str) -> Result<Running, Halt> {
        let running = self.start(&format!("RUN sleep {mark}"))?;
        let start = Instant::now();
        while !is_asleep(mark)? {
            check(start.elapsed() < SOON, || "the instruction does not begin".to_owned())?;
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(running)
    }

    /// Nothing was published and nothing is left.
    fn untouched(&self, marks: &[&str]) -> Result<String, Halt> {
        same("the tags of the repository", tags(&self.repository)?, self.tags.clone())?;
        nothing_left(&self.store, marks)
    }
}

fn is_asleep(mark: &str) -> Result<bool, Halt> {
    Ok(processes(&format!("sleep {mark}"))?.iter().any(|line| line.starts_with("sleep")))
}

/// Every tag of a repository with its digest.
fn tags(repository: &str) -> Result<String, Halt> {
    let mut all = String::new();
    for tag in done("crane", ["ls", repository])?.lines() {
        all.push_str(&format!("{tag} {}", done("crane", ["digest", &format!("{repository}:{tag}")])?));
    }
    Ok(all)
}

/// The end of a build that had to fail: what it said, and the figures of it.
fn failed(ran: &Ran, seconds: f64, words: &[&str]) -> Figures {
    same("the exit code", ran.code, Some(1))?;
    for word in words {
        check(ran.stderr.contains(word), || format!("the error lacks `{word}`:\n{}", ran.stderr))?;
    }
    let said = ran.stderr.lines().map(|line| line.chars().take(160).collect());
    Ok([format!("failed {seconds:.1} s after the start")].into_iter().chain(said).collect())
}

fn dies(world: &World) -> Figures {
    let ground = Ground::open(world, "dies", &world.registry()?.address)?;
    let running = ground.asleep("61.81")?;
    done("kill", ["-KILL", &private_daemon(&ground.store)?])?;
    let (ran, seconds) = running.end()?;
    let mut figures = failed(&ran, seconds, &["buildkit"])?;
    figures.push(ground.untouched(&["sleep 61.81"])?);
    Ok(figures)
}

fn hangs(world: &World) -> Figures {
    let ground = Ground::open(world, "hangs", &world.registry()?.address)?;
    let running = ground.asleep("61.82")?;
    done("kill", ["-STOP", &private_daemon(&ground.store)?])?;
    std::thread::sleep(Duration::from_millis(500));
    let seconds = interrupt(running, Signal::INT, 130)?;
    Ok(vec![format!("ended {seconds:.1} s after ctrl-C"), ground.untouched(&["sleep 61.82"])?])
}

/// Sends a signal, after which it must end soon with this code; gives the seconds it took.
fn interrupt(running: Running, signal: Signal, code: i32) -> Result<f64, Halt> {
    let start = Instant::now();
    running.signal(signal)?;
    let (ran, _) = running.end()?;
    same("the exit code", ran.code, Some(code))?;
    check(start.elapsed() < SOON, || format!("it took {:.1} s", start.elapsed().as_secs_f64()))?;
    Ok(start.elapsed().as_secs_f64())
}

fn ended(world: &World) -> Figures {
    let ground = Ground::open(world, "ended", &world.registry()?.address)?;
    let mut figures = Vec::new();
    for (signal, code, name, mark) in [(Signal::INT, 130, "ctrl-C", "61.83"), (Signal::TERM, 143, "SIGTERM", "61.84")] {
        let seconds = interrupt(ground.asleep(mark)?, signal, code)?;
        let left = ground.untouched(&[&format!("sleep {mark}")])?;
        figures.push(format!("{name}: ended after {seconds:.1} s; {left}"));
    }
    ground.asleep("61.85")?.kill()?;
    figures.push(format!("SIGKILL: {}", ground.untouched(&["sleep 61.85"])?));
    Ok(figures)
}

fn shared(world: &World) -> Figures {
    let address = &world.registry()?.address;
    let mut ground = Ground::open(world, "shared", address)?;
    let daemon = Buildkitd::start(&world.fresh("fault-daemon")?, address, "")?;
    ground.project = ground.project.with("BUILDKIT_HOST", &daemon.address);
    let seconds = interrupt(ground.asleep("61.86")?, Signal::INT, 130)?;
    let mut figures = vec![format!("ctrl-C: ended after {seconds:.1} s; {}", stopped(&ground, "61.86")?)];
    ground.asleep("61.87")?.kill()?;
    figures.push(format!("SIGKILL: {}", stopped(&ground, "61.87")?));
    Ok(figures)
}

/// Waits until a shared daemon has ended the instruction.
fn stopped(ground: &Ground, mark: &str) -> Result<String, Halt> {
    let start = Instant::now();
    while is_asleep(mark)? {
        check(start.elapsed() < Duration::from_secs(20), || "the instruction still runs in the daemon".to_owned())?;
        std::thread::sleep(Duration::from_millis(50));
    }
    let seconds = start.elapsed().as_secs_f64();
    Ok(format!("the instruction ended {seconds:.1} s later; {}", ground.untouched(&[])?))
}

/// Gives both places where a private daemon may have its root little room, in a mount namespace of its own.
const LITTLE_ROOM: &str = r#"for folder in "$LAPSTRAKE_STORE" "$TMPDIR"; do
mount -t tmpfs -o size=400m tmpfs "$folder" || exit 99; done; exec "$@""#;

fn full(world: &World) -> Figures {
    let ground = Ground::open(world, "full", &world.registry()?.address)?;
    ground.write(&format!("FROM {}\nRUN dd if=/dev/zero of=/full bs=1M count=2000\n", ground.parent))?;
    let build = ground.project.lapstrake(&["build", "run.yaml", "--progress", "none"]);
    // The search path of the build has no `mount`.
    let mut shell = command(tools::find("unshare").unwrap_or_default(), ["--mount", "/bin/sh", "-c"]);
    shell.args([&format!("PATH=$PATH:/bin:/usr/bin; {LITTLE_ROOM}"), "sh"]).arg(build.get_program());
    shell.args(build.get_args()).current_dir(&ground.project.folder);
    shell.envs(build.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let start = Instant::now();
    let ran = run(&mut shell)?;
    let words = ["`RUN dd if=/dev/zero of=/full bs=1M count=2000` failed", "No space left on device"];
    let mut figures = failed(&ran, start.elapsed().as_secs_f64(), &words)?;
    figures.push(ground.untouched(&[])?);
    Ok(figures)
}

fn platform(world: &World) -> Figures {
    tools::need(&["python3"])?;
    // BuildKit and buildah say of every image that it is of the platform asked for; another program may not.
    let mut ground = Ground::open(world, "platform", &world.registry()?.address)?;
    let sample =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/backend-sample/lapstrake-backend-sample");
    let folder = world.fresh("fault-platform-bin")?;
    let arm64 = &world.arm64()?.reference;
    let other = format!("{arm64}@{}", done("crane", ["digest", arm64])?.trim());
    // Whatever it is asked to begin with, it begins with that.
    let text = format!(
        "#!/bin/sh\n[ \"$1\" = build ] || exit 0\nsed 's|FROM [^\\\\]*|FROM {other}|' | exec {} build\n",
        sample.display()
    );
    let program = folder.join("lapstrake-backend-wayward");
    std::fs::write(&program, text)?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    ground.project = ground.project.with("PATH", &path);
    ground.write(&format!("FROM {}\nRUN sh -c true\n", ground.parent))?;
    let arguments = ["build", "run.yaml", "--progress", "none", "--backend", "wayward"];
    let (ran, seconds) = Running::start(&mut ground.project.lapstrake(&arguments))?.end()?;
    let mut figures = failed(&ran, seconds, &["linux/arm64", "linux/amd64"])?;
    // What the program pushed stands under the segment's tag, and counts as none.
    let kept = tags(&ground.repository)?;
    check(kept.contains(ground.tags.trim()), || format!("the tag moved: {kept}"))?;
    figures.push(nothing_left(&ground.store, &[])?);
    Ok(figures)
}

fn refused(world: &World) -> Figures {
    let folder = world.fresh("fault-nginx")?;
    let nginx = Nginx::refusing(&folder, &world.registry()?.address, "buildkit|containerd")?;
    let ground = Ground::open(world, "refused", &nginx.address)?;
    let (ran, seconds) = ground.start("RUN sh -c true")?.end()?;
    let mut figures = failed(&ran, seconds, &["buildkit", "403"])?;
    check(nginx.requests().iter().any(|request| request.ends_with(" 403")), || "nobody was refused".to_owned())?;
    figures.push(ground.untouched(&[])?);
    Ok(figures)
}

fn loud(world: &World) -> Figures {
    let mut ground = Ground::open(world, "loud", &world.registry()?.address)?;
    // BuildKit itself would keep back all but two megabytes.
    for limit in ["BUILDKIT_STEP_LOG_MAX_SIZE", "BUILDKIT_STEP_LOG_MAX_SPEED"] {
        ground.project = ground.project.with(limit, "-1");
    }
    let line = "a line of a log that is long and says little";
    // BuildKit stops telling three seconds after the end, however much it has not told; on a busy machine it is that late.
    let burst = format!("yes '{line}' | head -c 100000000; echo");
    let running = ground.start(&format!("RUN {burst}; sleep 6; echo the end of it; exit 9"))?;
    let watched = watch(running.id());
    let (ran, seconds) = running.end()?;
    let peak = watched.join().unwrap_or_default();
    let mut figures = failed(&ran, seconds, &["exit code: 9", &format!("| {line}\n"), "| the end of it\n"])?;
    check(ran.stderr.len() < 20_000, || format!("the error has {} bytes", ran.stderr.len()))?;
    check((1..200).contains(&peak), || format!("lapstrake took {peak} MiB"))?;
    figures.truncate(2);
    figures.push(format!("lapstrake took {peak} MiB at most; {}", ground.untouched(&[])?));
    Ok(figures)
}

/// Watches a process until it ends, and gives its largest resident set, in MiB.
fn watch(id: u32) -> std::thread::JoinHandle<u64> {
    std::thread::spawn(move || {
        let mut peak = 0;
        while let Ok(status) = std::fs::read_to_string(format!("/proc/{id}/status")) {
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let Some(now) = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()) else { break };
            peak = peak.max(now / 1024);
            std::thread::sleep(Duration::from_millis(20));
        }
        peak
    })
}
