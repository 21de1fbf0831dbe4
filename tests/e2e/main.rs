//! The end-to-end suite: the real binary against real parts, one line a part with its version.
//!
//! Not part of `cargo test`, since it needs root, a network and Debian's packages; `.ci/run` runs it.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "the suite starts the real parts, reads what they left on the disk, and reports on stdout"
)]

mod authority;
mod cases;
mod clients;
mod compare;
mod configuration;
mod container;
mod dockerfiles;
mod exceptions;
mod harness;
mod image;
mod line;
mod merged;
mod nginx;
mod official;
mod parents;
mod process;
mod project;
mod registries;
mod rootfs;
mod segments;
mod servers;
mod tokens;
mod tools;
mod world;

fn main() -> std::process::ExitCode {
    segments::child().unwrap_or_else(|| harness::run(&cases::all()))
}
