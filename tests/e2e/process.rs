//! Children that run to their end, or to one that a case makes.
//!
//! Servers are not started here.

use std::ffi::OsStr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::Halt;

/// What a child left.
pub(crate) struct Ran {
    /// The command line, for messages.
    pub(crate) line: String,
    /// The exit code; `None` after a signal.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The run, when it succeeded.
    pub(crate) fn done(self) -> Result<Self, Halt> {
        if self.code == Some(0) {
            return Ok(self);
        }
        Err(Halt::Failed(format!("`{}` ended with {:?}\n{}", self.line, self.code, tail(&self.shown()))))
    }

    /// What it said, both streams.
    pub(crate) fn shown(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// The last lines of a text.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}

/// A command with arguments.
pub(crate) fn command<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs a command and keeps what it says, however it ends.
pub(crate) fn run(command: &mut Command) -> Result<Ran, Halt> {
    let line = shown(command);
    let output = command.output().map_err(|error| Halt::Failed(format!("cannot start `{line}`: {error}")))?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Ran { line, code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) })
}

/// Runs a command that must succeed, and gives its stdout.
pub(crate) fn done<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Result<String, Halt> {
    Ok(run(&mut command(program, arguments))?.done()?.stdout)
}

/// How long a child may run that is waited for with a limit.
const PATIENCE: Duration = Duration::from_secs(300);

/// A child that runs, and is ended with the value.
pub(crate) struct Running {
    child: Option<Child>,
    line: String,
    since: Instant,
}

impl Running {
    /// Starts a command that says little.
    pub(crate) fn start(command: &mut Command) -> Result<Self, Halt> {
        let line = shown(command);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let child = child.map_err(|error| Halt::Failed(format!("cannot start `{line}`: {error}")))?;
        Ok(Self { child: Some(child), line, since: Instant::now() })
    }

    /// Ends it as a power cut does.
    pub(crate) fn kill(mut self) -> Result<(), Halt> {
        match self.child.as_mut().map(Child::try_wait).transpose()? {
            Some(None) => Ok(()),
            _ => Err(Halt::Failed(format!("`{}` ended before it was killed", self.line))),
        }
    }

    /// Sends a signal to it.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) -> Result<(), Halt> {
        let id = self.child.as_ref().and_then(|child| i32::try_from(child.id()).ok());
        let id = id.and_then(rustix::process::Pid::from_raw);
        let sent = id.is_some_and(|id| rustix::process::kill_process(id, signal).is_ok());
        if sent { Ok(()) } else { Err(Halt::Failed(format!("`{}` took no signal", self.line))) }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Waits for its end, and gives how many seconds it ran.
    pub(crate) fn end(mut self) -> Result<(Ran, f64), Halt> {
        while let Some(None) = self.child.as_mut().map(Child::try_wait).transpose()? {
            if self.since.elapsed() > PATIENCE {
                return Err(Halt::Failed(format!("`{}` does not end", self.line)));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let seconds = self.since.elapsed().as_secs_f64();
        let Some(child) = self.child.take() else { return Err(Halt::Failed("no child".to_owned())) };
        let output = child.wait_with_output()?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let line = std::mem::take(&mut self.line);
        Ok((
            Ran { line, code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) },
            seconds,
        ))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
