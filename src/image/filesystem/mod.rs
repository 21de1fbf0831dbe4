//! The index of an image's files.
