//! ZenML's own checksums of settings and builds, bit for bit, so that a build which ZenML made can be found and taken.
//!
//! They cover less than our keys do (neither the build's context nor resolved versions), and are never asked in their place.

use std::fmt::Write as _;

use md5::{Digest as _, Md5};

/// What ZenML's checksum of one image's settings covers, in its order.
#[derive(Clone, Copy, Debug, Default)]
pub struct SettingsChecksum<'a> {
    /// The settings as ZenML's Python prints them, of [`crate::settings::Documents`].
    pub document: &'a str,
    /// The entrypoint, one text.
    pub entrypoint: Option<&'a str>,
    /// Path and content of files that are put into the image besides.
    pub extra_files: &'a [(&'a str, &'a str)],
    /// The texts of the requirements files, in the order of their installation.
    pub requirements: &'a [&'a str],
    /// The bytes of `dockerfile`.
    pub dockerfile: Option<&'a [u8]>,
    /// The digest of the parent, in hexadecimal digits without its algorithm: only of a `parent_image` that is named and
    /// built upon, with a registry to push to.
    pub parent_digest: Option<&'a str>,
}

impl SettingsChecksum<'_> {
    /// The checksum, in hexadecimal digits.
    pub fn hex(&self) -> String {
        let mut hash = Md5::new();
        hash.update(self.document);
        hash.update(self.entrypoint.unwrap_or_default());
        for (path, content) in self.extra_files {
            hash.update(path);
            hash.update(content);
        }
        for text in self.requirements {
            hash.update(text);
        }
        hash.update(self.dockerfile.unwrap_or_default());
        hash.update(self.parent_digest.unwrap_or_default());
        hex(hash)
    }
}

/// ZenML's checksum of a whole build: key and settings checksum of each image, in the order of the images.
pub fn build_checksum<'a>(images: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut hash = Md5::new();
    for (key, checksum) in images {
        hash.update(key);
        hash.update(checksum);
    }
    hex(hash)
}

fn hex(hash: Md5) -> String {
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_covered_in_its_order() {
        let whole = SettingsChecksum {
            document: "{}",
            entrypoint: Some("python"),
            extra_files: &[("a", "b")],
            requirements: &["numpy", "pandas"],
            dockerfile: Some(b"FROM x"),
            parent_digest: Some("00ff"),
        };
        let joined = SettingsChecksum { document: "{}pythonabnumpypandasFROM x00ff", ..SettingsChecksum::default() };
        assert_eq!(whole.hex(), joined.hex());
        assert_eq!(SettingsChecksum::default().hex(), "d41d8cd98f00b204e9800998ecf8427e");
    }

    #[test]
    fn a_build_is_its_images_in_order() {
        let (one, two) = (("orchestrator", "aa"), ("train.orchestrator", "bb"));
        assert_ne!(build_checksum([one, two]), build_checksum([two, one]));
        assert_eq!(build_checksum([one, two]), build_checksum([("orchestratoraatrain.orchestratorbb", "")]));
    }
}
