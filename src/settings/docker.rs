//! `settings.docker`: ZenML's `DockerSettings`, field by field.
//!
//! Paths are not opened and the parent is not asked for; what a field does is decided in the plan.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::error::SettingsError;
use super::field::Field;
use super::types::{BuildConfig, DockerSettings, Requirements};
use crate::oci::{Platform, Reference, ReferenceParts, is_tag};

const FIELDS: [&str; 37] = [
    "allow_download_from_artifact_store",
    "allow_download_from_code_repository",
    "allow_including_files_in_images",
    "apt_packages",
    "build_config",
    "build_context_root",
    "build_options",
    "copy_files",
    "copy_global_config",
    "disable_automatic_requirements_detection",
    "dockerfile",
    "dockerignore",
    "environment",
    "image_tag",
    "install_deployment_requirements",
    "install_stack_requirements",
    "local_project_install_command",
    "parent_image",
    "parent_image_build_config",
    "pip_freeze",
    "poetry_export",
    "prevent_build_reuse",
    "pyproject_export_command",
    "pyproject_path",
    "python_package_installer",
    "python_package_installer_args",
    "python_package_installer_cache_mount",
    "replicate_local_python_environment",
    "required_hub_plugins",
    "required_integrations",
    "requirements",
    "runtime_environment",
    "skip_build",
    "source_files",
    "target_repository",
    "user",
    "uv_freeze",
];
/// Fields without a modern twin that change nothing: accepted, each with one warning.
const WITHOUT_EFFECT: [&str; 3] = ["copy_files", "copy_global_config", "required_hub_plugins"];
const BUILD_CONFIG: [&str; 2] = ["dockerignore", "build_options"];

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
    if docker.skip_build && docker.parent_image.is_none() {
        return Err(section.invalid("has `skip_build` without `parent_image`", Some("name the `parent_image`".into())));
    }
    Ok(docker)
}

fn read_field(docker: &mut DockerSettings, field: &Field<'_>) -> Result<(), SettingsError> {
    match field.key() {
        "parent_image" => docker.parent_image = Some(field.parsed(Reference::written)?),
        "requirements" => docker.requirements = Some(requirements(field)?),
        "environment" => docker.environment = variables(field)?,
        "runtime_environment" => docker.runtime_environment = variables(field)?,
        "user" => docker.user = Some(field.filled_text()?),
        "image_tag" => docker.image_tag = Some(tag(field)?),
        "target_repository" => docker.target_repository = Some(repository_path(field)?),
        "build_config" => docker.build_config = build_config(field)?,
        "python_package_installer" => installer(field)?,
        "python_package_installer_args" => docker.python_package_installer_args = installer_args(field)?,
        "skip_build" => docker.skip_build = field.flag()?,
        "disable_automatic_requirements_detection" => {
            if !field.flag()? {
                return Err(field.value_not_supported("false", Some("name the file under `requirements`")));
            }
        }
        "install_stack_requirements" => docker.install_stack_requirements = field.flag()?,
        "install_deployment_requirements" => drop(field.flag()?),
        "allow_including_files_in_images" => docker.allow_including_files_in_images = field.flag()?,
        "allow_download_from_code_repository" => docker.allow_download_from_code_repository = field.flag()?,
        "allow_download_from_artifact_store" => docker.allow_download_from_artifact_store = field.flag()?,
        "source_files" => source_files(docker, field)?,
        "dockerignore" => {}
        key if WITHOUT_EFFECT.contains(&key) => field.warn(&format!("`{key}` is deprecated and has no effect")),
        key if FIELDS.contains(&key) => {
            if !field.is_nothing() {
                return Err(field.not_supported(instead_of(key)));
            }
        }
        _ => return Err(field.unknown(&FIELDS)),
    }
    Ok(())
}

fn instead_of(key: &str) -> Option<&'static str> {
    Some(match key {
        "apt_packages" => "use a parent image that has these packages",
        "dockerfile" | "build_context_root" => "build that image first and name it as `parent_image`",
        "parent_image_build_config" => "build the parent first and name it as `parent_image`",
        "build_options" => "write `labels` and `platform` under `build_config.build_options`",
        "pyproject_path" | "pyproject_export_command" | "poetry_export" => {
            "export the project's requirements into a file and name it under `requirements`"
        }
        "replicate_local_python_environment" | "pip_freeze" | "uv_freeze" => {
            "write `uv pip freeze` into a file and name it under `requirements`"
        }
        "required_integrations" => "list the integrations' packages under `requirements`",
        "local_project_install_command" => "build a wheel of the project and list it under `requirements`",
        "python_package_installer_cache_mount" => "remove it; packages are kept in Lapstrake's own store",
        "prevent_build_reuse" => "remove it; an image is reused only when all its inputs are equal",
        _ => return None,
    })
}

fn requirements(field: &Field<'_>) -> Result<Requirements, SettingsError> {
    if field.is_list() {
        return field.texts().map(Requirements::Lines);
    }
    field.filled_text().map(|path| Requirements::File(PathBuf::from(path)))
}

/// Variables of an image; their names are put into upper case, as ZenML does for both kinds.
fn variables(section: &Field<'_>) -> Result<BTreeMap<String, String>, SettingsError> {
    let mut variables = BTreeMap::new();
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

fn build_config(section: &Field<'_>) -> Result<BuildConfig, SettingsError> {
    let mut config = BuildConfig::default();
    for field in section.fields()?.into_iter().filter(|field| !field.is_null()) {
        match field.key() {
            "dockerignore" => config.dockerignore = Some(PathBuf::from(field.filled_text()?)),
            "build_options" => build_options(&mut config, &field)?,
            _ => return Err(field.unknown(&BUILD_CONFIG)),
        }
    }
    Ok(config)
}

fn build_options(config: &mut BuildConfig, section: &Field<'_>) -> Result<(), SettingsError> {
    for field in section.fields()?.into_iter().filter(|field| !field.is_nothing()) {
        match field.key() {
            "labels" => config.labels = field.printed_map()?,
            "platform" => {
                config.platform = Some(field.text()?.parse::<Platform>().map_err(|error| {
                    field.invalid(&format!("is not valid: {error}"), Some("write `linux/amd64`".to_owned()))
                })?)
            }
            _ => return Err(field.not_supported(Some("remove it; no engine takes part in the build"))),
        }
    }
    Ok(())
}

fn installer(field: &Field<'_>) -> Result<(), SettingsError> {
    match field.text()?.as_str() {
        "uv" => Ok(()),
        "pip" => Err(field.value_not_supported("pip", Some("write `uv`, which reads the same requirements"))),
        _ => Err(field.invalid("must be `uv` or `pip`", None)),
    }
}

fn installer_args(section: &Field<'_>) -> Result<BTreeMap<String, Option<String>>, SettingsError> {
    let value = |field: &Field<'_>| if field.is_null() { Ok(None) } else { field.printed().map(Some) };
    section.fields()?.iter().map(|field| Ok((field.key().to_owned(), value(field)?))).collect()
}

/// The deprecated `source_files`, turned into the three flags that took its place.
fn source_files(docker: &mut DockerSettings, field: &Field<'_>) -> Result<(), SettingsError> {
    let (include, download) = match field.text()?.as_str() {
        "ignore" => (false, false),
        "include" => (true, false),
        "download" => (false, true),
        "download_or_include" => (true, true),
        _ => {
            return Err(field.invalid("must be `include`, `download_or_include`, `download` or `ignore`", None));
        }
    };
    field.warn(
        "`source_files` is deprecated; use `allow_including_files_in_images` and `allow_download_from_code_repository`",
    );
    docker.allow_including_files_in_images = include;
    docker.allow_download_from_code_repository = download;
    docker.allow_download_from_artifact_store = false;
    Ok(())
}
