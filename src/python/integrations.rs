//! ZenML's integrations: what each requires on Linux, and which flavors of stack components are theirs.
//!
//! A table and no more: nothing is looked up on the machine, and ZenML is not imported.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;

use crate::diagnostic::{Class, Diagnose};

/// The version of ZenML that the table is of.
pub const ZENML_VERSION: &str = "0.98.0";

const TABLE: &str = include_str!("integrations.json");

/// The types of stack components.
const COMPONENTS: [&str; 15] = [
    "alerter",
    "annotator",
    "artifact_store",
    "container_registry",
    "data_validator",
    "deployer",
    "experiment_tracker",
    "feature_store",
    "image_builder",
    "log_store",
    "model_deployer",
    "model_registry",
    "orchestrator",
    "sandbox",
    "step_operator",
];

/// Flavors that are ZenML's own and require nothing beside it, as `TYPE/FLAVOR`.
const OWN_FLAVORS: [&str; 16] = [
    "artifact_store/local",
    "container_registry/azure",
    "container_registry/default",
    "container_registry/dockerhub",
    "container_registry/gcp",
    "container_registry/github",
    "deployer/docker",
    "deployer/local",
    "image_builder/local",
    "log_store/artifact",
    "log_store/datadog",
    "log_store/otel",
    "orchestrator/local",
    "orchestrator/local_docker",
    "sandbox/docker",
    "sandbox/local",
];

/// What the server of a deployment needs, unless it is told to run something else.
pub const DEPLOYMENT_REQUIREMENTS: [&str; 5] = ["Jinja2", "asgiref~=3.10.0", "fastapi", "secure~=1.0.1", "uvicorn"];

/// One integration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Integration {
    /// Requirement lines for Linux, in ZenML's order.
    #[serde(default)]
    pub requirements: Vec<String>,
    /// Packages of the parent's distribution.
    #[serde(default)]
    pub apt_packages: Vec<String>,
    /// The flavors that it brings, as `TYPE/FLAVOR`, sorted.
    #[serde(default)]
    pub flavors: Vec<String>,
}

/// A name that is in no table.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntegrationError {
    /// No integration has the name.
    #[error("`{name}` is no integration of ZenML")]
    Integration {
        /// The name.
        name: String,
        /// The integration whose name is most like it.
        suggestion: Option<&'static str>,
    },
    /// No type of stack components has the name.
    #[error("`lapstrake.stack.components.{name}` is no type of stack components")]
    Component {
        /// The name.
        name: String,
        /// The type whose name is most like it.
        suggestion: Option<&'static str>,
    },
}

impl Diagnose for IntegrationError {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        let (Self::Integration { suggestion, .. } | Self::Component { suggestion, .. }) = self;
        Some(match (suggestion, self) {
            (Some(known), _) => format!("did you mean `{known}`?"),
            (None, Self::Integration { .. }) => "list its packages under `requirements` instead".into(),
            (None, Self::Component { .. }) => format!("write one of {}", COMPONENTS.join(", ")),
        })
    }
}

/// All integrations by name.
pub fn integrations() -> &'static BTreeMap<String, Integration> {
    static READ: OnceLock<BTreeMap<String, Integration>> = OnceLock::new();
    READ.get_or_init(|| serde_json::from_str(TABLE).unwrap_or_default())
}

/// The integration `name`.
///
/// # Errors
/// Fails when there is none of this name.
pub fn integration(name: &str) -> Result<&'static Integration, IntegrationError> {
    integrations().get(name).ok_or_else(|| IntegrationError::Integration {
        name: name.to_owned(),
        suggestion: nearest(name, integrations().keys().map(String::as_str)),
    })
}

/// The integration that brings the flavor of a component, with its name; `None` for ZenML's own flavors and for those
/// that are nobody's.
///
/// # Errors
/// Fails when `component` is no type of stack components.
pub fn of_flavor(
    component: &str,
    flavor: &str,
) -> Result<Option<(&'static str, &'static Integration)>, IntegrationError> {
    if !COMPONENTS.contains(&component) {
        let suggestion = nearest(component, COMPONENTS.into_iter());
        return Err(IntegrationError::Component { name: component.to_owned(), suggestion });
    }
    let wanted = format!("{component}/{flavor}");
    let mut all = integrations().iter();
    Ok(all.find(|(_, one)| one.flavors.contains(&wanted)).map(|(name, one)| (name.as_str(), one)))
}

/// Whether a flavor is ZenML's own, and needs no integration.
pub fn is_own_flavor(component: &str, flavor: &str) -> bool {
    OWN_FLAVORS.contains(&format!("{component}/{flavor}").as_str())
}

/// The flavor of `component` that is most like `flavor`.
pub fn nearest_flavor(component: &str, flavor: &str) -> Option<&'static str> {
    let of_table = integrations().values().flat_map(|one| one.flavors.iter().map(String::as_str));
    let of_type = |known: &'static str| known.split_once('/').filter(|(kind, _)| *kind == component);
    nearest(flavor, of_table.chain(OWN_FLAVORS).filter_map(of_type).map(|(_, flavor)| flavor))
}

fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let likeness = |known: &&str| strsim::normalized_damerau_levenshtein(&name.to_lowercase(), known);
    let best = known.max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(&best) > 0.6).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds_every_integration_in_order() {
        assert_eq!(integrations().len(), 66);
        let keys: Vec<&str> =
            TABLE.lines().filter_map(|line| line.trim().strip_prefix('"')?.split('"').next()).collect();
        assert!(keys.is_sorted(), "one integration a line, sorted");
        let evidently = integration("evidently").unwrap();
        assert_eq!(evidently.requirements, ["evidently>=0.5.0,<1.0", "tenacity!=8.4.0", "pandas>=2.0.0"]);
        assert_eq!(integration("deepchecks").unwrap().apt_packages, ["ffmpeg", "libsm6", "libxext6"]);
        assert!(integration("airflow").unwrap().requirements.is_empty());
        let flavors: Vec<&String> = integrations().values().flat_map(|one| &one.flavors).collect();
        let kinds = flavors.iter().filter_map(|flavor| flavor.split('/').next());
        assert!(kinds.clone().all(|kind| COMPONENTS.contains(&kind)) && flavors.len() == 67);
        assert!(DEPLOYMENT_REQUIREMENTS.is_sorted() && OWN_FLAVORS.is_sorted());
    }

    #[test]
    fn flavors_lead_to_their_integrations() {
        for (component, flavor, expected) in [
            ("orchestrator", "vertex", Some("gcp")),
            ("artifact_store", "s3", Some("s3")),
            ("step_operator", "sagemaker", Some("aws")),
            ("orchestrator", "local", None),
            ("orchestrator", "our_own", None),
        ] {
            assert_eq!(of_flavor(component, flavor).unwrap().map(|(name, _)| name), expected, "{component}/{flavor}");
        }
        assert!(is_own_flavor("orchestrator", "local") && !is_own_flavor("orchestrator", "our_own"));
        assert_eq!(nearest_flavor("orchestrator", "kubernets"), Some("kubernetes"));
    }

    #[test]
    fn misspelt_names_get_a_suggestion() {
        let hint = |error: IntegrationError| error.hint().unwrap();
        assert_eq!(hint(integration("sklern").unwrap_err()), "did you mean `sklearn`?");
        assert!(hint(integration("nothing like it").unwrap_err()).starts_with("list its packages"));
        assert_eq!(hint(of_flavor("orchestrater", "x").unwrap_err()), "did you mean `orchestrator`?");
    }
}
