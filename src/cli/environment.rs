//! The process environment, read once.
//!
//! The library never looks here: commands pass down what they found.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lapstrake::store::ledger::Moment;

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

    /// The ledger of builds: `$LAPSTRAKE_LEDGER`, else `$XDG_DATA_HOME/lapstrake/ledger.db`, else
    /// `~/.local/share/lapstrake/ledger.db`; `None` when it is switched `off`, or there is no place for it.
    pub(crate) fn ledger(&self) -> Option<PathBuf> {
        match self.var("LAPSTRAKE_LEDGER") {
            Some("off") => None,
            Some(path) => Some(PathBuf::from(path)),
            None => {
                let data = self.var("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
                Some(data.or_else(|| Some(self.home()?.join(".local/share")))?.join("lapstrake/ledger.db"))
            }
        }
    }

    /// The folder for what is gone after this run.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.var("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from)
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

/// `seconds` since 1970 as RFC 3339 in UTC.
pub(crate) fn rfc3339(seconds: u64) -> String {
    Moment::of_seconds(seconds).to_the_second()
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
