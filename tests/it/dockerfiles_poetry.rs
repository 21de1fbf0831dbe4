//! `poetry install` in a Dockerfile: carried out from the lock where that is certain, else left to a backend with the reason.
//!
//! uv is played by a script; equality with what Poetry leaves is held end to end.

use serde_json::Value;

use crate::support::fake_uv::FakeUv;
use crate::support::parents::SITE;
use crate::support::readback::sha256;
use crate::support::wheel_maker::WheelMaker;
use crate::support::yard::{Ran, Yard};

const PROJECT: &str = "[tool.poetry]\nname = \"ketch\"\npackage-mode = false\n\
    [tool.poetry.dependencies]\npython = \"^3.9\"\ncleat = \"1.0\"\n";
/// As Poetry takes it of the project.
const CONTENT_HASH: &str = "ee989cef60ddb9bcaeb24cdd6a6176216c4b42050c7c1baeeeeab4f28e2a208d";

fn run(yard: &Yard, uv: &FakeUv<'_>, command: &str) -> Ran {
    let tag = yard.at("demo/app:latest");
    let mut child = yard.command("store");
    child.args(["--format", "json", command, "-f", "Dockerfile", "--tag", &tag]).env("PATH", uv.folder());
    child.output().unwrap().into()
}

fn cleat() -> WheelMaker {
    WheelMaker::new("cleat", "1.0")
        .file("cleat.py", "def tie(): pass\n")
        .entry_points("[console_scripts]\ncleat = cleat:tie\n")
}

/// A project and its lock, and a Poetry that uv finds.
fn prepared<'a>(yard: &'a Yard, poetry: &str) -> FakeUv<'a> {
    let digest = sha256(&cleat().build());
    yard.write("pyproject.toml", PROJECT);
    yard.write(
        "poetry.lock",
        format!(
            "[[package]]\nname = \"cleat\"\nversion = \"1.0\"\noptional = false\npython-versions = \">=3.8\"\n\
             groups = [\"main\"]\nfiles = [{{file = \"cleat-1.0-py3-none-any.whl\", hash = \"{digest}\"}}]\n\
             [metadata]\nlock-version = \"2.1\"\npython-versions = \"^3.9\"\ncontent-hash = \"{CONTENT_HASH}\"\n"
        ),
    );
    let uv = FakeUv::new(yard);
    uv.answers(&[&WheelMaker::new("poetry", poetry).file("poetry.py", ""), &cleat()], " + cleat==1.0\n");
    uv
}

fn dockerfile(yard: &Yard, lines: &str) -> String {
    let parent = yard.at("demo/parent:1");
    format!("FROM {parent}\nRUN pip install poetry\nWORKDIR /app\nCOPY pyproject.toml poetry.lock ./\n{lines}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn poetry_installs_what_the_lock_names_into_the_interpreter() {
    let yard = Yard::new().await;
    let uv = prepared(&yard, "2.1.4");
    uv.answers(&[&cleat()], "");
    let info = format!("{SITE}/poetry-2.1.4.dist-info");
    let metadata = (format!("{info}/METADATA"), "Metadata-Version: 2.1\nName: poetry\nVersion: 2.1.4\n");
    let record = (format!("{info}/RECORD"), "");
    let files = [
        (metadata.0.as_str(), metadata.1),
        (&record.0, record.1),
        ("usr/local/bin/poetry", "#!/usr/local/bin/python3\n"),
    ];
    yard.push_parent_with("demo/poetry:2", &files, |_| {}).await;
    yard.write(
        "Dockerfile",
        format!(
            "FROM {}\nWORKDIR /app\nCOPY pyproject.toml poetry.lock ./\n\
             RUN poetry config virtualenvs.create false && poetry install --no-root --only main\n",
            yard.at("demo/poetry:2")
        ),
    );
    let ran = run(&yard, &uv, "plan");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let plan = serde_json::from_str::<Value>(&ran.stdout).unwrap()["images"][0].clone();
    let steps = plan["instructions"].as_array().unwrap();
    assert!(steps.iter().all(|step| step["how"] == "native"), "{plan}");
    let why = steps.last().unwrap()["why"].as_str().unwrap();
    assert!(why.contains("1 of the lock, by Poetry 2.1.4") && why.contains("Poetry's settings"), "{why}");
    assert_eq!(run(&yard, &uv, "build").code, 0);
    assert!(uv.asked().contains("line cleat==1.0 --hash=sha256:"), "just the file of the lock is allowed");
    let image = yard.pull("demo/app:latest").await;
    let of = |name: &str| image.file(&format!("{SITE}/cleat-1.0.dist-info/{name}"));
    assert_eq!(of("INSTALLER").unwrap().text(), "Poetry 2.1.4");
    assert!(of("REQUESTED").is_none());
    let launcher = image.file("usr/local/bin/cleat").unwrap();
    assert!(launcher.text().contains("re.sub(r\"(-script\\.pyw|\\.exe)?$\""), "{}", launcher.text());
    let settings = image.file("root/.config/pypoetry/config.toml").unwrap();
    assert_eq!((settings.text(), settings.mode), ("[virtualenvs]\ncreate = false\n", 0o600));
}

/// A parent with Poetry in its interpreter.
async fn push_poetry(yard: &Yard, version: &str) {
    let at = |name: &str, version: &str, file: &str| format!("{SITE}/{name}-{version}.dist-info/{file}");
    let metadata = |name: &str, version: &str| format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n");
    let files = [
        (at("poetry", version, "METADATA"), metadata("poetry", version)),
        (at("poetry", version, "RECORD"), String::new()),
        (at("poetry_core", version, "METADATA"), metadata("poetry-core", version)),
        (at("poetry_core", version, "RECORD"), String::new()),
        ("usr/local/bin/poetry".to_owned(), "#!/usr/local/bin/python3\n".to_owned()),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    yard.push_parent_with("demo/poetry:2", &files, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn poetry_installs_the_project_itself_after_its_packages() {
    let yard = Yard::new().await;
    let uv = prepared(&yard, "2.5.1");
    uv.answers(&[&cleat()], "");
    push_poetry(&yard, "2.5.1").await;
    yard.write("pyproject.toml", PROJECT.replace("package-mode = false", "version = \"1\""));
    yard.write("src/ketch/__init__.py", "def go(): pass\n");
    let text = |line: &str| {
        format!(
            "FROM {}\nWORKDIR /app\nCOPY pyproject.toml poetry.lock ./\nCOPY src src\n\
             ENV POETRY_VIRTUALENVS_CREATE=false\n{line}\n",
            yard.at("demo/poetry:2")
        )
    };
    yard.write("Dockerfile", text("RUN poetry install --no-root\nRUN poetry install --only main\nRUN poetry install"));
    let ran = run(&yard, &uv, "build");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(uv.asked().lines().any(|line| line.trim() == "0"), "the code is none of poetry-core's business");
    let image = yard.pull("demo/app:latest").await;
    let file = |path: &str| image.file(path).map(|file| file.text()).unwrap_or_default();
    assert_eq!(file(&format!("{SITE}/ketch.pth")), "/app/src\n");
    let program = file("usr/local/bin/ketch");
    assert!(program.starts_with("#!/usr/local/bin/python3") && program.contains("sys.exit(go())"), "{program}");
    assert_eq!(file(&format!("{SITE}/ketch-1.dist-info/INSTALLER")), "poetry");
    let record = file(&format!("{SITE}/ketch-1.dist-info/RECORD"));
    assert!(record.contains("/usr/local/bin/ketch,sha256=") && record.ends_with("RECORD,,\r\n"), "{record}");
    assert!(file(&format!("{SITE}/cleat-1.0.dist-info/INSTALLER")).starts_with("Poetry"));
    yard.write("src/ketch/__init__.py", "def go(): print(1)\n");
    let before = uv.asked().len();
    assert_eq!(run(&yard, &uv, "build").code, 0);
    assert_eq!(uv.asked().len(), before, "what poetry-core tells does not depend on the code");
    yard.write("build.py", "");
    yard.write("Dockerfile", text("COPY build.py .\nRUN poetry install --only-root"));
    let ran = run(&yard, &uv, "plan");
    assert!(ran.code == 1 && ran.stderr.contains("the build script build.py would be run"), "{}", ran.stderr);
    yard.write("Dockerfile", text("RUN poetry install --only-root --with docs"));
    let ran = run(&yard, &uv, "plan");
    assert!(ran.code == 1 && ran.stderr.contains("`--only-root` does not go with"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_certain_is_left_to_poetry_with_the_reason() {
    let yard = Yard::new().await;
    let uv = prepared(&yard, "2.1.4");
    let lock = std::fs::read_to_string(yard.project().join("poetry.lock")).unwrap();
    let stale = lock.replace("content-hash = \"", "content-hash = \"0");
    let install = "RUN POETRY_VIRTUALENVS_CREATE=false poetry install --no-root";
    for (text, line, reason) in [
        (&stale, install, "the lock is older than pyproject.toml"),
        (&lock, "RUN rm poetry.lock && poetry install --no-root", "there is no poetry.lock"),
        (
            &lock,
            "RUN POETRY_VIRTUALENVS_CREATE=false poetry sync --no-root",
            "removes packages that the lock does not name",
        ),
        (
            &lock,
            "ENV POETRY_HTTP_BASIC_X_PASSWORD=y\nRUN poetry install --no-root",
            "`POETRY_HTTP_BASIC_X_PASSWORD` changes",
        ),
        (
            &lock,
            "ENV POETRY_VIRTUALENVS_CREATE=false\nRUN poetry install --no-root --with docs",
            "the project has no group `docs`",
        ),
        (&lock, "RUN poetry install --no-root", "which virtualenv Poetry has is not known"),
        (
            &lock,
            "ENV VIRTUAL_ENV=/opt/venv\nRUN poetry install --no-root",
            "`/opt/venv` is no environment that is known",
        ),
        (&lock, "RUN poetry config virtualenvs.options.no-pip true", "it sets `virtualenvs.options.no-pip`"),
    ] {
        yard.write("poetry.lock", text);
        yard.write("Dockerfile", dockerfile(&yard, line));
        let ran = run(&yard, &uv, "plan");
        assert!(ran.code == 1 && ran.stderr.contains(reason), "{line}: {}", ran.stderr);
    }
    let other = Yard::new().await;
    let uv = prepared(&other, "1.8.3");
    other.write("Dockerfile", dockerfile(&other, install));
    let ran = run(&other, &uv, "plan");
    assert!(ran.code == 1 && ran.stderr.contains("what Poetry 1.8.3 installs is not known"), "{}", ran.stderr);
}
