//! Registries that want to know who asks, and over which line: passwords, tokens, certificates, proxies.

use crate::authority::{Authority, Pair};
use crate::clients::{Client, no_secret};
use crate::harness::{Case, Figures, Halt, check, same};
use crate::line::Line;
use crate::nginx::Nginx;
use crate::parents;
use crate::process::{done, run};
use crate::project::{Project, shown};
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
    Case { name: "a token server that grants no push is told from one that knows nobody", run: read_only },
    Case { name: "TLS: an own authority is trusted when named; others and what is over are refused", run: tls },
    Case { name: "nginx with a limit of 2 MB: a larger layer goes up in chunks", run: chunks },
];

const USER: &str = "boatswain";
const SECRET: &str = "canary-Zq8/vK+e2e";
const WRONG: &str = "canary-Xw5/nL+e2e";

/// A build that must fail, and what it says with every cause.
fn refused(project: &Project, arguments: &[&str], words: &[&str]) -> Result<String, Halt> {
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

fn first_line(name: &str, said: &str) -> String {
    format!("{name}: {}", said.lines().find(|line| line.contains("error")).unwrap_or(said))
}

/// A registry that trusts a token server, both behind one nginx, which is at the end of a slow line.
///
/// The token server has to be where the registry is: a password goes to no other port of this machine.
struct Guarded {
    tokens: TokenServer,
    registry: Registry,
    _nginx: Nginx,
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
        Ok(Self { tokens, registry, _nginx: nginx, line, parent: world.laden()?.reference.clone() })
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
    let (given, requests) = (guarded.tokens.given().len(), guarded.registry.requests());
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

fn read_only(world: &World) -> Figures {
    let guarded =
        Guarded::start(world, Maker::Debian, "read", Terms { read_only: true, ..terms(60, Some(60)) }, u64::MAX)?;
    let target = format!("{}/team/app:1", guarded.line.address);
    let arguments = ["--parent-image", guarded.parent.as_str(), "--tag", &target];
    let (right, wrong) = (guarded.project(world, "read-right", SECRET)?, guarded.project(world, "read-wrong", WRONG)?);
    let scope = "repository:team/app:";
    let denied = refused(&right, &arguments, &[&guarded.line.address, "`LAPSTRAKE_USERNAME`", scope, "push"])?;
    let given = guarded.tokens.given().len();
    check(given <= 4, || format!("{given} tokens were asked for: {:?}", guarded.tokens.given()))?;
    let unknown = refused(&wrong, &arguments, &["`LAPSTRAKE_USERNAME`", scope])?;
    same("the number of tokens given to nobody", guarded.tokens.given().len(), given)?;
    no_secret(SECRET, USER, &[&denied, &unknown], &[right.store()])?;
    no_secret(WRONG, USER, &[&denied, &unknown], &[wrong.store()])?;
    Ok(vec![first_line("no right", &denied), first_line("unknown", &unknown), format!("{given} tokens asked for")])
}

fn tls(world: &World) -> Figures {
    let folder = world.fresh("tls")?;
    let (own, other) = (Authority::new(&folder.join("own"))?, Authority::new(&folder.join("other"))?);
    let serve = |name: &str, pair: &Pair| {
        let door = Door { tls: Some((&pair.certificate, &pair.key)), ..Door::default() };
        Registry::start(Maker::Debian, &folder.join(name), &door)
    };
    let good = serve("good", &own.sign("good", "IP:127.0.0.1,DNS:localhost", 2)?)?;
    let over = serve("over", &own.sign("over", "IP:127.0.0.1,DNS:localhost", 0)?)?;
    let elsewhere = serve("elsewhere", &own.sign("elsewhere", "DNS:elsewhere.test", 2)?)?;
    let by_name = |registry: &Registry| registry.address.replace("127.0.0.1", "localhost");
    let (friend, stranger) = (Client::trusting(&own.certificate()), Client::trusting(&other.certificate()));
    let parent = world.small()?.reference.clone();
    let build = |name: &str, client: &Client, registry: &Registry| -> Result<(Project, String), Halt> {
        let project = Project::demo(world, &format!("tls-{name}"))?.knowing(client);
        Ok((project, format!("{}/team/app:1", by_name(registry))))
    };
    let mut figures = Vec::new();
    for (name, client, registry) in
        [("a stranger", &stranger, &good), ("over", &friend, &over), ("another name", &friend, &elsewhere)]
    {
        let (project, target) = build(name, client, registry)?;
        let said = refused(&project, &["--parent-image", &parent, "--tag", &target], &[&by_name(registry)])?;
        figures.push(format!("{name}: {}", said.lines().take(4).collect::<Vec<_>>().join(" / ")));
        check(registry.requests().iter().all(|line| !line.contains("team/app")), || "something was asked".to_owned())?;
    }
    let (project, target) = build("friend", &friend, &good)?;
    let made = project.build(&["--parent-image", &parent, "--tag", &target])?;
    friend.accepts(&made.reference)?;
    figures.push(made.figures("the authority named by SSL_CERT_FILE"));
    Ok(figures)
}

fn chunks(world: &World) -> Figures {
    let folder = world.fresh("nginx")?;
    let registry = Registry::start(Maker::Debian, &folder.join("registry"), &Door::default())?;
    let nginx = Nginx::start(&folder.join("nginx"), &registry.address, "2m", None)?;
    let parent = parents::small(world, &Client::default(), &registry.address, 0)?.reference;
    let project = Project::demo(world, "nginx-project")?;
    project.load("cargo.bin", 5_000_000, 5)?;
    let target = format!("{}/team/app:1", nginx.address);
    let build = project.build(&["--parent-image", &parent, "--tag", &target])?;
    let requests = nginx.requests();
    let too_large = requests.iter().filter(|request| request.ends_with(" 413")).count();
    let patches = requests.iter().filter(|request| request.starts_with("PATCH ") && request.ends_with(" 202")).count();
    check(too_large >= 1, || format!("nginx let all through: {requests:#?}"))?;
    check(patches >= 3, || format!("{patches} chunks: {requests:#?}"))?;
    let largest = build.layers.iter().map(|layer| layer.size).max().unwrap_or_default();
    check(largest > 2 << 20, || format!("the largest layer has {largest} bytes"))?;
    crate::image::accepted(&build.reference)?;
    let plain = Project::demo(world, "nginx-plain")?;
    plain.load("cargo.bin", 5_000_000, 5)?;
    let direct = plain.build(&["--parent-image", &parent, "--tag", &format!("{}/plain/app:1", registry.address)])?;
    same("the digest", &build.digest, &direct.digest)?;
    Ok(vec![
        build.figures("through nginx"),
        format!("a layer of {}: {too_large} answers 413, then {patches} chunks", shown(largest)),
        methods(&requests),
    ])
}
