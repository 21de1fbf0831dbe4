//! Use cases: order, concurrency and wiring, nothing else.
//!
//! What is decided is decided in `plan`, what is moved is moved by `registry` and `store`.

mod artifact;
mod build;
mod chosen;
mod copy;
mod cores;
mod doctor;
mod doctor_report;
mod earlier;
mod error;
mod export;
mod facts;
mod ground;
mod inspect;
mod list;
mod listing;
mod login;
mod make;
mod means;
mod once;
mod overlap;
mod parent;
mod parent_index;
mod pipeline;
mod plan;
mod publish;
mod python;
mod remove;
mod repositories;
mod request;
mod requirements;
mod resolution;
pub mod segment;
mod traffic;
mod transfer;
mod wheels;

pub use build::{Built, BuiltLayer, build};
pub use chosen::NewChoice;
pub use copy::{Copied, CopiedTo, CopyError, CopyRequest, Item, ItemKind, Locator, copy, copy_all_tags};
pub use doctor::{Subject, doctor};
pub use doctor_report::{Check, Diagnosis, State};
pub use error::OpsError;
pub use ground::SegmentStep;
pub use inspect::{InspectedLayer, Inspection, inspect};
pub use list::{Referrers, Tags, referrers, tags};
pub use login::{LoggedIn, LoginRequest, login, logout};
pub use means::Means;
pub use once::Memory;
pub use pipeline::{build_all, plan_all};
pub use plan::{Course, Planned, plan};
pub use remove::{KeyTags, RemoveError, key_tags, remove, remove_key_tags};
pub use repositories::create_repositories;
pub use request::{BuildRequest, Output};
pub use requirements::{apt_packages, gather as gather_requirements};
pub use traffic::{Moved, Traffic};
