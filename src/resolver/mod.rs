//! Resolution by uv, and the files that a lock names.
//!
//! Choosing versions is left to uv; nothing here compares two versions.

mod arguments;
pub mod child;
mod error;
mod explain;
pub mod index;
pub mod request;
mod requirement;
mod resolve;
mod scratch;
mod uv;

pub use arguments::index_credentials;
pub use error::ResolveError;
pub use resolve::resolve;
pub use uv::Uv;
