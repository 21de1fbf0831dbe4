//! Child processes: the one place that starts any.
//!
//! A child gets exactly the environment that it is given. No shell reads its arguments; the one that holds a leash only
//! passes them on.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::ChildStdin;
use tokio::sync::mpsc::Sender;

/// The environment of children; `Debug` shows names alone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ChildEnvironment(BTreeMap<String, String>);

impl ChildEnvironment {
    /// The environment that holds `variables` and nothing else.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(variables.into_iter().collect())
    }

    /// The same environment with `name` set to `value`.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// The same environment without `name`.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.0.remove(name);
        self
    }

    /// The value of `name`.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The first executable file `name` on this environment's `PATH`.
    pub fn find_on_path(&self, name: &str) -> Option<PathBuf> {
        self.find_all_on_path(name).next()
    }

    /// Every executable file `name` on this environment's `PATH`, in order.
    pub fn find_all_on_path<'a>(&'a self, name: &'a str) -> impl Iterator<Item = PathBuf> + 'a {
        let folders = self.value("PATH").unwrap_or_default().split(':').filter(|folder| folder.starts_with('/'));
        folders.map(move |folder| Path::new(folder).join(name)).filter(|path| is_executable(path))
    }
}

impl fmt::Debug for ChildEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// A child to start.
#[derive(Clone, Debug)]
pub struct Child {
    /// The program's path; never looked up on a `PATH`.
    pub program: PathBuf,
    /// Its arguments. They are visible to every user of the machine: no secret goes here.
    pub arguments: Vec<String>,
    /// Its environment.
    pub environment: ChildEnvironment,
    /// Its working folder.
    pub folder: PathBuf,
    /// What it reads on standard input.
    pub input: Vec<u8>,
    /// How long it may run.
    pub timeout: Duration,
    /// Bytes kept of standard output and of standard error each; a child that writes more to standard output is stopped.
    pub cap: usize,
    leash: Option<Leash>,
}

/// What a child on a leash does when this process is gone.
#[derive(Clone, Debug)]
struct Leash {
    /// How it is ended.
    signal: &'static str,
    /// The folder that is removed after it.
    folder: PathBuf,
    /// The program that removes it, given `rm` and its arguments; for files of subordinate users.
    remover: Option<PathBuf>,
}

/// Runs `"$@"` until it ends or standard input does, which is a pipe from us: it ends with this process, however that
/// ends. What is left of its group is then ended too and the folder removed, in which dying processes may still write.
const LEASH: &str = r#"exec 3<&0 </dev/null
signal=$1 folder=$2 remover=$3
shift 3
"$@" 3<&- &
child=$!
PATH="$PATH:/usr/bin:/bin"
{ read -r _ <&3; : >"$folder/.alone"; kill -"$signal" "$child"; sleep 10; kill -KILL "$child"; } >/dev/null 2>&1 &
wait "$child"
code=$?
trap '' TERM
kill -TERM 0
tries=0
[ ! -e "$folder/.alone" ] || while [ -e "$folder" ] && [ "$tries" -lt 100 ]; do
  ${remover:+"$remover"} rm -rf --one-file-system -- "$folder" >/dev/null 2>&1 || sleep 0.1
  tries=$((tries + 1))
done
exit "$code""#;

/// The longest line that is told whole: a message of BuildKit's, which has 16 MiB at most, in base64.
const LINE_CAP: usize = 24 << 20;

/// One of the two streams that a child writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// How a child ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error, the last `cap` bytes, with control sequences taken out.
    pub stderr: String,
}

/// Why a child did not come to an end of its own.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// It cannot be started.
    #[error("`{program}` cannot be started")]
    Start {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Its pipes broke.
    #[error("`{program}` cannot be listened to")]
    Pipe {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It took too long and was stopped.
    #[error("`{program}` was stopped after {} s", .timeout.as_secs())]
    Timeout {
        /// The program.
        program: String,
        /// The time it had.
        timeout: Duration,
    },
    /// It wrote too much and was stopped.
    #[error("`{program}` was stopped after more than {cap} bytes of output")]
    Output {
        /// The program.
        program: String,
        /// The bytes it could write.
        cap: usize,
    },
}

impl Child {
    /// A child with an empty standard input, ten minutes and 64 MiB of output.
    pub fn new(program: impl Into<PathBuf>, environment: ChildEnvironment, folder: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment,
            folder: folder.into(),
            input: Vec::new(),
            timeout: Duration::from_secs(600),
            cap: 64 << 20,
            leash: None,
        }
    }

    /// The same child, ended by SIGTERM when this process ends in any way, SIGKILL too; `folder` is then removed. It gets
    /// no standard input.
    #[must_use]
    pub fn on_leash(mut self, folder: impl Into<PathBuf>) -> Self {
        self.leash = Some(Leash { signal: "TERM", folder: folder.into(), remover: None });
        self
    }

    /// The same as [`Child::on_leash`] for a child that takes what it started with it when it is killed, and no other way.
    /// Where its files are of users that `rm` may not speak for, `remover` runs `rm`.
    #[must_use]
    pub fn on_choke(mut self, folder: impl Into<PathBuf>, remover: Option<PathBuf>) -> Self {
        self.leash = Some(Leash { signal: "KILL", folder: folder.into(), remover });
        self
    }

    /// Runs the child to its end; it and the processes it started are killed when the future is dropped or its time is over.
    ///
    /// # Errors
    /// Fails when it cannot be started, runs too long or writes too much. A non-zero exit is no error here.
    pub async fn run(self) -> Result<Outcome, ChildError> {
        let program = self.program.display().to_string();
        let mut child =
            self.command().spawn().map_err(|source| ChildError::Start { program: program.clone(), source })?;
        let group = Group(child.id());
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let talk = async {
            let (leash, stdout, stderr) =
                tokio::join!(self.feed(stdin), head(stdout, self.cap), tail(stderr, self.cap));
            let status = child.wait().await;
            drop(leash);
            (stdout, stderr, status)
        };
        let ended = tokio::time::timeout(self.timeout, talk).await;
        let (stdout, stderr, status) =
            ended.map_err(|_| ChildError::Timeout { program: program.clone(), timeout: self.timeout })?;
        group.ended();
        let pipe = |source| ChildError::Pipe { program: program.clone(), source };
        let stdout = stdout.map_err(pipe)?.ok_or(ChildError::Output { program: program.clone(), cap: self.cap })?;
        let stderr = plain(&String::from_utf8_lossy(&stderr.map_err(pipe)?));
        Ok(Outcome { status: status.map_err(pipe)?, stdout, stderr })
    }

    /// Runs the child as [`Child::run`] does, tells each line as it comes, and keeps none. Its time is the longest that
    /// it may say nothing; its output has no limit.
    ///
    /// # Errors
    /// Fails when it cannot be started, or says nothing for too long. A non-zero exit is no error here.
    pub async fn run_telling(self, tell: &mut (dyn FnMut(Stream, &str) + Send)) -> Result<ExitStatus, ChildError> {
        let program = self.program.display().to_string();
        let mut child =
            self.command().spawn().map_err(|source| ChildError::Start { program: program.clone(), source })?;
        let group = Group(child.id());
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (sender, mut receiver) = tokio::sync::mpsc::channel(4);
        let pipe = |source| ChildError::Pipe { program: program.clone(), source };
        let listen = async {
            let of_stdout = lines(stdout, Stream::Output, sender.clone());
            let of_stderr = lines(stderr, Stream::Error, sender);
            let (leash, first, second) = tokio::join!(self.feed(stdin), of_stdout, of_stderr);
            first.and(second).map_err(pipe)?;
            Ok(leash)
        };
        let told = async {
            loop {
                match tokio::time::timeout(self.timeout, receiver.recv()).await {
                    Ok(Some((stream, line))) => tell(stream, &line),
                    Ok(None) => return Ok(()),
                    Err(_) => return Err(ChildError::Timeout { program: program.clone(), timeout: self.timeout }),
                }
            }
        };
        let (leash, ()) = tokio::try_join!(listen, told)?;
        let status = child.wait().await.map_err(pipe)?;
        drop(leash);
        group.ended();
        Ok(status)
    }

    /// Starts a child that serves, on a leash; what it says goes to `log`.
    ///
    /// # Errors
    /// Fails when it cannot be started.
    pub fn serve(self, log: std::fs::File) -> Result<Serving, ChildError> {
        let program = self.program.display().to_string();
        let failed = |source| ChildError::Start { program: program.clone(), source };
        let error = log.try_clone().map_err(failed)?;
        let mut command = self.command();
        let mut child = command.stdout(log).stderr(error).kill_on_drop(false).spawn().map_err(failed)?;
        Ok(Serving { leash: child.stdin.take(), child })
    }

    /// Writes the input; gives the pipe back when the child's life hangs on it.
    async fn feed(&self, stdin: Option<ChildStdin>) -> Option<ChildStdin> {
        let mut stdin = stdin?;
        // A child that does not read its input closes the pipe; its exit status tells the rest.
        let _ = stdin.write_all(&self.input).await;
        self.leash.is_some().then_some(stdin)
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that starts children")]
    fn command(&self) -> tokio::process::Command {
        let mut command = match &self.leash {
            None => tokio::process::Command::new(&self.program),
            Some(Leash { signal, folder, remover }) => {
                let mut shell = tokio::process::Command::new("/bin/sh");
                let remover = remover.clone().unwrap_or_default();
                shell.args(["-c", LEASH, "sh", signal]).arg(folder).arg(remover).arg(&self.program);
                shell
            }
        };
        let reads = !self.input.is_empty() || self.leash.is_some();
        command
            .args(&self.arguments)
            .env_clear()
            .envs(&self.environment.0)
            .current_dir(&self.folder)
            .stdin(if reads { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        command
    }
}

/// A child that serves until this is dropped.
pub struct Serving {
    leash: Option<ChildStdin>,
    child: tokio::process::Child,
}

impl Serving {
    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it and waits until it is gone, its folder too.
    pub async fn end(mut self) {
        drop(self.leash.take());
        // The leash has a limit of its own.
        let _ = self.child.wait().await;
    }
}

/// A process group that is killed when dropped before its leader has ended.
struct Group(Option<u32>);

impl Group {
    fn ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let leader = self.0.and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(leader) = leader {
            let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
        }
    }
}

/// Sends each line of a pipe; of one that is too long, its beginning.
async fn lines(
    pipe: Option<impl AsyncRead + Unpin>,
    stream: Stream,
    to: Sender<(Stream, String)>,
) -> std::io::Result<()> {
    let Some(pipe) = pipe else { return Ok(()) };
    let mut reader = BufReader::with_capacity(16 << 10, pipe);
    let mut line = Vec::new();
    loop {
        let chunk = reader.fill_buf().await?;
        let is_over = chunk.is_empty();
        let end = memchr::memchr(b'\n', chunk);
        let taken = end.unwrap_or(chunk.len());
        line.extend_from_slice(&chunk[..taken.min(LINE_CAP.saturating_sub(line.len()))]);
        reader.consume(taken + usize::from(end.is_some()));
        if end.is_some() || (is_over && !line.is_empty()) {
            let text = plain(&String::from_utf8_lossy(&line));
            line.clear();
            if to.send((stream, text)).await.is_err() {
                return Ok(());
            }
        }
        if is_over {
            return Ok(());
        }
    }
}

/// The first `cap` bytes; `None` when there are more.
async fn head(pipe: Option<impl AsyncRead + Unpin>, cap: usize) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let Some(pipe) = pipe else { return Ok(Some(bytes)) };
    pipe.take(cap as u64 + 1).read_to_end(&mut bytes).await?;
    Ok((bytes.len() <= cap).then_some(bytes))
}

/// The last `cap` bytes.
async fn tail(pipe: Option<impl AsyncRead + Unpin>, cap: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let Some(mut pipe) = pipe else { return Ok(bytes) };
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = pipe.read(&mut buffer).await?;
        if read == 0 {
            break;
        }
        bytes.extend_from_slice(&buffer[..read]);
        if bytes.len() > cap.saturating_mul(2) {
            bytes.drain(..bytes.len() - cap);
        }
    }
    bytes.drain(..bytes.len().saturating_sub(cap));
    Ok(bytes)
}

/// `text` without escape sequences (ECMA-48) and control characters other than newline and tab.
pub(crate) fn plain(text: &str) -> String {
    // Nearly all text is plain, and some of it is megabytes of base64.
    if text.bytes().all(|byte| matches!(byte, b'\n' | b'\t' | b' '..=b'~')) {
        return text.to_owned();
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\u{1b}' => match rest.next() {
                Some('[') => while rest.next().is_some_and(|c| !('\u{40}'..='\u{7e}').contains(&c)) {},
                Some(']') => while rest.next().is_some_and(|c| c != '\u{7}' && c != '\u{1b}') {},
                _ => {}
            },
            '\n' | '\t' => plain.push(character),
            control if control.is_control() => {}
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn shell(script: &str) -> Child {
        let environment = ChildEnvironment::default().with("PATH", "/usr/bin:/bin").with("GIVEN", "yes");
        let mut child = Child::new("/bin/sh", environment, "/");
        child.arguments = vec!["-c".into(), script.into()];
        child.timeout = Duration::from_secs(20);
        child
    }

    #[tokio::test]
    async fn child_sees_the_environment_given_and_no_other() {
        let mut child = shell("cat; env; echo warn >&2; exit 3");
        child.input = b"in\n".to_vec();
        let outcome = child.run().await.unwrap();
        let stdout = String::from_utf8(outcome.stdout).unwrap();
        assert!(stdout.starts_with("in\n") && stdout.contains("GIVEN=yes"), "{stdout}");
        assert!(!stdout.contains("CARGO"), "{stdout}");
        assert_eq!((outcome.status.code(), outcome.stderr.as_str()), (Some(3), "warn\n"));
    }

    #[tokio::test]
    async fn child_and_grandchild_are_killed_when_time_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let mut child = shell(&format!("(sleep 2; touch {}) & sleep 30", mark.display()));
        child.timeout = Duration::from_millis(200);
        let began = Instant::now();
        assert!(matches!(child.run().await, Err(ChildError::Timeout { .. })));
        assert!(began.elapsed() < Duration::from_secs(2));
        tokio::time::sleep(Duration::from_millis(2300)).await;
        assert!(!mark.exists());
    }

    #[tokio::test]
    async fn output_is_bounded() {
        let mut child = shell("echo 0123456789; echo 0123456789 >&2");
        child.cap = 5;
        assert!(matches!(child.run().await, Err(ChildError::Output { cap: 5, .. })));
        let mut child = shell("echo 0123456789 >&2");
        child.cap = 5;
        assert_eq!(child.run().await.unwrap().stderr, "6789\n");
        assert!(matches!(
            Child::new("/no/such", ChildEnvironment::default(), "/").run().await,
            Err(ChildError::Start { .. })
        ));
    }

    #[tokio::test]
    async fn lines_are_told_as_they_come() {
        let child = shell("printf 'a\\nb' ; sleep 0.2; echo c >&2; exit 4");
        let mut told = Vec::new();
        let status = child.run_telling(&mut |stream, line| told.push((stream, line.to_owned()))).await.unwrap();
        told.sort_by_key(|(_, line)| line.clone());
        let told: Vec<_> = told.iter().map(|(stream, line)| (*stream, line.as_str())).collect();
        assert_eq!(told, [(Stream::Output, "a"), (Stream::Output, "b"), (Stream::Error, "c")]);
        assert_eq!(status.code(), Some(4));
        let mut silent = shell("sleep 30");
        silent.timeout = Duration::from_millis(200);
        assert!(matches!(silent.run_telling(&mut |_, _| {}).await, Err(ChildError::Timeout { .. })));
    }

    #[tokio::test]
    async fn a_leash_passes_arguments_and_exit_codes_and_leaves_the_folder_to_us() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = shell("echo \"$1\"; read -r x && echo read; exit 5").on_leash(folder.path());
        child.arguments.extend(["sh".into(), "a b$(c)".into()]);
        let outcome = child.run().await.unwrap();
        assert_eq!((outcome.status.code(), outcome.stdout.as_slice()), (Some(5), b"a b$(c)\n".as_slice()));
        assert!(folder.path().exists());
    }

    #[tokio::test]
    async fn a_server_ends_with_its_leash_and_its_folder_goes() {
        for choked in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let gone = folder.path().join("gone");
            std::fs::create_dir(&gone).unwrap();
            let script = format!("touch {}/up; sleep 30", gone.display());
            let child = if choked {
                shell(&script).on_choke(&gone, Some("/usr/bin/env".into()))
            } else {
                shell(&script).on_leash(&gone)
            };
            let serving = child.serve(tempfile::tempfile().unwrap()).unwrap();
            while !gone.join("up").exists() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let began = Instant::now();
            serving.end().await;
            assert!(began.elapsed() < Duration::from_secs(9) && !gone.exists());
        }
    }

    #[test]
    fn control_sequences_are_taken_out() {
        assert_eq!(plain("\u{1b}[1m\u{1b}[31merror\u{1b}[39m\u{1b}[0m: a\r\n\tb\u{1b}]8;;x\u{7}c"), "error: a\n\tbc");
    }

    #[test]
    fn debug_of_an_environment_hides_values() {
        let text = format!("{:?}", ChildEnvironment::default().with("TOKEN", "s3cret"));
        assert!(text.contains("TOKEN") && !text.contains("s3cret"));
    }
}
