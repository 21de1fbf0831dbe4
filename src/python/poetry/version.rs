//! Constraints of versions as Poetry writes them: `^1.2`, `~1.2`, `1.*`, `>=1,<2`, alternatives with `||`.
//!
//! They are held against single versions; nothing is intersected or simplified.

use std::str::FromStr as _;

use pep440_rs::{Version, VersionSpecifier};

/// A constraint: any of its alternatives, each of which is all of its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraint(Vec<Vec<VersionSpecifier>>);

impl Constraint {
    /// Reads `text`; `None` when it is not understood.
    pub fn parse(text: &str) -> Option<Self> {
        let alternatives = text.split('|').filter(|part| !part.trim().is_empty() || !text.contains('|'));
        let alternatives: Vec<_> = alternatives.map(all_of).collect::<Option<_>>()?;
        (!alternatives.is_empty()).then_some(Self(alternatives))
    }

    /// Whether `version` is allowed.
    pub fn allows(&self, version: &Version) -> bool {
        self.0.iter().any(|parts| parts.iter().all(|part| part.contains(version)))
    }
}

/// The parts between commas or blanks; a blank behind an operator separates nothing.
fn all_of(text: &str) -> Option<Vec<VersionSpecifier>> {
    let mut parts = Vec::new();
    let mut operator = String::new();
    for word in text.split([',', ' ', '\t']).filter(|word| !word.is_empty()) {
        if word.chars().all(|c| "^~<>=!".contains(c)) {
            operator.push_str(word);
            continue;
        }
        parts.extend(one(&(std::mem::take(&mut operator) + word))?);
    }
    operator.is_empty().then_some(parts)
}

fn one(text: &str) -> Option<Vec<VersionSpecifier>> {
    let specifier = |text: String| VersionSpecifier::from_str(&text).ok();
    if ["*", "x", "X"].contains(&text) {
        return Some(Vec::new());
    }
    let end = text.find(|c| !"^~<>=!".contains(c))?;
    let (operator, version) = text.split_at(end);
    let version = version.trim_start_matches(['v', 'V']);
    let release = || Version::from_str(version).ok().map(|version| version.release().to_vec());
    match operator {
        "^" | "~" => {
            let release = release()?;
            let kept = if operator == "^" { caret(&release) } else { release.len().min(2) };
            let upper = next(&release, kept)?;
            Some(vec![specifier(format!(">={version}"))?, specifier(format!("<{upper}"))?])
        }
        "" | "=" | "==" => Some(vec![specifier(format!("=={version}"))?]),
        "!=" | "<" | "<=" | ">" | ">=" | "~=" | "===" => Some(vec![specifier(format!("{operator}{version}"))?]),
        _ => None,
    }
}

/// How many numbers of a version `^` keeps: up to the first that is not zero, as far as they are written.
fn caret(release: &[u64]) -> usize {
    let first = release.iter().position(|number| *number > 0).unwrap_or(release.len() - 1);
    (first + 1).min(3).min(release.len())
}

/// The first version behind all that begin with the first `kept` numbers of `release`.
fn next(release: &[u64], kept: usize) -> Option<String> {
    let mut numbers = release.get(..kept)?.to_vec();
    *numbers.last_mut()? += 1;
    Some(numbers.iter().map(u64::to_string).collect::<Vec<_>>().join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_allow_what_poetry_allows() {
        for (text, allowed, refused) in [
            ("*", "3.11.7 0.1", ""),
            ("^3.11", "3.11 3.11.7 3.14.1", "3.10.9 4.0 4.1"),
            ("^1.2.3", "1.2.3 1.9", "1.2.2 2.0"),
            ("^0.2.3", "0.2.3 0.2.9", "0.3 0.2.2"),
            ("^0.0.3", "0.0.3", "0.0.4 0.1"),
            ("^0.0", "0.0.9", "0.1"),
            ("^0", "0.9", "1.0"),
            ("~3.11", "3.11.0 3.11.9", "3.12 3.10"),
            ("~1", "1.9", "2.0"),
            ("~1.2.3", "1.2.3 1.2.9", "1.3"),
            ("~=1.4.2", "1.4.5", "1.5"),
            ("3.11.*", "3.11.7", "3.12"),
            ("!=3.11.*,>=3.9", "3.10 3.12", "3.11.1 3.8"),
            (">=3.9,<4.0", "3.9 3.13", "3.8 4.0"),
            (">= 3.9, < 4", "3.9 3.13", "3.8 4.0"),
            (">=3.9 <4.0", "3.9", "4.0"),
            ("<3.8 || >=3.10", "3.7 3.10", "3.9"),
            ("^2.7 | ^3.6", "2.7.1 3.6", "3.5"),
            ("8.1.8", "8.1.8", "8.1.9"),
            ("==8.1", "8.1 8.1.0", "8.1.1"),
        ] {
            let constraint = Constraint::parse(text).unwrap();
            let allows = |version: &str| constraint.allows(&Version::from_str(version).unwrap());
            allowed.split_whitespace().for_each(|version| assert!(allows(version), "{text} {version}"));
            refused.split_whitespace().for_each(|version| assert!(!allows(version), "{text} {version}"));
        }
    }

    #[test]
    fn what_is_no_constraint_is_not_understood() {
        for text in ["^", ">=", "abc", "^x", "1.0 - 2.0", "^1.*", "||", "<>1"] {
            assert_eq!(Constraint::parse(text), None, "{text}");
        }
    }
}
