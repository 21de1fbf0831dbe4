//! Code in an artifact store: the archive, its name, and its upload.
//!
//! The name is the archive's own digest: one that is there is never written again, and whoever fetches it can check it.

use std::fmt;
use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::artifacts::Location;
use crate::event::Event;
use crate::inputs::source::{SourceTree, write_archive};
use crate::layer::{FinishedLayer, LayerWriter};
use crate::oci::Digest;

use super::code::{Code, CodeDelivery};
use super::error::OpsError;
use super::means::Means;
use super::request::BuildRequest;

/// The folder of the store that archives are put into, as ZenML names it.
const FOLDER: &str = "code_uploads";

/// Code in an artifact store.
#[derive(Clone)]
pub struct ArchivedCode {
    /// Where a container fetches it.
    pub uri: String,
    /// SHA-256 of the archive, in its name too.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it was there when the build was planned.
    pub is_there: bool,
    location: Location,
    name: String,
    file: PathBuf,
    /// Removed with the last clone.
    _folder: Arc<TempDir>,
    uploaded: Arc<OnceCell<()>>,
}

impl fmt::Debug for ArchivedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchivedCode").field("uri", &self.uri).field("is_there", &self.is_there).finish_non_exhaustive()
    }
}

/// Writes the archive of `tree` beside the store's files, and asks the artifact store `place` whether it has it.
///
/// # Errors
/// Fails when a file changed since it was walked, and when the store cannot be asked.
pub(super) async fn make(
    means: &Means,
    request: &BuildRequest,
    place: &str,
    tree: &Arc<SourceTree>,
) -> Result<ArchivedCode, OpsError> {
    let location = Location::parse(place, &request.folder)?;
    let store = means.artifacts.open(&location).await?;
    let folder = Arc::new(means.store.scratch()?);
    let file = folder.path().join("code.tar.gz");
    let (tree, root, path) = (Arc::clone(tree), request.source_root.clone(), file.clone());
    let written = tokio::task::spawn_blocking(move || write(&tree, &root, path)).await.map_err(OpsError::Worker)??;
    let (digest, size) = (written.descriptor.digest, written.descriptor.size);
    let name = format!("{FOLDER}/{}.tar.gz", digest.hex());
    let is_there = store.has(&name, size).await?;
    let uri = location.uri(&name);
    Ok(ArchivedCode { uri, digest, size, is_there, location, name, file, _folder: folder, uploaded: Arc::default() })
}

fn write(tree: &SourceTree, root: &std::path::Path, path: PathBuf) -> Result<FinishedLayer, OpsError> {
    let failed = |source| OpsError::WriteFile { path: path.clone(), source };
    let mut writer = LayerWriter::new(BufWriter::new(File::create(&path).map_err(failed)?));
    write_archive(tree, root, &mut writer)?;
    let (finished, sink) = writer.finish()?;
    sink.into_inner().map_err(|error| failed(error.into_error()))?;
    Ok(finished)
}

/// Uploads the code's archive, if there is one and the store lacks it.
///
/// # Errors
/// Fails when the store does not take it.
pub(super) async fn deliver(means: &Means, code: &Code) -> Result<(), OpsError> {
    let CodeDelivery::Archive(archived) = &code.delivery else { return Ok(()) };
    if archived.is_there {
        return Ok(());
    }
    let upload = || async {
        let store = means.artifacts.open(&archived.location).await?;
        store.put(&archived.name, &archived.file).await?;
        let text = format!("uploaded the code, {} bytes, to {}", archived.size, archived.uri);
        means.reporter.report(Event::Note { text });
        Ok(())
    };
    archived.uploaded.get_or_try_init(upload).await.copied()
}
