//! `lapstrake tags` and `lapstrake referrers`.
//!
//! Shows what a registry lists, in its order.

use lapstrake::event::Event;
use lapstrake::image::annotation;
use lapstrake::oci::{Descriptor, Repository};
use lapstrake::ops;
use serde_json::json;

use super::args::{Format, ReferrersArgs, Shown, TagsArgs};
use super::environment::Environment;
use super::exit::{self, Outcome};
use super::{config, output, setup};

/// Characters of annotations that a line shows.
const ANNOTATIONS: usize = 80;

/// Lists the tags of a repository.
pub(crate) async fn tags(args: &TagsArgs, shown: &Shown, environment: &Environment) -> Outcome {
    let repository = Repository::parse(&args.repository).map_err(exit::fail)?;
    let means = setup::means(&args.reach, &[], &[repository.registry().to_owned()], shown, environment)?;
    let found = ops::tags(&means, &repository, args.all).await.map_err(exit::fail)?;
    if found.hidden > 0 && shown.format == Format::Text {
        let what = if found.hidden == 1 { "tag" } else { "tags" };
        let text = format!("{} {what} that builds left are not shown; `--all` shows them", found.hidden);
        means.reporter.report(Event::Note { text });
    }
    let text = match shown.format {
        Format::Text if found.tags.is_empty() => return Ok(()),
        Format::Text => found.tags.join("\n"),
        Format::Json => {
            json!({"schemaVersion": 1, "repository": repository.to_string(), "tags": found.tags}).to_string()
        }
    };
    output::to_stdout(&text).map_err(exit::fail)
}

/// Lists what refers to an image.
pub(crate) async fn referrers(args: &ReferrersArgs, shown: &Shown, environment: &Environment) -> Outcome {
    let reference = config::reference(&args.reference)?;
    let means = setup::means(&args.reach, &[], &[reference.domain().to_owned()], shown, environment)?;
    let listed = ops::referrers(&means, &reference, args.artifact_type.as_deref()).await.map_err(exit::fail)?;
    let text = match shown.format {
        Format::Text if listed.referrers.is_empty() => {
            let text = format!("nothing refers to `{}`", listed.subject);
            means.reporter.report(Event::Note { text });
            return Ok(());
        }
        Format::Text => {
            let mut rows = vec![["DIGEST", "TYPE", "SIZE", "ANNOTATIONS"].map(str::to_owned).to_vec()];
            rows.extend(listed.referrers.iter().map(row));
            output::table(&rows, &[2])
        }
        Format::Json => {
            json!({"schemaVersion": 1, "subject": listed.subject, "referrers": listed.referrers}).to_string()
        }
    };
    output::to_stdout(&text).map_err(exit::fail)
}

fn row(found: &Descriptor) -> Vec<String> {
    // The record of a build would leave no room for the others.
    let short = found.annotations.iter().filter(|(name, _)| *name != annotation::BUILD_RECORD);
    let annotations: Vec<String> = short.map(|(name, value)| format!("{name}={value}")).collect();
    let kind = found.artifact_type.as_deref().unwrap_or(found.media_type.as_str());
    // What a registry says may hold anything.
    let plain = |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    vec![
        found.digest.to_string(),
        plain(kind),
        output::bytes(found.size),
        output::clipped(&plain(&annotations.join(" ")), ANNOTATIONS),
    ]
}
