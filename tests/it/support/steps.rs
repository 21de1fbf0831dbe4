//! Steps: a request to the embedded registry, its answer, and what the next request takes from it.
//!
//! What the steps are is said where the capability is tested.

use std::collections::BTreeMap;

use lapstrake::oci::Algorithm;
use lapstrake::oci::media_type::{OCI_CONFIG, OCI_EMPTY, OCI_INDEX, OCI_LAYER, OCI_MANIFEST};
use reqwest::Method;
use serde_json::{Value, json};

use super::harbour::{Harbour, digest_with, harbour, header};

/// One request and what its answer must be. `{name}` stands for what is known by that name.
pub(crate) struct Step(pub(crate) &'static str, pub(crate) Sends, pub(crate) u16, pub(crate) &'static [Must]);

/// A header and its value, or the name of the body.
#[derive(Clone, Copy)]
pub(crate) enum Sends {
    Nothing,
    Body(&'static str),
    Range(&'static str),
    Chunk(&'static str, &'static str),
    Document(&'static str, &'static str),
}

/// What an answer must have.
#[derive(Clone, Copy)]
pub(crate) enum Must {
    /// A header with this value.
    Header(&'static str, &'static str),
    /// No such header.
    Without(&'static str),
    /// A header, whatever it says; known by a name from here on.
    Name(&'static str, &'static str),
    /// This error in a JSON body.
    Error(&'static str),
    /// The bytes known by a name.
    Bytes(&'static str),
    /// Some of the bytes known by a name.
    Part(&'static str, usize, usize),
    /// A JSON value at a pointer.
    Json(&'static str, &'static str),
}

/// What the steps of a table know.
struct Known {
    texts: BTreeMap<String, String>,
    bytes: BTreeMap<&'static str, Vec<u8>>,
}

impl Known {
    fn new(algorithm: Algorithm) -> Self {
        let mut known = Self { texts: BTreeMap::new(), bytes: BTreeMap::new() };
        known.texts.insert("algorithm".to_owned(), algorithm.name().to_owned());
        let layer: Vec<u8> = (0..3000_u32).map(|number| number.wrapping_mul(0x9e37_79b9).to_be_bytes()[0]).collect();
        known.add(algorithm, "first", layer[..1000].to_vec());
        known.add(algorithm, "second", layer[1000..2000].to_vec());
        known.add(algorithm, "third", layer[2000..].to_vec());
        known.add(algorithm, "layer", layer);
        known.add(algorithm, "empty", Vec::new());
        known.add(algorithm, "json", b"{}".to_vec());
        known.add(algorithm, "absent", b"never pushed".to_vec());
        let subject = known.document(
            OCI_MANIFEST,
            json!({ "config": known.pointer(OCI_CONFIG, "json"), "layers": [known.pointer(OCI_LAYER, "layer")] }),
        );
        known.add(algorithm, "image", subject);
        let foreign = json!({ "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar", "digest": known.texts["absent"], "size": 1 });
        let foreign =
            known.document(OCI_MANIFEST, json!({ "config": known.pointer(OCI_CONFIG, "json"), "layers": [foreign] }));
        known.add(algorithm, "foreign", foreign);
        let bare = known.document(
            OCI_MANIFEST,
            json!({ "config": known.pointer(OCI_EMPTY, "json"), "layers": [], "org.example.unknown": "kept" }),
        );
        known.add(algorithm, "bare", bare);
        let index = known.document(OCI_INDEX, json!({ "manifests": [known.pointer(OCI_MANIFEST, "image")] }));
        known.add(algorithm, "index", index);
        let nested = known.document(OCI_INDEX, json!({ "manifests": [known.pointer(OCI_INDEX, "index")] }));
        known.add(algorithm, "nested", nested);
        let none = known.document(OCI_INDEX, json!({ "manifests": [] }));
        known.add(algorithm, "none", none);
        let sparse = known.document(
            OCI_MANIFEST,
            json!({ "config": known.pointer(OCI_CONFIG, "json"), "layers": [known.pointer(OCI_LAYER, "absent")] }),
        );
        known.add(algorithm, "sparse", sparse);
        let lost = known.document(OCI_INDEX, json!({ "manifests": [known.pointer(OCI_MANIFEST, "absent")] }));
        known.add(algorithm, "lost", lost);
        for (name, artifact_type, subject) in [
            ("sbom", Some("application/x.sbom+json"), "image"),
            ("signature", Some("application/x.signature"), "image"),
            ("plain", None, "image"),
            ("early", Some("application/x.sbom+json"), "absent"),
        ] {
            let mut fields = json!({
                "config": known.pointer(OCI_EMPTY, "json"), "layers": [],
                "subject": known.pointer(OCI_MANIFEST, subject), "annotations": { "name": name },
            });
            if let Some(artifact_type) = artifact_type {
                fields["artifactType"] = json!(artifact_type);
            }
            let document = known.document(OCI_MANIFEST, fields);
            known.add(algorithm, name, document);
        }
        known
    }

    fn add(&mut self, algorithm: Algorithm, name: &'static str, bytes: Vec<u8>) {
        self.texts.insert(name.to_owned(), digest_with(algorithm, &bytes).to_string());
        self.bytes.insert(name, bytes);
    }

    fn pointer(&self, media_type: &str, name: &str) -> Value {
        json!({ "mediaType": media_type, "digest": self.texts[name], "size": self.bytes[name].len() })
    }

    #[expect(clippy::unused_self, reason = "reads as what is known")]
    fn document(&self, media_type: &str, mut fields: Value) -> Vec<u8> {
        fields["schemaVersion"] = json!(2);
        fields["mediaType"] = json!(media_type);
        fields.to_string().into_bytes()
    }

    fn fill(&self, text: &str) -> String {
        let mut filled = text.to_owned();
        for (name, value) in &self.texts {
            filled = filled.replace(&format!("{{{name}}}"), value);
        }
        assert!(!filled.contains('{'), "`{filled}` names something unknown");
        filled
    }
}

async fn take(harbour: &Harbour, known: &mut Known, step: &Step) {
    let Step(request, sends, status, musts) = step;
    let (method, path) = request.split_once(' ').unwrap();
    let path = known.fill(path);
    let (headers, body): (Vec<(&str, &str)>, &[u8]) = match sends {
        Sends::Nothing => (vec![], b""),
        Sends::Body(name) => (vec![("content-type", "application/octet-stream")], &known.bytes[name]),
        Sends::Range(range) => (vec![("range", range)], b""),
        Sends::Chunk(range, name) => (vec![("content-range", range)], &known.bytes[name]),
        Sends::Document(media_type, name) => (vec![("content-type", media_type)], &known.bytes[name]),
    };
    let answer = harbour.send(Method::from_bytes(method.as_bytes()).unwrap(), &path, &headers, body).await;
    let found = answer.status().as_u16();
    let headers = answer.headers().clone();
    let located = header(&answer, "location");
    let body = answer.bytes().await.unwrap();
    let says =
        format!("{method} {path}: {found} {headers:?} {}", String::from_utf8_lossy(&body[..body.len().min(300)]));
    assert_eq!(found, *status, "{says}");
    let value = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    for must in *musts {
        match must {
            Must::Header(name, expected) => assert_eq!(value(name), Some(known.fill(expected)), "{name} of {says}"),
            Must::Without(name) => assert_eq!(value(name), None, "{name} of {says}"),
            Must::Name(name, called) => {
                let value = if *name == "location" { Some(located.clone()) } else { value(name) };
                known.texts.insert((*called).to_owned(), value.filter(|value| !value.is_empty()).expect(&says));
            }
            Must::Error(code) => {
                let error: Value = serde_json::from_slice(&body).expect(&says);
                assert_eq!(error["errors"][0]["code"], *code, "{says}");
            }
            Must::Bytes(name) => assert!(body == known.bytes[name], "{name} is not what {says} gave"),
            Must::Part(name, from, to) => {
                assert!(body == known.bytes[name][*from..*to], "{name} is not what {says} gave")
            }
            Must::Json(pointer, expected) => {
                let found: Value = serde_json::from_slice(&body).expect(&says);
                let expected: Value = serde_json::from_str(&expected.replace('\'', "\"")).unwrap();
                assert_eq!(found.pointer(pointer), Some(&expected), "{pointer} of {says}");
            }
        }
    }
}

pub(crate) async fn run(tables: &[&[Step]]) {
    let mut count = 0;
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let (harbour, mut known) = (harbour().await, Known::new(algorithm));
        for step in tables.iter().copied().flatten() {
            take(&harbour, &mut known, step).await;
            count += 1 + step.3.len();
        }
        println!("{}: {count} checks so far", algorithm.name());
    }
}
