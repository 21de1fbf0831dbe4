//! Exports what a `pyproject.toml` asks for.
//!
//! The file is not read: uv, poetry or a command of the user's knows what it means, and which lock stands beside it.

use std::path::{Path, PathBuf};

use super::command::{Command, Listed};
use super::error::ListingError;
use super::host::PythonHost;

const ASKER: &str = "`settings.docker.pyproject_path`";
const ASKER_OF_COMMAND: &str = "`settings.docker.pyproject_export_command`";
const PLACE: &str = "{directory}";

/// A project file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pyproject {
    /// The file.
    pub file: PathBuf,
    /// Its folder.
    pub folder: PathBuf,
}

impl Pyproject {
    /// The project file at `path`, or in the folder `path`.
    ///
    /// # Errors
    /// Fails when it is not there.
    pub fn at(path: &Path) -> Result<Self, ListingError> {
        let file = if path.is_dir() { path.join("pyproject.toml") } else { path.to_owned() };
        match file.parent() {
            Some(folder) if file.is_file() => Ok(Self { folder: folder.to_owned(), file }),
            _ => Err(ListingError::NoPyproject { path: file }),
        }
    }
}

/// Exports the requirements of `project` by `command`; without one by uv, and where that fails by poetry.
///
/// # Errors
/// Fails when no command works.
pub async fn export(
    host: &PythonHost,
    project: &Pyproject,
    command: Option<&[String]>,
) -> Result<Listed, ListingError> {
    let folder = project.folder.display().to_string();
    if let Some(words) = command {
        let words: Vec<String> = words.iter().map(|word| filled(word, &folder)).collect();
        return Command::line(ASKER_OF_COMMAND, &words)?.run(host).await;
    }
    let uv = ["export", "--format=requirements-txt", "--directory={directory}", "--no-hashes", "--no-emit-project"];
    let poetry = ["export", "--format=requirements.txt", "--directory={directory}", "--without-hashes"];
    let commands = [(host.uv.clone(), "uv", &uv[..]), (host.poetry(), "poetry", &poetry[..])];
    let mut errors = Vec::new();
    for (program, name, arguments) in commands {
        let Some(program) = program else { continue };
        let arguments: Vec<String> = arguments.iter().map(|word| word.replace(PLACE, &folder)).collect();
        let shown = format!("{name} {}", arguments.join(" "));
        match (Command { asker: ASKER, shown, program, arguments }).run(host).await {
            Ok(listed) => return Ok(listed),
            Err(error) => errors.push(error),
        }
    }
    Err(match errors.len() {
        0 => ListingError::NoProgram { asker: ASKER, programs: vec!["uv", "poetry"] },
        1 => errors.remove(0),
        _ => ListingError::AllFailed { errors },
    })
}

/// `word` with the folder in place of `{directory}`, quoted where the shell would split it; `{{` and `}}` are braces.
fn filled(word: &str, folder: &str) -> String {
    let mut filled = String::new();
    let mut quote = None;
    let mut rest = word;
    while let Some(next) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix(PLACE) {
            filled.push_str(&quoted(folder, quote));
            rest = after;
            continue;
        }
        let doubled = ["{{", "}}"].into_iter().any(|braces| rest.starts_with(braces));
        match quote {
            None if matches!(next, '\'' | '"') => quote = Some(next),
            Some(open) if open == next => quote = None,
            _ => {}
        }
        filled.push(next);
        rest = &rest[next.len_utf8() * if doubled { 2 } else { 1 }..];
    }
    filled
}

/// `text` as the shell takes it behind the open quotation mark `quote`.
fn quoted(text: &str, quote: Option<char>) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%=".contains(c);
    match quote {
        _ if text.chars().all(is_plain) => text.to_owned(),
        Some('"') => text.chars().flat_map(|c| "\"\\$`".contains(c).then_some('\\').into_iter().chain([c])).collect(),
        Some(_) => text.replace('\'', r"'\''"),
        None => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_one_word_for_the_shell() {
        for (word, folder, expected) in [
            ("--directory={directory}", "/a/b", "--directory=/a/b"),
            ("--directory={directory}", "/a b", "--directory='/a b'"),
            ("--directory=\"{directory}\"", "/a $b", "--directory=\"/a \\$b\""),
            ("'{directory}'/x", "/it's", "'/it'\\''s'/x"),
            ("awk '{{print}}' {directory}/x", "/a", "awk '{print}' /a/x"),
            ("${HOME} {other}", "/a", "${HOME} {other}"),
        ] {
            assert_eq!(filled(word, folder), expected, "{word}");
        }
    }
}
