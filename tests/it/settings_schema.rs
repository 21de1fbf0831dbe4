//! The JSON Schema of the configuration: the one in the documentation, and whether it says what the parser does.

use lapstrake::settings::{Settings, Substitution, schema};
use serde_json::{Value, json};

const WRITTEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/settings.schema.json");

/// Values of a key of `settings.docker` or `lapstrake` that are right, and that are wrong.
const CASES: &[(&str, &[&str], &[&str])] = &[
    ("settings.docker.parent_image", &["\"python:3.12\""], &["\"\"", "5", "[]"]),
    ("settings.docker.dockerfile", &["\"D\""], &["\"\"", "true"]),
    ("settings.docker.build_context_root", &["\".\""], &["{}"]),
    (
        "settings.docker.parent_image_build_config",
        &["{}", "{\"dockerignore\": \"d\", \"build_options\": {}}"],
        &["[]", "{\"dockerignor\": \"d\"}", "{\"dockerignore\": 1}"],
    ),
    (
        "settings.docker.build_config",
        &[
            "{\"build_options\": {\"pull\": \"yes\", \"rm\": false, \"no_cache\": 1, \"shm_size\": 64, \"platform\": \"linux/arm64\"}}",
            "{\"build_options\": {\"nocache\": true, \"shmsize\": 1, \"buildargs\": {\"A\": null}, \"cachefrom\": [\"a\"]}}",
            "{\"build_options\": {\"labels\": {\"a\": 1}, \"build_args\": {\"A\": true}, \"other\": [1, {}]}}",
        ],
        &[
            "{\"build_options\": []}",
            "{\"build_options\": {\"pull\": \"maybe\"}}",
            "{\"build_options\": {\"shm_size\": -1}}",
            "{\"build_options\": {\"shmsize\": []}}",
            "{\"build_options\": {\"labels\": {\"a\": []}}}",
            "{\"build_options\": {\"cache_from\": \"a\"}}",
            "{\"build_options\": {\"platform\": 5}}",
        ],
    ),
    ("settings.docker.skip_build", &["false", "\"off\""], &["2", "\"\""]),
    ("settings.docker.prevent_build_reuse", &["true"], &["[]"]),
    ("settings.docker.target_repository", &["\"a/b\""], &["1", "\"\""]),
    ("settings.docker.image_tag", &["\"v1\""], &["1", "\"\""]),
    ("settings.docker.python_package_installer", &["\"uv\"", "\"pip\""], &["\"conda\"", "1"]),
    (
        "settings.docker.python_package_installer_args",
        &["{\"a\": null, \"b\": 1, \"c\": \"x\"}"],
        &["{\"a\": []}", "[]"],
    ),
    ("settings.docker.python_package_installer_cache_mount", &["\"type=cache\""], &["true"]),
    (
        "settings.docker.replicate_local_python_environment",
        &["true", "\"pip_freeze\"", "\"uv_freeze\"", "\"poetry_export\"", "[\"pip\", \"freeze\"]", "\"no\""],
        &["\"conda\"", "{}", "[1]"],
    ),
    ("settings.docker.pyproject_path", &["\"p\""], &["[]"]),
    ("settings.docker.pyproject_export_command", &["[\"uv\", \"export\"]"], &["\"uv export\"", "[1]"]),
    ("settings.docker.requirements", &["\"r.txt\"", "[\"a\", \"b\"]", "[]"], &["5", "[1]", "\"\"", "{}"]),
    ("settings.docker.disable_automatic_requirements_detection", &["false"], &["\"x\""]),
    ("settings.docker.required_integrations", &["[\"s3\"]"], &["\"s3\""]),
    ("settings.docker.install_stack_requirements", &["true"], &["{}"]),
    ("settings.docker.install_deployment_requirements", &["true"], &["{}"]),
    ("settings.docker.local_project_install_command", &["\"make\""], &["[\"make\"]"]),
    ("settings.docker.apt_packages", &["[\"git\"]", "[]"], &["\"git\"", "{}"]),
    (
        "settings.docker.environment",
        &["{\"A\": 1, \"B\": true, \"C\": \"x\"}"],
        &["[]", "{\"A\": null}", "{\"A\": [1]}"],
    ),
    ("settings.docker.runtime_environment", &["{\"A\": 1.5}"], &["{\"A\": {}}", "\"A=1\""]),
    ("settings.docker.user", &["\"1000:1000\""], &["1000", "\"\""]),
    ("settings.docker.allow_including_files_in_images", &["\"n\""], &["\"never\""]),
    ("settings.docker.allow_download_from_code_repository", &["0"], &["3"]),
    ("settings.docker.allow_download_from_artifact_store", &["1"], &["[]"]),
    ("settings.docker.build_options", &["{\"a\": [1]}"], &["[]"]),
    ("settings.docker.dockerignore", &["\"d\""], &["1"]),
    ("settings.docker.copy_files", &["true"], &["\"x\""]),
    ("settings.docker.copy_global_config", &["true"], &["\"x\""]),
    ("settings.docker.source_files", &["\"include\"", "\"ignore\""], &["\"bad\"", "1"]),
    ("settings.docker.required_hub_plugins", &["[\"p\"]"], &["\"p\""]),
    ("settings.docker.requirement", &[], &["[]", "\"a\""]),
    ("settings.resources", &["{\"cpu_count\": 1}"], &[]),
    ("settings.orchestrator.kubernetes", &["{}"], &[]),
    ("settings.dokcer", &[], &["{}"]),
    ("lapstrake.source_root", &["\".\""], &["1"]),
    ("lapstrake.entrypoint", &["[\"python\", \"\"]"], &["\"python\""]),
    ("lapstrake.cmd", &["[]"], &["\"x\""]),
    ("lapstrake.working_dir", &["\"/app\""], &["1"]),
    ("lapstrake.tags", &["[\"r.test/a:1\"]"], &["\"r.test/a:1\"", "[1]"]),
    ("lapstrake.registry", &["\"r.test/team\""], &["\"\""]),
    ("lapstrake.platforms", &["[\"linux/arm64\"]"], &["\"linux/arm64\"", "[\"\"]"]),
    ("lapstrake.cache_from", &["[\"r.test/a\"]"], &["{}"]),
    ("lapstrake.output", &["\"oci:out\""], &["[]"]),
    ("lapstrake.insecure_registries", &["[\"localhost:5000\"]"], &["\"localhost\""]),
    ("lapstrake.labels", &["{\"a\": \"b\"}"], &["{\"a\": null}"]),
    (
        "lapstrake.python",
        &["{\"version\": \"3.12\", \"prefix\": \"/usr\"}", "{\"version\": 3.12}"],
        &["{\"verson\": 3}", "3.12"],
    ),
    ("lapstrake.layers", &["{\"budget\": 1, \"own_layer_above_bytes\": 0}"], &["{\"budget\": 0}", "{\"budget\": 1.5}"]),
    (
        "lapstrake.stack",
        &[
            "{\"name\": \"s\", \"components\": {\"orchestrator\": \"k\", \"alerter\": {\"flavor\": \"slack\"}}, \"requirements\": [\"a\"], \"apt_packages\": []}",
        ],
        &[
            "{\"components\": [\"k\"]}",
            "{\"components\": {\"a\": 1}}",
            "{\"components\": {\"a\": {\"flavour\": \"k\"}}}",
            "{\"flavor\": 1}",
        ],
    ),
    ("lapstrake.resolution", &["\"joint\"", "\"sequential\""], &["\"both\""]),
    ("lapstrake.code_repository", &["true", "\"https://g.test/a\""], &["\"\"", "[]"]),
    ("lapstrake.artifact_store", &["\"s3://b/p\"", "\"store\""], &["\"\"", "1"]),
    (
        "lapstrake.secrets",
        &["{\"a\": {\"env\": \"A\"}, \"b\": {\"file\": \"f\"}, \"c\": {\"command\": [\"x\"]}}"],
        &[
            "{\"a\": \"value\"}",
            "{\"a\": {}}",
            "{\"a\": {\"env\": \"A\", \"file\": \"f\"}}",
            "{\"a\": {\"command\": []}}",
            "{\"a\": {\"vault\": \"x\"}}",
        ],
    ),
    ("lapstrake.backend", &["\"buildkit\""], &["1"]),
    ("lapstrake.platform", &[], &["\"linux/arm64\""]),
    ("name", &["\"p\""], &["5"]),
    (
        "steps",
        &["{\"a\": {\"settings\": {\"docker\": {\"user\": \"u\"}}, \"parameters\": {}}, \"b\": {}}"],
        &["[]", "{\"a\": {\"setings\": {}}}", "{\"a\": {\"settings\": {\"docker\": {\"usr\": 1}}}}"],
    ),
    ("step_configurations", &["{}"], &["{\"a\": {\"settings\": {\"docker\": {\"user\": 1}}}}"]),
    ("enable_cache", &["true"], &[]),
    ("setings", &[], &["{}"]),
];

/// The configuration that has one value.
fn configuration(path: &str, value: &str) -> Value {
    let value: Value = serde_json::from_str(value).unwrap();
    let parts: Vec<&str> = match path.split_once('.') {
        Some((first, rest)) if !rest.starts_with("docker.") => vec![first, rest],
        _ => path.split('.').collect(),
    };
    parts.iter().rev().fold(value, |inner, key| json!({ *key: inner }))
}

fn is_read(configuration: &Value) -> Result<(), String> {
    let read = Settings::parse(&configuration.to_string(), "run.yaml", &Substitution::default());
    read.map(|_| ()).map_err(|error| error.to_string())
}

#[test]
fn the_documentation_has_the_schema_of_this_version() {
    let written = std::fs::read_to_string(WRITTEN).unwrap();
    let now = serde_json::to_string_pretty(&schema()).unwrap();
    assert!(written.trim_end() == now, "write `lapstrake settings --schema` to docs/settings.schema.json");
}

#[test]
fn parser_and_schema_agree_on_what_is_right() {
    let schema = schema();
    for (path, right, wrong) in CASES {
        for value in right.iter().chain(&["null"]).filter(|_| !right.is_empty()) {
            let text = configuration(path, value);
            assert_eq!(is_read(&text), Ok(()), "{text}");
            assert_eq!(offence(&schema, &schema, &text), None, "{text}");
        }
        for value in *wrong {
            let text = configuration(path, value);
            assert!(is_read(&text).is_err(), "the parser takes {text}");
            assert!(offence(&schema, &schema, &text).is_some(), "the schema takes {text}");
        }
    }
}

#[test]
fn every_key_of_the_schema_has_a_case() {
    let schema = schema();
    for (section, prefix) in [("docker", "settings.docker"), ("lapstrake", "lapstrake")] {
        let keys = schema["$defs"][section]["properties"].as_object().unwrap();
        for key in keys.keys() {
            let path = format!("{prefix}.{key}");
            assert!(CASES.iter().any(|(known, right, _)| *known == path && !right.is_empty()), "{path} has no case");
        }
    }
}

/// The first part of the schema that refuses a value, by the few words of JSON Schema that it uses.
fn offence(root: &Value, schema: &Value, value: &Value) -> Option<String> {
    let words = schema.as_object()?;
    words.iter().find_map(|(word, rule)| (!holds(root, schema, word, rule, value)).then(|| format!("{word}: {rule}")))
}

fn holds(root: &Value, schema: &Value, word: &str, rule: &Value, value: &Value) -> bool {
    let takes = |rule: &Value, value: &Value| offence(root, rule, value).is_none();
    let number = |rule: &Value| rule.as_u64().unwrap() as usize;
    match word {
        "$schema" | "title" | "description" | "default" | "deprecated" | "$defs" => true,
        "$ref" => takes(root.pointer(rule.as_str().unwrap().trim_start_matches('#')).unwrap(), value),
        "type" => match rule {
            Value::Array(types) => types.iter().any(|kind| is_of(kind.as_str().unwrap(), value)),
            kind => is_of(kind.as_str().unwrap(), value),
        },
        "enum" => rule.as_array().unwrap().contains(value),
        "anyOf" => rule.as_array().unwrap().iter().any(|rule| takes(rule, value)),
        "minLength" => value.as_str().is_none_or(|text| text.chars().count() >= number(rule)),
        "minimum" => value.as_f64().is_none_or(|value| value >= rule.as_f64().unwrap()),
        "minItems" => value.as_array().is_none_or(|items| items.len() >= number(rule)),
        "minProperties" => value.as_object().is_none_or(|fields| fields.len() >= number(rule)),
        "maxProperties" => value.as_object().is_none_or(|fields| fields.len() <= number(rule)),
        "items" => value.as_array().is_none_or(|items| items.iter().all(|item| takes(rule, item))),
        "pattern" => value.as_str().is_none_or(|text| text.contains("${")),
        "properties" => value
            .as_object()
            .is_none_or(|fields| fields.iter().all(|(key, value)| rule.get(key).is_none_or(|rule| takes(rule, value)))),
        "patternProperties" => rule.as_object().unwrap().values().all(|rule| *rule == json!({})),
        "additionalProperties" => value.as_object().is_none_or(|fields| {
            let others = fields.iter().filter(|(key, _)| !is_named(schema, key));
            others.into_iter().all(|(_, value)| match rule {
                Value::Bool(allowed) => *allowed,
                rule => takes(rule, value),
            })
        }),
        other => panic!("the test does not know `{other}` of JSON Schema"),
    }
}

/// Whether a key is named by `properties`, or by the one pattern: words, perhaps with a dot and more behind them.
fn is_named(schema: &Value, key: &str) -> bool {
    let first = key.split('.').next().unwrap();
    let is_pattern = |pattern: &String| {
        let words = pattern.trim_start_matches("^(").split(')').next().unwrap();
        words.split('|').any(|word| word == first)
    };
    let patterns = schema.get("patternProperties").and_then(Value::as_object);
    schema["properties"].get(key).is_some() || patterns.is_some_and(|patterns| patterns.keys().any(is_pattern))
}

fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("`{other}` is no type"),
    }
}
