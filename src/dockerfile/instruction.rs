//! The instructions of a Dockerfile, as far as RUN lines need them.
//!
//! Nothing is expanded or carried out here.

/// What a `CMD`, `ENTRYPOINT` or `RUN` starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Words, without a shell.
    Exec(Vec<String>),
    /// The text that the shell is given, continued lines joined.
    Shell(String),
}

/// A here-document of an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HereDocument {
    /// The word that ends it.
    pub name: String,
    /// Its lines.
    pub content: String,
    /// Whether variables in it are replaced.
    pub expand: bool,
}

/// A `RUN` instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// What is run.
    pub command: Command,
    /// Its here-documents.
    pub documents: Vec<HereDocument>,
    /// What is mounted while it runs.
    pub mounts: Vec<Mount>,
    /// `--network`.
    pub network: Option<String>,
    /// `--security`.
    pub security: Option<String>,
}

/// The sort of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountKind {
    /// Files of the context, a stage or an image.
    Bind,
    /// A folder that outlives the build.
    Cache,
    /// A folder in memory.
    Tmpfs,
    /// A secret, as a file or a variable.
    Secret,
    /// A socket of an SSH agent.
    Ssh,
}

/// One `--mount` of a `RUN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Its sort.
    pub kind: MountKind,
    /// Where it is seen.
    pub target: Option<String>,
    /// What of its source is seen.
    pub source: Option<String>,
    /// The stage or image that its files are of.
    pub from: Option<String>,
    /// The name of a cache, a secret or an agent.
    pub id: Option<String>,
    /// The variable that a secret is put into.
    pub env: Option<String>,
    /// Whether a secret that is not there fails the build.
    pub required: bool,
    /// Whether it may be written to.
    pub read_only: Option<bool>,
    /// The mode of the target.
    pub mode: Option<u32>,
    /// The owner of the target.
    pub uid: Option<u64>,
    /// The group of the target.
    pub gid: Option<u64>,
}
