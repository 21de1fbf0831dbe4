//! Reads layers strictly, as Go's `archive/tar` does or not at all.
