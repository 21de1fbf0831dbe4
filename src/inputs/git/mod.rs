//! What git knows of a folder: commit, branch, remotes, changes, files.
//!
//! The `git` program is asked and nothing else: no network is used, and nothing is written.

mod checkout;
mod error;
mod listing;
mod remote;
mod state;

pub use checkout::{Checkout, find};
pub use error::GitError;
pub use listing::Listing;
pub use remote::{Remote, RemoteUrl};
pub use state::{GitState, Untracked};
