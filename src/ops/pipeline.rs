//! Several images at once: those of a pipeline and its steps.
//!
//! All are planned before anything of any is written. What they share, `Memory` gives once.

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::build::{Built, carry_out};
use super::error::OpsError;
use super::ground::Mode;
use super::means::Means;
use super::plan::{Planned, plan, plan_as};
use super::request::{BuildRequest, Output};
use super::traffic::Traffic;

/// How many images are under way at once; each registry bounds the requests, and the cores the layers.
const IMAGES: usize = 24;

/// Plans the images that `requests` ask for; the plans come in their order.
///
/// # Errors
/// Fails as the plan of the first image that fails does.
pub async fn plan_all(means: &Means, requests: &[BuildRequest]) -> Result<Vec<Planned>, OpsError> {
    let plans = requests.iter().map(|request| plan(means, request));
    stream::iter(plans).buffered(IMAGES).try_collect().await
}

/// Plans all images, for which backends make their segments, then makes and publishes them; they come in the order of `requests`.
///
/// # Errors
/// Fails as planning does, before an image is written; or as the first image that fails does. Images that were finished
/// by then stay published, the tags of the others stand where they stood.
pub async fn build_all(means: &Means, requests: &[BuildRequest]) -> Result<Vec<Built>, OpsError> {
    let own = |_: &BuildRequest| {
        // Each image counts what it moved itself, beside the sum of all.
        let traffic = Arc::new(Traffic::below(&means.traffic));
        Means { traffic, ..means.clone() }
    };
    let each: Vec<Means> = requests.iter().map(own).collect();
    let plans = each.iter().zip(requests).map(|(means, request)| plan_as(means, request, Mode::Build));
    let planned: Vec<Planned> = stream::iter(plans).buffered(IMAGES).try_collect().await?;
    let builds = each.iter().zip(requests).zip(planned);
    let builds = builds.map(|((means, request), planned)| carry_out(means, request, planned));
    // A layout has one list of its images, which one at a time may write.
    let is_published = requests.iter().all(|request| request.output == Output::Registry);
    stream::iter(builds).buffered(if is_published { IMAGES } else { 1 }).try_collect().await
}
