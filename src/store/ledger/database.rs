//! The ledger as a file that several processes read and write at once.
//!
//! SQLite with a write-ahead log: a record is whole or absent, also when its writer is killed. A commit waits for no
//! disk, so that a power cut may take the last records, and only these (docs/adr/0017). No clock is read here.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, TransactionBehavior, params_from_iter};
use tempfile::TempDir;

use super::error::LedgerError;
use super::query::{Query, Statement, compare_versions};
use super::record::{self, BuildId, BuildRecord};
use super::{rows, schema};

/// How long a process waits for the others.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of the log after which it is written into the file and begins anew: few, since each process reads it from its beginning.
const LOG: u64 = 1 << 20;

/// The ledger of builds. Clones share one connection.
#[derive(Clone, Debug)]
pub struct Ledger {
    path: PathBuf,
    connection: Arc<Mutex<Connection>>,
    /// A copy of a file that cannot be written.
    _copy: Option<Arc<TempDir>>,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// The builds of this page.
    pub builds: Vec<BuildRecord>,
    /// How many there are on all pages.
    pub total: u64,
}

/// What a build that may be used again has to be like (ZenML's `find_existing_build`).
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// ZenML's checksum over image keys and settings.
    pub checksum: String,
    /// The stack; a build for none is for none.
    pub stack: Option<String>,
    /// The pipeline; `None` for any, as ZenML has it.
    pub pipeline: Option<String>,
    /// ZenML's version; `None` for any.
    pub zenml: Option<String>,
    /// Python's version, of which `major.minor` counts; `None` for any.
    pub python: Option<String>,
}

impl Ledger {
    /// Opens the ledger at `path` for reading and writing, making it when it is absent.
    ///
    /// # Errors
    /// Fails when the file cannot be written, is something else, or is of a later version.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        if matches!(path.try_exists(), Ok(false)) {
            make(path)?;
        }
        Self::of(path, connect(path)?, None)
    }

    /// Opens the ledger at `path` for reading; an absent one is empty, and none is made. Of a file that cannot be
    /// written a copy in `scratch` is read, for as long as the ledger is open.
    ///
    /// # Errors
    /// Fails when the file cannot be read, is something else, or is of a later version.
    pub fn read(path: &Path, scratch: &Path) -> Result<Self, LedgerError> {
        if matches!(path.try_exists(), Ok(false)) {
            let failed = |source| LedgerError::of_database("open", path, source);
            return Self::of(path, Connection::open_in_memory().map_err(failed)?, None);
        }
        match connect(path).and_then(|connection| Self::of(path, connection, None)) {
            Err(error) if error.is_unwritable() => {
                let copy = copied(path, scratch)?;
                let connection = connect(&copy.path().join(COPY))?;
                Self::of(path, connection, Some(Arc::new(copy)))
            }
            opened => opened,
        }
    }

    fn of(path: &Path, mut connection: Connection, copy: Option<Arc<TempDir>>) -> Result<Self, LedgerError> {
        schema::prepare(&mut connection, path, schema::STEPS)?;
        connection
            .create_collation("version", compare_versions)
            .map_err(|source| LedgerError::of_database("open", path, source))?;
        Ok(Self { path: path.to_owned(), connection: Arc::new(Mutex::new(connection)), _copy: copy })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a record into the ledger, unless one of its name is there; says whether it was put. Of each reused image
    /// the build that made it is added, and passwords in URLs are masked; `record` is what was written afterwards.
    ///
    /// # Errors
    /// Fails when the file cannot be written.
    pub fn put(&self, record: &mut BuildRecord) -> Result<bool, LedgerError> {
        let failed = |source| LedgerError::of_database("write", &self.path, source);
        let mut connection = self.connection();
        let change = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let mut clean = record.clone().without_secrets();
        for image in clean.images.values_mut().filter(|image| image.reused && image.made_by.is_none()) {
            image.made_by = rows::maker(&change, &image.image).map_err(failed)?;
        }
        let is_new = rows::insert(&change, &clean).map_err(failed)?;
        change.commit().map_err(failed)?;
        *record = clean;
        self.empty_log(&connection);
        Ok(is_new)
    }

    /// Writes a log that has grown into the file. SQLite does that by itself, but empties no log that each process leaves
    /// right after its commit: it would grow for ever, and every commit would wait for the disk.
    fn empty_log(&self, connection: &Connection) {
        let log = fs::metadata(beside(&self.path, "-wal")).map_or(0, |log| log.len());
        if log > LOG {
            // Others that read or write just now are not waited for: the log can be emptied after the next build.
            let _ = connection.busy_timeout(Duration::ZERO);
            let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            let _ = connection.busy_timeout(PATIENCE);
        }
    }

    /// The only build whose name begins with `prefix`; the dashes of a UUID do not count.
    ///
    /// # Errors
    /// Fails when there is none, or several, or `prefix` is no such text.
    pub fn find(&self, prefix: &str) -> Result<BuildRecord, LedgerError> {
        let digits = record::digits(prefix).ok_or_else(|| LedgerError::NotAName(prefix.to_owned()))?;
        let from = "FROM builds WHERE id >= ?1 AND id < ?1 || 'g' ORDER BY id LIMIT 10";
        let mut found = self.select(from, &[Value::from(digits)])?;
        match found.len() {
            0 => Err(LedgerError::Unknown(prefix.to_owned())),
            1 => Ok(found.swap_remove(0)),
            _ => {
                let candidates = found.into_iter().map(|record| record.id).collect();
                Err(LedgerError::Ambiguous { prefix: prefix.to_owned(), candidates })
            }
        }
    }

    /// The build of this name.
    ///
    /// # Errors
    /// Fails when the file cannot be read.
    pub fn by_id(&self, id: &BuildId) -> Result<Option<BuildRecord>, LedgerError> {
        Ok(self.select("FROM builds WHERE id = ?", &[Value::from(id.to_string())])?.pop())
    }

    /// The builds that a query is after.
    ///
    /// # Errors
    /// Fails when the file cannot be read.
    pub fn list(&self, query: &Query) -> Result<Listed, LedgerError> {
        let Statement { text, values } = query.statement();
        let order = query.order();
        let builds = self.select(&format!("FROM builds {text} {order}"), &values)?;
        let connection = self.connection();
        let count = format!("SELECT count(*) FROM builds {text}");
        let total = connection.query_row(&count, params_from_iter(&values), |row| row.get(0));
        let total: i64 = total.map_err(|source| LedgerError::of_database("read", &self.path, source))?;
        Ok(Listed { builds, total: u64::try_from(total).unwrap_or_default() })
    }

    /// The builds that may be used again by their records, newest first, `most` at most. Those with an image in no
    /// registry, or with the project's files in it, are none of them.
    ///
    /// # Errors
    /// Fails when the file cannot be read.
    pub fn reusable(&self, wanted: &Wanted, most: usize) -> Result<Vec<BuildRecord>, LedgerError> {
        let python =
            wanted.python.as_deref().map(|version| version.splitn(3, '.').take(2).collect::<Vec<_>>().join("."));
        let text = |value: &Option<String>| value.clone().map_or(Value::Null, Value::from);
        let values = [
            Value::from(wanted.checksum.clone()),
            text(&wanted.stack),
            text(&wanted.pipeline),
            text(&wanted.zenml),
            text(&python),
            Value::from(i64::try_from(most).unwrap_or(i64::MAX)),
        ];
        self.select(
            "FROM builds WHERE checksum = ?1 AND stack IS ?2 AND (?3 IS NULL OR pipeline = ?3) \
             AND (?4 IS NULL OR zenml_version = ?4) \
             AND (?5 IS NULL OR python_version = ?5 OR substr(python_version, 1, length(?5) + 1) = ?5 || '.') \
             AND NOT is_local AND NOT contains_code ORDER BY created DESC, number DESC LIMIT ?6",
            &values,
        )
    }

    /// Takes a build out of the ledger; says whether it was there. Its images stay where they are.
    ///
    /// # Errors
    /// Fails when the file cannot be written.
    pub fn delete(&self, id: &BuildId) -> Result<bool, LedgerError> {
        let deleted = self.connection().execute("DELETE FROM builds WHERE id = ?", [id.as_str()]);
        Ok(deleted.map_err(|source| LedgerError::of_database("write", &self.path, source))? > 0)
    }

    fn select(&self, from: &str, values: &[Value]) -> Result<Vec<BuildRecord>, LedgerError> {
        let connection = self.connection();
        let read = || {
            let mut wanted = connection.prepare(&format!("SELECT {} {from}", rows::BUILD))?;
            let found: Vec<_> =
                wanted.query_map(params_from_iter(values), rows::build)?.collect::<rusqlite::Result<_>>()?;
            let whole = |(number, record)| Ok(BuildRecord { images: rows::images(&connection, number)?, ..record });
            found.into_iter().map(whole).collect::<rusqlite::Result<_>>()
        };
        read().map_err(|source| LedgerError::of_database("read", &self.path, source))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name of a copy in its folder.
const COPY: &str = "ledger.db";

/// Makes an empty ledger beside `path` and gives it its name when it is whole. Whoever comes second takes the first's.
fn make(path: &Path) -> Result<(), LedgerError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|source| LedgerError::io("make", path, source))?;
    let file = tempfile::Builder::new().prefix(".ledger-").suffix(".part").tempfile_in(folder);
    let file = file.map_err(|source| LedgerError::io("make", path, source))?;
    let failed = |source| LedgerError::of_database("make", path, source);
    let mut connection = Connection::open(file.path()).map_err(failed)?;
    connection.pragma_update(None, "journal_mode", "wal").map_err(failed)?;
    schema::prepare(&mut connection, path, schema::STEPS)?;
    // The log goes into the file, and away.
    connection.close().map_err(|(_, source)| failed(source))?;
    match file.persist_noclobber(path) {
        Err(failed) if failed.error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(LedgerError::io("make", path, failed.error))
        }
        _ => Ok(()),
    }
}

fn connect(path: &Path) -> Result<Connection, LedgerError> {
    // SQLite does not say why a file cannot be opened.
    let readable = File::open(path).and_then(|file| file.metadata());
    let kind = readable.map_err(|source| LedgerError::io("open", path, source))?;
    if !kind.is_file() {
        return Err(LedgerError::Foreign { path: path.to_owned() });
    }
    let failed = |source| LedgerError::of_database("open", path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    if connection.is_readonly("main").map_err(failed)? {
        return Err(LedgerError::ReadOnly { path: path.to_owned() });
    }
    let settings = || {
        connection.busy_timeout(PATIENCE)?;
        connection.pragma_update(None, "synchronous", "normal")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
        // The last process to leave would wait for the disk.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
    };
    settings().map_err(failed)?;
    Ok(connection)
}

/// The file that SQLite has beside the one at `path`.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Copies the file, and the log beside it, into a folder of its own.
fn copied(path: &Path, scratch: &Path) -> Result<TempDir, LedgerError> {
    let made = tempfile::Builder::new().prefix("lapstrake-ledger-").tempdir_in(scratch);
    let folder = made.map_err(|source| LedgerError::io("copy", path, source))?;
    for suffix in ["", "-wal"] {
        let from = beside(path, suffix);
        let to = folder.path().join(format!("{COPY}{suffix}"));
        // The bytes alone: permissions would come along.
        let copy = || std::io::copy(&mut File::open(from)?, &mut File::create(to)?);
        match copy() {
            Err(error) if !suffix.is_empty() && error.kind() == std::io::ErrorKind::NotFound => {}
            copied => copied.map(drop).map_err(|source| LedgerError::io("copy", path, source))?,
        }
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "is_local: true\ncontains_code: false\nimages: {orchestrator: {image: a}}\n";

    #[test]
    fn the_log_stays_small_whoever_comes_and_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let log = || fs::metadata(beside(&path, "-wal")).map_or(0, |log| log.len());
        let (mut largest, mut shrank) = (0, 0);
        for number in 0..200_u8 {
            // As each build: opened, written once, and left.
            let ledger = Ledger::open(&path).unwrap();
            let text = TEXT.replace("image: a", &format!("image: {}", "a".repeat(20_000)));
            let mut record = BuildRecord::from_yaml(
                &text,
                "f",
                BuildId::of_random([number; 16]),
                super::super::Moment::of_seconds(0),
            )
            .unwrap();
            let before = log();
            assert!(ledger.put(&mut record).unwrap());
            largest = largest.max(log());
            shrank += usize::from(log() < before);
        }
        assert!(largest > LOG / 2 && largest < LOG + (1 << 19), "{largest}");
        assert!((2..50).contains(&shrank), "{shrank}");
        assert_eq!(Ledger::open(&path).unwrap().list(&Query::default()).unwrap().total, 200);
    }

    #[test]
    fn a_copy_has_what_stands_in_the_log_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let ledger = Ledger::open(&path).unwrap();
        let record =
            BuildRecord::from_yaml(TEXT, "f", BuildId::of_random([7; 16]), super::super::Moment::of_seconds(0));
        let mut record = record.unwrap();
        assert!(ledger.put(&mut record).unwrap());
        assert!(fs::metadata(folder.path().join("ledger.db-wal")).unwrap().len() > 0);
        let copy = copied(&path, folder.path()).unwrap();
        let of_copy = Ledger::of(&path, connect(&copy.path().join(COPY)).unwrap(), None).unwrap();
        assert_eq!(of_copy.by_id(&record.id).unwrap(), Some(record));
    }
}
