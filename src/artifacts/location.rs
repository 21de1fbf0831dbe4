//! Where an artifact store is: its text, taken apart.
//!
//! Whether it is there is not asked.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use super::error::ArtifactError;

/// The place of an artifact store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// As it was written, without slashes at its end; absolute for a folder.
    text: String,
    place: Place,
}

/// What kind of place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A folder.
    Folder(PathBuf),
    /// A bucket of Amazon S3 or a server with its API, and the path in it.
    S3 {
        /// The bucket.
        bucket: String,
        /// The path, without slashes around it.
        prefix: String,
    },
    /// A bucket of Google Cloud Storage, and the path in it.
    Google {
        /// The bucket.
        bucket: String,
        /// The path, without slashes around it.
        prefix: String,
    },
    /// A container of Azure Blob Storage, and the path in it.
    Azure {
        /// The container.
        container: String,
        /// The path, without slashes around it.
        prefix: String,
    },
}

impl Location {
    /// Reads a folder (relative ones start from `folder`), `s3://`, `gs://`, or `az://` and `abfs://`, as ZenML writes them.
    ///
    /// # Errors
    /// Fails for other schemes, without a bucket, and for a URI that holds what may be a secret.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, ArtifactError> {
        let local = |path: &Path| {
            let path = plain(&folder.join(path));
            Self { text: path.display().to_string().trim_end_matches('/').to_owned(), place: Place::Folder(path) }
        };
        let Some((scheme, rest)) = text.split_once("://") else {
            return if text.is_empty() { Err(ArtifactError::Form(text.into())) } else { Ok(local(Path::new(text))) };
        };
        if rest.contains(['?', '#', '@']) {
            return Err(ArtifactError::Secret);
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let refused = || ArtifactError::Form(text.to_owned());
        let is_whole = |part: &str| part.is_empty() || part.split('/').all(|part| !matches!(part, "" | "." | ".."));
        let (bucket, prefix) = (bucket.to_owned(), prefix.trim_end_matches('/').to_owned());
        let place = match scheme {
            "file" if rest.starts_with('/') => return Ok(local(Path::new(rest))),
            _ if bucket.is_empty() || bucket.contains(':') || !is_whole(&prefix) => return Err(refused()),
            "s3" => Place::S3 { bucket, prefix },
            "gs" => Place::Google { bucket, prefix },
            "az" | "abfs" => Place::Azure { container: bucket, prefix },
            _ => return Err(refused()),
        };
        Ok(Self { text: text.trim_end_matches('/').to_owned(), place })
    }

    /// What kind of place it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The URI, or the path, of the file `name` in the store.
    pub fn uri(&self, name: &str) -> String {
        format!("{}/{name}", self.text)
    }
}

/// The path without `.` and `..`, by its text alone: it is recorded, and read on other machines.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        let parse = |text: &str| Location::parse(text, Path::new("/here"));
        for (text, uri) in [
            ("artifacts/", "/here/artifacts/x"),
            ("../a/./b", "/a/b/x"),
            ("/srv/artifacts", "/srv/artifacts/x"),
            ("file:///srv/a", "/srv/a/x"),
            ("s3://bucket", "s3://bucket/x"),
            ("s3://bucket/a/b/", "s3://bucket/a/b/x"),
            ("gs://bucket/a", "gs://bucket/a/x"),
            ("abfs://container/a", "abfs://container/a/x"),
        ] {
            assert_eq!(parse(text).unwrap().uri("x"), uri);
        }
        let place = parse("az://container/a/b/").unwrap().place().clone();
        assert_eq!(place, Place::Azure { container: "container".into(), prefix: "a/b".into() });
        for text in ["", "s3://", "s3:///a", "ftp://host/a", "s3://b/../c", "file://host/a", "gs://b//c", "s3://b:1/c"]
        {
            assert!(matches!(parse(text), Err(ArtifactError::Form(_))), "{text}");
        }
        for text in ["s3://key:secret@bucket/a", "az://c/a?sig=secret"] {
            assert!(matches!(parse(text), Err(ArtifactError::Secret)), "{text}");
        }
    }
}
