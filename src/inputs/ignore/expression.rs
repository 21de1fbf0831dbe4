//! The regular expressions that patterns are translated to, in the dialect of Go's `regexp`.
//!
//! Only what a translation can hold is read: no alternatives, no captures. Unicode classes (`\p`) and quoting (`\Q`) are
//! refused. Matching walks all states at once, so its time is bounded by pattern times path.

use super::file::decode;

/// One compiled expression, matched against a whole path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expression(Vec<Node>);

/// An expression that Go's `regexp` (or this module) refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    /// One character of the set; any number of them when `repeat`.
    Take { set: Set, repeat: bool },
    /// Goes on with the next node, or skips it.
    Fork,
    /// Any number of characters that end in a slash.
    Directories,
    /// Takes nothing; holds at some places only.
    Assert(Place),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Set {
    One(char),
    Any,
    AllBut(char),
    Class { negated: bool, ranges: Vec<(u32, u32)> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Start,
    End,
    WordEdge(bool),
}

impl Expression {
    /// Reads an expression; the leading `^` is optional, a missing `$` lets anything follow.
    pub(super) fn parse(text: &str) -> Result<Self, Refused> {
        let mut parser = Parser { chars: text.chars().collect(), at: 0 };
        let mut nodes = Vec::new();
        let mut anchored = false;
        while let Some(first) = parser.next() {
            match first {
                '$' => anchored = true,
                '^' => nodes.push(Node::Assert(Place::Start)),
                '(' => {
                    parser.expect(".*/)?")?;
                    nodes.extend([Node::Fork, Node::Directories]);
                }
                '.' => {
                    parser.expect("*")?;
                    nodes.push(Node::Take { set: Set::AllBut('\n'), repeat: true });
                }
                '[' => {
                    let set = parser.class()?;
                    nodes.push(Node::Take { set, repeat: parser.skip('*') });
                }
                '\\' => nodes.push(parser.escape()?),
                other => nodes.push(Node::Take { set: Set::One(other), repeat: false }),
            }
        }
        if !anchored {
            nodes.push(Node::Take { set: Set::Any, repeat: true });
        }
        Ok(Self(nodes))
    }

    /// Whether the expression matches all of `path`.
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        let (mut now, mut next) = (States::new(self.0.len()), States::new(self.0.len()));
        let mut rest = path;
        let mut coming = decode(rest);
        now.add(&self.0, 0, None, coming.map(|(c, _)| c));
        while let Some((taken, width)) = coming {
            rest = &rest[width..];
            coming = decode(rest);
            let after = coming.map(|(c, _)| c);
            next.clear();
            for &at in &now.active {
                match self.0.get(at) {
                    Some(Node::Take { set, repeat }) if set.holds(taken) => {
                        next.add(&self.0, if *repeat { at } else { at + 1 }, Some(taken), after);
                    }
                    Some(Node::Directories) if taken != '\n' => {
                        next.add(&self.0, at, Some(taken), after);
                        if taken == '/' {
                            next.add(&self.0, at + 1, Some(taken), after);
                        }
                    }
                    _ => {}
                }
            }
            std::mem::swap(&mut now, &mut next);
            if now.active.is_empty() {
                return false;
            }
        }
        now.seen[self.0.len()]
    }
}

/// The places in an expression that a match may have reached.
struct States {
    active: Vec<usize>,
    seen: Vec<bool>,
    todo: Vec<usize>,
}

impl States {
    fn new(nodes: usize) -> Self {
        Self { active: Vec::new(), seen: vec![false; nodes + 1], todo: Vec::new() }
    }

    fn clear(&mut self) {
        self.active.clear();
        self.seen.fill(false);
    }

    /// Adds a place and all that it reaches without taking a character.
    fn add(&mut self, nodes: &[Node], at: usize, before: Option<char>, after: Option<char>) {
        self.todo.push(at);
        while let Some(at) = self.todo.pop() {
            if std::mem::replace(&mut self.seen[at], true) {
                continue;
            }
            match nodes.get(at) {
                Some(Node::Fork) => self.todo.extend([at + 1, at + 2]),
                Some(Node::Assert(place)) => {
                    if place.holds(before, after) {
                        self.todo.push(at + 1);
                    }
                }
                Some(Node::Take { repeat: true, .. }) => {
                    self.active.push(at);
                    self.todo.push(at + 1);
                }
                Some(Node::Take { .. } | Node::Directories) | None => self.active.push(at),
            }
        }
    }
}

impl Set {
    fn holds(&self, found: char) -> bool {
        match self {
            Self::One(only) => found == *only,
            Self::Any => true,
            Self::AllBut(but) => found != *but,
            Self::Class { negated, ranges } => {
                let code = u32::from(found);
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&code)) != *negated
            }
        }
    }
}

impl Place {
    fn holds(self, before: Option<char>, after: Option<char>) -> bool {
        let is_word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        match self {
            Self::Start => before.is_none(),
            Self::End => after.is_none(),
            Self::WordEdge(wanted) => (is_word(before) != is_word(after)) == wanted,
        }
    }
}

type Ranges = Vec<(u32, u32)>;

struct Parser {
    chars: Vec<char>,
    at: usize,
}

impl Parser {
    fn next(&mut self) -> Option<char> {
        let found = self.peek(0)?;
        self.at += 1;
        Some(found)
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn skip(&mut self, wanted: char) -> bool {
        let found = self.peek(0) == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, text: &str) -> Result<(), Refused> {
        if text.chars().all(|c| self.skip(c)) { Ok(()) } else { Err(Refused) }
    }

    /// What follows a backslash outside a class.
    fn escape(&mut self) -> Result<Node, Refused> {
        let place = match self.peek(0) {
            Some('A') => Place::Start,
            Some('z') => Place::End,
            Some('b') => Place::WordEdge(true),
            Some('B') => Place::WordEdge(false),
            Some(letter) => {
                let set = match perl_class(letter) {
                    Some(ranges) => {
                        self.at += 1;
                        Set::Class { negated: false, ranges }
                    }
                    None => Set::One(self.escaped()?),
                };
                return Ok(Node::Take { set, repeat: false });
            }
            None => return Err(Refused),
        };
        self.at += 1;
        Ok(Node::Assert(place))
    }

    /// The character that the text after a backslash names.
    fn escaped(&mut self) -> Result<char, Refused> {
        let is_octal = |c: Option<char>| c.is_some_and(|c| c.is_digit(8));
        let first = self.next().ok_or(Refused)?;
        match first {
            '1'..='7' if !is_octal(self.peek(0)) => Err(Refused),
            '0'..='7' => {
                let mut code = first.to_digit(8).ok_or(Refused)?;
                for _ in 0..2 {
                    let Some(digit) = self.peek(0).and_then(|c| c.to_digit(8)) else { break };
                    self.at += 1;
                    code = code * 8 + digit;
                }
                char::from_u32(code).ok_or(Refused)
            }
            'x' => self.hexadecimal(),
            'a' => Ok('\x07'),
            'f' => Ok('\x0c'),
            'n' => Ok('\n'),
            'r' => Ok('\r'),
            't' => Ok('\t'),
            'v' => Ok('\x0b'),
            other if other.is_ascii() && !other.is_ascii_alphanumeric() => Ok(other),
            _ => Err(Refused),
        }
    }

    fn hexadecimal(&mut self) -> Result<char, Refused> {
        let mut code = 0;
        for _ in 0..2 {
            let digit = self.next().and_then(|c| c.to_digit(16)).ok_or(Refused)?;
            code = code * 16 + digit;
        }
        char::from_u32(code).ok_or(Refused)
    }

    /// A class, after its `[`.
    fn class(&mut self) -> Result<Set, Refused> {
        let negated = self.skip('^');
        let mut ranges = Vec::new();
        let mut is_first = true;
        while is_first || self.peek(0) != Some(']') {
            is_first = false;
            if let Some(named) = self.named_class()? {
                ranges.extend(named);
                continue;
            }
            let perl = self.peek(1).filter(|_| self.peek(0) == Some('\\')).and_then(perl_class);
            if let Some(perl) = perl {
                self.at += 2;
                ranges.extend(perl);
                continue;
            }
            let low = self.class_char()?;
            let mut high = low;
            if self.peek(0) == Some('-') && self.peek(1).is_some_and(|c| c != ']') {
                self.at += 1;
                high = self.class_char()?;
            }
            if high < low {
                return Err(Refused);
            }
            ranges.push((u32::from(low), u32::from(high)));
        }
        self.at += 1;
        Ok(match ranges[..] {
            [(low, high)] if negated && low == high => Set::AllBut(char::from_u32(low).ok_or(Refused)?),
            _ => Set::Class { negated, ranges },
        })
    }

    fn class_char(&mut self) -> Result<char, Refused> {
        match self.next() {
            Some('\\') => self.escaped(),
            Some(plain) => Ok(plain),
            None => Err(Refused),
        }
    }

    /// A POSIX class such as `[:alpha:]`, if one stands here.
    fn named_class(&mut self) -> Result<Option<Ranges>, Refused> {
        if self.peek(0) != Some('[') || self.peek(1) != Some(':') {
            return Ok(None);
        }
        let inside = &self.chars[self.at + 2..];
        let Some(end) = inside.windows(2).position(|pair| pair == [':', ']']) else { return Ok(None) };
        let name: String = inside[..end].iter().collect();
        let (negated, name) = name.strip_prefix('^').map_or((false, name.as_str()), |name| (true, name));
        let ranges = posix_class(name).ok_or(Refused)?;
        self.at += end + 4;
        Ok(Some(if negated { complement(&ranges) } else { ranges }))
    }
}

fn perl_class(letter: char) -> Option<Ranges> {
    let ranges = match letter.to_ascii_lowercase() {
        'd' => of(&[('0', '9')]),
        's' => of(&[('\t', '\n'), ('\x0c', '\r'), (' ', ' ')]),
        'w' => posix_class("word")?,
        _ => return None,
    };
    Some(if letter.is_ascii_uppercase() { complement(&ranges) } else { ranges })
}

fn posix_class(name: &str) -> Option<Ranges> {
    Some(match name {
        "alnum" => of(&[('0', '9'), ('A', 'Z'), ('a', 'z')]),
        "alpha" => of(&[('A', 'Z'), ('a', 'z')]),
        "ascii" => of(&[('\0', '\x7f')]),
        "blank" => of(&[('\t', '\t'), (' ', ' ')]),
        "cntrl" => of(&[('\0', '\x1f'), ('\x7f', '\x7f')]),
        "digit" => of(&[('0', '9')]),
        "graph" => of(&[('!', '~')]),
        "lower" => of(&[('a', 'z')]),
        "print" => of(&[(' ', '~')]),
        "punct" => of(&[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')]),
        "space" => of(&[('\t', '\r'), (' ', ' ')]),
        "upper" => of(&[('A', 'Z')]),
        "word" => of(&[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')]),
        "xdigit" => of(&[('0', '9'), ('A', 'F'), ('a', 'f')]),
        _ => return None,
    })
}

fn of(ranges: &[(char, char)]) -> Ranges {
    ranges.iter().map(|(low, high)| (u32::from(*low), u32::from(*high))).collect()
}

/// All that `ranges`, sorted and apart, leave out.
fn complement(ranges: &[(u32, u32)]) -> Ranges {
    let mut from = 0;
    let mut gaps = Vec::new();
    for (low, high) in ranges {
        if from < *low {
            gaps.push((from, low - 1));
        }
        from = high + 1;
    }
    gaps.push((from, u32::from(char::MAX)));
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_match_as_go_matches_them() {
        let table: [(&str, &[u8], bool); 22] = [
            ("^a[^/]*$", b"abc", true),
            ("^a[^/]*$", b"a/c", false),
            ("^(.*/)?b$", b"b", true),
            ("^(.*/)?b$", b"x/y/b", true),
            ("^(.*/)?b$", b"xb", false),
            ("^(.*/)?b$", b"x\n/b", false),
            ("^a.*$", b"a\n", false),
            ("^[^a]$", b"\xff", true),
            ("^[^/][^/]$", "\u{fc}x".as_bytes(), true),
            ("^\\d[[:alpha:]]$", b"7q", true),
            ("^\\d$", b"d", false),
            ("^[a[^/]*]$", b"a^^]", true),
            ("^a\\bb$", b"ab", false),
            ("^a\\b-$", b"a-", true),
            ("^\\x41\\102$", b"AB", true),
            ("^a^b$", b"a^b", false),
            ("^a\\$", b"a$ and more", true),
            ("^[\\D]$", b"7", false),
            ("^[^[:^alpha:]]$", b"x", true),
            ("^[a-]$", b"-", true),
            ("^(.*/)?(.*/)?(.*/)?x$", b"a/b/c/d/x", true),
            ("^$", b"", true),
        ];
        for (text, path, expected) in table {
            let expression = Expression::parse(text).unwrap();
            assert_eq!(expression.matches(path), expected, "{text} {}", path.escape_ascii());
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for text in ["^[z-a]$", "^[a", "^[[:nope:]]$", "^\\1$", "^\\y$", "^\\x4$", "^\\", "^\\pL$", "^[\\b]$"] {
            assert_eq!(Expression::parse(text), Err(Refused), "{text}");
        }
    }

    #[test]
    fn matching_time_is_bounded_by_pattern_times_path() {
        let expression = Expression::parse(&format!("^{}b$", "[^/]*a".repeat(60))).unwrap();
        assert!(!expression.matches(&b"a".repeat(2000)));
    }
}
