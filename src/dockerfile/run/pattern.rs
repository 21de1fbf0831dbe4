//! Patterns of file names, which a shell replaces with the names of files where there are any.
//!
//! No folder is listed here.

/// A word with `*`, `?` or `[...]` outside quotation marks.
///
/// Where a file matches, the shell puts the names of all that do in its place, in order; else the word stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    /// The units of each part between slashes.
    parts: Vec<Vec<Unit>>,
}

/// What matches one or more characters of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Unit {
    This(char),
    /// `?`.
    Any,
    /// `*`.
    Several,
    /// One of these, or of more.
    OneOf(Vec<char>),
}

impl Pattern {
    /// The pattern of characters, each with whether it stands outside quotation marks; `Ok(None)` where there is none.
    ///
    /// # Errors
    /// Fails for patterns that shells read in different ways.
    pub(super) fn of(marked: &[(char, bool)]) -> Result<Option<Self>, String> {
        let text: String = marked.iter().map(|(c, _)| c).collect();
        let refused = || format!("`{text}` is a pattern of file names");
        let mut parts = vec![Vec::new()];
        let mut is_pattern = false;
        let mut rest = marked;
        while let Some((&(c, is_active), after)) = rest.split_first() {
            rest = after;
            let end = (c == '[' && is_active).then(|| after.iter().position(|(c, _)| *c == ']')).flatten();
            let unit = match (c, is_active, end) {
                ('/', _, _) => {
                    parts.push(Vec::new());
                    continue;
                }
                ('*', true, _) => Unit::Several,
                ('?', true, _) => Unit::Any,
                (_, _, Some(length)) => {
                    rest = &after[length + 1..];
                    Unit::OneOf(bracketed(&after[..length]).ok_or_else(refused)?)
                }
                _ => Unit::This(c),
            };
            is_pattern |= !matches!(unit, Unit::This(_));
            if let Some(part) = parts.last_mut() {
                part.push(unit);
            }
        }
        // Some shells count `.` and `..` among the names, others do not.
        let is_odd = |part: &Vec<Unit>| {
            part.iter().any(|unit| !matches!(unit, Unit::This(_)))
                && (matches_name(part, &['.']) || matches_name(part, &['.', '.']))
        };
        if is_pattern && (parts.iter().skip(1).any(Vec::is_empty) || parts.iter().any(is_odd)) {
            return Err(refused());
        }
        Ok(is_pattern.then_some(Self { text, parts }))
    }

    /// The word, as it stays where no file matches.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The folder below which all that matches is found, with its closing slash; empty for the working folder.
    pub fn folder(&self) -> String {
        let is_plain = |part: &&Vec<Unit>| part.iter().all(|unit| matches!(unit, Unit::This(_)));
        let plain = self.parts.iter().take_while(is_plain);
        plain.map(|part| part.iter().filter_map(Unit::plain).chain(['/']).collect::<String>()).collect()
    }

    /// Whether [`Self::matches`] matches nothing that a shell does not. Brackets may match more.
    pub fn is_exact(&self) -> bool {
        !self.parts.iter().flatten().any(|unit| matches!(unit, Unit::OneOf(_)))
    }

    /// Whether a shell would take the file at `path`, which begins with [`Self::folder`], for this word.
    pub fn matches(&self, path: &str) -> bool {
        let parts: Vec<Vec<char>> = path.split('/').map(|part| part.chars().collect()).collect();
        parts.len() == self.parts.len() && self.parts.iter().zip(&parts).all(|(units, name)| matches_name(units, name))
    }
}

impl Unit {
    fn plain(&self) -> Option<char> {
        match self {
            Self::This(c) => Some(*c),
            _ => None,
        }
    }
}

/// Whether a name matches; its first dot has to be there in so many words.
fn matches_name(units: &[Unit], name: &[char]) -> bool {
    let is_hidden = name.first() == Some(&'.') && units.first() != Some(&Unit::This('.'));
    !is_hidden && matches_rest(units, name)
}

fn matches_rest(units: &[Unit], name: &[char]) -> bool {
    // Which lengths of the name the units so far can match.
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    for unit in units {
        let mut next = vec![false; name.len() + 1];
        for at in (0..=name.len()).filter(|at| reached[*at]) {
            match unit {
                Unit::Several => next[at..].fill(true),
                unit if name.get(at).is_some_and(|c| unit.matches(*c)) => next[at + 1] = true,
                _ => {}
            }
        }
        reached = next;
    }
    reached[name.len()]
}

impl Unit {
    fn matches(&self, c: char) -> bool {
        match self {
            Self::This(this) => *this == c,
            Self::Any | Self::Several => true,
            Self::OneOf(choices) => choices.contains(&c),
        }
    }
}

/// What one pair of brackets may stand for; a range counts in both directions.
fn bracketed(inside: &[(char, bool)]) -> Option<Vec<char>> {
    let inside: Vec<char> = inside.iter().map(|(c, _)| *c).collect();
    let is_known = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ',' | ' ');
    if inside.is_empty() || !inside.iter().all(is_known) {
        return None;
    }
    let mut choices = inside.clone();
    for range in inside.windows(3).filter(|range| range[1] == '-') {
        choices.extend(range[0].min(range[2])..=range[0].max(range[2]));
        // Where a language sorts letters of both cases together, a range has both.
        choices.extend(('A'..='z').filter(char::is_ascii_alphabetic));
    }
    Some(choices)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Option<Pattern> {
        Pattern::of(&text.chars().map(|c| (c, true)).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn names_match_as_in_a_shell() {
        let table = [
            ("/tmp/*", "/tmp/", &["/tmp/a", "/tmp/a b"][..], &["/tmp/.a", "/tmp/a/b", "/tmp", "a"][..]),
            ("*.whl", "", &["a.whl"], &[".whl", "a.whl.x", "b/a.whl"]),
            ("/var/*/lists/x*y", "/var/", &["/var/a/lists/xy", "/var/a/lists/xzy"], &["/var/a/x/xy"]),
            (".c*", "", &[".cache"], &["cache"]),
            ("a?c", "", &["abc"], &["ac", "abbc"]),
            ("uvicorn[standard]==1.*", "", &["uvicorns==1.", "uvicornd==1.2"], &["uvicorn[standard]==1.2"]),
            ("p[all-docs]", "", &["pd", "ph", "p-"], &["pall-docs", "p_"]),
            ("**", "", &["a"], &[".a"]),
        ];
        for (text, folder, matching, others) in table {
            let pattern = pattern(text).unwrap();
            assert_eq!((pattern.folder().as_str(), pattern.text()), (folder, text));
            assert!(matching.iter().all(|path| pattern.matches(path)), "{text}");
            assert!(!others.iter().any(|path| pattern.matches(path)), "{text}");
            assert_eq!(pattern.is_exact(), !text.contains('['));
        }
    }

    #[test]
    fn what_is_quoted_or_open_is_no_pattern() {
        assert_eq!(Pattern::of(&[('*', false)]), Ok(None));
        assert_eq!(pattern("a[b"), None);
        assert_eq!(pattern("a]b"), None);
        for text in ["[!a]", "[^a]", "a//*", "*/", "[[:alpha:]]", "[]a]", "[a/b]", ".*", "/a/.?"] {
            assert!(Pattern::of(&text.chars().map(|c| (c, true)).collect::<Vec<_>>()).is_err(), "{text}");
        }
    }
}
