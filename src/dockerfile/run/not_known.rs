//! Why a RUN line is left to a shell.
//!
//! The text is for people; nothing decides by it.

use crate::settings::{is_secret_name, without_userinfo};

/// The first thing of a RUN line that is not known without running it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{command}` is not known without running it: {reason}")]
pub struct NotKnown {
    /// The simple command that stops us.
    pub command: String,
    /// Why, as a clause: "it runs `make`".
    pub reason: String,
}

impl NotKnown {
    /// The same without the passwords of URLs.
    pub(super) fn redacted(self) -> Self {
        Self { command: redacted(&self.command), reason: redacted(&self.reason) }
    }
}

/// `text` without the users and passwords of the URLs in it, and without the values of variables that look like secrets.
pub(super) fn redacted(text: &str) -> String {
    let text = without_userinfo(text, "").unwrap_or_else(|| text.to_owned());
    // Poetry is given a password behind these.
    let end = ["http-basic.", "pypi-token."].iter().filter_map(|setting| text.find(setting)).min();
    let words = text[..end.unwrap_or(text.len())].split(' ').map(|word| match word.split_once('=') {
        Some((name, value)) if !value.is_empty() && is_secret_name(name) => format!("{name}=..."),
        _ => word.to_owned(),
    });
    let shown = words.collect::<Vec<_>>().join(" ");
    if end.is_some() { format!("{shown}...") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_hold_no_password() {
        let table = [
            ("pip install -i https://u:p@h/s x", "pip install -i https://h/s x"),
            ("API_TOKEN=abc make && A=b x", "API_TOKEN=... make && A=b x"),
            ("poetry config http-basic.x me pw", "poetry config ..."),
        ];
        for (text, expected) in table {
            assert_eq!(redacted(text), expected);
        }
    }
}
