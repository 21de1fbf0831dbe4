//! What looks like a secret: names of variables, URLs with a password.
//!
//! The rule for names is BuildKit's, so that a Dockerfile and its settings get the same verdict; it knows words, not values.

use super::error::SettingsError;
use super::field::Field;

const SECRET: [&str; 10] =
    ["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"];
const HARMLESS: [&str; 3] = ["file", "public", "version"];
/// What a value shows instead of a secret.
pub const MASK: &str = "***";
/// Where names and values get into an image or its history.
const INTO_THE_IMAGE: [&[&str]; 6] = [
    &["environment"],
    &["runtime_environment"],
    &["build_config", "build_options", "build_args"],
    &["build_config", "build_options", "labels"],
    &["parent_image_build_config", "build_options", "build_args"],
    &["parent_image_build_config", "build_options", "labels"],
];

/// Whether the name of a variable, a label or a build argument says that its value is a secret.
pub fn is_secret_name(name: &str) -> bool {
    let lower = name.to_lowercase();
    let words: Vec<&str> = lower.split('_').collect();
    let has = |list: &[&str]| words.iter().any(|word| list.contains(word));
    has(&SECRET) && !has(&HARMLESS)
}

/// Whether a value of this name is better not shown; wider than [`is_secret_name`].
pub(super) fn is_hidden_name(name: &str) -> bool {
    let lower = name.to_lowercase();
    let parts = ["pass", "pwd", "secret", "token", "apikey", "credential"];
    is_secret_name(name) || parts.iter().any(|part| lower.contains(part))
}

/// `text` with `replacement` in the place of user and password of each URL in it; `None` when no URL has any.
///
/// The user of an `ssh` URL stays: it is no secret.
pub fn without_userinfo(text: &str, replacement: &str) -> Option<String> {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    let mut is_found = false;
    while let Some(at) = rest.find("://") {
        let (scheme, after) = rest.split_at(at + 3);
        let end = after.find(|c: char| c.is_whitespace() || "/?#'\"<>".contains(c)).unwrap_or(after.len());
        result.push_str(scheme);
        let host_at = after[..end].rfind('@').map_or(0, |at| at + 1);
        let is_plain_user = scheme.ends_with("ssh://") && !after[..host_at].contains(':');
        if host_at > 0 && !is_plain_user {
            is_found = true;
            result.push_str(replacement);
            rest = &after[host_at..];
        } else {
            rest = after;
        }
    }
    result.push_str(rest);
    is_found.then_some(result)
}

/// Warns of what looks like a secret and would be readable in the image; an error when `is_strict`.
pub(super) fn check(docker: &Field<'_>, native: &Field<'_>, is_strict: bool) -> Result<(), SettingsError> {
    let labels = descend(native, &["labels"])?;
    let mut found = Vec::new();
    for path in INTO_THE_IMAGE {
        found.extend(descend(docker, path)?);
    }
    for field in found.into_iter().chain(labels).filter(|field| !field.is_null()) {
        let value = field.printed_quietly()?;
        let what = if without_userinfo(&value, "").is_some() {
            "holds a URL with a password"
        } else if is_secret_name(field.key()) && !value.is_empty() {
            "looks like a secret"
        } else {
            continue;
        };
        let cure = "name it under `lapstrake.secrets`, or set it when the container starts";
        let what = format!("{what}, and everybody who pulls the image could read it");
        report(&field, &what, cure, is_strict)?;
    }
    for field in descend(docker, &["python_package_installer_args"])?.iter().filter(|field| field.is_written_url()) {
        let what = "holds a URL with a password in plain text";
        report(field, what, "write `${NAME}` for it, or keep it in the netrc file", is_strict)?;
    }
    Ok(())
}

fn report(field: &Field<'_>, what: &str, cure: &str, is_strict: bool) -> Result<(), SettingsError> {
    if is_strict {
        return Err(field.wrong_key(what, Some(cure.to_owned())));
    }
    field.warn(&format!("`{}` {what}; {cure}", field.path()));
    Ok(())
}

/// The fields of the mapping at a path.
fn descend<'a>(field: &Field<'a>, path: &[&str]) -> Result<Vec<Field<'a>>, SettingsError> {
    let fields = field.fields()?;
    match path {
        [] => Ok(fields),
        [first, rest @ ..] => match fields.iter().find(|field| field.key() == *first) {
            Some(field) => descend(field, rest),
            None => Ok(Vec::new()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_by_their_words() {
        for (name, expected) in [
            ("GITHUB_TOKEN", true),
            ("api_key", true),
            ("AUTH", true),
            ("_TOKEN", true),
            ("PUBLIC_KEY", false),
            ("password_file", false),
            ("AUTH_MODULE_VERSION", false),
            ("TOKENIZERS_PARALLELISM", false),
            ("MONKEY", false),
            ("SECRET-KEY", false),
            ("", false),
        ] {
            assert_eq!(is_secret_name(name), expected, "{name}");
        }
    }

    #[test]
    fn users_and_passwords_are_cut_out_of_urls() {
        for (text, expected) in [
            ("https://u:p@h.test/simple", Some("https://h.test/simple")),
            (
                "--index-url=https://tok@h.test x https://a:b%40c@i.test",
                Some("--index-url=https://h.test x https://i.test"),
            ),
            ("https://u:p@ss@h.test/", Some("https://h.test/")),
            ("git+ssh://git@h.test/r", None),
            ("ssh://git:pw@h.test/r", Some("ssh://h.test/r")),
            ("https://h.test/a@b", None),
            ("me@h.test", None),
            ("postgres://u:p@db/x", Some("postgres://db/x")),
        ] {
            assert_eq!(without_userinfo(text, "").as_deref(), expected, "{text}");
        }
    }
}
