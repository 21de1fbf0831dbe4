//! The names that images are published under.
//!
//! Nothing is asked here; whether a name is free is the registry's business.

use lapstrake::diagnostic::Diagnose;
use lapstrake::oci::Reference;
use lapstrake::plan::{DEPLOYER, WantedImage, cleaned_tag, image_name, image_tag};
use lapstrake::settings::Settings;

use super::args::BuildArgs;
use super::config::reference;
use super::exit;

type Failure = Box<dyn Diagnose + Send>;

/// The names of each of `images`. No two images of one run share a name: a step's image whose name is taken has the step's
/// name behind the tag.
pub(super) fn of_images(
    args: &BuildArgs,
    pipeline: Option<&str>,
    images: &[WantedImage<'_>],
) -> Result<Vec<Vec<Reference>>, Failure> {
    let mut all: Vec<Vec<Reference>> = Vec::new();
    for image in images {
        let mut names = of_image(args, pipeline, image)?;
        if let Some(step) = image.step.or(is_deployer(image).then_some(DEPLOYER)) {
            for name in &mut names {
                if all.iter().flatten().any(|taken| taken == name) {
                    let tag = format!("{}-{step}", name.tag().unwrap_or("latest"));
                    *name = name.with_tag(&cleaned_tag(&tag).map_err(exit::fail)?).map_err(exit::fail)?;
                }
            }
        }
        all.push(names);
    }
    Ok(all)
}

/// The names of one image: flags, else `lapstrake.tags`, else registry, repository and tag put together.
fn of_image(args: &BuildArgs, pipeline: Option<&str>, image: &WantedImage<'_>) -> Result<Vec<Reference>, Failure> {
    if !args.tags.is_empty() {
        return args.tags.iter().map(|text| reference(text)).collect();
    }
    let Settings { docker, lapstrake: native } = image.settings;
    if !native.tags.is_empty() {
        return Ok(native.tags.clone());
    }
    // A build that is skipped needs no name; it has one when somebody wants a copy.
    let Some(registry) = args.registry.as_deref().or(native.registry.as_deref()).filter(|_| !docker.skip_build) else {
        return Ok(Vec::new());
    };
    let tag = match &docker.image_tag {
        Some(tag) => tag.clone(),
        None if is_deployer(image) => {
            let words: Vec<&str> = pipeline.into_iter().chain([DEPLOYER]).collect();
            cleaned_tag(&words.join("-")).map_err(exit::fail)?
        }
        None => image_tag(pipeline, image.step).map_err(exit::fail)?,
    };
    Ok(vec![reference(&image_name(Some(registry), docker.target_repository.as_deref(), &tag))?])
}

fn is_deployer(image: &WantedImage<'_>) -> bool {
    image.keys.iter().any(|key| key == DEPLOYER)
}
