//! The embedded registry server: the OCI distribution API over one folder.
//!
//! It answers on loopback unless told otherwise, needs no daemon and no configuration, and keeps its
//! memory constant by streaming bodies to and from disk. It knows no TLS, and no rights beyond these:
//! whoever reaches its port may read and write, unless it asks for a login or is for reading only.
//!
//! # What is on disk
//! ```text
//! layout                                          `lapstrake-registry 1`
//! blobs/<algorithm>/<aa>/<hex>                    content, of blobs and of manifests
//! repositories/<name>/_blobs/<algorithm>/<hex>    the blob is in this repository; its size
//! repositories/<name>/_manifests/<algorithm>/<hex>   likewise; size and media type
//! repositories/<name>/_referrers/<algorithm>/<hex>/<referrer>   a descriptor
//! repositories/<name>/_tags/<tag>                 a digest
//! uploads/                                        bodies that are arriving
//! ```
//! Beside them are the files `lock`, which a server holds, and `sweep`, which keeps pruning and pushing apart.
//! A path component of a repository's name cannot start with an underscore, so nothing collides.
//! Every file is written aside and renamed. Blobs are synced to disk when the first manifest refers to
//! them, manifests and tags before they are answered for; what no manifest names was never promised.

mod answer;
mod blobs;
mod body;
mod error;
mod exchange;
mod listing;
mod login;
mod manifests;
mod prune;
mod route;
mod server;
mod storage;
mod uploads;

pub use error::ServeError;
pub use prune::{PruneOptions, Pruned, prune};
pub use server::{Observer, RequestLine, Running, ServeOptions, Server};
