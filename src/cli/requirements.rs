//! `lapstrake requirements`.
//!
//! The files of requirements in the order of installation, and what they come to. Credentials in URLs are not shown.

use std::path::Path;

use lapstrake::ops::{self, BuildRequest, ImageLock};
use lapstrake::python::lock::LockedWheel;
use serde_json::{Value, json};

use super::args::{Format, RequirementsArgs, Shown};
use super::environment::Environment;
use super::exit::{self, Outcome, UsageError};
use super::{config, output};

/// One image's requirements.
struct Answer<'a> {
    request: &'a BuildRequest,
    files: Vec<ops::RequirementFile>,
    apt_packages: Vec<String>,
    locks: Vec<ImageLock>,
}

/// Gathers, resolves unless told not to, and prints.
pub(crate) async fn run(args: &RequirementsArgs, shown: &Shown, environment: &Environment) -> Outcome {
    let prepared = config::prepare(&args.build, shown, environment).await?;
    let means = &prepared.means;
    let mut answers = Vec::new();
    for request in &prepared.requests {
        let files = ops::requirement_files(means, request).await.map_err(exit::fail)?;
        let locks = match args.files_only || request.settings.docker.skip_build {
            true => Vec::new(),
            false => ops::image_locks(means, request).await.map_err(exit::fail)?,
        };
        answers.push(Answer { request, files, apt_packages: ops::apt_packages(request), locks });
    }
    if args.write_lock {
        write_lock(&answers)?;
    }
    let text = match shown.format {
        Format::Text => answers.iter().map(|answer| text(answer, answers.len() > 1)).collect::<Vec<_>>().join("\n\n"),
        Format::Json => {
            let images: Vec<Value> = answers.iter().map(as_json).collect();
            json!({"schemaVersion": 1, "images": images}).to_string()
        }
    };
    output::to_stdout(&text).map_err(exit::fail)
}

/// Writes the only lock into its image's source root; the file there is replaced whole.
fn write_lock(answers: &[Answer<'_>]) -> Outcome {
    let of_answer = |answer| {
        let Answer { request, locks, .. }: &Answer<'_> = answer;
        locks.iter().map(move |lock| (request.source_root.as_path(), lock))
    };
    let locks: Vec<(&Path, &ImageLock)> = answers.iter().flat_map(of_answer).collect();
    let [(root, lock)] = locks.as_slice() else {
        let what = format!("`--write-lock` writes one lock, and there are {}", locks.len());
        return Err(exit::fail(UsageError::new(
            what,
            "choose a platform with `--platform`, and settings that install something",
        )));
    };
    let path = root.join("pylock.toml");
    let failed = |error: std::io::Error| {
        let what = format!("cannot write `{}`: {error}", path.display());
        exit::fail(UsageError::new(what, "see that the source root is there and that you may write"))
    };
    let new = root.join(".pylock.toml.new");
    let folder = std::path::absolute(root).map_err(failed)?;
    std::fs::write(&new, lock.to_pylock(&folder)).map_err(failed)?;
    std::fs::rename(&new, &path).map_err(failed)
}

fn text(answer: &Answer<'_>, has_title: bool) -> String {
    let mut parts = Vec::new();
    if has_title {
        parts.push(format!("# image {}", answer.request.keys.join(", ")));
    }
    let mut files: Vec<String> = Vec::new();
    for (at, file) in answer.files.iter().enumerate() {
        let lines = file.text.trim_end().lines().map(output::printable).collect::<Vec<_>>().join("\n");
        let place = output::printable(&file.place);
        files.push(format!("# {}. {}: {place}\n{lines}", at + 1, file.name).trim_end().to_owned());
    }
    match files.is_empty() {
        true => parts.push("# no requirements".to_owned()),
        false => parts.push(files.join("\n\n")),
    }
    if !answer.apt_packages.is_empty() {
        parts.push(format!("# apt packages: {}", output::printable(&answer.apt_packages.join(" "))));
    }
    parts.extend(answer.locks.iter().map(lock_text));
    parts.join("\n\n")
}

fn lock_text(image: &ImageLock) -> String {
    let (major, minor) = image.python;
    let packages = &image.lock.packages;
    let title = format!(
        "# installed for {}, Python {major}.{minor}: {} {}",
        image.platform,
        packages.len(),
        if packages.len() == 1 { "package" } else { "packages" },
    );
    let row = |wheel: &LockedWheel| {
        let size = wheel.size.map(output::bytes).unwrap_or_default();
        vec![format!("{}=={}", wheel.name, wheel.version), wheel.filename.clone(), size, index_of(wheel)]
    };
    let rows: Vec<Vec<String>> = packages.iter().map(row).collect();
    let gone = image.lock.removed.iter().map(|gone| format!("# replaces {} {} of the parent", gone.name, gone.version));
    let mut lines = vec![title];
    if !rows.is_empty() {
        lines.push(output::table(&rows, &[2]));
    }
    lines.extend(gone);
    lines.join("\n")
}

/// Where a wheel comes from: a host, or a folder of this machine.
fn index_of(wheel: &LockedWheel) -> String {
    let place = wheel.url.strip_prefix("file://");
    match (place, wheel.url.split_once("://")) {
        (Some(path), _) => path.rsplit_once('/').map_or(path, |(folder, _)| folder).to_owned(),
        (None, Some((_, rest))) => rest.split('/').next().unwrap_or(rest).to_owned(),
        (None, None) => String::new(),
    }
}

fn as_json(answer: &Answer<'_>) -> Value {
    let files = answer.files.iter().map(|file| {
        json!({
            "name": file.name,
            "source": file.origin,
            "place": file.place,
            "text": file.text,
            "requirements": file.requirements,
        })
    });
    let locks = answer.locks.iter().map(|image| {
        let (major, minor) = image.python;
        let packages = image.lock.packages.iter().map(|wheel| {
            json!({
                "name": wheel.name,
                "version": wheel.version,
                "wheel": wheel.filename,
                "size": wheel.size,
                "sha256": wheel.sha256.hex(),
                "url": wheel.url,
                "index": index_of(wheel),
            })
        });
        json!({
            "platform": image.platform.to_string(),
            "python": format!("{major}.{minor}"),
            "parent": image.parent.to_string(),
            "packages": packages.collect::<Vec<_>>(),
            "removed": image.lock.removed.iter().map(|gone| json!({"name": gone.name, "version": gone.version})).collect::<Vec<_>>(),
        })
    });
    json!({
        "key": answer.request.keys.first(),
        "keys": answer.request.keys,
        "files": files.collect::<Vec<_>>(),
        "aptPackages": answer.apt_packages,
        "locks": locks.collect::<Vec<_>>(),
    })
}
