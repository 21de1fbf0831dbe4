//! Requirement lines, read as far as the resolver needs: names, paths, index options.
//!
//! Specifiers and markers are uv's business; they pass through as they are.

use std::path::Path;

use super::request::RequirementText;
use crate::python::lock::lexically_absolute;
use crate::python::normalize_name;

/// A requirement that a file names directly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Direct {
    /// The normalised name; `None` for a folder or an archive whose name does not tell.
    pub(super) name: Option<String>,
    /// The line without its hashes.
    pub(super) line: String,
    /// The file that it stands in.
    pub(super) source: String,
    /// Whether it names a place instead of a version.
    pub(super) is_place: bool,
    /// Its hashes, as `sha256:HEX`.
    pub(super) hashes: Vec<String>,
}

/// The lines of a requirements file: comments and blank lines left out, continued lines joined.
pub(super) fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open = String::new();
    for line in text.lines() {
        let is_comment = line.trim_start().starts_with('#');
        if let (Some(head), false) = (line.strip_suffix('\\'), is_comment) {
            open.push_str(head);
            continue;
        }
        open.push_str(line);
        lines.push(without_comment(&std::mem::take(&mut open)));
    }
    lines.push(without_comment(&open));
    lines.retain(|line| !line.is_empty());
    lines
}

fn without_comment(line: &str) -> String {
    let mut before = ' ';
    for (at, character) in line.char_indices() {
        if character == '#' && before.is_whitespace() {
            return line[..at].trim().to_owned();
        }
        before = character;
    }
    line.trim().to_owned()
}

/// The direct requirements of `files`, in their order.
pub(super) fn direct(files: &[RequirementText]) -> Vec<Direct> {
    let mut found = Vec::new();
    for file in files {
        for line in logical_lines(&file.text) {
            let (line, is_editable) = match editable(&line) {
                Some(place) => (place.to_owned(), true),
                None if line.starts_with('-') => continue,
                None => (line, false),
            };
            let hashes = hashes(&line);
            let line = line.split(" --hash").next().unwrap_or_default().trim_end_matches([' ', '\\']).to_owned();
            let is_place = is_editable || is_path(&line) || line.contains("://") || line.contains(" @ ");
            found.push(Direct { name: name_of(&line), line, source: file.name.clone(), is_place, hashes });
        }
    }
    found
}

/// The values of `--hash` behind a requirement.
fn hashes(line: &str) -> Vec<String> {
    let values = line.split(" --hash").skip(1).filter_map(|rest| rest.strip_prefix(['=', ' ']));
    values
        .filter_map(|value| value.split_whitespace().next())
        .map(|value| value.trim_matches(['"', '\'']).to_owned())
        .collect()
}

/// Whether a line is an option for the whole file, and no requirement.
pub(super) fn is_option(line: &str) -> bool {
    line.starts_with('-') && editable(line).is_none()
}

/// The file with relative paths made absolute.
pub(super) fn absolute(file: &RequirementText) -> RequirementText {
    RequirementText { text: rebased(file), ..file.clone() }
}

/// The text with relative paths made absolute, for a file that is written elsewhere.
pub(super) fn rebased(file: &RequirementText) -> String {
    let mut text = String::new();
    for line in logical_lines(&file.text) {
        text.push_str(&rebased_line(&line, &file.folder));
        text.push('\n');
    }
    text
}

/// The values of the options `names` in a requirements text, in their order.
pub(super) fn option_values<'a>(lines: &'a [String], names: &[&str]) -> Vec<&'a str> {
    lines.iter().filter_map(|line| names.iter().find_map(|name| option_value(line, name))).collect()
}

/// The URLs that requirement lines name.
pub(super) fn places(lines: &[String]) -> impl Iterator<Item = &str> {
    let words = lines.iter().filter(|line| !line.starts_with('-')).flat_map(|line| line.split_whitespace());
    words.filter(|word| word.contains("://")).map(|word| {
        let scheme = word.find("://").unwrap_or_default();
        let start = word[..scheme].rfind('@').map_or(0, |at| at + 1);
        word[start..].strip_prefix("git+").unwrap_or(&word[start..])
    })
}

fn option_value<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(name)?;
    let value = rest.strip_prefix('=').or_else(|| rest.strip_prefix(char::is_whitespace))?;
    Some(value.trim().trim_matches(['"', '\'']))
}

pub(super) fn editable(line: &str) -> Option<&str> {
    option_value(line, "--editable").or_else(|| option_value(line, "-e"))
}

fn rebased_line(line: &str, folder: &Path) -> String {
    let absolute = |path: &str| lexically_absolute(folder, path).display().to_string();
    for option in ["--editable", "-e", "--find-links", "-f"] {
        if let Some(value) = option_value(line, option) {
            return if is_local(value) { format!("{option} {}", absolute(value)) } else { line.to_owned() };
        }
    }
    if line.starts_with('-') {
        return line.to_owned();
    }
    if let Some((name, place)) = line.split_once(" @ ") {
        let place = place.trim_start();
        return if place.starts_with('.') { format!("{name} @ {}", absolute(place)) } else { line.to_owned() };
    }
    if is_path(line) && !line.starts_with("file:") { absolute(line) } else { line.to_owned() }
}

/// Whether an option's value is a path and no URL.
pub(super) fn is_local(value: &str) -> bool {
    !value.contains("://")
}

fn is_path(line: &str) -> bool {
    let place = line.split([';', '[']).next().unwrap_or_default().trim();
    !place.contains("://") && !place.contains(" @ ") && (place.starts_with(['.', '/']) || place.ends_with(".whl"))
}

fn name_of(line: &str) -> Option<String> {
    let head = line.split(';').next().unwrap_or_default().trim();
    let is_named = |text: &str| text.split_once('@').is_some_and(|(name, place)| is_name(name) && !place.is_empty());
    if (is_path(head) || head.contains("://")) && !is_named(head) {
        let file = head.split(['#', '?']).next()?.rsplit('/').next()?;
        let stem = file.strip_suffix(".whl")?;
        return Some(normalize_name(stem.split('-').next()?));
    }
    let end = head.find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c))).unwrap_or(head.len());
    (end > 0).then(|| normalize_name(&head[..end]))
}

fn is_name(text: &str) -> bool {
    let name = text.split('[').next().unwrap_or_default().trim();
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> RequirementText {
        RequirementText { name: "r.txt".into(), text: text.into(), folder: "/project/app".into() }
    }

    #[test]
    fn lines_are_joined_and_comments_left_out() {
        let text = "# all\na==1 # one\n\nb \\\n  >=2 \\\n --hash=sha256:00\nc@https://h/x#egg=c\n  # d\\\ne";
        assert_eq!(logical_lines(text), ["a==1", "b   >=2  --hash=sha256:00", "c@https://h/x#egg=c", "e"]);
    }

    #[test]
    fn names_are_found_in_every_form() {
        for (line, name) in [
            ("Foo_Bar[x]>=1 ; python_version > '3'", Some("foo-bar")),
            ("foo @ https://h/foo-1.whl", Some("foo")),
            ("foo@https://h/x", Some("foo")),
            ("./w/Foo.Bar-1-py3-none-any.whl", Some("foo-bar")),
            ("https://h/foo-1-py3-none-any.whl#sha256=00", Some("foo")),
            ("./folder", None),
            ("git+https://h/x.git", None),
        ] {
            assert_eq!(name_of(line).as_deref(), name, "{line}");
        }
        let direct = direct(&[file("-i https://h/simple\n-e ./x\na==1 --hash=sha256:00\n--pre\n")]);
        let lines: Vec<&str> = direct.iter().map(|d| d.line.as_str()).collect();
        assert_eq!(lines, ["./x", "a==1"]);
    }

    #[test]
    fn relative_paths_are_made_absolute() {
        for (line, expected) in [
            ("./w/a-1-py3-none-any.whl", "/project/app/w/a-1-py3-none-any.whl"),
            ("../b", "/project/b"),
            ("-e .", "-e /project/app"),
            ("--find-links=wheels", "--find-links /project/app/wheels"),
            ("-f https://h/w", "-f https://h/w"),
            ("a @ ./a", "a @ /project/app/a"),
            ("a @ https://h/a.whl", "a @ https://h/a.whl"),
            ("a>=1.0", "a>=1.0"),
        ] {
            assert_eq!(rebased(&file(line)).trim_end(), expected);
        }
    }
}
