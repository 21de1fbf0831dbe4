//! Commands that install the project itself, as far as making its wheel comes to the same.
//!
//! Whatever else a command may do takes a shell in the image, which is a backend's.

/// The project's own installation, understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalProject {
    /// The project's folder below the sources; `None` for their root.
    pub folder: Option<String>,
    /// Its extras.
    pub extras: Vec<String>,
    /// Whether what it requires is left alone.
    pub no_deps: bool,
    /// Whether it was to be installed in place.
    pub is_editable: bool,
}

/// A command that takes a backend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("local project command `{command}` needs a backend: {reason}")]
pub struct NotNative {
    /// The command.
    pub command: String,
    /// Why.
    pub reason: String,
}

impl crate::diagnostic::Diagnose for NotNative {
    fn hint(&self) -> Option<String> {
        Some("`pip install .` and `uv pip install .`, with `--no-deps`, `-e` or extras, need none".into())
    }
}

/// Options that change nothing of what is installed.
const WITHOUT_EFFECT: [&str; 14] = [
    "--break-system-packages",
    "--compile-bytecode",
    "--disable-pip-version-check",
    "--no-cache",
    "--no-cache-dir",
    "--no-compile",
    "--no-input",
    "--no-warn-script-location",
    "--quiet",
    "-q",
    "--root-user-action=ignore",
    "--system",
    "--upgrade",
    "--verbose",
];

/// What `command` installs.
///
/// # Errors
/// Fails for everything but the installation of the project from its folder.
pub fn local_project(command: &str) -> Result<LocalProject, NotNative> {
    let not_native = |reason: String| NotNative { command: command.to_owned(), reason };
    if let Some(mark) = command.chars().find(|c| ";&|<>$`\\(){}*?!\n".contains(*c)) {
        return Err(not_native(format!("`{mark}` is for a shell")));
    }
    let text = command.replace(['\'', '"'], "");
    let words: Vec<&str> = text.split_whitespace().collect();
    let rest = installer(&words).ok_or_else(|| not_native("it is no `pip install`".to_owned()))?;
    let mut project = LocalProject::default();
    let mut folder = None;
    for word in rest {
        let target = match *word {
            "--no-deps" => {
                project.no_deps = true;
                continue;
            }
            "-e" | "--editable" => {
                project.is_editable = true;
                continue;
            }
            known if WITHOUT_EFFECT.contains(&known) => continue,
            editable if editable.starts_with("--editable=") || editable.starts_with("-e.") => {
                project.is_editable = true;
                editable.trim_start_matches("--editable=").trim_start_matches("-e")
            }
            option if option.starts_with('-') => {
                return Err(not_native(format!("option `{option}` is not understood here")));
            }
            target => target,
        };
        if folder.replace(target).is_some() {
            return Err(not_native("it installs more than the project".to_owned()));
        }
    }
    let target = folder.ok_or_else(|| not_native("it names no folder".to_owned()))?;
    let (path, extras) = match target.strip_suffix(']').and_then(|head| head.split_once('[')) {
        Some((path, extras)) => (path, extras.split(',').map(|extra| extra.trim().to_owned()).collect()),
        None => (target, Vec::new()),
    };
    project.extras = extras;
    project.folder = below(path).ok_or_else(|| not_native(format!("`{path}` is no folder of the project")))?;
    Ok(project)
}

/// What follows `pip install` in one of its forms.
fn installer<'a>(words: &'a [&'a str]) -> Option<&'a [&'a str]> {
    let is_python = |word: &str| {
        word.strip_prefix("python").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
    };
    let is_pip = |word: &str| matches!(word, "pip" | "pip3");
    match words {
        [python, "-m", pip, "install", rest @ ..] if is_python(python) && is_pip(pip) => Some(rest),
        [python, "-m", "uv", "pip", "install", rest @ ..] if is_python(python) => Some(rest),
        ["uv", "pip", "install", rest @ ..] => Some(rest),
        [pip, "install", rest @ ..] if is_pip(pip) => Some(rest),
        _ => None,
    }
}

/// A path below the root; `Some(None)` for the root itself, `None` for a path elsewhere.
fn below(path: &str) -> Option<Option<String>> {
    if path != "." && !path.starts_with("./") {
        return None;
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return None;
    }
    Some(Some(parts.join("/")).filter(|path| !path.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installations_of_the_project_are_understood() {
        let plain = LocalProject::default();
        let no_deps = LocalProject { no_deps: true, ..plain.clone() };
        let editable = LocalProject { is_editable: true, ..plain.clone() };
        let extras = LocalProject { extras: vec!["x".into(), "y".into()], ..plain.clone() };
        let below = LocalProject { folder: Some("python/app".into()), ..plain.clone() };
        for (command, expected) in [
            ("pip install .", &plain),
            ("pip3 install ./", &plain),
            ("uv pip install .", &plain),
            ("uv pip install --system --no-cache-dir .", &plain),
            ("python -m pip install .", &plain),
            ("python3.11 -m uv pip install .", &plain),
            ("pip install . --no-deps", &no_deps),
            ("uv pip install --no-deps .", &no_deps),
            ("pip install -e .", &editable),
            ("pip install --editable=.", &editable),
            ("pip install -e.", &editable),
            ("pip install '.[x,y]'", &extras),
            ("pip install ./python/app", &below),
        ] {
            assert_eq!(local_project(command).as_ref(), Ok(expected), "{command}");
        }
    }

    #[test]
    fn everything_else_needs_a_backend() {
        for (command, reason) in [
            ("make install", "it is no `pip install`"),
            ("poetry install", "it is no `pip install`"),
            ("pip install . && rm -rf build", "`&` is for a shell"),
            ("pip install . numpy", "it installs more than the project"),
            ("pip install numpy", "`numpy` is no folder of the project"),
            ("pip install ../other", "`../other` is no folder of the project"),
            ("pip install ./../other", "`./../other` is no folder of the project"),
            ("pip install --target /x .", "option `--target` is not understood here"),
            ("pip install", "it names no folder"),
            ("", "it is no `pip install`"),
        ] {
            let error = local_project(command).unwrap_err();
            assert_eq!(error.reason, reason, "{command}");
            assert!(error.to_string().contains("needs a backend"));
        }
    }
}
