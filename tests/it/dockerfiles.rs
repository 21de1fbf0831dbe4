//! Dockerfiles built as they say: natively, with a backend for one instruction, and not again when nothing changed.
//!
//! uv is played by a script; equality with BuildKit is held end to end, where BuildKit is.

use serde_json::{Value, json};

use crate::support::fake_uv::FakeUv;
use crate::support::parents::SITE;
use crate::support::wheel_maker::WheelMaker;
use crate::support::yard::{Ran, Yard};

/// Runs `build` or `plan` of the Dockerfile with uv at hand and no backend.
fn run(yard: &Yard, store: &str, uv: &FakeUv<'_>, arguments: &[&str]) -> Ran {
    let tag = yard.at("demo/app:latest");
    let mut command = yard.command(store);
    command.args(["--format", "json"]).args(arguments).args(["--tag", &tag]).env("PATH", uv.folder());
    command.output().unwrap().into()
}

fn done(ran: Ran) -> Value {
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    serde_json::from_str::<Value>(&ran.stdout).unwrap()["images"][0].clone()
}

/// How each instruction of a plan is carried out, by line.
fn how(plan: &Value) -> Vec<(u64, String)> {
    let steps = plan["instructions"].as_array().unwrap().iter();
    steps.map(|step| (step["line"].as_u64().unwrap(), step["how"].as_str().unwrap().to_owned())).collect()
}

fn wheel(name: &str) -> WheelMaker {
    WheelMaker::new(name, "1.0").file(&format!("{name}.py"), "1.0")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_file_needs_no_backend_and_an_edit_costs_its_copy_alone() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    uv.answers(&[&wheel("cleat")], "");
    yard.write("requirements.txt", "cleat\n");
    yard.write("app.py", "RATE = 1\n");
    yard.write(".dockerignore", "Dockerfile\n");
    let parent = yard.at("demo/parent:1");
    yard.write(
        "Dockerfile",
        format!(
            "ARG BASE\nFROM ${{BASE:-{parent}}}\nARG RATE=2\nENV HOME_DIR=/srv RATE=$RATE\nWORKDIR $HOME_DIR/app\n\
             COPY requirements.txt .\nRUN pip install --no-cache-dir -r requirements.txt\n\
             COPY --chown=7:8 --chmod=640 app.py .\nRUN mkdir -p logs && chmod 750 logs && ln -s app.py main.py\n\
             EXPOSE 80\nUSER 7\nCMD [\"python\", \"app.py\"]\n"
        ),
    );
    let plan = done(run(&yard, "store", &uv, &["plan", "-f", "Dockerfile"]));
    assert!(how(&plan).iter().all(|(_, how)| how == "native"), "{plan}");
    assert!(!yard.requests().iter().any(|line| line.starts_with("PUT")), "a plan writes nothing");

    done(run(&yard, "store", &uv, &["build", "-f", "Dockerfile", "--build-arg", "RATE=3"]));
    let image = yard.pull("demo/app:latest").await;
    let app = image.file("srv/app/app.py").unwrap();
    assert_eq!((app.text(), app.mode, app.uid, app.gid), ("RATE = 1\n", 0o640, 7, 8));
    assert_eq!(image.file("srv/app/logs").unwrap().mode, 0o750);
    assert_eq!(image.of_kind("files").len(), 4, "the folder, two copies, and one for all of the last command");
    assert_eq!(image.file(&format!("{SITE}/cleat.py")).unwrap().text(), "1.0");
    assert_eq!(image.file(&format!("{SITE}/cleat-1.0.dist-info/INSTALLER")).unwrap().text(), "pip\n");
    let config = &image.config["config"];
    assert_eq!((&config["User"], &config["WorkingDir"]), (&json!("7"), &json!("/srv/app")));
    assert_eq!(config["ExposedPorts"], json!({"80/tcp": {}}));
    let variables = config["Env"].as_array().unwrap();
    assert!(variables.contains(&json!("RATE=3")) && variables.contains(&json!("HOME_DIR=/srv")), "{variables:?}");
    assert!(!variables.iter().any(|line| line.as_str().unwrap().contains("BASE")), "{variables:?}");
    assert!(image.file("app/pipeline.py").is_none(), "nothing is added that the file does not ask for");

    yard.requests();
    let again = done(run(&yard, "store", &uv, &["build", "-f", "Dockerfile", "--build-arg", "RATE=3"]));
    assert_eq!(again["reused"], true);
    assert_eq!(again["parent"]["digest"], plan["parent"]["digest"]);
    let requests = yard.requests();
    assert!(requests.len() <= 3, "the parent's tag and the target's: {requests:?}");

    yard.write("app.py", "RATE = 9\n");
    uv.asked();
    let edited = done(run(&yard, "other-machine", &uv, &["build", "-f", "Dockerfile", "--build-arg", "RATE=3"]));
    let built: Vec<&Value> =
        edited["layers"].as_array().unwrap().iter().filter(|layer| layer["action"] == "build").collect();
    assert_eq!(built.len(), 1, "{built:?}");
    assert_eq!(built[0]["title"], "/srv/app/app.py");
    assert_eq!(uv.asked(), "", "nobody chooses versions for an edit");
}

#[tokio::test(flavor = "multi_thread")]
async fn stages_are_built_as_far_as_they_are_needed_and_copied_from() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    uv.answers(&[&wheel("cleat")], "");
    yard.write("app.py", "RATE = 1\n");
    let parent = yard.at("demo/parent:1");
    yard.write(
        "Dockerfile",
        format!(
            "FROM {parent} AS builder\nRUN pip install --prefix=/install cleat\nFROM {parent} AS broken\nRUN make world\n\
             FROM scratch AS texts\nCOPY <<EOF /motto\nfair winds\nEOF\nFROM {parent}\n\
             COPY --from=builder /install /usr/local\nCOPY --from=texts /motto /etc/motto\nCOPY app.py /app/\n"
        ),
    );
    let plan = done(run(&yard, "store", &uv, &["plan", "-f", "Dockerfile"]));
    assert!(how(&plan).iter().all(|(_, how)| how == "native"), "{plan}");
    done(run(&yard, "store", &uv, &["build", "-f", "Dockerfile"]));
    let image = yard.pull("demo/app:latest").await;
    assert_eq!(image.file("usr/local/lib/python3.11/site-packages/cleat.py").unwrap().text(), "1.0");
    assert_eq!(image.file("etc/motto").unwrap().text(), "fair winds\n");
    assert!(image.file("install").is_none());
    done(run(&yard, "store", &uv, &["build", "-f", "Dockerfile", "--target", "texts"]));
    let texts = yard.pull("demo/app:latest").await;
    assert_eq!((texts.layers.len(), texts.file("motto").unwrap().mode), (1, 0o644));
    done(run(&yard, "store", &uv, &["build", "-f", "Dockerfile"]));
    uv.asked();
    for (rate, store) in ["store", "other-machine"].into_iter().enumerate() {
        yard.write("app.py", format!("RATE = 1{rate}\n"));
        let edited = done(run(&yard, store, &uv, &["build", "-f", "Dockerfile"]));
        let layers = edited["layers"].as_array().unwrap().iter();
        let built: Vec<&Value> =
            layers.filter(|layer| layer["action"] == "build").map(|layer| &layer["title"]).collect();
        assert_eq!(built, ["1 file of the context"]);
        assert_eq!(uv.asked(), "", "{store}: what a stage chose is known, though no image has its layers");
    }
    let anew = done(run(&yard, "third", &uv, &["build", "-f", "Dockerfile", "--upgrade"]));
    assert_ne!((uv.asked().as_str(), &anew["reused"]), ("", &json!(true)), "unless they are to be chosen anew");
    let elsewhere =
        std::fs::read_to_string(yard.project().join("Dockerfile")).unwrap().replace("/install", "/elsewhere");
    yard.write("Elsewhere", elsewhere);
    yard.requests();
    done(run(&yard, "fourth", &uv, &["build", "-f", "Elsewhere"]));
    let fetched: Vec<String> =
        yard.requests().into_iter().filter(|line| line.starts_with("GET /v2/demo/parent/blobs")).collect();
    let parent = yard.pull("demo/parent:1").await;
    let of_parent =
        |line: &String| parent.layers.iter().any(|layer| line.contains(layer.descriptor["digest"].as_str().unwrap()));
    assert!(!fetched.iter().any(of_parent), "what a stage made itself is not looked for in its parent: {fetched:?}");
    let unknown = run(&yard, "store", &uv, &["build", "-f", "Dockerfile", "--target", "nope"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.stderr.contains("no stage `nope`") && unknown.stderr.contains("`builder`"), "{}", unknown.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_not_known_names_its_line_and_its_reason_before_anything_is_moved() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    let parent = yard.at("demo/parent:1");
    for (line, reason) in [
        ("RUN make world", "it runs `make`"),
        ("RUN pip install -e .", "`/` has no `pyproject.toml`"),
        ("RUN echo $(date) > /date", "`RUN echo $(date) > /date` needs a backend"),
        ("ADD https://files.example/x /x", "needs a backend"),
    ] {
        yard.write("Dockerfile", format!("FROM {parent}\n{line}\n"));
        yard.requests();
        for command in ["plan", "build"] {
            let ran = run(&yard, "store", &uv, &[command, "-f", "Dockerfile"]);
            assert_eq!(ran.code, 1, "{}", ran.stderr);
            assert!(ran.stderr.contains(reason) && ran.stderr.contains("hint:"), "{}", ran.stderr);
        }
        assert!(!yard.requests().iter().any(|line| line.starts_with("PUT") || line.starts_with("POST")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_fetched_for_a_file_that_nobody_can_build() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    let parent = yard.at("demo/parent:1");
    yard.write("app.py", "RATE = 1\n");
    yard.write(
        "Dockerfile",
        format!("FROM {parent}\nWORKDIR /srv\nCOPY app.py .\nRUN pip install cleat\nRUN make world\nCMD [\"x\"]\n"),
    );
    let settings = json!({"settings": {"docker": {"dockerfile": "Dockerfile", "build_context_root": "."}}});
    yard.write("lapstrake.yaml", settings.to_string());
    for (arguments, because) in [
        (&["plan", "-f", "Dockerfile"][..], "no backend is at hand"),
        (&["build", "-f", "Dockerfile"], "no backend is at hand"),
        (&["build", "-f", "Dockerfile", "--refresh", "backend"], "no backend is at hand"),
        (&["build", "-f", "Dockerfile", "--backend", "none"], "backends are switched off"),
        (&["build"], "no backend is at hand"),
    ] {
        yard.requests();
        let ran = run(&yard, "store", &uv, arguments);
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        let told = "Dockerfile:5: `RUN make world` needs a backend: `make world`: it runs `make`";
        assert!(ran.stderr.contains(told) && ran.stderr.contains(because), "{}", ran.stderr);
        assert!(ran.stderr.contains("hint:"), "{}", ran.stderr);
        // Of the parent its digest is asked for, of the target whether it has anything.
        let is_look = |line: &String| {
            let of_target =
                ["GET /v2/demo/app/manifests/", "HEAD /v2/demo/app/manifests/", "GET /v2/demo/app/tags/list"];
            line == "HEAD /v2/demo/parent/manifests/1" || of_target.iter().any(|start| line.starts_with(start))
        };
        let requests = yard.requests();
        assert!(requests.iter().all(is_look), "{arguments:?}: {requests:?}");
        assert_eq!(uv.asked(), "");
    }
    // Who may have built it is asked of the repository, and by key.
    let pushed = yard.push_image("demo/app:lapstrake-segment-0", &[], b"{}").await;
    assert!(pushed.size > 0);
    for arguments in [&["plan", "-f", "Dockerfile"][..], &["build", "-f", "Dockerfile", "--backend", "none"]] {
        yard.requests();
        let ran = run(&yard, "store", &uv, arguments);
        let told = "Dockerfile:5: `RUN make world` needs a backend: `make world`: it runs `make`";
        assert!(ran.code == 1 && ran.stderr.contains(told) && ran.stderr.contains("hint:"), "{}", ran.stderr);
        let requests = yard.requests();
        let blobs: Vec<&String> = requests.iter().filter(|line| line.contains("/blobs/")).collect();
        assert!(blobs.len() <= 1, "the parent's config, and no layer: {blobs:?}");
        assert_eq!(uv.asked(), "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_file_is_told_with_its_place() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    let parent = yard.at("demo/parent:1");
    yard.write("requirements.txt", "cleat\n");
    for (line, code, told) in [
        ("COPI a b", 2, "Dockerfile:2:1"),
        ("COPY absent.txt /", 2, "Dockerfile:2: `COPY absent.txt /`"),
        ("COPY requirement.txt /", 2, "there is `requirements.txt`"),
        ("EXPOSE x", 2, "`x` is no port"),
        ("STOPSIGNAL SIGNOPE", 2, "`SIGNOPE` is no signal"),
        ("ENV A=${", 2, "Dockerfile:2"),
    ] {
        yard.write("Dockerfile", format!("FROM {parent}\n{line}\n"));
        let ran = run(&yard, "store", &uv, &["build", "-f", "Dockerfile"]);
        assert_eq!(ran.code, code, "{line}: {}", ran.stderr);
        assert!(ran.stderr.contains(told), "{line}: {}", ran.stderr);
    }
    let ran = run(&yard, "store", &uv, &["build", "-f", "absent/Dockerfile"]);
    assert!(ran.code == 2 && ran.stderr.contains("cannot read `absent/Dockerfile`"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dockerfile_of_the_settings_is_assembled_when_nothing_in_it_needs_a_backend() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    let parent = yard.at("demo/parent:1");
    yard.write("Dockerfile", format!("FROM {parent}\nENV FROM_FILE=1\nRUN mkdir /below\n"));
    yard.write("lapstrake.yaml", json!({"settings": {"docker": {"dockerfile": "Dockerfile"}}}).to_string());
    let plan = done(run(&yard, "store", &uv, &["plan"]));
    assert_eq!(how(&plan), [(2, "native".into()), (3, "native".into())]);
    done(run(&yard, "store", &uv, &["build"]));
    let image = yard.pull("demo/app:latest").await;
    assert!(image.file("below").is_some() && image.file("app/pipeline.py").is_some());
    assert!(image.config["config"]["Env"].as_array().unwrap().contains(&json!("FROM_FILE=1")));
    assert_eq!(done(run(&yard, "other-machine", &uv, &["build"]))["reused"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_reach_requirement_files_and_nothing_else() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    uv.answers(&[&wheel("cleat")], "");
    let parent = yard.at("demo/parent:1");
    yard.write("requirements.txt", "--extra-index-url https://me:${TOKEN}@index.example/simple\ncleat\n");
    yard.write("token.txt", "s3cret");
    yard.write(
        "Dockerfile",
        format!(
            "FROM {parent}\nRUN --mount=type=secret,id=token,env=TOKEN,required=true \\\n\
             --mount=type=bind,source=requirements.txt,target=/tmp/r.txt pip install -r /tmp/r.txt\n"
        ),
    );
    let without = run(&yard, "store", &uv, &["build", "-f", "Dockerfile"]);
    assert!(without.code == 2 && without.stderr.contains("`token` is required"), "{}", without.stderr);
    let ran = run(&yard, "store", &uv, &["build", "-f", "Dockerfile", "--secret", "id=token,src=token.txt"]);
    assert!(!ran.stdout.contains("s3cret") && !ran.stderr.contains("s3cret"), "{}", ran.stderr);
    done(ran);
    assert!(uv.asked().contains("https://me:s3cret@index.example/simple"), "the index wants it");
    let image = yard.pull("demo/app:latest").await;
    assert!(!image.config.to_string().contains("s3cret") && !image.manifest.to_string().contains("s3cret"));
    assert!(image.file("tmp/r.txt").is_none(), "a mount leaves nothing");
}

/// Builds a file with one installation that is given the secret `pip`.
fn with_secret(yard: &Yard, uv: &FakeUv<'_>, (mount, command): (&str, &str), conf: &str) -> Ran {
    yard.write("pip.conf", conf);
    let parent = yard.at("demo/parent:1");
    let mount = format!("--mount=type=secret,id=pip,required=true{mount}");
    yard.write("Dockerfile", format!("FROM {parent}\nRUN {mount} {command}\n"));
    uv.asked();
    let arguments = ["build", "-f", "Dockerfile", "--no-cache", "--secret", "id=pip,src=pip.conf"];
    let ran = run(yard, "store", uv, &arguments);
    assert!(!ran.stdout.contains("s3cret") && !ran.stderr.contains("s3cret"), "{}{}", ran.stdout, ran.stderr);
    ran
}

#[tokio::test(flavor = "multi_thread")]
async fn pips_settings_are_a_secret_that_reaches_the_resolver_and_nothing_else() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    uv.answers(&[&wheel("cleat")], "");
    let conf = "[global]\nindex-url = https://me:s3cret@index.example/team/simple\ntimeout = 9\n";
    let url = "https://me:s3cret@index.example/team/simple";
    let install = "pip install cleat";
    for (mount, command, conf, asked) in [
        (",target=/etc/pip.conf", install, conf, "--index-url https://me:s3cret@index.example/team/simple"),
        (",target=/root/.pip/pip.conf", install, conf, "--index-url https://me:s3cret@"),
        (",target=/root/.config/pip/pip.conf", install, conf, "--index-url https://me:s3cret@"),
        ("", "PIP_CONFIG_FILE=/run/secrets/pip pip install cleat", conf, "--index-url https://me:s3cret@"),
        (",env=PIP_INDEX_URL", install, url, "--index-url https://me:s3cret@"),
        (",env=PIP_EXTRA_INDEX_URL", install, url, "--extra-index-url https://me:s3cret@"),
        (",env=UV_DEFAULT_INDEX", "uv pip install --system cleat", url, "--index-url https://me:s3cret@"),
    ] {
        done(with_secret(&yard, &uv, (mount, command), conf));
        assert!(uv.asked().contains(asked), "{mount}");
        let image = yard.pull("demo/app:latest").await;
        assert!(!image.config.to_string().contains("s3cret") && !image.manifest.to_string().contains("s3cret"));
        assert!(image.file("etc/pip.conf").is_none() && image.file(&format!("{SITE}/cleat.py")).is_some(), "{mount}");
    }
    done(with_secret(&yard, &uv, (",target=/etc/pip.conf", "pip install -i https://other.example/simple cleat"), conf));
    assert!(!uv.asked().contains("index.example/team"), "the line's own index counts");
    let in_path = "[global]\nindex-url = https://index.example/s3cret/simple\n";
    for (mount, command, conf, told) in [
        (",target=/etc/pip.conf", install, in_path, "an address in it may be the secret itself"),
        (",target=/etc/pip.conf", install, "[global]\nproxy = s3cret\n", "the setting on its line 2 is not known"),
        (",target=/etc/pip.conf", install, "s3cret\n", "its line 1 is no setting"),
        (",target=/srv/pip.conf", install, conf, "it reads the secret `pip`"),
        (",env=PIP_PROXY", install, conf, "it reads the secret `pip`"),
        (
            ",target=/etc/pip.conf",
            "pip install --extra-index-url https://o.example cleat",
            &conf.replace("index-url", "extra-index-url"),
            "`--extra-index-url` is given by a secret and besides",
        ),
    ] {
        let ran = with_secret(&yard, &uv, (mount, command), conf);
        assert!(ran.code == 1 && ran.stderr.contains(told), "{mount}: {}", ran.stderr);
    }
    let without = run(&yard, "store", &uv, &["build", "-f", "Dockerfile"]);
    assert!(without.code == 2 && without.stderr.contains("`pip` is required"), "{}", without.stderr);
    let parent = yard.at("demo/parent:1");
    for (home, told) in [("/srv/home", "settings of the installer"), ("/srv", "")] {
        let text = "FROM PARENT\nCOPY pip.conf /srv/home/.config/pip/pip.conf\nENV HOME=HOME\nRUN pip install cleat\n";
        yard.write("Dockerfile", text.replace("PARENT", &parent).replace("=HOME", &format!("={home}")));
        let ran = run(&yard, "store", &uv, &["build", "-f", "Dockerfile"]);
        assert_eq!(
            (ran.code, ran.stderr.contains(told)),
            (i32::from(!told.is_empty()), true),
            "{home}: {}",
            ran.stderr
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_counts_the_bytes_that_copies_then_fetch() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    let (parent, origin) = (yard.at("demo/parent:1"), yard.at("demo/origin:1"));
    yard.push_parent_with("demo/origin:1", &[("etc/motto", "fair winds\n"), ("etc/other", "x")], |_| {}).await;
    yard.write(
        "Dockerfile",
        format!("FROM {parent}\nCOPY --from={origin} /etc/motto /a\nCOPY --from={origin} /etc/other /b\n"),
    );
    let plan = done(run(&yard, "store", &uv, &["plan", "-f", "Dockerfile"]));
    let origin = yard.pull("demo/origin:1").await;
    let of_origin = origin.manifest["layers"].as_array().unwrap();
    assert_eq!(plan["bytes"]["downloaded"], json!(of_origin[1]["size"].as_u64().unwrap() * 2), "a layer a line");
    yard.requests();
    done(run(&yard, "store", &uv, &["build", "-f", "Dockerfile"]));
    let requests = yard.requests();
    let gets = requests.iter().filter(|line| line.starts_with("GET /v2/demo/origin/blobs/"));
    let size = |line: &String| {
        let found = of_origin.iter().find(|layer| line.contains(layer["digest"].as_str().unwrap()));
        found.map_or(0, |layer| layer["size"].as_u64().unwrap())
    };
    assert_eq!(json!(gets.map(size).sum::<u64>()), plan["bytes"]["downloaded"], "{requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_of_a_parent_that_was_made_here_stay_the_parents() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    uv.answers(&[&wheel("cleat")], "");
    yard.write("app.py", "RATE = 1\n");
    yard.write("Dockerfile.base", format!("FROM {}\nRUN pip install cleat\n", yard.at("demo/parent:1")));
    done(run(&yard, "store", &uv, &["build", "-f", "Dockerfile.base"]));
    let base = yard.pull("demo/app:latest").await;
    let base = yard.at(&format!("demo/app@{}", base.digest));
    uv.answers(&[&wheel("davit")], "");
    yard.write("Dockerfile", format!("FROM {base}\nRUN pip install davit\nCOPY app.py /app/\n"));
    done(run(&yard, "store", &uv, &["build", "-f", "Dockerfile"]));
    let first = yard.pull("demo/app:latest").await;
    yard.write("app.py", "RATE = 2\n");
    done(run(&yard, "other-machine", &uv, &["build", "-f", "Dockerfile"]));
    let edited = yard.pull("demo/app:latest").await;
    let (last, before) = (edited.layer_digests(), first.layer_digests());
    assert_eq!((last.len(), &last[..last.len() - 1]), (before.len(), &before[..before.len() - 1]));
    assert!(edited.file(&format!("{SITE}/cleat.py")).is_some() && edited.file(&format!("{SITE}/davit.py")).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_trigger_of_the_parent_copies_is_copied_anew_when_it_changed() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    yard.write("app.py", "RATE = 1\n");
    yard.write("Dockerfile.base", format!("FROM {}\nONBUILD COPY app.py /app/\n", yard.at("demo/parent:1")));
    done(run(&yard, "store", &uv, &["build", "-f", "Dockerfile.base"]));
    let base = yard.pull("demo/app:latest").await;
    assert!(base.file("app/app.py").is_none());
    yard.write("Dockerfile", format!("FROM {}\nENV A=1\n", yard.at(&format!("demo/app@{}", base.digest))));
    for text in ["RATE = 1\n", "RATE = 2\n"] {
        yard.write("app.py", text);
        done(run(&yard, "store", &uv, &["build", "-f", "Dockerfile"]));
        let image = yard.pull("demo/app:latest").await;
        assert_eq!(image.file("app/app.py").unwrap().text(), text);
        assert!(image.config["config"]["OnBuild"].is_null(), "triggers are not handed on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_command_makes_and_the_next_removes_is_in_no_layer() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    let parent = yard.at("demo/parent:1");
    yard.write(
        "Dockerfile",
        format!(
            "FROM {parent}\nRUN mkdir -p /d/e && touch /d/e/f /d/g && chmod 700 /d/e && rm -r /d/e && mkdir /d/e && \\\n\
             ln -s g /d/h && rm /d/h && touch /d/h && chown 7:8 /d/h\nRUN rm -r /d/e && touch /d/e\n"
        ),
    );
    done(run(&yard, "store", &uv, &["build", "-f", "Dockerfile"]));
    let image = yard.pull("demo/app:latest").await;
    let layers = image.of_kind("files");
    let names: Vec<Vec<&str>> = layers.iter().map(|layer| layer.files.keys().map(String::as_str).collect()).collect();
    assert_eq!(names, [vec!["d", "d/e", "d/g", "d/h"], vec!["d", "d/e"]], "{names:?}");
    let last = image.file("d/h").unwrap();
    assert_eq!((last.uid, last.gid, last.text()), (7, 8, ""));
    assert_eq!(layers[0].files["d/e"].mode, 0o755, "the folder that was made anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_has_the_file_itself_and_nothing_of_the_settings() {
    let yard = Yard::with_ledger().await;
    let uv = FakeUv::new(&yard);
    uv.answers(&[&wheel("cleat")], "");
    yard.write("requirements.txt", "cleat\n");
    let text =
        format!("FROM {}\nCOPY requirements.txt /\nRUN pip install -r /requirements.txt\n", yard.at("demo/parent:1"));
    yard.write("Dockerfile", &text);
    let ran = run(&yard, "store", &uv, &["build", "-f", "Dockerfile"]);
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    let build = serde_json::from_str::<Value>(&ran.stdout).unwrap()["build"].as_str().unwrap().to_owned();
    let shown: Ran =
        yard.command("store").args(["--format", "json", "builds", "show", &build]).output().unwrap().into();
    assert!(shown.stdout.contains(&json!(text).to_string()), "{}", shown.stdout);
}
