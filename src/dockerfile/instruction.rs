//! From a node to what its instruction says: flags, forms, and how many words there may be.
//!
//! Words stay unexpanded, and nothing is held against other instructions.

use super::error::{Problem, nearest};
use super::expand::expand_word;
use super::flags::{Flag, Flags};
use super::healthcheck::healthcheck;
use super::here_document::opening;
use super::mount::Mount;
use super::node::Node;
use super::types::{Command, Copy, HereDocument, Instruction, InstructionKind, Run};

const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

const COPY_FLAGS: [Flag; 6] = [
    Flag::Text("chown"),
    Flag::Text("from"),
    Flag::Text("chmod"),
    Flag::Switch("link"),
    Flag::Texts("exclude"),
    Flag::Switch("parents"),
];

const ADD_FLAGS: [Flag; 7] = [
    Flag::Text("chown"),
    Flag::Text("chmod"),
    Flag::Switch("link"),
    Flag::Switch("keep-git-dir"),
    Flag::Text("checksum"),
    Flag::Switch("unpack"),
    Flag::Texts("exclude"),
];

const RUN_FLAGS: [Flag; 4] =
    [Flag::Texts("mount"), Flag::Text("network"), Flag::Text("security"), Flag::Texts("device")];

/// The head of a stage.
pub(super) struct From {
    pub(super) base: String,
    pub(super) platform: Option<String>,
    pub(super) name: Option<String>,
}

/// Reads a `FROM`.
pub(super) fn from(node: &Node) -> Result<From, Problem> {
    let (base, name) = match &node.words[..] {
        [base] => (base, None),
        [base, between, name] if between.eq_ignore_ascii_case("as") => (base, Some(stage_name(name)?)),
        _ => return Err(Problem::From),
    };
    let flags = Flags::read(node, &[Flag::Text("platform")])?;
    Ok(From { base: base.clone(), platform: flags.text("platform").map(str::to_owned), name })
}

fn stage_name(name: &str) -> Result<String, Problem> {
    let lower = name.to_lowercase();
    let is_fit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    match lower.starts_with(|c: char| c.is_ascii_lowercase()) && lower.chars().all(is_fit) {
        true => Ok(lower),
        false => Err(Problem::StageName(name.to_owned())),
    }
}

/// Reads any other instruction.
pub(super) fn kind(node: &Node, escape: char) -> Result<InstructionKind, Problem> {
    use InstructionKind as Kind;
    let keyword = node.keyword.to_uppercase();
    Ok(match keyword.to_lowercase().as_str() {
        "env" => Kind::Env(pairs(node)?),
        "label" => Kind::Label(pairs(node)?),
        "arg" => Kind::Arg(arguments(node)?),
        "workdir" => Kind::Workdir(only_word(node)?),
        "user" => Kind::User(only_word(node)?),
        "maintainer" => Kind::Maintainer(only_word(node)?),
        // BuildKit does not look at flags of this one, nor at those of `ARG`.
        "stopsignal" => Kind::StopSignal(node.words.first().cloned().ok_or(Problem::NoArgument(keyword))?),
        "expose" => {
            let mut ports = some_words(node)?;
            ports.sort();
            Kind::Expose(ports)
        }
        "volume" => {
            let paths: Vec<String> = some_words(node)?.iter().map(|path| path.trim().to_owned()).collect();
            if paths.iter().any(String::is_empty) {
                return Err(Problem::BlankVolume);
            }
            Kind::Volume(paths)
        }
        "cmd" => Kind::Cmd(plain_command(node)?),
        "entrypoint" => Kind::Entrypoint(plain_command(node)?),
        "shell" => match (some_words(node)?, node.is_json) {
            (words, true) => Kind::Shell(words),
            _ => return Err(Problem::ShellNotJson),
        },
        "healthcheck" => Kind::Healthcheck(healthcheck(node)?),
        "onbuild" => Kind::OnBuild(Box::new(trigger(node, escape)?)),
        "copy" => Kind::Copy(copy(node, &COPY_FLAGS, escape)?),
        "add" => Kind::Add(copy(node, &ADD_FLAGS, escape)?),
        "run" => Kind::Run(run(node, escape)?),
        _ => {
            let suggestion = nearest(&node.keyword, KEYWORDS);
            return Err(Problem::UnknownInstruction { name: node.keyword.clone(), suggestion });
        }
    })
}

/// Words as a command in one of its forms.
pub(super) fn command(words: &[String], is_json: bool) -> Command {
    if is_json { Command::Exec(words.to_vec()) } else { Command::Shell(words.join(" ")) }
}

fn plain_command(node: &Node) -> Result<Command, Problem> {
    Flags::read(node, &[])?;
    Ok(command(&node.words, node.is_json))
}

fn some_words(node: &Node) -> Result<Vec<String>, Problem> {
    if node.words.is_empty() {
        return Err(Problem::NoArgument(node.keyword.to_uppercase()));
    }
    Flags::read(node, &[])?;
    Ok(node.words.clone())
}

fn only_word(node: &Node) -> Result<String, Problem> {
    some_words(node).map(|words| words.concat())
}

fn pairs(node: &Node) -> Result<Vec<(String, String)>, Problem> {
    let words = some_words(node)?;
    if words.chunks(3).any(|pair| pair[0].is_empty()) {
        return Err(Problem::BlankName(node.keyword.to_uppercase()));
    }
    Ok(words.chunks_exact(3).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
}

/// The names and defaults of an `ARG`.
pub(super) fn arguments(node: &Node) -> Result<Vec<(String, Option<String>)>, Problem> {
    if node.words.is_empty() {
        return Err(Problem::NoArgument("ARG".to_owned()));
    }
    let arguments = node.words.iter().map(|word| match word.split_once('=') {
        Some(("", _)) => Err(Problem::BlankName("ARG".to_owned())),
        Some((name, value)) => Ok((name.to_owned(), Some(value.to_owned()))),
        None => Ok((word.clone(), None)),
    });
    arguments.collect()
}

fn trigger(node: &Node, escape: char) -> Result<Instruction, Problem> {
    let Some(inner) = &node.trigger else { return Err(Problem::NoArgument("ONBUILD".to_owned())) };
    Flags::read(node, &[])?;
    let keyword = inner.keyword.to_uppercase();
    if ["ONBUILD", "MAINTAINER", "FROM"].contains(&keyword.as_str()) {
        return Err(Problem::Trigger(inner.keyword.clone()));
    }
    let start = node.joined.trim_start();
    let blanks = ['\t', '\n', '\u{c}', '\r', ' '];
    let mut text = start.get(node.keyword.len()..).unwrap_or_default().trim_start_matches(blanks).to_owned();
    for HereDocument { name, content, .. } in &inner.documents {
        text.push_str(&format!("\n{content}{name}"));
    }
    Ok(Instruction { lines: node.lines, text, kind: kind(inner, escape)? })
}

fn copy(node: &Node, known: &[Flag], escape: char) -> Result<Copy, Problem> {
    let keyword = || node.keyword.to_uppercase();
    let Some((destination, sources)) = node.words.split_last().filter(|(_, sources)| !sources.is_empty()) else {
        return Err(Problem::NoDestination(keyword()));
    };
    let flags = Flags::read(node, known)?;
    let text = |name| flags.text(name).map(str::to_owned);
    let mut copy = Copy {
        destination: destination.clone(),
        from: text("from"),
        chown: text("chown"),
        chmod: text("chmod"),
        link: flags.switch("link").unwrap_or_default(),
        parents: flags.switch("parents").unwrap_or_default(),
        exclude: flags.texts("exclude"),
        keep_git_dir: flags.switch("keep-git-dir").unwrap_or_default(),
        checksum: text("checksum"),
        unpack: flags.switch("unpack"),
        ..Copy::default()
    };
    if matches!(opening(destination), Ok(Some(_))) {
        return Err(Problem::HereDocumentDestination(keyword()));
    }
    for source in sources {
        match opening(source) {
            Ok(Some(opened)) => {
                let known = node.documents.iter().rfind(|document| document.name == opened.name);
                let content = known.map(|document| document.content.clone()).unwrap_or_default();
                copy.documents.push(HereDocument { name: opened.name, content, expand: opened.expand });
            }
            _ => copy.sources.push(source.clone()),
        }
    }
    match &copy.from {
        Some(from) if expand_word(from, escape, &|_| None)? != *from => Err(Problem::FromVariable(from.clone())),
        _ => Ok(copy),
    }
}

fn run(node: &Node, escape: char) -> Result<Run, Problem> {
    let flags = Flags::read(node, &RUN_FLAGS)?;
    let mounts = flags.texts("mount");
    Ok(Run {
        command: command(&node.words, node.is_json),
        documents: node.documents.clone(),
        mounts: mounts.iter().map(|mount| Mount::parse(mount, escape)).collect::<Result<_, _>>()?,
        network: flags.choice("network", &["default", "none", "host"], "`default`, `none` or `host`")?,
        security: flags.choice("security", &["sandbox", "insecure"], "`sandbox` or `insecure`")?,
        devices: flags.texts("device"),
    })
}
