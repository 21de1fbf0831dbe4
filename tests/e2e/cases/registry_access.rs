//! Registries that want to know who asks: passwords and tokens.

use crate::clients::{Client, no_secret};
use crate::harness::{Case, Figures, Halt, check, same};
use crate::line::Line;
use crate::nginx::Nginx;
use crate::parents;
use crate::process::{done, run};
use crate::project::Project;
use crate::registries::{Door, Maker, Registry, methods};
use crate::tokens::{Terms, TokenServer};
use crate::tools;
use crate::world::World;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "htpasswd: a wrong password names who and what, the right one builds, neither is shown",
        run: htpasswd,
    },
    Case { name: "tokens that live 2 s are renewed during a push of 10 blobs", run: short_tokens },
    Case { name: "tokens that end earlier than told are renewed at the registry's 401", run: shorter_than_told },
    Case { name: "a token server at another port of this machine gets no password", run: other_port },
    Case { name: "a token server that grants no push is told from one that knows nobody", run: read_only },
];

const USER: &str = "boatswain";
const SECRET: &str = "canary-Zq8/vK+e2e";
const WRONG: &str = "canary-Xw5/nL+e2e";

/// A build that must fail, and what it says with every cause.
pub(super) fn refused(project: &Project, arguments: &[&str], words: &[&str]) -> Result<String, Halt> {
    let error = project.refused(1, &[&["-vv"], arguments].concat())?;
    for word in words {
        check(error.contains(word), || format!("the error lacks `{word}`:\n{error}"))?;
    }
    check(error.contains("hint: "), || format!("the error has no hint:\n{error}"))?;
    Ok(error)
}

fn htpasswd(world: &World) -> Figures {
    tools::need(&["htpasswd"])?;
    let (makers, mut figures) = Maker::here(&Maker::DISTRIBUTION)?;
    for maker in makers {
        let name = maker.name();
        let folder = world.fresh(&format!("htpasswd-{name}"))?;
        let file = folder.join("htpasswd");
        done("htpasswd", ["-Bbc", &file.display().to_string(), USER, SECRET])?;
        let door = Door { htpasswd: Some(&file), ..Door::default() };
        let registry = Registry::start(maker, &folder, &door)?;
        let known = Client::known(&folder, &registry.address, USER, SECRET)?;
        let parent = parents::small(world, &known, &registry.address, 0)?.reference;
        let target = format!("{}/team/app:1", registry.address);
        let arguments = ["--parent-image", parent.as_str(), "--tag", &target];

        let project = |part: &str| Project::demo(world, &format!("htpasswd-{name}-{part}"));
        let nobody = refused(&project("nobody")?, &arguments, &[&registry.address, "an anonymous user", "pull"])?;
        let wrong = project("wrong")?.with("LAPSTRAKE_USERNAME", USER).with("LAPSTRAKE_PASSWORD", WRONG);
        let wrong_said = refused(&wrong, &arguments, &[&registry.address, "`LAPSTRAKE_USERNAME`"])?;
        let filed = project("filed")?.knowing(&Client::known(&folder, &registry.address, "bosun", WRONG)?);
        let filed_said = refused(&filed, &arguments, &[&registry.address, "config.json"])?;
        let right = project("right")?.with("LAPSTRAKE_USERNAME", USER).with("LAPSTRAKE_PASSWORD", SECRET);
        let ran = run(right.lapstrake(&["build", "--progress", "plain", "-vv"]).args(arguments))?.done()?;
        let again = right.build(&arguments)?;
        check(again.reused, || "the image was not reused".to_owned())?;
        known.accepts(&again.reference)?;

        let texts = [nobody.as_str(), &wrong_said, &filed_said, &ran.stdout, &ran.stderr];
        let folders = [wrong.store(), filed.store(), right.store(), &right.folder];
        no_secret(WRONG, USER, &texts, &folders)?;
        let forms = no_secret(SECRET, USER, &texts, &folders)?;
        figures.extend([&nobody, &wrong_said, &filed_said].map(|said| first_line(name, said)));
        figures.push(format!("{name}: {forms} forms of two secrets in no output and in no file of 3 stores"));
        figures.push(again.figures(name));
    }
    Ok(figures)
}

pub(super) fn first_line(name: &str, said: &str) -> String {
    format!("{name}: {}", said.lines().find(|line| line.contains("error")).unwrap_or(said))
}

/// A registry that trusts a token server, both behind one nginx, which is at the end of a slow line.
///
/// The token server has to be where the registry is: a password goes to no other port of this machine.
struct Guarded {
    tokens: TokenServer,
    _registry: Registry,
    nginx: Nginx,
    line: Line,
    parent: String,
}

impl Guarded {
    fn start(world: &World, maker: Maker, name: &str, terms: Terms, rate: u64) -> Result<Self, Halt> {
        let folder = world.fresh(&format!("tokens-{name}-{}", maker.name()))?;
        let line = Line::to("", rate)?;
        let tokens = TokenServer::start(&folder, terms)?;
        let url = format!("http://{}/token", line.address);
        let door = Door { realm: Some(tokens.realm(&url)), ..Door::default() };
        let registry = Registry::start(maker, &folder.join("registry"), &door)?;
        let nginx = Nginx::start(&folder.join("nginx"), &registry.address, "0", Some(&tokens.address))?;
        line.lead_to(&nginx.address);
        Ok(Self { tokens, _registry: registry, nginx, line, parent: world.laden()?.reference.clone() })
    }

    fn project(&self, world: &World, name: &str, password: &str) -> Result<Project, Halt> {
        let project = Project::demo(world, name)?;
        Ok(project.with("LAPSTRAKE_USERNAME", USER).with("LAPSTRAKE_PASSWORD", password))
    }
}

const fn terms(life: u64, told: Option<u64>) -> Terms {
    Terms { username: USER, password: SECRET, life, told, read_only: false }
}

/// Pushes ten blobs of 300 kB over a line of 600 kB a second.
fn slow_push(world: &World, maker: Maker, name: &str, terms: Terms) -> Result<Vec<String>, Halt> {
    let told = terms.told;
    let guarded = Guarded::start(world, maker, name, terms, 600_000)?;
    let target = format!("{}/team/app:1", guarded.line.address);
    let project = guarded.project(world, &format!("tokens-{name}-{}-project", maker.name()), SECRET)?;
    let build = project.build(&["--parent-image", &guarded.parent, "--tag", &target])?;
    check(build.uploaded > 3_000_000, || build.figures("the parent's layers were not pushed"))?;
    check(build.seconds > 4.0, || build.figures("too fast for a token to end"))?;
    let (given, requests) = (guarded.tokens.given().len(), guarded.nginx.requests());
    let refused = requests.iter().filter(|request| request.ends_with(" 401")).count();
    check(given >= 3, || format!("{given} tokens in {:.1} s", build.seconds))?;
    let plain = Project::demo(world, &format!("tokens-{name}-plain"))?;
    let target = format!("{}/tokens/{name}-{}:1", world.registry()?.address, maker.name());
    same(
        "the digest where nobody asks",
        plain.build(&["--parent-image", &guarded.parent, "--tag", &target])?.digest,
        build.digest.clone(),
    )?;
    Ok(vec![
        build.figures(maker.name()),
        format!(
            "{}: {given} tokens, told to live {told:?} s; {refused} answers 401; {}",
            maker.name(),
            methods(&requests)
        ),
    ])
}

fn short_tokens(world: &World) -> Figures {
    let (makers, mut figures) = Maker::here(&Maker::DISTRIBUTION)?;
    for maker in makers {
        figures.extend(slow_push(world, maker, "short", terms(2, Some(2)))?);
    }
    Ok(figures)
}

fn shorter_than_told(world: &World) -> Figures {
    slow_push(world, Maker::Debian, "lying", terms(2, Some(300)))
}

fn other_port(world: &World) -> Figures {
    let folder = world.fresh("tokens-port")?;
    let tokens = TokenServer::start(&folder, terms(60, None))?;
    let url = format!("http://{}/token", tokens.address);
    let door = Door { realm: Some(tokens.realm(&url)), ..Door::default() };
    let registry = Registry::start(Maker::Debian, &folder.join("registry"), &door)?;
    let target = format!("{}/team/app:1", registry.address);
    let project = Project::demo(world, "tokens-port-project")?;
    let project = project.with("LAPSTRAKE_USERNAME", USER).with("LAPSTRAKE_PASSWORD", SECRET);
    let arguments = ["--parent-image", world.small()?.reference.as_str(), "--tag", &target];
    let said = refused(&project, &arguments, &[&registry.address, &tokens.address])?;
    same("the number of requests that the token server saw", tokens.asked(), 0)?;
    no_secret(SECRET, USER, &[&said], &[project.store()])?;
    Ok(vec![first_line("refused", &said), "the token server saw 0 requests".to_owned()])
}

fn read_only(world: &World) -> Figures {
    let guarded =
        Guarded::start(world, Maker::Debian, "read", Terms { read_only: true, ..terms(60, Some(60)) }, u64::MAX)?;
    let target = format!("{}/team/app:1", guarded.line.address);
    let arguments = ["--parent-image", guarded.parent.as_str(), "--tag", &target];
    let (right, wrong) = (guarded.project(world, "read-right", SECRET)?, guarded.project(world, "read-wrong", WRONG)?);
    let scope = "repository:team/app:";
    let denied = refused(&right, &arguments, &[&guarded.line.address, "`LAPSTRAKE_USERNAME`", scope, "push"])?;
    // A question that was under way when the build gave up is answered all the same.
    std::thread::sleep(std::time::Duration::from_millis(500));
    let given = guarded.tokens.given().len();
    // One to read, one to write, and at most one more for each of the blobs under way.
    check(given <= 8, || format!("{given} tokens were asked for: {:?}", guarded.tokens.given()))?;
    let unknown = refused(&wrong, &arguments, &["`LAPSTRAKE_USERNAME`", scope])?;
    same("the number of tokens given to nobody", guarded.tokens.given().len(), given)?;
    no_secret(SECRET, USER, &[&denied, &unknown], &[right.store()])?;
    no_secret(WRONG, USER, &[&denied, &unknown], &[wrong.store()])?;
    Ok(vec![first_line("no right", &denied), first_line("unknown", &unknown), format!("{given} tokens asked for")])
}
