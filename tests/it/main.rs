//! The integration tests: one binary, one module a capability.

#![expect(
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says aloud what it counted or skipped"
)]

mod backend;
mod backend_builds;
mod build;
mod build_choice;
mod build_moves;
mod build_outputs;
mod build_pipeline;
mod build_reuse;
mod build_runs;
mod builds;
mod builds_ledger;
mod builds_recorded;
mod canary;
mod clouds_aws;
mod clouds_broken;
mod clouds_google_azure;
mod code;
mod code_archive;
mod copy;
mod copy_cases;
mod copy_places;
mod copy_refusals;
mod credentials;
mod dockerfiles;
mod dockerfiles_poetry;
mod dockerfiles_uv;
mod doctor;
mod errors;
mod errors_usage;
mod faults_build;
mod faults_documents;
mod faults_download;
mod faults_retries;
mod faults_tokens;
mod faults_upload;
mod floors;
mod full_disk;
mod layer_readers;
mod login;
mod mirrors;
mod outputs;
mod proxies;
mod registry_client;
mod registry_commands;
mod registry_conformance;
mod requirements;
mod requirements_built;
mod resolver;
mod serve;
mod serve_blobs;
mod serve_conformance;
mod serve_hostile;
mod serve_load;
mod serve_login;
mod serve_manifests;
mod serve_prune;
mod settings;
mod settings_command;
mod settings_levels;
mod settings_properties;
mod settings_schema;
mod settings_secrets;
mod settings_zenml;
mod store;
mod support;
mod tls;
mod unsafe_code;
mod uploads_ahead;
mod vectors_dockerfile;
mod vectors_oci;
mod vectors_parent;
mod vectors_registry;
mod vectors_sources;
mod vectors_wheels;
mod wheels_against_uv;
mod wheels_made;
mod zenml_commands;
