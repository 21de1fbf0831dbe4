//! What handshakes tell of a host: the version of TLS, whether it asked for a certificate of ours, and whether it ever
//! answered us after.
//!
//! Under TLS 1.3 a client's handshake is over before the server has judged its certificate. A server that closes at once
//! then is seen as a lost connection, and its alert may be lost with it. This module sends nothing, and trusts whom it
//! is told to trust.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, DistinguishedName, SignatureScheme};

use super::auth::lock;
use super::failure::TlsFault;
use super::trust::Trust;

/// What is known of the handshakes with one host.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    asked: AtomicBool,
    shown: AtomicBool,
    answered: AtomicBool,
    version: Mutex<Option<&'static str>>,
}

impl Handshakes {
    /// The same configuration, whose handshakes leave their traces here.
    pub(super) fn noted(self: &Arc<Self>, trust: Trust) -> ClientConfig {
        let Trust { mut config, verifier } = trust;
        let resolver = Arc::clone(&config.client_auth_cert_resolver);
        config.client_auth_cert_resolver = Arc::new(Asked { resolver, handshakes: Arc::clone(self) });
        config.dangerous().set_certificate_verifier(Arc::new(Signed { verifier, handshakes: Arc::clone(self) }));
        config
    }

    /// The version of TLS of the last whole handshake.
    pub(super) fn version(&self) -> Option<&'static str> {
        *lock(&self.version)
    }

    /// Takes note of an answer: whatever ends later, the host has let us in.
    pub(super) fn answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// What a lost connection means: nothing, unless the host asked for a certificate and never answered.
    pub(super) fn behind_a_loss(&self) -> Option<TlsFault> {
        if !self.asked.load(Ordering::Relaxed) || self.answered.load(Ordering::Relaxed) {
            return None;
        }
        let shown = self.shown.load(Ordering::Relaxed);
        Some(if shown { TlsFault::RefusesCertificate } else { TlsFault::WantsCertificate })
    }

    /// What an alert about our certificate means: that there should be one, when none was shown.
    pub(super) fn behind(&self, fault: TlsFault) -> TlsFault {
        match fault {
            TlsFault::RefusesCertificate if !self.shown.load(Ordering::Relaxed) => TlsFault::WantsCertificate,
            fault => fault,
        }
    }
}

/// Finds the certificate as `resolver` does, and takes note of being asked.
#[derive(Debug)]
struct Asked {
    resolver: Arc<dyn ResolvesClientCert>,
    handshakes: Arc<Handshakes>,
}

impl ResolvesClientCert for Asked {
    fn resolve(&self, root_hint_subjects: &[&[u8]], sigschemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let found = self.resolver.resolve(root_hint_subjects, sigschemes);
        self.handshakes.asked.store(true, Ordering::Relaxed);
        self.handshakes.shown.store(found.is_some(), Ordering::Relaxed);
        found
    }

    fn only_raw_public_keys(&self) -> bool {
        self.resolver.only_raw_public_keys()
    }

    fn has_certs(&self) -> bool {
        self.resolver.has_certs()
    }
}

/// Verifies as `verifier` does, and takes note of the version whose signature is verified.
#[derive(Debug)]
struct Signed {
    verifier: Arc<dyn ServerCertVerifier>,
    handshakes: Arc<Handshakes>,
}

impl ServerCertVerifier for Signed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        *lock(&self.handshakes.version) = Some("TLS 1.2");
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        *lock(&self.handshakes.version) = Some("TLS 1.3");
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.verifier.requires_raw_public_keys()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.verifier.root_hint_subjects()
    }
}

#[cfg(test)]
mod tests {
    use super::super::trust::platform_trust;
    use super::*;

    /// Trusts one certificate beside the platform's, so that a machine without trust store does as well.
    fn trust() -> Trust {
        let pem = rcgen::generate_simple_self_signed(vec!["registry.test".to_owned()]).unwrap().cert.pem();
        platform_trust(&[pem.as_bytes()], None).unwrap()
    }

    #[test]
    fn a_loss_is_laid_on_the_certificate_only_where_one_was_asked_for_and_nothing_was_answered() {
        let handshakes = Arc::new(Handshakes::default());
        let config = handshakes.noted(trust());
        assert_eq!(handshakes.behind_a_loss(), None);
        assert!(config.client_auth_cert_resolver.resolve(&[], &[]).is_none());
        assert_eq!(handshakes.behind_a_loss(), Some(TlsFault::WantsCertificate));
        assert_eq!(handshakes.behind(TlsFault::RefusesCertificate), TlsFault::WantsCertificate);
        assert_eq!(handshakes.behind(TlsFault::Expired), TlsFault::Expired);
        handshakes.answered();
        assert_eq!(handshakes.behind_a_loss(), None);
    }
}
