//! Where a container gets its code from: the decision, and what the image says of it.

use serde_json::{Value, json};

use crate::support::fake_git::{FakeGit, commit};
use crate::support::yard::{Ran, Yard};

/// Settings with these keys under `lapstrake` and these under `settings.docker`.
fn configure(yard: &Yard, native: &str, docker: &str) {
    yard.write("lapstrake.yaml", format!("settings:\n  docker: {{{docker}}}\nlapstrake: {{{native}}}\n"));
}

/// Runs a command with `git` in front of the search path.
fn run(yard: &Yard, git: &FakeGit, command: &str, flags: &[&str]) -> Ran {
    let mut child = yard.command("store");
    child.args([command, "--parent-image", &yard.at("demo/parent:1"), "--tag", &yard.at("demo/app:latest")]);
    child.args(["--format", "json"]).args(flags).env("PATH", git.path()).output().unwrap().into()
}

fn plan(yard: &Yard, git: &FakeGit) -> Value {
    let ran = run(yard, git, "plan", &[]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
    printed["images"][0]["sources"].clone()
}

fn reason(yard: &Yard, git: &FakeGit) -> String {
    let sources = plan(yard, git);
    assert_eq!(sources["delivery"], "include", "{sources}");
    sources["reasons"][0].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn clean_and_pushed_code_is_left_to_its_repository() {
    let yard = Yard::new().await;
    let git = FakeGit::new(&yard);
    configure(&yard, "code_repository: true", "user: '1000'");
    let sources = plan(&yard, &git);
    let repository =
        json!({"url": "https://git.example/team/app.git", "commit": commit(), "subdirectory": "", "branch": "main"});
    assert_eq!((&sources["delivery"], &sources["repository"]), (&json!("repository"), &repository));

    let ran = run(&yard, &git, "build", &[]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let image = yard.pull("demo/app:latest").await;
    let [folder] = image.of_kind("sources")[..] else { panic!("one layer, of the folder alone") };
    assert_eq!(folder.files.keys().collect::<Vec<_>>(), ["app"]);
    assert_eq!((folder.files["app"].mode, folder.files["app"].uid), (0o777, 1000), "the container can write there");
    let variables = image.config["config"]["Env"].as_array().unwrap();
    for expected in [
        "LAPSTRAKE_CODE_REPOSITORY=https://git.example/team/app.git".to_owned(),
        format!("LAPSTRAKE_CODE_COMMIT={}", commit()),
        "LAPSTRAKE_CODE_SUBDIRECTORY=".to_owned(),
    ] {
        assert!(variables.contains(&json!(expected)), "{variables:?}");
    }
    let annotations = &image.manifest["annotations"];
    assert_eq!(annotations["org.opencontainers.image.source"], "https://git.example/team/app.git");
    assert_eq!(annotations["org.opencontainers.image.revision"], commit());
    assert_eq!(annotations["dev.lapstrake.code.delivery"], "repository");
    let bytes = [&image.manifest_bytes[..], &image.config_bytes[..], ran.stderr.as_bytes()].concat();
    assert!(!String::from_utf8_lossy(&bytes).contains("s3cret"), "the remote's password is nowhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_asks_git_unless_a_repository_is_wanted() {
    let yard = Yard::new().await;
    let git = FakeGit::new(&yard);
    configure(&yard, "", "");
    assert_eq!(plan(&yard, &git)["delivery"], "include");
    configure(&yard, "code_repository: true", "allow_download_from_code_repository: false");
    assert_eq!(plan(&yard, &git)["delivery"], "include");
    configure(&yard, "code_repository: false", "");
    assert_eq!(plan(&yard, &git)["delivery"], "include");
    assert_eq!(git.heard(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_a_container_could_not_fetch_is_included_and_the_reason_said() {
    let yard = Yard::new().await;
    let git = FakeGit::new(&yard);
    configure(&yard, "code_repository: true", "");
    let head = format!("# branch.oid {}\0# branch.head (detached)\0", commit());
    let origin = "remote.origin.url\nhttps://git.example/a\0";
    for (name, answer, expected) in [
        ("status", format!("{head}1 .M N... 1 2 3 a b pipe line.py\0"), "`pipe line.py` differs from the commit"),
        ("status", format!("{head}? x\0? y\0? z\0? w\0"), "`x`, `y`, `z` and 1 more are not tracked"),
        ("status", "# branch.oid (initial)\0# branch.head main\0".into(), "the checkout has no commit yet"),
        ("status", head, "commit c0ffeec0ffee is not known to be at `origin`; push it"),
        ("config", String::new(), "the checkout has no remote"),
        ("config", origin.replace("https://git.example/a", "/srv/git"), "is not known to be at `origin`"),
        ("status", "nonsense\0".into(), "the answer of `git status` makes no sense"),
        ("refusal", "fatal: detected dubious ownership\n".into(), "detected dubious ownership"),
    ] {
        git.answers("refs", "refs/remotes/elsewhere/main\n");
        git.answers(name, &answer);
        let said = reason(&yard, &git);
        assert!(said.starts_with("not from the code repository: ") && said.contains(expected), "{expected}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn untracked_files_do_not_count_when_zenmls_variable_says_so() {
    let yard = Yard::new().await;
    let git = FakeGit::new(&yard);
    configure(&yard, "code_repository: true", "");
    let mut child = yard.command("store");
    child.args(["plan", "--parent-image", &yard.at("demo/parent:1"), "--tag", &yard.at("a:1")]);
    child.env("PATH", git.path()).env("ZENML_CODE_REPOSITORY_IGNORE_UNTRACKED_FILES", "true").env("GIT_DIR", "/else");
    let ran: Ran = child.output().unwrap().into();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(
        ran.stdout
            .contains("code    fetched by the container from https://git.example/team/app.git at c0ffeec0ffee of main"),
        "{}",
        ran.stdout
    );
    let heard = git.heard();
    assert!(heard.contains("--untracked-files=no") && heard.contains("core.fsmonitor=false"), "{heard}");
    assert!(!heard.contains("GIT_DIR"), "another repository's variables are kept from git: {heard}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detached_head_counts_as_pushed_when_it_was_fetched_from_the_remote() {
    let yard = Yard::new().await;
    let git = FakeGit::new(&yard);
    configure(&yard, "code_repository: true", "");
    git.answers("status", &format!("# branch.oid {}\0# branch.head (detached)\0", commit()));
    git.answers("refs", "");
    git.answers("revision", "true\nFETCH_HEAD\n");
    let fetched = |url: &str| yard.write("FETCH_HEAD", format!("{}\t\t'refs/merge-requests/1' of {url}\n", commit()));
    fetched("https://other.example/team/app");
    assert!(reason(&yard, &git).contains("push it"));
    fetched("https://git.example/team/app");
    let sources = plan(&yard, &git);
    assert_eq!(sources["repository"]["branch"], Value::Null);
    assert_eq!(sources["repository"]["commit"], commit());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_has_to_be_a_remote_and_is_recorded_as_it_is_given() {
    let yard = Yard::new().await;
    let git = FakeGit::new(&yard);
    configure(&yard, "code_repository: 'git@git.example:team/app'", "");
    assert_eq!(plan(&yard, &git)["repository"]["url"], "git@git.example:team/app");
    configure(&yard, "code_repository: 'https://u:s3cret@git.example/other'", "");
    assert!(reason(&yard, &git).contains("no remote of the checkout is `https://git.example/other`"));
    configure(&yard, "code_repository: true", "local_project_install_command: make install");
    let ran = run(&yard, &git, "plan", &[]);
    assert!(
        ran.stderr.contains("make install") || ran.stdout.contains(r#""delivery":"include""#),
        "{} {}",
        ran.stdout,
        ran.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_git_the_code_is_included_and_the_reason_said() {
    let yard = Yard::new().await;
    std::fs::create_dir(yard.project().join(".git")).unwrap();
    configure(&yard, "code_repository: true", "");
    let mut child = yard.command("store");
    child.args(["plan", "--parent-image", &yard.at("demo/parent:1"), "--tag", &yard.at("a:1")]);
    let ran: Ran = child.env("PATH", "/nowhere").output().unwrap().into();
    assert!(ran.stdout.contains("why     not from the code repository: there is no `git` on `PATH`"), "{}", ran.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_code_at_all_is_warned_of() {
    let yard = Yard::new().await;
    configure(&yard, "entrypoint: [python3]", "allow_including_files_in_images: false");
    let ran = yard.run_build("store", &[]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("the container gets no code: `allow_including_files_in_images` is off"),
        "{}",
        ran.stderr
    );
    assert!(yard.pull("demo/app:latest").await.of_kind("sources").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nearest_folder_with_zen_is_the_source_root() {
    let yard = Yard::new().await;
    std::fs::create_dir_all(yard.project().join(".zen")).unwrap();
    yard.write("runs/run.yaml", "settings:\n  docker: {}\n");
    let mut child = yard.command("store");
    child.args(["plan", "runs/run.yaml", "--parent-image", &yard.at("demo/parent:1"), "--tag", &yard.at("a:1")]);
    let ran: Ran = child.args(["--format", "json"]).output().unwrap().into();
    let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
    let sources = &printed["images"][0]["sources"];
    assert_eq!(sources["root"], yard.project().canonicalize().unwrap().display().to_string());
    assert!(sources["out"].as_array().unwrap().contains(&json!(".dockerignore")), "{sources}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_user_is_an_error_before_anything_is_made() {
    let yard = Yard::new().await;
    configure(&yard, "artifact_store: ../artifacts", "user: sailor");
    let ran = yard.run_build("store", &[]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("the image has no user `sailor`"), "{}", ran.stderr);
    assert!(ran.stderr.contains("the image has the users root, "), "{}", ran.stderr);
    assert!(!yard.requests().iter().any(|line| !line.starts_with("GET ") && !line.starts_with("HEAD ")));
    assert!(!yard.path("artifacts").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_groups_of_the_parent_own_the_folder_of_code_that_is_fetched() {
    let yard = Yard::new().await;
    let passwd = yard.pull("demo/parent:1").await.file("etc/passwd").map(|file| file.text().to_owned());
    assert!(passwd.is_some_and(|text| text.contains("zen:")), "the demo's parent knows zen");
    for (user, owner) in [("zen", (1000, 0)), ("4242", (4242, 0)), ("4242:77", (4242, 77))] {
        configure(&yard, "artifact_store: ../artifacts", &format!("user: '{user}'"));
        yard.build("store", &[]);
        let image = yard.pull("demo/app:latest").await;
        let folder = &image.of_kind("sources")[0].files["app"];
        assert_eq!((folder.mode, folder.uid, folder.gid), (0o777, owner.0, owner.1), "{user}");
        assert_eq!(image.config["config"]["User"], user);
    }
}
