//! The lines of a Dockerfile: comments and continuations taken away, each instruction cut into keyword, flags and words.
//!
//! What keywords, flags and words mean is not looked at; unknown keywords are nodes as well.

use super::directive::DirectiveReader;
use super::error::{DockerfileError, Problem};
use super::here_document::{Opening, openings, without_tabs};
use super::types::{HereDocument, Lines};
use super::words::{flags, json, pairs, quoted_words, split_at_blanks, split_once_at_blanks};

/// An instruction, cut into its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it stands, here-documents included.
    pub lines: Lines,
    /// As in the file, without the last line break.
    pub text: String,
    /// Its lines joined, without comments and here-documents.
    pub joined: String,
    /// The keyword as it was written.
    pub keyword: String,
    /// The flags, without quotes.
    pub flags: Vec<String>,
    /// The words, cut as the instruction wants them. Pairs are three words: name, value, and `=` or nothing.
    pub words: Vec<String>,
    /// The words stand in a JSON array.
    pub is_json: bool,
    /// The here-documents.
    pub documents: Vec<HereDocument>,
    /// What follows `ONBUILD`. An `ONBUILD` in it, which is an error, is not read any further.
    pub trigger: Option<Box<Node>>,
}

/// The nodes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nodes {
    /// The nodes in their order; at least one.
    pub nodes: Vec<Node>,
    /// The escape character.
    pub escape: char,
}

/// Reads the lines of a Dockerfile.
///
/// # Errors
/// Fails for a file without instructions, for directives that cannot be, pairs without values, JSON of other things than
/// texts, and here-documents without an end.
pub fn read_nodes(text: &str) -> Result<Nodes, DockerfileError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader {
        lines: text.split_inclusive('\n').collect(),
        at: 0,
        escape: '\\',
        directives: DirectiveReader::new("#"),
    };
    let mut nodes = Vec::new();
    while reader.at < reader.lines.len() {
        nodes.extend(reader.node()?);
    }
    match nodes.is_empty() {
        true => Err(DockerfileError::of_file(Problem::NoInstructions)),
        false => Ok(Nodes { nodes, escape: reader.escape }),
    }
}

struct Reader<'t> {
    /// The lines with their breaks.
    lines: Vec<&'t str>,
    /// The line to read next, from zero.
    at: usize,
    escape: char,
    directives: DirectiveReader,
}

impl Reader<'_> {
    /// The next instruction; `None` for an empty line or a comment.
    fn node(&mut self) -> Result<Option<Node>, DockerfileError> {
        let first = self.at;
        let line = without_break(self.lines[first]).trim_start();
        self.at += 1;
        self.directive(line).map_err(|problem| self.failed(first, problem))?;
        let line = if line.starts_with('#') { "" } else { line };
        let (part, goes_on) = cut_continuation(line, self.escape);
        if !goes_on && part.is_empty() {
            return Ok(None);
        }
        let mut joined = part.to_owned();
        if goes_on {
            self.continuation(&mut joined);
        }
        let read = cut(&joined, self.escape, false).and_then(|mut node| {
            self.documents(&mut node)?;
            Ok(node)
        });
        let mut node = read.map_err(|problem| self.failed(first, problem))?;
        node.lines = Lines { first: first + 1, last: self.at };
        node.text = self.text(first);
        Ok(Some(node))
    }

    /// Adds the lines that go on; comments and empty lines between them do not end an instruction.
    fn continuation(&mut self, joined: &mut String) {
        while let Some(raw) = self.lines.get(self.at) {
            self.at += 1;
            let line = without_break(raw);
            if line.trim_start().is_empty() || line.trim_start().starts_with('#') {
                continue;
            }
            let (part, goes_on) = cut_continuation(line, self.escape);
            joined.push_str(part);
            if !goes_on {
                return;
            }
        }
    }

    fn directive(&mut self, line: &str) -> Result<(), Problem> {
        match self.directives.read(line)? {
            Some(("escape", "\\")) => self.escape = '\\',
            Some(("escape", "`")) => self.escape = '`',
            Some(("escape", other)) => return Err(Problem::Escape(other.to_owned())),
            _ => {}
        }
        Ok(())
    }

    fn documents(&mut self, node: &mut Node) -> Result<(), Problem> {
        let inner = node.trigger.as_deref().unwrap_or(node);
        let may_open = matches!(inner.keyword.to_lowercase().as_str(), "add" | "copy" | "run") && !inner.is_json;
        if !may_open || !node.joined.contains("<<") {
            return Ok(());
        }
        for opening in openings(&node.joined)? {
            let document = self.document(opening)?;
            node.documents.push(document);
        }
        if let Some(trigger) = &mut node.trigger {
            trigger.documents.clone_from(&node.documents);
        }
        Ok(())
    }

    fn document(&mut self, opening: Opening) -> Result<HereDocument, Problem> {
        let Opening { name, expand, strips_tabs } = opening;
        let start = self.at;
        while let Some(raw) = self.lines.get(self.at) {
            self.at += 1;
            let line = without_break(raw);
            let line = if strips_tabs { line.trim_start_matches('\t') } else { line };
            if line == name {
                let content = self.lines[start..self.at - 1].concat();
                let content = if strips_tabs { without_tabs(&content) } else { content };
                return Ok(HereDocument { name, content, expand });
            }
        }
        Err(Problem::HereDocumentOpen(name))
    }

    /// The lines from `first` to where the reader is.
    fn text(&self, first: usize) -> String {
        without_break(&self.lines[first..self.at].concat()).to_owned()
    }

    fn failed(&self, first: usize, problem: Problem) -> DockerfileError {
        DockerfileError::within(&self.text(first), first + 1, problem)
    }
}

/// Cuts one joined line; its place in the file is not known here.
fn cut(joined: &str, escape: char, is_trigger: bool) -> Result<Node, Problem> {
    let line = joined.trim();
    let (keyword, rest) = split_once_at_blanks(line).unwrap_or((line, ""));
    let (flags, rest) = flags(rest, escape);
    let mut node = Node {
        lines: Lines { first: 0, last: 0 },
        text: String::new(),
        joined: joined.to_owned(),
        keyword: keyword.to_owned(),
        flags,
        words: Vec::new(),
        is_json: false,
        documents: Vec::new(),
        trigger: None,
    };
    let rest = rest.trim();
    let keyword = keyword.to_lowercase();
    let whole = || if rest.is_empty() { Vec::new() } else { vec![rest.to_owned()] };
    match keyword.as_str() {
        "add" | "copy" | "volume" => {
            let array = json(&keyword, rest)?;
            node.is_json = array.is_some();
            node.words = array.unwrap_or_else(|| split_at_blanks(rest));
        }
        "cmd" | "entrypoint" | "run" | "shell" => {
            let array = json(&keyword, rest)?;
            node.is_json = array.is_some();
            node.words = array.unwrap_or_else(whole);
        }
        "healthcheck" => (node.words, node.is_json) = healthcheck(rest)?,
        "env" | "label" => node.words = pairs(&keyword, rest, escape)?,
        "arg" => node.words = quoted_words(rest, escape),
        "expose" | "from" => node.words = split_at_blanks(rest),
        "onbuild" if !rest.is_empty() && !is_trigger => node.trigger = Some(Box::new(cut(rest, escape, true)?)),
        "maintainer" | "stopsignal" | "user" | "workdir" | "onbuild" => node.words = whole(),
        _ => node.words = vec![String::new()],
    }
    Ok(node)
}

/// The kind of check, and its command.
fn healthcheck(text: &str) -> Result<(Vec<String>, bool), Problem> {
    if text.is_empty() {
        return Ok((Vec::new(), false));
    }
    let (kind, command) = split_once_at_blanks(text).unwrap_or((text, ""));
    let array = json("healthcheck", command)?;
    let is_json = array.is_some();
    let command = array.unwrap_or_else(|| if command.is_empty() { Vec::new() } else { vec![command.to_owned()] });
    Ok(([kind.to_owned()].into_iter().chain(command).collect(), is_json))
}

fn without_break(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}

/// The line without the escape that continues it, and whether it had one. An escape that is escaped continues nothing.
fn cut_continuation(line: &str, escape: char) -> (&str, bool) {
    let bare = line.trim_end_matches([' ', '\t']);
    match bare.strip_suffix(escape) {
        Some(part) if !part.ends_with(escape) => (part, true),
        _ => (line, false),
    }
}
