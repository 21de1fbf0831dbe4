//! Which images a pipeline needs: its own, and one for each step whose settings are others.
//!
//! Says nothing about where they go; names are made in `plan::names`.

use crate::settings::{DockerSettings, Settings};

/// ZenML's name for the image that runs a pipeline or a step.
pub const ORCHESTRATOR: &str = "orchestrator";

/// One image, and whom it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedImage<'a> {
    /// `orchestrator` for the pipeline, `STEP.orchestrator` for a step; the first one names the image.
    pub keys: Vec<String>,
    /// The step that names the image; `None` for the pipeline.
    pub step: Option<&'a str>,
    /// Its settings.
    pub settings: &'a Settings,
}

/// The images of a pipeline with these steps: the pipeline's first, then those of steps in their order. Steps with equal
/// settings share one.
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
    images
}

/// Whether one image serves both: of all settings, only `prevent_build_reuse` says nothing about the image.
fn are_equal(one: &Settings, other: &Settings) -> bool {
    let docker = |settings: &Settings| DockerSettings { prevent_build_reuse: false, ..settings.docker.clone() };
    one.lapstrake == other.lapstrake && docker(one) == docker(other)
}

#[cfg(test)]
mod tests {
    use super::*;

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
