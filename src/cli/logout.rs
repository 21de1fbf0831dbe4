//! `lapstrake logout`.
//!
//! What is forgotten, and where, is the library's.

use lapstrake::ops;
use serde_json::json;

use super::args::{Format, LogoutArgs, Shown};
use super::environment::Environment;
use super::exit::{self, Outcome};
use super::{output, setup};

/// Forgets a login.
pub(crate) async fn run(args: &LogoutArgs, shown: &Shown, environment: &Environment) -> Outcome {
    let store = setup::login_store(environment)?;
    let (registry, forgot) = ops::logout(&store, &args.registry).await.map_err(exit::fail)?;
    if shown.format == Format::Json {
        let keepers: Vec<String> = forgot.iter().map(ToString::to_string).collect();
        let told = json!({"schemaVersion": 1, "registry": registry, "forgottenBy": keepers});
        return output::to_stdout(&told.to_string()).map_err(exit::fail);
    }
    if shown.quiet {
        return Ok(());
    }
    let text = match forgot.as_slice() {
        [] => format!("not logged in to {registry}; nothing to forget"),
        keepers => {
            let keepers: Vec<String> = keepers.iter().map(ToString::to_string).collect();
            format!("logged out of {registry}; forgotten by {}", keepers.join(" and "))
        }
    };
    output::to_stderr(&text);
    Ok(())
}
