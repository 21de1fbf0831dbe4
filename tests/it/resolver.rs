//! Fetching locked wheels from an index that may misbehave, and resolving with uv where there is one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lapstrake::diagnostic::Diagnose as _;
use lapstrake::event::{Event, Recorded};
use lapstrake::image::filesystem::Libc;
use lapstrake::oci::{Digest, Platform};
use lapstrake::python::lock::{Lock, LockedWheel};
use lapstrake::python::marker::MarkerEnvironment;
use lapstrake::python::tags::{CompatibleTags, Interpreter};
use lapstrake::resolver::child::ChildEnvironment;
use lapstrake::resolver::index::IndexCredentials;
use lapstrake::resolver::request::{
    InstallerArguments, ParentDistribution, PythonTarget, RequirementText, ResolveRequest,
};
use lapstrake::resolver::{FetchError, FetchOptions, HttpClient, ResolveError, Uv, WheelFetcher, resolve};
use lapstrake::settings::Installer;
use lapstrake::store::Store;
use tempfile::TempDir;

use crate::support::index::{Answer, IndexServer};
use crate::support::wheel_maker::{MadeMember, zip};

fn bytes() -> Vec<u8> {
    (0..300_000_u32).flat_map(u32::to_le_bytes).collect()
}

fn wheel(name: &str, url: String, bytes: &[u8]) -> LockedWheel {
    LockedWheel {
        name: name.into(),
        version: "1".into(),
        filename: format!("{name}-1-py3-none-any.whl"),
        url,
        sha256: Digest::of(bytes),
        size: None,
        direct_url: None,
        index: None,
        origin: None,
    }
}

struct Bench {
    store: Store,
    credentials: IndexCredentials,
    reporter: Arc<Recorded>,
    offline: bool,
    _folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        Self {
            store,
            credentials: IndexCredentials::default(),
            reporter: Arc::default(),
            offline: false,
            _folder: folder,
        }
    }

    fn fetcher(&self) -> WheelFetcher {
        WheelFetcher::new(
            self.store.clone(),
            Arc::new(HttpClient::new("lapstrake-test", Duration::from_secs(5), self.offline)),
            Arc::new(self.credentials.clone()),
            self.reporter.clone(),
            FetchOptions { first_wait: Duration::from_millis(1), ..FetchOptions::default() },
        )
    }

    async fn fetch(&self, wheels: &[LockedWheel]) -> Result<(), FetchError> {
        let (fetcher, wheels) = (self.fetcher(), wheels.to_vec());
        tokio::spawn(async move { fetcher.fetch_all(&wheels).await }).await.unwrap()
    }

    fn stored(&self, wheel: &LockedWheel) -> Option<Vec<u8>> {
        self.store.read(&wheel.sha256, 1 << 30).unwrap()
    }
}

#[tokio::test]
async fn wheels_are_fetched_once_and_reported() {
    let (server, bench, bytes) = (IndexServer::start().await, Bench::new(), bytes());
    let wheels: Vec<LockedWheel> = (0..20)
        .map(|at| {
            let content = [bytes.as_slice(), &[at]].concat();
            server.put(&format!("/{at}.whl"), &content);
            wheel(&format!("p{at}"), server.url(&format!("/{at}.whl")), &content)
        })
        .collect();
    bench.fetch(&wheels).await.unwrap();
    assert!(wheels.iter().all(|wheel| bench.stored(wheel).is_some()));
    bench.fetch(&wheels).await.unwrap();
    assert_eq!(server.seen().len(), 20);
    let events = bench.reporter.events();
    let moved: u64 = events.iter().map(|e| if let Event::Advanced { bytes, .. } = e { *bytes } else { 0 }).sum();
    assert_eq!(moved, 20 * 1_200_001);
    let finished = events.iter().filter(|event| matches!(event, Event::Finished { .. })).count();
    assert_eq!(finished, 20);
}

#[tokio::test]
async fn builds_that_want_the_same_wheel_fetch_it_once() {
    let (server, bench, bytes) = (IndexServer::start().await, Bench::new(), bytes());
    server.put("/a.whl", &bytes);
    let wanted = [wheel("a", server.url("/a.whl"), &bytes)];
    let builds: Vec<_> = (0..8).map(|_| bench.fetch(&wanted)).collect();
    for build in futures_util::future::join_all(builds).await {
        build.unwrap();
    }
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn wrong_bytes_are_named_and_not_stored() {
    let (server, bench, bytes) = (IndexServer::start().await, Bench::new(), bytes());
    server.put("/a.whl", b"something else");
    let wheel = wheel("a", server.url("/a.whl"), &bytes);
    let error = bench.fetch(std::slice::from_ref(&wheel)).await.unwrap_err();
    let found = Digest::of(b"something else");
    let text = format!("`a-1-py3-none-any.whl` of `a` has the hash `{found}`, the lock says `{}`", wheel.sha256);
    assert_eq!(error.to_string(), text);
    assert_eq!(server.seen().len(), 1, "a wrong hash is not tried again");
    assert_eq!((bench.store.contains(&wheel.sha256), bench.store.contains(&found)), (None, None));
}

#[tokio::test]
async fn cut_downloads_are_resumed_where_they_stopped() {
    let (server, bench, bytes) = (IndexServer::start().await, Bench::new(), bytes());
    server.put("/a.whl", &bytes);
    server.answer("/a.whl", [Answer::Cut(1000), Answer::Status(503), Answer::Cut(70_000), Answer::Whole]);
    let wheel = wheel("a", server.url("/a.whl"), &bytes);
    bench.fetch(std::slice::from_ref(&wheel)).await.unwrap();
    assert_eq!(bench.stored(&wheel).unwrap(), bytes);
    let ranges: Vec<Option<String>> = server.seen().into_iter().map(|seen| seen.range).collect();
    assert_eq!(ranges[0], None);
    assert!(ranges[1..].iter().all(|range| range.as_deref().is_some_and(|range| range.ends_with('-'))), "{ranges:?}");
    assert_eq!(ranges.len(), 4);
}

#[tokio::test]
async fn servers_without_ranges_send_it_again_and_the_known_part_is_skipped() {
    let (server, bench, bytes) = (IndexServer::start().await, Bench::new(), bytes());
    server.put("/a.whl", &bytes);
    server.answer("/a.whl", [Answer::Cut(50_000), Answer::WithoutRanges]);
    let wheel = wheel("a", server.url("/a.whl"), &bytes);
    bench.fetch(std::slice::from_ref(&wheel)).await.unwrap();
    assert_eq!(bench.stored(&wheel).unwrap(), bytes);
}

#[tokio::test]
async fn truncated_and_endless_bodies_are_errors() {
    let (server, bench, bytes) = (IndexServer::start().await, Bench::new(), bytes());
    server.put("/a.whl", &bytes);
    server.answer("/a.whl", [Answer::Cut(1)]);
    let mut wheel = wheel("a", server.url("/a.whl"), &bytes);
    let error = bench.fetch(std::slice::from_ref(&wheel)).await.unwrap_err();
    assert!(matches!(error, FetchError::Http { tries: 5, .. }), "{error}");
    wheel.size = Some(bytes.len() as u64 - 1);
    server.answer("/a.whl", [Answer::Whole]);
    assert!(matches!(bench.fetch(std::slice::from_ref(&wheel)).await, Err(FetchError::TooLarge { .. })));
    server.answer("/a.whl", [Answer::Unsized(bytes.len())]);
    assert!(matches!(bench.fetch(std::slice::from_ref(&wheel)).await, Err(FetchError::TooLarge { .. })));
    wheel.size = Some(bytes.len() as u64);
    server.answer("/a.whl", [Answer::Unsized(5000), Answer::Whole]);
    bench.fetch(std::slice::from_ref(&wheel)).await.unwrap();
    assert_eq!(bench.stored(&wheel).unwrap(), bytes);
}

#[tokio::test]
async fn refusals_are_not_tried_again_and_say_what_to_do() {
    let (server, bench, bytes) = (IndexServer::start().await, Bench::new(), bytes());
    server.put("/a.whl", &bytes);
    server.answer("/a.whl", [Answer::Status(401)]);
    let wheel = wheel("a", server.url("/a.whl") + "?sig=s3cret", &bytes);
    let error = bench.fetch(std::slice::from_ref(&wheel)).await.unwrap_err();
    let text = format!("{error} {:?} {:?}", error.hint(), std::error::Error::source(&error).map(ToString::to_string));
    assert!(text.contains("401") && text.contains("netrc") && !text.contains("s3cret"), "{text}");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn credentials_stay_with_their_index_when_it_redirects() {
    let (index, host, mut bench, bytes) =
        (IndexServer::start().await, IndexServer::start().await, Bench::new(), bytes());
    index.put("/a.whl", &bytes);
    index.put("/moved.whl", &bytes);
    host.put("/a.whl", &bytes);
    index.answer("/a.whl", [Answer::Redirect("/moved.whl".into())]);
    index.answer("/moved.whl", [Answer::Redirect(host.url("/a.whl"))]);
    bench.credentials.add_url(&index.url("/simple/").replacen("http://", "http://user:s3cret@", 1));
    let wheel = wheel("a", index.url("/a.whl"), &bytes);
    bench.fetch(std::slice::from_ref(&wheel)).await.unwrap();
    let basic = Some("Basic dXNlcjpzM2NyZXQ=".to_owned());
    let sent: Vec<Option<String>> = index.seen().into_iter().map(|seen| seen.authorization).collect();
    assert_eq!(sent, [basic.clone(), basic]);
    assert_eq!(host.seen()[0].authorization, None);
}

#[tokio::test]
async fn redirects_that_lead_nowhere_are_errors() {
    let (server, bench, bytes) = (IndexServer::start().await, Bench::new(), bytes());
    server.put("/a.whl", &bytes);
    for to in [server.url("/a.whl"), "file:///etc/passwd".into(), "ftp://h.example/".into(), String::new()] {
        server.answer("/a.whl", [Answer::Redirect(to.clone())]);
        let wheel = wheel("a", server.url("/a.whl"), &bytes);
        assert!(bench.fetch(&[wheel]).await.is_err(), "{to}");
    }
}

#[tokio::test]
async fn offline_connects_nowhere_and_uses_the_store() {
    let (server, mut bench, bytes) = (IndexServer::start().await, Bench::new(), bytes());
    bench.offline = true;
    server.put("/a.whl", &bytes);
    let wheel = wheel("a", server.url("/a.whl"), &bytes);
    let error = bench.fetch(std::slice::from_ref(&wheel)).await.unwrap_err();
    assert!(error.hint().unwrap().contains("--offline"));
    assert!(server.seen().is_empty());
    bench.store.put(&bytes).unwrap();
    bench.fetch(&[wheel]).await.unwrap();
}

#[tokio::test]
async fn files_of_this_machine_are_checked_like_all_others() {
    let (bench, folder, bytes) = (Bench::new(), tempfile::tempdir().unwrap(), bytes());
    let path = folder.path().join("a b.whl");
    std::fs::write(&path, &bytes).unwrap();
    let url: String = url::Url::from_file_path(&path).unwrap().into();
    let mut wheel = wheel("a", url, &bytes);
    bench.fetch(std::slice::from_ref(&wheel)).await.unwrap();
    assert_eq!(bench.stored(&wheel).unwrap(), bytes);
    wheel.sha256 = Digest::of(b"other");
    assert!(matches!(bench.fetch(std::slice::from_ref(&wheel)).await, Err(FetchError::Hash { .. })));
    wheel.size = Some(7);
    assert!(matches!(bench.fetch(std::slice::from_ref(&wheel)).await, Err(FetchError::TooLarge { .. })));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(bench.fetch(&[wheel]).await, Err(FetchError::File { .. })));
}

fn tags() -> CompatibleTags {
    CompatibleTags::of(&Interpreter {
        implementation: "cp".into(),
        version: (3, 11),
        free_threaded: false,
        libc: Libc::Glibc(2, 36),
        machine: "aarch64".into(),
    })
}

#[tokio::test]
async fn locked_project_needs_neither_uv_nor_network() {
    let (mut bench, folder, bytes) = (Bench::new(), tempfile::tempdir().unwrap(), bytes());
    bench.offline = true;
    std::fs::create_dir(folder.path().join("wheels")).unwrap();
    std::fs::write(folder.path().join("wheels/a-1-py3-none-any.whl"), &bytes).unwrap();
    let text = format!(
        "lock-version = \"1.0\"\ncreated-by = \"hand\"\n[[packages]]\nname = \"a\"\nversion = \"1\"\n\
         wheels = [{{ path = \"wheels/a-1-py3-none-any.whl\", hashes = {{ sha256 = \"{}\" }} }}]\n",
        Digest::of(&bytes).hex()
    );
    let path = folder.path().join("pylock.toml");
    std::fs::write(&path, text).unwrap();
    let markers = MarkerEnvironment::linux("3.11", "x86_64");
    let lock = Lock::read_pylock(&path, &tags(), &markers).unwrap();
    bench.fetch(&lock.packages).await.unwrap();
    assert_eq!(bench.stored(&lock.packages[0]).unwrap(), bytes);
}

/// A wheel with a package's metadata, enough for uv.
fn small_wheel(folder: &Path, name: &str, version: &str, requires: &str) {
    let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}");
    let tags = "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    let member = |file: &str, content: &str| MadeMember {
        name: format!("{name}-{version}.dist-info/{file}"),
        content: content.as_bytes().to_vec(),
        mode: 0o100_644,
        deflated: false,
        recorded: false,
    };
    let bytes = zip(&[member("METADATA", &metadata), member("WHEEL", tags), member("RECORD", "")]);
    std::fs::write(folder.join(format!("{name}-{version}-py3-none-any.whl")), bytes).unwrap();
}

fn installed(name: &str, version: &str) -> ParentDistribution {
    ParentDistribution {
        name: name.into(),
        version: version.into(),
        metadata: format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n").into_bytes(),
        installer: Some("pip\n".into()),
    }
}

#[expect(clippy::disallowed_methods, reason = "a test takes uv from where the machine has it")]
fn variable(name: &str) -> (String, String) {
    (name.to_owned(), std::env::var(name).unwrap_or_default())
}

/// A project with a folder of wheels and no index; `None`, said aloud, when this machine has no uv.
async fn project(text: &str) -> Option<(Uv, ResolveRequest, TempDir)> {
    let environment = ChildEnvironment::new(["PATH", "HOME"].map(variable));
    let Some(uv) = Uv::on_path(&environment).await else {
        println!("skipped: there is no uv on PATH");
        return None;
    };
    let folder = tempfile::tempdir().unwrap();
    let wheels = folder.path().join("wheels");
    std::fs::create_dir(&wheels).unwrap();
    small_wheel(&wheels, "aaa", "1.0", "Requires-Dist: bbb>=1\n");
    small_wheel(&wheels, "bbb", "1.5", "Requires-Dist: ccc; python_version < '3.9'\n");
    small_wheel(&wheels, "ddd", "2.0", "");
    let pair = |key: &str, value: Option<&str>| (key.to_owned(), value.map(str::to_owned));
    let request = ResolveRequest {
        requirements: vec![RequirementText { name: "r.txt".into(), text: text.into(), folder: folder.path().into() }],
        constraints: vec![],
        target: PythonTarget {
            version: "3.11".into(),
            platform: Platform::new("linux", "arm64"),
            libc: Libc::Glibc(2, 36),
        },
        installed: vec![],
        installer: Installer::Uv,
        contents: BTreeMap::new(),
        made: vec![],
        arguments: InstallerArguments::from([pair("no-index", None), pair("find-links", Some("wheels"))]),
        folder: folder.path().into(),
        scratch: folder.path().into(),
        environment: environment.with("UV_CACHE_DIR", folder.path().join("cache").display().to_string()),
        offline: false,
        upgrade: false,
    };
    Some((uv, request, folder))
}

async fn ask(uv: &Uv, request: &ResolveRequest) -> Result<Lock, ResolveError> {
    let resolved = resolve(request, uv, &tags()).await?;
    assert!(resolved.unbuilt.is_empty(), "{:?}", resolved.unbuilt);
    Ok(resolved.lock)
}

fn names(lock: &Lock) -> Vec<&str> {
    lock.packages.iter().map(|wheel| wheel.name.as_str()).collect()
}

#[tokio::test]
async fn folder_of_wheels_is_resolved_without_an_index() {
    let Some((uv, request, folder)) = project("aaa").await else { return };
    let lock = ask(&uv, &request).await.unwrap();
    assert_eq!(names(&lock), ["aaa", "bbb"]);
    let expected = url::Url::from_file_path(folder.path().join("wheels/aaa-1.0-py3-none-any.whl")).unwrap();
    assert_eq!(lock.packages[0].url, expected.as_str());
    Bench::new().fetch(&lock.packages).await.unwrap();
    let mut left = folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.all(|name| !name.to_string_lossy().starts_with("resolve-")), "the scratch folder stays");
}

#[tokio::test]
async fn parent_distributions_are_kept_when_they_satisfy_and_removed_when_replaced() {
    let Some((uv, mut request, _folder)) = project("aaa\n./wheels/ddd-2.0-py3-none-any.whl").await else { return };
    request.installed = vec![installed("bbb", "1.2"), installed("other", "1")];
    let lock = ask(&uv, &request).await.unwrap();
    assert_eq!((names(&lock), lock.removed.len()), (vec!["aaa", "ddd"], 0));
    assert!(lock.packages[1].direct_url.as_deref().is_some_and(|text| text.contains("ddd-2.0")));
    request.installed = vec![installed("bbb", "0.9")];
    let lock = ask(&uv, &request).await.unwrap();
    assert_eq!(names(&lock), ["aaa", "bbb", "ddd"]);
    assert_eq!((lock.removed[0].name.as_str(), lock.removed[0].version.as_str()), ("bbb", "0.9"));
    request.requirements[0].text = "aaa\nonly-the-parent-has-it>=1".into();
    request.installed =
        vec![installed("only-the-parent-has-it", "1"), installed("bbb", "1.2"), installed("aaa", "1.0")];
    assert_eq!(ask(&uv, &request).await.unwrap(), Lock::default());
}

#[tokio::test]
async fn a_requirement_that_names_a_place_replaces_what_the_parent_has() {
    let Some((uv, mut request, folder)) = project("").await else { return };
    let server = IndexServer::start().await;
    let bytes = std::fs::read(folder.path().join("wheels/ddd-2.0-py3-none-any.whl")).unwrap();
    server.put("/files/ddd-2.0-py3-none-any.whl", &bytes);
    let place = server.url("/files/ddd-2.0-py3-none-any.whl").replacen("http://", "http://me:s3cret@", 1);
    request.requirements[0].text = format!("aaa\nddd @ {place}");
    for version in ["1.0", "2.0"] {
        request.installed = vec![installed("ddd", version)];
        let lock = ask(&uv, &request).await.unwrap();
        assert_eq!(names(&lock), ["aaa", "bbb", "ddd"]);
        assert_eq!((lock.removed[0].name.as_str(), lock.removed[0].version.as_str()), ("ddd", version));
        let told = lock.packages[2].direct_url.as_deref().unwrap();
        assert!(told.contains("/files/ddd-2.0") && !told.contains("s3cret"), "{told}");
    }
}

#[tokio::test]
async fn indexes_that_the_file_names_hold_for_what_replaces_something_in_the_parent() {
    let Some((uv, mut request, _folder)) = project("--no-index\n--find-links ./wheels\nbbb>=1").await else { return };
    request.arguments.clear();
    request.installed = vec![installed("bbb", "0.9")];
    assert_eq!(names(&ask(&uv, &request).await.unwrap()), ["bbb"]);
}

#[tokio::test]
async fn a_file_that_the_hash_of_its_line_does_not_allow_is_refused() {
    let Some((uv, mut request, folder)) = project("").await else { return };
    let right = Digest::of(&std::fs::read(folder.path().join("wheels/ddd-2.0-py3-none-any.whl")).unwrap());
    request.requirements[0].text = format!("ddd==2.0 --hash={right}");
    assert_eq!(names(&ask(&uv, &request).await.unwrap()), ["ddd"]);
    for installed in [Vec::new(), vec![installed("ddd", "1.0")]] {
        request.installed = installed;
        request.requirements[0].text = format!("ddd==2.0 --hash={}", Digest::of(b"other"));
        let error = ask(&uv, &request).await.unwrap_err();
        let text = format!("`ddd-2.0-py3-none-any.whl` has the hash `{right}`, which `ddd==2.0` does not allow");
        assert_eq!(error.to_string(), text);
        assert!(error.hint().unwrap().contains("why the index has another file"));
    }
}

#[tokio::test]
async fn contradictions_show_what_uv_says_and_where_they_stand() {
    let Some((uv, mut request, _folder)) = project("aaa\nbbb<1").await else { return };
    let error = ask(&uv, &request).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ResolveError::Unsatisfiable { .. }), "{text}");
    assert!(text.contains("unsatisfiable") && text.contains("`bbb<1` in `r.txt`"), "{text}");
    request.requirements[0].text = "aaa=>1".into();
    let text = ask(&uv, &request).await.unwrap_err().to_string();
    assert!(text.contains("`r.txt`") && !text.contains("requirements-0"), "{text}");
}

#[tokio::test]
async fn index_password_reaches_the_index_and_no_message() {
    let Some((uv, mut request, _folder)) = project("aaa").await else { return };
    let server = IndexServer::start().await;
    let index = server.url("/simple").replacen("http://", "http://user:s3cret@", 1);
    request.arguments = InstallerArguments::from([("index-url".to_owned(), Some(index))]);
    let text = format!("{:?}", ask(&uv, &request).await.unwrap_err());
    assert!(!text.contains("s3cret"), "{text}");
    let basic = Some("Basic dXNlcjpzM2NyZXQ=".to_owned());
    assert!(server.seen().iter().any(|seen| seen.authorization == basic), "{:?}", server.seen());
}
