//! Copies into and out of folders and archives: round trips keep the digest, and hostile archives are refused.

use std::io::Write as _;

use lapstrake::oci::Digest;
use serde_json::{Value, json};

use crate::support::readback::document;
use crate::support::yard::{Ran, Yard, changed_config, parent_config, parent_layer};

/// A tar of these members; a content that begins with `-> ` is a symbolic link.
fn tarred(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        let link = content.strip_prefix(b"-> ");
        header.set_size(if link.is_some() { 0 } else { content.len() as u64 });
        if let Some(target) = link {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_link_name(std::str::from_utf8(target).unwrap()).unwrap();
        }
        // The builder refuses names that climb; the header's field does not.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, if link.is_some() { &[][..] } else { content }).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The config of an image of these layers.
fn config_of(layers: &[&[u8]]) -> Vec<u8> {
    changed_config(|config| {
        config["rootfs"]["diff_ids"] = json!(layers.iter().map(|layer| Digest::of(layer)).collect::<Vec<_>>());
        config["history"] = json!(layers.iter().map(|_| json!({"created_by": "test"})).collect::<Vec<_>>());
    })
}

fn list(config: &str, tags: &[&str], layers: &[&str]) -> Vec<u8> {
    json!([{"Config": config, "RepoTags": tags, "Layers": layers}]).to_string().into_bytes()
}

async fn push_index(yard: &Yard) {
    let arm = changed_config(|config| config["architecture"] = json!("arm64"));
    let children = [
        (yard.push_image("demo/many:amd64", &[&parent_layer()], &parent_config()).await, "amd64"),
        (yard.push_image("demo/many:arm64", &[&parent_layer(), b"another"], &arm).await, "arm64"),
    ];
    yard.push_index("demo/many:1", &children).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_goes_through_a_folder_and_back_with_its_digest() {
    let yard = Yard::new().await;
    push_index(&yard).await;
    let index = yard.digest_of("demo/many:1").await.unwrap();
    let subject = yard.client();
    let descriptor = lapstrake::registry::Registry::resolve(subject, &yard.reference("demo/many:1")).await;
    let signature = yard.push_referrer("demo/many", &descriptor.unwrap().unwrap(), "test/signature").await;
    let folder = format!("oci:{}", yard.path("layout").display());
    let named = format!("{folder}:v1");
    let first = yard.json(&["copy", "--referrers", &yard.at("demo/many:1"), &named]);
    assert_eq!(first["images"][0]["targets"][0]["reference"], format!("{folder}@{index}"));
    let again = yard.json(&["copy", "--referrers", &yard.at("demo/many:1"), &named]);
    assert_eq!(again["images"][0]["bytes"]["uploaded"], 0);
    let items = again["images"][0]["targets"][0]["items"].as_array().unwrap().clone();
    assert!(items.iter().all(|item| item["action"] == "hit"), "{items:?}");
    let back = yard.json(&["copy", "--referrers", &named, &yard.at("back/app:1")]);
    assert_eq!(back["images"][0]["digest"], json!(index));
    assert_eq!(document(&yard.at("back/app:1")).await, document(&yard.at("demo/many:1")).await);
    let at = yard.reference("back/app").repository();
    let listed = lapstrake::registry::Registry::referrers(yard.client(), &at, &index).await.unwrap();
    assert_eq!(listed.iter().map(|found| &found.digest).collect::<Vec<_>>(), [&signature.digest]);
    let by_digest = yard.json(&["copy", &format!("{folder}@{index}"), &yard.at("back/digest:1")]);
    assert_eq!(by_digest["images"][0]["digest"], json!(index));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_goes_through_an_archive_and_back_with_its_digest() {
    let yard = Yard::new().await;
    push_index(&yard).await;
    let manifest = yard.digest_of("demo/many:amd64").await.unwrap();
    let file = yard.path("image.tar");
    let archive = format!("docker-archive:{}:registry.test/app:1", file.display());
    let out = yard.json(&["copy", "--platform", "linux/amd64", &yard.at("demo/many:1"), &archive]);
    assert_eq!(out["images"][0]["targets"][0]["names"], json!(["registry.test/app:1"]));
    let bytes = std::fs::read(&file).unwrap();
    for source in [archive.clone(), format!("docker-archive:{}", file.display())] {
        let back = yard.json(&["copy", &source, &yard.at("back/app:1")]);
        assert_eq!(back["images"][0]["digest"], json!(manifest));
        yard.pull("back/app:1").await;
    }
    let through = format!("oci:{}", yard.path("through").display());
    yard.json(&["copy", &archive, &through]);
    let twice = format!("docker-archive:{}:registry.test/app:1", yard.path("twice.tar").display());
    yard.json(&["copy", &through, &twice]);
    assert!(std::fs::read(yard.path("twice.tar")).unwrap() == bytes, "equal images give equal archives");
    let ran = yard.run(&["copy", &format!("docker-archive:{}:registry.test/other:1", file.display()), &through]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("has no image `registry.test/other:1`"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_without_a_layout_inside_give_an_oci_manifest_over_their_layers_as_they_are() {
    let yard = Yard::new().await;
    let (plain, other) = (tarred(&[("etc/motd", b"hello")]), tarred(&[("etc/issue", b"here")]));
    let packed = gzipped(&other);
    let config = config_of(&[&plain, &other, &plain]);
    // As older versions of `docker save` write it, with a link for a layer that is there twice.
    let archive = tarred(&[
        ("one/layer.tar", &plain),
        ("./two/layer.tar", &packed),
        ("three/layer.tar", b"-> ../one/layer.tar"),
        ("abc.json", &config),
        ("manifest.json", &list("abc.json", &["app:1"], &["one/layer.tar", "two/layer.tar", "three/layer.tar"])),
    ]);
    let file = yard.path("saved.tar");
    std::fs::write(&file, &archive).unwrap();
    let source = format!("docker-archive:{}:app:1", file.display());
    let first = yard.json(&["copy", &source, &yard.at("loaded/app:1")]);
    let manifest: Value = serde_json::from_slice(&document(&yard.at("loaded/app:1")).await.0).unwrap();
    let described = |kind: &str, bytes: &[u8]| json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": Digest::of(bytes), "size": bytes.len()});
    assert_eq!(manifest["config"], described("config.v1+json", &config), "the image's identifier stays");
    let expected =
        [described("layer.v1.tar", &plain), described("layer.v1.tar+gzip", &packed), described("layer.v1.tar", &plain)];
    assert_eq!(manifest["layers"], json!(expected));
    assert_eq!(
        yard.json(&["copy", &source, &yard.at("loaded/app:2")])["images"][0]["digest"],
        first["images"][0]["digest"]
    );
}

fn refused(yard: &Yard, archive: &[u8]) -> String {
    let file = yard.path("hostile.tar");
    std::fs::write(&file, archive).unwrap();
    yard.requests();
    let ran: Ran = yard.run(&["copy", &format!("docker-archive:{}", file.display()), &yard.at("never/app:1")]);
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    let writes = yard.requests().into_iter().filter(|line| line.contains("/manifests/1")).count();
    assert_eq!(writes, 0, "no tag is moved");
    ran.stderr.replace(&file.display().to_string(), "FILE")
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_archives_are_refused() {
    let yard = Yard::new().await;
    let layer = tarred(&[("etc/motd", b"hello")]);
    let config = config_of(&[&layer]);
    let good = list("c.json", &[], &["l.tar"]);
    let digest = Digest::of(&layer).hex().to_owned();
    let blob = format!("blobs/sha256/{digest}");
    let other = tarred(&[("etc/motd", b"other")]);
    let twice = [("l.tar", &layer[..]), ("l.tar", &other), ("c.json", &config), ("manifest.json", &good)];
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("climbs", tarred(&[("../l.tar", &layer)]), "leads out of the archive"),
        ("absolute", tarred(&[("/l.tar", &layer)]), "leads out of the archive"),
        ("twice", tarred(&twice), "has two members `l.tar`"),
        (
            "a link out",
            tarred(&[("l.tar", b"-> ../../etc/passwd"), ("c.json", &config), ("manifest.json", &good)]),
            "has no file `l.tar`",
        ),
        (
            "a link to a link",
            tarred(&[("m.tar", b"-> l.tar"), ("l.tar", b"-> m.tar"), ("c.json", &config), ("manifest.json", &good)]),
            "has no file `l.tar`",
        ),
        (
            "another layer than the config's",
            tarred(&[("l.tar", &other), ("c.json", &config), ("manifest.json", &good)]),
            "and should come to",
        ),
        (
            "a compressed one",
            tarred(&[("l.tar", &gzipped(&other)), ("c.json", &config), ("manifest.json", &good)]),
            "and should come to",
        ),
        (
            "a digest that lies",
            tarred(&[(&blob, &other), ("c.json", &config), ("manifest.json", &list("c.json", &[], &[&blob]))]),
            "and should come to",
        ),
        (
            "a layer too few",
            tarred(&[("c.json", &config), ("manifest.json", &list("c.json", &[], &[]))]),
            "lists 0 layers, and the config has 1",
        ),
        ("no list", tarred(&[("l.tar", &layer)]), "has no file `manifest.json`"),
        ("compressed as a whole", gzipped(&tarred(&[("l.tar", &layer)])), "is compressed"),
        ("no tar", vec![7; 4096], "is not a tar that all tools read alike"),
    ];
    for (name, archive, expected) in cases {
        let said = refused(&yard, &archive);
        assert!(said.contains(expected), "{name}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_with_two_faces_is_refused() {
    let yard = Yard::new().await;
    let (layer, other) = (tarred(&[("etc/motd", b"hello")]), tarred(&[("etc/motd", b"other")]));
    let config = config_of(&[&layer]);
    let blob = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::of(bytes).hex());
    let described =
        |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len()});
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described("application/vnd.oci.image.config.v1+json", &config),
        "layers": [described("application/vnd.oci.image.layer.v1.tar", &other)],
    });
    let manifest = manifest.to_string().into_bytes();
    let index =
        json!({"schemaVersion": 2, "manifests": [described("application/vnd.oci.image.manifest.v1+json", &manifest)]});
    let archive = tarred(&[
        (&blob(&layer), &layer),
        (&blob(&other), &other),
        (&blob(&config), &config),
        (&blob(&manifest), &manifest),
        ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
        ("index.json", index.to_string().as_bytes()),
        ("manifest.json", &list(&blob(&config), &[], &[&blob(&layer)])),
    ]);
    let said = refused(&yard, &archive);
    assert!(said.contains("lists other layers in `manifest.json` than in its OCI manifest"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_with_altered_bytes_is_refused_and_no_tag_moves() {
    let yard = Yard::new().await;
    push_index(&yard).await;
    let layout = yard.path("layout");
    let folder = format!("oci:{}:v1", layout.display());
    yard.json(&["copy", &yard.at("demo/many:1"), &folder]);
    let blob = layout.join("blobs/sha256").join(Digest::of(&parent_layer()).hex());
    let mut bytes = std::fs::read(&blob).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    let ran = yard.run(&["copy", &folder, &yard.at("never/app:1")]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("where `sha256:") && ran.stderr.contains("was expected"), "{}", ran.stderr);
    assert!(yard.digest_of("never/app:1").await.is_none());
    std::fs::remove_file(&blob).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &blob).unwrap();
    let ran = yard.run(&["copy", &folder, &yard.at("never/app:1")]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("lacks `sha256:"), "{}", ran.stderr);
    let mended = yard.json(&["copy", &yard.at("demo/many:1"), &folder]);
    let actions: Vec<&Value> =
        mended["images"][0]["targets"][0]["items"].as_array().unwrap().iter().map(|item| &item["action"]).collect();
    assert_eq!(actions.iter().filter(|action| **action == "copy").count(), 1, "only what was damaged: {actions:?}");
}
