//! `lapstrake inspect`.
//!
//! Shows; the looking is the library's.

use lapstrake::image::filesystem::{Node, NodeKind};
use lapstrake::layer::EntryPath;
use lapstrake::ops::{self, Inspection};
use serde_json::{Value, json};

use super::args::{Format, InspectArgs, Shown};
use super::environment::Environment;
use super::exit::{self, Outcome};
use super::{config, output, setup};

/// Inspects one image.
pub(crate) async fn run(args: &InspectArgs, shown: &Shown, environment: &Environment) -> Outcome {
    let reference = config::reference(&args.reference)?;
    let means = setup::means(&args.reach, &[], &[reference.domain().to_owned()], shown, environment)?;
    let found = ops::inspect(&means, &reference, args.platform.as_ref(), args.files).await.map_err(exit::fail)?;
    let text = match shown.format {
        Format::Text => text(&found),
        Format::Json => as_json(&found).to_string(),
    };
    output::to_stdout(&text).map_err(exit::fail)
}

fn text(found: &Inspection) -> String {
    let image = &found.image;
    let mut lines = vec![format!("image      {} @ {}", image.name, image.descriptor.digest)];
    let mut fact = |name: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("{name:<10} {}", output::printable(&value)));
        }
    };
    fact("platform", image.config.platform().to_string());
    fact("others", found.platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    fact("created", image.config.created().unwrap_or_default().to_owned());
    fact("user", image.config.user().unwrap_or_default().to_owned());
    fact("workdir", image.config.working_dir().unwrap_or_default().to_owned());
    fact("entrypoint", image.config.entrypoint().map(|argv| json!(argv).to_string()).unwrap_or_default());
    fact("cmd", image.config.cmd().map(|argv| json!(argv).to_string()).unwrap_or_default());
    for (name, value) in image.config.env() {
        fact("env", format!("{name}={value}"));
    }
    let mut rows = vec![["LAYER", "KIND", "SIZE", "HOLDS"].map(str::to_owned).to_vec()];
    rows.extend(found.layers.iter().map(|layer| {
        let kind = layer.kind.clone().unwrap_or_else(|| "-".to_owned());
        vec![
            layer.descriptor.digest.short().to_owned(),
            kind,
            output::bytes(layer.descriptor.size),
            layer.title.clone(),
        ]
    }));
    let total: u64 = found.layers.iter().map(|layer| layer.descriptor.size).sum();
    let (table, count) = (output::table(&rows, &[2]), found.layers.len());
    let word = if count == 1 { "layer" } else { "layers" };
    lines.push(format!("\n{table}\n\n{count} {word}, {}", output::bytes(total)));
    if let Some(files) = &found.files {
        lines.push(String::new());
        lines.extend(files.iter().map(|(path, node)| file_line(path, node)));
    }
    lines.join("\n")
}

fn file_line(path: &EntryPath, node: &Node) -> String {
    let (kind, size, target) = match &node.kind {
        NodeKind::Directory => ('d', 0, String::new()),
        NodeKind::File { size } => ('-', *size, String::new()),
        NodeKind::Symlink { target } => ('l', 0, format!(" -> {}", String::from_utf8_lossy(target))),
        NodeKind::Special => ('s', 0, String::new()),
    };
    let name = output::printable(&format!("/{path}{target}"));
    format!("{kind} {:04o} {:>6}:{:<6} {size:>12} {name}", node.mode, node.uid, node.gid)
}

fn as_json(found: &Inspection) -> Value {
    let layers: Vec<Value> = found
        .layers
        .iter()
        .map(|layer| {
            json!({
                "digest": layer.descriptor.digest, "diffId": layer.diff_id, "size": layer.descriptor.size,
                "mediaType": layer.descriptor.media_type, "kind": layer.kind, "title": layer.title,
                "annotations": layer.descriptor.annotations,
            })
        })
        .collect();
    let image = &found.image;
    let files: Option<Vec<String>> =
        found.files.as_ref().map(|files| files.iter().map(|(path, _)| path.to_string()).collect());
    json!({
        "schemaVersion": 1,
        "reference": image.name,
        "digest": image.descriptor.digest,
        "platform": image.config.platform().to_string(),
        "platforms": found.platforms.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "created": image.config.created(),
        "user": image.config.user(),
        "workingDir": image.config.working_dir(),
        "entrypoint": image.config.entrypoint(),
        "cmd": image.config.cmd(),
        "env": image.config.env().into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        "labels": image.config.labels(),
        "annotations": image.manifest.annotations,
        "layers": layers,
        "files": files,
    })
}
