//! Environment markers (dependency specifiers, "Environment markers"), evaluated for a target.
//!
//! For locks that serve several targets; requirements' own markers are evaluated by the resolver.

use std::collections::BTreeMap;
use std::str::FromStr;

use pep440_rs::{Version, VersionSpecifier};

/// The values of the marker variables of one interpreter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkerEnvironment(BTreeMap<&'static str, String>);

impl MarkerEnvironment {
    /// CPython `version` (`3.11` or `3.11.7`) on Linux on `machine` (`x86_64`, `aarch64`).
    pub fn linux(version: &str, machine: &str) -> Self {
        let short: Vec<&str> = version.splitn(3, '.').take(2).collect();
        let full = if version.split('.').count() < 3 { format!("{version}.0") } else { version.to_owned() };
        Self(BTreeMap::from([
            ("python_version", short.join(".")),
            ("python_full_version", full.clone()),
            ("implementation_version", full),
            ("os_name", "posix".to_owned()),
            ("sys_platform", "linux".to_owned()),
            ("platform_system", "Linux".to_owned()),
            ("platform_machine", machine.to_owned()),
            ("platform_python_implementation", "CPython".to_owned()),
            ("implementation_name", "cpython".to_owned()),
            ("platform_release", String::new()),
            ("platform_version", String::new()),
            ("extra", String::new()),
        ]))
    }

    /// The same with `extra` asked for.
    #[must_use]
    pub fn with_extra(&self, extra: &str) -> Self {
        let mut own = self.clone();
        own.0.insert("extra", extra.to_owned());
        own
    }

    /// Whether `marker` holds, with `groups` as the dependency groups chosen and no extras; `None` when it cannot be read.
    pub fn holds(&self, marker: &str, groups: &[String]) -> Option<bool> {
        let tokens = tokens(marker)?;
        let mut reader = Reader { environment: self, groups, tokens: &tokens, at: 0, depth: 0 };
        let holds = reader.any()?;
        (reader.at == tokens.len()).then_some(holds)
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Operator(String),
    Open,
    Close,
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, taken) = match first {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            '\'' | '"' => {
                let end = rest[1..].find(first)?;
                (Token::Text(rest[1..=end].to_owned()), end + 2)
            }
            '<' | '>' | '=' | '!' | '~' => {
                let end = rest.find(|c| !"<>=!~".contains(c)).unwrap_or(rest.len());
                (Token::Operator(rest[..end].to_owned()), end)
            }
            letter if letter.is_ascii_alphabetic() => {
                let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
                let end = rest.find(|c| !word(c)).unwrap_or(rest.len());
                (Token::Word(rest[..end].to_owned()), end)
            }
            _ => return None,
        };
        tokens.push(token);
        rest = rest[taken..].trim_start();
    }
    Some(tokens)
}

struct Reader<'a> {
    environment: &'a MarkerEnvironment,
    groups: &'a [String],
    tokens: &'a [Token],
    at: usize,
    depth: usize,
}

enum Value {
    Version(String),
    Text(String),
    Set(Vec<String>),
    Literal(String),
}

impl Reader<'_> {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at)?.clone();
        self.at += 1;
        Some(token)
    }

    fn eat(&mut self, word: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some(Token::Word(found)) if found == word);
        self.at += usize::from(found);
        found
    }

    fn any(&mut self) -> Option<bool> {
        let mut holds = self.all()?;
        while self.eat("or") {
            holds |= self.all()?;
        }
        Some(holds)
    }

    fn all(&mut self) -> Option<bool> {
        let mut holds = self.one()?;
        while self.eat("and") {
            holds &= self.one()?;
        }
        Some(holds)
    }

    fn one(&mut self) -> Option<bool> {
        if self.tokens.get(self.at) == Some(&Token::Open) {
            self.at += 1;
            self.depth += 1;
            if self.depth > 64 {
                return None;
            }
            let holds = self.any()?;
            self.depth -= 1;
            return (self.next()? == Token::Close).then_some(holds);
        }
        let left = self.value()?;
        let operator = match self.next()? {
            Token::Operator(operator) => operator,
            Token::Word(word) if word == "in" => word,
            Token::Word(word) if word == "not" && self.eat("in") => "not in".to_owned(),
            _ => return None,
        };
        let right = self.value()?;
        compare(&left, &operator, &right)
    }

    fn value(&mut self) -> Option<Value> {
        match self.next()? {
            Token::Text(text) => Some(Value::Literal(text)),
            Token::Word(word) => match word.as_str() {
                "extras" => Some(Value::Set(Vec::new())),
                "dependency_groups" => Some(Value::Set(self.groups.to_vec())),
                name => {
                    let value = self.environment.0.get(name)?.clone();
                    let is_version =
                        matches!(name, "python_version" | "python_full_version" | "implementation_version");
                    Some(if is_version { Value::Version(value) } else { Value::Text(value) })
                }
            },
            _ => None,
        }
    }
}

fn compare(left: &Value, operator: &str, right: &Value) -> Option<bool> {
    use Value::{Literal, Set, Text, Version as Is};
    match (left, right) {
        (Literal(text), Set(set)) => match operator {
            "in" => Some(set.contains(text)),
            "not in" => Some(!set.contains(text)),
            _ => None,
        },
        (Is(version), Literal(wanted)) if operator.ends_with("in") => {
            let found = wanted.split([',', ' ', '|']).any(|item| item == version);
            Some(found == (operator == "in"))
        }
        (Is(version), Literal(wanted)) => compare_versions(version, operator, wanted),
        (Literal(wanted), Is(version)) => compare_versions(version, mirrored(operator)?, wanted),
        (Text(a) | Literal(a), Text(b) | Literal(b)) => compare_texts(a, operator, b),
        _ => None,
    }
}

fn mirrored(operator: &str) -> Option<&str> {
    Some(match operator {
        "<" => ">",
        "<=" => ">=",
        ">" => "<",
        ">=" => "<=",
        "==" | "!=" | "===" => operator,
        _ => return None,
    })
}

fn compare_versions(version: &str, operator: &str, wanted: &str) -> Option<bool> {
    let specifier = VersionSpecifier::from_str(&format!("{operator}{wanted}")).ok()?;
    Some(specifier.contains(&Version::from_str(version).ok()?))
}

fn compare_texts(a: &str, operator: &str, b: &str) -> Option<bool> {
    Some(match operator {
        "==" | "===" => a == b,
        "!=" => a != b,
        "<" => a < b,
        "<=" => a <= b,
        ">" => a > b,
        ">=" => a >= b,
        "in" => b.contains(a),
        "not in" => !b.contains(a),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_hold_as_the_specification_says() {
        let environment = MarkerEnvironment::linux("3.11.7", "x86_64");
        let groups = ["dev".to_owned()];
        for (marker, expected) in [
            ("python_version >= '3.9'", Some(true)),
            ("python_version < '3.9' or sys_platform == \"linux\"", Some(true)),
            ("(python_version < '3.9' or os_name == 'nt') and sys_platform == 'linux'", Some(false)),
            ("python_full_version == '3.11.*'", Some(true)),
            ("'3.10' <= python_version", Some(true)),
            ("python_version in '3.10, 3.11'", Some(true)),
            ("platform_machine not in 'arm64 aarch64'", Some(true)),
            ("'dev' in dependency_groups", Some(true)),
            ("'fast' in extras", Some(false)),
            ("'fast' not in extras", Some(true)),
            ("platform_python_implementation != 'PyPy'", Some(true)),
            ("python_version ~= '3.8'", Some(true)),
            ("", None),
            ("python_version", None),
            ("python_version >= '3.9", None),
            ("python_version >= '3.9' x", None),
            ("moon == 'full'", None),
            ("(python_version >= '3.9'", None),
        ] {
            assert_eq!(environment.holds(marker, &groups), expected, "{marker}");
        }
    }
}
