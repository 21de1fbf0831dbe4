//! The profiles of AWS's `config` and `credentials` files.
//!
//! Reads the files and follows no profile; `source` does.

use std::collections::BTreeMap;

use super::super::error::CloudError;
use super::super::facts::{Facts, text};

/// The settings of one profile.
pub(crate) type Profile = BTreeMap<String, String>;

/// All profiles, and the SSO sessions that they share.
#[derive(Default)]
pub(crate) struct Profiles {
    profiles: BTreeMap<String, Profile>,
    sessions: BTreeMap<String, Profile>,
}

impl Profiles {
    /// Reads both files; those that are not there say nothing. What `credentials` says beats `config`.
    pub(crate) fn read(facts: &Facts) -> Result<Self, CloudError> {
        let mut found = Self::default();
        for (variable, below_home, is_config) in
            [("AWS_CONFIG_FILE", ".aws/config", true), ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials", false)]
        {
            let Some(path) = facts.path(variable, below_home) else { continue };
            found.add(&text(&path)?.unwrap_or_default(), is_config);
        }
        Ok(found)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Profile> {
        self.profiles.get(name)
    }

    pub(crate) fn session(&self, name: &str) -> Option<&Profile> {
        self.sessions.get(name)
    }

    fn add(&mut self, text: &str, is_config: bool) {
        for (name, settings) in sections(text) {
            let (kind, name) = match name.split_once(char::is_whitespace) {
                Some((kind, rest)) if is_config => (kind, rest.trim()),
                _ => ("", name.as_str()),
            };
            let name = name.trim_matches(['"', '\'']).to_owned();
            match kind {
                "sso-session" => self.sessions.entry(name).or_default().extend(settings),
                "profile" | "" => self.profiles.entry(name).or_default().extend(settings),
                _ => {}
            }
        }
    }
}

/// The sections of a file. Indented lines belong to a setting with parts, none of which matters here.
fn sections(text: &str) -> Vec<(String, Profile)> {
    let mut found: Vec<(String, Profile)> = Vec::new();
    for line in text.lines() {
        if line.starts_with(['#', ';', ' ', '\t']) {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            let name = rest.split_once(']').map_or(rest, |(name, _)| name).trim();
            found.push((name.to_owned(), Profile::new()));
        } else if let (Some((name, value)), Some((_, settings))) = (line.split_once('='), found.last_mut()) {
            let value = [" #", " ;", "\t#", "\t;"].iter().fold(value, |value, mark| before(value, mark)).trim();
            if !value.is_empty() {
                settings.insert(name.trim().to_ascii_lowercase(), value.to_owned());
            }
        }
    }
    found
}

fn before<'a>(text: &'a str, mark: &str) -> &'a str {
    text.split_once(mark).map_or(text, |(front, _)| front)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_are_read_as_one() {
        let mut profiles = Profiles::default();
        profiles.add(
            "# a comment\n[default]\nregion = eu-central-1\n[profile dev]\nrole_arn=arn:aws:iam::1:role/x ; why\n\
             s3 =\n  max_concurrent_requests = 20\n[profile 'with space']\nregion = x\n[sso-session corp]\n\
             sso_region = us-east-1\n[services local]\nregion = y\n[dev]\nlost = yes",
            true,
        );
        profiles.add("[dev]\naws_access_key_id = AKID\naws_secret_access_key = a#b=c/+\n[default]\nregion = x", false);
        let dev = profiles.get("dev").unwrap();
        assert_eq!(dev["role_arn"], "arn:aws:iam::1:role/x");
        assert_eq!(dev["aws_secret_access_key"], "a#b=c/+");
        assert!(!dev.contains_key("s3") && !dev.contains_key("max_concurrent_requests"));
        assert_eq!(profiles.get("default").unwrap()["region"], "x");
        assert_eq!(profiles.get("with space").unwrap()["region"], "x");
        assert_eq!(profiles.session("corp").unwrap()["sso_region"], "us-east-1");
        assert!(profiles.get("corp").is_none() && profiles.get("services local").is_none());
    }
}
