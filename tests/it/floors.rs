//! The rules that the source keeps: floors, sizes, first lines, names. The offender is named.
//!
//! It reads text, not syntax: comments and strings are blanked first, then braces and words are enough.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 80;
const MAIN_LINES: usize = 40;
const FORBIDDEN: [&str; 6] = ["util", "utils", "helpers", "common", "manager", "core"];

/// The floor of each top-level module; `cli` and `main` are the binary's.
const FLOORS: [(&str, u8); 18] = [
    ("diagnostic", 1),
    ("event", 1),
    ("oci", 1),
    ("settings", 1),
    ("dockerfile", 2),
    ("image", 2),
    ("layer", 2),
    ("plan", 2),
    ("python", 2),
    ("artifacts", 3),
    ("backend", 3),
    ("inputs", 3),
    ("registry", 3),
    ("resolver", 3),
    ("serve", 3),
    ("store", 3),
    ("ops", 4),
    ("cli", 5),
];

/// Who may use whom on one floor, and why; everything else stays apart.
const NEIGHBOURS: [(&str, &str, &str); 20] = [
    ("oci", "diagnostic", "its errors have hints"),
    ("settings", "diagnostic", "its errors have hints"),
    ("settings", "oci", "references and platforms are types of settings"),
    ("python", "layer", "wheels are written by the layer writer"),
    ("python", "image", "an environment is found in an image's files"),
    ("image", "layer", "an index is read from layers"),
    ("dockerfile", "image", "`chmod` changes permissions as `--chmod` does"),
    ("dockerfile", "python", "`poetry install` chooses groups and extras as a lock is asked for them"),
    ("plan", "dockerfile", "arguments of `COPY` become entries"),
    ("plan", "image", "a plan stands on a parent image"),
    ("plan", "layer", "keys cover the layer format"),
    ("plan", "python", "wheels are put into layers"),
    ("artifacts", "registry", "both use the clouds' identities and the same connections"),
    ("inputs", "resolver", "its children list the local Python environment and ask git"),
    ("backend", "inputs", "contexts are walked as sources are"),
    ("backend", "registry", "backends are lent our logins"),
    ("backend", "resolver", "children are started there alone"),
    ("resolver", "registry", "both trust the same certificates"),
    ("resolver", "store", "locks and wheels are kept there"),
    ("serve", "store", "its folder is written with the same care"),
];

/// One source file.
struct Source {
    path: String,
    text: String,
    /// The text with comments and the content of strings blanked, and without modules of tests.
    code: String,
}

fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    collect(Path::new(SOURCE), &mut paths);
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let path = path.strip_prefix(SOURCE).unwrap().to_str().unwrap().to_owned();
        Source { code: without_tests(&blanked(&text)), path, text }
    };
    let sources: Vec<Source> =
        paths.into_iter().map(read).filter(|source| !source.path.ends_with("tests.rs")).collect();
    assert!(sources.len() > 100, "the source was found");
    sources
}

#[expect(clippy::disallowed_methods, reason = "the paths are sorted")]
fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// `text` with blanks for comments and for what strings and characters hold; lines stay where they are.
fn blanked(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = token_end(&chars, at);
        match end {
            Some(end) => {
                out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
                at = end;
            }
            None => {
                out.push(chars[at]);
                at += 1;
            }
        }
    }
    out
}

/// Where the comment, string or character that begins at `at` ends; `None` when none begins there.
fn token_end(chars: &[char], at: usize) -> Option<usize> {
    let starts = |text: &str| text.chars().enumerate().all(|(n, c)| chars.get(at + n) == Some(&c));
    let find = |from: usize, wanted: &str| {
        let wanted: Vec<char> = wanted.chars().collect();
        let found = chars[from..].windows(wanted.len()).position(|window| window == wanted);
        found.map_or(chars.len(), |offset| from + offset + wanted.len())
    };
    if starts("//") {
        return Some(find(at, "\n") - 1).map(|end| end.max(at + 2));
    }
    if starts("/*") {
        return Some(find(at + 2, "*/"));
    }
    let is_word_before = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    if !is_word_before && (starts("r\"") || starts("r#") || starts("br\"") || starts("br#")) {
        let prefix = if chars[at] == 'b' { 2 } else { 1 };
        let hashes = chars[at + prefix..].iter().take_while(|c| **c == '#').count();
        if chars.get(at + prefix + hashes) == Some(&'"') {
            return Some(find(at + prefix + hashes + 1, &format!("\"{}", "#".repeat(hashes))));
        }
    }
    let quote = chars[at];
    // A lifetime has no closing quote two or three characters on.
    let is_char = quote == '\'' && (chars.get(at + 1) == Some(&'\\') || chars.get(at + 2) == Some(&'\''));
    if quote != '"' && !is_char {
        return None;
    }
    let mut end = at + 1;
    while end < chars.len() && chars[end] != quote {
        end += if chars[end] == '\\' { 2 } else { 1 };
    }
    Some((end + 1).min(chars.len()))
}

/// Cuts off `#[cfg(test)]` items with a body, and declarations of test modules.
fn without_tests(code: &str) -> String {
    let mut out = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        out.push_str(&rest[..at]);
        let item = &rest[at..];
        let end = match (item.find(';'), item.find('{')) {
            (Some(semicolon), Some(brace)) if semicolon < brace => semicolon + 1,
            (Some(semicolon), None) => semicolon + 1,
            (_, Some(brace)) => brace + body_length(&item[brace..]),
            (None, None) => item.len(),
        };
        rest = &item[end..];
    }
    out.push_str(rest);
    out
}

/// Bytes from an opening brace to behind its closing one.
fn body_length(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

fn code_lines(code: &str) -> usize {
    code.lines().filter(|line| !line.trim().is_empty()).count()
}

/// The top-level module that a file belongs to.
fn module_of(path: &str) -> &str {
    path.split('/').next().unwrap().trim_end_matches(".rs")
}

/// The top-level modules that `code` names by an absolute path: `crate::x`, also in braces, and `lapstrake::x`.
fn named_modules(code: &str, root: &str) -> Vec<String> {
    let mut named = Vec::new();
    for (at, _) in code.match_indices(&format!("{root}::")) {
        let is_inside = code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
        if is_inside {
            continue;
        }
        let rest = &code[at + root.len() + 2..];
        let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        match rest.strip_prefix('{') {
            None => named.push(word(rest)),
            Some(_) => {
                let body = &rest[1..body_length(rest) - 1];
                let mut depth = 0;
                for part in body.split_inclusive([',', '{', '}']) {
                    if depth == 0 && !word(part.trim()).is_empty() {
                        named.push(word(part.trim()));
                    }
                    depth += part.matches('{').count();
                    depth -= part.matches('}').count();
                }
            }
        }
    }
    named.sort();
    named.dedup();
    named
}

/// How many `super::` lead from a file to the top of the crate, so that the next word is a top-level module.
fn modules_by_super(source: &Source) -> Vec<String> {
    let path = source.path.trim_end_matches(".rs").trim_end_matches("/mod");
    let depth = path.split('/').count();
    let climb = "super::".repeat(depth);
    let climbs = |at: usize| !source.code[..at].ends_with("super::");
    let found = source.code.match_indices(&climb).filter(|(at, _)| climbs(*at));
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    found.map(|(at, _)| word(&source.code[at + climb.len()..])).filter(|word| word != "super").collect()
}

/// What `source` may not import.
fn offences(source: &Source) -> Vec<String> {
    let floors: BTreeMap<&str, u8> = FLOORS.into_iter().collect();
    let module = module_of(&source.path);
    let is_binary = matches!(module, "cli" | "main");
    let mut offences = Vec::new();
    if is_binary {
        for named in named_modules(&source.code, "crate").into_iter().filter(|named| named != "cli") {
            offences.push(format!("src/{}: uses `crate::{named}`; the binary sees the library alone", source.path));
        }
        return offences;
    }
    if module == "lib" {
        return offences;
    }
    let Some(floor) = floors.get(module) else {
        return vec![format!("src/{}: module `{module}` has no floor; give it one in this test", source.path)];
    };
    for named in named_modules(&source.code, "crate").into_iter().chain(modules_by_super(source)) {
        let is_neighbour = || NEIGHBOURS.iter().any(|(from, to, _)| (*from, *to) == (module, named.as_str()));
        match floors.get(named.as_str()) {
            _ if named == module => {}
            None => offences.push(format!("src/{}: imports `{named}`, which has no floor", source.path)),
            Some(other) if other > floor => {
                offences.push(format!(
                    "src/{}: `{module}` on floor {floor} imports `{named}` on floor {other}",
                    source.path
                ));
            }
            Some(other) if other == floor && !is_neighbour() => {
                offences.push(format!("src/{}: `{module}` may not import its neighbour `{named}`", source.path));
            }
            Some(_) => {}
        }
    }
    for named in named_modules(&source.code, "lapstrake") {
        offences.push(format!("src/{}: calls the library by its outer name at `lapstrake::{named}`", source.path));
    }
    offences
}

fn none(offences: Vec<String>) {
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

#[test]
fn modules_import_from_lower_floors_only() {
    none(sources().iter().flat_map(offences).collect());
}

#[test]
fn every_neighbourly_import_that_is_allowed_exists() {
    let sources = sources();
    let unused = NEIGHBOURS.iter().filter(|(from, to, _)| {
        let mut files = sources.iter().filter(|source| module_of(&source.path) == *from);
        !files.any(|source| named_modules(&source.code, "crate").iter().any(|named| named == to))
    });
    none(unused.map(|(from, to, _)| format!("`{from}` does not import `{to}` any more; take the pair out")).collect());
}

#[test]
fn files_and_functions_are_short() {
    let mut offences = Vec::new();
    for source in sources() {
        let lines = code_lines(&source.code);
        let limit = if source.path == "main.rs" { MAIN_LINES } else { FILE_LINES };
        if lines > limit {
            offences.push(format!("src/{}: {lines} lines of code, {limit} are allowed", source.path));
        }
        for (name, lines) in functions(&source.code) {
            if lines > FUNCTION_LINES {
                offences.push(format!("src/{}: `{name}` has {lines} lines, {FUNCTION_LINES} are allowed", source.path));
            }
        }
    }
    none(offences);
}

/// Each function with a body, and how many lines it has.
fn functions(code: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let item = &code[at..];
        let name: String = item[3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let Some(brace) = item.find('{') else { continue };
        // Of a declaration without a body the semicolon comes first; those in array types stand in brackets.
        let head = &item[..brace];
        let is_declaration =
            head.match_indices(';').any(|(at, _)| head[..at].matches('[').count() == head[..at].matches(']').count());
        if !name.is_empty() && !is_declaration {
            found.push((name, code_lines(&item[..brace + body_length(&item[brace..])])));
        }
    }
    found
}

#[test]
fn mod_and_lib_files_declare_and_re_export_and_do_nothing_else() {
    let mut offences = Vec::new();
    for source in sources().iter().filter(|source| source.path.ends_with("mod.rs") || source.path == "lib.rs") {
        for statement in source.code.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
            let bare =
                statement.split_whitespace().filter(|word| !word.starts_with("#[")).collect::<Vec<_>>().join(" ");
            let word = bare
                .strip_prefix("pub(crate) ")
                .or(bare.strip_prefix("pub(super) "))
                .or(bare.strip_prefix("pub "))
                .unwrap_or(&bare);
            if !word.starts_with("mod ") && !word.starts_with("use ") {
                offences.push(format!("src/{}: `{}`", source.path, bare.chars().take(60).collect::<String>()));
            }
        }
    }
    none(offences);
}

#[test]
fn every_module_begins_with_what_it_is_for() {
    let missing = sources().into_iter().filter(|source| !source.text.starts_with("//! "));
    none(missing.map(|source| format!("src/{}: does not begin with `//!`", source.path)).collect());
}

#[test]
fn no_module_has_a_name_that_says_nothing() {
    let mut offences = Vec::new();
    for source in sources() {
        for part in source.path.trim_end_matches(".rs").split('/').filter(|part| FORBIDDEN.contains(part)) {
            offences.push(format!("src/{}: `{part}` says nothing", source.path));
        }
    }
    none(offences);
}

fn made_up(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned(), code: without_tests(&blanked(text)) }
}

#[test]
fn offenders_are_named() {
    for (path, text, offence) in [
        (
            "oci/digest.rs",
            "use crate::store::Store;\n",
            "src/oci/digest.rs: `oci` on floor 1 imports `store` on floor 3",
        ),
        (
            "plan/key.rs",
            "fn f() { let _ = crate::ops::plan(); }\n",
            "src/plan/key.rs: `plan` on floor 2 imports `ops` on floor 4",
        ),
        (
            "store/blobs.rs",
            "use crate::{oci::Digest, registry::{Client, Keychain}};\n",
            "src/store/blobs.rs: `store` may not import its neighbour `registry`",
        ),
        (
            "layer/read/tar.rs",
            "use super::super::super::ops;\n",
            "src/layer/read/tar.rs: `layer` on floor 2 imports `ops` on floor 4",
        ),
        (
            "cli/build.rs",
            "use crate::ops::build;\n",
            "src/cli/build.rs: uses `crate::ops`; the binary sees the library alone",
        ),
        ("attic.rs", "", "src/attic.rs: module `attic` has no floor; give it one in this test"),
    ] {
        assert_eq!(offences(&made_up(path, text)), [offence]);
    }
    for (path, text) in [
        (
            "oci/digest.rs",
            "// use crate::store::Store;\nconst A: &str = \"crate::ops\";\nconst B: &str = r#\"crate::ops \" \"#;\n",
        ),
        ("oci/digest.rs", "#[cfg(test)]\nmod tests { use crate::store::Store; fn f() { {} } }\n"),
        ("ops/build.rs", "use super::plan::plan;\nuse crate::{plan::Key, store::Store};\n"),
        ("cli/build.rs", "use lapstrake::ops;\n"),
    ] {
        assert_eq!(offences(&made_up(path, text)), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn functions_are_measured_without_comments_and_strings() {
    let code = blanked(
        "trait T { fn declared(&self, a: [u8; 2]); }\nfn one<'a>(x: &'a str) -> char {\n    // }\n    let _ = \"}\";\n    '}'\n}\n",
    );
    assert_eq!(functions(&code), [("one".to_owned(), 3)]);
}
