//! `${NAME}` in values, as ZenML replaces it when it reads a configuration.
//!
//! Only the braced form is replaced: `$NAME` stays as it is. There is no default and no escape.

use std::collections::BTreeMap;

/// The variables that values may refer to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Substitution(BTreeMap<String, String>);

impl Substitution {
    /// Takes the variables, usually the environment of the command.
    pub fn new(variables: BTreeMap<String, String>) -> Self {
        Self(variables)
    }

    /// Replaces each `${NAME}` in `text`; values are not looked at again.
    ///
    /// # Errors
    /// Fails with the name of the first variable that has no value.
    pub fn apply(&self, text: &str) -> Result<String, String> {
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let (before, after) = rest.split_at(start);
            result.push_str(before);
            let name_end = after[2..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_').map(|at| at + 2);
            match name_end {
                Some(end) if end > 2 && after[end..].starts_with('}') => {
                    let name = &after[2..end];
                    result.push_str(self.0.get(name).ok_or_else(|| name.to_owned())?);
                    rest = &after[end + 1..];
                }
                _ => {
                    result.push_str("${");
                    rest = &after[2..];
                }
            }
        }
        result.push_str(rest);
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_braced_form_is_replaced_and_only_once() {
        let variables = [("A", "1"), ("B_2", "${A}"), ("EMPTY", "")];
        let variables = Substitution::new(variables.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        for (text, expected) in [
            ("", Ok("")),
            ("x$A${A}y${EMPTY}", Ok("x$A1y")),
            ("${B_2}", Ok("${A}")),
            ("${}${-}${A ${A}", Ok("${}${-}${A 1")),
            ("é${A", Ok("é${A")),
            ("${C}", Err("C")),
        ] {
            assert_eq!(variables.apply(text).as_deref().map_err(String::as_str), expected, "{text}");
        }
    }
}
