//! A strict reader of zip archives: an archive either has one reading or is refused.
//!
//! It keeps the central directory in memory and nothing else; it never extracts anything.

mod archive;
mod central;
mod content;
mod end;
mod error;
mod extra;
mod local;
mod name;
mod read_at;

pub use archive::{Archive, Limits, Member, Method};
pub use content::{MemberReader, Section};
pub use error::ZipError;
pub use read_at::ReadAt;
