//! The JSON Schema of a run configuration, made of the table that the parser reads by.
//!
//! It says what editors can check: names and types. What values mean together is the parser's to say.

use serde_json::{Map, Value, json};

use super::levels::{KINDS, STEP, ZENML};
use super::table::{COMPONENT, DOCKER, Kind, NATIVE, Row};

/// Truth values as texts; capitals are taken, too.
const FLAGS: [&str; 12] = ["0", "1", "on", "off", "t", "f", "true", "false", "y", "n", "yes", "no"];

/// The schema, of draft 2020-12.
pub fn schema() -> Value {
    let sections = KINDS.iter().filter(|kind| **kind != "docker").copied().collect::<Vec<_>>().join("|");
    let mut settings = section(&[], "Settings of ZenML; those of images stand under `docker`.");
    settings["properties"] = json!({"docker": {"$ref": "#/$defs/docker"}});
    settings["patternProperties"] = json!({ format!("^({sections})(\\..+)?$"): {} });
    let mut step = section(&[], "One step.");
    step["properties"] = others(&STEP);
    step["properties"]["settings"] = json!({"$ref": "#/$defs/settings"});
    let steps = json!({
        "description": "Steps by name; what one says beats what the pipeline says.",
        "type": ["object", "null"],
        "additionalProperties": {"$ref": "#/$defs/step"},
    });
    let mut properties = others(&ZENML);
    properties["name"] = json!({"description": "The pipeline's name.", "type": ["string", "null"]});
    properties["settings"] = json!({"$ref": "#/$defs/settings"});
    properties["lapstrake"] = json!({"$ref": "#/$defs/lapstrake"});
    properties["steps"] = steps.clone();
    properties["step_configurations"] = steps;
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Lapstrake's configuration, or a run configuration of ZenML",
        "type": ["object", "null"],
        "properties": properties,
        "additionalProperties": false,
        "$defs": {
            "settings": settings,
            "docker": section(DOCKER, "How images are made; ZenML's `DockerSettings`."),
            "lapstrake": section(NATIVE, "What ZenML does not have."),
            "step": step,
        },
    })
}

/// Keys that are not looked at.
fn others(names: &[&str]) -> Value {
    names.iter().map(|name| ((*name).to_owned(), json!({}))).collect::<Map<_, _>>().into()
}

fn section(rows: &[Row], about: &str) -> Value {
    let properties: Map<String, Value> = rows.iter().map(|row| (row.name.to_owned(), property(row))).collect();
    json!({
        "description": about,
        "type": ["object", "null"],
        "properties": properties,
        "additionalProperties": false,
    })
}

fn property(row: &Row) -> Value {
    let mut schema = kind(row.kind);
    schema["description"] = row.about.into();
    if !row.default.is_empty() {
        schema["default"] = row.default_value();
    }
    if row.is_deprecated {
        schema["deprecated"] = true.into();
    }
    schema
}

/// What may stand under a key; `null` always may.
fn kind(kind: Kind) -> Value {
    let texts = |least: u32| json!({"type": ["array", "null"], "items": {"type": "string", "minLength": least}});
    let map = |types: &[&str]| json!({"type": ["object", "null"], "additionalProperties": {"type": types}});
    // A number or a word may also come from the environment.
    let flag = || json!({"enum": FLAGS.iter().map(|word| json!(word)).chain([json!(0), json!(1)]).collect::<Vec<_>>()});
    let variable = json!({"type": "string", "pattern": "\\$\\{[A-Za-z0-9_]+\\}"});
    let nothing = json!({"type": "null"});
    match kind {
        Kind::Text
        | Kind::Path
        | Kind::AbsolutePath
        | Kind::Image
        | Kind::Tag
        | Kind::RepositoryPath
        | Kind::Registry
        | Kind::Platform => json!({"type": ["string", "null"], "minLength": 1}),
        Kind::Images | Kind::Hosts | Kind::Platforms => texts(1),
        Kind::Texts => texts(0),
        Kind::Flag => json!({"anyOf": [{"type": "boolean"}, flag(), variable, nothing]}),
        Kind::CodeRepository => json!({"type": ["boolean", "string", "null"], "minLength": 1}),
        Kind::Count(least) => json!({"anyOf": [{"type": "integer", "minimum": least}, variable, nothing]}),
        Kind::PythonVersion => json!({"type": ["string", "number", "null"]}),
        Kind::Choice(words) => json!({"anyOf": [{"enum": words}, variable, nothing]}),
        Kind::Requirements => json!({"anyOf": [{"type": "string", "minLength": 1}, texts(0)]}),
        Kind::LocalEnvironment => {
            let ways = ["pip_freeze", "uv_freeze", "poetry_export"];
            json!({"anyOf": [{"type": "boolean"}, flag(), {"enum": ways}, variable, texts(0)]})
        }
        Kind::Variables | Kind::Labels => map(&["string", "number", "boolean"]),
        Kind::Arguments => map(&["string", "number", "boolean", "null"]),
        Kind::Components => {
            let component = json!({"anyOf": [{"type": "string", "minLength": 1}, section(COMPONENT, "")]});
            json!({"type": ["object", "null"], "additionalProperties": component})
        }
        Kind::Secrets => {
            let text = json!({"type": "string", "minLength": 1});
            let words = json!({"type": "array", "items": text, "minItems": 1});
            let source = json!({
                "type": "object",
                "properties": {"env": text, "file": text, "command": words},
                "additionalProperties": false,
                "minProperties": 1,
                "maxProperties": 1,
            });
            json!({"type": ["object", "null"], "additionalProperties": source})
        }
        Kind::Anything => json!({"type": ["object", "null"]}),
        Kind::Section(rows) => section(rows, ""),
        Kind::Open(rows) => {
            let mut open = section(rows, "");
            open["additionalProperties"] = true.into();
            for (sdk, name) in super::merge::SDK_OPTIONS {
                open["properties"][sdk] = open["properties"][name].clone();
            }
            open
        }
    }
}
