//! Makes parent images and locked projects that differ from the demo's.
//!
//! What is made is as valid as the caller's arguments.

use std::io::Write as _;

use serde_json::{Value, json};

use super::readback::sha256;
use super::wheel_maker::WheelMaker;
use super::yard::{Yard, changed_config, parent_layer};

/// The folder of the demo parent's distributions.
pub(crate) const SITE: &str = "usr/local/lib/python3.11/site-packages";

/// A gzipped layer of `files`, and the digest of its tar.
pub(crate) fn layer(files: &[(&str, &str)]) -> (Vec<u8>, String) {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(315_532_800);
        header.set_uid(0);
        header.set_gid(0);
        builder.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    let tar = builder.into_inner().unwrap();
    (gzip(&tar), sha256(&tar))
}

/// `bytes` as a gzip file.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

impl Yard {
    /// Pushes the demo's parent with one more layer of `files`, and `change` done to its config.
    pub(crate) async fn push_parent_with(&self, name: &str, files: &[(&str, &str)], change: impl FnOnce(&mut Value)) {
        let (upper, diff_id) = layer(files);
        let config = changed_config(|config| {
            config["rootfs"]["diff_ids"].as_array_mut().unwrap().push(json!(diff_id));
            let line = json!({"created": "2024-01-01T00:00:00Z", "created_by": "one more layer"});
            config["history"].as_array_mut().unwrap().push(line);
            change(config);
        });
        self.push_image(name, &[&parent_layer(), &upper], &config).await;
    }

    /// Makes `wheels` the project's: their files below `wheels/`, and a lock over all of them.
    pub(crate) fn lock(&self, wheels: &[&WheelMaker]) {
        let made: Vec<(String, Vec<u8>)> = wheels.iter().map(|wheel| (wheel.filename(), wheel.build())).collect();
        for (filename, bytes) in &made {
            self.write(&format!("wheels/{filename}"), bytes);
        }
        let named: Vec<(&str, &[u8])> = made.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
        self.write("pylock.toml", lock_text(&named));
    }
}

/// A `pylock.toml` over wheel files in `wheels/`.
pub(crate) fn lock_text(wheels: &[(&str, &[u8])]) -> String {
    let mut text = String::from("lock-version = \"1.0\"\ncreated-by = \"test\"\n");
    for (filename, bytes) in wheels {
        let mut parts = filename.split('-');
        let (name, version) = (parts.next().unwrap(), parts.next().unwrap());
        let digest = sha256(bytes);
        let hex = digest.strip_prefix("sha256:").unwrap();
        text.push_str(&format!(
            "\n[[packages]]\nname = \"{name}\"\nversion = \"{version}\"\n\n[[packages.wheels]]\nname = \"{filename}\"\n\
             path = \"wheels/{filename}\"\nsize = {}\nhashes = {{ sha256 = \"{hex}\" }}\n",
            bytes.len()
        ));
    }
    text
}
