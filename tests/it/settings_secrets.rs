//! Secrets in settings: what is warned of, what `strict` refuses, what is never shown.

use lapstrake::diagnostic::Diagnose;
use lapstrake::settings::{Overrides, RunSettings, Substitution, Warning, is_secret_name};

use crate::support::vectors;

const TEXT: &str = "
settings:
  docker:
    environment: {API_KEY: hunter2, PIP_INDEX_URL: 'https://u:hunter2@i.test/simple', EMPTY_TOKEN: '', PGPASSWORD: hunter2}
    python_package_installer_args: {index-url: 'https://hunter2@i.test/simple', extra-index-url: 'https://${TOKEN}@j.test'}
    requirements: ['a @ git+https://hunter2@g.test/a']
    build_config: {build_options: {build_args: {NPM_TOKEN: hunter2}, labels: {secret: hunter2}, foo: {password: hunter2}}}
lapstrake: {labels: {auth: hunter2}, secrets: {index: {env: TOKEN}}}
";

fn substitution() -> Substitution {
    Substitution::new([("TOKEN".to_owned(), "hunter2".to_owned())].into())
}

#[test]
fn what_would_be_readable_in_the_image_is_warned_of() {
    let (run, warnings) = RunSettings::parse(TEXT, "run.yaml", &Overrides::default(), &substitution()).unwrap();
    let texts: Vec<String> = warnings.iter().map(Warning::to_string).collect();
    insta::assert_snapshot!(texts.join("\n"), @r"
    run.yaml:4:19: `settings.docker.environment.API_KEY` looks like a secret, and everybody who pulls the image could read it; name it under `lapstrake.secrets`, or set it when the container starts
    run.yaml:4:37: `settings.docker.environment.PIP_INDEX_URL` holds a URL with a password, and everybody who pulls the image could read it; name it under `lapstrake.secrets`, or set it when the container starts
    run.yaml:5:37: `settings.docker.python_package_installer_args.index-url` holds a URL with a password in plain text; write `${NAME}` for it, or keep it in the netrc file
    run.yaml:7:49: `settings.docker.build_config.build_options.build_args.NPM_TOKEN` looks like a secret, and everybody who pulls the image could read it; name it under `lapstrake.secrets`, or set it when the container starts
    run.yaml:7:79: `settings.docker.build_config.build_options.labels.secret` looks like a secret, and everybody who pulls the image could read it; name it under `lapstrake.secrets`, or set it when the container starts
    run.yaml:8:22: `lapstrake.labels.auth` looks like a secret, and everybody who pulls the image could read it; name it under `lapstrake.secrets`, or set it when the container starts
    ");
    let shown = format!("{}\n{:?}", run.to_yaml(true), run.provenance);
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("***@i.test/simple") && shown.contains("env: TOKEN"), "{shown}");
    assert_eq!(run.pipeline.docker.environment["API_KEY"], "hunter2");
}

#[test]
fn a_strict_reader_refuses_it() {
    let error = RunSettings::parse(TEXT, "run.yaml", &Overrides::new(false, true), &substitution()).unwrap_err();
    insta::assert_snapshot!(format!("{error}\nhint: {}", error.hint().unwrap()), @r"
    run.yaml:4:19: `settings.docker.environment.API_KEY` looks like a secret, and everybody who pulls the image could read it
    hint: name it under `lapstrake.secrets`, or set it when the container starts
    ");
}

#[test]
fn a_value_of_the_environment_in_an_index_url_is_no_plain_text() {
    let text = "settings: {docker: {python_package_installer_args: {index-url: 'https://${TOKEN}@j.test'}}}";
    let (_, warnings) = RunSettings::parse(text, "run.yaml", &Overrides::new(false, true), &substitution()).unwrap();
    assert_eq!(warnings, []);
}

#[test]
fn names_are_judged_as_buildkit_judges_them() {
    for case in vectors::cases("secret_env_names").into_iter().flatten() {
        let name = vectors::text(&case, "name").unwrap();
        assert_eq!(is_secret_name(name), case["lint"].as_bool().unwrap(), "{name}");
    }
}
