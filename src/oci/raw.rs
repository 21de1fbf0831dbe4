//! A document together with the bytes it came in.
//!
//! Nothing is ever written from a parsed value when its bytes are at hand: bytes are the truth.

use super::document::DocumentError;
use super::{Descriptor, Digest, Digester};

/// A kind of document that can be read from bytes and written to bytes.
pub trait Read: Sized {
    /// What errors call it: `image manifest`...
    const NAME: &'static str;
    /// The most bytes that one may have.
    const CAP: usize;

    /// Parses the bytes of one document.
    ///
    /// # Errors
    /// Fails when the bytes are no such document, or one that different readers would read differently.
    fn read(bytes: &[u8]) -> Result<Self, DocumentError>;

    /// The bytes of a document made here: equal documents give equal bytes.
    ///
    /// # Errors
    /// Fails when the value cannot be serialised, which no value of the library's own types does.
    fn to_bytes(&self) -> Result<Vec<u8>, DocumentError>;
}

/// A document that was parsed once, with the bytes received and their digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw<T> {
    bytes: Vec<u8>,
    digest: Digest,
    value: T,
}

impl<T: Read> Raw<T> {
    /// Parses `bytes` after their digest has been compared with the `expected` one; without one the digest is SHA-256.
    ///
    /// # Errors
    /// Fails when the bytes exceed the kind's cap, have another digest, or are no such document.
    pub fn read(bytes: Vec<u8>, expected: Option<&Digest>) -> Result<Self, DocumentError> {
        let digest = verified::<T>(&bytes, expected)?;
        let value = T::read(&bytes)?;
        Ok(Self { bytes, digest, value })
    }

    /// Takes a document made here, and its bytes.
    ///
    /// # Errors
    /// Fails when the value cannot be serialised.
    pub fn of(value: T) -> Result<Self, DocumentError> {
        let bytes = value.to_bytes()?;
        Ok(Self { digest: Digest::of(&bytes), bytes, value })
    }
}

impl<T> Raw<T> {
    /// Joins a value to bytes that the caller has parsed and verified.
    pub(super) fn joined(bytes: Vec<u8>, digest: Digest, value: T) -> Self {
        Self { bytes, digest, value }
    }

    /// The bytes, exactly as they came.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The digest of the bytes.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// What the bytes say.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The parts: bytes and value.
    pub fn into_parts(self) -> (Vec<u8>, T) {
        (self.bytes, self.value)
    }

    /// A descriptor of the bytes as `media_type`.
    pub fn descriptor(&self, media_type: &str) -> Descriptor {
        Descriptor::new(media_type, self.digest.clone(), self.bytes.len() as u64)
    }
}

/// The digest of `bytes`, once they are known to fit under the cap of `T` and to be the expected ones.
pub(super) fn verified<T: Read>(bytes: &[u8], expected: Option<&Digest>) -> Result<Digest, DocumentError> {
    if bytes.len() > T::CAP {
        return Err(DocumentError::TooLarge { name: T::NAME, size: bytes.len(), cap: T::CAP });
    }
    let Some(expected) = expected else { return Ok(Digest::of(bytes)) };
    let mut digester = Digester::new(expected.algorithm());
    digester.update(bytes);
    let actual = digester.finish();
    if actual != *expected {
        return Err(DocumentError::Digest { name: T::NAME, expected: expected.clone(), actual });
    }
    Ok(actual)
}
