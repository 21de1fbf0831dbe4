//! The account files of an image as texts: `/etc/passwd`, `/etc/group` and those beside them, and what tools write into them.
//!
//! Texts in, texts out; which files an image has and where a home folder goes is not known here.

mod database;
mod defaults;

pub use database::{AccountError, Accounts, Day, Groups, NewUser, Table};
pub use defaults::{Defaults, Range};
