//! The ledger of builds: which build made or reused which images, in one SQLite file of the user's.
//!
//! Unlike the store it is data: nothing here is removed unless somebody asks. It neither builds nor asks registries
//! (docs/adr/0017).

mod database;
mod error;
mod exchange;
mod filter;
mod moment;
mod query;
mod record;
mod rows;
mod schema;
mod yaml;

pub use database::{Ledger, Listed, Wanted};
pub use error::LedgerError;
pub use exchange::ExchangeError;
pub use filter::{Column, Filter, FilterError, Sort};
pub use moment::Moment;
pub use query::Query;
pub use record::{BuildId, BuildRecord, ImageRecord, RecordError, Versions};
pub use yaml::to_yaml;
