//! Upkeep: how much the store holds, whether it is whole, and making it smaller.
//!
//! Times are given by the caller; this module reads no clock.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rayon::prelude::*;

use super::{Store, StoreError, blobs, folder, records};
use crate::oci::Digest;

/// What a running build may still need: everything used this recently.
const IN_USE: Duration = Duration::from_secs(24 * 60 * 60);

/// How much of one kind the store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KindUsage {
    /// `blobs`, `temporary`, or `records/` and the kind.
    pub kind: String,
    /// Files.
    pub entries: u64,
    /// Bytes in them.
    pub bytes: u64,
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Entries read.
    pub entries: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Entries that are not what their name says, in order of their paths.
    pub damaged: Vec<Damaged>,
}

/// One damaged entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Its file.
    pub path: PathBuf,
    /// How it is damaged.
    pub damage: Damage,
}

/// How an entry is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The bytes do not match the name or the checksum.
    Content,
    /// It is a link, a folder or another special file.
    Kind,
    /// Its name is none that the store gives.
    Name,
}

/// What a prune removes.
#[derive(Clone, Copy, Debug)]
pub struct PruneOptions {
    /// The time now; ages are counted from it.
    pub now: SystemTime,
    /// Remove what was not used for longer than this.
    pub older_than: Option<Duration>,
    /// Then remove what was not used for longest, until at most this many bytes are left.
    pub keep_bytes: Option<u64>,
    /// Remove everything.
    pub everything: bool,
}

/// What a prune did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Entries removed.
    pub entries: u64,
    /// Bytes freed.
    pub bytes: u64,
    /// Bytes left.
    pub left: u64,
    /// Entries that were to go and stayed, because builds were running and may need them.
    pub kept_in_use: u64,
}

struct Entry {
    path: PathBuf,
    name: String,
    kind: String,
    is_file: bool,
    size: u64,
    used: SystemTime,
}

impl Store {
    /// How much the store holds, by kind, in order of the kinds.
    ///
    /// # Errors
    /// Fails when a folder cannot be listed.
    pub fn usage(&self) -> Result<Vec<KindUsage>, StoreError> {
        let mut kinds = BTreeMap::<String, KindUsage>::new();
        for entry in self.entries()?.into_iter().chain(self.temporaries()?) {
            let usage = kinds.entry(entry.kind.clone()).or_default();
            usage.kind = entry.kind;
            usage.entries += 1;
            usage.bytes += entry.size;
        }
        Ok(kinds.into_values().collect())
    }

    /// Reads every entry, on all cores; removes the damaged ones when asked.
    ///
    /// # Errors
    /// Fails when an entry cannot be read or removed.
    pub fn verify(&self, remove: bool) -> Result<Verified, StoreError> {
        let entries = self.entries()?;
        let damages: Vec<_> = entries.par_iter().map(damage).collect::<Result<_, _>>()?;
        let mut report = Verified::default();
        for (entry, damage) in entries.into_iter().zip(damages) {
            report.entries += 1;
            report.bytes += entry.size;
            if let Some(damage) = damage {
                if remove {
                    folder::remove(&entry.path)?;
                }
                report.damaged.push(Damaged { path: entry.path, damage });
            }
        }
        Ok(report)
    }

    /// Removes entries. No running build fails: see the module's words on other processes.
    ///
    /// # Errors
    /// Fails when a folder cannot be listed or an entry cannot be removed.
    pub fn prune(&self, options: &PruneOptions) -> Result<Pruned, StoreError> {
        let alone = Arc::strong_count(&self.inner) == 1 && self.inner.try_alone()?;
        let pruned = self.prune_locked(options, alone);
        self.inner.share()?;
        self.forget_verified();
        pruned
    }

    fn prune_locked(&self, options: &PruneOptions, alone: bool) -> Result<Pruned, StoreError> {
        let mut entries = self.entries()?;
        entries.sort_by(|a, b| (a.used, &a.path).cmp(&(b.used, &b.path)));
        let mut report = Pruned { left: entries.iter().map(|entry| entry.size).sum(), ..Pruned::default() };
        for entry in entries {
            let age = options.now.duration_since(entry.used).unwrap_or_default();
            let is_old = options.older_than.is_some_and(|limit| age > limit);
            let is_too_much = options.keep_bytes.is_some_and(|limit| report.left > limit);
            if !(options.everything || is_old || is_too_much) {
                continue;
            }
            if !alone && (age < IN_USE || is_used_again(&entry)) {
                report.kept_in_use += 1;
                continue;
            }
            folder::remove(&entry.path)?;
            report.entries += 1;
            report.bytes += entry.size;
            report.left -= entry.size;
        }
        for entry in self.temporaries()? {
            let age = options.now.duration_since(entry.used).unwrap_or_default();
            if alone || age >= IN_USE {
                folder::remove(&entry.path)?;
                report.bytes += entry.size;
            }
        }
        if alone {
            for lock in folder::names(&self.inner.locks_folder())? {
                folder::remove(&lock)?;
            }
        }
        Ok(report)
    }

    fn entries(&self) -> Result<Vec<Entry>, StoreError> {
        let mut found = Vec::new();
        for algorithm in folder::names(&self.inner.root.join("blobs"))? {
            let prefix = format!("{}:", name_of(&algorithm));
            for shard in folder::names(&algorithm)? {
                list(&shard, "blobs", &prefix, &mut found)?;
            }
        }
        for kind in folder::names(&self.inner.root.join("records"))? {
            let word = format!("records/{}", name_of(&kind));
            for shard in folder::names(&kind)? {
                list(&shard, &word, "", &mut found)?;
            }
        }
        Ok(found)
    }

    fn temporaries(&self) -> Result<Vec<Entry>, StoreError> {
        let mut found = Vec::new();
        list(&self.inner.temporary_folder(), "temporary", "", &mut found)?;
        Ok(found)
    }
}

/// Whether a build used the entry since it was listed.
fn is_used_again(entry: &Entry) -> bool {
    fs::symlink_metadata(&entry.path).and_then(|found| found.modified()).is_ok_and(|used| used != entry.used)
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn list(shard: &Path, kind: &str, prefix: &str, into: &mut Vec<Entry>) -> Result<(), StoreError> {
    for path in folder::names(shard)? {
        let found = match fs::symlink_metadata(&path) {
            Ok(found) => found,
            Err(error) if folder::is_absent(&error) => continue,
            Err(error) => return Err(StoreError::io("read", &path, error)),
        };
        let used = found.modified().map_err(|error| StoreError::io("read", &path, error))?;
        let name = format!("{prefix}{}", name_of(&path));
        into.push(Entry { path, name, kind: kind.to_owned(), is_file: found.is_file(), size: found.len(), used });
    }
    Ok(())
}

/// How an entry is damaged; `None` when it is whole, or was removed meanwhile.
fn damage(entry: &Entry) -> Result<Option<Damage>, StoreError> {
    if !entry.is_file {
        return Ok(Some(Damage::Kind));
    }
    let Some(mut file) = folder::open_regular(&entry.path)? else { return Ok(None) };
    if entry.kind == "blobs" {
        let Ok(digest) = Digest::parse(&entry.name) else { return Ok(Some(Damage::Name)) };
        let whole = blobs::hash(&mut file, &digest, &entry.path)? == digest;
        return Ok((!whole).then_some(Damage::Content));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|error| StoreError::io("read", &entry.path, error))?;
    Ok(match records::parse(&bytes) {
        None => Some(Damage::Content),
        Some((key, _)) if Digest::of(key.as_bytes()).hex() != entry.name => Some(Damage::Name),
        Some(_) => None,
    })
}
