//! How a script becomes words, and what a step remembers of it.
//!
//! Random scripts of the same pieces were read by dash, by the ash of busybox and by bash, and read alike.

use super::*;

#[test]
fn words_are_split_and_quoted_as_in_a_shell() {
    let table: [(&str, &[&str]); 24] = [
        (r#"mkdir a"b c"d"#, &["ab cd"]),
        (r#"mkdir 'a"b' "c'd""#, &["a\"b", "c'd"]),
        (r"mkdir a\ b \'c \\", &["a b", "'c", "\\"]),
        (r#"mkdir "a\ b\"\$VERSION\\\n""#, &["a\\ b\"$VERSION\\\\n"]),
        (r"mkdir 'a\b\'", &["a\\b\\"]),
        ("mkdir a\\\nb c\\\n d", &["ab", "c", "d"]),
        ("mkdir \"a\\\nb\" 'c\\\nd'", &["ab", "c\\\nd"]),
        ("mkdir \"a\nb\"", &["a\nb"]),
        ("mkdir a#b #c", &["a#b"]),
        ("mkdir a # b\n", &["a"]),
        ("mkdir $PACKAGES", &["flask", "gunicorn"]),
        ("mkdir \"$PACKAGES\"", &["flask  gunicorn"]),
        ("mkdir x${PACKAGES}y", &["xflask", "gunicorny"]),
        ("mkdir '$VERSION' \\$VERSION", &["$VERSION", "$VERSION"]),
        ("mkdir $VERSION.$VERSION ${VERSION}x", &["1.2.3.1.2.3", "1.2.3x"]),
        ("mkdir $QUOTED", &["'a", "b'"]),
        ("mkdir a$EMPTY $EMPTY ${UNSET}", &["a"]),
        ("mkdir ${UNSET-a} ${UNSET:-b} ${EMPTY:-c} d${EMPTY-e}", &["a", "b", "c", "d"]),
        ("mkdir ${VERSION:+a} b${UNSET+c} ${EMPTY+d} e${EMPTY:+f}", &["a", "b", "d", "e"]),
        ("mkdir ~ ~/a \"~\" '~/b' c~ \\~", &["/root", "/root/a", "~", "~/b", "c~", "~"]),
        ("A=~/x; B=\"$A y\"; mkdir \"$B\" $A", &["/root/x y", "/root/x"]),
        ("A='b c'; mkdir $A; A=d", &["b", "c"]),
        ("mkdir a!b =c 1 2>/dev/null", &["a!b", "=c", "1"]),
        ("mkdir é '$'x", &["é", "$x"]),
    ];
    for (line, expected) in table {
        let known = read(line).unwrap();
        let made: Vec<&String> = known
            .steps
            .iter()
            .flat_map(|step| match &step.does {
                RunStep::Mkdir { paths, .. } => paths.as_slice(),
                _ => &[],
            })
            .collect();
        assert_eq!(made, expected, "{line}");
    }
}

#[test]
fn patterns_outside_quotation_marks_are_told() {
    let table: [(&str, &[&str]); 5] = [
        ("pip install uvicorn[standard] 'a[b]' \"c[d]\"", &["uvicorn[standard]"]),
        ("pip install $EXTRAS", &["uvicorn[standard]"]),
        ("rm -rf $PATTERN /var/tmp/*", &["/tmp/*", "/var/tmp/*"]),
        ("rm -rf \"$PATTERN\" '/a/*' \\*", &[]),
        ("pip install numpy==1.*", &["numpy==1.*"]),
    ];
    for (line, expected) in table {
        let known = read(line).unwrap();
        let texts: Vec<&str> = known.steps[0].patterns.iter().map(Pattern::text).collect();
        assert_eq!(texts, expected, "{line}");
    }
}

#[test]
fn steps_remember_their_text_and_their_variables() {
    let line = "A=1; export B=2   C=3 && D=4 PATH=/x:$PATH pip   install \"a==$A\" ; pip install -i https://u:pw@h/s b";
    let known = read(line).unwrap();
    let commands: Vec<&str> = known.steps.iter().map(|step| step.command.as_str()).collect();
    let first = "D=4 PATH=/x:$PATH pip install \"a==$A\"";
    assert_eq!(commands, ["A=1", "export B=2 C=3", first, "pip install -i https://h/s b"]);
    let environment = |n: usize| known.steps[n].environment.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>();
    assert_eq!(environment(2), ["B=2", "C=3", "D=4", "PATH=/x:/usr/local/bin:/usr/bin:/bin"]);
    assert_eq!(environment(3), ["B=2", "C=3"]);
}
