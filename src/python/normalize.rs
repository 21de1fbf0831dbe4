//! One spelling for each distribution's name (PEP 503).
//!
//! It does not say whether a name is valid.

/// The name in lower case, with each run of `-`, `_` and `.` as one `-`.
pub fn normalize_name(name: &str) -> String {
    let mut normalized = String::with_capacity(name.len());
    let mut in_run = false;
    for letter in name.chars() {
        let separator = matches!(letter, '-' | '_' | '.');
        if !separator {
            normalized.extend(letter.to_lowercase());
        } else if !in_run {
            normalized.push('-');
        }
        in_run = separator;
    }
    normalized
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_separators_become_one_dash() {
        for (name, expected) in
            [("Foo.....Bar", "foo-bar"), ("foo___bar", "foo-bar"), ("a-_.b", "a-b"), ("x", "x"), ("_x_", "-x-")]
        {
            assert_eq!(normalize_name(name), expected);
        }
    }
}
