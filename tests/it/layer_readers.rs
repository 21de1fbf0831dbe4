//! Layers with hard names and numbers, read by GNU tar and Python's tarfile.
//!
//! Each reader says so when it is not installed; Go's reader is held by the suite with real container runtimes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lapstrake::layer::{Entry, EntryKind, EntryPath, LayerWriter, PLACED_MTIME};

fn entry(path: &[u8], kind: EntryKind) -> Entry {
    Entry { path: EntryPath::parse(path).unwrap(), kind, mode: 0o644, uid: 0, gid: 0, mtime: PLACED_MTIME }
}

fn link(path: &[u8], target: &[u8]) -> Entry {
    entry(path, EntryKind::Symlink { target: target.to_vec() })
}

/// Long, non-UTF-8 and newline names, in every place that a name has, and numbers beyond `ustar`.
fn hard_entries() -> Vec<Entry> {
    let file = |path: &[u8]| entry(path, EntryKind::File { size: 2 });
    let empty = EntryKind::File { size: 0 };
    let long = [&b"long/"[..], &[b'n'; 200], b"\n", "é".as_bytes()].concat();
    let long_binary = [&b"long/"[..], &[b'm'; 200], b"\xff\xfe"].concat();
    vec![
        file(b"plain"),
        file(b"new\nline"),
        file("é-utf8".as_bytes()),
        file(b"bin\xff\xc3"),
        file(b"bin\xff\nnl\n9 path=x\n"),
        file(&[b'x'; 100]),
        file(&long),
        file(&long_binary),
        entry(&[b'd'; 100], EntryKind::Directory),
        entry(b"dir\xfe", EntryKind::Directory),
        link(b"to-binary", b"bin\xff\xc3"),
        link(b"to-newline", b"/new\nline"),
        link(b"to-long", &long_binary),
        entry(b"hard", EntryKind::Hardlink { target: EntryPath::parse(&long).unwrap() }),
        Entry { uid: 4_000_000, gid: 3_000_000_000, mtime: -5, ..entry(b"numbers", empty.clone()) },
        Entry { mode: 0o6755, uid: 0o777_7777, mtime: 1 << 34, ..entry(b"late", empty) },
    ]
}

fn write_layer(folder: &Path) -> PathBuf {
    let path = folder.join("layer.tar.gz");
    let mut writer = LayerWriter::new(std::fs::File::create(&path).unwrap());
    for entry in hard_entries() {
        match entry.kind {
            EntryKind::File { size: 1.. } => writer.append_bytes(&entry, b"hi").unwrap(),
            _ => writer.append(&entry).unwrap(),
        }
    }
    writer.finish().unwrap();
    path
}

/// Runs a reader; `None`, said aloud, when it is not installed.
#[expect(clippy::disallowed_methods, reason = "the readers are children")]
fn run(program: &str, arguments: &[&str], file: &Path) -> Option<Output> {
    match Command::new(program).args(arguments).arg(file).env("LC_ALL", "C").env("TZ", "UTC").output() {
        Ok(output) => Some(output),
        Err(error) => {
            println!("skipped: {program} does not run: {error}");
            None
        }
    }
}

#[test]
fn gnu_tar_reads_exact_names_and_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let layer = write_layer(folder.path());
    if !run("tar", &["--version"], Path::new("--")).is_some_and(|it| it.stdout.starts_with(b"tar (GNU tar)")) {
        return;
    }
    let output = run("tar", &["--quoting-style=escape", "--numeric-owner", "--full-time", "-tvzf"], &layer).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), hard_entries().len(), "{text}");
    for (line, entry) in lines.iter().zip(hard_entries()) {
        let mut name = escape(entry.path.as_bytes());
        match &entry.kind {
            EntryKind::Directory => name.push('/'),
            EntryKind::Symlink { target } => name += &format!(" -> {}", escape(target)),
            EntryKind::Hardlink { target } => name += &format!(" link to {}", escape(target.as_bytes())),
            EntryKind::File { .. } => {}
        }
        assert!(line.ends_with(&format!(" {name}")), "{line}\n{name}");
        assert!(line.contains(&format!(" {}/{} ", entry.uid, entry.gid)), "{line}");
    }
    assert!(lines[14].contains(" 1969-12-31 23:59:55 "), "{}", lines[14]);
    assert!(lines[15].starts_with("-rwsr-sr-x") && lines[15].contains(" 2514-05-30 01:53:04 "), "{}", lines[15]);
}

/// What GNU tar prints with `--quoting-style=escape` in the C locale.
fn escape(name: &[u8]) -> String {
    let quote = |b: &u8| match b {
        b'\n' => "\\n".to_owned(),
        b' '..=b'~' => char::from(*b).to_string(),
        _ => format!("\\{b:03o}"),
    };
    name.iter().map(quote).collect()
}

#[test]
fn python_reads_exact_names_and_numbers() {
    const SCRIPT: &str = r"
import sys, tarfile
raw = lambda text: text.encode('utf-8', 'surrogateescape').hex()
for m in tarfile.open(sys.argv[1], encoding='utf-8', errors='surrogateescape'):
    print(raw(m.name), raw(m.linkname) or '-', m.type.decode(), m.mode, m.uid, m.gid, int(m.mtime), m.size)
";
    let folder = tempfile::tempdir().unwrap();
    let layer = write_layer(folder.path());
    let Some(output) = run("python3", &["-c", SCRIPT], &layer) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let expected: Vec<String> = hard_entries()
        .iter()
        .map(|entry| {
            let (kind, link, size) = match &entry.kind {
                EntryKind::File { size } => (0, "-".to_owned(), *size),
                EntryKind::Hardlink { target } => (1, hex(target.as_bytes()), 0),
                EntryKind::Symlink { target } => (2, hex(target), 0),
                EntryKind::Directory => (5, "-".to_owned(), 0),
            };
            let Entry { path, mode, uid, gid, mtime, .. } = entry;
            format!("{} {link} {kind} {mode} {uid} {gid} {mtime} {size}", hex(path.as_bytes()))
        })
        .collect();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}
