//! Resolution by uv or pip, wheels made of sources, and the files that a lock names.
//!
//! Choosing versions is left to uv; nothing here compares two versions. uv is looked for under the path given, on
//! `PATH`, in the store, and is else fetched by pinned hash from a given index or through the host's pip.

mod arguments;
mod build;
mod cache;
mod changes;
pub mod child;
mod chosen;
mod download;
mod error;
mod explain;
mod git;
mod hashes;
mod host_python;
mod http;
pub mod index;
mod keyring;
mod pip;
mod pip_arguments;
mod pip_report;
mod place;
pub mod request;
mod requirement;
mod resolve;
mod resolved;
mod scratch;
mod target_fit;
mod tools;
mod uv;
mod uv_project;
mod uv_wheel;

pub use arguments::index_credentials;
pub use build::{WantedWheel, WheelBuilder};
pub use cache::{clean as public_line, recall, remember, resolution_key};
pub use chosen::Chosen;
pub use download::{FetchError, FetchOptions, WheelFetcher};
pub use error::ResolveError;
pub use http::{HttpClient, HttpError};
pub use index::IndexCredentials;
pub use keyring::add_keyring;
pub use place::{MadeWheel, Place, PlaceTarget, places};
pub use resolve::resolve;
pub use resolved::Resolved;
pub use tools::Resolver;
pub use uv::Uv;
pub use uv_project::{ENVIRONMENT, LockAnswer, LockQuestion, LockUse, PYTHON, ProjectFile, Trial, UvRefusal};
pub use uv_wheel::UvSources;
