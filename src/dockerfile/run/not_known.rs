//! Why a RUN line is left to a shell.
//!
//! The text is for people; nothing decides by it.

use crate::settings::without_userinfo;

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

/// `text` without the users and passwords of the URLs in it.
pub(super) fn redacted(text: &str) -> String {
    without_userinfo(text, "").unwrap_or_else(|| text.to_owned())
}
