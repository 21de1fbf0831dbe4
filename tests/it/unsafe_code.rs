//! How much of the code the compiler cannot check: one place, which has a decision record.

use std::path::{Path, PathBuf};

const FORMS: [&str; 6] = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe trait", "unsafe extern", "unsafe("];

/// The places of `text` with an unsafe form, comments left out.
fn places(file: &Path, text: &str) -> Vec<String> {
    let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    let hits = code.enumerate().filter(|(_, line)| FORMS.iter().any(|form| line.contains(form)));
    hits.map(|(at, line)| format!("{}:{}: {}", file.display(), at + 1, line.trim())).collect()
}

#[expect(clippy::disallowed_methods, reason = "a test reads the project's own sources; order does not matter")]
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for item in std::fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn exactly_one_unsafe_is_in_the_sources() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let found: Vec<String> =
        files.iter().flat_map(|file| places(file, &std::fs::read_to_string(file).unwrap())).collect();
    assert!(matches!(&found[..], [one] if one.contains("oci/sha256.rs")), "{found:#?}");
}

#[test]
fn unsafe_forms_are_seen_and_comments_are_not() {
    let text = "// unsafe { }\nlet x = unsafe { y };\npub unsafe fn f() {}\n#[unsafe(no_mangle)]\nlet unsafely = 1; // unsafe fn\n";
    assert_eq!(places(Path::new("f.rs"), text).len(), 3);
}
