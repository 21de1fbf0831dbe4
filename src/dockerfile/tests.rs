//! The language as a whole: text in, typed instructions or an error with its place out.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::diagnostic::{Class, Diagnose};

/// What the instructions below `FROM x` say.
fn kinds(text: &str) -> Vec<InstructionKind> {
    let text = format!("FROM x\n{text}");
    let mut dockerfile = Dockerfile::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    dockerfile.stages.remove(0).instructions.into_iter().map(|instruction| instruction.kind).collect()
}

fn kind(text: &str) -> InstructionKind {
    let mut kinds = kinds(text);
    assert_eq!(kinds.len(), 1, "{text}");
    kinds.remove(0)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn shell(text: &str) -> Command {
    Command::Shell(text.to_owned())
}

fn document(name: &str, content: &str, expand: bool) -> HereDocument {
    HereDocument { name: name.to_owned(), content: content.to_owned(), expand }
}

/// What is wrong with a text, and what to do.
fn refusal(text: &str) -> String {
    let error = Dockerfile::parse(text).expect_err(text);
    assert_eq!(error.class(), Class::Usage);
    format!("{error}\n{}", error.hint().unwrap_or_default())
}

#[test]
fn a_file_is_directives_arguments_and_stages() {
    let text = "\u{feff}# syntax=docker/dockerfile:1 and more\r\n# Escape = `\r\n# check=skip=all\r\n\r\n\
                ARG TAG=3.12 OTHER\r\n\
                FROM --platform=$BUILDPLATFORM python:${TAG} AS Base\r\n\
                RUN a `\r\n  # aside\r\n\r\n  b\\\r\n\
                from base\r\nUSER me\r\n";
    let dockerfile = Dockerfile::parse(text).unwrap();
    let directives =
        Directives { syntax: Some("docker/dockerfile:1".to_owned()), escape: '`', check: Some("skip=all".to_owned()) };
    assert_eq!(dockerfile.directives, directives);
    let args: Vec<_> =
        dockerfile.args.iter().map(|arg| (arg.lines.first, &*arg.name, arg.default.as_deref())).collect();
    assert_eq!(args, [(5, "TAG", Some("3.12")), (5, "OTHER", None)]);
    let [first, second] = &dockerfile.stages[..] else { panic!("two stages") };
    assert_eq!((&*first.base, first.platform.as_deref()), ("python:${TAG}", Some("$BUILDPLATFORM")));
    assert_eq!((first.name.as_deref(), first.lines), (Some("base"), Lines { first: 6, last: 6 }));
    assert_eq!(first.text, "FROM --platform=$BUILDPLATFORM python:${TAG} AS Base");
    let [run] = &first.instructions[..] else { panic!("one instruction") };
    assert_eq!(run.lines, Lines { first: 7, last: 10 });
    assert_eq!(run.text, "RUN a `\r\n  # aside\r\n\r\n  b\\");
    assert!(matches!(&run.kind, InstructionKind::Run(run) if run.command == shell("a   b\\")));
    assert_eq!((&*second.base, second.lines.first, second.name.as_deref()), ("base", 11, None));
    assert_eq!(second.instructions[0].kind, InstructionKind::User("me".to_owned()));
}

#[test]
fn directives_end_with_the_first_line_that_is_none() {
    for (text, syntax, escape) in [
        ("FROM x\n# escape=`\n", None, '\\'),
        ("# a comment\n# escape=`\nFROM x", None, '\\'),
        ("\n# escape=`\nFROM x", None, '\\'),
        ("#!/usr/bin/env docker\n# syntax=a b\nFROM x", Some("a"), '\\'),
        ("# syntax=a\n  # escape=`\nFROM x", Some("a"), '`'),
    ] {
        let read = Dockerfile::parse(text).unwrap().directives;
        assert_eq!((read.syntax.as_deref(), read.escape), (syntax, escape), "{text}");
    }
}

#[test]
fn plain_instructions_keep_their_words() {
    use InstructionKind as Kind;
    let optional = |pairs: &[(&str, Option<&str>)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect::<Vec<_>>()
    };
    for (text, expected) in [
        ("ENV A=1 B=\"x y\" C=a\\ b", Kind::Env(pairs(&[("A", "1"), ("B", "\"x y\""), ("C", "a\\ b")]))),
        ("env A  b  'c d' ", Kind::Env(pairs(&[("A", "b  'c d'")]))),
        ("ENV A=b=c D=", Kind::Env(pairs(&[("A", "b=c"), ("D", "")]))),
        ("LABEL \"a b\"=c", Kind::Label(pairs(&[("\"a b\"", "c")]))),
        ("ARG A B=1 C=", Kind::Arg(optional(&[("A", None), ("B", Some("1")), ("C", Some(""))]))),
        ("WORKDIR /a b ", Kind::Workdir("/a b".to_owned())),
        ("USER 1000:1000", Kind::User("1000:1000".to_owned())),
        ("EXPOSE 80/tcp\t443  22", Kind::Expose(words(&["22", "443", "80/tcp"]))),
        ("VOLUME /a /b", Kind::Volume(words(&["/a", "/b"]))),
        ("VOLUME [\"/a b\", \" /c \"]", Kind::Volume(words(&["/a b", "/c"]))),
        ("STOPSIGNAL --x SIGINT", Kind::StopSignal("SIGINT".to_owned())),
        ("SHELL [\"bash\", \"-c\"]", Kind::Shell(words(&["bash", "-c"]))),
        ("MAINTAINER A <a@b.test>", Kind::Maintainer("A <a@b.test>".to_owned())),
        ("CMD", Kind::Cmd(shell(""))),
        ("CMD []", Kind::Cmd(Command::Exec(Vec::new()))),
        ("CMD [ \"a\" , \"b\\n\\u00e9\" ]", Kind::Cmd(Command::Exec(words(&["a", "b\né"])))),
        ("CMD ['a']", Kind::Cmd(shell("['a']"))),
        ("CMD [\"a\"] b", Kind::Cmd(shell("[\"a\"] b"))),
        ("ENTRYPOINT exec  a", Kind::Entrypoint(shell("exec  a"))),
        ("HEALTHCHECK none", Kind::Healthcheck(Healthcheck::None)),
    ] {
        assert_eq!(kind(text), expected, "{text}");
    }
}

#[test]
fn a_healthcheck_has_durations() {
    let text = "HEALTHCHECK --interval=1m30s --timeout=0 --start-period=500ms --retries=3 CMD [\"a\"]";
    let expected = Healthcheck::Check {
        command: Command::Exec(words(&["a"])),
        interval: Some(Duration::from_secs(90)),
        timeout: None,
        start_period: Some(Duration::from_millis(500)),
        start_interval: None,
        retries: Some(3),
    };
    assert_eq!(kind(text), InstructionKind::Healthcheck(expected));
    let InstructionKind::Healthcheck(Healthcheck::Check { command, .. }) = kind("HEALTHCHECK CMD a b") else {
        panic!("a check");
    };
    assert_eq!(command, shell("a b"));
}

#[test]
fn copies_have_flags_and_documents() {
    let text = "COPY --from=base --chown=a:b --chmod=755 --link --parents --exclude=*.py --exclude=\"a b\" x y /z/";
    let expected = Copy {
        sources: words(&["x", "y"]),
        destination: "/z/".to_owned(),
        from: Some("base".to_owned()),
        chown: Some("a:b".to_owned()),
        chmod: Some("755".to_owned()),
        link: true,
        parents: true,
        exclude: words(&["*.py", "a b"]),
        ..Copy::default()
    };
    assert_eq!(kind(text), InstructionKind::Copy(expected));
    let text = "ADD --link=false --keep-git-dir=true --checksum=sha256:1 --unpack=false [\"a b\", \"/c d\"]";
    let expected = Copy {
        sources: words(&["a b"]),
        destination: "/c d".to_owned(),
        keep_git_dir: true,
        checksum: Some("sha256:1".to_owned()),
        unpack: Some(false),
        ..Copy::default()
    };
    assert_eq!(kind(text), InstructionKind::Add(expected));
    let text = "COPY <<a.txt plain <<-\"b\" /to/\n$A\n\nFROM no\na.txt\n\t\tx\n\ty\n\tb\nUSER me";
    let expected = Copy {
        sources: words(&["plain"]),
        documents: vec![document("a.txt", "$A\n\nFROM no\n", true), document("b", "x\ny\n", false)],
        destination: "/to/".to_owned(),
        ..Copy::default()
    };
    assert_eq!(kinds(text), [InstructionKind::Copy(expected), InstructionKind::User("me".to_owned())]);
}

#[test]
fn a_run_has_mounts_and_documents() {
    let text = "RUN --mount=type=cache,target=/root/.cache --mount=type=secret,id=s --network=none \\\n  --security=sandbox \
                --device=gpu \\\n  # why\n  a && \\\n  b";
    let InstructionKind::Run(run) = kind(text) else { panic!("a run") };
    assert_eq!(run.command, shell("a &&   b"));
    assert_eq!((run.network.as_deref(), run.security.as_deref()), (Some("none"), Some("sandbox")));
    let mounts: Vec<_> =
        run.mounts.iter().map(|mount| (mount.kind, mount.target.as_deref(), mount.id.as_deref())).collect();
    assert_eq!(mounts, [(MountKind::Cache, Some("/root/.cache"), None), (MountKind::Secret, None, Some("s"))]);
    assert_eq!(run.devices, ["gpu"]);
}

#[test]
fn what_a_run_starts_depends_on_its_documents() {
    let script = |text: &str| match kind(text) {
        InstructionKind::Run(run) => match run.script() {
            Script::Words(words) => format!("words {}", words.join("|")),
            Script::Shell(text) => format!("shell {text}"),
            Script::File { name, content } => format!("file {name} {content}"),
        },
        other => panic!("{other:?}"),
    };
    for (text, expected) in [
        ("RUN [\"a\", \"b c\"]", "words a|b c"),
        ("RUN a <b", "shell a <b"),
        ("RUN <<EOF\na\nb\nEOF", "shell a\nb\n"),
        ("RUN <<-'EOF'\n\ta\n\tEOF", "shell a\n"),
        ("RUN 3<<EOF\n#!/usr/bin/env python\nx\nEOF", "file EOF #!/usr/bin/env python\nx\n"),
        ("RUN cat <<A > /a && <<B cat\n1\nA\n2\nB", "shell cat <<A > /a && <<B cat\n1\nA\n2\nB"),
        ("RUN cat << \"A B\"\n1\nA B", "shell cat << \"A B\"\n1\nA B"),
        ("RUN echo \"<<EOF\" cat<<EOF", "shell echo \"<<EOF\" cat<<EOF"),
        ("RUN [\"<<EOF\"]", "words <<EOF"),
    ] {
        assert_eq!(script(text), expected, "{text}");
    }
}

#[test]
fn a_trigger_is_read_and_keeps_the_text_that_the_configuration_has() {
    let text = "onbuild  RUN --network=none \\\n  cat <<EOF\nx\nEOF";
    let InstructionKind::OnBuild(trigger) = kind(text) else { panic!("a trigger") };
    assert_eq!(trigger.text, "RUN --network=none   cat <<EOF\nx\nEOF");
    let InstructionKind::Run(run) = &trigger.kind else { panic!("a run") };
    assert_eq!((&run.command, run.documents.len()), (&shell("cat <<EOF"), 1));
}

#[test]
fn fields_are_expanded_where_buildkit_expands_them() {
    let value = |name: &str| match name {
        "A" => Some("a".to_owned()),
        "TWO" => Some("1 2".to_owned()),
        _ => None,
    };
    for (text, expected) in [
        ("ENV X$A=\"$A $NO\"", "ENV Xa='a '"),
        ("LABEL $A='$A'", "LABEL a='$A'"),
        ("WORKDIR /$A/'b c'", "WORKDIR /a/b c"),
        ("USER ${A:-x}", "USER a"),
        ("STOPSIGNAL $A", "STOPSIGNAL a"),
        ("VOLUME [\"/$A b\"]", "VOLUME /a b"),
        ("EXPOSE $TWO 80", "EXPOSE 1 2 80"),
        ("ARG X=$A", "ARG X=$A"),
        ("CMD $A", "CMD $A"),
        ("COPY --chown=$A --chmod=$A --exclude=$A $A /$A", "COPY a /a a a $A"),
        ("ADD --checksum=$A $A /$A", "ADD a /a a"),
        ("COPY <<X <<'Y' /\n\"$A\"\nX\n$A\nY", "COPY / \"a\"\n $A\n"),
        ("RUN --mount=type=cache,target=/$A echo $A", "RUN echo $A /a"),
    ] {
        assert_eq!(shown(&kind(text).expanded('\\', &value).unwrap()), expected, "{text}");
    }
    let instruction =
        Dockerfile::parse("FROM x\n\nENV A=1 \\\n  B=${A:?none}").unwrap().stages.remove(0).instructions.remove(0);
    let error = instruction.kind.expanded('\\', &|_| None).unwrap_err();
    insta::assert_snapshot!(instruction.failed(error), @r#"
    4:5: `${A:?none}` cannot be expanded: `A` is not set: none
      4 |   B=${A:?none}
        |     ^^^^^^^^^^
    "#);
}

/// The parts of an instruction that expansion may change.
fn shown(kind: &InstructionKind) -> String {
    use InstructionKind as Kind;
    let joined =
        |pairs: &[(String, String)]| pairs.iter().map(|(name, value)| format!("{name}='{value}'")).collect::<Vec<_>>();
    match kind {
        Kind::Env(pairs) => format!("ENV {}", joined(pairs).join(" ")),
        Kind::Label(pairs) => format!("LABEL {}", joined(pairs).join(" ")),
        Kind::Workdir(path) => format!("WORKDIR {path}"),
        Kind::User(user) => format!("USER {user}"),
        Kind::StopSignal(signal) => format!("STOPSIGNAL {signal}"),
        Kind::Volume(paths) => format!("VOLUME {}", paths.join(" ")),
        Kind::Expose(ports) => format!("EXPOSE {}", ports.join(" ")),
        Kind::Arg(args) => format!("ARG {}={}", args[0].0, args[0].1.as_deref().unwrap_or_default()),
        Kind::Cmd(Command::Shell(text)) => format!("CMD {text}"),
        Kind::Copy(copy) | Kind::Add(copy) => {
            let keyword = if matches!(kind, Kind::Add(_)) { "ADD" } else { "COPY" };
            let documents = copy.documents.iter().map(|document| document.content.clone());
            let flags = [&copy.chown, &copy.chmod, &copy.checksum].into_iter().flatten().cloned();
            let parts = copy.sources.iter().cloned().chain([copy.destination.clone()]).chain(documents).chain(flags);
            let parts: Vec<String> = parts.chain(copy.exclude.iter().cloned()).collect();
            format!("{keyword} {}", parts.join(" "))
        }
        Kind::Run(Run { command: Command::Shell(text), mounts, .. }) => {
            format!("RUN {text} {}", mounts[0].target.as_deref().unwrap_or_default())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn errors_name_the_place_and_a_cure() {
    insta::assert_snapshot!(refusal("# c\n\nFROM x\nRUN a && \\\n  b\nRNU\tpip install x"), @r#"
    6:1: `RNU` is not an instruction
      6 | RNU	pip install x
        | ^^^
    did you mean `RUN`?
    "#);
    insta::assert_snapshot!(refusal("FROM x\nCOPY --form=base \\\n  --chwon=1 a b"), @r#"
    2:6: `--form` is not a flag of `COPY`
      2 | COPY --form=base \
        |      ^^^^^^
    did you mean `--from`?
    "#);
    insta::assert_snapshot!(refusal("FROM x\nCOPY a \\\n  --from=base <<EOF /x\nhello"), @r#"
    3:17: the here-document `EOF` has no end
      3 |   --from=base <<EOF /x
        |                 ^^^
    end it with a line that holds `EOF` alone
    "#);
    insta::assert_snapshot!(refusal("FROM x\nRUN --mount=type=cash,target=/x a"), @r#"
    2:13: `--mount=type=cash,target=/x`: `type` cannot be `cash`
      2 | RUN --mount=type=cash,target=/x a
        |             ^^^^^^^^^^^^^^^^^^^
    did you mean `cache`?
    "#);
    insta::assert_snapshot!(refusal("FROM x\nENV A=1 \\\n    B C=2"), @r#"
    3:5: `B` is not of the form `name=value`
      3 |     B C=2
        |     ^
    put values with blanks into quotes, or write `B=...`
    "#);
    insta::assert_snapshot!(refusal("FROM x\nHEALTHCHECK --interval=30 CMD a"), @r#"
    2:24: the flag `--interval` cannot be `30`
      2 | HEALTHCHECK --interval=30 CMD a
        |                        ^^
    write a duration of a millisecond or more, such as `30s`, `1m30s` or `500ms`
    "#);
    let chown = "1".repeat(90);
    insta::assert_snapshot!(refusal(&format!("FROM x\nCOPY --chown={chown} --link=maybe a b")), @r#"
    2:112: the flag `--link` cannot be `maybe`
      2 | 111111111111111111111111111111111111111111 --link=maybe a b
        |                                                   ^^^^^
    write `true` or `false`
    "#);
    insta::assert_snapshot!(refusal(&format!("FROM x\nLABEL {}\u{1b}[0m", "a=b ".repeat(60))), @r#"
    2:247: `�[0m` is not of the form `name=value`
      2 | b a=b a=b a=b a=b a=b a=b a=b a=b a=b a=b a=b a=b �[0m
        |                                                   ^^^^
    put values with blanks into quotes, or write `�[0m=...`
    "#);
}

#[test]
fn every_condition_is_refused() {
    for (text, expected) in [
        ("", "file has no instructions"),
        ("# only a comment\n\n", "file has no instructions"),
        ("ARG A=1", "file has no `FROM`"),
        ("RUN a\nFROM x", "1:1: `RUN` stands before the first `FROM`"),
        ("# syntax=a\n# syntax=b\nFROM x", "2:3: the parser directive `syntax` stands twice"),
        ("# escape=x\nFROM x", "1:10: `x` cannot be the escape character"),
        ("FROM", "1:1: `FROM` is not of the form `FROM image` or `FROM image AS name`"),
        ("FROM x # why", "1:1: `FROM` is not of the form `FROM image` or `FROM image AS name`"),
        ("FROM x AS 1a", "1:11: `1a` cannot be the name of a stage"),
        ("FROM --platform x", "1:6: the flag `--platform` has no value"),
        ("FROM x\nENV A", "2:1: `ENV` has a name and no value"),
        ("FROM x\nENV", "2:1: `ENV` has no argument"),
        ("FROM x\nENV =a", "2:1: `ENV` has a value without a name"),
        ("FROM x\nLABEL a=b c", "2:11: `c` is not of the form `name=value`"),
        ("FROM x\nARG =a", "2:1: `ARG` has a value without a name"),
        ("FROM x\nCMD [\"a\", [\"b\"]]", "2:1: a JSON array of `CMD` holds something that is not a text"),
        ("FROM x\nSHELL bash -c", "2:1: `SHELL` is not a JSON array"),
        ("FROM x\nSHELL []", "2:1: `SHELL` has no argument"),
        ("FROM x\nCOPY a", "2:1: `COPY` has no destination"),
        ("FROM x\nADD [\"a\"]", "2:1: `ADD` has no destination"),
        ("FROM x\nCOPY a <<E\nE", "2:1: a here-document cannot be the destination of `COPY`"),
        ("FROM x\nCOPY --from=$A a b", "2:13: variables in `--from=$A` are not expanded"),
        ("FROM x\nCOPY --from=a --from=b a b", "2:6: the flag `--from` stands twice"),
        ("FROM x\nCOPY --link= a b", "2:6: the flag `--link` has no value"),
        ("FROM x\nADD --from=a a b", "2:5: `--from` is not a flag of `ADD`"),
        ("FROM x\nENV --a A=b", "2:5: `--a` is not a flag of `ENV`"),
        ("FROM x\nRUN --network=all a", "2:15: the flag `--network` cannot be `all`"),
        ("FROM x\nRUN <<EOF\na", "2:7: the here-document `EOF` has no end"),
        ("FROM x\nONBUILD", "2:1: `ONBUILD` has no argument"),
        ("FROM x\nONBUILD ONBUILD RUN a", "2:1: `ONBUILD` cannot be a trigger of `ONBUILD`"),
        ("FROM x\nONBUILD FROM a", "2:9: `FROM` cannot be a trigger of `ONBUILD`"),
        ("FROM x\nONBUILD RNU a", "2:9: `RNU` is not an instruction"),
        ("FROM x\nHEALTHCHECK", "2:1: `HEALTHCHECK` has no argument"),
        ("FROM x\nHEALTHCHECK NONE a", "2:1: `HEALTHCHECK NONE` takes no arguments"),
        ("FROM x\nHEALTHCHECK CMD", "2:1: `HEALTHCHECK CMD` has no command"),
        ("FROM x\nHEALTHCHECK a", "2:13: `HEALTHCHECK a` does not exist"),
        ("FROM x\nHEALTHCHECK --retries=-1 CMD a", "2:23: the flag `--retries` cannot be `-1`"),
        ("FROM x\nVOLUME [\" \"]", "2:1: `VOLUME` has an empty path"),
    ] {
        let error = Dockerfile::parse(text).expect_err(text).to_string();
        assert_eq!(error.lines().next(), Some(expected), "{text}");
    }
}

/// Pieces that lead into every corner of the language.
const PIECES: [&str; 64] = [
    "FROM x\n",
    "FROM x AS y\n",
    "RUN ",
    "COPY ",
    "ADD ",
    "ENV ",
    "LABEL ",
    "ARG ",
    "ONBUILD ",
    "HEALTHCHECK CMD ",
    "EXPOSE ",
    "SHELL ",
    "CMD ",
    "VOLUME ",
    "USER ",
    "WORKDIR ",
    "\n",
    "\r\n",
    " ",
    "\t",
    "\\\n",
    "`\n",
    "\\",
    "`",
    "# escape=`\n",
    "# syntax=a\n",
    "# c\n",
    "<<EOF",
    "<<-EOF",
    "<<'E'",
    "<<",
    "<",
    "EOF\n",
    "E\n",
    "\tEOF\n",
    "\"",
    "'",
    "$A",
    "${",
    "}",
    ":-",
    "#",
    "%",
    "/",
    "?",
    "*",
    "=",
    ",",
    "[",
    "]",
    "[\"a\", \"b\"]",
    "--mount=",
    "type=cache,target=/x",
    "--from=",
    "--",
    "--link",
    "a",
    "b=c",
    "\u{feff}",
    "ü",
    "\u{a0}",
    "\u{0}",
    "${A#*",
    "${A//a/",
];

fn any_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => prop::sample::select(PIECES.to_vec()).prop_map(str::to_owned),
        1 => "\\PC{0,8}",
    ];
    let text = prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat());
    (any::<bool>(), text).prop_map(|(begins, text)| if begins { format!("FROM x\n{text}") } else { text })
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_and_lines_are_those_of_the_file(text in any_text()) {
        let bare = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let lines: Vec<&str> = bare.split_inclusive('\n').collect();
        if let Ok(read) = read_nodes(&text) {
            let mut before = 0;
            for node in &read.nodes {
                prop_assert!(before < node.lines.first && node.lines.first <= node.lines.last);
                let range = lines[node.lines.first - 1..node.lines.last].concat();
                prop_assert_eq!(&node.text, range.trim_end_matches(['\r', '\n']));
                prop_assert!(node.joined.trim_start().starts_with(&node.keyword));
                before = node.lines.last;
            }
        }
        match Dockerfile::parse(&text) {
            Ok(dockerfile) => {
                let lookup = |name: &str| (name == "A").then(|| "a b/c".to_owned());
                for instruction in dockerfile.stages.iter().flat_map(|stage| &stage.instructions) {
                    if let Err(error) = instruction.kind.expanded(dockerfile.directives.escape, &lookup) {
                        let error = instruction.failed(error);
                        prop_assert!((instruction.lines.first..=instruction.lines.last).contains(&error.line));
                        prop_assert!(!error.to_string().is_empty());
                    }
                }
            }
            Err(error) => prop_assert!(error.line <= lines.len() && !error.to_string().contains(|c: char| c.is_control() && c != '\n' && c != '\t')),
        }
    }
}
