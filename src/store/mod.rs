//! The local store and the outputs that are folders or files.
//!
//! # What a power cut may do
//! An entry of the store is written to `tmp/` and renamed into place, without an fsync: at one to thirty
//! milliseconds each they would be most of an unchanged build. After a power cut a name may therefore
//! stand for missing or zeroed bytes. That is harmless because nothing is believed unread: a blob is
//! hashed before its first use in a process, a record carries its own checksum, and what does not match
//! is removed and reported as absent, which is the state before it was written. The store holds only
//! what can be fetched or made again. The outputs (`oci:`, `docker-archive:`) and the embedded registry
//! are what a user keeps, and they do fsync.
//!
//! # What other processes may do
//! Any number of processes share a store. Each [`Store`] holds `users` with a shared lock. A prune tries
//! for the exclusive one; when somebody else is there it only removes what nobody used for a day, and
//! says so. Claims let one process make an entry while the others wait for it.
//!
//! The store does not know what its blobs mean, reads no clock and never reaches the network. [`ledger`], the record of
//! builds, is a file of its own, and no part of it.

mod archive_members;
mod archive_reader;
mod blobs;
mod claim;
mod disk;
mod docker_archive;
pub(crate) mod error;
pub(crate) mod folder;
pub mod ledger;
mod oci_layout;
mod records;
mod sink;
mod slice;
mod upkeep;

pub use archive_members::ArchiveError;
pub use archive_reader::ArchiveReader;
pub use blobs::{BlobWriter, VerifiedFile};
pub use claim::Claim;
pub use disk::Store;
pub use docker_archive::DockerArchive;
pub use error::StoreError;
pub use oci_layout::OciLayout;
pub use sink::{ImageSink, SinkError};
pub use slice::{BlobSlice, SliceReader};
pub use upkeep::{Damage, Damaged, KindUsage, PruneOptions, Pruned, Verified};
