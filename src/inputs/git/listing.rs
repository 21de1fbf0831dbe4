//! The files of a folder as git knows them: tracked, in submodules, and new ones that are not ignored.
//!
//! Nothing is read here but names; whether a file is still there is found out by whoever reads it.

use super::checkout::Checkout;
use super::error::GitError;
use crate::layer::EntryPath;

/// The files of a folder, by paths below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Tracked files, those of submodules, and files that are neither tracked nor ignored; unsorted.
    pub files: Vec<EntryPath>,
    /// What is ignored; of a folder that is ignored whole, the folder alone.
    pub ignored: Vec<EntryPath>,
    /// Repositories inside that are no submodules, whose files git does not list.
    pub repositories: Vec<EntryPath>,
}

impl Checkout {
    /// Lists the folder.
    ///
    /// # Errors
    /// Fails when git does.
    pub async fn files(&self) -> Result<Listing, GitError> {
        // Two calls: git recurses into submodules for tracked files alone.
        let tracked = self.ask(&["ls-files", "-z", "--cached", "--recurse-submodules"]).await?;
        let others = self.ask(&["ls-files", "-z", "--others", "--exclude-standard"]).await?;
        let ignored =
            self.ask(&["ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory"]).await?;
        let mut listing = Listing::default();
        for name in names(&tracked).chain(names(&others)) {
            match name.strip_suffix(b"/") {
                Some(repository) => listing.repositories.push(EntryPath::parse(repository)?),
                None => listing.files.push(EntryPath::parse(name)?),
            }
        }
        for name in names(&ignored) {
            // A folder that is ignored as a whole is named `./`.
            listing.ignored.extend(EntryPath::parse(name.strip_suffix(b"/").unwrap_or(name)));
        }
        Ok(listing)
    }
}

fn names(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == 0).filter(|name| !name.is_empty())
}
