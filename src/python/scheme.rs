//! Where an interpreter installs things (Python's `sysconfig` install schemes).
//!
//! The paths only; finding them in an image is the work of `environment`.

use serde::{Deserialize, Serialize};

/// The folders of one interpreter, absolute paths inside the image without a trailing slash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallScheme {
    /// What a script's `#!` line names, such as `/usr/local/bin/python3`.
    pub interpreter: String,
    /// Pure Python modules.
    pub purelib: String,
    /// Modules with native code; nearly always the same folder.
    pub platlib: String,
    /// Console scripts.
    pub scripts: String,
    /// C headers; each distribution has a folder of its name below.
    pub include: String,
    /// The prefix that `.data/data` goes to.
    pub data: String,
}
