//! The flags of a build from a Dockerfile.
//!
//! What they come to is said in `dockerfile`.

use std::path::PathBuf;

use clap::Args;

/// A Dockerfile that is built as it is.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Dockerfile")]
pub(crate) struct DockerfileArgs {
    /// Build what this Dockerfile says and nothing else; the flag alone means `Dockerfile`, and for `plan` the one that
    /// ZenML would write, which it prints
    #[arg(short = 'f', long, value_name = "FILE", num_args = 0..=1)]
    pub(crate) dockerfile: Option<Option<PathBuf>>,
    /// The folder that the Dockerfile copies from [default: the working folder]
    #[arg(long, value_name = "DIR", requires = "dockerfile")]
    pub(crate) context: Option<PathBuf>,
    /// The stage to build, by name or number [default: the last]
    #[arg(long, value_name = "STAGE", requires = "dockerfile")]
    pub(crate) target: Option<String>,
    /// A value for an `ARG`; without one, that of the variable; repeatable
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]", requires = "dockerfile")]
    pub(crate) build_args: Vec<String>,
    /// A secret that a mount may name: `id=ID,src=FILE` or `id=ID,env=VARIABLE`; repeatable
    #[arg(long = "secret", value_name = "SPEC", requires = "dockerfile")]
    pub(crate) secrets: Vec<String>,
}
