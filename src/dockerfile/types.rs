//! A Dockerfile as data: stages, instructions and what they say.
//!
//! Variables stand as they were written; `expand` knows how each field is expanded.

use std::time::Duration;

use super::mount::Mount;

/// A whole Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// The comments at its head that direct the parser.
    pub directives: Directives,
    /// The arguments before the first `FROM`, which `FROM` lines may name.
    pub args: Vec<ArgBeforeFrom>,
    /// The stages in their order; at least one.
    pub stages: Vec<Stage>,
}

/// Parser directives (`# name=value`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directives {
    /// The image of the front end that is to read the file.
    pub syntax: Option<String>,
    /// What escapes a character and continues a line: a backslash or a backquote.
    pub escape: char,
    /// What the front end's linter is told.
    pub check: Option<String>,
}

/// One name of an `ARG` before the first `FROM`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgBeforeFrom {
    /// Where the instruction stands.
    pub lines: Lines,
    /// The name.
    pub name: String,
    /// The default, unexpanded.
    pub default: Option<String>,
}

/// A range of lines, from one, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lines {
    /// The first.
    pub first: usize,
    /// The last.
    pub last: usize,
}

/// A stage: a `FROM` and the instructions below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The image or stage to start from, unexpanded.
    pub base: String,
    /// The platform asked for, unexpanded.
    pub platform: Option<String>,
    /// The stage's name, in lower case.
    pub name: Option<String>,
    /// Where the `FROM` stands.
    pub lines: Lines,
    /// The `FROM` as in the file, without the last line break.
    pub text: String,
    /// What follows.
    pub instructions: Vec<Instruction>,
}

/// One instruction of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Where it stands, its here-documents included.
    pub lines: Lines,
    /// As in the file, continuation lines and here-documents included, without the last line break. Of a trigger of
    /// `ONBUILD` it is the text that an image's configuration has: lines joined, documents below.
    pub text: String,
    /// What it says.
    pub kind: InstructionKind,
}

/// What an instruction says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstructionKind {
    /// `ENV`: names and values.
    Env(Vec<(String, String)>),
    /// `LABEL`: names and values.
    Label(Vec<(String, String)>),
    /// `ARG`: names and defaults.
    Arg(Vec<(String, Option<String>)>),
    /// `WORKDIR`.
    Workdir(String),
    /// `USER`.
    User(String),
    /// `EXPOSE`: ports, sorted.
    Expose(Vec<String>),
    /// `CMD`.
    Cmd(Command),
    /// `ENTRYPOINT`.
    Entrypoint(Command),
    /// `VOLUME`.
    Volume(Vec<String>),
    /// `STOPSIGNAL`.
    StopSignal(String),
    /// `HEALTHCHECK`.
    Healthcheck(Healthcheck),
    /// `SHELL`.
    Shell(Vec<String>),
    /// `MAINTAINER`.
    Maintainer(String),
    /// `ONBUILD` with its trigger.
    OnBuild(Box<Instruction>),
    /// `COPY`.
    Copy(Copy),
    /// `ADD`.
    Add(Copy),
    /// `RUN`.
    Run(Run),
}

/// A command in one of its two forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A JSON array: program and arguments.
    Exec(Vec<String>),
    /// Anything else: the text as the shell gets it, continuation lines joined; empty when there is none.
    Shell(String),
}

/// `COPY` or `ADD`; a flag that the instruction does not have is not set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copy {
    /// Files, patterns and addresses.
    pub sources: Vec<String>,
    /// Files whose content stands in the Dockerfile.
    pub documents: Vec<HereDocument>,
    /// Where they go.
    pub destination: String,
    /// `--from`: a stage's name or number, or an image. It holds no variables.
    pub from: Option<String>,
    /// `--chown`.
    pub chown: Option<String>,
    /// `--chmod`.
    pub chmod: Option<String>,
    /// `--link`.
    pub link: bool,
    /// `--parents`.
    pub parents: bool,
    /// `--exclude`, once for each pattern; never expanded.
    pub exclude: Vec<String>,
    /// `--keep-git-dir`.
    pub keep_git_dir: bool,
    /// `--checksum`.
    pub checksum: Option<String>,
    /// `--unpack`, when it is given.
    pub unpack: Option<bool>,
}

/// A text between `<<NAME` and `NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HereDocument {
    /// The name, without quotes; of a document that is copied, the file's name.
    pub name: String,
    /// The lines with their breaks; without leading tabs after `<<-`.
    pub content: String,
    /// Variables in it are expanded: no part of the name is in quotes.
    pub expand: bool,
}

/// `RUN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The command; here-documents are not in it, the words that open them are.
    pub command: Command,
    /// The here-documents, in the order in which they are opened.
    pub documents: Vec<HereDocument>,
    /// `--mount`, once for each.
    pub mounts: Vec<Mount>,
    /// `--network`: `default`, `none` or `host`.
    pub network: Option<String>,
    /// `--security`: `sandbox` or `insecure`.
    pub security: Option<String>,
    /// `--device`, once for each, as they are written.
    pub devices: Vec<String>,
}

/// What a `RUN` starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Script<'r> {
    /// A program with arguments, without a shell.
    Words(&'r [String]),
    /// A text for the shell.
    Shell(String),
    /// A file with an interpreter line, which the shell starts by its path.
    File {
        /// The file's name.
        name: &'r str,
        /// Its content.
        content: &'r str,
    },
}

impl Run {
    /// What is started: the only here-document itself where the command is nothing but its opening word, and else the
    /// command with its documents below it.
    pub fn script(&self) -> Script<'_> {
        let command = match &self.command {
            Command::Exec(words) => return Script::Words(words),
            Command::Shell(command) => command,
        };
        match self.documents.first() {
            None => Script::Shell(command.clone()),
            Some(HereDocument { name, content, .. }) if super::here_document::is_opening(command) => {
                if content.starts_with("#!") {
                    return Script::File { name, content };
                }
                Script::Shell(content.clone())
            }
            Some(_) => {
                let mut text = command.clone();
                for HereDocument { name, content, .. } in &self.documents {
                    text.push_str(&format!("\n{content}{name}"));
                }
                Script::Shell(text)
            }
        }
    }
}

/// `HEALTHCHECK`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Healthcheck {
    /// None, not even the parent's.
    None,
    /// A command; durations that are not given, or zero, are `None`.
    Check {
        /// The command.
        command: Command,
        /// Between two checks.
        interval: Option<Duration>,
        /// How long a check may take.
        timeout: Option<Duration>,
        /// How long failures do not count after the start.
        start_period: Option<Duration>,
        /// Between two checks within that time.
        start_interval: Option<Duration>,
        /// Failures in a row that make a container unhealthy.
        retries: Option<u32>,
    },
}
