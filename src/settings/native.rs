//! `lapstrake`: the keys that ZenML does not have.
//!
//! Flags that override them are the command line's concern.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::error::SettingsError;
use super::field::Field;
use super::table::{COMPONENT, LAYERS, NATIVE, PYTHON, STACK, names};
use super::types::{
    CodeRepository, LayerSettings, Native, PythonSettings, Resolution, SecretSource, StackComponent, StackSettings,
};
use crate::oci::{Reference, Repository};

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
            "platforms" => native.platforms = field.items()?.iter().map(Field::platform).collect::<Result<_, _>>()?,
            "cache_from" => native.cache_from = field.items()?.iter().map(image).collect::<Result<_, _>>()?,
            "output" => native.output = Some(field.filled_text()?),
            "insecure_registries" => {
                native.insecure_registries = field.items()?.iter().map(host).collect::<Result<_, _>>()?;
            }
            "labels" => native.labels = labels(&field)?,
            "python" => native.python = python(&field)?,
            "layers" => native.layers = layers(&field)?,
            "stack" => native.stack = stack(&field)?,
            "resolution" => native.resolution = resolution(&field)?,
            "code_repository" => native.code_repository = code_repository(&field)?,
            "artifact_store" => native.artifact_store = Some(artifact_store(&field)?),
            "secrets" => native.secrets = secrets(&field)?,
            "backend" => native.backend = Some(field.filled_text()?),
            _ => field.unknown(names(NATIVE))?,
        }
    }
    Ok(native)
}

fn image(field: &Field<'_>) -> Result<Reference, SettingsError> {
    field.parsed(Reference::written)
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
            _ => field.unknown(names(PYTHON))?,
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
            _ => field.unknown(names(LAYERS))?,
        }
    }
    Ok(layers)
}

fn stack(section: &Field<'_>) -> Result<StackSettings, SettingsError> {
    let mut stack = StackSettings::default();
    for field in section.fields()?.into_iter().filter(|field| !field.is_null()) {
        match field.key() {
            "name" => stack.name = Some(field.filled_text()?),
            "components" => {
                let fields = field.fields()?.into_iter().filter(|field| !field.is_null());
                let pair = |field: Field<'_>| Ok((field.key().to_owned(), component(&field)?));
                stack.components = fields.map(pair).collect::<Result<_, SettingsError>>()?;
            }
            "requirements" => stack.requirements = field.filled_texts()?,
            "apt_packages" => stack.apt_packages = field.filled_texts()?,
            _ => field.unknown(names(STACK))?,
        }
    }
    Ok(stack)
}

/// A flavor alone, or a mapping.
fn component(section: &Field<'_>) -> Result<StackComponent, SettingsError> {
    let mut component = StackComponent::default();
    if !section.is_map() {
        component.flavor = Some(section.filled_text()?);
        return Ok(component);
    }
    for field in section.fields()?.into_iter().filter(|field| !field.is_null()) {
        match field.key() {
            "flavor" => component.flavor = Some(field.filled_text()?),
            "requirements" => component.requirements = field.filled_texts()?,
            "apt_packages" => component.apt_packages = field.filled_texts()?,
            _ => field.unknown(names(COMPONENT))?,
        }
    }
    Ok(component)
}

fn resolution(field: &Field<'_>) -> Result<Resolution, SettingsError> {
    Ok(match field.choice(&["joint", "sequential"])? {
        "sequential" => Resolution::Sequential,
        _ => Resolution::Joint,
    })
}

/// `true`, `false` or a URL.
fn code_repository(field: &Field<'_>) -> Result<Option<CodeRepository>, SettingsError> {
    match field.flag() {
        Ok(is_on) => Ok(is_on.then_some(CodeRepository::Remote)),
        Err(_) => Ok(Some(CodeRepository::Url(field.filled_text()?))),
    }
}

/// A folder, or a place in one of the object stores that there are.
fn artifact_store(field: &Field<'_>) -> Result<String, SettingsError> {
    let place = field.filled_text()?;
    match place.split_once("://") {
        Some(("s3" | "gs" | "az", bucket)) if !bucket.is_empty() => Ok(place),
        None => Ok(place),
        _ => {
            let hint = "write a folder, `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or `az://CONTAINER/PREFIX`";
            Err(field.invalid("is not an artifact store", Some(hint.to_owned())))
        }
    }
}

fn secrets(section: &Field<'_>) -> Result<BTreeMap<String, SecretSource>, SettingsError> {
    let pair = |field: &Field<'_>| Ok((field.key().to_owned(), secret(field)?));
    section.fields()?.iter().map(pair).collect()
}

/// Where one secret comes from; a value of its own is refused without being repeated.
fn secret(section: &Field<'_>) -> Result<SecretSource, SettingsError> {
    let cure = || Some("write `{env: NAME}`, `{file: PATH}` or `{command: [PROGRAM, ARGUMENT]}`".to_owned());
    if !section.is_map() {
        return Err(section.invalid("does not say where the secret comes from", cure()));
    }
    let fields: Vec<Field<'_>> = section.fields()?.into_iter().filter(|field| !field.is_null()).collect();
    let [field] = fields.as_slice() else {
        return Err(section.invalid("must name one source of the secret", cure()));
    };
    match field.key() {
        "env" => Ok(SecretSource::Environment(field.filled_text()?)),
        "file" => Ok(SecretSource::File(PathBuf::from(field.filled_text()?))),
        "command" => match field.filled_texts()? {
            words if words.is_empty() => Err(field.invalid("is empty", None)),
            words => Ok(SecretSource::Command(words)),
        },
        _ => Err(field.wrong_key("is no source of secrets", cure())),
    }
}
