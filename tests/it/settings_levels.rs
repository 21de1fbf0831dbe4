//! Settings of pipeline and steps: what beats what, and which place is named.

use lapstrake::diagnostic::Diagnose;
use lapstrake::settings::{
    Origin, Overrides, Requirements, RunSettings, Settings, SettingsError, Substitution, Warning,
};

const TEXT: &str = "
name: train
settings:
  docker:
    parent_image: python:3.12-slim
    requirements: [numpy]
    environment: {A: 1, B: two}
    python_package_installer_args: {index-url: https://i.test, pre: null}
    build_config: {build_options: {labels: {team: a}, platform: linux/amd64}}
    user: zen
steps:
  load: {}
  fit:
    parameters: {epochs: 3}
    settings:
      docker:
        requirements: [torch]
        environment: {b: three, C: 4}
        build_config: {build_options: {labels: {gpu: 'yes'}}}
        user: null
lapstrake: {registry: r.test/team}
";

fn read(text: &str, overrides: &Overrides) -> Result<(RunSettings, Vec<Warning>), SettingsError> {
    let variables = [("USER".to_owned(), "me".to_owned())];
    RunSettings::parse(text, "run.yaml", overrides, &Substitution::new(variables.into()))
}

fn with(assignments: &[&str]) -> Overrides {
    let mut overrides = Overrides::default();
    for assignment in assignments {
        overrides.set(assignment).unwrap();
    }
    overrides
}

fn step<'r>(run: &'r RunSettings, name: &str) -> &'r Settings {
    &run.steps.iter().find(|(known, _)| known == name).unwrap().1
}

fn variables(settings: &Settings) -> Vec<(&str, &str)> {
    settings.docker.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// Where the value at a dotted path comes from.
fn origin(run: &RunSettings, step: Option<&str>, path: &str) -> String {
    let values = match step {
        Some(name) => &run.provenance.steps.iter().find(|(known, _)| known == name).unwrap().1,
        None => &run.provenance.pipeline,
    };
    values.iter().find(|value| value.path.join(".") == path).unwrap().origin.to_string()
}

fn refusal(result: Result<(RunSettings, Vec<Warning>), SettingsError>) -> String {
    let error = result.unwrap_err();
    format!("{error}\nhint: {}", error.hint().unwrap_or_else(|| "none".to_owned()))
}

#[test]
fn a_step_is_laid_over_the_pipeline_map_by_map() {
    let (run, warnings) = read(TEXT, &Overrides::default()).unwrap();
    assert_eq!((run.name.as_deref(), warnings), (Some("train"), vec![]));
    let names: Vec<_> = run.steps.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["load", "fit"]);
    assert_eq!(step(&run, "load"), &run.pipeline);
    let fit = step(&run, "fit");
    assert_eq!(fit.docker.requirements, Some(Requirements::Lines(vec!["torch".to_owned()])));
    assert_eq!(variables(fit), [("A", "1"), ("B", "three"), ("C", "4")]);
    assert_eq!(fit.docker.build_config.labels.len(), 2);
    assert_eq!(fit.docker.build_config.platform, run.pipeline.docker.build_config.platform);
    assert_eq!((fit.docker.user.as_deref(), run.pipeline.docker.user.as_deref()), (None, Some("zen")));
    assert_eq!(fit.docker.parent_image, run.pipeline.docker.parent_image);
    assert_eq!(fit.lapstrake.registry.as_deref(), Some("r.test/team"));
}

#[test]
fn every_value_knows_its_origin() {
    let mut overrides = with(&["docker.environment.A=5", "steps.fit.docker.apt_packages=[git]"]);
    overrides.flag(&["settings", "docker", "parent_image"], "python:3.13", "--parent-image");
    overrides.variable(&["lapstrake", "registry"], "other.test", "A_REGISTRY");
    let (run, _) = read(TEXT, &overrides).unwrap();
    for (name, path, expected) in [
        (None, "settings.docker.parent_image", "--parent-image"),
        (None, "settings.docker.environment.A", "--set docker.environment.A"),
        (None, "settings.docker.environment.B", "run.yaml:7:28"),
        (None, "settings.docker.build_config.build_options.labels.team", "run.yaml:9:51"),
        (None, "settings.docker.image_tag", "default"),
        (None, "lapstrake.registry", "variable A_REGISTRY"),
        (Some("fit"), "settings.docker.environment.A", "--set docker.environment.A"),
        (Some("fit"), "settings.docker.environment.b", "run.yaml:18:26"),
        (Some("fit"), "settings.docker.apt_packages", "--set steps.fit.docker.apt_packages"),
        (Some("fit"), "settings.docker.user", "run.yaml:20:15"),
        (Some("load"), "settings.docker.user", "run.yaml:10:11"),
    ] {
        assert_eq!(origin(&run, name, path), expected, "{path} of {name:?}");
    }
    let paths =
        |values: &[lapstrake::settings::Effective]| values.iter().any(|value| value.path.ends_with(&["B".to_owned()]));
    assert!(!paths(&run.provenance.steps[1].1), "`b` of the step took the place of `B`");
    assert!(run.provenance.pipeline.iter().any(|value| value.origin == Origin::Default));
}

#[test]
fn flags_beat_the_file_on_their_level_and_steps_beat_flags() {
    let mut overrides = with(&["docker.environment={A: 9, D: '${USER}'}", "lapstrake.layers.budget=3"]);
    overrides.flag(&["settings", "docker", "environment", "a"], "${USER}", "--env a");
    overrides.flag(&["settings", "docker", "requirements"], "r.txt", "--requirements");
    let (run, _) = read(TEXT, &overrides).unwrap();
    assert_eq!(variables(&run.pipeline), [("B", "two"), ("D", "me"), ("A", "${USER}")]);
    assert_eq!(run.pipeline.docker.requirements, Some(Requirements::File("r.txt".into())));
    assert_eq!(step(&run, "fit").docker.requirements, Some(Requirements::Lines(vec!["torch".to_owned()])));
    assert_eq!(step(&run, "fit").docker.environment["B"], "three");
    assert_eq!(run.pipeline.lapstrake.layers.budget, Some(3));
    let (run, _) = read(TEXT, &with(&["docker.user=", "docker.requirements=null"])).unwrap();
    assert_eq!((run.pipeline.docker.user, run.pipeline.docker.requirements), (None, None));
}

#[test]
fn a_step_may_come_from_the_command_line_alone() {
    let (run, _) = read("", &with(&["steps.train.docker.image_tag=v2", "steps.train.settings.docker.user=a"])).unwrap();
    assert_eq!(run.steps.len(), 1);
    let docker = &step(&run, "train").docker;
    assert_eq!((docker.image_tag.as_deref(), docker.user.as_deref()), (Some("v2"), Some("a")));
    let text =
        "steps: {a: {settings: {docker: {user: x}}}}\nstep_configurations: {a: {settings: {docker: {image_tag: t}}}}";
    let (run, _) = read(text, &Overrides::default()).unwrap();
    let docker = &step(&run, "a").docker;
    assert_eq!((docker.image_tag.as_deref(), docker.user.as_deref()), (Some("t"), Some("x")));
}

#[test]
fn old_spellings_are_read_on_their_own_level() {
    let text = "
settings: {docker: {source_files: include, build_config: {build_options: {nocache: true}}}}
steps:
  a: {settings: {docker: {allow_download_from_code_repository: true, build_config: {build_options: {no_cache: false}}}}}
  b: {settings: {docker: {source_files: download}}}
";
    let (run, warnings) = read(text, &Overrides::default()).unwrap();
    let allowed = |settings: &Settings| {
        let docker = &settings.docker;
        (
            docker.allow_including_files_in_images,
            docker.allow_download_from_code_repository,
            docker.build_config.no_cache,
        )
    };
    assert_eq!(allowed(&run.pipeline), (true, false, true));
    assert_eq!(allowed(step(&run, "a")), (true, true, false));
    assert_eq!(allowed(step(&run, "b")), (false, true, true));
    let places: Vec<String> = warnings.iter().map(|warning| warning.at.to_string()).collect();
    assert_eq!(places, ["run.yaml:2:21", "run.yaml:5:27"], "one warning for each place");
}

#[test]
fn mistakes_name_their_own_place_and_the_path_of_the_step() {
    let text = |step: &str| format!("settings: {{docker: {{parent_image: a}}}}\nsteps:\n  fit: {step}\n");
    let step = |docker: &str| text(&format!("{{settings: {{docker: {docker}}}}}"));
    insta::assert_snapshot!(refusal(read(&step("{image_tag: -x}"), &Overrides::default())), @r"
    run.yaml:3:40: `steps.fit.settings.docker.image_tag` is not a tag
    hint: a tag has letters, digits, `_`, `.` and `-`, 128 at most, and begins with none of `.-`
    ");
    insta::assert_snapshot!(refusal(read(&step("{skip_build: true, parent_image: null}"), &Overrides::default())), @r"
    run.yaml:1:20: `steps.fit.settings.docker` has `skip_build` without `parent_image`
    hint: name the `parent_image`
    ");
    insta::assert_snapshot!(refusal(read(&step("{requirement: a}"), &Overrides::default())), @r"
    run.yaml:3:29: `steps.fit.settings.docker.requirement` is not a known setting
    hint: did you mean `requirements`?
    ");
    insta::assert_snapshot!(refusal(read(&text("{setings: {}}"), &Overrides::default())), @r"
    run.yaml:3:9: `steps.fit.setings` is not a known setting
    hint: did you mean `settings`?
    ");
    insta::assert_snapshot!(refusal(read("", &with(&["docker.skip_build=perhaps"]))), @r"
    --set docker.skip_build: `settings.docker.skip_build` must be a truth value, not a text
    hint: none
    ");
    insta::assert_snapshot!(refusal(read("", &with(&["docker.requirements=[a"]))), @r"
    --set docker.requirements: file is not valid YAML: while parsing a flow sequence, expected ',' or ']'
    hint: look at the indentation, quotes and brackets around that line
    ");
    insta::assert_snapshot!(refusal(read("", &with(&["docker.usr=a"]))), @r"
    --set docker.usr: `settings.docker.usr` is not a known setting
    hint: did you mean `user`?
    ");
}

#[test]
fn a_lenient_reader_warns_of_unknown_keys() {
    let text = "setings: {}\nsettings: {docker: {requirement: a, user: b}, dokcer: 1}\nlapstrake: {platform: x}\nsteps: {a: {x: 1}}";
    let (run, warnings) = read(text, &Overrides::new(true, false)).unwrap();
    assert_eq!(run.pipeline.docker.user.as_deref(), Some("b"));
    let texts: Vec<String> = warnings.iter().map(Warning::to_string).collect();
    insta::assert_snapshot!(texts.join("\n"), @r"
    run.yaml:1:1: `setings` is not a known setting, and is passed over
    run.yaml:2:21: `settings.docker.requirement` is not a known setting, and is passed over
    run.yaml:2:47: `settings.dokcer` is not a known setting, and is passed over
    run.yaml:3:13: `lapstrake.platform` is not a known setting, and is passed over
    run.yaml:4:13: `steps.a.x` is not a known setting, and is passed over
    ");
}

#[test]
fn a_parent_beside_a_dockerfile_is_passed_over_with_a_warning() {
    let (_, warnings) = read("settings: {docker: {parent_image: a, dockerfile: D}}", &Overrides::default()).unwrap();
    let texts: Vec<String> = warnings.iter().map(Warning::to_string).collect();
    assert_eq!(texts, ["run.yaml:1:21: `parent_image` is passed over: the image of `dockerfile` is the parent"]);
}
