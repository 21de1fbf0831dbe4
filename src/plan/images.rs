//! Which images a pipeline needs: its own, and one for each step whose settings are others.
//!
//! Says nothing about where they go; names are made in `plan::names`.

use crate::settings::{DockerSettings, Settings};

/// ZenML's name for the image that runs a pipeline or a step.
pub const ORCHESTRATOR: &str = "orchestrator";

/// ZenML's name for the image that serves a deployment of the pipeline.
pub const DEPLOYER: &str = "deployer";
/// The deployer that needs no image.
const LOCAL_DEPLOYER: &str = "local";

/// One image, and whom it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedImage<'a> {
    /// `orchestrator` for the pipeline, `STEP.orchestrator` for a step, `deployer`; the first one names the image.
    pub keys: Vec<String>,
    /// The step that names the image; `None` for the pipeline.
    pub step: Option<&'a str>,
    /// Its settings.
    pub settings: &'a Settings,
}

/// The images of a pipeline with these steps: the pipeline's first, then those of steps in their order. Steps with equal
/// settings share one. Last comes the image of a deployment, where the stack has a deployer that runs containers.
pub fn wanted_images<'a>(pipeline: &'a Settings, steps: &'a [(String, Settings)]) -> Vec<WantedImage<'a>> {
    let mut images = vec![WantedImage { keys: vec![ORCHESTRATOR.to_owned()], step: None, settings: pipeline }];
    for (step, settings) in steps {
        let key = format!("{step}.{ORCHESTRATOR}");
        match images.iter_mut().find(|image| are_equal(image.settings, settings)) {
            // Such a step runs in the pipeline's image, without a key of its own.
            Some(image) if image.step.is_none() => {}
            Some(image) => image.keys.push(key),
            None => images.push(WantedImage { keys: vec![key], step: Some(step), settings }),
        }
    }
    if wants_deployer(pipeline) {
        images.push(WantedImage { keys: vec![DEPLOYER.to_owned()], step: None, settings: pipeline });
    }
    images
}

fn wants_deployer(settings: &Settings) -> bool {
    let deployer = settings.lapstrake.stack.components.get(DEPLOYER);
    let is_container = deployer.is_some_and(|deployer| deployer.flavor.as_deref() != Some(LOCAL_DEPLOYER));
    is_container && settings.docker.install_deployment_requirements && !settings.docker.skip_build
}

/// Whether one image serves both: of all settings, only `prevent_build_reuse` says nothing about the image.
fn are_equal(one: &Settings, other: &Settings) -> bool {
    let docker = |settings: &Settings| DockerSettings { prevent_build_reuse: false, ..settings.docker.clone() };
    one.lapstrake == other.lapstrake && docker(one) == docker(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::StackComponent;

    #[test]
    fn a_deployer_that_runs_containers_has_an_image() {
        let keys = |flavor: &str, install: bool| {
            let mut settings = Settings::default();
            let component = StackComponent { flavor: Some(flavor.to_owned()), ..StackComponent::default() };
            settings.lapstrake.stack.components.insert(DEPLOYER.to_owned(), component);
            settings.docker.install_deployment_requirements = install;
            wanted_images(&settings, &[]).iter().map(|image| image.keys.join(" ")).collect::<Vec<_>>()
        };
        assert_eq!(keys("docker", true), ["orchestrator", "deployer"]);
        assert_eq!(keys("docker", false), ["orchestrator"]);
        assert_eq!(keys("local", true), ["orchestrator"]);
    }

    #[test]
    fn steps_have_images_of_their_own_where_their_settings_differ() {
        let with = |line: &str, prevent: bool| {
            let mut settings = Settings::default();
            settings.docker.apt_packages = vec![line.to_owned()];
            settings.docker.prevent_build_reuse = prevent;
            settings
        };
        let pipeline = with("git", false);
        let steps = [("load", "git", true), ("train", "curl", false), ("test", "vim", false), ("tune", "curl", false)]
            .map(|(step, line, prevent)| (step.to_owned(), with(line, prevent)));
        let keys = |image: &WantedImage<'_>| (image.keys.join(" "), image.step.map(str::to_owned));
        let images: Vec<_> = wanted_images(&pipeline, &steps).iter().map(keys).collect();
        let step = |name: &str| Some(name.to_owned());
        assert_eq!(
            images,
            [
                ("orchestrator".to_owned(), None),
                ("train.orchestrator tune.orchestrator".to_owned(), step("train")),
                ("test.orchestrator".to_owned(), step("test")),
            ]
        );
    }
}
