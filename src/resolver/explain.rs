//! uv's failures, sorted by their cure and shown whole.
//!
//! Only the class of a failure is read out of uv's words; the words themselves are not changed.

use super::error::ResolveError;
use super::requirement::Direct;

/// The error behind what uv wrote to standard error.
pub(super) fn explain(text: &str, direct: &[Direct]) -> ResolveError {
    let lines = text.trim().lines().filter(|line| !line.starts_with("Using CPython"));
    let explanation = lines.collect::<Vec<_>>().join("\n");
    let has = |words: &[&str]| words.iter().any(|word| explanation.contains(word));
    if has(&["No interpreter found", "No Python interpreters found", "No virtual environment or system Python"]) {
        return ResolveError::NoPython;
    }
    let sources = mentioned(&explanation, direct);
    let wheels = ["no usable wheels", "no wheels with a matching", "Wheels are required for", "Building source dist"];
    if has(&wheels) {
        return ResolveError::NoWheel { explanation, sources };
    }
    if has(&["No solution found", "requirements are unsatisfiable"]) {
        return ResolveError::Unsatisfiable { explanation, sources };
    }
    ResolveError::Uv { explanation }
}

/// The direct requirements whose name stands in `text`, each with its file.
pub(super) fn mentioned(text: &str, direct: &[Direct]) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let words: Vec<&str> = text.split(|c| !is_part(c)).map(|word| word.trim_matches('.')).collect();
    let is_mentioned = |requirement: &&Direct| {
        requirement.name.as_deref().is_some_and(|name| words.iter().any(|word| word.eq_ignore_ascii_case(name)))
    };
    let line = |requirement: &Direct| format!("`{}` in `{}`", requirement.line, requirement.source);
    direct.iter().filter(is_mentioned).filter(|requirement| !requirement.is_place).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Diagnose as _;
    use crate::resolver::request::tests::request;
    use crate::resolver::requirement;

    #[test]
    fn failures_are_sorted_and_name_their_requirements() {
        let direct = requirement::direct(&request("numpy<2\nNumPy>2\nrich\ndocopt\n").requirements);
        let conflict = "error: No solution found when resolving dependencies\n  cause: Because you require numpy<2 and numpy>2, \
                        we can conclude that your requirements are unsatisfiable.\n";
        let error = explain(conflict, &direct);
        let text = error.to_string();
        assert!(matches!(error, ResolveError::Unsatisfiable { .. }));
        assert!(text.contains("Because you require numpy<2 and numpy>2"), "{text}");
        assert!(text.ends_with("\nrequired: `numpy<2` in `r.txt`\nrequired: `NumPy>2` in `r.txt`"), "{text}");
        let sdist = "error: No solution found\n  cause: Because all versions of docopt have no usable wheels and you require docopt";
        let error = explain(sdist, &direct);
        let hint = error.hint().unwrap_or_default();
        assert!(matches!(error, ResolveError::NoWheel { .. }) && !hint.is_empty(), "{error}: {hint}");
        assert!(matches!(explain("error: No interpreter found for Python 3.11", &direct), ResolveError::NoPython));
        assert!(matches!(explain("error: unexpected argument '--foo' found", &direct), ResolveError::Uv { .. }));
    }
}
