//! `settings.docker`: ZenML's `DockerSettings`, field by field.
//!
//! Paths are not opened and the parent is not asked for; what a field does is decided in the plan.

use std::path::PathBuf;

use indexmap::IndexMap;

use super::build_config;
use super::error::SettingsError;
use super::field::Field;
use super::table::{DOCKER, names};
use super::types::{DockerSettings, Installer, LocalEnvironment, Requirements};
use crate::oci::{Reference, ReferenceParts, is_tag};

/// Fields without a modern twin that change nothing, and what to do.
const WITHOUT_EFFECT: [(&str, &str); 4] = [
    ("copy_files", ""),
    ("copy_global_config", ""),
    ("required_hub_plugins", ""),
    ("build_options", "; write them under `build_config.build_options`"),
];
/// Ways to list the local environment that read like fields.
const FREEZES: [&str; 3] = ["pip_freeze", "uv_freeze", "poetry_export"];

/// Reads the section.
pub(super) fn read(section: &Field<'_>) -> Result<DockerSettings, SettingsError> {
    let mut docker = DockerSettings::default();
    let fields = section.fields()?;
    for field in fields.iter().filter(|field| !field.is_null()) {
        read_field(&mut docker, field)?;
    }
    if let Some(old) = fields.iter().find(|field| field.key() == "dockerignore" && !field.is_null()) {
        old.warn("`dockerignore` is deprecated; write it under `build_config`");
        let path = PathBuf::from(old.filled_text()?);
        docker.build_config.dockerignore.get_or_insert(path);
    }
    check(section, &fields, &docker)?;
    Ok(docker)
}

/// What fields say together.
fn check(section: &Field<'_>, fields: &[Field<'_>], docker: &DockerSettings) -> Result<(), SettingsError> {
    if docker.skip_build && docker.parent_image.is_none() {
        return Err(section.invalid("has `skip_build` without `parent_image`", Some("name the `parent_image`".into())));
    }
    let field = |key: &str| fields.iter().find(|field| field.key() == key);
    let command = field("local_project_install_command").filter(|_| docker.local_project_install_command.is_some());
    if let (Some(command), false) = (command, docker.allow_including_files_in_images) {
        return Err(command.invalid(
            "installs files that `allow_including_files_in_images: false` keeps out of the image",
            Some("allow the files, or take the command out".to_owned()),
        ));
    }
    if let (Some(parent), true) = (field("parent_image"), docker.dockerfile.is_some() && docker.parent_image.is_some())
    {
        parent.warn("`parent_image` is passed over: the image of `dockerfile` is the parent");
    }
    Ok(())
}

fn read_field(docker: &mut DockerSettings, field: &Field<'_>) -> Result<(), SettingsError> {
    match field.key() {
        "parent_image" => docker.parent_image = Some(field.parsed(Reference::written)?),
        "dockerfile" => docker.dockerfile = Some(path(field)?),
        "build_context_root" => docker.build_context_root = Some(path(field)?),
        "parent_image_build_config" => docker.parent_image_build_config = build_config::read(field)?,
        "build_config" => docker.build_config = build_config::read(field)?,
        "target_repository" => docker.target_repository = Some(repository_path(field)?),
        "image_tag" => docker.image_tag = Some(tag(field)?),
        "python_package_installer" => docker.python_package_installer = installer(field)?,
        "python_package_installer_args" => docker.python_package_installer_args = installer_args(field)?,
        "python_package_installer_cache_mount" => {
            docker.python_package_installer_cache_mount = Some(field.filled_text()?);
        }
        "replicate_local_python_environment" => docker.replicate_local_python_environment = local_environment(field)?,
        "pyproject_path" => docker.pyproject_path = Some(path(field)?),
        "pyproject_export_command" => {
            docker.pyproject_export_command = Some(field.texts()?).filter(|words| !words.is_empty());
        }
        "requirements" => docker.requirements = Some(requirements(field)?),
        "required_integrations" => docker.required_integrations = field.filled_texts()?,
        "local_project_install_command" => docker.local_project_install_command = Some(field.filled_text()?),
        "apt_packages" => docker.apt_packages = field.filled_texts()?,
        "environment" => docker.environment = variables(field)?,
        "runtime_environment" => docker.runtime_environment = variables(field)?,
        "user" => docker.user = Some(field.filled_text()?),
        _ => return read_flag(docker, field),
    }
    Ok(())
}

fn read_flag(docker: &mut DockerSettings, field: &Field<'_>) -> Result<(), SettingsError> {
    let flag = match field.key() {
        "skip_build" => &mut docker.skip_build,
        "prevent_build_reuse" => &mut docker.prevent_build_reuse,
        "disable_automatic_requirements_detection" => &mut docker.disable_automatic_requirements_detection,
        "install_stack_requirements" => &mut docker.install_stack_requirements,
        "install_deployment_requirements" => &mut docker.install_deployment_requirements,
        "allow_including_files_in_images" => &mut docker.allow_including_files_in_images,
        "allow_download_from_code_repository" => &mut docker.allow_download_from_code_repository,
        "allow_download_from_artifact_store" => &mut docker.allow_download_from_artifact_store,
        _ => return read_deprecated(field),
    };
    *flag = field.flag()?;
    Ok(())
}

fn read_deprecated(field: &Field<'_>) -> Result<(), SettingsError> {
    let key = field.key();
    match key {
        "source_files" => {
            field.choice(&["include", "download_or_include", "download", "ignore"])?;
            field.warn(
                "`source_files` is deprecated; use `allow_including_files_in_images` and `allow_download_from_code_repository`",
            );
        }
        "dockerignore" => {}
        "copy_files" | "copy_global_config" => drop(field.flag()?),
        "required_hub_plugins" => drop(field.texts()?),
        "build_options" => drop(field.fields()?),
        _ if FREEZES.contains(&key) => {
            let cure = format!("write `replicate_local_python_environment: {key}`");
            return Err(field.wrong_key("is no setting but a value of one", Some(cure)));
        }
        _ => field.unknown(names(DOCKER))?,
    }
    if let Some((_, cure)) = WITHOUT_EFFECT.iter().find(|(name, _)| *name == key) {
        field.warn(&format!("`{key}` is deprecated and has no effect{cure}"));
    }
    Ok(())
}

fn path(field: &Field<'_>) -> Result<PathBuf, SettingsError> {
    field.filled_text().map(PathBuf::from)
}

fn requirements(field: &Field<'_>) -> Result<Requirements, SettingsError> {
    if field.is_list() {
        return field.texts().map(Requirements::Lines);
    }
    path(field).map(Requirements::File)
}

/// How the local environment is listed: a truth value, or one of the ways that went before it.
fn local_environment(field: &Field<'_>) -> Result<Option<LocalEnvironment>, SettingsError> {
    let (way, instead) = if field.is_list() {
        let words = field.texts()?;
        (Some(LocalEnvironment::Command(words.clone())).filter(|_| !words.is_empty()), "`true`, or `pyproject_path`")
    } else {
        match field.text().as_deref() {
            Ok("pip_freeze") => (Some(LocalEnvironment::PipFreeze), "`true`"),
            Ok("uv_freeze") => (Some(LocalEnvironment::UvFreeze), "`true`"),
            Ok("poetry_export") => (Some(LocalEnvironment::PoetryExport), "`pyproject_path`"),
            _ => return Ok(field.flag()?.then_some(LocalEnvironment::Freeze)),
        }
    };
    field.warn(&format!("a command under `replicate_local_python_environment` is deprecated; write {instead}"));
    Ok(way)
}

/// Variables of an image; their names are put into upper case, as ZenML does for both kinds.
fn variables(section: &Field<'_>) -> Result<IndexMap<String, String>, SettingsError> {
    let mut variables = IndexMap::new();
    for field in section.fields()? {
        let name = field.key().to_uppercase();
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(field.invalid("is not a name for a variable", None));
        }
        let value = field.printed()?;
        if value.contains('\0') {
            return Err(field.invalid("holds a NUL character", None));
        }
        if variables.insert(name.clone(), value).is_some() {
            let reason = format!("sets `{name}` a second time: names are put into upper case");
            return Err(field.invalid(&reason, Some("keep one of the two".to_owned())));
        }
    }
    Ok(variables)
}

fn tag(field: &Field<'_>) -> Result<String, SettingsError> {
    let tag = field.text()?;
    if is_tag(&tag) {
        return Ok(tag);
    }
    let hint = "a tag has letters, digits, `_`, `.` and `-`, 128 at most, and begins with none of `.-`";
    Err(field.invalid("is not a tag", Some(hint.to_owned())))
}

fn repository_path(field: &Field<'_>) -> Result<String, SettingsError> {
    let path = field.text()?;
    let below_a_registry = format!("localhost/{path}");
    match ReferenceParts::parse(&below_a_registry) {
        Ok(parts) if parts.path == path => Ok(path),
        _ => Err(field.invalid(
            "is not a path in a registry",
            Some("write lower-case parts joined by `/`, without registry and tag".to_owned()),
        )),
    }
}

fn installer(field: &Field<'_>) -> Result<Installer, SettingsError> {
    Ok(match field.choice(&["uv", "pip"])? {
        "pip" => Installer::Pip,
        _ => Installer::Uv,
    })
}

fn installer_args(section: &Field<'_>) -> Result<IndexMap<String, Option<String>>, SettingsError> {
    section.fields()?.iter().map(|field| Ok((field.key().to_owned(), field.printed_or_null()?))).collect()
}
