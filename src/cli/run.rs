//! Runs one command: parses, starts the runtime, waits for the end or a signal, gives the exit code.
//!
//! Knows every command and nothing of what they do.

use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser};

use super::args::{Cli, Command, RegistryCommand};
use super::environment::Environment;
use super::exit::{self, Outcome};
use super::{
    build, builds, cache, copy, delete, demo, doctor, inspect, list, login, logout, output, plan, registry,
    requirements, settings,
};

/// How long threads that write may go on after the end.
const GRACE: Duration = Duration::from_millis(500);

/// Runs the command of this process.
pub(crate) fn run() -> ExitCode {
    let environment = Environment::read();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit::USAGE));
        }
    };
    let colored = output::colored(cli.shown.color, environment.var("NO_COLOR").is_some());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::to_stderr(&format!("error: cannot start\n  because: {error}"));
            return ExitCode::from(exit::DEFECT);
        }
    };
    let ended = runtime.block_on(async {
        tokio::select! {
            // In this order: signals are waited for before the command begins.
            biased;
            code = signal(matches!(cli.command, Command::Registry(RegistryCommand::Serve(_)))) => Ended::Signal(code),
            outcome = command(&cli, &environment) => Ended::Done(outcome),
        }
    });
    let code = match ended {
        Ended::Done(Ok(())) => ExitCode::SUCCESS,
        Ended::Done(Err(error)) => exit::report(&*error, colored, cli.shown.verbose > 1),
        Ended::Signal(code) => ExitCode::from(code),
    };
    // Blocking threads may be in the middle of a file; one that ends in time removes what it had begun.
    runtime.shutdown_timeout(GRACE);
    code
}

enum Ended {
    Done(Outcome),
    Signal(u8),
}

async fn command(cli: &Cli, environment: &Environment) -> Outcome {
    match &cli.command {
        Command::Build(args) => build::run(args, &cli.shown, environment).await,
        Command::Plan(args) => plan::run(args, &cli.shown, environment).await,
        Command::Settings(args) => settings::run(args, &cli.shown, environment),
        Command::Requirements(args) => requirements::run(args, &cli.shown, environment).await,
        Command::Inspect(args) => inspect::run(args, &cli.shown, environment).await,
        Command::Doctor(args) => doctor::run(args, &cli.shown, environment).await,
        Command::Login(args) => login::run(args, &cli.shown, environment).await,
        Command::Logout(args) => logout::run(args, &cli.shown, environment).await,
        Command::Copy(args) => copy::run(args, &cli.shown, environment).await,
        Command::Tags(args) => list::tags(args, &cli.shown, environment).await,
        Command::Referrers(args) => list::referrers(args, &cli.shown, environment).await,
        Command::Delete(args) => delete::run(args, &cli.shown, environment).await,
        Command::Builds(command) => builds::run(command, &cli.shown, environment).await,
        Command::Registry(RegistryCommand::Serve(args)) => registry::serve(args, &cli.shown).await,
        Command::Registry(RegistryCommand::Prune(args)) => registry::prune(args, &cli.shown),
        Command::Cache(command) => cache::run(command, &cli.shown, environment),
        Command::Demo(args) => demo::run(args, &cli.shown, environment).await,
        Command::Completions { shell } => completions(*shell),
    }
}

fn completions(shell: clap_complete::Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "lapstrake", &mut script);
    output::to_stdout(String::from_utf8_lossy(&script).trim_end()).map_err(exit::fail)
}

/// Waits for SIGINT or SIGTERM, and gives its exit code; a server takes them as its orderly end.
async fn signal(is_server: bool) -> u8 {
    use tokio::signal::unix::{SignalKind, signal};
    let waiting = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = waiting else {
        return std::future::pending().await;
    };
    if is_server {
        return std::future::pending().await;
    }
    tokio::select! {
        _ = interrupt.recv() => exit::INTERRUPTED,
        _ = terminate.recv() => exit::TERMINATED,
    }
}
