//! Resolution by uv, and the files that a lock names.
