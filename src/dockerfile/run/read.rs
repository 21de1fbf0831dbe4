//! From a RUN instruction to its steps.
//!
//! Nothing is run, and no file is looked at. Every command is held to succeed, so that `;`, a line break and `&&` come to
//! the same; `||` is understood where what is behind it does not count then.

use super::commands;
use super::mounted::Mounted;
use super::not_known::{NotKnown, redacted};
use super::pattern::Pattern;
use super::shell::{Dialect, Field, Joint, SimpleCommand, Variables, Word, read_script};
use super::step::{KnownRun, RunStep, Step};
use crate::dockerfile::{Command, Run, Script};

/// What the commands of `run` do.
///
/// `shell` is what `SHELL` says, or nothing for the default one. `variables` are those of the image, of `ARG` and of
/// secrets whose value is known; one that is `None` is not set. `HOME` is asked of them where `~` stands.
///
/// # Errors
/// Fails for the first thing that is not known without running it.
pub fn read_run(run: &Run, shell: &[String], variables: &dyn Fn(&str) -> Option<String>) -> Result<KnownRun, NotKnown> {
    let text = summary(&run.command);
    let whole = |reason: String| NotKnown { command: text.clone(), reason }.redacted();
    let mounts = run.mounts.iter().map(Mounted::of).collect::<Result<Vec<_>, _>>().map_err(whole)?.concat();
    let secrets = mounts.iter().filter_map(Mounted::secret_variable).map(str::to_owned).collect();
    let steps = match source(run, shell).map_err(whole)? {
        Source::Words(words) => vec![executed(&words, &text, variables).map_err(whole)?],
        Source::Script { text, dialect } => {
            if dialect.is_bash && variables("BASH_ENV").is_some_and(|file| !file.is_empty()) {
                return Err(whole("`BASH_ENV` names a script that is run first".into()));
            }
            let mut reader = Reader { variables: Variables::new(variables, dialect, secrets), fallible: None };
            reader.steps(&text).map_err(NotKnown::redacted)?
        }
    };
    let known = KnownRun { steps, mounts };
    check_surroundings(run, &known).map_err(NotKnown::redacted)?;
    Ok(known)
}

/// What an installation needs that a RUN line can take away.
fn check_surroundings(run: &Run, known: &KnownRun) -> Result<(), NotKnown> {
    let Some(step) = known.steps.iter().find(|step| step.does.installs()) else { return Ok(()) };
    let refused = |reason: &str| Err(NotKnown { command: step.command.clone(), reason: reason.to_owned() });
    if !matches!(run.network.as_deref(), None | Some("default" | "host")) {
        return refused("it has no network");
    }
    if !matches!(run.security.as_deref(), None | Some("sandbox")) {
        return refused("it has more rights than a sandbox");
    }
    if !run.devices.is_empty() {
        return refused("it has a device");
    }
    if known.mounts.contains(&Mounted::Agent) {
        return refused("it has an SSH agent");
    }
    Ok(())
}

/// What there is to be read.
enum Source {
    /// One command without a shell.
    Words(Vec<String>),
    Script {
        text: String,
        dialect: Dialect,
    },
}

fn source(run: &Run, shell: &[String]) -> Result<Source, String> {
    match run.script() {
        Script::Words(_) if !run.documents.is_empty() => Err("it is given a here-document".into()),
        Script::Words([shell @ .., text]) if shell.len() > 1 => match Dialect::started_by(shell) {
            Ok(dialect) => Ok(Source::Script { text: text.clone(), dialect }),
            Err(_) => Ok(Source::Words([shell, std::slice::from_ref(text)].concat())),
        },
        Script::Words(words) => Ok(Source::Words(words.to_vec())),
        Script::Shell(text) => Ok(Source::Script { text, dialect: Dialect::started_by(shell)? }),
        Script::File { content, .. } => {
            let first = content.lines().next().unwrap_or_default();
            Ok(Source::Script { text: content.to_owned(), dialect: Dialect::of_first_line(first)? })
        }
    }
}

/// The text of a RUN line for messages, on one line.
fn summary(command: &Command) -> String {
    let text = match command {
        Command::Exec(words) => words.join(" "),
        Command::Shell(text) => text.clone(),
    };
    redacted(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The one step of a command without a shell.
fn executed(words: &[String], text: &str, variables: &dyn Fn(&str) -> Option<String>) -> Result<Step, String> {
    if words.first().is_some_and(|word| matches!(word.as_str(), "cd" | ":" | "export" | "set")) {
        return Err("it is no program".into());
    }
    let does = commands::read(words, variables)?;
    Ok(Step { command: text.to_owned(), does, environment: Default::default(), patterns: Vec::new() })
}

/// Reads a script command by command.
struct Reader<'a> {
    variables: Variables<'a>,
    /// A command that can fail, since the last `;` or line break.
    fallible: Option<String>,
}

impl Reader<'_> {
    fn steps(&mut self, text: &str) -> Result<Vec<Step>, NotKnown> {
        let mut steps = Vec::new();
        for command in read_script(text)? {
            let not_known = |reason| NotKnown { command: command.text.clone(), reason };
            if command.joint == Joint::Then {
                self.fallible = None;
            }
            if command.joint == Joint::Or {
                self.alternative(&command).map_err(not_known)?;
                continue;
            }
            let step = self.step(&command).map_err(not_known)?;
            if step.does.can_fail() {
                self.fallible.get_or_insert_with(|| step.command.clone());
            }
            steps.push(step);
        }
        Ok(steps)
    }

    /// What stands behind `||`, which is never run. It may turn a failure into another, or hide one that cannot be.
    fn alternative(&self, command: &SimpleCommand) -> Result<(), String> {
        let words: Vec<&str> = command.words.iter().map(|word| word.plain().unwrap_or_default()).collect();
        let is_failure = match words.as_slice() {
            ["false"] => true,
            ["exit", status] => status.parse::<u8>().is_ok_and(|status| status > 0),
            _ => false,
        };
        match (&self.fallible, words.as_slice()) {
            _ if !command.assignments.is_empty() => {}
            _ if is_failure => return Ok(()),
            (None, ["true" | ":"]) => return Ok(()),
            (Some(before), ["true" | ":"]) => {
                return Err(format!("it goes on where `{before}` fails"));
            }
            _ => {}
        }
        Err("it runs only where something fails (`||`)".into())
    }

    fn step(&mut self, command: &SimpleCommand) -> Result<Step, String> {
        let before = self.assigned(&command.assignments)?;
        if command.words.is_empty() {
            for (name, value) in before {
                self.variables.set(&name, value)?;
            }
            return Ok(self.finished(command, RunStep::Nothing, &[], Vec::new()));
        }
        if command.words.first().and_then(Word::plain) == Some("export") {
            self.export(&command.words[1..], &before)?;
            return Ok(self.finished(command, RunStep::Nothing, &[], Vec::new()));
        }
        let mut fields = Vec::new();
        for word in &command.words {
            fields.extend(word.fields(&self.variables)?);
        }
        let patterns = fields.iter().filter_map(|field| field.pattern.clone()).collect();
        let arguments: Vec<String> = fields.into_iter().map(|field: Field| field.text).collect();
        let does = self.does(&arguments, &before)?;
        Ok(self.finished(command, does, &before, patterns))
    }

    fn finished(
        &self,
        command: &SimpleCommand,
        does: RunStep,
        before: &[(String, String)],
        patterns: Vec<Pattern>,
    ) -> Step {
        let environment = self.variables.environment(before);
        Step { command: redacted(&command.text), does, environment, patterns }
    }

    /// The values of `NAME=value` words.
    fn assigned(&self, assignments: &[(String, Word)]) -> Result<Vec<(String, String)>, String> {
        let names: Vec<&str> = assignments.iter().map(|(name, _)| name.as_str()).collect();
        let mut values = Vec::new();
        for (n, (name, word)) in assignments.iter().enumerate() {
            if word.names_one_of(&names[..n]) {
                return Err(format!("`{name}` depends on what is set beside it"));
            }
            self.variables.check_name(name)?;
            values.push((name.clone(), word.value(&self.variables)?));
        }
        Ok(values)
    }

    fn export(&mut self, words: &[Word], before: &[(String, String)]) -> Result<(), String> {
        if words.is_empty() || !before.is_empty() {
            return Err("it is more than `export NAME=value`".into());
        }
        for word in words {
            match (word.assignment(), word.plain()) {
                (Some((name, value)), _) => {
                    let value = value.exported_value(&self.variables)?;
                    self.variables.set(&name, value)?;
                    self.variables.export(&name);
                }
                (None, Some(name)) if super::shell::is_name(name) => self.variables.export(name),
                _ => return Err("it is more than `export NAME=value`".into()),
            }
        }
        Ok(())
    }

    /// Builtins of the shell, then other commands.
    fn does(&mut self, arguments: &[String], before: &[(String, String)]) -> Result<RunStep, String> {
        let Some((command, words)) = arguments.split_first() else { return Err("it runs nothing".into()) };
        let is_builtin = matches!(command.as_str(), ":" | "set" | "cd" | "." | "source");
        if is_builtin && !before.is_empty() {
            return Err(format!("variables before `{command}` hold in different ways"));
        }
        match (command.as_str(), words) {
            (":", _) => Ok(RunStep::Nothing),
            ("set", words) => {
                self.variables.dialect().set_by(words)?;
                Ok(RunStep::Nothing)
            }
            ("cd", words) => self.change_folder(words),
            ("." | "source", [file]) if command == "." || self.variables.dialect().is_bash => self.activate(file),
            _ => {
                let environment = self.variables.environment(before);
                let given = |name: &str| environment.get(name).cloned().or_else(|| self.variables.given(name));
                commands::read(arguments, &given)
            }
        }
    }

    fn change_folder(&mut self, words: &[String]) -> Result<RunStep, String> {
        let folder = match words {
            [] => self.variables.value("HOME")?.ok_or("the home folder is not known")?,
            [folder] if !folder.starts_with('-') && !folder.is_empty() => folder.clone(),
            _ => return Err("it is more than `cd FOLDER`".into()),
        };
        let is_searched = !folder.starts_with(['/', '.']) && self.variables.value("CDPATH")?.is_some();
        if is_searched { Err("`CDPATH` is set".into()) } else { Ok(RunStep::ChangeFolder(folder)) }
    }

    /// `. DIR/bin/activate`: what an environment's script of that name sets.
    fn activate(&mut self, file: &str) -> Result<RunStep, String> {
        let folder = file.strip_suffix("/bin/activate").filter(|folder| folder.starts_with('/') && folder.len() > 1);
        let folder = folder.ok_or_else(|| format!("it runs the script `{file}`"))?;
        if folder.split('/').any(|part| part == "..") || folder.contains("//") || folder.ends_with('/') {
            return Err(format!("it runs the script `{file}`"));
        }
        let path = self.variables.value("PATH")?.ok_or("`PATH` is not known before it runs")?;
        if self.variables.value("VIRTUAL_ENV")?.is_some_and(|folder| !folder.is_empty())
            || self.variables.value("PYTHONHOME")?.is_some()
        {
            return Err("it leaves one environment for another".into());
        }
        for (name, value) in [("PATH", format!("{folder}/bin:{path}")), ("VIRTUAL_ENV", folder.to_owned())] {
            self.variables.set(name, value)?;
            self.variables.export(name);
        }
        Ok(RunStep::Activate(folder.to_owned()))
    }
}
