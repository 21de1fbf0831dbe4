//! Poetry's projects and locks: what of a `poetry.lock` is installed into an environment, and what of the project itself.
//!
//! Nothing is resolved: where the lock and the project leave room, the answer is that it is not known.

mod choice;
mod content_hash;
mod dependency;
mod editable;
mod error;
mod lock;
mod project;
mod version;

pub use choice::{Selection, choose};
pub use dependency::{Dependency, Surroundings};
pub use editable::{Editable, EditableError, EditablePlace, SCRIPT as EDITABLE_SCRIPT};
pub use error::PoetryError;
pub use lock::{Index, LockedPackage, PoetryLock};
pub use project::{Group, PoetryProject};
pub use version::Constraint;
