//! Which member names are safe and have one meaning.
//!
//! Case and Unicode normalisation are left alone: the target is a Linux file system.

use super::error::ZipError;

/// Checks the name `bytes` and gives it without the slash that marks a folder.
pub(super) fn check(bytes: &[u8], utf8_flag: bool) -> Result<(Box<str>, bool), ZipError> {
    let bad = |what| ZipError::Name { name: String::from_utf8_lossy(bytes).into_owned(), what };
    let text = std::str::from_utf8(bytes).map_err(|_| bad("is no UTF-8"))?;
    if !utf8_flag && !text.is_ascii() {
        return Err(bad("is not ASCII and not marked as UTF-8"));
    }
    if text.chars().any(char::is_control) {
        return Err(bad("holds a control character"));
    }
    if text.contains('\\') {
        return Err(bad("holds a backslash"));
    }
    let (path, folder) = match text.strip_suffix('/') {
        Some(path) => (path, true),
        None => (text, false),
    };
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(bad("is empty, absolute, or holds an empty, `.` or `..` component"));
    }
    Ok((path.into(), folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_folder_or_mean_two_things_are_refused() {
        let bad: [&[u8]; 12] =
            [b"", b"/", b"/a", b"a//b", b"../a", b"a/..", b"./a", b"a\\b", b"a\nb", b"a\0b", b"\xff", b"a/./b"];
        for name in bad {
            assert!(check(name, true).is_err(), "{}", name.escape_ascii());
        }
        assert!(check("é".as_bytes(), false).is_err());
        assert_eq!(check("é".as_bytes(), true).unwrap(), ("é".into(), false));
        assert_eq!(check(b"a/b/", false).unwrap(), ("a/b".into(), true));
    }
}
