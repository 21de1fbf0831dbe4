//! `builds` as people use it: lists, details, exchange with ZenML, and what a build leaves.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::yard::{Ran, Yard};

/// What `zenml pipeline build --output` of 0.98 wrote, all of it.
const ZENML: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/zenml/build.yaml");

/// Writes a file to import: the name's first digits, when, for which pipeline, and whatever else is to differ.
fn file(yard: &Yard, digits: &str, created: &str, pipeline: &str, more: &str) -> String {
    let path = yard.path(&format!("build-{digits}.yaml"));
    let text = format!(
        "id: {digits:0<32}\nis_local: false\ncontains_code: false\nimages:\n  orchestrator:\n    image: registry.example/{pipeline}@sha256:{}\n\
         lapstrake:\n  created: {created}\n  pipeline: {pipeline}\n  stack: cloud\n  version: 0.1.0\n{more}",
        "1a".repeat(32)
    );
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// A yard whose ledger has three builds.
async fn with_builds() -> Yard {
    let yard = Yard::with_ledger().await;
    let files = [
        file(
            &yard,
            "abc1",
            "2026-01-01T10:00:00Z",
            "train",
            "python_version: '3.9.18'\nduration: 12\nchecksum: 00ff\n",
        ),
        file(&yard, "abc2", "2026-02-01T10:00:00Z", "train-large", "python_version: '3.12.4'\nduration: 73\n"),
        file(&yard, "def3", "2026-03-01T10:00:00Z", "serve", "zenml_version: 0.98.0\n"),
    ];
    let ran = yard.run(&["builds", "import", &files[0], &files[1], &files[2]]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    yard
}

fn ledger(yard: &Yard) -> PathBuf {
    yard.path("home/.local/share/lapstrake/ledger.db")
}

fn transcript(ran: &Ran) -> String {
    format!("{}---\n{}", ran.stdout, ran.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_are_a_table_with_the_newest_first() {
    let yard = with_builds().await;
    insta::assert_snapshot!(transcript(&yard.run(&["builds", "list", "--size", "2"])), @"
    ID            PIPELINE     STACK  VERSIONS                        CHECKSUM  LOCAL  IMAGES                                            CREATED              SECONDS
    def300000000  serve        cloud  lapstrake 0.1.0, zenml 0.98.0   -         no     registry.example/serve@sha256:1a1a1a1a1a1a        2026-03-01 10:00:00        -
    abc200000000  train-large  cloud  lapstrake 0.1.0, python 3.12.4  -         no     registry.example/train-large@sha256:1a1a1a1a1a1a  2026-02-01 10:00:00     73.0
    ---
    builds 1 to 2 of 3; `--page` and `--size` show others
    ");
    insta::assert_snapshot!(transcript(&yard.run(&["builds", "list", "--page", "3", "--size", "2"])), @"
    ---
    there is no page 3: 3 builds fill less
    ");
    insta::assert_snapshot!(transcript(&yard.run(&["builds", "list", "--pipeline", "startswith:none"])), @"
    ---
    no build in the ledger is like that
    ");
    let fresh = Yard::with_ledger().await;
    insta::assert_snapshot!(transcript(&fresh.run(&["builds", "list"])), @"
    ---
    no build is in the ledger
    ");
    assert!(!ledger(&fresh).exists(), "a list makes no ledger");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_and_sorted_in_zenmls_words() {
    let yard = with_builds().await;
    for (arguments, expected) in [
        (vec!["--pipeline", "contains:train"], "abc2 abc1"),
        (vec!["--created", "gt:2026-01-15", "--sort-by", "asc:created"], "abc2 def3"),
        (vec!["--created", "2026-02-01"], "abc2"),
        (vec!["--created", "2026-02-01 10:00:00"], "abc2"),
        (vec!["--created", "notequals:2026-02-01"], "def3 abc1"),
        (vec!["--created", "in:2026-01-01,2026-02-01T10:00:00Z"], "abc2 abc1"),
        (vec!["--created", "startswith:2026-03"], "def3"),
        (vec!["--pipeline", "oneof:[\"train\", \"serve\"]"], "def3 abc1"),
        (vec!["--zenml-version", "isnull:"], "abc2 abc1"),
        (vec!["--image", "notcontains:serve"], "abc2 abc1"),
        (vec!["--id", "startswith:ABC-2"], "abc2"),
        (vec!["--is-local", "true"], ""),
        (vec!["--sort-by", "asc:python_version"], "def3 abc1 abc2"),
        (vec!["--python-version", "gte:3.10"], "abc2"),
        (vec!["--pipeline", "serve", "--duration", "lt:20", "--logical-operator", "or"], "def3 abc1"),
        (vec!["--image", "endswith:serve@sha256:1a"], ""),
        (vec!["--image", "contains:/serve@"], "def3"),
        (vec!["--sort-by", "desc:duration", "--python-version", "isnotnull:"], "abc2 abc1"),
    ] {
        let listed = yard.json(&[&["builds", "list"], arguments.as_slice()].concat());
        let ids = listed["builds"].as_array().unwrap().iter().map(|build| &build["id"].as_str().unwrap()[..4]);
        assert_eq!(ids.collect::<Vec<_>>().join(" "), expected, "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_has_four_formats_that_say_the_same() {
    let yard = with_builds().await;
    let show = |format: &str| {
        let ran = yard.run(&["builds", "list", "--pipeline", "train", "--output-format", format]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
        ran.stdout
    };
    insta::assert_snapshot!(show("csv"), @"
    id,created,pipeline,stack,stack_checksum,lapstrake_version,python_version,zenml_version,checksum,is_local,contains_code,images,duration
    abc10000000000000000000000000000,2026-01-01T10:00:00.000Z,train,cloud,,0.1.0,3.9.18,,00ff,false,false,orchestrator=registry.example/train@sha256:1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a,12
    ");
    insta::assert_snapshot!(show("yaml"), @r#"
    builds:
    - checksum: "00ff"
      containsCode: false
      created: "2026-01-01T10:00:00.000Z"
      durationSeconds: 12.0
      id: abc10000000000000000000000000000
      images:
        orchestrator:
          containsCode: true
          dockerfile: null
          image: registry.example/train@sha256:1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a
          madeBy: null
          planKey: null
          requirements: null
          requiresCodeDownload: false
          reused: false
          settingsChecksum: null
          stepName: null
      isLocal: false
      pipeline: train
      stack: cloud
      stackChecksum: null
      versions:
        lapstrake: "0.1.0"
        python: "3.9.18"
        zenml: null
    page: 1
    schemaVersion: 1
    size: 20
    total: 1
    "#);
    let listed: Value = serde_json::from_str(&show("json")).unwrap();
    assert_eq!(listed, yard.json(&["builds", "list", "--pipeline", "train"]), "`--format json` is the same");
    assert_eq!((&listed["schemaVersion"], &listed["total"], &listed["size"]), (&json!(1), &json!(1), &json!(20)));
    assert_eq!(listed["builds"][0]["versions"], json!({"lapstrake": "0.1.0", "python": "3.9.18", "zenml": null}));
    assert!(show("table").starts_with("ID "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_is_found_by_the_beginning_of_its_name() {
    let yard = with_builds().await;
    let mut said = String::new();
    for prefix in ["ab", "c0ffee", "train", ""] {
        let ran = yard.run(&["builds", "show", prefix]);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
        said.push_str(&ran.stderr);
    }
    insta::assert_snapshot!(said, @"
    error: `ab` is the beginning of `abc10000000000000000000000000000` and `abc20000000000000000000000000000`
      hint: give more of its digits
    error: no build `c0ffee` is in the ledger
      hint: `lapstrake builds list` shows what there is
    error: `train` is not the name of a build
      hint: a name has hexadecimal digits; `lapstrake builds list` shows them
    error: `` is not the name of a build
      hint: a name has hexadecimal digits; `lapstrake builds list` shows them
    ");
    insta::assert_snapshot!(yard.run(&["builds", "show", "abc2"]).stdout, @"
    build           abc20000000000000000000000000000
    created         2026-02-01T10:00:00Z
    pipeline        train-large
    stack           cloud
    stack checksum  -
    versions        lapstrake 0.1.0, python 3.12.4
    checksum        -
    local           no
    contains code   no
    seconds         73

    image           orchestrator
      name          registry.example/train-large@sha256:1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a
      made          by this build
      code          in the image
    ");
    let dashes = yard.json(&["builds", "show", "ABC20000-0000"]);
    assert_eq!((&dashes["id"], &dashes["schemaVersion"]), (&json!(format!("{:0<32}", "abc2")), &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_in_filters_are_named_with_a_cure() {
    let yard = Yard::with_ledger().await;
    let mut said = String::new();
    for arguments in [
        ["--pipeline", "contians:train"],
        ["--created", "gt:yesterday"],
        ["--is-local", "startswith:t"],
        ["--sort-by", "up:created"],
        ["--sort-by", "creatd"],
    ] {
        let ran = yard.run(&["builds", "list", arguments[0], arguments[1]]);
        assert_eq!(ran.code, 2);
        said.push_str(&ran.stderr);
    }
    insta::assert_snapshot!(said, @"
    error: `contians:train`: there is no `contians:`
      hint: did you mean `contains:`? Write `equals:contians:train` if `contians:` belongs to the value
    error: `yesterday` is not a point in time, which `created` is compared with
      hint: write `2026-01-31`, `2026-01-31 12:30:00` or `2026-01-31T12:30:00Z`; it is UTC
    error: `is_local` cannot be asked for `startswith:`
      hint: texts take all words; times, versions and numbers `equals:`, `gt:`, `gte:`, `lt:`, `lte:` and `in:A,B`; truth values `equals:` and `notequals:`
    error: `up` is neither `asc` nor `desc`
      hint: write `desc:created`
    error: there is no column `creatd`
      hint: did you mean `created`?
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_of_zenmls_goes_in_and_comes_out_as_it_was() {
    let yard = Yard::with_ledger().await;
    let ran = yard.run(&["builds", "import", ZENML]);
    assert_eq!(ran.stdout, "imported 8d4d3b7e1c2f4a579a510c1d2e3f4a5b\n", "{}", ran.stderr);
    assert_eq!(yard.run(&["builds", "import", ZENML]).stdout, "known 8d4d3b7e1c2f4a579a510c1d2e3f4a5b\n");
    let shown = yard.json(&["builds", "show", "8d4d"]);
    let pipeline = &shown["images"]["orchestrator"];
    assert_eq!(pipeline["requirements"], "numpy==2.1.0\nscikit-learn>=1.4\n");
    assert!(pipeline["dockerfile"].as_str().unwrap().ends_with(".zenconfig\nRUN chmod -R a+rw ."), "{pipeline}");
    // YAML 1.2 takes these digits for a number, PyYAML does not.
    assert_eq!(pipeline["settingsChecksum"], "12345678e01234567890123456789012");
    assert_eq!((&pipeline["containsCode"], &pipeline["requiresCodeDownload"]), (&json!(false), &json!(true)));
    assert_eq!(shown["images"]["trainer.orchestrator"]["stepName"], "trainer");
    assert_eq!(
        (&shown["checksum"], &shown["durationSeconds"]),
        (&json!("5f4dcc3b5aa765d61d8327deb882cf99"), &json!(73.0))
    );

    let file = yard.path("exported.yaml").display().to_string();
    let exported = yard.run(&["builds", "export", "8d4d", "--output", &file]);
    assert_eq!((exported.code, exported.stdout.as_str()), (0, ""), "{}", exported.stderr);
    let printed = yard.run(&["builds", "export", "8d4d"]).stdout;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), printed);
    let zenmls: Vec<&str> =
        std::fs::read_to_string(ZENML).unwrap().leak().lines().filter(|line| !line.starts_with(' ')).collect();
    for key in zenmls.iter().filter_map(|line| line.split_once(':')).map(|(key, _)| format!("{key}:")) {
        assert!(printed.lines().any(|line| line.starts_with(&key)), "`{key}` is missing in\n{printed}");
    }
    std::fs::remove_file(ledger(&yard)).unwrap();
    std::fs::remove_file(ledger(&yard).with_extension("db-wal")).unwrap();
    yard.run(&["builds", "import", &file]);
    assert_eq!(yard.json(&["builds", "show", "8d4d"]), shown, "nothing is lost on the way");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_no_builds_are_refused_whole() {
    let yard = Yard::with_ledger().await;
    let good = file(&yard, "abc1", "2026-01-01", "train", "");
    let mut said = String::new();
    for (name, text) in [
        ("list", "- a\n"),
        ("tab", "a:\n\t- b: [\n"),
        ("imageless", "is_local: false\ncontains_code: true\nimages: {orchestrator: {dockerfile: FROM a}}\n"),
        ("flag", "is_local: perhaps\ncontains_code: true\nimages: {orchestrator: {image: a}}\n"),
        ("partial", "images: {orchestrator: {image: a}}\n"),
        ("name", "id: 12\nis_local: no\ncontains_code: no\nimages: {orchestrator: {image: a}}\n"),
    ] {
        let path = yard.project().join(name);
        std::fs::write(&path, text).unwrap();
        let ran = yard.run(&["builds", "import", &good, name]);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
        said.push_str(ran.stderr.split("  hint: ").next().unwrap());
    }
    insta::assert_snapshot!(said, @"
    error: `list` has no `images`
    error: `tab` is not valid YAML
      because: tabs disallowed within this context (block indentation) at byte 4 line 2 column 2
    error: `imageless` has no `images.orchestrator.image`
    error: `is_local` in `flag` is not `true` or `false`
    error: `partial` has no `is_local`
    error: `id` in `name` is not the name of a build
    ");
    assert!(!ledger(&yard).exists(), "not even the good file went in");
    assert!(yard.run(&["builds", "import", "absent"]).stderr.starts_with("error: cannot read `absent`"));
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_takes_builds_out_of_the_ledger_alone_and_all_or_none() {
    let yard = with_builds().await;
    let unasked = yard.run(&["builds", "delete", "abc1"]);
    assert_eq!(unasked.code, 2, "{}", unasked.stderr);
    assert_eq!(yard.run(&["builds", "delete", "--yes", "abc1", "none"]).code, 2);
    assert_eq!(yard.json(&["builds", "list"])["total"], 3, "nothing went");
    insta::assert_snapshot!(transcript(&yard.run(&["builds", "delete", "--yes", "abc1", "def"])), @"
    removed abc10000000000000000000000000000
    removed def30000000000000000000000000000
    ---
    the images stay in their registries; `lapstrake delete` removes them there
    ");
    let left = yard.json(&["builds", "list"]);
    assert_eq!((&left["total"], &left["builds"][0]["pipeline"]), (&json!(1), &json!("train-large")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_wrote_does_not_speak_to_the_terminal() {
    let yard = Yard::with_ledger().await;
    let file = file(&yard, "abc1", "2026-01-01", "\"a\\e[2Jb\"", "");
    assert_eq!(yard.run(&["builds", "import", &file]).code, 0);
    for arguments in [vec!["list"], vec!["show", "abc1"]] {
        let ran = yard.run(&[&["builds"], arguments.as_slice()].concat());
        assert!(ran.stdout.contains("a\\u{1b}[2Jb") && !ran.stdout.contains('\u{1b}'), "{}", ran.stdout);
    }
}
