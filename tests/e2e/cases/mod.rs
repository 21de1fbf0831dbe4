//! The cases, in the order in which they run: what many need comes first.

mod backend;
mod backend_engines;
mod backend_reach;
mod build;
mod code;
mod copies;
mod copy;
mod dockerfile_faults;
mod dockerfiles;
mod ecr;
mod login;
mod made;
mod outputs;
mod platforms;
mod refusals;
mod registries;
mod registry_access;
mod registry_faults;
mod registry_proxy;
mod registry_refusals;
mod registry_tls;
mod replaced;
mod runs;
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
        made::CASES,
        platforms::CASES,
        same::CASES,
        outputs::CASES,
        copy::CASES,
        refusals::CASES,
        registry_refusals::CASES,
        registries::CASES,
        registry_access::CASES,
        copies::CASES,
        registry_tls::CASES,
        registry_proxy::CASES,
        registry_faults::CASES,
        login::CASES,
        ecr::CASES,
        runs::CASES,
        code::CASES,
        backend::CASES,
        backend_reach::CASES,
        backend_engines::CASES,
        dockerfiles::CASES,
        dockerfile_faults::CASES,
    ]
    .concat()
}
