//! The process environment, read once.
//!
//! The library never looks here: commands pass down what they found.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// What the environment said when the command started.
#[derive(Clone)]
pub(crate) struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// Reads the process environment; variables that are not text are left out.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    pub(crate) fn read() -> Self {
        let text = |value: std::ffi::OsString| value.into_string().ok();
        let variables = std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect();
        Self { variables }
    }

    /// One variable; an empty one counts as absent.
    pub(crate) fn var(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// All variables.
    pub(crate) fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    /// The home folder.
    pub(crate) fn home(&self) -> Option<PathBuf> {
        self.var("HOME").map(PathBuf::from)
    }

    /// The folder of the local store: `$XDG_CACHE_HOME/lapstrake`, else `~/.cache/lapstrake`.
    pub(crate) fn default_store(&self) -> Option<PathBuf> {
        let cache = self.var("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        Some(cache.or_else(|| Some(self.home()?.join(".cache")))?.join("lapstrake"))
    }

    /// The user's configuration: `$XDG_CONFIG_HOME/lapstrake/config.yaml`, else `~/.config/lapstrake/config.yaml`.
    pub(crate) fn default_config(&self) -> Option<PathBuf> {
        let config = self.var("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        Some(config.or_else(|| Some(self.home()?.join(".config")))?.join("lapstrake/config.yaml"))
    }

    /// `created` for images: `SOURCE_DATE_EPOCH` in seconds, as RFC 3339.
    pub(crate) fn source_date(&self) -> Result<Option<String>, String> {
        let Some(text) = self.var("SOURCE_DATE_EPOCH") else { return Ok(None) };
        // RFC 3339 ends with the year 9999.
        let seconds = text.parse().ok().filter(|seconds| *seconds <= 253_402_300_799);
        Ok(Some(rfc3339(seconds.ok_or_else(|| text.to_owned())?)))
    }
}

/// `seconds` since 1970 as RFC 3339 in UTC, by the proleptic Gregorian calendar.
pub(crate) fn rfc3339(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let era_day = days + 719_468;
    let era = era_day / 146_097;
    let day_of_era = era_day % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_agrees_with_known_dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (315_532_800, "1980-01-01T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }
}
