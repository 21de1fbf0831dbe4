//! Debian's nginx before a registry, with a limit on what one request may carry.
//!
//! Runs in one process in a folder of its own; nothing of the machine's configuration is read.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::harness::Halt;
use crate::registries::combined_request;
use crate::servers::{Serving, answers, free_port};
use crate::tools;

/// An nginx that runs.
pub(crate) struct Nginx {
    _serving: Serving,
    folder: PathBuf,
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
}

impl Nginx {
    /// Starts it before the server at `upstream`; a request's body may have `limit`; `/token` may lead to `tokens`.
    pub(crate) fn start(folder: &Path, upstream: &str, limit: &str, tokens: Option<&str>) -> Result<Self, Halt> {
        Self::start_with(folder, upstream, limit, tokens, "")
    }

    /// Starts it before the server at `upstream`; programs whose name matches `refused` get 403.
    pub(crate) fn refusing(folder: &Path, upstream: &str, refused: &str) -> Result<Self, Halt> {
        let rule = format!("    if ($http_user_agent ~* \"{refused}\") {{ return 403; }}\n");
        Self::start_with(folder, upstream, "0", None, &rule)
    }

    fn start_with(folder: &Path, upstream: &str, limit: &str, tokens: Option<&str>, rule: &str) -> Result<Self, Halt> {
        tools::need(&["nginx"])?;
        std::fs::create_dir_all(folder)?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let name = |file: &str| folder.join(file).display().to_string();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("  {kind}_temp_path {};\n", name(kind)))
            .concat();
        let log = format!("pid {};\nerror_log {} warn;\n", name("pid"), name("error"));
        let to = |server: &str| {
            let kept = "proxy_set_header Host $http_host; proxy_http_version 1.1; proxy_request_buffering off;";
            format!("{{ proxy_pass http://{server}; {kept} }}")
        };
        let server = format!(
            "    listen {address};\n{rule}    client_max_body_size {limit};\n    location / {}\n    location = /token {}\n",
            to(upstream),
            to(tokens.unwrap_or(upstream))
        );
        let http = format!("{temporary}  access_log {} combined;\n  server {{\n{server}  }}\n", name("requests"));
        let text =
            format!("daemon off;\nmaster_process off;\n{log}events {{ worker_connections 256; }}\nhttp {{\n{http}}}\n");
        let configuration = name("nginx.conf");
        std::fs::write(&configuration, text)?;
        let arguments = ["-p", &name(""), "-e", &name("error"), "-c", &configuration];
        let mut serving = Serving::start("nginx", &arguments, &folder.join("log"), Stdio::null())?;
        serving.wait(|| answers(&address)).map_err(|log| Halt::Failed(format!("nginx did not start\n{log}")))?;
        Ok(Self { _serving: serving, folder: folder.to_owned(), address })
    }

    /// What was asked until now, a line a request: `METHOD PATH STATUS`.
    pub(crate) fn requests(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.folder.join("requests")).unwrap_or_default();
        log.lines().filter_map(combined_request).collect()
    }
}
