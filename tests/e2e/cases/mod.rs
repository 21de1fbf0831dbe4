//! The cases, in the order in which they run: what many need comes first.

mod build;
mod copy;
mod ecr;
mod login;
mod outputs;
mod platforms;
mod refusals;
mod registry_refusals;
mod replaced;
mod runtime;
mod same;
mod truth;

use crate::harness::Case;

/// All cases.
pub(crate) fn all() -> Vec<Case> {
    [
        build::CASES,
        runtime::CASES,
        truth::CASES,
        replaced::CASES,
        platforms::CASES,
        same::CASES,
        outputs::CASES,
        copy::CASES,
        refusals::CASES,
        registry_refusals::CASES,
        login::CASES,
        ecr::CASES,
    ]
    .concat()
}
