//! Debian's nginx before a registry, with a limit on what one request may carry.
//!
//! Runs in one process in a folder of its own; nothing of the machine's configuration is read.

use std::fs::File;
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
    /// Starts it before the server at `upstream`; a request's body may have `limit`.
    pub(crate) fn start(folder: &Path, upstream: &str, limit: &str) -> Result<Self, Halt> {
        tools::need(&["nginx"])?;
        std::fs::create_dir_all(folder)?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let name = |file: &str| folder.join(file).display().to_string();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("  {kind}_temp_path {};\n", name(kind)))
            .concat();
        let (pid, error, requests) = (name("pid"), name("error"), name("requests"));
        let text = format!(
            "daemon off;\nmaster_process off;\npid {pid};\nerror_log {error} warn;\nevents {{ worker_connections 256; }}\nhttp {{\n{temporary}  access_log {requests} combined;\n  server {{\n    listen {address};\n    client_max_body_size {limit};\n    location / {{\n      proxy_pass http://{upstream};\n      proxy_set_header Host $http_host;\n      proxy_http_version 1.1;\n      proxy_request_buffering off;\n    }}\n  }}\n}}\n"
        );
        let configuration = name("nginx.conf");
        std::fs::write(&configuration, text)?;
        let log = folder.join("log");
        let arguments = ["-p", &name(""), "-e", &error, "-c", &configuration];
        let mut serving = Serving::start("nginx", &arguments, Stdio::null(), File::create(&log)?, &log)?;
        serving.wait(|| answers(&address)).map_err(|log| Halt::Failed(format!("nginx did not start\n{log}")))?;
        Ok(Self { _serving: serving, folder: folder.to_owned(), address })
    }

    /// What was asked until now, a line a request: `METHOD PATH STATUS`.
    pub(crate) fn requests(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.folder.join("requests")).unwrap_or_default();
        log.lines().filter_map(combined_request).collect()
    }
}
