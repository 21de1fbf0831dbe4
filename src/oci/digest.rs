//! Content digests and the hashers that make them.
//!
//! This module does not decide where a digest has to be checked; the readers that take an
//! expected [`Digest`] do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

use super::sha256::Sha256;

/// A hash algorithm that OCI registers for digests (image-spec, descriptor.md, "Registered algorithms").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, 64 hexadecimal characters.
    Sha256,
    /// SHA-384, 96 hexadecimal characters; known to Docker's tools though not registered.
    Sha384,
    /// SHA-512, 128 hexadecimal characters.
    Sha512,
}

impl Algorithm {
    /// The name before the colon.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha384 => 96,
            Self::Sha512 => 128,
        }
    }
}

/// The digest of a blob or document: `algorithm:hex`, lower case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    text: Box<str>,
    algorithm: Algorithm,
}

/// Why a text is not a digest.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DigestError {
    /// The text has no `algorithm:` in front.
    #[error("digest `{0}` is not of the form `algorithm:hex`")]
    Form(String),
    /// The algorithm is none that OCI registers.
    #[error("digest `{0}` uses an unknown algorithm")]
    Algorithm(String),
    /// The part after the colon is not lower-case hexadecimal of the algorithm's length.
    #[error("digest `{0}` does not hold lower-case hexadecimal of the algorithm's length")]
    Hex(String),
}

impl Digest {
    /// Parses `algorithm:hex`.
    ///
    /// # Errors
    /// Fails when the algorithm is not registered or the rest is not lower-case hexadecimal of its length.
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        let (name, hex) = text.split_once(':').ok_or_else(|| DigestError::Form(text.into()))?;
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha384" => Algorithm::Sha384,
            "sha512" => Algorithm::Sha512,
            _ => return Err(DigestError::Algorithm(text.into())),
        };
        let is_hex = hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if hex.len() != algorithm.hex_len() || !is_hex {
            return Err(DigestError::Hex(text.into()));
        }
        Ok(Self { text: text.into(), algorithm })
    }

    /// The SHA-256 digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut digester = Digester::sha256();
        digester.update(bytes);
        digester.finish()
    }

    /// The whole text, `algorithm:hex`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The hexadecimal part.
    pub fn hex(&self) -> &str {
        &self.text[self.algorithm.name().len() + 1..]
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The first twelve hexadecimal characters, for people.
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// The digest of a layer's uncompressed tar; a type of its own so that it is never taken for a blob's digest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiffId(pub Digest);

impl fmt::Display for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A running hash over bytes that pass by.
#[derive(Clone)]
pub struct Digester(State);

#[derive(Clone)]
enum State {
    Sha256(Sha256),
    Sha384(sha2::Sha384),
    Sha512(sha2::Sha512),
}

impl State {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(state) => state.update(bytes),
            Self::Sha384(state) => state.update(bytes),
            Self::Sha512(state) => state.update(bytes),
        }
    }
}

impl Digester {
    /// Starts a hash with `algorithm`.
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha384 => State::Sha384(sha2::Sha384::new()),
            Algorithm::Sha512 => State::Sha512(sha2::Sha512::new()),
        })
    }

    /// Starts a SHA-256, the algorithm of every digest that Lapstrake makes.
    pub fn sha256() -> Self {
        Self::new(Algorithm::Sha256)
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Takes `bytes` and lets `twin` take them too, while `other` takes `others`. In one pass, as far as both reach,
    /// that costs little more than one hash when all are SHA-256 and what `self` and `twin` took so far differs by a
    /// multiple of 64 bytes.
    ///
    /// That is so for a file's content in a tar and alone, because content begins at a multiple of 512 there.
    pub fn update_beside(&mut self, twin: Option<&mut Self>, bytes: &[u8], other: &mut Self, others: &[u8]) {
        let twin = match twin.map(|twin| &mut twin.0) {
            Some(State::Sha256(twin)) => Some(twin),
            Some(twin) => {
                twin.update(bytes);
                None
            }
            None => None,
        };
        match (&mut self.0, &mut other.0) {
            (State::Sha256(one), State::Sha256(other)) => one.update_beside(twin, bytes, other, others),
            (one, other) => {
                one.update(bytes);
                if let Some(twin) = twin {
                    twin.update(bytes);
                }
                other.update(others);
            }
        }
    }

    /// Ends the hash.
    pub fn finish(self) -> Digest {
        match self.0 {
            State::Sha256(state) => digest_of(Algorithm::Sha256, &state.finish()),
            State::Sha384(state) => digest_of(Algorithm::Sha384, &state.finalize()),
            State::Sha512(state) => digest_of(Algorithm::Sha512, &state.finalize()),
        }
    }
}

fn digest_of(algorithm: Algorithm, hash: &[u8]) -> Digest {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(algorithm.name().len() + 1 + hash.len() * 2);
    text.push_str(algorithm.name());
    text.push(':');
    for byte in hash {
        text.push(char::from(HEX[usize::from(byte >> 4)]));
        text.push(char::from(HEX[usize::from(byte & 15)]));
    }
    Digest { text: text.into(), algorithm }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_of_known_input_matches_fips_180() {
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(b"abc").as_str(), abc);
        let mut digester = Digester::new(Algorithm::Sha512);
        digester.update(b"abc");
        assert!(digester.finish().hex().starts_with("ddaf35a193617aba"));
    }

    #[test]
    fn parse_refuses_what_is_no_digest() {
        let upper = format!("sha256:{}", "A".repeat(64));
        for text in ["", "sha256", "sha256:", "sha256:ab", "md5:d41d8cd98f00b204e9800998ecf8427e", &upper] {
            assert!(Digest::parse(text).is_err(), "{text}");
        }
        assert!(Digest::parse(&format!("sha512:{}", "0".repeat(128))).is_ok());
    }
}
