//! A run configuration: the file that ZenML reads, with our section beside ZenML's own.
//!
//! What belongs to ZenML alone is accepted and not looked at.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::error::{SettingsError, Warning};
use super::field::{Field, Reader};
use super::levels::Levels;
use super::overrides::{Overrides, Source};
use super::provenance::{self, Provenance};
use super::substitution::Substitution;
use super::types::Settings;
use super::yaml::{self, Node};
use super::{docker, document, native, secret};

/// Everything that one file says, with what beats it: a pipeline and its steps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunSettings {
    /// The pipeline's name.
    pub name: Option<String>,
    /// What counts for the pipeline, and for each step that says nothing else.
    pub pipeline: Settings,
    /// The steps that the file names, in its order; each has its own settings laid over the pipeline's.
    pub steps: Vec<(String, Settings)>,
    /// Where each value comes from.
    pub provenance: Provenance,
    /// What ZenML takes the checksum of.
    pub documents: Documents,
}

/// The settings as ZenML's Python prints them: JSON of all fields but `prevent_build_reuse`, sorted, defaults too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Documents {
    /// Of the pipeline.
    pub pipeline: String,
    /// Of each step, in the order of [`RunSettings::steps`].
    pub steps: Vec<String>,
}

impl RunSettings {
    /// Parses the text of a run configuration; `file` names it in messages, `overrides` beat it, `substitution` gives
    /// `${NAME}` its values.
    ///
    /// # Errors
    /// Fails at the first key that is unknown or has a wrong value, with its place and its path.
    pub fn parse(
        text: &str,
        file: &str,
        overrides: &Overrides,
        substitution: &Substitution,
    ) -> Result<(Self, Vec<Warning>), SettingsError> {
        let file_source = Source::File(file.to_owned());
        let reader = Reader {
            sources: std::iter::once(&file_source).chain(overrides.sources()).cloned().collect(),
            substitution,
            is_lenient: overrides.is_lenient,
            warnings: RefCell::new(Vec::new()),
        };
        let root = yaml::parse(text, file, 0)?;
        let levels = Levels::read(&reader, &root, overrides)?;
        let is_strict = overrides.is_strict;
        let (pipeline, shown, document) = level(&reader, &levels.docker, &levels.native, "settings.docker", is_strict)?;
        let mut run = Self { name: levels.name, pipeline, ..Self::default() };
        run.provenance.pipeline = shown;
        run.documents.pipeline = document;
        for (name, docker) in &levels.steps {
            let path = format!("steps.{name}.settings.docker");
            let (settings, shown, document) = level(&reader, docker, &levels.native, &path, is_strict)?;
            run.steps.push((name.clone(), settings));
            run.provenance.steps.push((name.clone(), shown));
            run.documents.steps.push(document);
        }
        Ok((run, once_each(reader.warnings.into_inner())))
    }
}

impl Settings {
    /// Parses the text of a run configuration and takes what it says of the pipeline.
    ///
    /// # Errors
    /// As [`RunSettings::parse`].
    pub fn parse(text: &str, file: &str, substitution: &Substitution) -> Result<(Self, Vec<Warning>), SettingsError> {
        let (run, warnings) = RunSettings::parse(text, file, &Overrides::default(), substitution)?;
        Ok((run.pipeline, warnings))
    }
}

/// Reads one level, where its values come from, and what ZenML takes a checksum of.
fn level(
    reader: &Reader<'_>,
    docker: &Node,
    native: &Node,
    path: &str,
    is_strict: bool,
) -> Result<(Settings, Vec<provenance::Effective>, String), SettingsError> {
    let docker = Field::part(reader, docker, path);
    let native = Field::part(reader, native, "lapstrake");
    let settings = Settings { docker: docker::read(&docker)?, lapstrake: native::read(&native)? };
    secret::check(&docker, &native, is_strict)?;
    let shown = provenance::list(&docker, &native)?;
    let document = document::document(&docker)?;
    Ok((settings, shown, document))
}

/// Warnings in the order of their places; what a step takes from the pipeline is said once.
fn once_each(mut warnings: Vec<Warning>) -> Vec<Warning> {
    let mut seen = BTreeSet::new();
    warnings.retain(|warning| {
        let text = warning.text.split_once('`').map_or(warning.text.as_str(), |(_, rest)| rest);
        let tail = text.split_once("settings.docker").map_or(text, |(_, rest)| rest).to_owned();
        seen.insert((warning.at.clone(), tail))
    });
    warnings.sort_by(|a, b| a.at.cmp(&b.at));
    warnings
}
