use super::super::testing::WheelMaker;
use super::*;

fn scheme() -> InstallScheme {
    InstallScheme {
        interpreter: "/opt/venv/bin/python".into(),
        purelib: "/opt/venv/lib/python3.11/site-packages".into(),
        platlib: "/opt/venv/lib64/python3.11/site-packages".into(),
        scripts: "/opt/venv/bin".into(),
        include: "/opt/venv/include/site/python3.11".into(),
        data: "/opt/venv".into(),
    }
}

fn options() -> InstallOptions {
    InstallOptions {
        python_version: (3, 11),
        requested: true,
        direct_url: None,
        installer: "uv".into(),
        manner: Manner::default(),
    }
}

fn plan(maker: &WheelMaker) -> Result<Installation, WheelError> {
    Wheel::open(maker.build(), &maker.filename())?.plan_install(&scheme(), &options())
}

fn refusal(maker: &WheelMaker) -> String {
    plan(maker).unwrap_err().reason.to_string()
}

fn bytes<'a>(installation: &'a Installation, path: &str) -> &'a str {
    let file = installation.files.iter().find(|file| file.path.as_bytes() == path.as_bytes()).expect(path);
    match &file.source {
        Source::Bytes(content) => std::str::from_utf8(content).unwrap(),
        Source::Member(_) => panic!("`{path}` is a member"),
    }
}

#[test]
fn every_folder_of_a_wheel_goes_where_the_scheme_says() {
    let maker = WheelMaker::new("Al_pha", "1.0")
        .file("alpha/a,b.py", "x")
        .executable("alpha/tool", "x")
        .member("alpha/other", "x", 0o100_601)
        .folder("alpha/empty")
        .folder("alpha")
        .file("Al_pha-1.0.data/data/etc/x.conf", "x")
        .file("Al_pha-1.0.data/headers/sub/h.h", "x")
        .file("Al_pha-1.0.data/purelib/pure.py", "x")
        .file("Al_pha-1.0.data/platlib/plat.so", "x")
        .file("Al_pha-1.0.data/scripts/run", "#!pythonw -u\r\nprint(1)\n")
        .file("Al_pha-1.0.data/scripts/bin", "\x7fELF")
        .file("Al_pha-1.0.data/scripts/short", "#!python")
        .file("Al_pha-1.0.data/scripts/made-script.py", "never placed")
        .entry_points("[console_scripts]\nmade = alpha:main\n");
    let installation = plan(&maker).unwrap();
    let listed: Vec<String> = installation.files.iter().map(|file| format!("{:o} {}", file.mode, file.path)).collect();
    let site = "opt/venv/lib/python3.11/site-packages";
    let info = format!("{site}/Al_pha-1.0.dist-info");
    let expected = [
        "755 opt/venv/bin/bin".to_owned(),
        "755 opt/venv/bin/made".to_owned(),
        "755 opt/venv/bin/run".to_owned(),
        "755 opt/venv/bin/short".to_owned(),
        "644 opt/venv/etc/x.conf".to_owned(),
        "644 opt/venv/include/site/python3.11/al-pha/sub/h.h".to_owned(),
        format!("644 {info}/INSTALLER"),
        format!("644 {info}/METADATA"),
        format!("644 {info}/RECORD"),
        format!("644 {info}/REQUESTED"),
        format!("644 {info}/WHEEL"),
        format!("644 {info}/entry_points.txt"),
        format!("644 {site}/alpha/a,b.py"),
        format!("755 {site}/alpha/other"),
        format!("755 {site}/alpha/tool"),
        format!("644 {site}/pure.py"),
        "644 opt/venv/lib64/python3.11/site-packages/plat.so".to_owned(),
    ];
    assert_eq!(listed, expected);
    assert_eq!(installation.empty_folders, [EntryPath::parse(format!("{site}/alpha/empty")).unwrap()]);
    assert_eq!(bytes(&installation, "opt/venv/bin/run"), "#!/opt/venv/bin/python\nprint(1)\n");
    assert_eq!(bytes(&installation, "opt/venv/bin/short"), "#!/opt/venv/bin/python\n");
    let record = bytes(&installation, &format!("{info}/RECORD"));
    let paths: Vec<&str> = record.lines().map(|line| line.rsplitn(3, ',').last().unwrap()).collect();
    let expected = [
        "../../../bin/bin",
        "../../../bin/made",
        "../../../bin/run",
        "../../../bin/short",
        "../../../etc/x.conf",
        "../../../include/site/python3.11/al-pha/sub/h.h",
        "../../../lib64/python3.11/site-packages/plat.so",
        "Al_pha-1.0.data/scripts/made-script.py",
        "Al_pha-1.0.dist-info/INSTALLER",
        "Al_pha-1.0.dist-info/METADATA",
        "Al_pha-1.0.dist-info/RECORD",
        "Al_pha-1.0.dist-info/REQUESTED",
        "Al_pha-1.0.dist-info/WHEEL",
        "Al_pha-1.0.dist-info/entry_points.txt",
        "\"alpha/a,b.py\"",
        "alpha/other",
        "alpha/tool",
        "pure.py",
    ];
    assert_eq!(paths, expected);
    let run = "#!/opt/venv/bin/python\nprint(1)\n";
    let row = RecordRow::of("../../../bin/run".into(), run.as_bytes());
    assert!(record.contains(&format!("../../../bin/run,{},{}\n", row.hash.unwrap(), run.len())));
}

#[test]
fn files_of_the_installer_depend_on_the_options() {
    let maker = WheelMaker::new("a", "1").platlib();
    let wheel = Wheel::open(maker.build(), &maker.filename()).unwrap();
    let options = InstallOptions { requested: false, direct_url: Some("{}".into()), ..options() };
    let installation = wheel.plan_install(&scheme(), &options).unwrap();
    let info = "opt/venv/lib64/python3.11/site-packages/a-1.dist-info";
    assert_eq!(bytes(&installation, &format!("{info}/INSTALLER")), "uv");
    assert_eq!(bytes(&installation, &format!("{info}/direct_url.json")), "{}");
    assert!(!installation.files.iter().any(|file| file.path.file_name() == b"REQUESTED"));
}

#[test]
fn wheel_with_data_that_has_no_meaning_is_refused() {
    let maker = || WheelMaker::new("a", "1");
    assert!(refusal(&maker().file("a-1.data/unknown/x", "")).contains("none of the folders"));
    assert!(refusal(&maker().file("a-1.data/scripts/d/x", "")).contains("lies in a folder"));
    assert!(refusal(&maker().file("a-1.data/scripts/python3", "")).contains("reserved"));
    assert!(refusal(&maker().entry_points("[console_scripts]\n../x = a:b\n")).contains("no file name"));
    let both = maker().file("b", "").file("a-1.data/purelib/b/c", "");
    assert!(refusal(&both).contains("both a file and a folder"));
    let big = "#!python\n".to_owned() + &"x".repeat(17 << 20);
    assert!(refusal(&maker().file("a-1.data/scripts/big", big)).contains("more than"));
}

#[test]
fn later_file_of_a_path_wins_and_both_rows_stay() {
    let maker = WheelMaker::new("a", "1").file("m.py", "1").file("a-1.data/purelib/m.py", "22");
    let installation = plan(&maker).unwrap();
    let placed = installation.files.iter().find(|file| file.path.file_name() == b"m.py").unwrap();
    assert_eq!(placed.size, 2);
    let info = "opt/venv/lib/python3.11/site-packages/a-1.dist-info";
    assert_eq!(bytes(&installation, &format!("{info}/RECORD")).matches("m.py,").count(), 2);
}

#[test]
fn parts_hold_whole_folders_where_these_fit() {
    let maker = WheelMaker::new("a", "1")
        .file("a/one/x", "x".repeat(400))
        .file("a/one/y", "x".repeat(400))
        .file("a/three/x", "x".repeat(900))
        .file("a/two/x", "x".repeat(3000))
        .file("a/two/y", "x".repeat(300));
    let whole = plan(&maker).unwrap();
    assert_eq!(whole.clone().parts(1 << 20), std::slice::from_ref(&whole));
    let parts = whole.clone().parts(1000);
    let names = |part: &Installation| {
        let name = |file: &InstalledFile| {
            let path = file.path.to_string();
            path.split("site-packages/").last().unwrap().to_owned()
        };
        part.files.iter().map(name).filter(|name| name.starts_with("a/")).collect::<Vec<_>>()
    };
    let listed: Vec<Vec<String>> = parts.iter().map(names).filter(|names| !names.is_empty()).collect();
    assert_eq!(listed, [vec!["a/one/x", "a/one/y"], vec!["a/three/x"], vec!["a/two/x"], vec!["a/two/y"]]);
    let joined: Vec<InstalledFile> = parts.into_iter().flat_map(|part| part.files).collect();
    assert_eq!(joined, whole.files);
}

#[test]
fn installers_place_a_wheel_in_their_own_manner() {
    let maker = WheelMaker::new("pip", "1.0")
        .file("pip/__init__.py", "")
        .folder("pip/empty")
        .executable("pip/tool", "x")
        .file("pip-1.0.data/scripts/plain", "#!python\n")
        .entry_points("[console_scripts]\npip = pip:main\npip3 = pip:main\n");
    let placed = |manner: Manner, maker: &WheelMaker| {
        let options = InstallOptions { requested: false, manner, ..options() };
        Wheel::open(maker.build(), &maker.filename()).unwrap().plan_install(&scheme(), &options).unwrap()
    };
    let mode = |installation: &Installation, path: &str| {
        installation.files.iter().find(|file| file.path.as_bytes() == path.as_bytes()).map(|file| file.mode)
    };
    let folders = [Manner::Uv, Manner::Pip].map(|manner| placed(manner, &maker).empty_folders.len());
    assert_eq!(folders, [1, 0], "uv makes a folder in which nothing lies, and pip does not");
    let poetry = placed(Manner::Poetry, &maker);
    assert_eq!((poetry.empty_folders.len(), mode(&poetry, "opt/venv/bin/plain")), (0, Some(0o644)));
    assert!(bytes(&poetry, "opt/venv/bin/pip").contains("\nfrom pip import main\nif __name__ == \"__main__\":\n"));

    let maker = WheelMaker::new("pip", "1.0")
        .file("pip/__init__.py", "")
        .executable("pip/tool", "x")
        .entry_points("[console_scripts]\npip = pip:main\npip3 = pip:main\n");
    let made = placed(Manner::Virtualenv, &maker);
    let site = "opt/venv/lib/python3.11/site-packages";
    assert_eq!(mode(&made, &format!("{site}/pip/tool")), Some(0o644), "unpacked without its bits");
    for name in ["pip", "pip3", "pip3.11", "pip-3.11"] {
        assert!(bytes(&made, &format!("opt/venv/bin/{name}")).contains("\n    from pip import main\n"), "{name}");
    }
    assert_eq!(bytes(&made, &format!("{site}/pip-1.0.virtualenv")), "");
    let record = bytes(&made, &format!("{site}/pip-1.0.dist-info/RECORD"));
    for row in
        ["../../../bin/pip-3.11,,", "pip-1.0.virtualenv,,", "pip/__init__.cpython-311.pyc,,", "pip/__pycache__,,"]
    {
        assert!(record.lines().any(|line| line == row), "{row} is not in {record}");
    }
}
