//! Where code comes from, with the real git, and with moto's S3: checkouts in every state, and containers' side of it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{Case, Figures, Halt, check, same};
use crate::process::{command, done, run};
use crate::project::Project;
use crate::servers::Moto;
use crate::tools;
use crate::world::World;

pub(super) const CASES: &[Case] = &[
    Case { name: "code: checkouts in every state are judged as git leaves them", run: states },
    Case { name: "code: what the image records is what a container fetches", run: fetched },
    Case { name: "code: shallow checkouts as CI makes them count as pushed", run: shallow },
    Case { name: "code: worktrees, submodules and strangers' checkouts", run: odd_checkouts },
    Case { name: "code: S3 takes one archive, which a container checks and unpacks", run: s3 },
];

/// A project in a git checkout with a bare repository as its remote.
struct Checkout {
    project: Project,
    bare: PathBuf,
    parent: String,
    target: String,
}

impl Checkout {
    fn new(world: &World, name: &str) -> Result<Self, Halt> {
        tools::need(&["git"])?;
        let parent = world.small()?.reference.clone();
        let target = format!("{}/code/{name}:1", world.registry()?.address);
        let project = Project::demo(world, &format!("code-{name}"))?;
        let bare = world.fresh(&format!("code-{name}-remote"))?;
        git(&bare, &["init", "--quiet", "--bare", "--initial-branch", "main"])?;
        let checkout = Self { project, bare, parent, target };
        checkout.git(&["init", "--quiet", "--initial-branch", "main"])?;
        checkout.git(&["remote", "add", "origin", &checkout.url()])?;
        checkout.configure()?;
        checkout.commit("first")?;
        checkout.git(&["push", "--quiet", "--set-upstream", "origin", "main"])?;
        Ok(checkout)
    }

    /// The remote's URL. It has to be named: one that is on this machine is not taken otherwise.
    fn url(&self) -> String {
        format!("file://{}", self.bare.display())
    }

    fn configure(&self) -> Result<(), Halt> {
        let docker = "settings:\n  docker:\n    requirements: pylock.toml\n    user: '1000'\n";
        self.project.write("lapstrake.yaml", &format!("{docker}lapstrake:\n  code_repository: {}\n", self.url()))
    }

    fn git(&self, arguments: &[&str]) -> Result<String, Halt> {
        git(&self.project.folder, arguments)
    }

    fn commit(&self, message: &str) -> Result<(), Halt> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--message", message]).map(drop)
    }

    fn flags(&self) -> [&str; 4] {
        ["--parent-image", &self.parent, "--tag", &self.target]
    }

    /// The plan's section on sources, for the configuration in `folder`.
    fn sources_in(&self, folder: &Path) -> Result<Value, Halt> {
        let file = folder.join("lapstrake.yaml").display().to_string();
        let mut plan = self.project.lapstrake(&["plan", &file, "--format", "json"]);
        let ran = run(plan.args(self.flags()).current_dir(folder))?.done()?;
        let printed: Value = serde_json::from_str(&ran.stdout)?;
        Ok(printed["images"][0]["sources"].clone())
    }

    fn sources(&self) -> Result<Value, Halt> {
        self.sources_in(&self.project.folder)
    }

    /// Checks that the code is included, for a reason with these words.
    fn is_included_for(&self, what: &str, reason: &str) -> Result<String, Halt> {
        let sources = self.sources()?;
        same(&format!("the delivery of {what}"), sources["delivery"].as_str(), Some("include"))?;
        let said = sources["reasons"][0].as_str().unwrap_or_default();
        check(said.contains(reason), || format!("{what}: `{said}` lacks `{reason}`"))?;
        Ok(format!("{what}: {said}"))
    }

    /// Checks that the code is left to the repository, at the commit that is checked out in `folder`.
    fn is_left_to_git(&self, what: &str, folder: &Path) -> Result<String, Halt> {
        let sources = self.sources_in(folder)?;
        let because = || format!("{what}: {sources}");
        check(sources["delivery"] == "repository", because)?;
        let head = git(folder, &["rev-parse", "HEAD"])?;
        same("the commit", sources["repository"]["commit"].as_str(), Some(head.trim()))?;
        Ok(format!("{what}: repository"))
    }
}

/// Runs git without the user's own configuration.
fn git(folder: &Path, arguments: &[&str]) -> Result<String, Halt> {
    let identity = ["-c", "user.name=e2e", "-c", "user.email=e2e@example.test", "-c", "protocol.file.allow=always"];
    let mut git = command("git", identity);
    git.args(arguments).current_dir(folder).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
    Ok(run(&mut git)?.done()?.stdout)
}

fn states(world: &World) -> Figures {
    let checkout = Checkout::new(world, "states")?;
    let folder = checkout.project.folder.clone();
    let mut figures = vec![checkout.is_left_to_git("clean and pushed", &folder)?];
    checkout.project.write("pipeline.py", "print('changed')\n")?;
    figures.push(checkout.is_included_for("a changed file", "`pipeline.py` differs from the commit")?);
    checkout.commit("second")?;
    figures.push(checkout.is_included_for("an unpushed commit", "push it")?);
    checkout.git(&["push", "--quiet"])?;
    checkout.project.write("new file.py", "")?;
    figures.push(checkout.is_included_for("an untracked file", "`new file.py` is not tracked")?);
    checkout.project.write(".gitignore", "new file.py\n")?;
    checkout.commit("ignore it")?;
    checkout.git(&["push", "--quiet"])?;
    figures.push(checkout.is_left_to_git("an ignored file", &folder)?);
    checkout.git(&["checkout", "--quiet", "--detach", "HEAD~1"])?;
    std::fs::remove_file(folder.join("new file.py"))?;
    figures.push(checkout.is_left_to_git("a detached head behind the branch", &folder)?);
    checkout.git(&["checkout", "--quiet", "-b", "local"])?;
    figures.push(checkout.is_left_to_git("a branch of this machine at a commit that is pushed", &folder)?);
    Ok(figures)
}

fn fetched(world: &World) -> Figures {
    tools::need(&["crane"])?;
    let checkout = Checkout::new(world, "fetched")?;
    let build = checkout.project.build(&checkout.flags())?;
    let config: Value = serde_json::from_str(&done("crane", ["config", "--insecure", &build.reference])?)?;
    let variables: Vec<(String, String)> = config["config"]["Env"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.as_str()?.split_once('='))
        .filter(|(name, _)| name.starts_with("LAPSTRAKE_"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let app = world.fresh("code-fetched-app")?;
    // The guide's entrypoint, in a folder of its own.
    let script = "set -e; git init -q .; git fetch -q --depth 1 \"$LAPSTRAKE_CODE_REPOSITORY\" \"$LAPSTRAKE_CODE_COMMIT\"; \
                  git checkout -q FETCH_HEAD; cd \"./$LAPSTRAKE_CODE_SUBDIRECTORY\"; ls";
    git(&checkout.bare, &["config", "uploadpack.allowAnySHA1InWant", "true"])?;
    let mut container = command("sh", ["-c", script]);
    container.current_dir(&app).envs(variables.clone()).env("GIT_CONFIG_GLOBAL", "/dev/null");
    let listed = run(&mut container)?.done()?.stdout;
    for name in ["pipeline.py", "lapstrake.yaml", "steps"] {
        check(listed.lines().any(|line| line == name), || format!("`{name}` was not fetched:\n{listed}"))?;
    }
    Ok(variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
}

fn shallow(world: &World) -> Figures {
    let checkout = Checkout::new(world, "shallow")?;
    checkout.git(&["tag", "v1"])?;
    checkout.git(&["push", "--quiet", "origin", "v1"])?;
    checkout.project.write("pipeline.py", "print('later')\n")?;
    checkout.commit("later")?;
    checkout.git(&["push", "--quiet"])?;
    let head = checkout.git(&["rev-parse", "HEAD"])?;
    let (url, head) = (checkout.url(), head.trim());
    let at = world.fresh("code-shallow-clones")?;
    let mut figures = Vec::new();
    for (what, clone) in [
        ("clone --depth 1", vec!["clone", "--quiet", "--depth", "1", &url, "a"]),
        ("clone --depth 1 --branch TAG", vec!["clone", "--quiet", "--depth", "1", "--branch", "v1", &url, "b"]),
    ] {
        git(&at, &clone)?;
        figures.push(checkout.is_left_to_git(what, &at.join(clone.last().copied().unwrap_or_default()))?);
    }
    git(&checkout.bare, &["config", "uploadpack.allowAnySHA1InWant", "true"])?;
    let to_branch = format!("+{head}:refs/remotes/origin/main");
    let to_tag = format!("+{head}:refs/tags/v2");
    for (name, what, refspec) in [
        ("c", "fetch +SHA:refs/remotes/origin/main", to_branch.as_str()),
        ("d", "fetch +SHA:refs/tags/v2", to_tag.as_str()),
        ("e", "fetch SHA, checkout FETCH_HEAD", head),
    ] {
        let folder = at.join(name);
        std::fs::create_dir_all(&folder)?;
        git(&folder, &["init", "--quiet"])?;
        git(&folder, &["remote", "add", "origin", &url])?;
        git(&folder, &["fetch", "--quiet", "--no-tags", "--depth", "1", "origin", refspec])?;
        git(&folder, &["checkout", "--quiet", "--detach", head])?;
        figures.push(checkout.is_left_to_git(what, &folder)?);
    }
    Ok(figures)
}

fn odd_checkouts(world: &World) -> Figures {
    let checkout = Checkout::new(world, "odd")?;
    let at = world.fresh("code-odd-folders")?;
    let tree = at.join("tree").display().to_string();
    checkout.git(&["worktree", "add", "--quiet", "--detach", &tree])?;
    let mut figures = vec![checkout.is_left_to_git("a worktree", &at.join("tree"))?];
    let library = at.join("library");
    std::fs::create_dir_all(&library)?;
    git(&library, &["init", "--quiet"])?;
    std::fs::write(library.join("lib file.py"), "")?;
    git(&library, &["add", "--all"])?;
    git(&library, &["commit", "--quiet", "--message", "library"])?;
    checkout.git(&["submodule", "--quiet", "add", &format!("file://{}", library.display()), "vendored"])?;
    checkout.commit("vendor it")?;
    checkout.git(&["push", "--quiet"])?;
    let folder = checkout.project.folder.clone();
    figures.push(checkout.is_left_to_git("a submodule", &folder)?);
    std::fs::write(folder.join("vendored/lib file.py"), "changed")?;
    figures.push(checkout.is_included_for("a changed submodule", "`vendored` differs from the commit")?);
    let store = world.fresh("code-odd-artifacts")?;
    let native = format!("lapstrake:\n  artifact_store: {}\n", store.display());
    checkout.project.write("lapstrake.yaml", &native)?;
    checkout.project.write("notes.txt", "new")?;
    checkout.project.build(&checkout.flags())?;
    let names = done("sh", ["-c", &format!("tar tzf {}/code_uploads/*.tar.gz", store.display())])?;
    for name in ["vendored/lib file.py", "notes.txt", "pipeline.py"] {
        check(names.lines().any(|line| line == name), || format!("`{name}` is not in the archive:\n{names}"))?;
    }
    checkout.configure()?;
    std::fs::remove_file(folder.join("notes.txt"))?;
    checkout.git(&["checkout", "--quiet", "--recurse-submodules", "--force", "HEAD"])?;
    tools::need_root()?;
    done("chown", ["-R", "1234:1234", &folder.display().to_string()])?;
    figures.push(checkout.is_left_to_git_as_root("a checkout of another user's")?);
    done("chown", ["-R", "4321:4321", &folder.join("steps").display().to_string()])?;
    let file = folder.join("lapstrake.yaml").display().to_string();
    let mut plan = checkout.project.lapstrake(&["plan", &file, "--source-root", "steps", "--format", "json"]);
    let ran = run(plan.args(checkout.flags()))?.done()?;
    check(ran.stdout.contains("dubious ownership"), || format!("a stranger's `.git` was trusted:\n{}", ran.stdout))?;
    done("chown", ["-R", "0:0", &folder.display().to_string()])?;
    figures.push("a `.git` above the root that is another user's: git refuses".to_owned());
    Ok(figures)
}

impl Checkout {
    /// As `is_left_to_git`; git itself would refuse to tell the commit here.
    fn is_left_to_git_as_root(&self, what: &str) -> Result<String, Halt> {
        let sources = self.sources()?;
        check(sources["delivery"] == "repository", || format!("{what}: {sources}"))?;
        Ok(format!("{what}: repository"))
    }
}

/// What a container does: fetches, checks, unpacks, lists.
const CONTAINER: &str = r#"
import hashlib, io, os, sys, tarfile, urllib.request
data = urllib.request.urlopen(sys.argv[1]).read()
assert "sha256:" + hashlib.sha256(data).hexdigest() == os.environ["LAPSTRAKE_CODE_DIGEST"], "the digest differs"
with tarfile.open(fileobj=io.BytesIO(data)) as archive:
    archive.extractall(sys.argv[2], **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    print("\n".join(archive.getnames()))
"#;

fn s3(world: &World) -> Figures {
    tools::need(&["python3"])?;
    let folder = world.fresh("code-s3")?;
    let moto = Moto::start(&folder)?;
    let made = request(&moto.address, "PUT", "/ci-bucket")?;
    check(made.starts_with("HTTP/1.1 200") || made.starts_with("HTTP/1.0 200"), || format!("no bucket: {made}"))?;
    let parent = world.small()?.reference.clone();
    let target = format!("{}/code/s3:1", world.registry()?.address);
    let project = Project::demo(world, "code-s3-project")?
        .with("AWS_ENDPOINT_URL", &format!("http://{}", moto.address))
        .with("AWS_ACCESS_KEY_ID", "AKIDE2E")
        .with("AWS_SECRET_ACCESS_KEY", "canary/e2e+secret==")
        .with("AWS_REGION", "eu-central-1");
    project.write("lapstrake.yaml", "lapstrake:\n  artifact_store: s3://ci-bucket/team\n")?;
    project.write("a name.py", "print('ahoy')\n")?;
    project.load("large.bin", 40 << 20, 7)?;
    let flags = ["--parent-image", parent.as_str(), "--tag", target.as_str()];
    let mut build = project.lapstrake(&["-vv", "build", "--progress", "plain"]);
    let first = run(build.args(flags))?.done()?;
    check(first.shown().contains("uploaded the code"), || first.shown())?;
    check(!first.shown().contains("canary"), || "the secret is shown".to_owned())?;
    let again = run(project.lapstrake(&["build"]).args(flags))?.done()?;
    check(!again.shown().contains("uploaded the code"), || again.shown())?;
    let mut plan = project.lapstrake(&["plan", "--format", "json"]);
    let printed: Value = serde_json::from_str(&run(plan.args(flags))?.done()?.stdout)?;
    let archive = &printed["images"][0]["sources"]["archive"];
    same("whether it is there", archive["isThere"].as_bool(), Some(true))?;
    let (uri, digest) = (archive["uri"].as_str().unwrap_or_default(), archive["digest"].as_str().unwrap_or_default());
    let path = uri.strip_prefix("s3://").unwrap_or_default();
    let app = folder.join("app").display().to_string();
    let mut container = command("python3", ["-c", CONTAINER, &format!("http://{}/{path}", moto.address), &app]);
    let names = run(container.env("LAPSTRAKE_CODE_DIGEST", digest).env("NO_PROXY", "*"))?.done()?.stdout;
    for name in ["a name.py", "steps/train.py", "large.bin"] {
        check(names.lines().any(|line| line == name), || format!("`{name}` is not in the archive:\n{names}"))?;
    }
    Ok(vec![uri.to_owned(), format!("{} bytes, in parts", archive["size"])])
}

/// Sends a request without a body to moto, which believes everybody.
fn request(address: &str, method: &str, path: &str) -> Result<String, Halt> {
    let mut stream = TcpStream::connect(address)?;
    let scope = "AKID/20260101/us-east-1/s3/aws4_request";
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nhost: {address}\r\ncontent-length: 0\r\n\
         authorization: AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
