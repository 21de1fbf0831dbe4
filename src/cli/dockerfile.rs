//! Dockerfiles on the command line: what the flags ask for, and how a plan shows the instructions.
//!
//! The file itself is read by the build.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lapstrake::backend::Secret;
use lapstrake::diagnostic::Diagnose;
use lapstrake::ops::{DockerfileRequest, InstructionStep};
use serde_json::{Value, json};

use super::args::BuildArgs;
use super::environment::Environment;
use super::exit::{self, UsageError};
use super::output;

type Failure = Box<dyn Diagnose + Send>;

/// A Dockerfile to build, and the secrets that its mounts may name.
pub(crate) type Asked = (DockerfileRequest, BTreeMap<String, Secret>);

/// The file where the flag names none.
const DEFAULT: &str = "Dockerfile";
/// Characters of an instruction, and of a reason, that are shown in a row.
const TEXT: usize = 50;
const WHY: usize = 56;

/// The arguments of a plan that is to print the Dockerfile which ZenML would write: the flag is there without a file. A
/// configuration behind the flag is taken for what it is.
pub(crate) fn equivalent(args: &BuildArgs) -> Option<BuildArgs> {
    let named = args.file.dockerfile.as_ref()?.clone();
    let is_config =
        |file: &PathBuf| file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    let config = named.clone().filter(is_config);
    if named.is_some() && config.is_none() {
        return None;
    }
    let mut args = args.clone();
    args.file.dockerfile = None;
    if args.config_flag.is_none() && args.config.is_none() {
        args.config = config;
    }
    Some(args)
}

/// What the flags ask for, with the secrets that a mount may name; `None` when no Dockerfile is named.
pub(crate) fn request(args: &BuildArgs, here: &Path, environment: &Environment) -> Result<Option<Asked>, Failure> {
    let Some(file) = &args.file.dockerfile else { return Ok(None) };
    let file = file.clone().unwrap_or_else(|| PathBuf::from(DEFAULT));
    let mut build_args = BTreeMap::new();
    for text in &args.file.build_args {
        match text.split_once('=') {
            Some((name, value)) => build_args.insert(name.to_owned(), value.to_owned()),
            None => match environment.variables().get(text) {
                Some(value) => build_args.insert(text.clone(), value.clone()),
                None => continue,
            },
        };
    }
    let secrets = args.file.secrets.iter().map(|spec| secret(spec, here, environment));
    let secrets: BTreeMap<String, Secret> = secrets.collect::<Result<_, _>>()?;
    let context = args.file.context.as_ref().map_or_else(|| here.to_path_buf(), |context| here.join(context));
    let asked = DockerfileRequest {
        file,
        context: Some(context),
        target: args.file.target.clone(),
        build_args,
        ..DockerfileRequest::default()
    };
    Ok(Some((asked, secrets)))
}

/// One `--secret`, as Docker writes it.
fn secret(spec: &str, here: &Path, environment: &Environment) -> Result<(String, Secret), Failure> {
    let wrong = |what: String| exit::fail(UsageError::new(what, "write `id=ID,src=FILE` or `id=ID,env=VARIABLE`"));
    let (mut id, mut file, mut variable) = (None, None, None);
    for part in spec.split(',') {
        match part.split_once('=') {
            Some(("id", value)) => id = Some(value),
            Some(("src" | "source", value)) => file = Some(value),
            Some(("env", value)) => variable = Some(value),
            Some(("type", "file" | "env")) => {}
            _ => return Err(wrong(format!("`--secret {spec}` has the part `{part}`, which is none"))),
        }
    }
    let id = id.ok_or_else(|| wrong(format!("`--secret {spec}` has no `id`")))?;
    let value = match (file, variable) {
        (Some(file), _) => {
            let path = here.join(file);
            let unreadable = |error| wrong(format!("secret `{id}` cannot be read from `{}`: {error}", path.display()));
            Secret::from(std::fs::read(&path).map_err(unreadable)?)
        }
        (None, variable) => {
            let name = variable.unwrap_or(id);
            let unset = || wrong(format!("secret `{id}` comes from the variable `{name}`, which is not set"));
            Secret::from(environment.variables().get(name).cloned().ok_or_else(unset)?)
        }
    };
    Ok((id.to_owned(), value))
}

/// The instructions with what is done about each.
pub(crate) fn table(steps: &[InstructionStep]) -> String {
    let mut rows = vec![["", "LINE", "INSTRUCTION", "WHY"].map(str::to_owned).to_vec()];
    let several = steps.iter().any(|step| step.stage != steps[0].stage);
    for step in steps {
        let line = if several { format!("{}:{}", step.stage, step.line) } else { step.line.to_string() };
        let (text, why) = (output::shortened(&step.text, TEXT), output::shortened(&step.why, WHY));
        rows.push(vec![step.how.word().to_uppercase(), line, text, why]);
    }
    format!("\n{}", output::table(&rows, &[]))
}

/// One instruction for machines.
pub(crate) fn as_json(step: &InstructionStep) -> Value {
    json!({
        "stage": step.stage,
        "line": step.line,
        "instruction": step.text,
        "how": step.how.word(),
        "why": step.why,
    })
}
