//! The command line: parsing, wiring, and what a person sees.
//!
//! No command does its work here; each hands a request to a use case of the library.

mod args;
mod args_builds;
mod args_dockerfile;
mod build;
mod builds;
mod builds_view;
mod cache;
mod config;
mod copy;
mod delete;
mod demo;
mod demo_project;
mod dockerfile;
mod doctor;
mod doctor_backends;
mod environment;
mod exit;
mod inspect;
mod ledger;
mod list;
mod login;
mod logout;
mod output;
mod plan;
mod progress;
mod registry;
mod requirements;
mod reuse;
mod run;
mod settings;
mod setup;
mod sources;
mod targets;
mod terminal;
mod user_config;

pub(crate) use run::run;
