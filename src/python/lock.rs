//! Locks: which file of which version goes in.
