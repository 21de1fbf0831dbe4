//! What one logical line of a requirement file says.
//!
//! It looks at the line alone; files that it includes are read by `read`.

use super::error::{Position, RequirementsError};
use super::set::LineKind;
use super::text::without_credentials;

/// One line, understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A requirement with the options that are its own.
    Requirement { text: String, kind: LineKind },
    /// Options for the whole set, and files to include, in order.
    Options(Vec<Word>),
}

/// One option with its value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// `-r`.
    Requirements(String),
    /// `-c`.
    Constraints(String),
    /// Any other.
    Option { name: &'static str, value: Option<String> },
}

struct Known {
    name: &'static str,
    /// Other spellings.
    also: &'static [&'static str],
    takes_value: bool,
}

const fn known(name: &'static str, also: &'static [&'static str], takes_value: bool) -> Known {
    Known { name, also, takes_value }
}

/// The options that pip takes on lines of their own.
const GLOBAL: &[Known] = &[
    known("--requirement", &["-r"], true),
    known("--constraint", &["-c"], true),
    known("--editable", &["-e"], true),
    known("--index-url", &["-i", "--pypi-url"], true),
    known("--extra-index-url", &[], true),
    known("--no-index", &[], false),
    known("--find-links", &["-f"], true),
    known("--no-binary", &[], true),
    known("--only-binary", &[], true),
    known("--prefer-binary", &[], false),
    known("--require-hashes", &[], false),
    known("--pre", &[], false),
    known("--trusted-host", &[], true),
    known("--use-feature", &[], true),
];

/// The options that pip takes behind a requirement.
const OWN: &[Known] = &[
    known("--hash", &[], true),
    known("--config-settings", &["-C", "--config-setting"], true),
    known("--global-option", &[], true),
];

/// The known option that is most like `option`.
pub(super) fn nearest_option(option: &str) -> Option<&'static str> {
    let likeness = |known: &&str| strsim::normalized_damerau_levenshtein(option, known);
    let best = GLOBAL.iter().chain(OWN).map(|known| known.name).max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(&best) > 0.6).then_some(best)
}

/// Parses one logical line.
pub(super) fn parse(line: &str, at: &Position) -> Result<Line, RequirementsError> {
    let (requirement, options) = split_options(line);
    if !requirement.is_empty() {
        let kind = classify(requirement).ok_or_else(|| no_requirement(requirement, at))?;
        let own = words(options, OWN, at)?;
        return Ok(Line::Requirement { text: with_own(requirement, &own), kind });
    }
    let editable = ["-e", "--editable"].iter().find_map(|name| options.strip_prefix(name));
    if editable.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '='])) {
        return parse_editable(options, at);
    }
    let words = words(options, GLOBAL, at)?.into_iter().map(|(name, value)| match (name, value) {
        ("--requirement", Some(file)) => Ok(Word::Requirements(file)),
        ("--constraint", Some(file)) => Ok(Word::Constraints(file)),
        ("--editable", _) => Err(RequirementsError::Stray { at: at.clone(), text: "--editable".into() }),
        (name, value) => Ok(Word::Option { name, value }),
    });
    Ok(Line::Options(words.collect::<Result<_, _>>()?))
}

fn parse_editable(options: &str, at: &Position) -> Result<Line, RequirementsError> {
    let both = || GLOBAL.iter().filter(|known| known.name == "--editable").chain(OWN);
    let mut found = words_among(options, &both, at)?.into_iter();
    let target = found.next().and_then(|(_, value)| value).unwrap_or_default();
    let own: Vec<_> = found.collect();
    if own.iter().any(|(name, _)| *name == "--editable") {
        return Err(RequirementsError::Stray { at: at.clone(), text: "--editable".into() });
    }
    Ok(Line::Requirement { text: format!("-e {}", with_own(&target, &own)), kind: LineKind::Editable })
}

fn no_requirement(text: &str, at: &Position) -> RequirementsError {
    RequirementsError::NoRequirement { at: at.clone(), text: without_credentials(text) }
}

/// The requirement, then its own options in one spelling.
fn with_own(requirement: &str, own: &[(&'static str, Option<String>)]) -> String {
    let mut text = requirement.to_owned();
    for (name, value) in own {
        let value = value.as_deref().unwrap_or_default();
        let quote = if value.contains([' ', '\t']) { "\"" } else { "" };
        text.push_str(&format!(" {name}={quote}{value}{quote}"));
    }
    text
}

/// Splits a line before the first word that begins with `-`.
fn split_options(line: &str) -> (&str, &str) {
    let mut begins_word = true;
    for (at, found) in line.char_indices() {
        if begins_word && found == '-' {
            return (line[..at].trim_end(), &line[at..]);
        }
        begins_word = found == ' ' || found == '\t';
    }
    (line.trim_end(), "")
}

type Options = Vec<(&'static str, Option<String>)>;

fn words(text: &str, known: &'static [Known], at: &Position) -> Result<Options, RequirementsError> {
    words_among(text, &|| known.iter(), at)
}

fn words_among<I: Iterator<Item = &'static Known>>(
    text: &str,
    known: &dyn Fn() -> I,
    at: &Position,
) -> Result<Options, RequirementsError> {
    let mut words = split_words(text).ok_or_else(|| RequirementsError::Quotation { at: at.clone() })?.into_iter();
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        if !word.starts_with('-') {
            return Err(RequirementsError::Stray { at: at.clone(), text: without_credentials(&word) });
        }
        let (spelling, mut value) = cut(&word);
        let option = known().find(|known| known.name == spelling || known.also.contains(&spelling));
        let option =
            option.ok_or_else(|| RequirementsError::UnknownOption { at: at.clone(), option: spelling.to_owned() })?;
        if option.takes_value {
            value = value.or_else(|| words.next()).filter(|value| !value.is_empty());
            let missing = || RequirementsError::MissingValue { at: at.clone(), option: option.name.into() };
            found.push((option.name, Some(value.ok_or_else(missing)?)));
        } else if let Some(text) = value {
            return Err(RequirementsError::Stray { at: at.clone(), text: without_credentials(&text) });
        } else {
            found.push((option.name, None));
        }
    }
    Ok(found)
}

/// Cuts `--name=value` and `-nvalue`.
fn cut(word: &str) -> (&str, Option<String>) {
    if word.starts_with("--") {
        return word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value.to_owned())));
    }
    let end = word.char_indices().nth(2).map_or(word.len(), |(at, _)| at);
    let (name, value) = word.split_at(end);
    (name, (!value.is_empty()).then(|| value.strip_prefix('=').unwrap_or(value).to_owned()))
}

/// Splits as a POSIX shell does, without expansions; `None` when a quotation mark stays open.
fn split_words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(found) = chars.next() {
        match (found, quote) {
            (_, Some(open)) if found == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(found);
                word.get_or_insert_default();
            }
            ('\\', Some('"')) => {
                let next = chars.next()?;
                let word = word.get_or_insert_default();
                word.extend((!matches!(next, '"' | '\\')).then_some('\\'));
                word.push(next);
            }
            ('\\', None) => word.get_or_insert_default().extend(chars.next()),
            (_, None) if found.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(found),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

const VCS: &[&str] = &["git+", "hg+", "svn+", "bzr+"];
const ARCHIVES: &[&str] = &[".whl", ".zip", ".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tbz", ".tar.xz", ".txz"];

/// What a requirement names; `None` when it is none.
fn classify(text: &str) -> Option<LineKind> {
    if let Some(rest) = behind_name(text)
        && let Some(target) = rest.strip_prefix('@')
    {
        return classify_target(target.trim_start());
    }
    let target = text.split([';', ' ', '\t']).next()?;
    let looks_local = target.starts_with('.') || target.contains('/') || target.starts_with("file:");
    if looks_local || ARCHIVES.iter().any(|ending| target.to_ascii_lowercase().ends_with(ending)) {
        return classify_target(target);
    }
    let rest = behind_name(text)?;
    (rest.is_empty() || rest.starts_with(['<', '>', '=', '!', '~', '(', ';'])).then_some(LineKind::Named)
}

fn classify_target(target: &str) -> Option<LineKind> {
    let lower = target.to_ascii_lowercase();
    if target.is_empty() {
        None
    } else if VCS.iter().any(|prefix| lower.starts_with(prefix)) {
        Some(LineKind::Vcs)
    } else if lower.contains("://") && !lower.starts_with("file:") {
        Some(LineKind::Url)
    } else {
        Some(LineKind::Path)
    }
}

/// What follows the name and extras of a PEP 508 requirement.
fn behind_name(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let is_name =
        name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.ends_with(|c: char| c.is_ascii_alphanumeric());
    let rest = rest.trim_start();
    let rest = match rest.strip_prefix('[') {
        Some(extras) => extras.split_once(']')?.1.trim_start(),
        None => rest,
    };
    is_name.then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> Position {
        Position { file: "r.txt".into(), line: 7 }
    }

    #[test]
    fn requirements_are_told_apart() {
        use LineKind::{Editable, Named, Path, Url, Vcs};
        let table = [
            ("numpy", "numpy", Named),
            ("a[x, y] >= 1, < 2 ; python_version < \"3\"", "a[x, y] >= 1, < 2 ; python_version < \"3\"", Named),
            ("zope.interface (==1)", "zope.interface (==1)", Named),
            ("a==1   --hash=sha256:0 --hash sha256:1", "a==1 --hash=sha256:0 --hash=sha256:1", Named),
            ("a; m == 'x/y'", "a; m == 'x/y'", Named),
            ("a @ https://h/a.whl", "a @ https://h/a.whl", Url),
            ("a@git+ssh://git@h/r@v", "a@git+ssh://git@h/r@v", Vcs),
            ("a[e] @ file:///x.whl", "a[e] @ file:///x.whl", Path),
            ("https://h/a-1.tar.gz#sha256=0", "https://h/a-1.tar.gz#sha256=0", Url),
            ("git+https://h/r", "git+https://h/r", Vcs),
            ("./x", "./x", Path),
            (".", ".", Path),
            ("/abs/x", "/abs/x", Path),
            ("dir/x.whl", "dir/x.whl", Path),
            ("x-1-py3-none-any.whl", "x-1-py3-none-any.whl", Path),
            ("-e .", "-e .", Editable),
            ("--editable=git+https://h/r#egg=x", "-e git+https://h/r#egg=x", Editable),
            ("-e './x y' --config-settings a=b", "-e ./x y --config-settings=a=b", Editable),
        ];
        for (line, text, kind) in table {
            assert_eq!(parse(line, &at()).unwrap(), Line::Requirement { text: text.into(), kind }, "{line}");
        }
    }

    #[test]
    fn options_are_named_by_their_long_names() {
        let value = |name, value: &str| Word::Option { name, value: Some(value.into()) };
        let switch = |name| Word::Option { name, value: None };
        let table = [
            ("-i https://h", vec![value("--index-url", "https://h")]),
            ("-ihttps://h", vec![value("--index-url", "https://h")]),
            ("--extra-index-url=https://h?a=b", vec![value("--extra-index-url", "https://h?a=b")]),
            ("--pre --no-index -f 'a b'", vec![switch("--pre"), switch("--no-index"), value("--find-links", "a b")]),
            ("-r x.txt", vec![Word::Requirements("x.txt".into())]),
            ("-cx.txt", vec![Word::Constraints("x.txt".into())]),
            ("--requirement=\"a b\"", vec![Word::Requirements("a b".into())]),
        ];
        for (line, expected) in table {
            assert_eq!(parse(line, &at()).unwrap(), Line::Options(expected), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place_and_without_secrets() {
        let table = [
            ("<<<<<<< HEAD", "`r.txt:7` is no requirement: `<<<<<<< HEAD`"),
            ("a 1.0", "`r.txt:7` is no requirement: `a 1.0`"),
            ("a @", "`r.txt:7` is no requirement: `a @`"),
            ("--index https://u:p@h", "`r.txt:7` has the unknown option `--index`"),
            ("a --pre", "`r.txt:7` has the unknown option `--pre`"),
            ("-r", "`r.txt:7` gives no value for `--requirement`"),
            ("-e", "`r.txt:7` gives no value for `--editable`"),
            ("--pre=1", "`r.txt:7` has the stray text `1`"),
            ("--pre https://u:p@h", "`r.txt:7` has the stray text `https://h`"),
            ("-f 'x", "`r.txt:7` does not close a quotation mark"),
            ("-e . --pre", "`r.txt:7` has the unknown option `--pre`"),
        ];
        for (line, expected) in table {
            assert_eq!(parse(line, &at()).unwrap_err().to_string(), expected, "{line}");
        }
        assert_eq!(nearest_option("--indexurl"), Some("--index-url"));
        assert_eq!(nearest_option("--quiet-please"), None);
    }
}
