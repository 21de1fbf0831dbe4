//! Python packaging: wheels, records, install schemes, installed distributions, locks.

pub mod environment;
pub mod lock;
mod scheme;

pub use scheme::InstallScheme;
