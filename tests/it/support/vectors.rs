//! The folder of test vectors, named by `LAPSTRAKE_VECTORS`.

use serde_json::Value;

/// The cases of one file of vectors; `None`, with a line that says so, when no folder is named.
#[expect(clippy::disallowed_methods, reason = "the folder of the vectors is named by the environment")]
pub(crate) fn cases(name: &str) -> Option<Vec<Value>> {
    let Ok(folder) = std::env::var("LAPSTRAKE_VECTORS") else {
        eprintln!("skipped: LAPSTRAKE_VECTORS is not set");
        return None;
    };
    let path = format!("{folder}/{name}.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut file: Value = serde_json::from_str(&text).unwrap();
    let Value::Array(cases) = file["cases"].take() else { panic!("{path} has no cases") };
    assert!(!cases.is_empty(), "{path} has no cases");
    eprintln!("{name}: {} cases", cases.len());
    Some(cases)
}

/// A text of a case.
pub(crate) fn text<'a>(case: &'a Value, member: &str) -> Option<&'a str> {
    case.get(member).and_then(Value::as_str)
}
