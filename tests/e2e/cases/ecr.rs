//! Amazon ECR: its API as moto plays it, and docker-registry under a host name of ECR's.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;

use crate::harness::{Case, Figures, Halt, check, same};
use crate::process::{command, done};
use crate::project::Project;
use crate::registries::{Door, Maker, Registry};
use crate::servers::Moto;
use crate::tools;
use crate::world::World;

pub(super) const CASES: &[Case] = &[
    Case { name: "ECR: a missing repository is named, is made on demand, and takes the image", run: push },
    Case { name: "ECR: a web identity becomes a role that pushes", run: web_identity },
    Case { name: "ECR: with its API gone, the source is named and the secret is nowhere", run: canary },
];

const HOST: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
const CANARY: &str = "canary/e2e+secret==";

/// The API, and a registry that takes only what ECR's password opens, behind a front that knows the repositories.
struct Ecr {
    moto: Moto,
    registry: Registry,
    /// `127.0.0.1:PORT`, which the binary takes for its proxy.
    front: String,
}

impl Ecr {
    fn start(folder: &Path, repository: &'static str) -> Result<Self, Halt> {
        tools::need(&["htpasswd"])?;
        let moto = Moto::start(folder)?;
        let file = folder.join("htpasswd");
        // moto's GetAuthorizationToken always gives this password.
        done("htpasswd", ["-Bbc", &file.display().to_string(), "AWS", "123456789012-auth-token"])?;
        let registry = Registry::start(Maker::Debian, folder, &Door { htpasswd: Some(&file), ..Door::default() })?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let front = listener.local_addr()?.to_string();
        let (api, behind) = (moto.address.clone(), registry.address.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (api, behind) = (api.clone(), behind.clone());
                // A connection that ends early is the client's matter.
                std::thread::spawn(move || serve(stream, &api, &behind, repository));
            }
        });
        Ok(Self { moto, registry, front })
    }

    /// A project whose builds find this cloud and nobody else.
    fn project(&self, world: &World, name: &str) -> Result<Project, Halt> {
        let project = Project::requiring(world, name, &world.folder("store"), "")?;
        let api = format!("http://{}", self.moto.address);
        let project = project.with("HTTP_PROXY", &format!("http://{}", self.front)).with("AWS_ENDPOINT_URL", &api);
        Ok(project.with("AWS_CONFIG_FILE", "/dev/null").with("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"))
    }
}

/// As ECR does: nothing is known of a repository that was not made. Known ones are docker-registry's.
fn serve(mut client: TcpStream, api: &str, behind: &str, repository: &str) -> std::io::Result<()> {
    let (status, _) = Moto::ask(api, "DescribeRepositories", &format!(r#"{{"repositoryNames": ["{repository}"]}}"#))?;
    if status == 200 {
        let server = TcpStream::connect(behind)?;
        let (mut from, mut to) = (server.try_clone()?, client.try_clone()?);
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
        std::io::copy(&mut client, &mut &server)?;
        return server.shutdown(Shutdown::Both);
    }
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let body = r#"{"errors":[{"code":"NAME_UNKNOWN","message":"The repository does not exist in the registry"}]}"#;
    let length = body.len();
    write!(client, "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
}

fn flags<'a>(world: &'a World, target: &'a str) -> Result<Vec<&'a str>, Halt> {
    let parent = &world.plain()?.reference;
    Ok(vec!["--parent-image", parent, "--tag", target, "--insecure-registry", HOST])
}

fn push(world: &World) -> Figures {
    let ecr = Ecr::start(&world.fresh("ecr")?, "team/app")?;
    let target = format!("{HOST}/team/app:1");
    let flags = flags(world, &target)?;
    let keys = |project: Project| project.with("AWS_ACCESS_KEY_ID", "AKIDE2E").with("AWS_SECRET_ACCESS_KEY", CANARY);
    let project = keys(ecr.project(world, "ecr-project")?);
    let missing = project.refused(1, &flags)?;
    for word in ["repository `", "does not exist", "NAME_UNKNOWN", "--create-repository"] {
        check(missing.contains(word), || format!("the error lacks `{word}`:\n{missing}"))?;
    }
    let build = project.build(&[&flags[..], &["--create-repository"]].concat())?;
    let again = project.build(&[&flags[..], &["--create-repository"]].concat())?;
    same("the digest of the second build", &again.digest, &build.digest)?;
    let wrong = ecr.registry.requests().iter().filter(|line| line.ends_with(" 403")).count();
    same("requests that the registry denies", wrong, 0)?;
    let mut figures: Vec<String> = missing.lines().map(str::to_owned).collect();
    figures.push(build.figures("with --create-repository"));
    Ok(figures)
}

fn web_identity(world: &World) -> Figures {
    let folder = world.fresh("ecr-web-identity")?;
    let ecr = Ecr::start(&folder, "team/web")?;
    let made = ecr.moto.call("CreateRepository", r#"{"repositoryName": "team/web"}"#)?;
    same("moto's status for CreateRepository", made.0, 200)?;
    let token = folder.join("token");
    std::fs::write(&token, CANARY)?;
    let project = ecr.project(world, "ecr-web-project")?;
    let project = project.with("AWS_WEB_IDENTITY_TOKEN_FILE", &token.display().to_string());
    let project = project.with("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/ci");
    let target = format!("{HOST}/team/web:1");
    let build = project.build(&flags(world, &target)?)?;
    Ok(vec![build.figures("as a role of moto's STS")])
}

fn canary(world: &World) -> Figures {
    let folder = world.fresh("ecr-canary")?;
    let ecr = Ecr::start(&folder, "team/canary")?;
    // The process is gone, and every request to the API fails.
    let address = ecr.moto.address.clone();
    drop(ecr.moto);
    let project = Project::requiring(world, "ecr-canary-project", &world.folder("store"), "")?;
    let project = project.with("AWS_ENDPOINT_URL", &format!("http://{address}"));
    let project = project.with("AWS_ACCESS_KEY_ID", "AKIDE2E").with("AWS_SECRET_ACCESS_KEY", CANARY);
    let project = project.with("HTTP_PROXY", &format!("http://{}", ecr.registry.address));
    let target = format!("{HOST}/team/canary:1");
    let error = project.refused(1, &[&flags(world, &target)?[..], &["-vv"]].concat())?;
    check(error.contains("AWS_ACCESS_KEY_ID"), || format!("the error does not name the source:\n{error}"))?;
    let held = command("grep", ["-rlF", CANARY, &project.store().display().to_string()]).output()?;
    check(!error.contains(CANARY) && held.stdout.is_empty(), || "the secret is shown or kept".to_owned())?;
    Ok(vec!["row A12: the secret key is in no output and not in the store".to_owned()])
}
