//! Python packaging: wheels, records, install schemes, installed distributions, locks.

pub mod environment;
pub mod lock;
pub mod marker;
mod pylock;
mod scheme;

pub use scheme::InstallScheme;
