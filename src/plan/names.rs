//! What the images of a pipeline are called: tags and names.
//!
//! The rules are ZenML's, so that both find each other's images; no registry is asked.

use super::images::ORCHESTRATOR;
use crate::diagnostic::{Class, Diagnose};

/// The repository below a registry that gives none.
pub const DEFAULT_REPOSITORY: &str = "zenml";
/// The most characters of a tag.
const TAG_LENGTH: usize = 128;

/// No tag can be made of a name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no tag can be made of `{name}`: no letter, digit, `_`, `.` or `-` is in it")]
pub struct EmptyTag {
    /// The name.
    pub name: String,
}

impl Diagnose for EmptyTag {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        Some("give a tag as `image_tag`".to_owned())
    }
}

/// The tag of an image: `PIPELINE[-STEP]-orchestrator`, cleaned; `latest` when neither has a name.
///
/// `image_tag` of the settings goes before it and is used as it is.
///
/// # Errors
/// Fails when no character of the name may stand in a tag.
pub fn image_tag(pipeline: Option<&str>, step: Option<&str>) -> Result<String, EmptyTag> {
    let names: Vec<&str> = pipeline.into_iter().chain(step).collect();
    if names.is_empty() {
        return Ok("latest".to_owned());
    }
    cleaned_tag(&format!("{}-{ORCHESTRATOR}", names.join("-")))
}

/// The characters of a name that may stand in a tag, 128 at most; a `-` or `.` at the beginning becomes `_`.
///
/// # Errors
/// Fails when none is left.
pub fn cleaned_tag(name: &str) -> Result<String, EmptyTag> {
    let is_allowed = |c: &char| c.is_ascii_alphanumeric() || "_.-".contains(*c);
    let kept: String = name.chars().filter(is_allowed).take(TAG_LENGTH).collect();
    match kept.strip_prefix(['-', '.']) {
        Some(rest) => Ok(format!("_{rest}")),
        None if kept.is_empty() => Err(EmptyTag { name: name.to_owned() }),
        None => Ok(kept),
    }
}

/// The name of an image: `[REGISTRY/]REPOSITORY:TAG`.
pub fn image_name(registry: Option<&str>, repository: Option<&str>, tag: &str) -> String {
    let repository = repository.unwrap_or(DEFAULT_REPOSITORY);
    match registry {
        Some(registry) => format!("{}/{repository}:{tag}", registry.trim_end_matches('/')),
        None => format!("{repository}:{tag}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_cleaned_of_what_may_not_stand_in_them() {
        for (name, expected) in [
            ("a b/c:d", Some("abcd")),
            (".x", Some("_x")),
            ("--x", Some("_-x")),
            ("p-step_1.2", Some("p-step_1.2")),
            ("é", None),
            ("", None),
        ] {
            assert_eq!(cleaned_tag(name).ok().as_deref(), expected, "{name}");
        }
        assert_eq!(cleaned_tag(&"x".repeat(200)).unwrap().len(), 128);
    }

    #[test]
    fn images_are_called_as_zenml_calls_them() {
        assert_eq!(image_tag(Some("my pipe"), Some("train")).unwrap(), "mypipe-train-orchestrator");
        assert_eq!(image_tag(Some("p"), None).unwrap(), "p-orchestrator");
        assert_eq!(image_tag(None, None).unwrap(), "latest");
        assert_eq!(image_name(Some("r.test/team/"), None, "t"), "r.test/team/zenml:t");
        assert_eq!(image_name(None, Some("mine"), "t"), "mine:t");
    }
}
