//! The clouds' own credentials for their registries, as their own tools find them: Amazon ECR, Google's registries,
//! Azure's, GitHub's.
//!
//! A cloud is asked about its own hosts alone, nothing is kept on a disk, and what a server says in an error is not
//! shown, since it may repeat a secret (docs/adr/0010).

mod aws;
mod azure;
mod codes;
mod error;
mod facts;
mod google;
mod hosts;
mod keychain;
mod storage;
mod web;

pub use error::{CloudError, WebError};
pub use facts::Facts;
pub(crate) use hosts::{login_of, making_of};
pub use keychain::Clouds;
