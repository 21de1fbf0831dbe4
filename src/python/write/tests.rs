use std::error::Error;
use std::io::Read;

use flate2::read::MultiGzDecoder;

use super::super::InstallScheme;
use super::super::install::{InstallOptions, Manner};
use super::super::testing::WheelMaker;
use super::*;

fn scheme() -> InstallScheme {
    InstallScheme {
        interpreter: "/usr/bin/python3".into(),
        purelib: "/usr/lib/py".into(),
        platlib: "/usr/lib/py".into(),
        scripts: "/usr/bin".into(),
        include: "/usr/include".into(),
        data: "/usr".into(),
    }
}

fn open(maker: &WheelMaker) -> (Wheel, Installation) {
    let wheel = Wheel::open(maker.build(), &maker.filename()).unwrap();
    let options = InstallOptions {
        python_version: (3, 11),
        requested: false,
        direct_url: None,
        installer: "uv".into(),
        manner: Manner::default(),
    };
    let installation = wheel.plan_install(&scheme(), &options).unwrap();
    (wheel, installation)
}

type Written = (Vec<(String, u32, u64, Vec<u8>)>, Vec<Conflict>);

/// Writes the group and reads the tar back.
fn written(makers: &[WheelMaker]) -> Result<Written, PlaceError> {
    let opened: Vec<_> = makers.iter().map(open).collect();
    let group: Vec<Placed<'_>> = opened.iter().map(|(wheel, installation)| (wheel, installation)).collect();
    let parent = |path: &EntryPath| {
        let meta = DirectoryMeta { mode: 0o2775, uid: 7, gid: 8, mtime: 9 };
        (path.as_bytes() == b"usr").then_some(meta)
    };
    let mut writer = LayerWriter::new(Vec::new());
    let conflicts = write(&group, &Placement { uid: 5, gid: 6, parent: &parent }, &mut writer)?;
    let (_, blob) = writer.finish().unwrap();
    let mut entries = Vec::new();
    for entry in tar::Archive::new(MultiGzDecoder::new(&blob[..])).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let path = String::from_utf8(entry.path_bytes().to_vec()).unwrap();
        let header = entry.header();
        entries.push((path, header.mode().unwrap(), header.uid().unwrap(), content));
    }
    Ok((entries, conflicts))
}

#[test]
fn group_is_written_sorted_with_every_folder_once() {
    let random: Vec<u8> = (0..20_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let (entries, conflicts) = written(&[
        WheelMaker::new("b", "1").file("b/x.py", "x".repeat(9000)).file("b-c.py", &random).file("empty", ""),
        WheelMaker::new("a", "1").file("a/x.py", &random).stored().folder("void"),
    ])
    .unwrap();
    assert!(conflicts.is_empty());
    let paths: Vec<&str> = entries.iter().map(|(path, ..)| path.trim_end_matches('/')).collect();
    assert!(paths.windows(2).all(|pair| pair[0] < pair[1]), "{paths:?}");
    for folder in ["usr", "usr/lib", "usr/lib/py", "usr/lib/py/a", "usr/lib/py/void", "usr/lib/py/b-1.dist-info"] {
        assert!(paths.contains(&folder), "{folder}");
    }
    let find = |path: &str| entries.iter().find(|entry| entry.0.trim_end_matches('/') == path).unwrap();
    assert_eq!((find("usr").1, find("usr").2), (0o2775, 7));
    assert_eq!((find("usr/lib").1, find("usr/lib").2), (0o755, 5));
    assert_eq!(find("usr/lib/py/b-c.py").3, random);
    assert_eq!(find("usr/lib/py/a/x.py").3, random);
    assert_eq!(find("usr/lib/py/b/x.py").3, "x".repeat(9000).into_bytes());
    assert_eq!(find("usr/lib/py/empty").3, b"");
}

#[test]
fn path_of_two_wheels_is_the_later_ones_and_a_conflict_when_contents_differ() {
    let one = WheelMaker::new("a", "1").file("same.py", "1").file("other.py", "1");
    let two = WheelMaker::new("b", "1").file("same.py", "1").file("other.py", "2");
    let (entries, conflicts) = written(&[one.clone(), two.clone()]).unwrap();
    let text: Vec<String> = conflicts.iter().map(Conflict::to_string).collect();
    assert_eq!(
        text,
        ["`usr/lib/py/other.py` is in both `a-1-py3-none-any.whl` and `b-1-py3-none-any.whl`; \
          the file of the latter is kept"]
    );
    let content = |entries: &[(String, u32, u64, Vec<u8>)]| {
        entries.iter().find(|entry| entry.0 == "usr/lib/py/other.py").unwrap().3.clone()
    };
    assert_eq!(content(&entries), b"2");
    assert_eq!(content(&written(&[two, one]).unwrap().0), b"1");
}

#[test]
fn file_in_one_wheel_and_folder_in_another_are_refused() {
    let error = written(&[WheelMaker::new("a", "1").file("x", "1"), WheelMaker::new("b", "1").file("x/y", "1")]);
    assert!(matches!(error, Err(PlaceError::FileAndFolder { .. })));
}

#[test]
fn content_that_lies_is_refused_naming_wheel_and_member() {
    let lie = format!("lie.py,sha256={},1", "A".repeat(43));
    let base = || WheelMaker::new("a", "1");
    for maker in [
        base().file("lie.py", "1").unrecorded().record_row(&lie),
        base().file("lie.py", "1").stored().unrecorded().record_row(&lie),
        base().file("lie.py", "").unrecorded().record_row(&lie.replace(",1", ",0")),
    ] {
        let error = written(&[maker]).unwrap_err();
        assert_eq!(error.to_string(), "wheel `a-1-py3-none-any.whl` is refused");
        assert_eq!(error.source().unwrap().to_string(), "file `lie.py` does not have the hash that RECORD gives it");
    }
}
