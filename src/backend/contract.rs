//! The contract that every backend keeps.
//!
//! Says nothing of how an image comes about; who asks decides where it goes and reads it back from there.

use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::error::BackendError;
use super::logins::Logins;
use super::segment::Segment;
use super::survey::Found;
use crate::event::Reporter;
use crate::oci::{Digest, Reference};

/// One segment to build.
pub struct Order<'a> {
    /// What is built.
    pub segment: &'a Segment,
    /// The tag that the image is pushed to. A backend that can push by digest alone leaves the tag as it is.
    pub push_to: &'a Reference,
    /// How the registries are reached that the segment's images come from and go to.
    pub logins: &'a Logins,
    /// A folder for this order's files, on a disk with room.
    pub scratch: &'a Path,
    /// Is told what happens.
    pub reporter: &'a Arc<dyn Reporter>,
}

/// Why a backend cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absence {
    /// It is not there.
    Missing(String),
    /// It is set up and does not work; no other backend is taken in its place.
    Broken(String),
}

impl Absence {
    /// The reason.
    pub fn reason(&self) -> &str {
        match self {
            Self::Missing(reason) | Self::Broken(reason) => reason,
        }
    }
}

/// The answer to whether a backend can be used.
pub type Availability<'a> = BoxFuture<'a, Result<(), Absence>>;

/// The answer to what there is of a backend.
pub type Looking<'a> = BoxFuture<'a, Result<Found, Absence>>;

/// A build under way.
pub type Building<'a> = BoxFuture<'a, Result<Digest, BackendError>>;

/// A source of images for segments.
pub trait Backend: Send + Sync {
    /// The name that `--backend` chooses it by.
    fn name(&self) -> &str;

    /// Whether its program is on the search path; whether that works is not looked at.
    fn is_installed(&self) -> bool;

    /// Whether it can be used here; looks without starting or downloading anything.
    fn available(&self) -> Availability<'_>;

    /// The same with version and address, for people.
    fn look(&self) -> Looking<'_>;

    /// Builds the segment, pushes the image, and gives the digest of its manifest. What it started has ended when the
    /// future has, or soon after it is dropped.
    ///
    /// # Errors
    /// Fails when an instruction fails, when an image cannot be had or pushed, and when the backend itself breaks.
    fn build<'a>(&'a self, order: &'a Order<'a>) -> Building<'a>;
}
