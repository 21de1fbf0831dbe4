//! The local store and the outputs that are folders or files.
