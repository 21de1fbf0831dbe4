//! The Dockerfile that ZenML would write for the same image.
//!
//! It is shown and recorded, never built; what it says is not checked against the image.

use indexmap::IndexMap;

use crate::settings::{DockerSettings, Installer, is_secret_name, without_userinfo};

/// What the Dockerfile is written of.
#[derive(Clone, Copy, Debug)]
pub struct EquivalentImage<'a> {
    /// The settings of the image.
    pub settings: &'a DockerSettings,
    /// The image to build upon, as it was written.
    pub parent: &'a str,
    /// The names of the requirements files, in the order of their installation.
    pub requirements_files: &'a [&'a str],
    /// All packages of the distribution: those of the settings, then those of the stack and of integrations.
    pub apt_packages: &'a [String],
    /// What follows `ENTRYPOINT`.
    pub entrypoint: Option<&'a str>,
    /// Whether sources are put into the image. ZenML writes `COPY . .` in any case, for a context that may be empty.
    pub includes_files: bool,
}

/// Whose Dockerfile it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exactness {
    /// ZenML's, byte for byte, with values that quotes break and with passwords in URLs.
    Zenml,
    /// One that does what it says: values are quoted, what looks like a secret is left out.
    Corrected,
}

/// The text of the Dockerfile, without a line break at its end.
pub fn equivalent(image: &EquivalentImage<'_>, exactness: Exactness) -> String {
    let settings = image.settings;
    let writer = Writer { exactness };
    let mut lines = vec![format!("FROM {}", image.parent), "WORKDIR /app".to_owned()];
    lines.extend(settings.build_config.build_args.keys().map(|name| format!("ARG {name}")));
    lines.extend(settings.environment.iter().map(|(name, value)| writer.variable(name, value)));
    if !image.apt_packages.is_empty() {
        let packages: Vec<String> = image.apt_packages.iter().map(|package| writer.quoted(package)).collect();
        let install = "RUN apt-get update && apt-get install -y --no-install-recommends";
        lines.push(format!("{install} {}", packages.join(" ")));
    }
    if settings.python_package_installer == Installer::Uv {
        lines.push("RUN pip install uv".to_owned());
    }
    let mount = settings.python_package_installer_cache_mount.as_deref();
    let run = mount.map_or_else(|| "RUN".to_owned(), |mount| format!("RUN --mount={mount}"));
    let install = writer.install(settings);
    for file in image.requirements_files {
        lines.push(format!("COPY {file} ."));
        lines.push(format!("{run} {install} -r {file}"));
    }
    lines.push("ENV ZENML_ENABLE_REPO_INIT_WARNINGS=False".to_owned());
    lines.push("ENV ZENML_CONFIG_PATH=/app/.zenconfig".to_owned());
    if image.includes_files || exactness == Exactness::Zenml {
        lines.push("COPY . .".to_owned());
    }
    lines.push("RUN chmod -R a+rw .".to_owned());
    if let Some(command) = &settings.local_project_install_command {
        lines.push(format!("{run} {command}"));
    }
    if let Some(user) = &settings.user {
        lines.push(format!("RUN chown -R {} .", writer.word(user)));
        lines.push(format!("USER {user}"));
    }
    lines.extend(settings.runtime_environment.iter().map(|(name, value)| writer.variable(name, value)));
    lines.extend(image.entrypoint.map(|entrypoint| format!("ENTRYPOINT {entrypoint}")));
    lines.join("\n")
}

/// The exec form of an entrypoint.
pub fn exec_form(words: &[String]) -> String {
    serde_json::Value::from(words).to_string()
}

struct Writer {
    exactness: Exactness,
}

impl Writer {
    fn variable(&self, name: &str, value: &str) -> String {
        if self.exactness == Exactness::Zenml {
            return format!("ENV {name}='{value}'");
        }
        if is_secret_name(name) && !value.is_empty() {
            return format!("# ENV {name} is left out: it looks like a secret.");
        }
        if value.contains(['\n', '\r']) {
            return format!("# ENV {name} is left out: a Dockerfile holds no line break in a value.");
        }
        let value = without_userinfo(value, "").unwrap_or_else(|| value.to_owned());
        format!("ENV {name}=\"{}\"", escaped(&value))
    }

    /// A word of a shell command, in quotes in any case.
    fn quoted(&self, word: &str) -> String {
        match self.exactness {
            Exactness::Zenml => format!("'{word}'"),
            Exactness::Corrected => single_quoted(word),
        }
    }

    /// A word of a shell command, in quotes where it needs them.
    fn word(&self, word: &str) -> String {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "%+,-./:=@_".contains(c);
        match self.exactness {
            Exactness::Corrected if word.is_empty() || !word.chars().all(is_plain) => single_quoted(word),
            _ => word.to_owned(),
        }
    }

    /// The installer's command with its arguments, defaults first.
    fn install(&self, settings: &DockerSettings) -> String {
        let (command, defaults): (&str, &[(&str, Option<&str>)]) = match settings.python_package_installer {
            Installer::Uv => ("uv pip install", &[("no-cache-dir", None)]),
            Installer::Pip => ("pip install", &[("no-cache-dir", None), ("default-timeout", Some("60"))]),
        };
        let mut args: IndexMap<&str, Option<&str>> = defaults.iter().copied().collect();
        args.extend(
            settings.python_package_installer_args.iter().map(|(name, value)| (name.as_str(), value.as_deref())),
        );
        if settings.python_package_installer_cache_mount.is_some() {
            args.shift_remove("no-cache-dir");
        }
        let argument = |(name, value): (&&str, &Option<&str>)| match value {
            None => self.word(&format!("--{name}")),
            Some(value) if self.exactness == Exactness::Zenml => format!("--{name}={value}"),
            Some(value) => {
                let value = without_userinfo(value, "").unwrap_or_else(|| (*value).to_owned());
                self.word(&format!("--{name}={value}"))
            }
        };
        let args: Vec<String> = args.iter().map(argument).collect();
        match self.exactness {
            Exactness::Corrected if args.is_empty() => command.to_owned(),
            _ => format!("{command} {}", args.join(" ")),
        }
    }
}

/// What stands between double quotes of an `ENV`.
fn escaped(value: &str) -> String {
    value.chars().fold(String::new(), |mut text, c| {
        if "\"\\$".contains(c) {
            text.push('\\');
        }
        text.push(c);
        text
    })
}

fn single_quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> IndexMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn written(settings: &DockerSettings, exactness: Exactness) -> String {
        let image = EquivalentImage {
            settings,
            parent: "python:3.12-slim",
            requirements_files: &[".zenml_user_requirements"],
            apt_packages: &settings.apt_packages,
            entrypoint: Some("python -m app"),
            includes_files: false,
        };
        equivalent(&image, exactness)
    }

    fn rich() -> DockerSettings {
        let mut settings = DockerSettings {
            environment: pairs(&[("Q", "x'y \"z\" $HOME \\"), ("API_KEY", "s3cret"), ("LINES", "a\nb")]),
            runtime_environment: pairs(&[("INDEX", "https://u:p@h.test/simple")]),
            apt_packages: vec!["libgl1=1.2".to_owned(), "a'b".to_owned()],
            user: Some("1000:1000".to_owned()),
            local_project_install_command: Some("make install".to_owned()),
            ..DockerSettings::default()
        };
        let url = Some("https://me:tok@h.test/simple?a=b&c".to_owned());
        settings.python_package_installer_args.insert("index-url".to_owned(), url);
        settings.build_config.build_args.insert("A".to_owned(), Some("1".to_owned()));
        settings
    }

    #[test]
    fn the_exact_text_is_zenmls() {
        insta::assert_snapshot!(written(&rich(), Exactness::Zenml), @r#"
        FROM python:3.12-slim
        WORKDIR /app
        ARG A
        ENV Q='x'y "z" $HOME \'
        ENV API_KEY='s3cret'
        ENV LINES='a
        b'
        RUN apt-get update && apt-get install -y --no-install-recommends 'libgl1=1.2' 'a'b'
        RUN pip install uv
        COPY .zenml_user_requirements .
        RUN uv pip install --no-cache-dir --index-url=https://me:tok@h.test/simple?a=b&c -r .zenml_user_requirements
        ENV ZENML_ENABLE_REPO_INIT_WARNINGS=False
        ENV ZENML_CONFIG_PATH=/app/.zenconfig
        COPY . .
        RUN chmod -R a+rw .
        RUN make install
        RUN chown -R 1000:1000 .
        USER 1000:1000
        ENV INDEX='https://u:p@h.test/simple'
        ENTRYPOINT python -m app
        "#);
    }

    #[test]
    fn the_corrected_text_quotes_and_holds_no_secret() {
        let text = written(&rich(), Exactness::Corrected);
        assert!(!text.contains("s3cret") && !text.contains("tok@") && !text.contains("u:p"));
        insta::assert_snapshot!(text, @r#"
        FROM python:3.12-slim
        WORKDIR /app
        ARG A
        ENV Q="x'y \"z\" \$HOME \\"
        # ENV API_KEY is left out: it looks like a secret.
        # ENV LINES is left out: a Dockerfile holds no line break in a value.
        RUN apt-get update && apt-get install -y --no-install-recommends 'libgl1=1.2' 'a'\''b'
        RUN pip install uv
        COPY .zenml_user_requirements .
        RUN uv pip install --no-cache-dir '--index-url=https://h.test/simple?a=b&c' -r .zenml_user_requirements
        ENV ZENML_ENABLE_REPO_INIT_WARNINGS=False
        ENV ZENML_CONFIG_PATH=/app/.zenconfig
        RUN chmod -R a+rw .
        RUN make install
        RUN chown -R 1000:1000 .
        USER 1000:1000
        ENV INDEX="https://h.test/simple"
        ENTRYPOINT python -m app
        "#);
    }

    #[test]
    fn pip_has_arguments_of_its_own_and_a_mount_takes_the_cache_flag_away() {
        let mut settings = DockerSettings { python_package_installer: Installer::Pip, ..DockerSettings::default() };
        let line = |settings: &DockerSettings, exactness| {
            let text = written(settings, exactness);
            text.lines().find(|line| line.contains(" -r ")).unwrap().to_owned()
        };
        let exact = "RUN pip install --no-cache-dir --default-timeout=60 -r .zenml_user_requirements";
        assert_eq!(line(&settings, Exactness::Zenml), exact);
        settings.python_package_installer_args.insert("default-timeout".to_owned(), Some("9".to_owned()));
        settings.python_package_installer_args.insert("pre".to_owned(), None);
        let exact = "RUN pip install --no-cache-dir --default-timeout=9 --pre -r .zenml_user_requirements";
        assert_eq!(line(&settings, Exactness::Zenml), exact);
        settings = DockerSettings {
            python_package_installer_cache_mount: Some("type=cache".to_owned()),
            ..DockerSettings::default()
        };
        let exact = "RUN --mount=type=cache uv pip install  -r .zenml_user_requirements";
        assert_eq!(line(&settings, Exactness::Zenml), exact);
        assert_eq!(line(&settings, Exactness::Corrected), exact.replace("  ", " "));
    }

    #[test]
    fn an_entrypoint_of_words_has_the_exec_form() {
        assert_eq!(exec_form(&["python".to_owned(), "a \"b\"".to_owned()]), r#"["python","a \"b\""]"#);
    }
}
