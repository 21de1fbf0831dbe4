//! Why requirement files cannot be followed.

use std::fmt;
use std::io;

use super::line::nearest_option;
use crate::diagnostic::{Class, Diagnose};

/// A line of a requirement file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The file, relative to the source root where it lies inside.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}:{}`", self.file, self.line)
    }
}

/// Why a requirement file cannot be followed. Credentials in URLs are left out of every text.
#[derive(Debug, thiserror::Error)]
pub enum RequirementsError {
    /// The file to begin with cannot be read.
    #[error("requirement file `{file}` cannot be read")]
    Unreadable {
        /// The file.
        file: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file that another one includes cannot be read.
    #[error("requirement file `{file}`, included at {at}, cannot be read")]
    UnreadableInclude {
        /// The file.
        file: String,
        /// Where it is included.
        at: Position,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The text is neither UTF-8 nor UTF-16 with a byte order mark.
    #[error("{at} is not valid {encoding}")]
    Encoding {
        /// The first line that is wrong.
        at: Position,
        /// What was expected.
        encoding: &'static str,
    },
    /// A file includes itself, directly or through others.
    #[error("{at} includes `{file}`, which leads back to it")]
    Cycle {
        /// Where the circle closes.
        at: Position,
        /// The file that is already being read.
        file: String,
    },
    /// Files include files beyond all reason.
    #[error("{at} includes files more than {cap} levels deep")]
    TooDeep {
        /// The innermost include.
        at: Position,
        /// The number of levels allowed.
        cap: usize,
    },
    /// A file is included by URL.
    #[error("{at} includes `{url}`, and only local files can be included")]
    Remote {
        /// Where.
        at: Position,
        /// The URL.
        url: String,
    },
    /// An option is none that a requirement file may hold.
    #[error("{at} has the unknown option `{option}`")]
    UnknownOption {
        /// Where.
        at: Position,
        /// The option without its value.
        option: String,
    },
    /// An option lacks its value.
    #[error("{at} gives no value for `{option}`")]
    MissingValue {
        /// Where.
        at: Position,
        /// The option.
        option: String,
    },
    /// An option that takes no value has one, or text follows the options.
    #[error("{at} has the stray text `{text}`")]
    Stray {
        /// Where.
        at: Position,
        /// The text.
        text: String,
    },
    /// A quotation mark is never closed.
    #[error("{at} does not close a quotation mark")]
    Quotation {
        /// Where.
        at: Position,
    },
    /// A line is no requirement.
    #[error("{at} is no requirement: `{text}`")]
    NoRequirement {
        /// Where.
        at: Position,
        /// The line.
        text: String,
    },
}

impl Diagnose for RequirementsError {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unreadable { .. } => {
                "give the path of a requirement file; a relative one starts from the configuration's folder".into()
            }
            Self::UnreadableInclude { .. } => {
                "paths after `-r` and `-c` are relative to the file that holds them; correct the path".into()
            }
            Self::Encoding { .. } => "save the file as UTF-8".into(),
            Self::Cycle { .. } | Self::TooDeep { .. } => "remove one of the `-r` or `-c` lines".into(),
            Self::Remote { .. } => "download the file and include the copy".into(),
            Self::UnknownOption { option, .. } => match nearest_option(option) {
                Some(known) => format!("did you mean `{known}`?"),
                None => "remove it, or give it as an installer argument".into(),
            },
            Self::MissingValue { option, .. } => format!("write `{option} VALUE`"),
            Self::Stray { .. } => "put each option on a line of its own".into(),
            Self::Quotation { .. } => "close the quotation mark on the same line".into(),
            Self::NoRequirement { .. } => "write `name`, `name==1.0`, `name @ URL`, a URL or a path".into(),
        })
    }
}
