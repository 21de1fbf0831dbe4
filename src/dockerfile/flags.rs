//! The flags of an instruction, each held against those that it has.
//!
//! Values are texts here; what they mean is the instruction's business.

use super::error::{Problem, nearest};
use super::node::Node;

/// A flag that an instruction has.
#[derive(Clone, Copy)]
pub(super) enum Flag {
    /// `--name`, `--name=true` or `--name=false`.
    Switch(&'static str),
    /// `--name=value`, once.
    Text(&'static str),
    /// `--name=value`, as often as one likes.
    Texts(&'static str),
}

/// The flags that were given, in their order.
pub(super) struct Flags<'n>(Vec<(&'static str, &'n str)>);

impl Flag {
    fn name(self) -> &'static str {
        let (Self::Switch(name) | Self::Text(name) | Self::Texts(name)) = self;
        name
    }
}

impl<'n> Flags<'n> {
    /// Reads the flags of `node`, which may be those of `known`.
    pub(super) fn read(node: &'n Node, known: &[Flag]) -> Result<Self, Problem> {
        let mut given: Vec<(&'static str, &'n str)> = Vec::new();
        for text in &node.flags {
            let (flag, value) = text.split_once('=').map_or((text.as_str(), None), |(flag, value)| (flag, Some(value)));
            let bare = flag.trim_start_matches('-');
            let Some(kind) = known.iter().copied().find(|kind| flag.strip_prefix("--") == Some(kind.name())) else {
                let suggestion = nearest(bare, known.iter().map(|kind| kind.name())).map(|name| format!("--{name}"));
                let keyword = node.keyword.to_uppercase();
                return Err(Problem::UnknownFlag { keyword, flag: flag.to_owned(), suggestion });
            };
            let is_second = given.iter().any(|(name, _)| *name == kind.name());
            if is_second && !matches!(kind, Flag::Texts(_)) {
                return Err(Problem::FlagTwice(flag.to_owned()));
            }
            let value = match (kind, value) {
                (Flag::Switch(_), None) => "true",
                (Flag::Switch(_), Some("")) | (_, None) => return Err(Problem::FlagWithoutValue(flag.to_owned())),
                (Flag::Switch(_), Some(value)) => truth(flag, value)?,
                (_, Some(value)) => value,
            };
            given.push((kind.name(), value));
        }
        Ok(Self(given))
    }

    /// A flag's value; `None` when it is not given, or empty.
    pub(super) fn text(&self, name: &str) -> Option<&'n str> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| *value).filter(|value| !value.is_empty())
    }

    /// All values of a flag.
    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()).collect()
    }

    /// Whether a switch is on; `None` when it is not given.
    pub(super) fn switch(&self, name: &str) -> Option<bool> {
        self.text(name).map(|value| value == "true")
    }

    /// A flag's value, which must be one of `choices`.
    pub(super) fn choice(
        &self,
        name: &str,
        choices: &[&str],
        expected: &'static str,
    ) -> Result<Option<String>, Problem> {
        let given = self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        match given {
            Some(value) if !choices.contains(&value) => {
                Err(Problem::FlagValue { flag: format!("--{name}"), value: value.to_owned(), expected })
            }
            given => Ok(given.map(str::to_owned)),
        }
    }
}

fn truth(flag: &str, value: &str) -> Result<&'static str, Problem> {
    match value.to_lowercase().as_str() {
        "true" => Ok("true"),
        "false" => Ok("false"),
        _ => Err(Problem::FlagValue { flag: flag.to_owned(), value: value.to_owned(), expected: "`true` or `false`" }),
    }
}
