//! `lapstrake registry serve|prune`.
//!
//! The server itself, and what it may lose, is the library's.

use std::time::{Duration, SystemTime};

use lapstrake::serve::{PruneOptions, ServeOptions, Server};
use serde_json::json;

use super::args::{Format, RegistryPruneArgs, ServeArgs, Shown};
use super::exit::{self, Outcome};
use super::output;

/// Serves until SIGINT or SIGTERM; stdout has the address once requests are answered.
pub(crate) async fn serve(args: &ServeArgs, shown: &Shown) -> Outcome {
    let mut options = ServeOptions {
        address: args.listen,
        passwords: args.htpasswd.clone(),
        is_read_only: args.read_only,
        ..ServeOptions::new(&args.root)
    };
    if shown.verbose > 0 {
        options.observer = Some(std::sync::Arc::new(|line: &lapstrake::serve::RequestLine| {
            output::to_stderr(&format!("{} {} {}", line.method, line.path, line.status));
        }));
    }
    let server = Server::bind(options).await.map_err(exit::fail)?;
    if !args.listen.ip().is_loopback() {
        output::to_stderr(match (&args.htpasswd, args.read_only) {
            (None, false) => "warning: everybody who reaches this address may read and write",
            (None, true) => "warning: everybody who reaches this address may read",
            (Some(_), _) => "warning: passwords reach this address unencrypted, unless a proxy adds TLS before it",
        });
    }
    output::to_stdout(&server.address().to_string()).map_err(exit::fail)?;
    server.run(ended()).await;
    Ok(())
}

/// Removes what no tag leads to, and says how much that was.
#[expect(clippy::disallowed_methods, reason = "pruning by age starts from the time at which the command was given")]
pub(crate) fn prune(args: &RegistryPruneArgs, shown: &Shown) -> Outcome {
    let age = Duration::from_secs(args.older_than.saturating_mul(60 * 60));
    let before = SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
    let options = PruneOptions { before, is_dry: args.dry_run };
    let pruned = lapstrake::serve::prune(&args.root, &options).map_err(exit::fail)?;
    let text = if shown.format == Format::Json {
        json!({
            "schemaVersion": 1, "manifests": pruned.manifests, "blobs": pruned.blobs, "freed": pruned.bytes,
            "dryRun": args.dry_run,
        })
        .to_string()
    } else {
        let done = if args.dry_run { "would remove" } else { "removed" };
        let (manifests, blobs, bytes) = (pruned.manifests, pruned.blobs, output::bytes(pruned.bytes));
        format!("{done} {manifests} manifests and {blobs} blobs, {bytes}")
    };
    output::to_stdout(&text).map_err(exit::fail)
}

async fn ended() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => (),
        _ = terminate.recv() => (),
    }
}
