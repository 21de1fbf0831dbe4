//! `lapstrake registry serve`.
//!
//! The server itself is the library's.

use lapstrake::serve::{ServeOptions, Server};

use super::args::{ServeArgs, Shown};
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
