//! Where an image is or goes: a registry, an OCI layout, a docker archive.
//!
//! Words only; nothing is opened.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::oci::{Digest, Reference, is_tag};

use super::super::error::OpsError;
use super::error::CopyError;

/// Where an image is or goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Locator {
    /// In a registry.
    Registry(Reference),
    /// In an OCI image layout: `oci:DIR[:tag][@digest]`.
    OciLayout {
        /// The folder.
        path: PathBuf,
        /// The image's name in the layout's index.
        tag: Option<String>,
        /// Its digest.
        digest: Option<Digest>,
    },
    /// In a file as `docker save` writes it: `docker-archive:FILE[:name:tag]`.
    DockerArchive {
        /// The file.
        path: PathBuf,
        /// The image's names in the archive.
        names: Vec<Reference>,
    },
}

impl Locator {
    /// Parses a place; relative paths start from `folder`.
    ///
    /// # Errors
    /// Fails when the text is neither a reference nor one of the two forms with a prefix.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, OpsError> {
        if let Some(rest) = text.strip_prefix("oci:") {
            return layout(rest, folder).ok_or_else(|| CopyError::Locator(text.to_owned()).into());
        }
        if let Some(rest) = text.strip_prefix("docker-archive:") {
            let (path, name) = rest.split_once(':').map_or((rest, None), |(path, name)| (path, Some(name)));
            if path.is_empty() {
                return Err(CopyError::Locator(text.to_owned()).into());
            }
            let names = name.map(Reference::parse).transpose()?.into_iter().collect();
            return Ok(Self::DockerArchive { path: folder.join(path), names });
        }
        Ok(Self::Registry(Reference::written(text)?))
    }

    /// The registry's name, when it is one.
    pub fn domain(&self) -> Option<&str> {
        match self {
            Self::Registry(reference) => Some(reference.domain()),
            Self::OciLayout { .. } | Self::DockerArchive { .. } => None,
        }
    }

    /// The same place with a tag, where it has none.
    pub(super) fn named(&self, tag: &str) -> Result<Self, OpsError> {
        match self {
            Self::Registry(reference) if reference.tag().is_none() && reference.digest().is_none() => {
                Ok(Self::Registry(reference.with_tag(tag)?))
            }
            Self::OciLayout { path, tag: None, digest: None } => {
                Ok(Self::OciLayout { path: path.clone(), tag: Some(tag.to_owned()), digest: None })
            }
            _ => Err(CopyError::AllTagsTo(self.to_string()).into()),
        }
    }

    /// The place with the digest of what it holds.
    pub(super) fn pinned(&self, digest: &Digest) -> String {
        match self {
            Self::Registry(reference) => format!("{}@{digest}", reference.repository()),
            Self::OciLayout { path, .. } => format!("oci:{}@{digest}", path.display()),
            Self::DockerArchive { path, .. } => format!("docker-archive:{}@{digest}", path.display()),
        }
    }

    /// The names that an image has there.
    pub(super) fn names(&self) -> Vec<String> {
        match self {
            Self::Registry(reference) => reference.tag().map(str::to_owned).into_iter().collect(),
            Self::OciLayout { tag, .. } => tag.iter().cloned().collect(),
            Self::DockerArchive { names, .. } => names.iter().map(Reference::to_string).collect(),
        }
    }
}

/// `DIR[:tag][@digest]`. What follows the last colon is a tag when it can be one, and part of the path otherwise.
fn layout(rest: &str, folder: &Path) -> Option<Locator> {
    let (rest, digest) = match rest.rsplit_once('@').map(|(path, text)| (path, Digest::parse(text))) {
        Some((path, Ok(digest))) => (path, Some(digest)),
        // A path may have an `@`; what claims to be a digest has to be one.
        Some((_, Err(_))) if rest.contains("@sha256:") || rest.contains("@sha512:") => return None,
        _ => (rest, None),
    };
    let (path, tag) = match rest.rsplit_once(':') {
        Some((path, tag)) if is_tag(tag) => (path, Some(tag.to_owned())),
        _ => (rest, None),
    };
    (!path.is_empty()).then(|| Locator::OciLayout { path: folder.join(path), tag, digest })
}

impl fmt::Display for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => reference.fmt(f),
            Self::OciLayout { path, tag, digest } => {
                write!(f, "oci:{}", path.display())?;
                tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
                digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
            }
            Self::DockerArchive { path, names } => {
                write!(f, "docker-archive:{}", path.display())?;
                names.first().map_or(Ok(()), |name| write!(f, ":{name}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart_by_their_prefix() {
        let hex = "a".repeat(64);
        for (text, shown) in [
            ("alpine:3", "docker.io/library/alpine:3".to_owned()),
            ("oci:out", "oci:/at/out".to_owned()),
            ("oci:out:v1", "oci:/at/out:v1".to_owned()),
            ("oci:/a/b:c/d", "oci:/a/b:c/d".to_owned()),
            (&format!("oci:out@sha256:{hex}"), format!("oci:/at/out@sha256:{hex}")),
            (&format!("oci:out:1@sha256:{hex}"), format!("oci:/at/out:1@sha256:{hex}")),
            ("oci:with@sign", "oci:/at/with@sign".to_owned()),
            ("docker-archive:x.tar", "docker-archive:/at/x.tar".to_owned()),
            ("docker-archive:x.tar:app:2", "docker-archive:/at/x.tar:docker.io/library/app:2".to_owned()),
        ] {
            assert_eq!(Locator::parse(text, Path::new("/at")).unwrap().to_string(), shown, "{text}");
        }
        for text in ["oci:", "oci::tag", "oci:out@sha256:12", "docker-archive:", "docker-archive::x", "host/UPPER", ""]
        {
            assert!(Locator::parse(text, Path::new("/at")).is_err(), "{text}");
        }
    }
}
