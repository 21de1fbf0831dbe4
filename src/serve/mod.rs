//! The embedded registry server.
