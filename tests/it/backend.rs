//! Backends behind their contract: chosen, lent what they need, believed only so far, and asked once for each segment.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use lapstrake::backend::{Context, Secret, Segment, apt_segment};
use lapstrake::diagnostic::Diagnose;
use lapstrake::event::{Event, Recorded, Reporter, Work};
use lapstrake::oci::{Descriptor, Platform, Reference, Repository};
use lapstrake::ops::segment::{self, PlannedSegment, SegmentImage, SegmentRequest};
use lapstrake::ops::{Means, OpsError};
use lapstrake::registry::{Anonymous, Credential, Given, Identity, Keychain};
use lapstrake::resolver::child::ChildEnvironment;
use serde_json::{Value, json};

use crate::support::means::{Parts, means};
use crate::support::sample_backend;
use crate::support::yard::{Yard, parent_layer};

/// A yard with a folder of programs that is the whole `PATH`.
struct Slip {
    yard: Yard,
    variables: Vec<(String, String)>,
    keychain: Arc<dyn Keychain>,
}

impl Slip {
    async fn new() -> Self {
        let yard = Yard::new().await;
        std::fs::create_dir(yard.path("bin")).unwrap();
        let path = ("PATH".to_owned(), yard.path("bin").display().to_string());
        Self { yard, variables: vec![path], keychain: Arc::new(Anonymous) }
    }

    /// Puts a shell script on `PATH`; `FOLDER` in it is the folder of notes.
    fn script(&self, name: &str, text: &str) {
        let notes = self.yard.path("notes");
        std::fs::create_dir_all(&notes).unwrap();
        let text = format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{text}").replace("FOLDER", &notes.display().to_string());
        self.program(name, &text);
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.yard.path("bin").join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn note(&self, name: &str) -> String {
        std::fs::read_to_string(self.yard.path("notes").join(name)).unwrap_or_default()
    }

    fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    fn means(&self, store: &str) -> (Means, Arc<Recorded>) {
        let reporter = Arc::new(Recorded::default());
        let parts = Parts {
            registry: None,
            environment: ChildEnvironment::new(self.variables.clone()),
            keychain: Arc::clone(&self.keychain),
            reporter: Arc::clone(&reporter) as Arc<dyn Reporter>,
        };
        let means = means(parts, &self.yard.path(store));
        (means, reporter)
    }

    fn target(&self) -> Repository {
        self.yard.reference("demo/app").repository()
    }

    async fn parent(&self) -> Reference {
        let digest = self.yard.digest_of("demo/parent:1").await.unwrap();
        Reference::pinned(&self.yard.reference("demo/parent").repository(), &digest)
    }

    /// A segment upon the demo's parent.
    async fn segment(&self, instructions: &str) -> Segment {
        let parent = self.parent().await;
        Segment::new(format!("FROM {parent}\n{instructions}\n"), Platform::new("linux", "amd64"))
    }

    async fn build(&self, store: &str, segment: &Segment) -> Result<SegmentImage, OpsError> {
        let (means, _) = self.means(store);
        segment::find_or_build(&means, request(&self.target()), segment).await
    }

    /// Leaves an image in the target repository, for programs that only say that they made one.
    async fn made(&self) -> Descriptor {
        let config = json!({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []}});
        self.yard.push_image("demo/app:made", &[&parent_layer()], config.to_string().as_bytes()).await
    }
}

fn request(target: &Repository) -> SegmentRequest<'_> {
    SegmentRequest {
        target,
        backend: None,
        refresh: false,
        place: None,
        instruction: "RUN make",
        reason: "it runs a program",
    }
}

/// The error as the command line shows it, with `HOST` for the registry.
fn shown(slip: &Slip, error: &OpsError) -> String {
    let mut text = format!("error: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let _ = write!(text, "\nbecause: {error}");
        cause = error.source();
    }
    let _ = write!(text, "\nhint: {}", error.hint().unwrap_or_default());
    text.replace(&slip.yard.domain(), "HOST")
}

/// Puts the sample backend on `PATH`; false, and said aloud, where there is no Python.
fn with_sample(slip: &Slip) -> bool {
    let script = sample_backend::script();
    script.inspect(|script| slip.program(sample_backend::NAME, script)).is_some()
}

fn remove_programs(slip: &Slip) {
    std::fs::remove_dir_all(slip.yard.path("bin")).unwrap();
    std::fs::create_dir(slip.yard.path("bin")).unwrap();
}

#[tokio::test]
async fn a_segment_is_built_once_for_all_machines() {
    let slip = Slip::new().await;
    if !with_sample(&slip) {
        return;
    }
    let context = slip.yard.path("context");
    std::fs::create_dir(&context).unwrap();
    std::fs::write(context.join("a.txt"), "A").unwrap();
    std::fs::write(context.join("b.log"), "left out").unwrap();
    let mut segment = slip.segment("COPY . /srv\nRUN make $WHAT").await;
    segment.context = Some(Context { root: context.clone(), ignore: "*.log\n".into() });
    segment.build_args.insert("WHAT".into(), "all".into());

    let first = slip.build("one", &segment).await.unwrap();
    assert_eq!(first.made_by.as_deref(), Some("sample"));
    let image = slip.yard.pull(&format!("demo/app:{}", first.key.tag())).await;
    assert_eq!(image.file("srv/a.txt").unwrap().text(), "A");
    assert_eq!(image.file("var/lib/backend-sample/run-1").unwrap().text(), "make all");
    assert!(image.file("srv/b.log").is_none());

    // A machine without store and backend, where ignored files and times differ.
    remove_programs(&slip);
    std::fs::write(context.join("b.log"), "changed").unwrap();
    std::fs::write(context.join("a.txt"), "A").unwrap();
    let second = slip.build("two", &segment).await.unwrap();
    assert!(second.is_reused());
    assert_eq!(second.reference, first.reference);
    let (means, _) = slip.means("two");
    let planned = segment::find(&means, request(&slip.target()), &segment).await.unwrap();
    assert!(matches!(planned, PlannedSegment::Reused(image) if image.reference == first.reference));

    with_sample(&slip);
    let target = slip.target();
    let refreshed = SegmentRequest { refresh: true, ..request(&target) };
    let third = segment::find_or_build(&means, refreshed, &segment).await.unwrap();
    assert_eq!((third.made_by.as_deref(), third.key), (Some("sample"), first.key.clone()));
    std::fs::write(context.join("a.txt"), "B").unwrap();
    assert_ne!(slip.build("one", &segment).await.unwrap().key, first.key);
}

#[tokio::test]
async fn eight_builds_at_once_build_a_segment_once() {
    let slip = Slip::new().await;
    let made = slip.made().await;
    let result = json!({"event": "result", "digest": made.digest});
    slip.script(
        "lapstrake-backend-slow",
        &format!("[ $1 = build ] || exit 0\necho build >> FOLDER/builds\nsleep 0.2\necho '{result}'\n"),
    );
    let segment = slip.segment("RUN make").await;
    let builds = (0..8).map(|_| slip.build("one", &segment));
    let built = futures_util::future::join_all(builds).await;
    let made = built.iter().filter(|image| !image.as_ref().unwrap().is_reused()).count();
    assert_eq!((made, slip.note("builds").as_str()), (1, "build\n"));
}

#[tokio::test]
async fn a_failing_instruction_is_shown_with_its_last_lines_and_without_secrets() {
    let slip = Slip::new().await;
    slip.script(
        "lapstrake-backend-shouting",
        r#"[ $1 = build ] || exit 0
read -r request
file=${request#*'"file":"'}
secret=$(cat "${file%%'"'*}")
echo '{"event":"started","id":"2","name":"RUN make"}'
i=0
while [ $i -lt 30 ]; do i=$((i+1)); echo '{"event":"log","id":"2","text":"line '$i' '$secret'"}'; done
echo '{"event":"finished","id":"2","error":"exit code: 7 '$secret'"}'
exit 1"#,
    );
    let mut segment = slip.segment("RUN make").await;
    segment.secrets.insert("token".into(), Secret::from("canary-5f1c"));
    let (means, events) = slip.means("one");
    let error = segment::find_or_build(&means, request(&slip.target()), &segment).await.unwrap_err();
    let text = shown(&slip, &error);
    assert!(
        text.starts_with("error: `RUN make` failed in shouting: exit code: 7 ***\n| line 11 ***\n| line 12"),
        "{text}"
    );
    assert!(text.contains("| line 30 ***\n") && !text.contains("canary"), "{text}");
    let began = events.events().into_iter().filter_map(|event| match event {
        Event::Started { work: Work::Backend, name, .. } => Some(name),
        _ => None,
    });
    assert_eq!(began.collect::<Vec<_>>(), ["RUN make"]);
    assert_eq!(slip.yard.digest_of(&format!("demo/app:{}", segment.key().unwrap().tag())).await, None);
}

#[tokio::test]
async fn without_a_backend_the_error_says_what_needs_one_and_why_there_is_none() {
    let slip = Slip::new().await;
    let segment = slip.segment("RUN make").await;
    slip.yard.requests();
    let (means, _) = slip.means("one");
    let error = segment::find(&means, request(&slip.target()), &segment).await.unwrap_err();
    insta::assert_snapshot!(shown(&slip, &error), @r"
    error: `RUN make` needs a backend: it runs a program
    because: no backend is at hand
    buildkit: `buildctl` is not on PATH
    buildah: `buildah` is not on PATH
    podman: `podman` is not on PATH
    docker-buildx: `docker` is not on PATH
    docker: `docker` is not on PATH
    hint: install BuildKit (`buildctl`, `buildkitd`, `runc`) or buildah, or point `BUILDKIT_HOST` at a daemon; docs/guides/backends.md says how
    ");
    let asked = slip.yard.requests();
    assert!(asked.iter().all(|line| line.starts_with("GET /v2/demo/app/manifests/lapstrake-segment-")), "{asked:?}");
}

#[tokio::test]
async fn backends_are_chosen_by_name_or_in_their_order() {
    let mut slip = Slip::new().await;
    slip.script("lapstrake-backend-beta", "");
    slip.script("lapstrake-backend-alpha", "echo alpha is at lunch >&2; exit 1");
    let choice = async |slip: &Slip, wanted: Option<&str>| {
        let (means, _) = slip.means("one");
        means.backends.choose(wanted).await.map(|backend| backend.name().to_owned()).map_err(|error| error.to_string())
    };
    assert_eq!(choice(&slip, None).await.unwrap(), "beta");
    let refused = choice(&slip, Some("alpha")).await.unwrap_err();
    assert_eq!(refused, "backend `alpha` cannot be used: alpha is at lunch");
    assert_eq!(choice(&slip, Some("../beta")).await.unwrap_err(), "there is no backend `../beta`");
    slip.script("buildah", "");
    assert_eq!(choice(&slip, None).await.unwrap(), "buildah");
    slip.script("docker", "[ $1 != buildx ]");
    assert_eq!(choice(&slip, Some("docker")).await.unwrap(), "docker");
    assert!(choice(&slip, Some("docker-buildx")).await.unwrap_err().contains("docker buildx version"));
    // A daemon that is named and does not answer is an error, and nobody takes its place.
    slip.script("buildctl", "echo 'error: no daemon' >&2; exit 1");
    assert_eq!(choice(&slip, None).await.unwrap(), "buildah");
    slip.set("BUILDKIT_HOST", "tcp://127.0.0.1:1");
    let broken = choice(&slip, None).await.unwrap_err();
    assert!(
        broken.contains("`BUILDKIT_HOST` is `tcp://127.0.0.1:1`, and nothing answers: error: no daemon"),
        "{broken}"
    );
}

#[tokio::test]
async fn what_a_backend_says_is_held_against_the_registry() {
    let slip = Slip::new().await;
    let segment = slip.segment("RUN make").await;
    let arm = json!({"os": "linux", "architecture": "arm64", "rootfs": {"type": "layers", "diff_ids": []}});
    let arm = slip.yard.push_image("demo/app:arm", &[&parent_layer()], arm.to_string().as_bytes()).await;
    let nowhere = format!("sha256:{}", "0".repeat(64));
    for (says, expected) in [
        (
            format!("echo '{}'", json!({"event": "result", "digest": arm.digest})),
            "was asked for linux/amd64 and made an image for linux/arm64",
        ),
        (format!("echo '{}'", json!({"event": "result", "digest": nowhere})), "the registry does not have it"),
        ("echo '{\"event\":\"result\",\"digest\":\"latest\"}'".to_owned(), "its result is no digest"),
        ("echo hello".to_owned(), "answers outside the protocol: line \"hello\", column 1, is no event"),
        ("true".to_owned(), "ended well and named no image digest"),
        ("echo '{\"event\":\"failed\",\"reason\":\"no quota\"}'; exit 1".to_owned(), "could not build: no quota"),
        ("kill -9 $$".to_owned(), "could not build: it says nothing"),
    ] {
        slip.script("lapstrake-backend-liar", &format!("[ $1 = build ] || exit 0\n{says}\n"));
        let error = slip.build("one", &segment).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        let tag = format!("demo/app:{}", segment.key().unwrap().tag());
        assert_eq!(slip.yard.digest_of(&tag).await, None, "{expected}");
    }
}

#[tokio::test]
async fn tags_of_images_are_pinned_before_a_segment_has_a_key() {
    let slip = Slip::new().await;
    let parent = slip.yard.at("demo/parent:1");
    let segment = Segment::new(format!("FROM {parent} AS a\nFROM a\n"), Platform::new("linux", "amd64"));
    let (means, _) = slip.means("one");
    let pinned = segment::pin(&means, &segment).await.unwrap();
    let digest = slip.yard.digest_of("demo/parent:1").await.unwrap();
    assert!(pinned.dockerfile.contains(&format!("@{digest} AS a\nFROM a\n")), "{}", pinned.dockerfile);
    assert_eq!(pinned.images().unwrap().len(), 1);
    let absent = Segment::new(format!("FROM {}\n", slip.yard.at("demo/none:1")), Platform::new("linux", "amd64"));
    let error = segment::pin(&means, &absent).await.unwrap_err().to_string();
    assert!(error.contains("demo/none:1` does not exist"), "{error}");
}

#[tokio::test]
async fn packages_in_another_order_are_one_segment() {
    let slip = Slip::new().await;
    let parent = slip.parent().await;
    let key = |packages: &[&str]| {
        let packages: Vec<String> = packages.iter().map(|name| (*name).to_owned()).collect();
        apt_segment(&parent, "", &packages, Platform::new("linux", "amd64")).unwrap().key().unwrap()
    };
    assert_eq!(key(&["git", "curl", "git"]), key(&["curl", "git"]));
    assert_ne!(key(&["git"]), key(&["curl", "git"]));
}

/// A `buildctl` that notes what it was given, and says that it made `digest`.
fn fake_buildctl(slip: &Slip, made: &Descriptor, progress: &str, code: u8) {
    let metadata = json!({"containerimage.digest": made.digest});
    slip.script(
        "buildctl",
        &format!(
            r#"case "$*" in *"debug workers"*) exit 0 ;; esac
printf '%s\n' "$@" > FOLDER/argv
cp "$DOCKER_CONFIG/config.json" FOLDER/config.json
stat -c %a "$DOCKER_CONFIG/config.json" "$DOCKER_CONFIG" "$DOCKER_CONFIG/.." > FOLDER/modes
echo "$DOCKER_CONFIG" > FOLDER/folder
cp "$DOCKER_CONFIG/../file/Dockerfile" FOLDER/Dockerfile
for word in "$@"; do
  case "$word" in id=*) cat "${{word#*src=}}" >> FOLDER/secrets; stat -c %a "${{word#*src=}}" >> FOLDER/modes ;; esac
  [ "$before" = --metadata-file ] && echo '{metadata}' > "$word"
  before=$word
done
cat >&2 <<'LOG'
{progress}
LOG
exit {code}
"#
        ),
    );
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[tokio::test]
async fn buildctl_is_told_all_and_its_arguments_tell_nothing() {
    let mut slip = Slip::new().await;
    slip.set("BUILDKIT_HOST", "tcp://builder.test:1234");
    slip.set("LAPSTRAKE_BUILDKIT_TLS_DIR", "/certificates");
    let password = Credential::Password { username: "ada".into(), password: "canary-pw".into() };
    let domain = slip.yard.domain();
    slip.keychain = Arc::new(Given { domain: domain.clone(), identity: Identity::new(password, "a test") });
    let made = slip.made().await;
    let vertex = |more: Value| {
        let mut vertex = json!({"digest": "v1", "name": "[stage-0 2/2] RUN make", "started": "now"});
        vertex.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"vertexes": [vertex]}).to_string()
    };
    fake_buildctl(&slip, &made, &[vertex(json!({})), vertex(json!({"completed": "now"}))].join("\n"), 0);
    let mut segment = slip.segment("RUN make").await;
    segment.secrets.insert("token".into(), Secret::from("canary-5f1c"));
    segment.build_args.insert("WHAT".into(), "all".into());
    segment.target = Some("last".into());
    segment.engine_options.insert("network".into(), json!("host"));
    segment.engine_options.insert("squash".into(), json!(true));
    let (means, events) = slip.means("one");
    let image = segment::find_or_build(&means, request(&slip.target()), &segment).await.unwrap();
    assert_eq!(image.descriptor.digest, made.digest);
    assert_eq!(slip.yard.digest_of(&format!("demo/app:{}", image.key.tag())).await, Some(made.digest));

    let argv = slip.note("argv");
    assert!(argv.starts_with("--addr\ntcp://builder.test:1234\n--tlsdir\n/certificates\nbuild\n"), "{argv}");
    let output = format!(
        "type=image,name={domain}/demo/app,push=true,push-by-digest=true,oci-mediatypes=true,registry.insecure=true"
    );
    for expected in [&output, "platform=linux/amd64", "build-arg:WHAT=all", "target=last", "network.host"] {
        assert!(argv.lines().any(|word| word == expected), "{expected} in {argv}");
    }
    assert!(!argv.contains("canary") && slip.note("secrets") == "canary-5f1c", "{argv}");
    assert_eq!(slip.note("modes"), "600\n700\n700\n600\n");
    let config: Value = serde_json::from_str(&slip.note("config.json")).unwrap();
    assert_eq!(config, json!({"auths": {domain: {"auth": base64("ada:canary-pw")}}}));
    assert_eq!(slip.note("Dockerfile"), segment.dockerfile);
    assert!(!PathBuf::from(slip.note("folder").trim()).exists());
    let events = serde_json::to_string(&events.events()).unwrap();
    assert!(events.contains(r#""work":"backend","name":"RUN make""#), "{events}");
    assert!(
        events.contains("build option `squash` means nothing to BuildKit") && !events.contains("canary"),
        "{events}"
    );
}

#[tokio::test]
async fn the_instruction_that_failed_is_found_in_buildkits_progress() {
    let mut slip = Slip::new().await;
    slip.set("BUILDKIT_HOST", "unix:///nowhere");
    let made = slip.made().await;
    let log = |text: &str| json!({"logs": [{"vertex": "v1", "stream": 1, "data": base64(text)}]}).to_string();
    let error = r#"process "/bin/sh -c make" did not complete successfully: exit code: 2"#;
    let other = json!({"vertexes": [
        {"digest": "v0", "name": "importing cache manifest from x", "started": "a", "completed": "b", "error": "not found"},
        {"digest": "v2", "name": "[other 2/2] RUN sleep", "started": "a", "completed": "b", "error": "context canceled"},
        {"digest": "v1", "name": "[stage-0 2/2] RUN make", "started": "a"},
    ]});
    let ended = json!({"vertexes": [{"digest": "v1", "name": "[stage-0 2/2] RUN make", "started": "a", "completed": "b", "error": error}]});
    let progress =
        [other.to_string(), log("cc -c a"), log(".c\nno rule"), log(" for b\n"), ended.to_string()].join("\n");
    fake_buildctl(&slip, &made, &format!("{progress}\nerror: failed to solve: {error}"), 1);
    let error = slip.build("one", &slip.segment("RUN make").await).await.unwrap_err();
    insta::assert_snapshot!(shown(&slip, &error), @r"
    error: `RUN make` failed in buildkit: exit code: 2
    | cc -c a.c
    | no rule for b
    hint: mend the instruction; what it said stands above
    ");
    fake_buildctl(&slip, &made, "error: failed to solve: HOST/x: insufficient_scope: authorization failed", 1);
    let error = slip.build("one", &slip.segment("RUN make").await).await.unwrap_err().to_string();
    assert_eq!(error, "buildkit could not build: failed to solve: HOST/x: insufficient_scope: authorization failed");
}

#[tokio::test]
async fn a_log_without_end_takes_no_memory() {
    let mut slip = Slip::new().await;
    slip.set("BUILDKIT_HOST", "unix:///nowhere");
    slip.script(
        "buildctl",
        r#"case "$*" in *"debug workers"*) exit 0 ;; esac
yes 'a line that says little, of a log that is large' | head -c 60000000 >&2
echo 'error: no room' >&2
exit 1"#,
    );
    let error = slip.build("one", &slip.segment("RUN make").await).await.unwrap_err().to_string();
    assert!(error.starts_with("buildkit could not build: no room\n| a line") && error.len() < 10_000, "{error}");
}

#[tokio::test]
async fn buildah_builds_pushes_and_names_the_digest() {
    let slip = Slip::new().await;
    let made = slip.made().await;
    slip.script(
        "buildah",
        &format!(
            r#"echo "$*" >> FOLDER/argv
cp "$CONTAINERS_REGISTRIES_CONF" FOLDER/registries.conf
case $1 in
  build) echo 'STEP 1/2: FROM x'; echo 'STEP 2/2: RUN make'; echo 'making'
    [ -e FOLDER/fail ] && {{ echo 'Error: building at STEP "RUN make": exit status 2' >&2; exit 2; }}
    echo sha256:id > "$3" ;;
  push) echo {} > "$5" ;;
esac
"#,
            made.digest
        ),
    );
    let context = slip.yard.path("context");
    std::fs::create_dir(&context).unwrap();
    let mut segment = slip.segment("RUN make").await;
    segment.context = Some(Context { root: context.clone(), ignore: "*.log".into() });
    segment.secrets.insert("token".into(), Secret::from("canary-5f1c"));
    let image = slip.build("one", &segment).await.unwrap();
    assert_eq!((image.descriptor.digest, image.made_by.as_deref()), (made.digest, Some("buildah")));
    let argv = slip.note("argv");
    let lines: Vec<&str> = argv.lines().collect();
    assert!(lines[0].starts_with("build --iidfile ") && lines[0].ends_with(&context.display().to_string()), "{argv}");
    assert!(lines[0].contains("--ignorefile") && lines[0].contains("--secret id=token,src="), "{argv}");
    let target = format!("sha256:id docker://{}/demo/app:{}", slip.yard.domain(), image.key.tag());
    assert!(lines[1].starts_with("push ") && lines[1].ends_with(&target), "{argv}");
    assert_eq!(lines[2..], ["rmi sha256:id"]);
    let registries = slip.note("registries.conf");
    assert!(registries.contains(&format!("location = \"{}\"\ninsecure = true", slip.yard.domain())), "{registries}");

    std::fs::write(slip.yard.path("notes/fail"), "").unwrap();
    let error = slip.build("one", &slip.segment("RUN make").await).await.unwrap_err().to_string();
    assert!(
        error.starts_with("`RUN make` failed in buildah: building at STEP \"RUN make\": exit status 2\n| making"),
        "{error}"
    );
}

#[tokio::test]
async fn docker_without_buildkit_says_what_it_cannot_do_and_stages_the_context() {
    let slip = Slip::new().await;
    let made = slip.made().await;
    slip.script(
        "docker",
        &format!(
            r#"echo "$*" >> FOLDER/argv
for last in "$@"; do :; done
case $1 in
  buildx) exit 1 ;;
  build) ls "$last" > FOLDER/context; echo sha256:id > "$3"; echo "$DOCKER_BUILDKIT" > FOLDER/buildkit ;;
  push) echo 'tag: digest: {} size: 500' ;;
esac
"#,
            made.digest
        ),
    );
    let context = slip.yard.path("context");
    std::fs::create_dir(&context).unwrap();
    std::fs::write(context.join("a.txt"), "A").unwrap();
    std::fs::write(context.join("b.log"), "B").unwrap();
    let mut segment = slip.segment("RUN make").await;
    segment.context = Some(Context { root: context, ignore: "*.log".into() });
    let image = slip.build("one", &segment).await.unwrap();
    assert_eq!((image.descriptor.digest, image.made_by.as_deref()), (made.digest, Some("docker")));
    assert_eq!((slip.note("context").as_str(), slip.note("buildkit").as_str()), ("a.txt\n", "0\n"));
    let error = slip.build("one", &slip.segment("RUN --mount=type=cache,target=/x make").await).await.unwrap_err();
    assert!(error.to_string().contains("knows neither secrets nor `RUN --mount`"), "{error}");
}
