//! The words that `pip install` and `uv pip install` take for packages.
//!
//! Whether a path is a folder, and what is in it, is not known here.

/// What a word asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A name with extras, versions and a marker, or a URL.
    Requirement(String),
    /// A folder or an archive of the image.
    Path { path: String, extras: Vec<String> },
}

const VCS: [&str; 4] = ["git+", "hg+", "svn+", "bzr+"];
const ARCHIVES: [&str; 9] = [".whl", ".zip", ".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tbz", ".tar.xz", ".txz"];

impl Asked {
    /// Reads a word.
    ///
    /// # Errors
    /// Fails with a reason for what is neither, and for paths written as URLs.
    pub(super) fn parse(word: &str) -> Result<Self, String> {
        let text = word.trim();
        let refused = || format!("`{word}` is no requirement that is understood");
        if let Some((name, rest)) = name_and_rest(text) {
            return match rest.chars().next() {
                // A file of the working folder, which an installer looks for first.
                None if is_archive(name) => Self::path(text).ok_or_else(refused),
                None => Ok(Self::Requirement(text.to_owned())),
                Some('=' | '<' | '>' | '!' | '~' | '(' | ';') if is_archive(name) || !versions(rest) => Err(refused()),
                Some('=' | '<' | '>' | '!' | '~' | '(' | ';') => Ok(Self::Requirement(text.to_owned())),
                Some('@') if is_remote(rest[1..].trim()) => Ok(Self::Requirement(text.to_owned())),
                Some('@') => Err(format!("`{word}` names a path")),
                Some(_) if text.contains("://") => Self::url(text),
                Some(_) => Self::path(text).ok_or_else(refused),
            };
        }
        if text.contains("://") { Self::url(text) } else { Self::path(text).ok_or_else(refused) }
    }

    fn url(text: &str) -> Result<Self, String> {
        match is_remote(text) {
            true => Ok(Self::Requirement(text.to_owned())),
            false => Err(format!("`{text}` names a path")),
        }
    }

    /// `./dir[extra]`; a word without a slash is a path where it begins with a dot or is an archive.
    fn path(text: &str) -> Option<Self> {
        let (path, extras) = match text.strip_suffix(']') {
            Some(begin) => {
                let (path, extras) = begin.split_once('[')?;
                (path, extras.split(',').map(|extra| extra.trim().to_owned()).collect())
            }
            None => (text, Vec::new()),
        };
        let is_path = path.starts_with('.') || path.contains('/') || is_archive(path);
        let is_plain = |c: char| !c.is_control() && !"[];:#@<>='\" ".contains(c);
        (is_path && path.chars().all(is_plain)).then(|| Self::Path { path: path.to_owned(), extras })
    }
}

/// Whether a path ends as an archive does.
pub(super) fn is_archive(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    ARCHIVES.iter().any(|ending| path.ends_with(ending))
}

/// Whether `target` is fetched from another machine; a marker may follow.
fn is_remote(target: &str) -> bool {
    let bare = VCS.iter().find_map(|prefix| target.strip_prefix(prefix)).unwrap_or(target);
    let scheme = bare.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| ["http", "https", "ssh", "git"].contains(&scheme))
}

/// Cuts behind a name and its extras.
fn name_and_rest(text: &str) -> Option<(&str, &str)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let (name, rest) = text.split_at(text.find(|c| !is_part(c)).unwrap_or(text.len()));
    let is_name =
        name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.ends_with(|c: char| c.is_ascii_alphanumeric());
    let rest = rest.trim_start();
    let rest = match rest.strip_prefix('[') {
        Some(extras) => {
            let (extras, rest) = extras.split_once(']')?;
            let is_known = |c: char| is_part(c) || matches!(c, ',' | ' ');
            if !extras.chars().all(is_known) {
                return None;
            }
            rest.trim_start()
        }
        None => rest,
    };
    is_name.then_some((name, rest))
}

/// Whether `text` can be versions and a marker.
fn versions(text: &str) -> bool {
    let versions = text.split_once(';').map_or(text, |(versions, _)| versions);
    versions.chars().all(|c| c.is_ascii_alphanumeric() || "=<>!~(),.*+-_ ".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_names_urls_or_paths() {
        let requirement = |text: &str| Some(Asked::Requirement(text.to_owned()));
        let path = |path: &str, extras: &[&str]| {
            let extras = extras.iter().map(|extra| (*extra).to_owned()).collect();
            Some(Asked::Path { path: path.to_owned(), extras })
        };
        let table = [
            ("flask", requirement("flask")),
            ("uvicorn[standard]==0.30.*", requirement("uvicorn[standard]==0.30.*")),
            ("torch >= 2, < 3 ; python_version < '3.13'", requirement("torch >= 2, < 3 ; python_version < '3.13'")),
            ("zope.interface(==1)", requirement("zope.interface(==1)")),
            ("a @ https://h/a.whl", requirement("a @ https://h/a.whl")),
            ("a@git+https://h/r@v1", requirement("a@git+https://h/r@v1")),
            ("git+https://h/r.git@v1#egg=r", requirement("git+https://h/r.git@v1#egg=r")),
            ("https://h/a-1.whl", requirement("https://h/a-1.whl")),
            (".", path(".", &[])),
            (".[dev,test]", path(".", &["dev", "test"])),
            ("./src/pkg", path("./src/pkg", &[])),
            ("/app", path("/app", &[])),
            ("pkg/", path("pkg/", &[])),
            ("dist/a-1-py3-none-any.whl[x]", path("dist/a-1-py3-none-any.whl", &["x"])),
            ("a-1-py3-none-any.whl", path("a-1-py3-none-any.whl", &[])),
            ("a @ file:///x", None),
            ("file:///x", None),
            ("a @ ./x", None),
            ("a b", None),
            ("", None),
            ("$X", None),
            ("./a;b", None),
            ("a==1|2", None),
            ("a[x", None),
        ];
        for (word, expected) in table {
            assert_eq!(Asked::parse(word).ok(), expected, "{word}");
        }
    }
}
