//! Lapstrake assembles OCI images without a daemon.

pub mod diagnostic;
pub mod event;
pub mod image;
pub mod inputs;
pub mod layer;
pub mod oci;
pub mod ops;
pub mod plan;
pub mod python;
pub mod registry;
pub mod resolver;
pub mod serve;
pub mod settings;
pub mod store;
