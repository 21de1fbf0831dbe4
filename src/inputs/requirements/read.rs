//! Reads requirement files and all that they include.
//!
//! Nothing is fetched: an include by URL is an error.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::error::{Position, RequirementsError};
use super::line::{self, Line, Word};
use super::set::{RequirementFile, RequirementLine, RequirementOption, RequirementSet};
use super::text::{decode, logical_lines, numbered, without_credentials};

/// How deep files may include files.
const DEPTH_CAP: usize = 32;

/// The largest file that is read, in bytes.
const SIZE_CAP: u64 = 16 << 20;

/// Where requirements stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequirementSource {
    /// In a file, relative to the source root.
    File(PathBuf),
    /// In a list; each item is one line, and files that it includes are relative to the source root.
    Lines {
        /// What the list is called in errors.
        name: String,
        /// The items.
        lines: Vec<String>,
    },
    /// In a text that lies in no file; what it includes is relative to the source root.
    Text {
        /// What the text is called in errors.
        name: String,
        /// The text.
        text: String,
    },
    /// In lines that each have a name of their own.
    Named(Vec<(String, String)>),
}

/// Reads `source` with all that it includes by `-r` and `-c`, relative to the including file.
///
/// `environment` holds what `${NAME}` stands for; names that it lacks stay as they are. A file that a constraint file
/// includes holds constraints too. A file that is included again in the same role adds nothing.
///
/// # Errors
/// Fails when a file cannot be read or decoded, when files include each other in a circle, and when a line is neither
/// requirement nor known option; the error names file and line.
pub fn read(
    root: &Path,
    source: &RequirementSource,
    environment: &BTreeMap<String, String>,
) -> Result<RequirementSet, RequirementsError> {
    let mut reader = Reader { root, environment, open: Vec::new(), done: Vec::new(), set: RequirementSet::default() };
    match source {
        RequirementSource::File(file) => reader.file(&root.join(file), Role::Requirements, None)?,
        RequirementSource::Lines { name, lines } => {
            let items = lines.iter().enumerate();
            let lines: Vec<_> =
                items.flat_map(|(at, item)| numbered(item).into_iter().map(move |(_, line)| (at + 1, line))).collect();
            reader.lines(name, root, &lines, Role::Requirements)?;
        }
        RequirementSource::Text { name, text } => reader.lines(name, root, &numbered(text), Role::Requirements)?,
        RequirementSource::Named(lines) => {
            for (name, line) in lines {
                reader.lines(name, root, &numbered(line), Role::Requirements)?;
            }
        }
    }
    Ok(reader.set)
}

/// What the lines of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Requirements,
    Constraints,
}

struct Reader<'a> {
    root: &'a Path,
    environment: &'a BTreeMap<String, String>,
    /// The files being read, the outermost first.
    open: Vec<PathBuf>,
    /// The files read to their end.
    done: Vec<(PathBuf, Role)>,
    set: RequirementSet,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, role: Role, from: Option<&Position>) -> Result<(), RequirementsError> {
        let name = self.name(path);
        let unreadable = |source| match from.cloned() {
            Some(at) => RequirementsError::UnreadableInclude { file: name.clone(), at, source },
            None => RequirementsError::Unreadable { file: name.clone(), source },
        };
        let real = fs::canonicalize(path).map_err(unreadable)?;
        if let Some(at) = from.cloned() {
            if self.open.contains(&real) {
                return Err(RequirementsError::Cycle { at, file: name });
            }
            if self.open.len() >= DEPTH_CAP {
                return Err(RequirementsError::TooDeep { at, cap: DEPTH_CAP });
            }
        }
        if self.done.iter().any(|(path, as_role)| *path == real && *as_role == role) {
            return Ok(());
        }
        let bytes = read_file(&real).map_err(unreadable)?;
        let text = decode(&bytes).map_err(|error| RequirementsError::Encoding {
            at: Position { file: name.clone(), line: error.line },
            encoding: error.encoding,
        })?;
        if !self.done.iter().any(|(path, _)| *path == real) {
            self.set.files.push(RequirementFile { name: name.clone(), text: text.clone() });
        }
        self.open.push(real.clone());
        self.lines(&name, path.parent().unwrap_or(self.root), &numbered(&text), role)?;
        self.open.pop();
        self.done.push((real, role));
        Ok(())
    }

    fn lines(
        &mut self,
        file: &str,
        folder: &Path,
        lines: &[(usize, &str)],
        role: Role,
    ) -> Result<(), RequirementsError> {
        for (line, text) in logical_lines(lines, self.environment) {
            let at = Position { file: file.to_owned(), line };
            match line::parse(&text, &at)? {
                Line::Requirement { text, kind } => {
                    let line = RequirementLine { text, kind, file: at.file, line };
                    match role {
                        Role::Requirements => self.set.requirements.push(line),
                        Role::Constraints => self.set.constraints.push(line),
                    }
                }
                Line::Options(words) => {
                    for word in words {
                        self.word(word, folder, &at, role)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn word(&mut self, word: Word, folder: &Path, at: &Position, role: Role) -> Result<(), RequirementsError> {
        let (included, role) = match word {
            Word::Requirements(file) => (file, role),
            Word::Constraints(file) => (file, Role::Constraints),
            Word::Option { name, value } => {
                let value = match name {
                    "--find-links" => value.map(|links| self.find_links(links, folder)),
                    _ => value,
                };
                self.set.options.push(RequirementOption { name, value, file: at.file.clone(), line: at.line });
                return Ok(());
            }
        };
        if included.contains("://") {
            return Err(RequirementsError::Remote { at: at.clone(), url: without_credentials(&included) });
        }
        self.file(&folder.join(included), role, Some(at))
    }

    /// A folder of links is meant relative to the file that names it, if it is there (as pip has it).
    fn find_links(&self, links: String, folder: &Path) -> String {
        let path = folder.join(&links);
        if !links.contains("://") && path.exists() { self.name(&path) } else { links }
    }

    fn name(&self, path: &Path) -> String {
        path.strip_prefix(self.root).unwrap_or(path).to_string_lossy().into_owned()
    }
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(SIZE_CAP + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SIZE_CAP {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {SIZE_CAP} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::requirements::LineKind;

    fn lay_out(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::create_dir_all(root.path().join(name).parent().unwrap()).unwrap();
            fs::write(root.path().join(name), text).unwrap();
        }
        root
    }

    fn read_first(files: &[(&str, &str)]) -> Result<RequirementSet, RequirementsError> {
        let root = lay_out(files);
        read(root.path(), &RequirementSource::File(files[0].0.into()), &BTreeMap::new())
    }

    #[test]
    fn includes_are_followed_relative_to_the_file_that_holds_them() {
        let set = read_first(&[
            ("top.txt", "a\n-r sub/one.txt\n-c sub/limits.txt\n--pre\nz\n"),
            ("sub/one.txt", "b # why\n-r ../two.txt\n"),
            ("two.txt", "c==1 \\\n --hash=sha256:0\n"),
            ("sub/limits.txt", "a<2\n-r more.txt\n"),
            ("sub/more.txt", "b<3\n"),
        ])
        .unwrap();
        assert_eq!(set.to_text(), "--pre\na\nb\nc==1 --hash=sha256:0\nz\n");
        assert_eq!(set.constraints_text(), "a<2\nb<3\n");
        assert_eq!((set.requirements[1].file.as_str(), set.requirements[1].line), ("sub/one.txt", 1));
        let files: Vec<_> = set.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(files, ["top.txt", "sub/one.txt", "sub/../two.txt", "sub/limits.txt", "sub/more.txt"]);
    }

    #[test]
    fn a_file_included_twice_counts_once_in_each_role() {
        let set = read_first(&[("t", "-r a\n-r b\n-c a\n"), ("a", "x\n"), ("b", "-r a\ny\n")]).unwrap();
        assert_eq!((set.to_text().as_str(), set.constraints_text().as_str()), ("x\ny\n", "x\n"));
        assert_eq!(set.files.len(), 3);
    }

    #[test]
    fn lists_are_read_like_files_and_numbered_by_item() {
        let root = lay_out(&[("r/x.txt", "inner\n")]);
        let items = ["a", "-r r/x.txt", "", "${HOME_PAGE}/p", "!"].map(str::to_owned);
        let environment = BTreeMap::from([("HOME_PAGE".to_owned(), "https://u:secret@h".to_owned())]);
        let source = |count| RequirementSource::Lines { name: "list".into(), lines: items[..count].to_vec() };
        let set = read(root.path(), &source(4), &environment).unwrap();
        assert_eq!(set.to_text(), "a\ninner\nhttps://u:secret@h/p\n");
        assert_eq!(set.requirements[2].kind, LineKind::Url);
        assert!(!format!("{set:?}{}", set.key_text()).contains("secret"));
        let error = read(root.path(), &source(5), &environment).unwrap_err();
        assert_eq!(error.to_string(), "`list:5` is no requirement: `!`");
    }

    #[test]
    fn the_key_forgets_comments_places_and_credentials_but_not_order() {
        let key = |text: &str| read_first(&[("r", text)]).unwrap().key_text();
        assert_eq!(key("a\nb\n-i https://u:p@h"), key("# c\n\n-i https://h\na # d\nb"));
        assert_ne!(key("a\nb"), key("b\na"));
        let limited = read_first(&[("r", "a\n-c c"), ("c", "b")]).unwrap().key_text();
        assert!(limited != key("a") && limited != key("a\nb"));
    }

    #[test]
    fn failures_name_file_and_line() {
        let table: [(&[(&str, &str)], &str); 5] = [
            (&[("t", "a\n\n-r a"), ("a", "-c t")], "`a:1` includes `t`, which leads back to it"),
            (&[("t", "-r t")], "`t:1` includes `t`, which leads back to it"),
            (&[("t", "a\n-c s/absent")], "requirement file `s/absent`, included at `t:2`, cannot be read"),
            (&[("t", "-r https://u:p@h/r")], "`t:1` includes `https://h/r`, and only local files can be included"),
            (&[("t", "a\n-r f"), ("f", "x\n--bad\n")], "`f:2` has the unknown option `--bad`"),
        ];
        for (files, expected) in table {
            assert_eq!(read_first(files).unwrap_err().to_string(), expected);
        }
        let root = lay_out(&[("dir/x", "")]);
        let read_as = |name: &str| read(root.path(), &RequirementSource::File(name.into()), &BTreeMap::new());
        assert_eq!(read_as("dir").unwrap_err().to_string(), "requirement file `dir` cannot be read");
        fs::write(root.path().join("latin"), b"a\n# caf\xe9\n").unwrap();
        assert_eq!(read_as("latin").unwrap_err().to_string(), "`latin:2` is not valid UTF-8");
    }

    #[test]
    fn includes_stop_at_the_depth_cap() {
        let names: Vec<_> = (0..=DEPTH_CAP).map(|n| (format!("f{n}"), format!("-r f{}", n + 1))).collect();
        let files: Vec<_> = names.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        assert!(matches!(read_first(&files), Err(RequirementsError::TooDeep { cap: DEPTH_CAP, .. })));
    }

    #[test]
    fn link_folders_are_found_beside_the_file_that_names_them() {
        let set = read_first(&[("s/r", "-f wheels\n-f absent\n-f https://h/x"), ("s/wheels/a.whl", "")]).unwrap();
        let values: Vec<_> = set.options.iter().map(|option| option.value.clone().unwrap()).collect();
        assert_eq!(values, ["s/wheels", "absent", "https://h/x"]);
    }
}
