//! Logins that other tools made, and that other tools read.

use std::path::Path;

use crate::harness::{Case, Figures, Halt, check};
use crate::process::{Ran, command, done, run};
use crate::project::Project;
use crate::registries::{Door, Maker, Registry};
use crate::servers;
use crate::tools;
use crate::world::World;

pub(super) const CASES: &[Case] = &[
    Case { name: "a login is read by skopeo and crane, and forgotten by logout", run: kept },
    Case { name: "a login that skopeo made is found", run: found },
];

const PASSWORD: &str = "canary pass+word/e2e";

/// A registry for one user.
fn locked(world: &World, name: &str) -> Result<Registry, Halt> {
    tools::need(&["htpasswd", "skopeo"])?;
    let folder = world.fresh(name)?;
    let file = folder.join("htpasswd");
    done("htpasswd", ["-Bbc", &file.display().to_string(), "boatswain", PASSWORD])?;
    Registry::start(Maker::Debian, &folder, &Door { htpasswd: Some(&file), ..Door::default() })
}

fn kept(world: &World) -> Figures {
    tools::need(&["crane"])?;
    let registry = locked(world, "login-registry")?;
    let config = world.fresh("login-config")?;
    let config = config.display().to_string();
    let log_in = |password: &str| -> Result<Ran, Halt> {
        let secret = world.folder("login-secret");
        std::fs::write(&secret, format!("{password}\n"))?;
        let mut login = servers::lapstrake();
        login.args(["login", &registry.address, "-u", "boatswain", "--password-stdin"]).env("DOCKER_CONFIG", &config);
        run(login.stdin(std::fs::File::open(&secret)?))
    };
    let wrong = crate::project::refused(log_in("another")?, 1)?;
    check(!Path::new(&config).join("config.json").exists(), || "a wrong password is kept".to_owned())?;
    let login = log_in(PASSWORD)?.done()?;
    check(!login.shown().contains(PASSWORD), || "the password is shown".to_owned())?;

    let project =
        Project::requiring(world, "login-project", &world.folder("store"), "")?.with("DOCKER_CONFIG", &config);
    let target = format!("{}/app:1", registry.address);
    let build = project.build(&["--parent-image", &world.plain()?.reference, "--tag", &target])?;
    let by_crane = run(command("crane", ["digest", "--insecure", &target]).env("DOCKER_CONFIG", &config))?.done()?;
    let image = format!("docker://{target}");
    let file = format!("{config}/config.json");
    let arguments = ["inspect", "--tls-verify=false", "--authfile", &file, "--format", "{{.Digest}}", &image];
    let by_skopeo = done("skopeo", arguments)?;
    for (tool, digest) in [("crane", by_crane.stdout), ("skopeo", by_skopeo)] {
        check(digest.trim() == build.digest, || format!("{tool} finds {digest}, not {}", build.digest))?;
    }
    run(servers::lapstrake().args(["logout", &registry.address]).env("DOCKER_CONFIG", &config))?.done()?;
    let refused = run(servers::lapstrake().args(["inspect", &target]).env("DOCKER_CONFIG", &config))?;
    check(refused.code == Some(1), || "the registry is still open after `logout`".to_owned())?;
    let lines = [wrong, login.stderr, refused.stderr].concat();
    Ok(lines.lines().map(str::to_owned).collect())
}

fn found(world: &World) -> Figures {
    let registry = locked(world, "found-registry")?;
    let file = world.fresh("found-auth")?.join("auth.json");
    let file = file.display().to_string();
    let user = ["--username", "boatswain", "--password", PASSWORD];
    let place = ["--tls-verify=false", "--authfile", &file, &registry.address];
    done("skopeo", ["login"].iter().chain(&user).chain(&place))?;
    let project = Project::requiring(world, "found-project", &world.folder("store"), "")?;
    let project = project.with("REGISTRY_AUTH_FILE", &file);
    let target = format!("{}/app:1", registry.address);
    let build = project.build(&["--parent-image", &world.plain()?.reference, "--tag", &target])?;
    Ok(vec![build.figures("with skopeo's login")])
}
