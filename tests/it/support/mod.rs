//! What the tests of several capabilities need.

pub(crate) mod calls;
pub(crate) mod cloud;
pub(crate) mod fake_git;
pub(crate) mod fake_uv;
pub(crate) mod fault;
pub(crate) mod harbour;
pub(crate) mod index;
pub(crate) mod means;
pub(crate) mod parents;
pub(crate) mod readback;
pub(crate) mod sample_backend;
pub(crate) mod steps;
pub(crate) mod tiny_registry;
pub(crate) mod tls;
pub(crate) mod tunnel;
pub(crate) mod vectors;
pub(crate) mod wheel_maker;
pub(crate) mod yard;
