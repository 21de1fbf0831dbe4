//! Records to rows and back.
//!
//! Decides nothing: which rows are wanted is said by the caller's SQL.

use std::collections::BTreeMap;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::moment::Moment;
use super::record::{BuildId, BuildRecord, ImageRecord, Versions};

/// The columns that [`build`] reads, in its order.
pub(super) const BUILD: &str = "builds.number, builds.id, builds.created, builds.pipeline, builds.stack, \
     builds.stack_checksum, builds.lapstrake_version, builds.python_version, builds.zenml_version, builds.checksum, \
     builds.is_local, builds.contains_code, builds.duration";

/// Writes a record, unless one of its name is there; says whether it was written.
pub(super) fn insert(change: &Transaction<'_>, record: &BuildRecord) -> rusqlite::Result<bool> {
    let mut written = change.prepare(
        "INSERT INTO builds (id, created, pipeline, stack, stack_checksum, lapstrake_version, python_version, \
         zenml_version, checksum, is_local, contains_code, duration) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
         ON CONFLICT (id) DO NOTHING",
    )?;
    let versions = &record.versions;
    let count = written.execute(params![
        record.id.as_str(),
        record.created.as_str(),
        record.pipeline,
        record.stack,
        record.stack_checksum,
        versions.lapstrake,
        versions.python,
        versions.zenml,
        record.checksum,
        record.is_local,
        record.contains_code,
        record.duration_seconds,
    ])?;
    if count == 0 {
        return Ok(false);
    }
    let number = change.last_insert_rowid();
    let mut written = change.prepare(
        "INSERT INTO images (build, key, image, settings_checksum, plan_key, dockerfile, requirements, step_name, \
         contains_code, requires_code_download, reused, made_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    for (key, image) in &record.images {
        written.execute(params![
            number,
            key,
            image.image,
            image.settings_checksum,
            image.plan_key,
            image.dockerfile,
            image.requirements,
            image.step_name,
            image.contains_code,
            image.requires_code_download,
            image.reused,
            image.made_by.as_ref().map(BuildId::as_str),
        ])?;
    }
    Ok(true)
}

/// The build that made an image first, as far as the ledger knows.
pub(super) fn maker(connection: &Connection, image: &str) -> rusqlite::Result<Option<BuildId>> {
    let mut wanted = connection.prepare(
        "SELECT builds.id FROM images JOIN builds ON images.build = builds.number \
         WHERE images.image = ? AND NOT images.reused ORDER BY builds.created, builds.number LIMIT 1",
    )?;
    wanted.query_row([image], |row| id(row, 0)).optional()
}

/// A row of [`BUILD`]: the record without its images, and its number.
pub(super) fn build(row: &Row<'_>) -> rusqlite::Result<(i64, BuildRecord)> {
    let record = BuildRecord {
        id: id(row, 1)?,
        created: parsed(row, 2, Moment::parse)?,
        pipeline: row.get(3)?,
        stack: row.get(4)?,
        stack_checksum: row.get(5)?,
        versions: Versions { lapstrake: row.get(6)?, python: row.get(7)?, zenml: row.get(8)? },
        checksum: row.get(9)?,
        is_local: row.get(10)?,
        contains_code: row.get(11)?,
        images: BTreeMap::new(),
        duration_seconds: row.get(12)?,
    };
    Ok((row.get(0)?, record))
}

/// The images of the build with this number.
pub(super) fn images(connection: &Connection, number: i64) -> rusqlite::Result<BTreeMap<String, ImageRecord>> {
    let mut wanted = connection.prepare(
        "SELECT key, image, settings_checksum, plan_key, dockerfile, requirements, step_name, contains_code, \
         requires_code_download, reused, made_by FROM images WHERE build = ?",
    )?;
    let image = |row: &Row<'_>| {
        let image = ImageRecord {
            image: row.get(1)?,
            settings_checksum: row.get(2)?,
            plan_key: row.get(3)?,
            dockerfile: row.get(4)?,
            requirements: row.get(5)?,
            step_name: row.get(6)?,
            contains_code: row.get(7)?,
            requires_code_download: row.get(8)?,
            reused: row.get(9)?,
            made_by: row.get::<_, Option<String>>(10)?.as_deref().and_then(BuildId::parse),
        };
        Ok((row.get(0)?, image))
    };
    wanted.query_map([number], image)?.collect()
}

pub(super) fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<BuildId> {
    parsed(row, column, BuildId::parse)
}

fn parsed<T>(row: &Row<'_>, column: usize, parse: impl FnOnce(&str) -> Option<T>) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    let refused = || rusqlite::Error::FromSqlConversionFailure(column, Type::Text, format!("`{text}`").into());
    parse(&text).ok_or_else(refused)
}
