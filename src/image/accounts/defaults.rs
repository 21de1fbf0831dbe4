//! Files of defaults: `/etc/login.defs`, `/etc/default/useradd` and `/etc/adduser.conf`.
//!
//! Which names count, and what holds where one is missing, the tools know that read them.

use std::collections::BTreeMap;

use super::database::AccountError;

/// Names and values of a file of defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defaults(BTreeMap<String, String>);

/// Numbers from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The lowest.
    pub first: u32,
    /// The highest.
    pub last: u32,
}

impl Defaults {
    /// Of lines `NAME VALUE` (login.defs(5)).
    pub fn of_words(text: &str) -> Self {
        Self::read(text, |line| line.split_once(|c: char| c.is_ascii_whitespace()))
    }

    /// Of lines `NAME=VALUE`; names count in upper case.
    pub fn of_assignments(text: &str) -> Self {
        Self::read(text, |line| line.split_once('='))
    }

    fn read(text: &str, split: impl Fn(&str) -> Option<(&str, &str)>) -> Self {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let pair = |(name, value): (&str, &str)| {
            let value = value.trim();
            let bare = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
            (name.trim().to_ascii_uppercase(), bare.unwrap_or(value).to_owned())
        };
        Self(lines.filter_map(split).map(pair).collect())
    }

    /// The value of `name`, which is in upper case.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Whether `name` is `yes`.
    pub fn is_yes(&self, name: &str) -> bool {
        self.text(name).is_some_and(|value| value.eq_ignore_ascii_case("yes"))
    }

    /// The number `name`, octal with a leading zero; `None` where it is not set.
    ///
    /// # Errors
    /// Fails when the value is no such number.
    pub fn number(&self, name: &'static str) -> Result<Option<u32>, AccountError> {
        let Some(value) = self.text(name) else { return Ok(None) };
        let is_octal = value.len() > 1 && value.starts_with('0');
        let number = u32::from_str_radix(value, if is_octal { 8 } else { 10 });
        number.map(Some).map_err(|_| AccountError::Default { name, value: value.to_owned() })
    }

    /// The numbers from `first` to `last`, each a name and what holds without it.
    ///
    /// # Errors
    /// As [`Defaults::number`].
    pub fn range(&self, first: (&'static str, u32), last: (&'static str, u32)) -> Result<Range, AccountError> {
        Ok(Range { first: self.number(first.0)?.unwrap_or(first.1), last: self.number(last.0)?.unwrap_or(last.1) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_the_tools_read_them() {
        let login = Defaults::of_words("# x\nUID_MIN\t\t 1000\nUMASK 022\nUSERGROUPS_ENAB yes\nODD x\n\n#GID_MIN 7\n");
        assert_eq!(login.number("UID_MIN"), Ok(Some(1000)));
        assert_eq!(login.number("UMASK"), Ok(Some(0o22)));
        assert_eq!(login.number("GID_MIN"), Ok(None));
        assert!(login.is_yes("USERGROUPS_ENAB") && login.number("ODD").is_err());
        let range = login.range(("UID_MIN", 1), ("UID_MAX", 60000));
        assert_eq!(range, Ok(Range { first: 1000, last: 60000 }));
        let conf = Defaults::of_assignments("DSHELL=/bin/zsh\nQUOTAUSER=\"\"\ndir_mode = 0755\n");
        assert_eq!((conf.text("DSHELL"), conf.text("QUOTAUSER")), (Some("/bin/zsh"), Some("")));
        assert_eq!(conf.number("DIR_MODE"), Ok(Some(0o755)));
    }
}
