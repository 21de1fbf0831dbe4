//! The tables of the ledger, and how an older file becomes a newer one.
//!
//! A step that was released never changes; a new layout is a new step at the end. What the columns mean stands in
//! `record`.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::error::LedgerError;

/// Marks the file as ours (SQLite's file format, section 1.3.17): `LapL`.
const APPLICATION: i64 = 0x4c61_704c;

/// The steps from an empty file to the newest layout; a file's layout is how many it has taken.
pub(super) const STEPS: &[&str] = &["
CREATE TABLE builds (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  created TEXT NOT NULL,
  pipeline TEXT,
  stack TEXT,
  stack_checksum TEXT,
  lapstrake_version TEXT,
  python_version TEXT,
  zenml_version TEXT,
  checksum TEXT,
  is_local INTEGER NOT NULL,
  contains_code INTEGER NOT NULL,
  duration REAL
) STRICT;
CREATE TABLE images (
  build INTEGER NOT NULL REFERENCES builds (number) ON DELETE CASCADE,
  key TEXT NOT NULL,
  image TEXT NOT NULL,
  settings_checksum TEXT,
  plan_key TEXT,
  dockerfile TEXT,
  requirements TEXT,
  step_name TEXT,
  contains_code INTEGER NOT NULL,
  requires_code_download INTEGER NOT NULL,
  reused INTEGER NOT NULL,
  made_by TEXT,
  PRIMARY KEY (build, key)
) STRICT;
CREATE INDEX builds_by_time ON builds (created);
CREATE INDEX builds_by_checksum ON builds (checksum);
CREATE INDEX images_by_name ON images (image);
"];

/// Brings the file of `connection` to the newest layout by `steps`; nothing happens to one that is there already.
///
/// # Errors
/// Fails when the file is something else, is of a later layout, or cannot be written.
pub(super) fn prepare(connection: &mut Connection, path: &Path, steps: &[&str]) -> Result<(), LedgerError> {
    if layout(connection, path, steps)? == steps.len() {
        return Ok(());
    }
    let failed = |source| LedgerError::of_database("bring up to date", path, source);
    // Whoever comes second finds all done.
    let change = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let done = layout(&change, path, steps)?;
    for step in &steps[done..] {
        change.execute_batch(step).map_err(failed)?;
    }
    change.pragma_update(None, "application_id", APPLICATION).map_err(failed)?;
    change.pragma_update(None, "user_version", number(steps.len())).map_err(failed)?;
    change.commit().map_err(failed)
}

fn number(steps: usize) -> u32 {
    u32::try_from(steps).unwrap_or(u32::MAX)
}

/// How many steps the file has taken.
fn layout(connection: &Connection, path: &Path, steps: &[&str]) -> Result<usize, LedgerError> {
    let failed = |source| LedgerError::of_database("read", path, source);
    let value = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let (application, version) = (value("application_id").map_err(failed)?, value("user_version").map_err(failed)?);
    let tables = connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get::<_, i64>(0));
    if application != APPLICATION && (application, version, tables.map_err(failed)?) != (0, 0, 0) {
        return Err(LedgerError::Foreign { path: path.to_owned() });
    }
    let whole = usize::try_from(version).ok();
    whole.filter(|version| *version <= steps.len()).ok_or_else(|| LedgerError::Newer {
        path: path.to_owned(),
        found: u32::try_from(version).unwrap_or(u32::MAX),
        known: number(steps.len()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEXT: [&str; 2] = [STEPS[0], "ALTER TABLE builds ADD COLUMN note TEXT;"];

    fn columns(connection: &Connection) -> i64 {
        connection.query_row("SELECT count(*) FROM pragma_table_info('builds')", (), |row| row.get(0)).unwrap()
    }

    #[test]
    fn an_older_layout_takes_the_steps_that_it_lacks_and_keeps_what_it_holds() {
        let (mut connection, path) = (Connection::open_in_memory().unwrap(), Path::new("f"));
        prepare(&mut connection, path, STEPS).unwrap();
        let row = "INSERT INTO builds (id, created, is_local, contains_code) VALUES ('a', 'b', 0, 0)";
        connection.execute(row, ()).unwrap();
        let before = columns(&connection);
        prepare(&mut connection, path, STEPS).unwrap();
        assert_eq!(columns(&connection), before);
        prepare(&mut connection, path, &NEXT).unwrap();
        prepare(&mut connection, path, &NEXT).unwrap();
        assert_eq!(columns(&connection), before + 1);
        let id: String = connection.query_row("SELECT id FROM builds", (), |row| row.get(0)).unwrap();
        assert_eq!(id, "a");
        let newer = prepare(&mut connection, path, STEPS).unwrap_err();
        assert_eq!(newer.to_string(), "the ledger `f` has layout 2, this version reads up to 1");
    }

    #[test]
    fn a_step_that_fails_leaves_the_layout_before() {
        let (mut connection, path) = (Connection::open_in_memory().unwrap(), Path::new("f"));
        prepare(&mut connection, path, STEPS).unwrap();
        let broken = [STEPS[0], "CREATE TABLE half (a); NONSENSE;"];
        prepare(&mut connection, path, &broken).unwrap_err();
        prepare(&mut connection, path, &NEXT).unwrap();
        let half = "SELECT count(*) FROM sqlite_schema WHERE name = 'half'";
        assert_eq!(connection.query_row(half, (), |row| row.get::<_, i64>(0)), Ok(0));
    }

    #[test]
    fn databases_of_others_are_left_alone() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE theirs (a)").unwrap();
        let refused = prepare(&mut connection, Path::new("f"), STEPS).unwrap_err();
        assert_eq!(refused.to_string(), "`f` is not a ledger of builds");
    }
}
