//! Resolution by uv, and the files that a lock names.
//!
//! Choosing versions is left to uv; nothing here compares two versions.

mod arguments;
mod cache;
pub mod child;
mod download;
mod error;
mod explain;
mod http;
pub mod index;
pub mod request;
mod requirement;
mod resolve;
mod scratch;
mod tools;
mod uv;

pub use arguments::index_credentials;
pub use cache::{recall, remember, resolution_key};
pub use download::{FetchError, FetchOptions, WheelFetcher};
pub use error::ResolveError;
pub use http::{HttpClient, HttpError};
pub use resolve::resolve;
pub use tools::Resolver;
pub use uv::Uv;
