//! Questions at the terminal.
//!
//! Knows nothing of what is asked for.

use std::io::{BufRead as _, Read as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

const LINE_CAP: u64 = 64 << 10;

/// Asks for one line at the terminal that stdin is; without `echo`, what is typed is not shown.
///
/// # Errors
/// Fails when stdin is no terminal, or cannot be read.
pub(crate) async fn ask(question: &str, echo: bool) -> std::io::Result<String> {
    // Before the question: whoever answers at once is not shown either.
    let silence = if echo { None } else { Some(Silence::begin()?) };
    {
        let mut err = std::io::stderr().lock();
        err.write_all(question.as_bytes()).and_then(|()| err.flush())?;
    }
    let line = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().lock().take(LINE_CAP).read_line(&mut line).map(|_| line)
    });
    let line = line.await.map_err(std::io::Error::other)??;
    if silence.is_some() {
        // The end of the line was not shown either.
        std::io::stderr().write_all(b"\n")?;
    }
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// A terminal that shows nothing of what is typed, until this is dropped: also when a signal ends the command.
struct Silence(Termios);

impl Silence {
    fn begin() -> std::io::Result<Self> {
        let before = tcgetattr(std::io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // A terminal that is gone needs no echo.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.0);
    }
}
