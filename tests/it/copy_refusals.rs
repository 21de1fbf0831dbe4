//! What a copy refuses: bytes and documents that are not what is said of them, and targets that cannot be.

use lapstrake::oci::{Descriptor, Digest};
use serde_json::{Value, json};

use crate::support::fault::{FaultServer, Reply, Seen};
use crate::support::yard::{Yard, parent_config};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A registry that serves these documents and blobs under their digests, and the last one as `bad/app:1`.
async fn serving(parts: Vec<(&'static str, Vec<u8>)>) -> FaultServer {
    FaultServer::start(move |seen: &Seen, _| {
        let name = seen.path().rsplit('/').next().unwrap_or_default();
        let named = |(_, bytes): &&(&str, Vec<u8>)| Digest::of(bytes).to_string() == name;
        let found = if name == "1" { parts.last() } else { parts.iter().find(named) };
        match found {
            Some((kind, bytes)) if !kind.is_empty() => Reply::ok(bytes.clone()).header("content-type", kind),
            // What is served under this digest is something else, of the same length.
            Some((_, bytes)) => Reply::ok(vec![b'x'; bytes.len()]),
            None => Reply::status(404),
        }
    })
    .await
}

fn manifest(config: &[u8], layer: &[u8]) -> Vec<u8> {
    let config = Descriptor::of("application/vnd.oci.image.config.v1+json", config);
    let layer = Descriptor::of("application/vnd.oci.image.layer.v1.tar", layer);
    json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}).to_string().into_bytes()
}

fn index(entries: &[Value]) -> Vec<u8> {
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).to_string().into_bytes()
}

/// Copies `bad/app:1` and gives what is said; nothing may stand under the target's tag.
async fn refused(yard: &Yard, server: &FaultServer) -> String {
    let ran = yard.run(&["copy", &format!("{}/bad/app:1", server.domain()), &yard.at("never/app:1")]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(yard.digest_of("never/app:1").await.is_none());
    ran.stderr.replace(&server.domain(), "SOURCE")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_of_other_bytes_than_its_digest_is_refused() {
    let yard = Yard::new().await;
    let (config, layer) = (parent_config(), b"the true layer".to_vec());
    let manifest = manifest(&config, &layer);
    let layer_digest = Digest::of(&layer);
    let server = serving(vec![("a/config", config), ("", layer), (MANIFEST, manifest)]).await;
    let said = refused(&yard, &server).await;
    assert!(said.contains(&format!("`SOURCE/bad/app@{layer_digest}` has other bytes than its digest says")), "{said}");
    let at = yard.reference("never/app").repository();
    let kept = lapstrake::registry::Registry::blob_size(yard.client(), &at, &layer_digest).await.unwrap();
    assert_eq!(kept, None, "nothing of it is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_differ_from_what_an_index_says_are_refused_before_anything_moves() {
    let yard = Yard::new().await;
    let (config, layer) = (parent_config(), b"layer".to_vec());
    let child = manifest(&config, &layer);
    let (digest, size) = (Digest::of(&child), child.len());
    let both = json!({
        "schemaVersion": 2, "mediaType": INDEX, "manifests": [], "layers": [],
        "config": Descriptor::of("a/config", &config),
    });
    for (name, root, expected) in [
        ("kind", index(&[json!({"mediaType": INDEX, "digest": digest, "size": size})]), "and what refers to it says"),
        (
            "size",
            index(&[json!({"mediaType": MANIFEST, "digest": digest, "size": size + 1})]),
            "what refers to it says",
        ),
        (
            "absent",
            index(&[json!({"mediaType": MANIFEST, "digest": Digest::of(b"absent"), "size": 6})]),
            "which is not there",
        ),
        ("both kinds", both.to_string().into_bytes(), "ambiguous"),
    ] {
        let parts =
            vec![("a/config", config.clone()), ("a/layer", layer.clone()), (MANIFEST, child.clone()), (INDEX, root)];
        let server = serving(parts).await;
        yard.requests();
        let said = refused(&yard, &server).await;
        assert!(said.contains(expected), "{name}: {said}");
        let writes: Vec<String> = yard.requests().into_iter().filter(|line| line.starts_with('P')).collect();
        assert_eq!(writes, Vec::<String>::new(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_that_disagree_on_the_size_of_a_blob_are_refused() {
    let yard = Yard::new().await;
    let (config, layer) = (parent_config(), b"layer".to_vec());
    let one = manifest(&config, &layer);
    let other = String::from_utf8(one.clone()).unwrap().replace("\"size\":5", "\"size\":7").into_bytes();
    assert_ne!(one, other);
    let entries = [&one, &other].map(|bytes| json!(Descriptor::of(MANIFEST, bytes)));
    let root = index(&entries);
    let server =
        serving(vec![("a/c", config), ("a/l", layer), (MANIFEST, one), (MANIFEST, other), (INDEX, root)]).await;
    let said = refused(&yard, &server).await;
    assert!(said.contains("bytes, and what refers to it says"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_in_an_index_is_copied_and_one_without_end_is_not() {
    let yard = Yard::new().await;
    for (depth, fits) in [(3, true), (40, false)] {
        let (config, layer) = (parent_config(), b"layer".to_vec());
        let mut documents = vec![(MANIFEST, manifest(&config, &layer))];
        for _ in 0..depth {
            let (kind, below) = documents.last().unwrap();
            let above = index(&[json!(Descriptor::of(*kind, below))]);
            documents.push((INDEX, above));
        }
        let mut parts = vec![("a/config", config), ("a/layer", layer)];
        parts.extend(documents);
        let server = serving(parts).await;
        let ran =
            yard.run(&["copy", &format!("{}/bad/app:1", server.domain()), &yard.at(&format!("deep/app:{depth}"))]);
        assert_eq!(ran.code == 0, fits, "{}", ran.stderr);
        assert_eq!(ran.stderr.contains("refer to each other in more than 32 steps"), !fits, "{}", ran.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_that_cannot_be_are_refused_before_anything_moves() {
    let yard = Yard::new().await;
    let digest = yard.digest_of("demo/parent:1").await.unwrap();
    let source = yard.at("demo/parent:1");
    let other = Digest::of(b"other");
    yard.requests();
    for (arguments, code, expected) in [
        (vec![source.clone(), yard.at(&format!("x/app@{other}"))], 2, "asks for another digest than the source has"),
        (vec![source.clone(), format!("oci:out@{other}")], 2, "asks for another digest than the source has"),
        (vec!["--referrers".into(), source.clone(), "docker-archive:x.tar".into()], 2, "cannot hold referrers"),
        (
            vec!["--platform".into(), "linux/riscv64".into(), source.clone(), yard.at("x/app:1")],
            1,
            "it has linux/amd64",
        ),
        (vec!["--all-tags".into(), source.clone(), yard.at("x/app")], 2, "copies a repository"),
        (vec!["--all-tags".into(), yard.at("demo/parent"), yard.at("x/app:1")], 2, "under its own name"),
        (vec![source.clone(), "oci:".into()], 2, "names no place of an image"),
        (vec![yard.at("demo/absent:1"), yard.at("x/app:1")], 1, "does not exist"),
    ] {
        let arguments: Vec<&str> = ["copy"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
        let ran = yard.run(&arguments);
        assert_eq!(ran.code, code, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(expected) && ran.stderr.contains("hint: "), "{arguments:?}: {}", ran.stderr);
    }
    let writes: Vec<String> = yard.requests().into_iter().filter(|line| line.starts_with('P')).collect();
    assert_eq!(writes, Vec::<String>::new());
    let equal = yard.json(&["copy", &source, &yard.at(&format!("x/app@{digest}"))]);
    assert_eq!(equal["images"][0]["targets"][0]["names"], json!([]), "a digest that is the source's is no tag");
    assert!(yard.digest_of(&format!("x/app@{digest}")).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_a_repository_is_a_usage_error_and_no_image_of_docker_hub() {
    let yard = Yard::new().await;
    let (parent, host) = (yard.at("demo/parent:1"), yard.domain());
    let runs = [
        yard.run(&["copy", &parent, &host]),
        yard.run(&["copy", &host, "oci:there"]),
        yard.run(&["build", "--parent-image", &parent, "--tag", &host]),
        yard.run(&["inspect", &host]),
    ];
    let parent = yard.run(&["build", "--parent-image", &host]);
    assert!(
        parent.code == 2 && parent.stderr.contains("`HOST` is a registry without a repository"),
        "{}",
        parent.stderr
    );
    for ran in runs {
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.stderr, @"
            error: `HOST` is a registry without a repository
              hint: write `HOST/REPOSITORY` for an image there, or `docker.io/library/HOST` for the one of Docker Hub
            ");
        }
    }
}
