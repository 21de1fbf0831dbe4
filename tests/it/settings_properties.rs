//! Properties of settings: levels laid over each other, and what is printed read again.

use lapstrake::settings::{Overrides, RunSettings, Settings, Substitution};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// One level of `settings.docker`: each key has one type, as the parser wants it.
fn level() -> impl Strategy<Value = Value> {
    let word = || "[a-z][a-z0-9_.-]{0,6}[a-z0-9]";
    let text = || prop_oneof![word().prop_map(Value::from), "[ -#%-?A-~é😀\n\t]{1,12}".prop_map(Value::from)];
    let scalar = || prop_oneof![text(), any::<i32>().prop_map(Value::from)];
    let variables = || prop::collection::btree_map("[A-D]{1,2}", scalar(), 0..4).prop_map(|map| json!(map));
    let texts = || prop::collection::vec(text(), 0..4).prop_map(Value::from);
    let field = prop_oneof![
        variables().prop_map(|value| ("environment", value)),
        variables().prop_map(|value| ("runtime_environment", value)),
        variables().prop_map(|value| ("python_package_installer_args", value)),
        texts().prop_map(|value| ("requirements", value)),
        texts().prop_map(|value| ("apt_packages", value)),
        texts().prop_map(|value| ("required_integrations", value)),
        any::<bool>().prop_map(|value| ("install_stack_requirements", value.into())),
        any::<bool>().prop_map(|value| ("prevent_build_reuse", value.into())),
        prop::option::of(word()).prop_map(|value| ("user", value.into())),
        "[a-z]{1,5}".prop_map(|value| ("parent_image", value.into())),
        (variables(), any::<bool>()).prop_map(|(labels, no_cache)| {
            ("build_config", json!({"build_options": {"labels": labels, "no_cache": no_cache}}))
        }),
    ];
    prop::collection::vec(field, 0..6)
        .prop_map(|fields| fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>().into())
}

fn read(configuration: &Value) -> RunSettings {
    let text = configuration.to_string();
    let read = RunSettings::parse(&text, "run.yaml", &Overrides::default(), &Substitution::default());
    read.unwrap_or_else(|error| panic!("{error}: {text}")).0
}

/// `over` on top of `base`, as the pipeline and its step.
fn merged(base: &Value, over: &Value) -> Settings {
    let run = read(&json!({"settings": {"docker": base}, "steps": {"s": {"settings": {"docker": over}}}}));
    run.steps[0].1.clone()
}

fn alone(level: &Value) -> Settings {
    read(&json!({"settings": {"docker": level}})).pipeline
}

/// One level that says what two say, the later one last.
fn joined(base: &Value, over: &Value) -> Value {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            let mut all = base.clone();
            for (key, value) in over {
                let value = all.get(key).map_or_else(|| value.clone(), |below| joined(below, value));
                all.insert(key.clone(), value);
            }
            all.into()
        }
        (_, over) => over.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_level_that_says_nothing_changes_nothing(level in level()) {
        prop_assert_eq!(merged(&level, &json!({})), alone(&level));
        prop_assert_eq!(merged(&json!({}), &level), alone(&level));
        prop_assert_eq!(merged(&level, &level), alone(&level));
    }

    #[test]
    fn laying_levels_over_each_other_is_associative(a in level(), b in level(), c in level()) {
        prop_assert_eq!(merged(&joined(&a, &b), &c), merged(&a, &joined(&b, &c)));
    }

    #[test]
    fn a_step_beats_the_pipeline_in_every_key_that_it_names(base in level(), over in level()) {
        prop_assert_eq!(merged(&base, &over), alone(&joined(&base, &over)));
    }

    #[test]
    fn what_is_printed_means_what_was_read(base in level(), over in level(), with_defaults in any::<bool>()) {
        let steps = json!({"a b": {"settings": {"docker": over}}, "other": {}});
        let run = read(&json!({"name": "p", "settings": {"docker": base}, "steps": steps}));
        let printed = run.to_yaml(with_defaults);
        let again = RunSettings::parse(&printed, "printed.yaml", &Overrides::default(), &Substitution::default());
        let again = again.map_err(|error| TestCaseError::fail(format!("{error}\n{printed}")))?.0;
        prop_assert_eq!(&again.pipeline, &run.pipeline, "{}", printed);
        prop_assert_eq!(&again.steps, &run.steps, "{}", printed);
        prop_assert_eq!(&again.name, &run.name);
    }
}
