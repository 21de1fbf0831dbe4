//! Challenges: what `WWW-Authenticate` headers ask for (RFC 9110, section 11.6.1; RFC 6750, section 3).
//!
//! Reads the syntax only; whether a realm may be talked to is decided in `origin`.

use std::collections::BTreeMap;

/// One challenge of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A token from `realm`, for `service`.
    Bearer {
        /// URL of the token server, as sent.
        realm: String,
        /// What the token server calls the registry.
        service: Option<String>,
        /// The scopes that the refused request needs, as the registry sees it.
        scope: Option<String>,
    },
    /// User name and password with each request.
    Basic,
}

/// Reads the challenges of one header, in their order. Unknown schemes and malformed parts are skipped.
pub(super) fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges = Vec::new();
    let mut rest = Scanner { text: header };
    let mut current: Option<(String, BTreeMap<String, String>)> = None;
    while rest.skip_separators() {
        let Some(word) = rest.token() else {
            rest.skip_one();
            continue;
        };
        match rest.value() {
            Some(value) => {
                if let Some((_, parameters)) = &mut current {
                    parameters.entry(word.to_ascii_lowercase()).or_insert(value);
                }
            }
            None => {
                challenges.extend(current.take().and_then(challenge));
                current = Some((word.to_ascii_lowercase(), BTreeMap::new()));
            }
        }
    }
    challenges.extend(current.and_then(challenge));
    challenges
}

fn challenge((scheme, mut parameters): (String, BTreeMap<String, String>)) -> Option<Challenge> {
    match scheme.as_str() {
        "basic" => Some(Challenge::Basic),
        "bearer" => Some(Challenge::Bearer {
            realm: parameters.remove("realm")?,
            service: parameters.remove("service"),
            scope: parameters.remove("scope"),
        }),
        _ => None,
    }
}

struct Scanner<'a> {
    text: &'a str,
}

impl Scanner<'_> {
    /// Skips spaces and commas; says whether anything is left.
    fn skip_separators(&mut self) -> bool {
        self.text = self.text.trim_start_matches([' ', '\t', ',']);
        !self.text.is_empty()
    }

    fn skip_one(&mut self) {
        let mut characters = self.text.chars();
        characters.next();
        self.text = characters.as_str();
    }

    fn token(&mut self) -> Option<String> {
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/:".contains(c);
        let end = self.text.find(|c| !is_token(c)).unwrap_or(self.text.len());
        let (token, rest) = self.text.split_at(end);
        self.text = rest;
        (!token.is_empty()).then(|| token.to_owned())
    }

    /// The value after `=`; `None`, and nothing consumed, when there is no `=`.
    fn value(&mut self) -> Option<String> {
        let rest = self.text.trim_start_matches([' ', '\t']).strip_prefix('=')?;
        self.text = rest.trim_start_matches([' ', '\t']);
        if !self.text.starts_with('"') {
            return Some(self.token().unwrap_or_default());
        }
        self.skip_one();
        let mut value = String::new();
        let mut characters = self.text.chars();
        while let Some(character) = characters.next() {
            match character {
                '"' => break,
                '\\' => value.extend(characters.next()),
                plain => value.push(plain),
            }
        }
        self.text = characters.as_str();
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer { realm: realm.into(), service: service.map(Into::into), scope: scope.map(Into::into) }
    }

    #[test]
    fn challenges_are_read_in_all_their_spellings() {
        let realm = "https://auth.test/token";
        for (header, expected) in [
            ("Basic realm=\"x\"", vec![Challenge::Basic]),
            ("basic", vec![Challenge::Basic]),
            (
                r#"Bearer realm="https://auth.test/token",service="reg",scope="repository:a:pull,push""#,
                vec![bearer(realm, Some("reg"), Some("repository:a:pull,push"))],
            ),
            (r#"BEARER Service = reg , REALM = "https://auth.test/token""#, vec![bearer(realm, Some("reg"), None)]),
            (
                r#"Basic realm="a, b", Bearer realm="https://auth.test/token", error="insufficient_scope""#,
                vec![Challenge::Basic, bearer(realm, None, None)],
            ),
            (r#"Bearer realm="a\"b\\c""#, vec![bearer("a\"b\\c", None, None)]),
            (r"Bearer realm=https://auth.test/token", vec![bearer(realm, None, None)]),
            (r#"Negotiate, Digest qop="auth", Basic realm="r""#, vec![Challenge::Basic]),
            (r#"Bearer service="no realm""#, vec![]),
            ("\"junk ;;; =", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(parse(header), expected, "{header}");
        }
    }

    #[test]
    fn the_first_of_doubled_parameters_counts() {
        assert_eq!(parse(r#"Bearer realm="a",realm="b""#), vec![bearer("a", None, None)]);
    }
}
