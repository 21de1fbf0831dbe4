//! Manifests and indexes as a registry serves them: one document, read one way.
//!
//! A document that could be taken for the other kind is refused here (CVE-2021-41190); it is never
//! guessed at. What the parts mean is left to `manifest` and `index`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::descriptor::DescriptorError;
use super::media_type::{DOCKER_CONFIG, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use super::raw::{self, Read};
use super::{Descriptor, Digest, Index, Manifest, MediaType, Raw, json};
use crate::diagnostic::Diagnose;

/// An image manifest or an image index, with its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a handful exist at a time; a box would be noise at every use")]
pub enum Document {
    /// One image.
    Manifest(Raw<Manifest>),
    /// The images of several platforms.
    Index(Raw<Index>),
}

/// Why bytes are not the document that they should be.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The document is larger than its kind may be; sizes are in bytes.
    #[error("{name} of {size} bytes exceeds the limit of {cap} bytes")]
    TooLarge {
        /// The kind of document.
        name: &'static str,
        /// Its size.
        size: usize,
        /// The limit.
        cap: usize,
    },
    /// The bytes are not those that were asked for.
    #[error("{name} has digest `{actual}` where `{expected}` was expected")]
    Digest {
        /// The kind of document.
        name: &'static str,
        /// The digest that was asked for.
        expected: Digest,
        /// The digest of the bytes.
        actual: Digest,
    },
    /// The bytes are not JSON, or JSON that readers read differently.
    #[error("{name} is not unambiguous JSON")]
    Json {
        /// The kind of document.
        name: &'static str,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A member is missing or of a wrong type.
    #[error("document is not a valid {name}")]
    Shape {
        /// The kind of document.
        name: &'static str,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A descriptor breaks the rules for descriptors.
    #[error("{name} holds an invalid descriptor")]
    Descriptor {
        /// The kind of document.
        name: &'static str,
        /// What is wrong.
        #[source]
        source: DescriptorError,
    },
    /// A Docker image manifest of version 2, schema 1, which has neither config nor sizes.
    #[error("document is a Docker schema 1 manifest")]
    Schema1,
    /// The document's `schemaVersion` is not 2.
    #[error("document has schema version `{0}` where 2 was expected")]
    SchemaVersion(String),
    /// The document is of one kind and was served, or names itself, as the other.
    #[error("document is ambiguous: {0}")]
    Ambiguous(String),
    /// The document's type is neither a manifest's nor an index's.
    #[error("media type `{0}` is neither an image manifest nor an image index")]
    MediaType(String),
    /// The document has the members of neither kind.
    #[error("document is neither an image manifest nor an image index")]
    Neither,
    /// The manifest has no layers (image-spec, manifest schema: at least one).
    #[error("image manifest has no layers")]
    NoLayers,
    /// A config's member has a value that the specification does not allow.
    #[error("image config member `{member}` must be {expected}")]
    Config {
        /// The member, as a dotted path.
        member: String,
        /// What it should be.
        expected: &'static str,
    },
}

impl Diagnose for DocumentError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Schema1 => "push the image again with a current tool, which converts it to schema 2 or OCI",
            Self::Digest { .. } => "the registry or a proxy before it altered the document; fetch it again",
            Self::Ambiguous(_) | Self::Json { .. } => {
                "see that a registry answers there and no login page; tools would disagree on what this document is"
            }
            Self::MediaType(_) => "name an image, not another kind of artifact",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// Which of the two kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Manifest,
    Index,
}

impl Kind {
    fn of(media_type: &MediaType) -> Option<Self> {
        match () {
            () if media_type.is_manifest() => Some(Self::Manifest),
            () if media_type.is_index() => Some(Self::Index),
            () => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Manifest => Manifest::NAME,
            Self::Index => Index::NAME,
        }
    }
}

impl Document {
    /// Parses a document, after its digest has been compared with the `expected` one.
    ///
    /// `content_type` is the header that it was served with, parameters and all. When it names a manifest or index,
    /// the document must be one; any other content type is ignored, and the document speaks for itself.
    ///
    /// # Errors
    /// Fails when the document exceeds 4 MiB, has another digest, is no unambiguous JSON, is of a wrong shape, is
    /// schema 1, or could be taken for the other kind.
    pub fn read(content_type: Option<&str>, bytes: Vec<u8>, expected: Option<&Digest>) -> Result<Self, DocumentError> {
        let digest = raw::verified::<Manifest>(&bytes, expected)?;
        let value = json::parse(&bytes).map_err(|source| DocumentError::Json { name: "document", source })?;
        let served = content_type.map(bare_type);
        if served.as_ref().is_some_and(is_schema1) {
            return Err(DocumentError::Schema1);
        }
        let served = served.filter(|media_type| Kind::of(media_type).is_some());
        let found = kind_of(&value)?;
        if let Some(wanted) = served.as_ref().and_then(Kind::of)
            && wanted != found
        {
            return Err(DocumentError::Ambiguous(format!(
                "it was served as an {} and is an {}",
                wanted.name(),
                found.name()
            )));
        }
        Ok(match found {
            Kind::Manifest => {
                let mut manifest = Manifest::from_value(value)?;
                let own = manifest.media_type.take().or(served);
                manifest.media_type = own.or_else(|| Some(type_by_config(&manifest.config)));
                Self::Manifest(Raw::joined(bytes, digest, manifest))
            }
            Kind::Index => {
                let mut index = Index::from_value(value)?;
                let own = index.media_type.take().or(served);
                index.media_type = own.or_else(|| Some(MediaType::new(OCI_INDEX)));
                Self::Index(Raw::joined(bytes, digest, index))
            }
        })
    }

    /// The bytes, exactly as they came.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Manifest(raw) => raw.bytes(),
            Self::Index(raw) => raw.bytes(),
        }
    }

    /// The digest of the bytes.
    pub fn digest(&self) -> &Digest {
        match self {
            Self::Manifest(raw) => raw.digest(),
            Self::Index(raw) => raw.digest(),
        }
    }

    /// The document's media type: its own, else the one that it was served with, else OCI's.
    pub fn media_type(&self) -> MediaType {
        let (own, default) = match self {
            Self::Manifest(raw) => (&raw.value().media_type, OCI_MANIFEST),
            Self::Index(raw) => (&raw.value().media_type, OCI_INDEX),
        };
        own.clone().unwrap_or_else(|| MediaType::new(default))
    }

    /// The annotations.
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        match self {
            Self::Manifest(raw) => &raw.value().annotations,
            Self::Index(raw) => &raw.value().annotations,
        }
    }

    /// The manifest that this document is about.
    pub fn subject(&self) -> Option<&Descriptor> {
        match self {
            Self::Manifest(raw) => raw.value().subject.as_ref(),
            Self::Index(raw) => raw.value().subject.as_ref(),
        }
    }

    /// A descriptor of the document.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type().as_str(), self.digest().clone(), self.bytes().len() as u64)
    }
}

/// The members by which readers tell the kinds apart.
const ESSENTIAL: [&str; 8] =
    ["schemaVersion", "mediaType", "config", "layers", "manifests", "fsLayers", "subject", "artifactType"];
const DESCRIPTOR: [&str; 5] = ["mediaType", "digest", "size", "urls", "platform"];

/// Refuses a value that is not a document of `kind` and of no other.
pub(super) fn is_only(kind: Kind, value: &Value) -> Result<(), DocumentError> {
    let found = kind_of(value)?;
    if found == kind {
        return Ok(());
    }
    Err(DocumentError::Ambiguous(format!("an {} was expected and it is an {}", kind.name(), found.name())))
}

fn kind_of(value: &Value) -> Result<Kind, DocumentError> {
    let object = value.as_object().ok_or(DocumentError::Neither)?;
    let version_1 = object.get("schemaVersion").and_then(Value::as_u64) == Some(1);
    if version_1 || object.keys().any(|key| key.eq_ignore_ascii_case("fsLayers")) {
        return Err(DocumentError::Schema1);
    }
    no_lookalikes(value)?;
    let named = match object.get("mediaType") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => {
            let media_type = MediaType::new(text.as_str());
            Some(Kind::of(&media_type).ok_or_else(|| DocumentError::MediaType(text.clone()))?)
        }
        Some(_) => return Err(DocumentError::Ambiguous("its media type is no text".to_owned())),
    };
    let of_manifest = object.contains_key("config") || object.contains_key("layers");
    let of_index = object.contains_key("manifests");
    let shaped = match (of_manifest, of_index) {
        (true, true) => {
            return Err(DocumentError::Ambiguous("it has the members of a manifest and of an index".to_owned()));
        }
        (true, false) => Kind::Manifest,
        (false, true) => Kind::Index,
        (false, false) => return Err(DocumentError::Neither),
    };
    match named {
        Some(named) if named != shaped => Err(DocumentError::Ambiguous(format!(
            "it calls itself an {} and has the members of an {}",
            named.name(),
            shaped.name()
        ))),
        _ => Ok(shaped),
    }
}

fn no_lookalikes(document: &Value) -> Result<(), DocumentError> {
    let mut parts = vec![(document, &ESSENTIAL[..])];
    for member in ["config", "subject"] {
        parts.extend(document.get(member).map(|part| (part, &DESCRIPTOR[..])));
    }
    for list in ["layers", "manifests"] {
        let items = document.get(list).and_then(Value::as_array).into_iter().flatten();
        parts.extend(items.map(|part| (part, &DESCRIPTOR[..])));
    }
    for (part, names) in parts {
        if let Some(key) = part.as_object().and_then(|object| json::lookalike(object, names)) {
            return Err(DocumentError::Ambiguous(format!("member `{key}` differs from a known one in case alone")));
        }
    }
    Ok(())
}

pub(super) fn schema_version_is_2(value: &Value) -> Result<(), DocumentError> {
    match value.get("schemaVersion") {
        Some(version) if version.as_u64() == Some(2) => Ok(()),
        Some(version) => Err(DocumentError::SchemaVersion(version.to_string())),
        None => Err(DocumentError::SchemaVersion("none".to_owned())),
    }
}

pub(super) fn descriptors_are_plain<'a>(
    name: &'static str,
    all: impl IntoIterator<Item = &'a Descriptor>,
) -> Result<(), DocumentError> {
    let checked = all.into_iter().try_for_each(Descriptor::check);
    checked.map_err(|source| DocumentError::Descriptor { name, source })
}

fn bare_type(content_type: &str) -> MediaType {
    let bare = content_type.split(';').next().unwrap_or_default().trim();
    MediaType::new(bare.to_ascii_lowercase())
}

fn is_schema1(media_type: &MediaType) -> bool {
    media_type.as_str().starts_with("application/vnd.docker.distribution.manifest.v1+")
}

fn type_by_config(config: &Descriptor) -> MediaType {
    MediaType::new(if config.media_type.as_str() == DOCKER_CONFIG { DOCKER_MANIFEST } else { OCI_MANIFEST })
}

#[cfg(test)]
mod tests {
    use super::super::media_type::{DOCKER_LIST, OCI_CONFIG, OCI_LAYER_GZIP};
    use super::*;

    fn manifest() -> Manifest {
        Manifest::new(Descriptor::of(OCI_CONFIG, b"{}"), vec![Descriptor::of(OCI_LAYER_GZIP, b"layer")])
    }

    fn read(content_type: Option<&str>, text: &str) -> Result<Document, DocumentError> {
        Document::read(content_type, text.as_bytes().to_vec(), None)
    }

    #[test]
    fn a_document_made_here_is_read_back_with_the_same_bytes() {
        let made = Raw::of(manifest()).unwrap();
        let read = Document::read(Some(OCI_MANIFEST), made.bytes().to_vec(), Some(made.digest())).unwrap();
        assert_eq!(read, Document::Manifest(made.clone()));
        assert_eq!(read.descriptor(), made.descriptor(OCI_MANIFEST));
        let index = Raw::of(Index::new(vec![read.descriptor()])).unwrap();
        let read = Document::read(Some("application/json; charset=utf-8"), index.bytes().to_vec(), None).unwrap();
        assert_eq!(read, Document::Index(index));
    }

    #[test]
    fn a_document_without_type_takes_the_one_that_it_was_served_with() {
        let mut plain = manifest();
        plain.media_type = None;
        let text = String::from_utf8(plain.to_bytes().unwrap()).unwrap();
        for (served, expected) in [(None, OCI_MANIFEST), (Some(DOCKER_MANIFEST), DOCKER_MANIFEST)] {
            assert_eq!(read(served, &text).unwrap().media_type().as_str(), expected);
        }
        plain.config.media_type = MediaType::new(DOCKER_CONFIG);
        let text = String::from_utf8(plain.to_bytes().unwrap()).unwrap();
        assert_eq!(read(Some("text/plain"), &text).unwrap().media_type().as_str(), DOCKER_MANIFEST);
    }

    #[test]
    fn read_names_the_condition_of_each_refusal() {
        let good = String::from_utf8(manifest().to_bytes().unwrap()).unwrap();
        let with = |member: &str| good.replacen('{', &format!("{{{member},"), 1);
        for (content_type, text, expected) in [
            (
                Some(OCI_INDEX),
                good.clone(),
                "document is ambiguous: it was served as an image index and is an image manifest",
            ),
            (
                None,
                with(r#""manifests":[]"#),
                "document is ambiguous: it has the members of a manifest and of an index",
            ),
            (
                None,
                with(r#""Layers":null"#),
                "document is ambiguous: member `Layers` differs from a known one in case alone",
            ),
            (None, with(r#""fsLayers":[]"#), "document is a Docker schema 1 manifest"),
            (
                Some("application/vnd.docker.distribution.manifest.v1+prettyjws"),
                "{}".into(),
                "document is a Docker schema 1 manifest",
            ),
            (None, with(r#""layers":[]"#), "document is not unambiguous JSON"),
            (
                None,
                r#"{"schemaVersion":2,"mediaType":"application/x","layers":[]}"#.into(),
                "media type `application/x` is neither an image manifest nor an image index",
            ),
            (
                Some(DOCKER_LIST),
                r#"{"schemaVersion":2}"#.into(),
                "document is neither an image manifest nor an image index",
            ),
            (
                None,
                r#"{"schemaVersion":"2","manifests":[]}"#.into(),
                "document has schema version `\"2\"` where 2 was expected",
            ),
            (None, r#"{"schemaVersion":2,"manifests":null}"#.into(), "document is not a valid image index"),
            (None, good.replace("gzip", "gz ip"), "image manifest holds an invalid descriptor"),
        ] {
            assert_eq!(read(content_type, &text).unwrap_err().to_string(), expected, "{text}");
        }
        assert!(read(None, r#"{"fsLayers":[]}"#).unwrap_err().hint().is_some());
    }

    #[test]
    fn read_refuses_other_bytes_than_asked_for_and_too_many() {
        let bytes = manifest().to_bytes().unwrap();
        let other = Digest::of(b"other");
        let error = Document::read(None, bytes.clone(), Some(&other)).unwrap_err();
        assert!(matches!(error, DocumentError::Digest { .. }), "{error}");
        let mut long = bytes;
        long.resize(super::super::manifest::MANIFEST_CAP + 1, b' ');
        let error = Document::read(None, long.clone(), None).unwrap_err();
        assert!(matches!(error, DocumentError::TooLarge { .. }), "{error}");
        long.pop();
        assert!(Document::read(None, long, None).is_ok());
    }
}
