//! `lapstrake login`.
//!
//! Gets the password, from stdin or a terminal; what is done with it is the library's.

use std::io::{IsTerminal as _, Read as _};

use lapstrake::ops::{self, LoginRequest};
use lapstrake::registry::{Checked, Keeper};
use serde_json::json;

use super::args::{Format, LoginArgs, Shown};
use super::environment::Environment;
use super::exit::{self, Outcome, UsageError};
use super::{output, setup, terminal};

/// The longest password, or token in the place of one, that is taken.
const PASSWORD_CAP: u64 = 64 << 10;

type Failure = Box<dyn lapstrake::diagnostic::Diagnose + Send>;

/// Checks a login and keeps it.
pub(crate) async fn run(args: &LoginArgs, shown: &Shown, environment: &Environment) -> Outcome {
    let store = setup::login_store(environment)?;
    let client = setup::login_client(&args.reach, environment)?;
    let (username, password) = if args.password_stdin {
        let username = args.username.clone().ok_or_else(|| {
            usage("`--password-stdin` needs `--username`", "write `lapstrake login REGISTRY -u USER --password-stdin`")
        })?;
        (username, from_stdin()?)
    } else {
        from_terminal(args).await?
    };
    if username.is_empty() || password.is_empty() {
        let what = if username.is_empty() { "the user name is empty" } else { "the password is empty" };
        return Err(usage(what, "see that the secret is set where the command runs"));
    }
    let request = LoginRequest { registry: args.registry.clone(), username, password };
    let done = ops::login(&client, &store, &request).await.map_err(exit::fail)?;
    if done.checked == Checked::NotAsked {
        let registry = &done.registry;
        output::to_stderr(&format!("warning: `{registry}` lets everybody in, so the password was not checked"));
    }
    if let Keeper::File(path) = &done.keeper {
        output::to_stderr(&format!(
            "warning: the password is kept unencrypted in `{}`\n  hint: a credential helper, named as `credsStore` in that file, keeps it safe",
            path.display()
        ));
    }
    if shown.format == Format::Json {
        let is_checked = done.checked == Checked::Accepted;
        let keeper = done.keeper.to_string();
        let told = json!({"schemaVersion": 1, "registry": done.registry, "checked": is_checked, "keptBy": keeper});
        return output::to_stdout(&told.to_string()).map_err(exit::fail);
    }
    if !shown.quiet {
        output::to_stderr(&format!("logged in to {}; kept by {}", done.registry, done.keeper));
    }
    Ok(())
}

fn usage(what: &str, hint: &str) -> Failure {
    exit::fail(UsageError::new(what, hint))
}

/// All of stdin, less the end of its last line.
fn from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(PASSWORD_CAP + 1).read_to_string(&mut text);
    if read.is_err() || text.len() as u64 > PASSWORD_CAP {
        return Err(usage("stdin holds no password", "pipe the password alone into the command, as UTF-8 text"));
    }
    let password = text.strip_suffix('\n').unwrap_or(&text);
    Ok(password.strip_suffix('\r').unwrap_or(password).to_owned())
}

async fn from_terminal(args: &LoginArgs) -> Result<(String, String), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(usage(
            "stdin is no terminal to ask for a password at",
            "pipe it in: `... | lapstrake login REGISTRY -u USER --password-stdin`",
        ));
    }
    let username = match &args.username {
        Some(username) => username.clone(),
        None => terminal::ask("Username: ", true).await.map_err(unread)?,
    };
    Ok((username, terminal::ask("Password: ", false).await.map_err(unread)?))
}

fn unread(error: std::io::Error) -> Failure {
    usage(&format!("the terminal cannot be read: {error}"), "use `--password-stdin`")
}
