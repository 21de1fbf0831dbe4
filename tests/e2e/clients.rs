//! What clients have to know of a registry: who they are, and which authority to trust.
//!
//! The same variables of the environment tell lapstrake, crane and skopeo.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::harness::{Halt, check};
use crate::image;
use crate::process::{command, run};
use crate::tools;

/// Knowledge of one registry.
#[derive(Clone, Default)]
pub(crate) struct Client {
    pub(crate) environment: BTreeMap<String, String>,
}

impl Client {
    /// Somebody who is known at the registry by a name and a password, which stand in a `config.json` in `folder`.
    pub(crate) fn known(folder: &Path, address: &str, username: &str, password: &str) -> Result<Self, Halt> {
        let folder = folder.join(format!("client-{username}"));
        std::fs::create_dir_all(&folder)?;
        let pair = STANDARD.encode(format!("{username}:{password}"));
        let file = folder.join("config.json");
        std::fs::write(&file, serde_json::json!({"auths": {address: {"auth": pair}}}).to_string())?;
        Ok(Self::default()
            .with("DOCKER_CONFIG", &folder.display().to_string())
            .with("REGISTRY_AUTH_FILE", &file.display().to_string()))
    }

    /// Somebody who trusts the authorities in this file.
    pub(crate) fn trusting(authorities: &Path) -> Self {
        Self::default().with("SSL_CERT_FILE", &authorities.display().to_string())
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The digest that stands under a name, if one does.
    pub(crate) fn digest(&self, reference: &str) -> Result<Option<String>, Halt> {
        tools::need(&["crane"])?;
        let ran = run(command("crane", ["digest", reference]).envs(&self.environment))?;
        Ok((ran.code == Some(0)).then(|| ran.stdout.trim().to_owned()))
    }

    /// Lets crane and skopeo read every byte of an image and find nothing wrong.
    pub(crate) fn accepts(&self, reference: &str) -> Result<(), Halt> {
        image::accepted_with(reference, &self.environment)
    }
}

/// Ends a case when a secret stands in a text or in a file below a folder, as it is, in base64 or percent-encoded.
pub(crate) fn no_secret(secret: &str, username: &str, texts: &[&str], folders: &[&Path]) -> Result<usize, Halt> {
    let percent: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
    // Base64 of a text that stands at any of three offsets, without the ends that depend on what is around.
    let shifted = (0..3).map(|offset| STANDARD.encode(format!("{}{secret}", &"\0\0\0"[..offset])));
    let shifted = shifted.map(|text| text[4..text.len() - 4].to_owned());
    let pair = STANDARD.encode(format!("{username}:{secret}"));
    let forms: Vec<String> = [secret.to_owned(), percent, pair].into_iter().chain(shifted).collect();
    for (number, form) in forms.iter().enumerate() {
        let seen = texts.iter().position(|text| text.contains(form.as_str()));
        check(seen.is_none(), || format!("output {seen:?} shows the secret, in form {number}"))?;
        for folder in folders {
            let ran = run(command("grep", ["-rlaF", "-e", form, "."]).current_dir(folder))?;
            check(ran.code == Some(1), || format!("a file holds the secret, in form {number}: {}", ran.shown()))?;
        }
    }
    Ok(forms.len())
}
