//! Failures of a connection: which condition stands behind an HTTP client's error.
//!
//! Names conditions; whether a request is tried again is decided elsewhere.

use std::error::Error as _;
use std::fmt;

use rustls::{AlertDescription, CertificateError, InvalidMessage};

use super::error::RegistryError;
use super::proxy::Proxy;

/// What is wrong with a TLS connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// The certificate has ended.
    Expired,
    /// The certificate has not begun, or our clock is behind.
    NotYetValid,
    /// The certificate is for other names.
    WrongHost,
    /// The certificate is its own issuer, or its issuer is not trusted here.
    UnknownIssuer,
    /// The host wants a certificate of us.
    WantsCertificate,
    /// The host does not take our certificate.
    RefusesCertificate,
    /// Anything else.
    Handshake,
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "its certificate has expired",
            Self::NotYetValid => "its certificate is not valid yet",
            Self::WrongHost => "its certificate is for another host",
            Self::UnknownIssuer => "nobody who is trusted here has issued its certificate",
            Self::WantsCertificate => "it wants a client certificate",
            Self::RefusesCertificate => "it does not accept our client certificate",
            Self::Handshake => "the handshake fails",
        })
    }
}

impl TlsFault {
    /// The fault behind an error of the TLS library.
    pub(super) fn of(error: &rustls::Error) -> Self {
        use CertificateError as Wrong;
        match error {
            rustls::Error::InvalidCertificate(wrong) => match wrong {
                Wrong::Expired | Wrong::ExpiredContext { .. } => Self::Expired,
                Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => Self::NotYetValid,
                Wrong::NotValidForName | Wrong::NotValidForNameContext { .. } => Self::WrongHost,
                // A root that stands for itself is another error of the verifier's.
                Wrong::UnknownIssuer | Wrong::BadSignature | Wrong::Other(_) => Self::UnknownIssuer,
                _ => Self::Handshake,
            },
            rustls::Error::AlertReceived(alert) => match alert {
                AlertDescription::CertificateRequired => Self::WantsCertificate,
                AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied => Self::RefusesCertificate,
                _ => Self::Handshake,
            },
            _ => Self::Handshake,
        }
    }

    /// What to do about it at `host`.
    pub(super) fn cure(self, host: &str) -> String {
        match self {
            Self::Expired => format!("whoever runs `{host}` has to renew its certificate; check this machine's clock"),
            Self::NotYetValid => "check this machine's clock".to_owned(),
            Self::WrongHost => format!("use the name that the certificate is for instead of `{host}`"),
            Self::UnknownIssuer => format!(
                "if you know the issuer, name its certificate: `--ca-file FILE`, or `registries.{host}.ca_file` in the \
                 user configuration"
            ),
            Self::WantsCertificate => format!(
                "name it by `registries.{host}.client_certificate`, and its key by `client_key` there, in the user \
                 configuration"
            ),
            Self::RefusesCertificate => {
                format!("see that `{host}` knows the issuer of `registries.{host}.client_certificate`")
            }
            Self::Handshake => {
                format!("see that `{host}` speaks TLS 1.2 or 1.3; `lapstrake doctor {host}` tries step by step")
            }
        }
    }
}

/// Names the condition behind a failed request to `host`, perhaps through a proxy. URLs are removed: their queries may
/// be signatures.
pub(super) fn classify(error: reqwest::Error, host: String, action: &str, proxy: Option<&Proxy>) -> RegistryError {
    let source = error.without_url();
    let seen = Seen::behind(&source);
    match (seen.tls, proxy) {
        (Some(TlsSeen::NotTls), _) => RegistryError::PlainHttp { host },
        (Some(TlsSeen::Fault(fault)), _) => RegistryError::Tls { host, fault, source },
        (None, Some(proxy)) if seen.proxy_login => RegistryError::ProxyLogin { proxy: proxy.to_string(), host },
        (None, Some(proxy)) if seen.tunnel || seen.unknown_host || seen.refused => {
            RegistryError::Proxy { proxy: proxy.to_string(), host, source }
        }
        (None, _) if seen.unknown_host => RegistryError::UnknownHost { host, source },
        (None, _) if seen.refused => RegistryError::Refused { host, source },
        (None, _) if seen.no_http => RegistryError::NotHttp { host, source },
        (None, _) => RegistryError::Interrupted { host, action: action.to_owned(), tries: 1, source },
    }
}

enum TlsSeen {
    /// The other side does not speak TLS.
    NotTls,
    Fault(TlsFault),
}

/// What an error's causes tell.
#[derive(Default)]
struct Seen {
    tls: Option<TlsSeen>,
    unknown_host: bool,
    refused: bool,
    /// The answer is not HTTP.
    no_http: bool,
    /// The proxy made no tunnel.
    tunnel: bool,
    proxy_login: bool,
}

impl Seen {
    fn behind(error: &reqwest::Error) -> Self {
        let mut seen = Self::default();
        let mut cause = error.source();
        while let Some(error) = cause {
            // The HTTP client's own errors have no public types.
            let text = error.to_string();
            seen.unknown_host |= text.contains("dns error");
            seen.no_http |= text.contains("invalid HTTP version parsed");
            seen.proxy_login |= text.contains("proxy authorization required");
            seen.tunnel |= text.starts_with("tunnel error");
            let mut inner: &(dyn std::error::Error + 'static) = error;
            // An error of the connection may be wrapped into several of its own kind, which are no causes of each other.
            while let Some(io) = inner.downcast_ref::<std::io::Error>() {
                seen.refused |= io.kind() == std::io::ErrorKind::ConnectionRefused;
                let Some(wrapped) = io.get_ref() else { break };
                inner = wrapped;
            }
            if let (None, Some(tls)) = (&seen.tls, inner.downcast_ref::<rustls::Error>()) {
                let no_tls = rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType);
                seen.tls = Some(if *tls == no_tls { TlsSeen::NotTls } else { TlsSeen::Fault(TlsFault::of(tls)) });
            }
            cause = inner.source();
        }
        seen
    }
}
