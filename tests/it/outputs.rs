//! Images as folders and files: OCI layouts and Docker archives.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Output;

use lapstrake::diagnostic::Diagnose as _;
use lapstrake::oci::media_type::{OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_LAYER_GZIP, OCI_MANIFEST};
use lapstrake::oci::{Descriptor, Digest, Document, Index, Manifest, Platform, Raw, Reference};
use lapstrake::store::{DockerArchive, ImageSink, OciLayout, SinkError};
use serde_json::{Value, json};

struct Image {
    blobs: Vec<(Descriptor, Vec<u8>)>,
    manifest: Document,
}

fn layer_tar(content: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    archive.append_data(&mut header, "app/file", content).unwrap();
    archive.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An image with one plain and one compressed layer.
fn image(content: &[u8]) -> Image {
    let (plain, inner) = (layer_tar(b"base"), layer_tar(content));
    let packed = gzip(&inner);
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(&plain), Digest::of(&inner)] },
    });
    let config = config.to_string().into_bytes();
    let blobs = vec![
        (Descriptor::of(OCI_LAYER, &plain), plain),
        (Descriptor::of(OCI_LAYER_GZIP, &packed), packed),
        (Descriptor::of(OCI_CONFIG, &config), config),
    ];
    let layers = blobs[..2].iter().map(|(descriptor, _)| descriptor.clone()).collect();
    let manifest = Document::Manifest(Raw::of(Manifest::new(blobs[2].0.clone(), layers)).unwrap());
    Image { blobs, manifest }
}

fn write(mut sink: Box<dyn ImageSink>, image: &Image) -> Result<(), SinkError> {
    for (blob, bytes) in &image.blobs {
        if !sink.has_blob(blob)? {
            sink.put_blob(blob, &mut bytes.as_slice())?;
        }
    }
    sink.put_manifest(&image.manifest)?;
    sink.finish(&image.manifest.descriptor())
}

fn layout(root: &Path, tag: Option<&str>) -> Box<dyn ImageSink> {
    Box::new(OciLayout::create(root, tag).unwrap())
}

fn archive(path: &Path, names: &[&str]) -> Box<dyn ImageSink> {
    let names: Vec<_> = names.iter().map(|name| Reference::parse(name).unwrap()).collect();
    Box::new(DockerArchive::create(path, &names).unwrap())
}

fn json_file(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    #[expect(clippy::disallowed_methods, reason = "looks at what an output left behind; sorted")]
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn layout_holds_what_was_put_and_keeps_other_tags() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("deep/layout");
    let (one, two) = (image(b"one"), image(b"two"));
    write(layout(&root, Some("one")), &one).unwrap();
    let mut index = json_file(&root.join("index.json"));
    index["x-unknown"] = json!({"kept": true});
    index["manifests"][0]["x-unknown"] = json!("kept, too");
    fs::write(root.join("index.json"), index.to_string()).unwrap();
    write(layout(&root, Some("two")), &one).unwrap();
    write(layout(&root, Some("two")), &two).unwrap();
    assert_eq!(names(&root), ["blobs", "index.json", "oci-layout"]);
    let index = json_file(&root.join("index.json"));
    assert_eq!((&index["x-unknown"]["kept"], &index["manifests"][0]["x-unknown"]), (&json!(true), &json!("kept, too")));

    let source = OciLayout::open(&root).unwrap();
    assert_eq!(source.entries().unwrap().len(), 2);
    for (tag, image) in [("one", &one), ("two", &two)] {
        let found = source.select(Some(tag)).unwrap();
        assert_eq!(found.digest, *image.manifest.digest());
        assert_eq!(source.document(&found).unwrap(), image.manifest);
        for (blob, expected) in &image.blobs {
            let mut bytes = Vec::new();
            source.open_blob(blob).unwrap().read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes, *expected);
        }
    }
    for wanted in [None, Some("three")] {
        let error = source.select(wanted).unwrap_err();
        assert!(error.hint().unwrap().ends_with("one, two"), "{error}");
    }
}

#[test]
fn layout_without_a_tag_holds_the_image_once() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        write(layout(folder.path(), None), &image(b"x")).unwrap();
    }
    let source = OciLayout::open(folder.path()).unwrap();
    assert_eq!(source.entries().unwrap().len(), 1);
    assert_eq!(source.select(None).unwrap().digest, *image(b"x").manifest.digest());
}

#[test]
fn writers_of_one_layout_at_once_keep_each_others_tags() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|threads| {
        for number in 0..8_u8 {
            let root = folder.path();
            threads.spawn(move || write(layout(root, Some(&format!("tag-{number}"))), &image(&[number])).unwrap());
        }
    });
    let source = OciLayout::open(folder.path()).unwrap();
    assert_eq!(source.entries().unwrap().len(), 8);
    assert_eq!(names(folder.path()), ["blobs", "index.json", "oci-layout"]);
}

#[test]
fn layout_that_was_not_finished_shows_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(b"x");
    let mut sink = layout(folder.path(), Some("x"));
    sink.put_blob(&image.blobs[0].0, &mut image.blobs[0].1.as_slice()).unwrap();
    assert!(matches!(sink.put_manifest(&image.manifest), Err(SinkError::Incomplete { .. })));
    drop(sink);
    assert_eq!(names(folder.path()), ["blobs", "oci-layout"]);
    assert_eq!(OciLayout::open(folder.path()).unwrap().entries().unwrap(), []);
    fs::write(folder.path().join(".part-dead"), "half").unwrap();
    drop(layout(folder.path(), None));
    assert_eq!(names(folder.path()), ["blobs", "oci-layout"], "remains of a killed writer go");
}

#[test]
fn folder_of_something_else_is_no_layout() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.tex"), "").unwrap();
    assert!(matches!(OciLayout::create(folder.path(), None), Err(SinkError::Foreign { .. })));
    assert!(matches!(OciLayout::open(folder.path()), Err(SinkError::Foreign { .. })));
    assert_eq!(names(folder.path()), ["thesis.tex"]);
}

#[test]
fn blob_that_is_not_what_it_says_is_refused_and_the_output_can_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(b"x");
    let (blob, bytes) = &image.blobs[1];
    let mut flipped = bytes.clone();
    flipped[20] ^= 1;
    let long = [bytes.as_slice(), b"junk"].concat();
    let sinks: [(&str, Box<dyn ImageSink>); 2] =
        [("layout", layout(&folder.path().join("l"), None)), ("archive", archive(&folder.path().join("a.tar"), &[]))];
    for (name, mut sink) in sinks {
        assert!(matches!(sink.put_blob(blob, &mut flipped.as_slice()), Err(SinkError::Mismatch { .. })), "{name}");
        assert!(matches!(sink.put_blob(blob, &mut &bytes[1..]), Err(SinkError::Size { .. })), "{name}");
        assert!(matches!(sink.put_blob(blob, &mut long.as_slice()), Err(SinkError::Size { .. })), "{name}");
        assert!(!sink.has_blob(blob).unwrap(), "{name}");
        write(sink, &image).unwrap();
    }
    assert!(OciLayout::open(&folder.path().join("l")).unwrap().select(None).is_ok());
    assert_eq!(unpack(&folder.path().join("a.tar")).len(), 7);
}

#[test]
fn damaged_layout_is_noticed_when_read_and_mended_when_written() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(b"x");
    write(layout(folder.path(), None), &image).unwrap();
    let (blob, bytes) = &image.blobs[0];
    let path = folder.path().join("blobs/sha256").join(blob.digest.hex());
    let mut flipped = bytes.clone();
    flipped[0] ^= 1;
    fs::write(&path, flipped).unwrap();
    let source = OciLayout::open(folder.path()).unwrap();
    assert!(matches!(source.open_blob(blob), Err(SinkError::Mismatch { .. })));
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
    assert!(matches!(source.open_blob(blob), Err(SinkError::Incomplete { .. })));
    write(layout(folder.path(), None), &image).unwrap();
    assert!(source.open_blob(blob).is_ok());
}

/// The files of an archive by their names.
fn unpack(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(fs::File::open(path).unwrap()).entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.header().entry_type().is_file() {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            files.insert(entry.path().unwrap().to_str().unwrap().to_owned(), bytes);
        }
    }
    files
}

#[test]
fn archive_is_the_same_each_time_and_has_both_faces() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(b"x");
    let paths = ["a.tar", "b.tar"].map(|name| folder.path().join(name));
    for path in &paths {
        write(archive(path, &["python:3.12", "ghcr.io/a/b:c"]), &image).unwrap();
    }
    assert_eq!(fs::read(&paths[0]).unwrap(), fs::read(&paths[1]).unwrap());
    assert_eq!(names(folder.path()), ["a.tar", "b.tar"]);
    let files = unpack(&paths[0]);
    let manifest: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    assert_eq!(manifest[0]["RepoTags"], json!(["docker.io/library/python:3.12", "ghcr.io/a/b:c"]));
    let at = |path: &Value| files[path.as_str().unwrap()].clone();
    assert_eq!(at(&manifest[0]["Config"]), image.blobs[2].1);
    assert_eq!(at(&manifest[0]["Layers"][1]), image.blobs[1].1);
    let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
    assert_eq!(index["manifests"][1]["digest"], json!(image.manifest.digest()));
    assert_eq!(index["manifests"][1]["annotations"]["org.opencontainers.image.ref.name"], json!("c"));
    assert_eq!(files[&format!("blobs/sha256/{}", image.manifest.digest().hex())], image.manifest.bytes());
}

#[test]
fn archive_never_takes_the_place_of_a_folder_or_a_device() {
    let folder = tempfile::tempdir().unwrap();
    let (taken, kept) = (folder.path().join("photos"), folder.path().join("photos/one.jpg"));
    fs::create_dir(&taken).unwrap();
    fs::write(&kept, "x").unwrap();
    let error = DockerArchive::create(&taken, &[]).unwrap_err();
    assert_eq!(error.to_string(), format!("`{}` is a folder, and the archive is a file", taken.display()));
    assert_eq!(error.hint().as_deref(), Some("name a file, as in `docker-archive:image.tar`"));
    assert!(matches!(DockerArchive::create(Path::new("/dev/null"), &[]), Err(SinkError::NotAFile { .. })));
    assert_eq!(names(&taken), ["one.jpg"]);

    // A folder that comes between stays as well.
    let path = folder.path().join("late.tar");
    let sink = archive(&path, &[]);
    fs::create_dir_all(path.join("inner")).unwrap();
    assert!(write(sink, &image(b"a")).is_err());
    assert!(path.join("inner").is_dir());
}

#[test]
fn archive_goes_where_a_link_points() {
    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (folder.path().join("real.tar"), folder.path().join("link.tar"));
    fs::write(&real, "old").unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    write(archive(&link, &[]), &image(b"a")).unwrap();
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert!(unpack(&real).contains_key("manifest.json"));
}

#[test]
fn archive_holds_one_image_and_needs_tags() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tar");
    fs::write(&path, "what was there before").unwrap();
    let (one, two) = (image(b"one"), image(b"two"));
    let children = [&one, &two].map(|image| {
        let mut child = image.manifest.descriptor();
        child.platform = Some(Platform::new("linux", "amd64"));
        child
    });
    let index = Document::Index(Raw::of(Index::new(children.to_vec())).unwrap());
    assert_eq!(index.media_type().as_str(), OCI_INDEX);
    assert_eq!(one.manifest.media_type().as_str(), OCI_MANIFEST);
    let mut sink = archive(&path, &[]);
    for image in [&one, &two] {
        for (blob, bytes) in &image.blobs {
            sink.put_blob(blob, &mut bytes.as_slice()).unwrap();
        }
        sink.put_manifest(&image.manifest).unwrap();
    }
    sink.put_manifest(&index).unwrap();
    let error = sink.finish(&index.descriptor()).unwrap_err();
    assert!(matches!(error, SinkError::OneImage { found: 2 }));
    let untagged = DockerArchive::create(&path, &[Reference::parse("python").unwrap()]);
    assert!(matches!(untagged, Err(SinkError::Untagged(_))));
    assert_eq!(fs::read(&path).unwrap(), b"what was there before");
    assert_eq!(names(folder.path()), ["a.tar"]);
}

#[expect(clippy::disallowed_methods, reason = "an independent reader of the outputs")]
fn skopeo(arguments: &[&str]) -> Option<Output> {
    match std::process::Command::new("skopeo").args(arguments).output() {
        Ok(output) => Some(output),
        Err(_) => {
            println!("skipped: skopeo is not installed");
            None
        }
    }
}

#[test]
fn skopeo_reads_and_copies_both_outputs() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(b"x");
    let (tar, dir) = (folder.path().join("a.tar"), folder.path().join("layout"));
    write(archive(&tar, &["example.com/a/b:c"]), &image).unwrap();
    write(layout(&dir, Some("c")), &image).unwrap();
    let sources = [
        (format!("docker-archive:{}", tar.display()), false),
        (format!("docker-archive:{}:example.com/a/b:c", tar.display()), false),
        (format!("oci-archive:{}:c", tar.display()), true),
        (format!("oci:{}:c", dir.display()), true),
    ];
    for (number, (source, keeps_digest)) in sources.iter().enumerate() {
        let Some(output) = skopeo(&["inspect", source]) else { return };
        assert!(output.status.success(), "{source}: {}", String::from_utf8_lossy(&output.stderr));
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(found["Layers"].as_array().unwrap().len(), 2, "{source}");
        assert_eq!(found["Digest"] == json!(image.manifest.digest()), *keeps_digest, "{source}");
        let target = format!("oci:{}:x", folder.path().join(format!("copy-{number}")).display());
        let output = skopeo(&["--insecure-policy", "copy", source, &target]).unwrap();
        assert!(output.status.success(), "{source}: {}", String::from_utf8_lossy(&output.stderr));
        let copy = OciLayout::open(&folder.path().join(format!("copy-{number}"))).unwrap();
        let entry = copy.select(Some("x")).unwrap();
        let Document::Manifest(raw) = copy.document(&entry).unwrap() else { panic!("an index") };
        copy.open_blob(&raw.value().config).unwrap();
        println!("skopeo copied {source}");
    }
}
