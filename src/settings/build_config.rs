//! `build_config` and `parent_image_build_config`: what a build is told.
//!
//! The Docker SDK's spellings have become ZenML's by now; what only an engine can honour is kept as it is.

use std::path::PathBuf;

use super::error::SettingsError;
use super::field::Field;
use super::table::{BUILD_CONFIG, names};
use super::types::BuildConfig;
use crate::oci::{Platform, Reference};

/// Reads the section.
pub(super) fn read(section: &Field<'_>) -> Result<BuildConfig, SettingsError> {
    let mut config = BuildConfig::default();
    for field in section.fields()?.into_iter().filter(|field| !field.is_null()) {
        match field.key() {
            "dockerignore" => config.dockerignore = Some(PathBuf::from(field.filled_text()?)),
            "build_options" => build_options(&mut config, &field)?,
            _ => field.unknown(names(BUILD_CONFIG))?,
        }
    }
    Ok(config)
}

fn build_options(config: &mut BuildConfig, section: &Field<'_>) -> Result<(), SettingsError> {
    for field in section.fields()?.into_iter().filter(|field| !field.is_null()) {
        match field.key() {
            "labels" => config.labels = field.printed_map()?,
            "platform" => config.platform = Some(field.platform()?),
            "build_args" => {
                let pair = |field: &Field<'_>| Ok((field.key().to_owned(), field.printed_or_null()?));
                config.build_args = field.fields()?.iter().map(pair).collect::<Result<_, SettingsError>>()?;
            }
            "cache_from" => {
                let image = |field: &Field<'_>| field.parsed(Reference::parse);
                config.cache_from = field.items()?.iter().map(image).collect::<Result<_, _>>()?;
            }
            "no_cache" => config.no_cache = field.flag()?,
            key => {
                let value = match key {
                    "pull" | "rm" => field.flag()?.into(),
                    "shm_size" => field.count()?.into(),
                    _ => field.json()?,
                };
                config.engine_options.insert(key.to_owned(), value);
            }
        }
    }
    Ok(())
}

impl Field<'_> {
    /// A platform, as `os/architecture[/variant]`.
    pub(super) fn platform(&self) -> Result<Platform, SettingsError> {
        let parsed = self.text()?.parse::<Platform>();
        parsed.map_err(|error| self.invalid(&format!("is not valid: {error}"), Some("write `linux/amd64`".to_owned())))
    }
}
