//! What is wrong with a Dockerfile, where, and what to write instead.
//!
//! It does not know the file's name: whoever read the file puts it before the place.

use std::fmt;

use super::expand::{ExpandError, ExpandProblem};
use crate::diagnostic::{Class, Diagnose};

/// How many characters of a line are shown.
const SHOWN: usize = 100;

/// A Dockerfile that cannot be used. Its text begins with line and column, and shows the line with a caret below.
#[derive(Debug, PartialEq, Eq)]
pub struct DockerfileError {
    /// The line, from one; 0 when the whole file is meant.
    pub line: usize,
    /// The column, in characters from one.
    pub column: usize,
    /// How many characters are meant.
    pub width: usize,
    /// The line itself.
    pub shown: String,
    /// What.
    pub problem: Box<Problem>,
}

/// What is wrong.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// There is nothing but comments.
    #[error("file has no instructions")]
    NoInstructions,
    /// No `FROM`.
    #[error("file has no `FROM`")]
    NoFrom,
    /// An instruction before the first `FROM`.
    #[error("`{0}` stands before the first `FROM`")]
    BeforeFrom(String),
    /// A parser directive stands twice.
    #[error("the parser directive `{0}` stands twice")]
    DirectiveTwice(String),
    /// A character that escapes nothing.
    #[error("`{0}` cannot be the escape character")]
    Escape(String),
    /// An instruction that does not exist.
    #[error("`{name}` is not an instruction")]
    UnknownInstruction {
        /// As it was written.
        name: String,
        /// The instruction most like it.
        suggestion: Option<&'static str>,
    },
    /// A flag that the instruction does not have.
    #[error("`{flag}` is not a flag of `{keyword}`")]
    UnknownFlag {
        /// The instruction.
        keyword: String,
        /// The flag, with its dashes.
        flag: String,
        /// The flag most like it, with its dashes.
        suggestion: Option<String>,
    },
    /// A flag stands twice.
    #[error("the flag `{0}` stands twice")]
    FlagTwice(String),
    /// A flag without its value.
    #[error("the flag `{0}` has no value")]
    FlagWithoutValue(String),
    /// A flag with a value that it cannot have.
    #[error("the flag `{flag}` cannot be `{value}`")]
    FlagValue {
        /// The flag, with its dashes.
        flag: String,
        /// The value.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// An instruction with nothing behind it.
    #[error("`{0}` has no argument")]
    NoArgument(String),
    /// `COPY` or `ADD` with one word.
    #[error("`{0}` has no destination")]
    NoDestination(String),
    /// `ENV NAME` without a value.
    #[error("`{0}` has a name and no value")]
    NoValue(String),
    /// A word that should be a pair.
    #[error("`{word}` is not of the form `name=value`")]
    NotPair {
        /// The word.
        word: String,
    },
    /// A pair without a name.
    #[error("`{0}` has a value without a name")]
    BlankName(String),
    /// An array with something else in it than texts.
    #[error("a JSON array of `{0}` holds something that is not a text")]
    JsonNotTexts(String),
    /// `SHELL` in another form than JSON.
    #[error("`SHELL` is not a JSON array")]
    ShellNotJson,
    /// A here-document without an end.
    #[error("the here-document `{0}` has no end")]
    HereDocumentOpen(String),
    /// A here-document in the place of a destination.
    #[error("a here-document cannot be the destination of `{0}`")]
    HereDocumentDestination(String),
    /// `FROM` with another number of words than one or three.
    #[error("`FROM` is not of the form `FROM image` or `FROM image AS name`")]
    From,
    /// A stage's name that is none.
    #[error("`{0}` cannot be the name of a stage")]
    StageName(String),
    /// An instruction that cannot be a trigger.
    #[error("`{0}` cannot be a trigger of `ONBUILD`")]
    Trigger(String),
    /// `HEALTHCHECK` of an unknown kind.
    #[error("`HEALTHCHECK {0}` does not exist")]
    HealthcheckKind(String),
    /// `HEALTHCHECK NONE` with more behind it.
    #[error("`HEALTHCHECK NONE` takes no arguments")]
    HealthcheckNone,
    /// `HEALTHCHECK CMD` with nothing behind it.
    #[error("`HEALTHCHECK CMD` has no command")]
    HealthcheckCommand,
    /// A volume without a path.
    #[error("`VOLUME` has an empty path")]
    BlankVolume,
    /// A variable in `COPY --from`.
    #[error("variables in `--from={0}` are not expanded")]
    FromVariable(String),
    /// A word that cannot be expanded.
    #[error(transparent)]
    Expand(#[from] ExpandError),
}

impl DockerfileError {
    /// Of the whole file.
    pub(super) fn of_file(problem: Problem) -> Self {
        Self { line: 0, column: 0, width: 0, shown: String::new(), problem: Box::new(problem) }
    }

    /// Of the instruction `text` that begins on `first`: where the words that are to blame stand in it.
    pub(super) fn within(text: &str, first: usize, problem: Problem) -> Self {
        let blamed = problem.blamed().filter(|blamed| !blamed.is_empty());
        let head = text.lines().next().unwrap_or_default();
        let start = head.len() - head.trim_start().len();
        let keyword = head.split_whitespace().next().unwrap_or_default();
        let (offset, at, words) = blamed
            .and_then(|blamed| find(text, blamed).map(|(offset, at)| (offset, at, blamed)))
            .unwrap_or((0, start, keyword));
        let shown = text.lines().nth(offset).unwrap_or_default().to_owned();
        let column = shown[..at].chars().count() + 1;
        Self { line: first + offset, column, width: words.chars().count(), shown, problem: Box::new(problem) }
    }
}

/// The line and the byte in it where `words` stand in `text`: as whole words, or else anywhere.
fn find(text: &str, words: &str) -> Option<(usize, usize)> {
    let is_part = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    let whole =
        |line: &str, at: usize| !(line[..at].ends_with(is_part) || line[at + words.len()..].starts_with(is_part));
    let all = || {
        let lines = text.lines().enumerate();
        lines.flat_map(|(offset, line)| line.match_indices(words).map(move |(at, _)| (offset, line, at)))
    };
    let found = all().find(|(_, line, at)| whole(line, *at)).or_else(|| all().next());
    found.map(|(offset, _, at)| (offset, at))
}

/// What the file says must not speak to the terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

impl fmt::Display for DockerfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = clean(&self.problem.to_string());
        if self.line == 0 {
            return f.write_str(&problem);
        }
        let first = (self.column - 1).saturating_sub(SHOWN / 2);
        let line = clean(&self.shown.chars().skip(first).take(SHOWN).collect::<String>());
        let indent = line.chars().take(self.column - 1 - first).map(|c| if c == '\t' { '\t' } else { ' ' });
        let indent: String = indent.collect();
        let carets = "^".repeat(self.width.clamp(1, SHOWN / 2));
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        write!(f, "{}:{}: {}\n  {number} | {line}\n  {gutter} | {indent}{carets}", self.line, self.column, problem)
    }
}

impl std::error::Error for DockerfileError {}

impl Diagnose for DockerfileError {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        self.problem.hint().as_deref().map(clean)
    }
}

impl Problem {
    /// The words in the file that are to blame.
    fn blamed(&self) -> Option<&str> {
        match self {
            Self::BeforeFrom(words)
            | Self::DirectiveTwice(words)
            | Self::Escape(words)
            | Self::UnknownInstruction { name: words, .. }
            | Self::UnknownFlag { flag: words, .. }
            | Self::FlagTwice(words)
            | Self::FlagWithoutValue(words)
            | Self::FlagValue { value: words, .. }
            | Self::NotPair { word: words }
            | Self::HereDocumentOpen(words)
            | Self::StageName(words)
            | Self::Trigger(words)
            | Self::HealthcheckKind(words)
            | Self::FromVariable(words) => Some(words),
            Self::Expand(ExpandError { word, .. }) => word.lines().next(),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::UnknownInstruction { suggestion: Some(known), .. } => format!("did you mean `{known}`?"),
            Self::UnknownFlag { suggestion: Some(known), .. } => format!("did you mean `{known}`?"),
            Self::Expand(error) => return error.problem.hint(),
            Self::FlagValue { expected, .. } => format!("write {expected}"),
            Self::NotPair { word } => format!("put values with blanks into quotes, or write `{word}=...`"),
            Self::NoDestination(keyword) => format!("write `{keyword} source... destination`"),
            Self::NoValue(keyword) => format!("write `{keyword} name=value`"),
            Self::HereDocumentOpen(name) => format!("end it with a line that holds `{name}` alone"),
            _ => self.plain_hint()?.to_owned(),
        };
        Some(hint)
    }

    fn plain_hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoInstructions | Self::NoFrom => "begin with `FROM` and an image, or `FROM scratch`",
            Self::BeforeFrom(_) => "only `ARG` may stand there; write `FROM` and an image first",
            Self::DirectiveTwice(_) | Self::FlagTwice(_) => "keep one of the two",
            Self::Escape(_) => "write `# escape=\\` or ``# escape=` ``",
            Self::UnknownInstruction { .. } => {
                "if the line belongs to the instruction above, end that with a backslash or use a here-document"
            }
            Self::FlagWithoutValue(_) => "write `=` and the value behind it, without blanks",
            Self::JsonNotTexts(_) => "put each element into double quotes",
            Self::ShellNotJson => "write it as in `SHELL [\"/bin/sh\", \"-c\"]`",
            Self::From => "put what does not belong there onto a line of its own; comments too",
            Self::StageName(_) => "begin with a letter; letters, digits, `-`, `_` and `.` may follow",
            Self::Trigger(_) => "write another instruction behind `ONBUILD`",
            Self::HealthcheckKind(_) | Self::HealthcheckCommand => {
                "write `HEALTHCHECK CMD command` or `HEALTHCHECK NONE`"
            }
            Self::HealthcheckNone => "leave out what follows `NONE`",
            Self::FromVariable(_) => "name a stage: `FROM ${...} AS name` above, and `--from=name` here",
            _ => return None,
        })
    }
}

impl ExpandProblem {
    /// What to write instead.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::MissingBrace => "close the `${` with `}`, or write `\\$` for a dollar".to_owned(),
            Self::MissingSlash => "write `${name/pattern/replacement}`".to_owned(),
            Self::BadSubstitution => "write `${name}`, or `\\$` for a dollar".to_owned(),
            Self::Unterminated(quote) => format!("close the quote, or write `\\{quote}` for the character itself"),
            Self::UnsupportedModifier(_) => {
                "known are `:-`, `-`, `:+`, `+`, `:?`, `?`, `#`, `##`, `%`, `%%`, `/` and `//`".to_owned()
            }
            Self::Unset { name, .. } | Self::Empty { name, .. } => format!("give `{name}` a value with `ARG` or `ENV`"),
            Self::Pattern { .. } => "escape `*`, `?` and backslashes alone".to_owned(),
            Self::TooDeep | Self::TooLarge => return None,
            Self::Mount(problem) => return problem.hint(),
        })
    }
}

/// The word of `known` that a misspelt one stands for, if one is near enough.
pub(super) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = word.to_lowercase();
    let distance = |known: &str| strsim::osa_distance(&word, &known.to_lowercase());
    let near =
        known.into_iter().map(|known| (distance(known), known)).filter(|(distance, _)| (1..3).contains(distance));
    near.min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}
