//! An authority of the suite's own, and the certificates that it signs, made by openssl.
//!
//! Nobody trusts it who is not told to.

use std::path::{Path, PathBuf};

use crate::harness::Halt;
use crate::process::done;
use crate::tools;

const CURVE: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

/// An authority, whose files are in one folder.
pub(crate) struct Authority {
    folder: PathBuf,
}

/// A certificate and its key.
pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    /// Makes one.
    pub(crate) fn new(folder: &Path) -> Result<Self, Halt> {
        tools::need(&["openssl"])?;
        std::fs::create_dir_all(folder)?;
        let authority = Self { folder: folder.to_owned() };
        let (key, certificate) = (authority.name("ca.key"), authority.name("ca.crt"));
        let own = ["-x509", "-days", "2", "-subj", "/CN=e2e authority", "-addext", "keyUsage=critical,keyCertSign"];
        let files = ["-keyout", &key, "-out", &certificate];
        done("openssl", ["req"].into_iter().chain(CURVE).chain(own).chain(files))?;
        Ok(authority)
    }

    /// The file that its friends trust.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// Signs for a server or a caller, `subject` (`IP:…` or `DNS:…`); with no days the certificate is over in a second.
    pub(crate) fn sign(&self, name: &str, subject: &str, days: u32) -> Result<Pair, Halt> {
        let (key, request) = (self.name(&format!("{name}.key")), self.name(&format!("{name}.csr")));
        let (certificate, extensions) = (self.name(&format!("{name}.crt")), self.name(&format!("{name}.ext")));
        let of_both_ends = "basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth";
        std::fs::write(&extensions, format!("subjectAltName={subject}\n{of_both_ends}\n"))?;
        let files = ["-subj", "/CN=e2e", "-keyout", &key, "-out", &request];
        done("openssl", ["req"].into_iter().chain(CURVE).chain(files))?;
        let (ca, ca_key, days) = (self.name("ca.crt"), self.name("ca.key"), days.to_string());
        let by = ["-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial", "-days", &days, "-extfile", &extensions];
        let sign = ["x509", "-req", "-in", &request, "-out", &certificate];
        done("openssl", sign.into_iter().chain(by))?;
        Ok(Pair { certificate: certificate.into(), key: key.into() })
    }

    fn name(&self, file: &str) -> String {
        self.folder.join(file).display().to_string()
    }
}
