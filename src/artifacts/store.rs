//! One artifact store: whether it has a file, and putting one there.
//!
//! A file is seen under its name when it is whole, and not before.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::buffered::BufWriter;
use object_store::{Error, ObjectStore, ObjectStoreExt as _};
use tokio::io::AsyncWriteExt as _;

use super::error::ArtifactError;
use super::location::Location;
use super::wire::Wire;

/// Bytes of one part of an upload; smaller files go in one request.
const PART: usize = 16 << 20;

/// An artifact store.
pub struct ArtifactStore(Kind);

enum Kind {
    Folder(PathBuf),
    Cloud { location: Location, store: Arc<dyn ObjectStore>, prefix: String, wire: Wire },
}

impl ArtifactStore {
    pub(super) fn folder(path: PathBuf) -> Self {
        Self(Kind::Folder(path))
    }

    pub(super) fn cloud(location: Location, store: Arc<dyn ObjectStore>, prefix: String, wire: Wire) -> Self {
        Self(Kind::Cloud { location, store, prefix, wire })
    }

    /// Whether the store has the file `name`, with this size in bytes.
    ///
    /// # Errors
    /// Fails when the store cannot be asked.
    pub async fn has(&self, name: &str, size: u64) -> Result<bool, ArtifactError> {
        match &self.0 {
            Kind::Folder(folder) => {
                let path = folder.join(name);
                match tokio::fs::metadata(&path).await {
                    Ok(metadata) => Ok(metadata.is_file() && metadata.len() == size),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
                    Err(source) => Err(ArtifactError::Folder { path, source }),
                }
            }
            Kind::Cloud { location, store, prefix, wire } => match store.head(&at(prefix, name)).await {
                Ok(found) => Ok(found.size == size),
                Err(Error::NotFound { .. }) => Ok(false),
                Err(_) => Err(refused(location, wire)),
            },
        }
    }

    /// Puts the file at `from` into the store as `name`.
    ///
    /// # Errors
    /// Fails when the file cannot be read or the store does not take it.
    pub async fn put(&self, name: &str, from: &Path) -> Result<(), ArtifactError> {
        match &self.0 {
            Kind::Folder(folder) => {
                let (path, from) = (folder.join(name), from.to_path_buf());
                let failed = |source| ArtifactError::Folder { path: path.clone(), source };
                let to = path.clone();
                let copied = tokio::task::spawn_blocking(move || copy(&from, &to)).await;
                copied.map_err(|error| failed(std::io::Error::other(error)))?.map_err(failed)
            }
            Kind::Cloud { location, store, prefix, wire } => {
                let unreadable = |source| ArtifactError::Folder { path: from.into(), source };
                let mut file = tokio::fs::File::open(from).await.map_err(unreadable)?;
                let mut writer = BufWriter::with_capacity(Arc::clone(store), at(prefix, name), PART);
                let sent = async {
                    tokio::io::copy(&mut file, &mut writer).await?;
                    writer.shutdown().await
                };
                sent.await.map_err(|_| refused(location, wire))
            }
        }
    }
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let folder = to.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    std::io::copy(&mut std::fs::File::open(from)?, &mut file)?;
    // Others fetch it: no secret is meant to be in it, and the folder's own mode decides.
    file.as_file().set_permissions(Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(to).map_err(|error| error.error)?;
    Ok(())
}

fn at(prefix: &str, name: &str) -> object_store::path::Path {
    object_store::path::Path::from(if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") })
}

fn refused(location: &Location, wire: &Wire) -> ArtifactError {
    let what = wire.last().unwrap_or_else(|| "its answer makes no sense".to_owned());
    ArtifactError::Refused { location: location.to_string(), what }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_takes_a_file_whole_and_knows_it() {
        let root = tempfile::tempdir().unwrap();
        let from = root.path().join("archive");
        std::fs::write(&from, "content").unwrap();
        let store = ArtifactStore::folder(root.path().join("a/b"));
        assert!(!store.has("c/x.tar.gz", 7).await.unwrap());
        store.put("c/x.tar.gz", &from).await.unwrap();
        assert!(store.has("c/x.tar.gz", 7).await.unwrap());
        // One that broke off under another program's hands is written again.
        assert!(!store.has("c/x.tar.gz", 8).await.unwrap());
        let placed = root.path().join("a/b/c/x.tar.gz");
        assert_eq!(std::fs::read(&placed).unwrap(), b"content");
        assert_eq!(placed.metadata().unwrap().permissions().mode() & 0o777, 0o644);
        assert!(matches!(store.put("c", &from).await, Err(ArtifactError::Folder { .. })));
    }
}
