//! The local Python environment and the project's `pyproject.toml`, as requirement lines.
//!
//! Other programs list them (pip, uv, poetry, or a command of the user's); nothing is read out of site-packages here.

mod command;
mod error;
mod export;
mod freeze;
mod host;

pub use command::Listed;
pub use error::ListingError;
pub use export::{Pyproject, export};
pub use freeze::freeze;
pub use host::PythonHost;
