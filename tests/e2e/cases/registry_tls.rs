//! Registries that speak TLS with certificates of an authority that nobody knows.

use std::time::{Duration, Instant};

use crate::authority::Authority;
use crate::clients::Client;
use crate::harness::{Case, Figures, Halt, check, same};
use crate::project::Project;
use crate::registries::{Door, Maker, Registry};
use crate::world::World;

use super::registry_access::{first_line, refused};

pub(super) const CASES: &[Case] = &[
    Case { name: "TLS: an own authority is trusted when named; others and what is over are refused", run: tls },
    Case { name: "TLS: a registry that wants a certificate gets the configured one", run: certificates },
];

/// A project whose user has a configuration with these lines about the registry.
fn configured(world: &World, name: &str, registry: &Registry, lines: &str) -> Result<Project, Halt> {
    let project = Project::demo(world, &format!("tls-{name}"))?;
    let file = world.work.join(format!("tls-{name}.yaml"));
    // Loopback would be spoken to by plain http.
    std::fs::write(&file, format!("registries:\n  {}:\n    insecure: false\n{lines}", registry.address))?;
    Ok(project.with("LAPSTRAKE_CONFIG", &file.display().to_string()))
}

fn tls(world: &World) -> Figures {
    let folder = world.fresh("tls")?;
    let (own, other) = (Authority::new(&folder.join("own"))?, Authority::new(&folder.join("other"))?);
    let serve = |name: &str, subject: &str, days: u32| {
        let pair = own.sign(name, subject, days)?;
        Registry::start(Maker::Debian, &folder.join(name), &Door { tls: Some(&pair), ..Door::default() })
    };
    let (good, over) = (serve("good", "IP:127.0.0.1", 2)?, serve("over", "IP:127.0.0.1", 0)?);
    let over_since = Instant::now();
    let elsewhere = serve("elsewhere", "DNS:elsewhere.test", 2)?;
    let parent = world.small()?.reference.clone();
    let trusted = format!("    ca_file: {}\n", own.certificate().display());
    let strange = format!("    ca_file: {}\n", other.certificate().display());
    let mut figures = Vec::new();
    for (name, registry, lines) in [
        ("nobody", &good, ""),
        ("stranger", &good, strange.as_str()),
        ("elsewhere", &elsewhere, &trusted),
        ("over", &over, &trusted),
    ] {
        if name == "over" {
            std::thread::sleep(Duration::from_millis(1_100).saturating_sub(over_since.elapsed()));
        }
        let target = format!("{}/team/app:1", registry.address);
        let project = configured(world, name, registry, lines)?;
        let said = refused(&project, &["--parent-image", &parent, "--tag", &target], &["TLS", &registry.address])?;
        let causes: Vec<_> = said.lines().map(str::trim).filter(|line| line.starts_with("because: ")).collect();
        figures.push(format!("{name}: refused, {}", causes.last().unwrap_or(&"with no cause")));
        check(!registry.requests().iter().any(|line| line.contains("team/app")), || "something was asked".to_owned())?;
    }
    let target = format!("{}/team/app:1", good.address);
    let arguments = ["--parent-image", parent.as_str(), "--tag", &target];
    let made = configured(world, "friend", &good, &trusted)?.build(&arguments)?;
    let trusting = Client::trusting(&own.certificate());
    trusting.accepts(&made.reference)?;
    figures.push(made.figures("the authority named by `ca_file`"));
    let again = configured(world, "variable", &good, "")?.knowing(&trusting).build(&arguments)?;
    same("the digest", &again.digest, &made.digest)?;
    figures.push(again.figures("the authority named by SSL_CERT_FILE"));
    Ok(figures)
}

/// A registry that lets in who has a certificate of its authority.
fn certificates(world: &World) -> Figures {
    let folder = world.fresh("callers")?;
    let own = Authority::new(&folder.join("own"))?;
    let (server, caller) = (own.sign("server", "IP:127.0.0.1", 2)?, own.sign("caller", "DNS:caller.test", 2)?);
    let authority = own.certificate();
    let door = Door { tls: Some(&server), callers: Some(&authority), ..Door::default() };
    let registry = Registry::start(Maker::Debian, &folder.join("registry"), &door)?;
    let target = format!("{}/team/app:1", registry.address);
    let arguments = ["--parent-image", world.small()?.reference.as_str(), "--tag", &target];
    let trusted = format!("    ca_file: {}\n", authority.display());
    let with = format!(
        "{trusted}    client_certificate: {}\n    client_key: {}\n",
        caller.certificate.display(),
        caller.key.display()
    );
    let said = refused(&configured(world, "without", &registry, &trusted)?, &arguments, &[&registry.address])?;
    let build = configured(world, "with", &registry, &with)?.build(&arguments)?;
    Ok(vec![first_line("without", &said), build.figures("with")])
}
