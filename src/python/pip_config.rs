//! pip's files of settings (`pip.conf`), as far as `pip install` reads them.
//!
//! No file is opened. Such a file is often a secret, so that no error has any of its text.

use std::collections::BTreeMap;

/// Settings that leave what is installed as it is.
const IDLE: [&str; 13] = [
    "break-system-packages",
    "default-timeout",
    "disable-pip-version-check",
    "no-cache-dir",
    "no-color",
    "no-input",
    "no-warn-script-location",
    "progress-bar",
    "quiet",
    "retries",
    "root-user-action",
    "timeout",
    "verbose",
];

/// What a file says of where packages come from.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PipConfig {
    /// The index (`index-url`).
    pub index: Option<String>,
    /// Indexes besides (`extra-index-url`).
    pub extra: Vec<String>,
    /// Hosts without a certificate that counts (`trusted-host`).
    pub trusted: Vec<String>,
}

/// Why a file's settings are not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PipConfigError {
    /// It is no file of settings.
    #[error("its line {0} is no setting")]
    Line(usize),
    /// It has a setting that is not known here.
    #[error("the setting on its line {0} is not known here")]
    Setting(usize),
    /// A setting is given twice.
    #[error("the setting on its line {0} stands there twice")]
    Twice(usize),
}

/// A setting: its words, and the line that it begins on.
type Values = BTreeMap<String, (Vec<String>, usize)>;

impl PipConfig {
    /// Reads the sections that an installation reads: `[global]`, and `[install]` that overrules it.
    ///
    /// # Errors
    /// Fails for what pip would refuse to read, and for settings that are not known here.
    pub fn parse(text: &str) -> Result<Self, PipConfigError> {
        let mut sections = sections(text)?;
        let mut values = sections.remove("global").unwrap_or_default();
        values.extend(sections.remove("install").unwrap_or_default());
        let mut config = Self::default();
        for (name, (words, line)) in values {
            // pip passes over a setting without a value.
            match (name.as_str(), words.as_slice()) {
                (_, []) => {}
                ("index-url", [url]) => config.index = Some(url.clone()),
                ("extra-index-url", urls) => config.extra = urls.to_vec(),
                ("trusted-host", hosts) => config.trusted = hosts.to_vec(),
                (name, _) if IDLE.contains(&name) => {}
                _ => return Err(PipConfigError::Setting(line)),
            }
        }
        Ok(config)
    }
}

/// The sections, as Python's `configparser` reads them without interpolation.
fn sections(text: &str) -> Result<BTreeMap<String, Values>, PipConfigError> {
    let mut sections: BTreeMap<String, Values> = BTreeMap::new();
    let mut section: Option<String> = None;
    // The setting that an indented line goes on with, and how far it is indented itself.
    let mut open: Option<(String, usize)> = None;
    for (at, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line)) {
        let content = line.trim();
        if content.is_empty() || content.starts_with(['#', ';']) {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        if let (Some((name, above)), Some(section)) = (&open, &section)
            && indent > *above
            && let Some((words, _)) = sections.get_mut(section).and_then(|values| values.get_mut(name))
        {
            words.extend(content.split_whitespace().map(str::to_owned));
            continue;
        }
        open = None;
        if let Some(name) = content.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(name, _)| name) {
            if sections.insert(name.to_owned(), Values::new()).is_some() {
                return Err(PipConfigError::Twice(at));
            }
            section = Some(name.to_owned());
            continue;
        }
        let values = section.as_ref().and_then(|section| sections.get_mut(section)).ok_or(PipConfigError::Line(at))?;
        let (name, value) = content.split_once(['=', ':']).ok_or(PipConfigError::Line(at))?;
        let name = name.trim().to_lowercase().replace('_', "-");
        let name = name.strip_prefix("--").unwrap_or(&name).to_owned();
        let words = value.split_whitespace().map(str::to_owned).collect();
        if values.insert(name.clone(), (words, at)).is_some() {
            return Err(PipConfigError::Twice(at));
        }
        open = Some((name, indent));
    }
    Ok(sections)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The index, the others and the hosts, or what is wrong.
    fn read(text: &str) -> Result<(String, String, String), PipConfigError> {
        let config = PipConfig::parse(text)?;
        Ok((config.index.unwrap_or_default(), config.extra.join(" "), config.trusted.join(" ")))
    }

    #[test]
    fn settings_of_an_installation_are_read_as_pip_reads_them() {
        for (text, index, extra, trusted) in [
            ("[global]\nindex-url = https://a/s\n", "https://a/s", "", ""),
            ("# x\n[global]\nINDEX_URL: https://u:p@a/s\ntimeout=9\n", "https://u:p@a/s", "", ""),
            (
                "[global]\nextra-index-url = https://a\n  https://b\n ; no\n\n  https://c\n",
                "",
                "https://a https://b https://c",
                "",
            ),
            ("[global]\nindex-url=a\nextra-index-url=b\n[install]\nindex-url=c\ntrusted-host=h i\n", "c", "b", "h i"),
            ("[list]\nformat=columns\n[global]\n--index-url = a\nno-cache-dir=\n", "a", "", ""),
            ("", "", "", ""),
        ] {
            assert_eq!(read(text), Ok((index.into(), extra.into(), trusted.into())), "{text}");
        }
    }

    #[test]
    fn what_is_not_known_is_named_by_its_line_alone() {
        for (text, expected) in [
            ("hunter2\n", PipConfigError::Line(1)),
            ("[global]\nhunter2\n", PipConfigError::Line(2)),
            ("index-url = a\n", PipConfigError::Line(1)),
            ("[global]\nfind-links = /wheels\n", PipConfigError::Setting(2)),
            ("[install]\nindex-url = a b\n", PipConfigError::Setting(2)),
            ("[global]\nindex-url=a\nindex_url=b\n", PipConfigError::Twice(3)),
            ("[global]\n[global]\n", PipConfigError::Twice(2)),
        ] {
            assert_eq!(read(text), Err(expected.clone()), "{text}");
            assert!(!expected.to_string().contains("hunter2"));
        }
    }
}
