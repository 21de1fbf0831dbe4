//! Why an image could not be copied.
//!
//! What a registry or a file refuses passes through with its own message.

use crate::diagnostic::{Class, Diagnose};
use crate::oci::Digest;

/// Why an image could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A text names no place.
    #[error("`{0}` names no place of an image")]
    Locator(String),
    /// The source has no such image.
    #[error("`{0}` does not exist")]
    NoSource(String),
    /// A document refers to one that the source does not have.
    #[error("`{reference}` refers to `{digest}`, which is not there")]
    Missing {
        /// The source.
        reference: String,
        /// What it lacks.
        digest: Digest,
    },
    /// A document is of another kind or size than what refers to it says.
    #[error("`{digest}` of `{reference}` is {found}, and what refers to it says {said}")]
    Differs {
        /// The source.
        reference: String,
        /// The document or blob.
        digest: Digest,
        /// What it is.
        found: String,
        /// What is said of it.
        said: String,
    },
    /// An image of more documents than are ever taken.
    #[error("`{reference}` consists of more than {limit} documents")]
    TooMany {
        /// The source.
        reference: String,
        /// The limit.
        limit: usize,
    },
    /// Indexes in indexes, or referrers of referrers, without end.
    #[error("the documents of `{reference}` refer to each other in more than {limit} steps")]
    TooDeep {
        /// The source.
        reference: String,
        /// The limit.
        limit: usize,
    },
    /// The source does not serve a platform.
    #[error("`{reference}` has no image for `{wanted}`; it has {have}")]
    Platform {
        /// The source.
        reference: String,
        /// The platform asked for.
        wanted: String,
        /// The platforms there are.
        have: String,
    },
    /// A target is a digest, and not the source's.
    #[error("target `{target}` asks for another digest than the source has, `{found}`")]
    OtherDigest {
        /// The target.
        target: String,
        /// Its digest.
        asked: Digest,
        /// The digest of what is copied.
        found: Digest,
    },
    /// An archive has no room for referrers.
    #[error("`{0}` cannot hold referrers")]
    ReferrersInArchive(String),
    /// All tags are asked for of something else than a repository.
    #[error("`--all-tags` copies a repository, and `{0}` is none")]
    AllTagsOf(String),
    /// The tags of a repository cannot keep their names at a target.
    #[error("`--all-tags` copies every tag under its own name, and target `{0}` has one already, or holds one image")]
    AllTagsTo(String),
    /// The repository has no tags.
    #[error("`{0}` has no tags, or does not exist")]
    NoTags(String),
}

impl Diagnose for CopyError {
    fn class(&self) -> Class {
        match self {
            Self::Locator(_) | Self::OtherDigest { .. } | Self::ReferrersInArchive(_) => Class::Usage,
            Self::AllTagsOf(_) | Self::AllTagsTo(_) => Class::Usage,
            _ => Class::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Locator(_) => "write `registry/name:tag`, `oci:DIR[:tag]` or `docker-archive:FILE[:name:tag]`",
            Self::NoSource(_) | Self::NoTags(_) => {
                "see that the name and tag are right, and that the registry lets you pull it"
            }
            Self::Missing { .. } => "the source is not whole; `--platform` copies a part of it",
            Self::Differs { .. } | Self::TooMany { .. } | Self::TooDeep { .. } => {
                "tools would disagree on what this image is; have it pushed anew"
            }
            Self::Platform { .. } => "choose one of these with `--platform`, or leave it out to copy all",
            Self::OtherDigest { .. } => "name a tag; a digest cannot be chosen",
            Self::ReferrersInArchive(_) => "write an OCI layout with `oci:DIR`",
            Self::AllTagsOf(_) => "write `registry/name` without a tag",
            Self::AllTagsTo(_) => "write `registry/name` or `oci:DIR`, without a tag",
        };
        Some(text.to_owned())
    }
}
