//! What instructions without files change in an image's config.
//!
//! Folders that `WORKDIR` makes are not its business, nor is where a config is published.

use serde_json::{Value, json};

use super::types::{Command, Healthcheck, Instruction, InstructionKind};
use crate::oci::{DEFAULT_PATH, ImageConfig};

/// The shell where neither an image nor `SHELL` names one.
const DEFAULT_SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Why an instruction makes no sense.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ApplyError {
    /// A port is no number, or beyond 65535.
    #[error("`{0}` is no port")]
    Port(String),
    /// A signal has no such name or number.
    #[error("`{0}` is no signal")]
    Signal(String),
    /// A volume has no path.
    #[error("`VOLUME` names an empty path")]
    EmptyVolume,
}

impl crate::diagnostic::Diagnose for ApplyError {
    fn class(&self) -> crate::diagnostic::Class {
        crate::diagnostic::Class::Usage
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Port(_) => "write a number, `8000/udp` or `8000-8010`".into(),
            Self::Signal(_) => "write a name such as `SIGTERM`, or its number".into(),
            Self::EmptyVolume => "name a folder of the image".into(),
        })
    }
}

/// The config of a stage while its instructions are carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageConfig {
    /// As it is now.
    pub config: ImageConfig,
    has_cmd: bool,
}

impl StageConfig {
    /// The config that a stage begins with.
    pub fn new(mut config: ImageConfig) -> Self {
        if !config.env().iter().any(|(name, _)| name == "PATH") {
            config.set_env("PATH", DEFAULT_PATH);
        }
        Self { config, has_cmd: false }
    }

    /// The same config as the beginning of another stage.
    #[must_use]
    pub fn inherited(&self) -> Self {
        Self { config: self.config.clone(), has_cmd: false }
    }

    /// What runs the shell form of a command.
    pub fn shell(&self) -> Vec<String> {
        self.config.shell().unwrap_or_else(|| DEFAULT_SHELL.map(str::to_owned).to_vec())
    }

    /// The folder that relative paths start from, absolute and without `.` and `..`.
    pub fn working_dir(&self) -> String {
        absolute("/", self.config.working_dir().unwrap_or("/"))
    }

    /// Carries out an instruction whose words are expanded, and gives the line for the history; `None` when it is one
    /// that this module knows nothing of.
    ///
    /// # Errors
    /// Fails when a port, a signal or a volume makes no sense.
    pub fn apply(&mut self, kind: &InstructionKind) -> Result<Option<String>, ApplyError> {
        let config = &mut self.config;
        Ok(Some(match kind {
            InstructionKind::Env(pairs) => {
                pairs.iter().for_each(|(name, value)| config.set_env(name, value));
                listed("ENV", pairs)
            }
            InstructionKind::Label(pairs) => {
                pairs.iter().for_each(|(name, value)| config.set_label(name, value));
                listed("LABEL", pairs)
            }
            InstructionKind::Workdir(path) => {
                let path = absolute(config.working_dir().unwrap_or("/"), path);
                config.set_working_dir(&path);
                format!("WORKDIR {path}")
            }
            InstructionKind::User(user) => {
                config.set_user(user);
                format!("USER {user}")
            }
            InstructionKind::Expose(ports) => {
                let exposed = ports.iter().map(|port| exposed(port)).collect::<Result<Vec<_>, _>>()?.concat();
                exposed.iter().for_each(|port| config.add_member("ExposedPorts", port));
                format!("EXPOSE {}", exposed.join(" "))
            }
            InstructionKind::Volume(paths) => {
                if paths.iter().any(String::is_empty) {
                    return Err(ApplyError::EmptyVolume);
                }
                paths.iter().for_each(|path| config.add_member("Volumes", path));
                format!("VOLUME {}", paths.join(" "))
            }
            InstructionKind::StopSignal(signal) => {
                check_signal(signal)?;
                config.set_member("StopSignal", json!(signal));
                format!("STOPSIGNAL {signal}")
            }
            InstructionKind::Shell(words) => {
                config.set_member("Shell", json!(words));
                format!("SHELL {}", json!(words))
            }
            InstructionKind::Maintainer(name) => {
                config.set_author(name);
                format!("MAINTAINER {name}")
            }
            InstructionKind::Healthcheck(check) => {
                let check = healthcheck(check);
                let line = format!("HEALTHCHECK {}", check["Test"]);
                config.set_member("Healthcheck", check);
                line
            }
            InstructionKind::Cmd(command) => {
                let words = self.words(command);
                self.has_cmd = true;
                self.config.set_cmd(&words);
                self.config.set_member("ArgsEscaped", json!(true));
                format!("CMD {}", json!(words))
            }
            InstructionKind::Entrypoint(command) => {
                let words = self.words(command);
                self.config.set_entrypoint(&words);
                if !self.has_cmd {
                    self.config.set_cmd(&[]);
                }
                format!("ENTRYPOINT {}", json!(words))
            }
            InstructionKind::OnBuild(trigger) => {
                config.add_on_build(&trigger.text);
                format!("ONBUILD {}", trigger.text)
            }
            InstructionKind::Arg(_) | InstructionKind::Copy(_) | InstructionKind::Add(_) | InstructionKind::Run(_) => {
                return Ok(None);
            }
        }))
    }

    fn words(&self, command: &Command) -> Vec<String> {
        match command {
            Command::Exec(words) => words.clone(),
            Command::Shell(text) => [self.shell(), vec![text.clone()]].concat(),
        }
    }

    /// Takes the instructions out that a parent has for those who build upon it, as texts of instructions.
    pub fn take_on_build(&mut self) -> Vec<String> {
        self.config.take_on_build()
    }
}

/// Whether an instruction changes nothing but the config.
pub fn is_config(instruction: &Instruction) -> bool {
    !matches!(
        instruction.kind,
        InstructionKind::Workdir(_) | InstructionKind::Copy(_) | InstructionKind::Add(_) | InstructionKind::Run(_)
    )
}

fn listed(word: &str, pairs: &[(String, String)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{word} {}", pairs.join(" "))
}

/// `path` as it is seen from the folder `from`, without empty parts, `.` and `..`.
pub fn absolute(from: &str, path: &str) -> String {
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{from}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The ports of one word of `EXPOSE`: `80`, `80/udp`, `8000-8010`; what is said of the host does not count.
fn exposed(word: &str) -> Result<Vec<String>, ApplyError> {
    let wrong = || ApplyError::Port(word.to_owned());
    let (ports, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let protocol = if protocol.is_empty() { "tcp".to_owned() } else { protocol.to_ascii_lowercase() };
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err(wrong());
    }
    let container = ports.rsplit(':').next().unwrap_or(ports);
    let (first, last) = container.split_once('-').unwrap_or((container, container));
    let number = |text: &str| text.parse::<u16>().map_err(|_| wrong());
    let (first, last) = (number(first)?, number(last)?);
    if last < first {
        return Err(wrong());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// The names of Linux's signals, without `SIG` (signal(7)).
const SIGNALS: [&str; 37] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE", "POLL",
    "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1",
    "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX", "UNUSED",
];

fn check_signal(signal: &str) -> Result<(), ApplyError> {
    let upper = signal.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = |base: &str, sign: char| {
        name.strip_prefix(base).and_then(|rest| rest.strip_prefix(sign)).is_some_and(|rest| rest.parse::<u8>().is_ok())
    };
    let is_known = SIGNALS.contains(&name)
        || signal.parse::<u8>().is_ok_and(|number| number > 0)
        || real_time("RTMIN", '+')
        || real_time("RTMAX", '-');
    if is_known { Ok(()) } else { Err(ApplyError::Signal(signal.to_owned())) }
}

/// The member `Healthcheck` (Docker image specification 1.3): durations in nanoseconds.
fn healthcheck(check: &Healthcheck) -> Value {
    let Healthcheck::Check { command, interval, timeout, start_period, start_interval, retries } = check else {
        return json!({"Test": ["NONE"]});
    };
    let test = match command {
        Command::Exec(words) => [vec!["CMD".to_owned()], words.clone()].concat(),
        Command::Shell(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
    };
    let mut object = serde_json::Map::from_iter([("Test".to_owned(), json!(test))]);
    let durations = [
        ("Interval", interval),
        ("Timeout", timeout),
        ("StartPeriod", start_period),
        ("StartInterval", start_interval),
    ];
    for (name, duration) in durations {
        if let Some(duration) = duration {
            object.insert(name.into(), json!(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)));
        }
    }
    if let Some(retries) = retries {
        object.insert("Retries".into(), json!(retries));
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::super::Dockerfile;
    use super::*;
    use crate::oci::Platform;

    /// What the instructions leave in `config`, upon an image with the command `old`.
    fn applied(lines: &str) -> Value {
        let file = Dockerfile::parse(&format!("FROM scratch\n{lines}\n")).unwrap();
        let mut config = ImageConfig::new(&Platform::new("linux", "amd64"));
        config.set_cmd(&["old".to_owned()]);
        let mut stage = StageConfig::new(config);
        for instruction in &file.stages[0].instructions {
            let kind = instruction.kind.expanded('\\', &|_| None).unwrap();
            stage.apply(&kind).unwrap().unwrap();
        }
        serde_json::to_value(stage.config.runtime_members()).unwrap()
    }

    #[test]
    fn instructions_leave_the_members_that_docker_knows() {
        let path = format!("PATH={DEFAULT_PATH}");
        for (lines, expected) in [
            ("ENV A=1 B=\"x y\"\nENV A=2", json!({"Env": [path, "A=2", "B=x y"], "Cmd": ["old"]})),
            ("ENTRYPOINT [\"a\"]", json!({"Env": [path], "Entrypoint": ["a"]})),
            (
                "CMD b\nENTRYPOINT [\"a\"]",
                json!({"Env": [path], "Entrypoint": ["a"], "Cmd": ["/bin/sh", "-c", "b"], "ArgsEscaped": true}),
            ),
            (
                "SHELL [\"/bin/bash\", \"-c\"]\nCMD b",
                json!({"Env": [path], "Shell": ["/bin/bash", "-c"], "Cmd": ["/bin/bash", "-c", "b"], "ArgsEscaped": true}),
            ),
            (
                "WORKDIR /a\nWORKDIR b/../c\nUSER 7:8",
                json!({"Env": [path], "Cmd": ["old"], "WorkingDir": "/a/c", "User": "7:8"}),
            ),
            (
                "EXPOSE 80 81/udp 9000-9001\nVOLUME /v /w\nSTOPSIGNAL SIGRTMIN+3",
                json!({
                    "Env": [path], "Cmd": ["old"], "StopSignal": "SIGRTMIN+3", "Volumes": {"/v": {}, "/w": {}},
                    "ExposedPorts": {"80/tcp": {}, "81/udp": {}, "9000/tcp": {}, "9001/tcp": {}},
                }),
            ),
            (
                "HEALTHCHECK --interval=1m --retries=2 CMD a b\nONBUILD RUN x",
                json!({
                    "Env": [path], "Cmd": ["old"], "OnBuild": ["RUN x"],
                    "Healthcheck": {"Test": ["CMD-SHELL", "a b"], "Interval": 60_000_000_000_u64, "Retries": 2},
                }),
            ),
            ("HEALTHCHECK NONE", json!({"Env": [path], "Cmd": ["old"], "Healthcheck": {"Test": ["NONE"]}})),
            ("LABEL a=b c=\"d e\"", json!({"Env": [path], "Cmd": ["old"], "Labels": {"a": "b", "c": "d e"}})),
        ] {
            assert_eq!(applied(lines), expected, "{lines}");
        }
    }

    #[test]
    fn ports_and_signals_that_are_none_are_refused() {
        for (word, ports) in [("0.0.0.0:80:90/TCP", vec!["90/tcp"]), ("1-3", vec!["1/tcp", "2/tcp", "3/tcp"])] {
            assert_eq!(exposed(word).unwrap(), ports);
        }
        for word in ["", "x", "70000", "3-1", "80/http"] {
            assert_eq!(exposed(word), Err(ApplyError::Port(word.to_owned())));
        }
        for (signal, is_one) in [("9", true), ("sigterm", true), ("TERM", true), ("0", false), ("SIGNOPE", false)] {
            assert_eq!(check_signal(signal).is_ok(), is_one, "{signal}");
        }
    }

    #[test]
    fn paths_are_seen_from_the_working_folder() {
        for (from, path, expected) in
            [("/a", "b", "/a/b"), ("/a", "/b/", "/b"), ("/a", "../../..", "/"), ("x", ".", "/x")]
        {
            assert_eq!(absolute(from, path), expected);
        }
    }
}
