//! TLS configurations: the platform's trust store with extra roots, or nobody at all.
//!
//! Connects to nothing and chooses no protocol; whoever takes a configuration sets its ALPN.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Why TLS cannot be set up.
pub(crate) type TrustError = Box<dyn std::error::Error + Send + Sync>;

/// Trusts the platform's store, which honours `SSL_CERT_FILE`, and the certificates of the PEM texts in `extra_roots`.
///
/// # Errors
/// Fails when a text is no PEM or the platform's store cannot be read.
pub(crate) fn platform_trust(extra_roots: &[Vec<u8>]) -> Result<ClientConfig, TrustError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut extra = Vec::new();
    for pem in extra_roots {
        for certificate in CertificateDer::pem_slice_iter(pem) {
            extra.push(certificate?.into_owned());
        }
    }
    let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(extra, provider.clone())?;
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}

/// Trusts nobody, for connections that have no TLS: the store is not read for them.
///
/// # Errors
/// Fails when the provider has no usable protocol version.
pub(crate) fn no_trust() -> Result<ClientConfig, TrustError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
}
