//! `uv sync` and `uv venv` of Dockerfiles: carried out without a backend, or left to one with the reason.
//!
//! uv is played by a script; equality with BuildKit is held end to end, where BuildKit is.

use lapstrake::oci::{Descriptor, media_type};
use lapstrake::registry::Registry as _;
use serde_json::{Value, json};

use crate::support::fake_uv::FakeUv;
use crate::support::fault::{FaultServer, Reply};
use crate::support::parents::SITE as PARENTS;
use crate::support::readback::{document, sha256};
use crate::support::wheel_maker::WheelMaker;
use crate::support::yard::{Ran, Yard};

const PROJECT: &str =
    "[build-system]\nrequires = [\"hatchling\"]\n[project]\nname = \"ferry\"\nrequires-python = \">=3.9\"\n";
const SITE: &str = "srv/app/.venv/lib/python3.11/site-packages";

fn run(yard: &Yard, store: &str, uv: &FakeUv<'_>, command: &str) -> Ran {
    let tag = yard.at("demo/app:latest");
    let arguments = ["--format", "json", command, "-f", "Dockerfile", "--tag", &tag];
    yard.command(store).args(arguments).env("PATH", uv.folder()).output().unwrap().into()
}

fn done(ran: Ran) -> Value {
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    serde_json::from_str::<Value>(&ran.stdout).unwrap()["images"][0].clone()
}

/// The demo's parent without the version that official images say.
async fn untold(yard: &Yard) -> String {
    let change = |config: &mut Value| config["config"]["Env"] = json!(["PATH=/usr/local/bin"]);
    yard.push_parent_with("demo/untold:1", &[("etc/motto", "fair winds\n")], change).await;
    yard.at("demo/untold:1")
}

/// A server with a wheel, and a lock that has it there.
async fn offered(uv: &FakeUv<'_>, wheel: &WheelMaker) -> FaultServer {
    let bytes = wheel.build();
    let (hash, filename) = (sha256(&bytes).replace("sha256:", ""), wheel.filename());
    let server = FaultServer::start(move |_, _| Reply::ok(bytes.clone())).await;
    let mut parts = filename.split('-');
    let (name, version) = (parts.next().unwrap(), parts.next().unwrap());
    let text = format!(
        "lock-version = \"1.0\"\ncreated-by = \"test\"\n[[packages]]\nname = \"{name}\"\nversion = \"{version}\"\n\
         wheels = [{{ url = \"{}\", hashes = {{ sha256 = \"{hash}\" }} }}]\n",
        server.url(&format!("/{filename}"))
    );
    std::fs::write(uv.folder().join("export"), text).unwrap();
    server
}

fn write_project(yard: &Yard) {
    yard.write("pyproject.toml", PROJECT);
    yard.write("uv.lock", "version = 1\n");
    yard.write("src/ferry.py", "RATE = 1");
    yard.write(".dockerignore", "*\n!src\n!pyproject.toml\n!uv.lock\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_is_synchronised_without_a_backend() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    let _server = offered(&uv, &WheelMaker::new("cleat", "1.0").file("cleat.py", "1.0")).await;
    write_project(&yard);
    yard.write(
        "Dockerfile",
        format!(
            "FROM {}\nWORKDIR /srv/app\n\
             RUN --mount=type=cache,target=/root/.cache/uv --mount=type=bind,source=uv.lock,target=uv.lock \\\n\
             --mount=type=bind,source=pyproject.toml,target=pyproject.toml uv sync --frozen --no-install-project\n\
             COPY . .\nRUN uv sync --locked\n",
            yard.at("demo/parent:1")
        ),
    );
    yard.requests();
    let plan = done(run(&yard, "store", &uv, "plan"));
    let steps = plan["instructions"].as_array().unwrap();
    assert!(steps.iter().all(|step| step["how"] == "native"), "{plan}");
    assert!(steps[3]["why"].as_str().unwrap().contains("`uv.lock` and the project"), "{plan}");
    assert!(!yard.requests().iter().any(|line| line.starts_with("PUT")), "a plan writes nothing");

    done(run(&yard, "store", &uv, "build"));
    let image = yard.pull("demo/app:latest").await;
    let text = |path: &str| image.file(path).unwrap_or_else(|| panic!("no {path}")).text().to_owned();
    assert_eq!(text(&format!("{SITE}/cleat.py")), "1.0");
    assert_eq!(text(&format!("{SITE}/cleat-1.0.dist-info/INSTALLER")), "uv");
    assert_eq!(text(&format!("{SITE}/ferry.pth")), "/srv/app/src\n", "the project's folder in the image");
    assert_eq!(text("srv/app/built.txt"), "ferry.py\n", "what a build leaves beside its sources");
    assert_eq!(text("srv/app/.venv/bin/activate"), "VIRTUAL_ENV='/srv/app/.venv'\n");
    let configuration = text("srv/app/.venv/pyvenv.cfg");
    assert!(configuration.contains("home = /usr/local/bin\n") && configuration.contains("version_info = 3.11.9\n"));
    assert_eq!(image.file("srv/app/.venv/.lock").unwrap().mode, 0o666);

    yard.write("src/ferry.py", "RATE = 2");
    let edited = done(run(&yard, "store", &uv, "build"));
    let built: Vec<&Value> =
        edited["layers"].as_array().unwrap().iter().filter(|layer| layer["action"] == "build").collect();
    let titles: Vec<&str> = built.iter().map(|layer| layer["title"].as_str().unwrap()).collect();
    assert_eq!(titles, ["3 files of the context"], "its packages stay, and what uv made of it");
}

/// How often uv was run.
fn runs(uv: &FakeUv<'_>) -> usize {
    std::fs::read_to_string(uv.folder().join("argv")).unwrap().lines().count()
}

/// A Dockerfile whose image differs by `label`, and what uv makes of its project does not.
fn write_sync(yard: &Yard, label: &str) {
    let parent = yard.at("demo/parent:1");
    let text = format!("FROM {parent}\nWORKDIR /srv/app\nCOPY . .\nRUN uv sync --locked\nLABEL a={label}\n");
    yard.write("Dockerfile", text);
}

/// A project with one package, built once.
async fn synced(yard: &Yard, uv: &FakeUv<'_>) -> FaultServer {
    let server = offered(uv, &WheelMaker::new("cleat", "1.0").file("cleat.py", "1.0")).await;
    write_project(yard);
    write_sync(yard, "1");
    done(run(yard, "store", uv, "build"));
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn another_machine_takes_what_uv_made_beside_the_image() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    let _server = synced(&yard, &uv).await;
    assert_eq!(runs(&uv), 3, "the lock, an environment and the project");
    let kept: Vec<String> =
        yard.requests().into_iter().filter(|line| line.contains("manifests/lapstrake-uv-")).collect();
    assert_eq!(kept.iter().filter(|line| line.starts_with("PUT")).count(), 1, "{kept:?}");

    write_sync(&yard, "2");
    std::fs::write(uv.folder().join("uv"), "#!/bin/sh\nexit 1\n").unwrap();
    done(run(&yard, "another-store", &uv, "build"));
    let image = yard.pull("demo/app:latest").await;
    assert_eq!(image.file(&format!("{SITE}/ferry.pth")).unwrap().text(), "/srv/app/src\n");
    assert_eq!(image.file("srv/app/built.txt").unwrap().text(), "ferry.py\n");
    let put = |line: &String| line.contains("manifests/lapstrake-uv-") && line.starts_with("PUT");
    assert!(!yard.requests().iter().any(put), "it is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_is_only_copied_is_edited_without_a_run_of_uv() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    uv.answers(&[&WheelMaker::new("cleat", "1.0").file("cleat.py", "1.0")], "");
    write_project(&yard);
    let parent = yard.at("demo/parent:1");
    yard.write("Dockerfile", format!("FROM {parent}\nWORKDIR /srv/app\nCOPY . .\nRUN pip install --no-cache-dir .\n"));
    done(run(&yard, "store", &uv, "build"));
    let first = runs(&uv);
    for (number, store) in ["store", "another-store"].into_iter().enumerate() {
        let text = format!("RATE = {}", number + 2);
        yard.write("src/ferry.py", &text);
        done(run(&yard, store, &uv, "build"));
        let image = yard.pull("demo/app:latest").await;
        assert_eq!(image.file(&format!("{PARENTS}/ferry.py")).unwrap().text(), text, "{store}");
        assert_eq!(runs(&uv), first, "{store}");
    }
    yard.write("pyproject.toml", PROJECT.replace("requires-python", "dynamic = [\"version\"]\nrequires-python"));
    done(run(&yard, "store", &uv, "build"));
    let second = runs(&uv);
    yard.write("src/ferry.py", "RATE = 9");
    done(run(&yard, "store", &uv, "build"));
    assert!(runs(&uv) > second, "a version may be told by a module");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_registry_says_that_uv_made_is_read_with_care() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    let _server = synced(&yard, &uv).await;
    let put =
        yard.requests().into_iter().find(|line| line.starts_with("PUT") && line.contains("/lapstrake-uv-")).unwrap();
    let name = format!("demo/app:{}", put.split_whitespace().nth(1).unwrap().rsplit('/').next().unwrap());
    let (manifest, _) = document(&yard.at(&name)).await;
    let blob = serde_json::from_slice::<Value>(&manifest).unwrap()["layers"][0].clone();
    let blob: Descriptor = serde_json::from_value(blob).unwrap();
    let real = yard.client().fetch_blob(&yard.reference(&name).repository(), &blob, 1 << 20).await.unwrap();
    let elsewhere = String::from_utf8(real).unwrap().replace("\"/srv/app/", "\"/etc/");
    for (number, results) in ["{}".to_owned(), "nonsense".to_owned(), elsewhere].into_iter().enumerate() {
        let types = [media_type::OCI_MANIFEST, media_type::OCI_EMPTY, "application/vnd.lapstrake.uv.v1+json"];
        yard.push_image_as(&name, &[results.as_bytes()], b"{}", types).await;
        write_sync(&yard, &format!("x{number}"));
        let before = runs(&uv);
        done(run(&yard, &format!("store-{number}"), &uv, "build"));
        let image = yard.pull("demo/app:latest").await;
        assert!(image.file("etc/ferry.pth").is_none());
        assert_eq!(image.file(&format!("{SITE}/ferry.pth")).unwrap().text(), "/srv/app/src\n");
        assert!(runs(&uv) > before, "{number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_of_uvs_takes_packages() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    uv.answers(&[&WheelMaker::new("cleat", "1.0").file("cleat.py", "1.0")], "");
    let parent = yard.at("demo/parent:1");
    yard.write(
        "Dockerfile",
        format!(
            "FROM {parent}\nRUN uv venv --prompt sea /opt/venv\nENV VIRTUAL_ENV=/opt/venv\nRUN uv pip install cleat\n"
        ),
    );
    done(run(&yard, "store", &uv, "build"));
    let image = yard.pull("demo/app:latest").await;
    assert_eq!(image.file("opt/venv/lib/python3.11/site-packages/cleat.py").unwrap().text(), "1.0");
    assert_eq!(image.file("opt/venv/.lock").unwrap().mode, 0o666, "uv locks what it installs into");
    let asked = std::fs::read_to_string(uv.folder().join("argv")).unwrap();
    assert!(asked.lines().any(|line| line.starts_with("venv --no-project --prompt sea /")), "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_a_workspace_are_installed_with_the_packages_of_its_lock() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    let _server = offered(&uv, &WheelMaker::new("cleat", "1.0").file("cleat.py", "1.0")).await;
    let mut packages = std::fs::read_to_string(uv.folder().join("export")).unwrap();
    packages += "[[packages]]\nname = \"tides\"\ndirectory = { path = \"members/tides\", editable = true }\n";
    std::fs::write(uv.folder().join("export"), packages).unwrap();
    let root = "[project]\nname = \"harbour\"\nversion = \"1\"\n[tool.uv.workspace]\nmembers = [\"members/*\"]\n";
    let parent = yard.at("demo/parent:1");
    write_project(&yard);
    yard.write("pyproject.toml", root);
    yard.write("members/tides/pyproject.toml", PROJECT.replace("ferry", "tides"));
    yard.write(".dockerignore", "store*\nuv\nDockerfile\n");
    let file = |line: &str| format!("FROM {parent}\nWORKDIR /srv/app\nCOPY . .\nRUN uv sync {line}\n");
    yard.write("Dockerfile", file("--frozen --all-packages"));
    done(run(&yard, "store", &uv, "build"));
    let asked = std::fs::read_to_string(uv.folder().join("argv")).unwrap();
    assert!(asked.lines().any(|line| line.starts_with("export") && line.contains("--all-packages")), "{asked}");
    let run_of_it = asked.lines().find(|line| line.starts_with("sync --frozen")).unwrap();
    assert!(run_of_it.contains("--all-packages --no-install-package cleat") && !run_of_it.contains("tides"), "{asked}");
    let image = yard.pull("demo/app:latest").await;
    assert_eq!(image.file(&format!("{SITE}/cleat.py")).unwrap().text(), "1.0");
    assert_eq!(image.file(&format!("{SITE}/ferry.pth")).unwrap().text(), "/srv/app/src\n", "what its run left");

    for (member, line, reason) in [
        (PROJECT.replace("hatchling", "own-backend"), "--frozen", "`own-backend`"),
        (PROJECT.replace("requires-python", "dynamic = [\"version\"]\nrequires-python"), "--locked", "up to date"),
        (format!("{PROJECT}[tool.uv]\nno-binary = true\n"), "--frozen", "`tool.uv.no-binary`"),
    ] {
        yard.write("members/tides/pyproject.toml", member);
        yard.write("Dockerfile", file(line));
        let ran = run(&yard, "store", &uv, "plan");
        assert!(ran.code == 1 && ran.stderr.contains(reason), "{reason}: {}", ran.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_is_seeded_with_what_uv_takes_for_it() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    let wheels = [("pip", "26.3"), ("setuptools", "84.2")];
    let [pip, setuptools] =
        wheels.map(|(name, version)| WheelMaker::new(name, version).file(&format!("{name}.py"), version));
    uv.answers(&[&pip, &setuptools], "");
    let parent = yard.at("demo/parent:1");
    yard.write("Dockerfile", format!("FROM {parent}\nRUN uv venv --seed /opt/venv\n"));
    done(run(&yard, "store", &uv, "build"));
    let asked = uv.asked();
    for line in ["pip==26.3", "setuptools==84.2"] {
        assert!(asked.contains(&format!("line {line}")), "{asked}");
    }
    let image = yard.pull("demo/app:latest").await;
    assert_eq!(image.file("opt/venv/lib/python3.11/site-packages/pip.py").unwrap().text(), "26.3");
    assert!(image.file("opt/venv/pyvenv.cfg").unwrap().text().ends_with("seed = true\n"));
    assert!(image.file("opt/venv/.lock").is_none(), "nothing locks it");
    assert!(image.file("opt/venv/bin/stray").is_none(), "of what uv put there only the names count");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_is_installed_by_pip_with_what_it_requires() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    uv.answers(&[&WheelMaker::new("cleat", "1.0").file("cleat.py", "1.0")], "");
    write_project(&yard);
    let parent = yard.at("demo/parent:1");
    yard.write("setup.py", "from setuptools import setup\n\nsetup()\n");
    yard.write(".dockerignore", "*\n!src\n!setup.py\n!pyproject.toml\n");
    yard.write("Dockerfile", format!("FROM {parent}\nWORKDIR /srv/app\nCOPY . .\nRUN pip install --no-cache-dir .\n"));
    done(run(&yard, "store", &uv, "build"));
    assert!(uv.asked().contains("line cleat"), "what it requires is asked for");
    let image = yard.pull("demo/app:latest").await;
    let text = |path: &str| image.file(&format!("{PARENTS}/{path}")).unwrap().text().to_owned();
    assert_eq!((text("cleat.py"), text("ferry.py")), ("1.0".to_owned(), "RATE = 1".to_owned()));
    assert_eq!(text("ferry-1.dist-info/INSTALLER"), "pip\n");
    assert_eq!(text("ferry-1.dist-info/direct_url.json"), "{\"dir_info\": {}, \"url\": \"file:///srv/app\"}");
    assert!(image.file(&format!("{PARENTS}/cleat-1.0.dist-info/REQUESTED")).is_none(), "nobody asked for it by name");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_out_of_date_is_an_error_where_it_has_to_fit() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    write_project(&yard);
    std::fs::write(uv.folder().join("outdated"), "").unwrap();
    let parent = yard.at("demo/parent:1");
    for (option, code) in [("--locked", 2), ("", 1)] {
        yard.write("Dockerfile", format!("FROM {parent}\nWORKDIR /srv/app\nCOPY . .\nRUN uv sync {option}\n"));
        let ran = run(&yard, "store", &uv, "build");
        assert_eq!(ran.code, code, "{}", ran.stderr);
        assert!(ran.stderr.contains("needs to be updated"), "{}", ran.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_of_a_project_names_its_reason() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    std::fs::write(uv.folder().join("export"), "lock-version = \"1.0\"\ncreated-by = \"test\"\n").unwrap();
    write_project(&yard);
    yard.write("computing.py", "from setuptools import setup\nsetup(version=open('VERSION').read())\n");
    yard.write(".dockerignore", "*\n!src\n!*.py\n!pyproject.toml\n!uv.lock\n");
    let (official, untold) = (yard.at("demo/parent:1"), untold(&yard).await);
    for (from, project, line, reason) in [
        (untold, PROJECT.to_owned(), "RUN uv sync", "the exact version"),
        (official.clone(), PROJECT.to_owned(), "RUN uv sync --upgrade", "`--upgrade`"),
        (official.clone(), PROJECT.to_owned(), "RUN uv sync --python 3.12", "uv looks further"),
        (official.clone(), PROJECT.to_owned(), "RUN uv sync --python pypy", "`pypy`"),
        (official.clone(), PROJECT.to_owned(), "RUN UV_PROJECT_ENVIRONMENT=/usr/local uv sync", "has files"),
        (official.clone(), PROJECT.replace("3.9", "3.12"), "RUN uv sync --frozen", "uv looks further"),
        (official.clone(), format!("{PROJECT}[tool.uv]\nno-binary = true\n"), "RUN uv sync", "`tool.uv.no-binary`"),
        (official.clone(), PROJECT.replace("hatchling", "own-backend"), "RUN uv sync --frozen", "`own-backend`"),
        (official.clone(), PROJECT.to_owned(), "RUN --mount=type=secret,id=t,env=T uv sync", "given a secret"),
        (official.clone(), PROJECT.to_owned(), "RUN UV_INDEX_OWN_PASSWORD=x uv sync", "`UV_INDEX_OWN_PASSWORD`"),
        (official.clone(), PROJECT.to_owned(), "RUN touch .venv && uv sync", "`/srv/app/.venv`"),
        (official.clone(), PROJECT.to_owned(), "RUN rm pyproject.toml && uv sync", "has no `pyproject.toml`"),
        (official.clone(), PROJECT.to_owned(), "RUN UV_NO_INDEX=1 uv venv --seed", "`UV_NO_INDEX`"),
        (official.clone(), PROJECT.replace("3.9", "3.12"), "RUN uv venv", "uv looks further"),
        (
            official.clone(),
            format!("{PROJECT}[tool.hatch.build.hooks.x]\n"),
            "RUN pip install .",
            "`tool.hatch.build.hooks`",
        ),
        (official.clone(), PROJECT.replace("3.9", "3.12"), "RUN pip install .", "wants another Python"),
        (official.clone(), PROJECT.to_owned(), "RUN pip install ./src", "`/srv/app/src` has no `pyproject.toml`"),
        (official.clone(), PROJECT.to_owned(), "RUN pip install --user .", "where its files go"),
        (official.clone(), PROJECT.to_owned(), "RUN touch setup.py && pip install .", "`setup.py`"),
        (
            official.clone(),
            PROJECT.to_owned(),
            "ENV HOME=/home/ada\nRUN mkdir -p /home/ada/.config/uv && touch /home/ada/.config/uv/uv.toml && uv sync",
            "`/home/ada/.config/uv/uv.toml` has settings",
        ),
        (official.clone(), PROJECT.to_owned(), "ENV XDG_CONFIG_HOME=/conf\nRUN uv sync", "may be in `/conf`"),
        (official, PROJECT.to_owned(), "COPY computing.py setup.py\nRUN uv sync --frozen", "`setup.py`"),
    ] {
        yard.write("pyproject.toml", &project);
        yard.write("Dockerfile", format!("FROM {from}\nWORKDIR /srv/app\nCOPY . .\n{line}\n"));
        let ran = run(&yard, "store", &uv, "plan");
        assert_eq!(ran.code, 1, "{line}: {}", ran.stderr);
        assert!(ran.stderr.contains(reason), "{line}: {}", ran.stderr);
    }
}
