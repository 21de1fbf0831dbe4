//! What may stand behind `lapstrake builds`.
//!
//! Parsing only; what the filters mean is decided by the library.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use lapstrake::store::ledger::Column;

use super::args::Reach;

#[derive(Debug, Subcommand)]
pub(crate) enum BuildsCommand {
    /// List builds, the newest first
    List(BuildsListArgs),
    /// Show all that is known of a build
    Show(BuildsShowArgs),
    /// Take builds out of the ledger; their images stay
    Delete(BuildsDeleteArgs),
    /// Write a build as the YAML that `zenml pipeline build --output` writes
    Export(BuildsExportArgs),
    /// Take builds from files that ZenML or `export` wrote
    Import(BuildsImportArgs),
    /// Bring back the builds that are recorded beside the images of repositories
    Sync(BuildsSyncArgs),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// For people
    Table,
    /// One JSON object with `schemaVersion`
    Json,
    /// The same as YAML
    Yaml,
    /// One line a build, with all columns
    Csv,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogicalOperator {
    /// All filters hold
    And,
    /// One of them holds
    Or,
}

#[derive(Debug, Args)]
#[command(after_long_help = "A filter is a value, or a word, a colon and a value:
  equals: notequals: contains: notcontains: startswith: endswith: oneof:a,b notoneof:a,b
  gt: gte: lt: lte: in:A,B (from A to B) isnull: isnotnull:
Times are UTC; versions are compared as versions. Upper and lower case count in `equals:` and `oneof:` alone.

Examples:
  lapstrake builds list --pipeline contains:train --created gt:2026-01-01
  lapstrake builds list --python-version gte:3.12 --sort-by desc:duration --size 5
  lapstrake builds list --image startswith:ghcr.io/me/ --output-format csv")]
pub(crate) struct BuildsListArgs {
    /// The build's name
    #[arg(long, value_name = "FILTER", help_heading = "Filters")]
    pub(crate) id: Vec<String>,
    /// When it ended
    #[arg(long, value_name = "FILTER", help_heading = "Filters")]
    pub(crate) created: Vec<String>,
    /// The pipeline
    #[arg(long, value_name = "FILTER", help_heading = "Filters")]
    pub(crate) pipeline: Vec<String>,
    /// The stack
    #[arg(long, value_name = "FILTER", help_heading = "Filters")]
    pub(crate) stack: Vec<String>,
    /// ZenML's checksum of the stack
    #[arg(long, value_name = "FILTER", help_heading = "Filters")]
    pub(crate) stack_checksum: Vec<String>,
    /// Lapstrake's version
    #[arg(long, value_name = "FILTER", help_heading = "Filters")]
    pub(crate) lapstrake_version: Vec<String>,
    /// Python's version
    #[arg(long, value_name = "FILTER", help_heading = "Filters")]
    pub(crate) python_version: Vec<String>,
    /// ZenML's version
    #[arg(long, value_name = "FILTER", help_heading = "Filters")]
    pub(crate) zenml_version: Vec<String>,
    /// ZenML's checksum of the build
    #[arg(long, value_name = "FILTER", help_heading = "Filters")]
    pub(crate) checksum: Vec<String>,
    /// Whether an image is in no registry
    #[arg(long, value_name = "FILTER", help_heading = "Filters")]
    pub(crate) is_local: Vec<String>,
    /// Whether an image holds the project's files
    #[arg(long, value_name = "FILTER", help_heading = "Filters")]
    pub(crate) contains_code: Vec<String>,
    /// Any of the images
    #[arg(long, value_name = "FILTER", help_heading = "Filters")]
    pub(crate) image: Vec<String>,
    /// How many seconds it took
    #[arg(long, value_name = "FILTER", help_heading = "Filters")]
    pub(crate) duration: Vec<String>,
    /// Whether all filters have to hold
    #[arg(long, value_enum, default_value_t = LogicalOperator::And, help_heading = "Filters")]
    pub(crate) logical_operator: LogicalOperator,
    /// The order: `asc:COLUMN` or `desc:COLUMN`
    #[arg(long, value_name = "ORDER", default_value = "desc:created")]
    pub(crate) sort_by: String,
    /// Which page
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) page: u64,
    /// How many builds are on a page
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) size: u64,
    /// How the list is shown [default: as `--format` says]
    #[arg(long, value_enum, help_heading = "Output")]
    pub(crate) output_format: Option<ListFormat>,
}

impl BuildsListArgs {
    /// The filters, by their columns.
    pub(crate) fn filters(&self) -> Vec<(Column, &str)> {
        let all: [(Column, &Vec<String>); 13] = [
            (Column::Id, &self.id),
            (Column::Created, &self.created),
            (Column::Pipeline, &self.pipeline),
            (Column::Stack, &self.stack),
            (Column::StackChecksum, &self.stack_checksum),
            (Column::LapstrakeVersion, &self.lapstrake_version),
            (Column::PythonVersion, &self.python_version),
            (Column::ZenmlVersion, &self.zenml_version),
            (Column::Checksum, &self.checksum),
            (Column::IsLocal, &self.is_local),
            (Column::ContainsCode, &self.contains_code),
            (Column::Image, &self.image),
            (Column::Duration, &self.duration),
        ];
        all.into_iter().flat_map(|(column, texts)| texts.iter().map(move |text| (column, text.as_str()))).collect()
    }
}

#[derive(Debug, Args)]
pub(crate) struct BuildsShowArgs {
    /// The build: its name, or the beginning of it that no other has
    pub(crate) id: String,
}

#[derive(Debug, Args)]
pub(crate) struct BuildsDeleteArgs {
    /// The builds: their names, or the beginnings of them that no others have
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  lapstrake builds export 8d4d3b7e > build.yaml
  zenml pipeline run my_module.my_pipeline --build build.yaml")]
pub(crate) struct BuildsExportArgs {
    /// The build: its name, or the beginning of it that no other has
    pub(crate) id: String,
    /// Write this file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BuildsImportArgs {
    /// The files
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  lapstrake builds sync ghcr.io/me/app
  lapstrake builds sync localhost:5000/zenml localhost:5000/app")]
pub(crate) struct BuildsSyncArgs {
    /// The repositories
    #[arg(value_name = "REPOSITORY", required = true)]
    pub(crate) repositories: Vec<String>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}
