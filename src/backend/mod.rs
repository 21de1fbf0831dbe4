//! Backends: sources of images for what only a Dockerfile can say.
//!
//! A backend gets a [`Segment`] and leaves an image in a registry. Nothing here decides what needs one, and nothing
//! downstream can tell which one it was.

mod apt;
mod backends;
mod buildah;
mod buildkit;
mod context;
mod contract;
mod daemon;
mod docker;
mod engine;
mod error;
mod external;
mod key;
mod logins;
mod rawjson;
mod secret;
mod segment;
mod steps;
mod survey;
mod watch;
mod workbench;

pub use apt::apt_segment;
pub use backends::{Backends, Chosen, NONE};
pub use context::Context;
pub use contract::{Absence, Availability, Backend, Building, Looking, Order};
pub use error::{BackendError, Tried};
pub use logins::{Door, Logins};
pub use secret::{Secret, SecretError, resolve_secrets};
pub use segment::Segment;
pub use survey::{Found, Surveyed};
