//! Amazon ECR: a password for a registry out of an AWS identity, and repositories where a push needs them.
//!
//! Pushes and pulls nothing.

mod ecr;
mod endpoint;
mod instance;
mod profiles;
mod role;
mod sign;
mod source;
mod sso;

pub(crate) use ecr::{create_repository, identity};
pub(crate) use role::Sts;
pub(crate) use sign::Keys;
pub(crate) use source::find;
