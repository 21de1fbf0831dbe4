//! `lapstrake`: the keys that ZenML does not have.
//!
//! Flags that override them are the command line's concern.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::error::SettingsError;
use super::field::Field;
use super::types::{LayerSettings, Native, PythonSettings};
use crate::oci::{Platform, Reference, Repository};

const KEYS: [&str; 13] = [
    "cache_from",
    "cmd",
    "entrypoint",
    "insecure_registries",
    "labels",
    "layers",
    "output",
    "platforms",
    "python",
    "registry",
    "source_root",
    "tags",
    "working_dir",
];
/// Keys that the design knows and that nothing reads yet.
const LATER: [&str; 4] = ["artifact_store", "resolution", "secrets", "stack"];

/// Reads the section.
pub(super) fn read(section: &Field<'_>) -> Result<Native, SettingsError> {
    let mut native = Native::default();
    for field in section.fields()?.into_iter().filter(|field| !field.is_null()) {
        match field.key() {
            "source_root" => native.source_root = Some(PathBuf::from(field.filled_text()?)),
            "entrypoint" => native.entrypoint = Some(field.texts()?),
            "cmd" => native.cmd = Some(field.texts()?),
            "working_dir" => native.working_dir = Some(absolute(&field)?),
            "tags" => native.tags = field.items()?.iter().map(image).collect::<Result<_, _>>()?,
            "registry" => native.registry = Some(registry(&field)?),
            "platforms" => native.platforms = field.items()?.iter().map(platform).collect::<Result<_, _>>()?,
            "cache_from" => native.cache_from = field.items()?.iter().map(image).collect::<Result<_, _>>()?,
            "output" => native.output = Some(field.filled_text()?),
            "insecure_registries" => {
                native.insecure_registries = field.items()?.iter().map(host).collect::<Result<_, _>>()?;
            }
            "labels" => native.labels = labels(&field)?,
            "python" => native.python = python(&field)?,
            "layers" => native.layers = layers(&field)?,
            key if LATER.contains(&key) => return Err(field.not_supported(Some("remove it"))),
            _ => return Err(field.unknown(&KEYS)),
        }
    }
    Ok(native)
}

fn image(field: &Field<'_>) -> Result<Reference, SettingsError> {
    field.parsed(Reference::written)
}

fn platform(field: &Field<'_>) -> Result<Platform, SettingsError> {
    let parsed = field.text()?.parse::<Platform>();
    parsed.map_err(|error| field.invalid(&format!("is not valid: {error}"), Some("write `linux/amd64`".to_owned())))
}

fn absolute(field: &Field<'_>) -> Result<String, SettingsError> {
    let path = field.text()?;
    if path.starts_with('/') { Ok(path) } else { Err(field.invalid("must be an absolute path", None)) }
}

/// A registry's URI: a host, perhaps with a path below; a reference made of it and a name must be valid.
fn registry(field: &Field<'_>) -> Result<String, SettingsError> {
    let text = field.text()?;
    let uri = text.strip_suffix('/').unwrap_or(&text);
    match Repository::parse(&format!("{uri}/image")) {
        Ok(_) => Ok(uri.to_owned()),
        Err(_) => {
            Err(field.invalid("is not a registry", Some("write `host[:port][/path]`, without `https://`".to_owned())))
        }
    }
}

fn host(field: &Field<'_>) -> Result<String, SettingsError> {
    let host = field.text()?;
    match Repository::parse(&format!("{host}/image")) {
        Ok(repository) if repository.registry() == host => Ok(host),
        _ => Err(field.invalid("is not a registry's host", Some("write `host[:port]`".to_owned()))),
    }
}

fn labels(field: &Field<'_>) -> Result<BTreeMap<String, String>, SettingsError> {
    field.printed_map()
}

fn python(section: &Field<'_>) -> Result<PythonSettings, SettingsError> {
    let mut python = PythonSettings::default();
    for field in section.fields()?.into_iter().filter(|field| !field.is_null()) {
        match field.key() {
            "version" => python.version = Some(version(&field)?),
            "prefix" => python.prefix = Some(absolute(&field)?),
            _ => return Err(field.unknown(&["version", "prefix"])),
        }
    }
    Ok(python)
}

/// `3.12`, in quotes or not: a number is taken as it was written, so that `3.10` is not 3.1.
fn version(field: &Field<'_>) -> Result<(u32, u32), SettingsError> {
    let text = field.written()?;
    let parts = text.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    parts.ok_or_else(|| field.invalid("is not a version of Python", Some("write `3.12`".to_owned())))
}

fn layers(section: &Field<'_>) -> Result<LayerSettings, SettingsError> {
    let mut layers = LayerSettings::default();
    for field in section.fields()?.into_iter().filter(|field| !field.is_null()) {
        match field.key() {
            "budget" => match field.count()? {
                0 => return Err(field.invalid("must be at least 1", None)),
                budget => layers.budget = Some(budget),
            },
            "own_layer_above_bytes" => layers.own_layer_above_bytes = Some(field.count()?),
            _ => return Err(field.unknown(&["budget", "own_layer_above_bytes"])),
        }
    }
    Ok(layers)
}
