//! Answers: how outcomes look in HTTP.
//!
//! Error codes are those of distribution-spec, "Error Codes"; nothing here touches the disk.

use std::io;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use hyper::{Response, StatusCode};

use crate::store::StoreError;

/// The body of an answer.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;
/// An answer.
pub(super) type Answer = Response<Body>;

/// A refused request: status, code and one sentence.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    headers: Vec<(HeaderName, String)>,
}

/// A `code` of distribution-spec with the status that goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    BlobUnknown,
    UploadInvalid,
    UploadUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    RangeInvalid,
    SizeInvalid,
    TagInvalid,
    TooLarge,
    MediaTypeUnsupported,
    Unauthorized,
    TooMany,
    Unsupported,
    NotFound,
}

impl Code {
    fn parts(self) -> (StatusCode, &'static str) {
        match self {
            Self::BlobUnknown => (StatusCode::NOT_FOUND, "BLOB_UNKNOWN"),
            Self::UploadInvalid => (StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID"),
            Self::UploadUnknown => (StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"),
            Self::DigestInvalid => (StatusCode::BAD_REQUEST, "DIGEST_INVALID"),
            Self::ManifestBlobUnknown => (StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN"),
            Self::ManifestInvalid => (StatusCode::BAD_REQUEST, "MANIFEST_INVALID"),
            Self::ManifestUnknown => (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
            Self::NameInvalid => (StatusCode::BAD_REQUEST, "NAME_INVALID"),
            Self::NameUnknown => (StatusCode::NOT_FOUND, "NAME_UNKNOWN"),
            Self::RangeInvalid => (StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID"),
            Self::SizeInvalid => (StatusCode::BAD_REQUEST, "SIZE_INVALID"),
            Self::TagInvalid => (StatusCode::BAD_REQUEST, "TAG_INVALID"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID"),
            Self::MediaTypeUnsupported => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "MANIFEST_INVALID"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "UNAUTHORIZED"),
            Self::TooMany => (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
            Self::Unsupported => (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED"),
            Self::NotFound => (StatusCode::NOT_FOUND, "UNSUPPORTED"),
        }
    }

    /// Refuses with this code.
    pub(super) fn refuse(self, message: impl Into<String>) -> Refusal {
        let (status, code) = self.parts();
        Refusal { status, code, message: message.into(), headers: Vec::new() }
    }
}

impl Refusal {
    /// Says where the sender may go on.
    pub(super) fn at(self, location: String) -> Self {
        self.with(LOCATION, location)
    }

    /// Adds a header to the answer.
    pub(super) fn with(mut self, name: HeaderName, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The answer to send.
    pub(super) fn into_answer(self) -> Answer {
        let error = serde_json::json!({ "code": self.code, "message": self.message });
        let body = serde_json::json!({ "errors": [error] }).to_string();
        let answer = with_bytes(self.status, "application/json", body.into_bytes());
        self.headers.into_iter().fold(answer, |answer, (name, value)| header(answer, name, &value))
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        // A full disk is no passing fault: 507 is not among what clients retry.
        let status = match error {
            StoreError::Full { .. } => StatusCode::INSUFFICIENT_STORAGE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Self { status, code: "UNKNOWN", message: format!("{error}{cause}"), headers: Vec::new() }
    }
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync());
    *answer.status_mut() = status;
    answer
}

/// An answer with a body in memory.
pub(super) fn with_bytes(status: StatusCode, media_type: &str, bytes: Vec<u8>) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed_unsync());
    *answer.status_mut() = status;
    header(answer, CONTENT_TYPE, media_type)
}

/// An answer whose body has `length` bytes; for HEAD the body is empty and the length still told.
pub(super) fn with_body(status: StatusCode, length: u64, body: Option<Body>) -> Answer {
    let mut answer = empty(status);
    if let Some(body) = body {
        *answer.body_mut() = body;
    }
    answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    answer
}

/// The answer with one header more; a value that no header can hold is left out.
pub(super) fn header(mut answer: Answer, name: impl Into<HeaderName>, value: &str) -> Answer {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().append(name.into(), value);
    }
    answer
}

/// `Docker-Content-Digest`.
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
