//! TLS configurations: the platform's trust store with extra roots, or nobody at all; and who we are, by certificate.
//!
//! Connects to nothing and chooses no protocol; whoever takes a configuration sets its ALPN.

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

/// Why TLS cannot be set up.
pub(crate) type TrustError = Box<dyn std::error::Error + Send + Sync>;

/// Why a PEM text (RFC 7468) does not hold what it should.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// The text is broken. The cause is left out: it would quote the text, which may be a key's.
    #[error("is not PEM")]
    Malformed,
    /// The text holds no certificate.
    #[error("holds no certificate in PEM")]
    NoCertificate,
    /// A certificate is none.
    #[error("holds a certificate that is not usable")]
    Certificate(#[source] rustls::Error),
    /// The text holds no private key, or one that is encrypted.
    #[error("holds no private key in PEM that can be read without a password")]
    NoKey,
    /// The key is of an unknown kind, or belongs to another certificate.
    #[error("holds a private key that does not fit the certificate")]
    Key(#[source] rustls::Error),
}

impl PemError {
    /// What to do about it.
    pub fn cure(&self) -> &'static str {
        match self {
            Self::NoKey => "write the key without encryption: `openssl pkey -in KEY -out PLAIN_KEY`",
            Self::Key(_) => "name the key that was made with the certificate",
            _ => {
                "a PEM file has lines `-----BEGIN CERTIFICATE-----`; DER becomes PEM by `openssl x509 -inform der -in FILE`"
            }
        }
    }
}

/// A certificate by which a registry knows us, and its key.
#[derive(Clone)]
pub struct ClientIdentity(Arc<CertifiedKey>);

impl ClientIdentity {
    /// Reads a certificate, with those of its issuers behind it, and its private key, each from a PEM text.
    ///
    /// # Errors
    /// Fails when there is no certificate or key, or when they do not fit each other.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, PemError> {
        let chain = certificates(certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            pem::Error::NoItemsFound => PemError::NoKey,
            _ => PemError::Malformed,
        })?;
        let provider = rustls::crypto::ring::default_provider();
        CertifiedKey::from_der(chain, key, &provider).map(|pair| Self(Arc::new(pair))).map_err(PemError::Key)
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientIdentity(..)")
    }
}

/// Checks that a PEM text holds certificates that can be trusted as roots.
///
/// # Errors
/// Fails when it holds none, or one that cannot be read.
pub fn check_roots(text: &[u8]) -> Result<(), PemError> {
    let mut store = rustls::RootCertStore::empty();
    certificates(text)?.into_iter().try_for_each(|root| store.add(root)).map_err(PemError::Certificate)
}

/// Checks that a PEM text holds certificates.
///
/// # Errors
/// Fails when it holds none, or is broken.
pub fn check_certificates(text: &[u8]) -> Result<(), PemError> {
    certificates(text).map(drop)
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found = found.map_err(|_| PemError::Malformed)?;
    if found.is_empty() { Err(PemError::NoCertificate) } else { Ok(found) }
}

/// Whom to trust: a configuration, and the verifier in it, which the configuration itself does not tell.
#[derive(Clone)]
pub(crate) struct Trust {
    pub(crate) config: ClientConfig,
    pub(crate) verifier: Arc<dyn ServerCertVerifier>,
}

/// Trusts the platform's store, which honours `SSL_CERT_FILE`, and the certificates of the PEM texts in `extra_roots`;
/// proves `identity` to a server that asks for a certificate.
///
/// # Errors
/// Fails when a text is no PEM or the platform's store cannot be read.
pub(crate) fn platform_trust(extra_roots: &[&[u8]], identity: Option<&ClientIdentity>) -> Result<Trust, TrustError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut extra = Vec::new();
    for text in extra_roots {
        extra.extend(certificates(text)?);
    }
    let verifier: Arc<dyn ServerCertVerifier> =
        Arc::new(rustls_platform_verifier::Verifier::new_with_extra_roots(extra, provider.clone())?);
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::clone(&verifier));
    let config = match identity {
        Some(ClientIdentity(pair)) => {
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(pair))))
        }
        None => builder.with_no_client_auth(),
    };
    Ok(Trust { config, verifier })
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
