//! What can go wrong with a registry, and what to do about it.
//!
//! No variant holds a credential, a signed URL's query, or unsanitised text of a server.

use std::error::Error;
use std::path::PathBuf;

use super::cloud;
use super::failure::TlsFault;
use super::keychain::KeychainError;
use super::origin::{Detour, OriginError};
use super::proxy::ProxyError;
use crate::diagnostic::Diagnose;
use crate::oci::{Digest, DigestError, DocumentError};

/// Why a registry did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The network may not be used.
    #[error("`{host}` is needed, and the network is switched off")]
    Offline {
        /// The host that would have been asked.
        host: String,
    },
    /// The domain of a reference is no address.
    #[error(transparent)]
    Address(#[from] OriginError),
    /// The client cannot be set up.
    #[error("cannot set up TLS")]
    Setup(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The host's name has no address.
    #[error("unknown host `{host}`")]
    UnknownHost {
        /// The host.
        host: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// Nobody listens at the host's port.
    #[error("`{host}` refuses the connection")]
    Refused {
        /// The host.
        host: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The host's certificate is not accepted, or the handshake fails.
    #[error("no trusted TLS connection to `{host}`: {fault}")]
    Tls {
        /// The host.
        host: String,
        /// What is wrong.
        fault: TlsFault,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The host speaks plain http where https is asked for.
    #[error("`{host}` does not speak https")]
    PlainHttp {
        /// The host.
        host: String,
    },
    /// The host speaks something else where plain http is asked for.
    #[error("`{host}` does not answer in plain http")]
    NotHttp {
        /// The host.
        host: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The proxy on the way to the host cannot be used.
    #[error(transparent)]
    ProxyForm(ProxyError),
    /// The proxy on the way to the host cannot be reached, or makes no connection to it.
    #[error("no way to `{host}` through the proxy {proxy}")]
    Proxy {
        /// The proxy and who names it.
        proxy: String,
        /// The host.
        host: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The proxy on the way to the host wants to know who we are, or does not know us.
    #[error("the proxy {proxy} wants another login on the way to `{host}`")]
    ProxyLogin {
        /// The proxy and who names it.
        proxy: String,
        /// The host.
        host: String,
    },
    /// The connection cannot be made, or ends in mid-way.
    #[error("lost connection to `{host}` at {action}, try {tries}")]
    Interrupted {
        /// The host.
        host: String,
        /// What was under way.
        action: String,
        /// How often it was tried.
        tries: u32,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// Nothing moved for too long.
    #[error("`{host}` did not move for {seconds} s at {action}, try {tries}")]
    Stalled {
        /// The host.
        host: String,
        /// What was under way.
        action: String,
        /// How long nothing moved.
        seconds: u64,
        /// How often it was tried.
        tries: u32,
    },
    /// No credential can be had from where one should be.
    #[error("cannot find out who we are to `{host}`")]
    Keychain {
        /// The registry.
        host: String,
        /// Why.
        #[source]
        source: KeychainError,
    },
    /// The registry wants another identity than we have.
    #[error("`{host}` does not accept {identity} for `{scope}`")]
    Unauthorized {
        /// The registry or its token server.
        host: String,
        /// `an anonymous user`, or the source of the credential.
        identity: String,
        /// What was asked for.
        scope: String,
    },
    /// The registry knows us and says no.
    #[error("`{host}` denies {identity} `{scope}`{detail}")]
    Denied {
        /// The registry or its token server.
        host: String,
        /// `an anonymous user`, or the source of the credential.
        identity: String,
        /// What was asked for.
        scope: String,
        /// What the registry says, with a colon in front.
        detail: String,
    },
    /// The registry asks for a way of authentication that is not known.
    #[error("`{host}` asks for neither Basic nor Bearer authentication")]
    Challenge {
        /// The registry.
        host: String,
    },
    /// The token server's answer holds no token.
    #[error("the token server `{host}` gave no token")]
    Token {
        /// The token server.
        host: String,
    },
    /// The token server that a registry names may not see a credential.
    #[error("`{host}` names a token server that is not safe to talk to")]
    Realm {
        /// The registry.
        host: String,
        /// Why not.
        #[source]
        source: Detour,
    },
    /// The place that a registry sends us to may not be talked to.
    #[error("`{host}` sends us to a place that is not safe to talk to")]
    Detour {
        /// The registry.
        host: String,
        /// Why not.
        #[source]
        source: Detour,
    },
    /// Redirects without end.
    #[error("`{host}` redirects more than {limit} times")]
    Redirects {
        /// The registry.
        host: String,
        /// The limit.
        limit: usize,
    },
    /// The repository, tag, manifest or blob is not there.
    #[error("`{what}` is not there")]
    NotFound {
        /// The reference, or the repository with the digest.
        what: String,
    },
    /// The registry makes no repository of itself, and this one is not there.
    #[error("repository `{repository}` does not exist{detail}")]
    NoRepository {
        /// The repository.
        repository: String,
        /// What the registry says, with a colon in front.
        detail: String,
    },
    /// A manifest refers to something that the registry does not have.
    #[error("`{repository}` lacks what the manifest refers to{detail}")]
    MissingParts {
        /// The repository.
        repository: String,
        /// What the registry says, with a colon in front.
        detail: String,
    },
    /// The registry wants us to slow down, for longer than we wait.
    #[error("`{host}` limits our rate, after {tries} tries")]
    RateLimited {
        /// The registry.
        host: String,
        /// How often it was tried.
        tries: u32,
    },
    /// An answer that means failure.
    #[error("`{host}` answers {status} to {action}, try {tries}{detail}")]
    Status {
        /// The registry.
        host: String,
        /// What was asked for.
        action: String,
        /// The HTTP status.
        status: u16,
        /// How often it was tried.
        tries: u32,
        /// What the registry says, with a colon in front.
        detail: String,
    },
    /// An answer that breaks the distribution specification.
    #[error("`{host}` breaks the protocol at {action}: {fault}")]
    Protocol {
        /// The registry.
        host: String,
        /// What was asked for.
        action: String,
        /// What is wrong.
        fault: &'static str,
    },
    /// The registry's digest is none.
    #[error("`{host}` sends a digest that is none")]
    Digest {
        /// The registry.
        host: String,
        /// Why not.
        #[source]
        source: DigestError,
    },
    /// The bytes are not those that the digest names.
    #[error("`{what}` has other bytes than its digest says: `{actual}`")]
    WrongDigest {
        /// The repository with the digest.
        what: String,
        /// The digest of the bytes.
        actual: Box<Digest>,
    },
    /// The bytes are fewer or more than the descriptor says.
    #[error("`{what}` has {actual} bytes and should have {expected}")]
    WrongLength {
        /// The repository with the digest.
        what: String,
        /// As the descriptor says.
        expected: u64,
        /// What came, at least.
        actual: u64,
    },
    /// More bytes than are ever taken for such a thing.
    #[error("`{what}` is larger than the limit of {cap} bytes")]
    TooLarge {
        /// What it is.
        what: String,
        /// The limit.
        cap: u64,
    },
    /// A document is not what it should be.
    #[error("`{what}` is not a usable manifest or index")]
    Document {
        /// The reference.
        what: String,
        /// Why not.
        #[source]
        source: Box<DocumentError>,
    },
    /// An answer's JSON is not what it should be.
    #[error("`{host}` answers {action} with wrong JSON")]
    Json {
        /// The registry.
        host: String,
        /// What was asked for.
        action: String,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// A reference names neither tag nor digest.
    #[error("`{0}` names neither a tag nor a digest")]
    Unnamed(String),
    /// A file to push cannot be read.
    #[error("cannot read `{}`", path.display())]
    Body {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl RegistryError {
    /// Whether the same request may fare better another time.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Stalled { .. } | Self::RateLimited { .. } | Self::Refused { .. } | Self::Proxy { .. } => true,
            Self::Interrupted { source, .. } => !is_this_machines(source),
            Self::UnknownHost { source, .. } => has_no_answer_now(source),
            Self::Status { status, .. } => reqwest::StatusCode::from_u16(*status).is_ok_and(super::retry::is_transient),
            _ => false,
        }
    }

    /// How often the request was tried, when the error says so.
    pub(super) fn tries(&self) -> Option<u32> {
        match self {
            Self::Interrupted { tries, .. }
            | Self::Stalled { tries, .. }
            | Self::RateLimited { tries, .. }
            | Self::Status { tries, .. } => Some(*tries),
            _ => None,
        }
    }

    /// The same error, knowing how often the request was tried.
    #[must_use]
    pub(super) fn after(mut self, count: u32) -> Self {
        match &mut self {
            Self::Interrupted { tries, .. }
            | Self::Stalled { tries, .. }
            | Self::RateLimited { tries, .. }
            | Self::Status { tries, .. } => *tries = count,
            _ => {}
        }
        self
    }
}

/// Whether `holds` for an error or one of its causes; an I/O error hides the one that it wraps.
fn any_cause(error: &(dyn Error + 'static), holds: &dyn Fn(&(dyn Error + 'static)) -> bool) -> bool {
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    holds(error)
        || wrapped.is_some_and(|wrapped| any_cause(wrapped, holds))
        || error.source().is_some_and(|source| any_cause(source, holds))
}

/// Whether a connection failed because this machine refuses or cannot do something: that does not pass.
fn is_this_machines(error: &(dyn Error + 'static)) -> bool {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem, StorageFull};
    any_cause(error, &|cause| {
        let kind = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        matches!(kind, Some(PermissionDenied | ReadOnlyFilesystem | StorageFull))
    })
}

/// Whether the name server gave no answer (EAI_AGAIN of getaddrinfo), in the words of the C libraries; a name that it
/// does not know it will not know later.
fn has_no_answer_now(error: &(dyn Error + 'static)) -> bool {
    any_cause(error, &|cause| {
        let text = cause.to_string().to_ascii_lowercase();
        text.contains("temporary failure in name resolution") || text.ends_with("lookup address information: try again")
    })
}

impl Diagnose for RegistryError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Offline { .. } => "run once without `--offline`, so that what is needed is in the store".to_owned(),
            Self::Address(_) | Self::UnknownHost { .. } => {
                "check the spelling of the registry's host, and the network's name server".to_owned()
            }
            Self::Refused { .. } => "check the host and port, and that the registry runs".to_owned(),
            Self::Setup(_) => "check that the platform's CA certificates or SSL_CERT_FILE can be read".to_owned(),
            Self::Tls { host, fault, .. } => fault.cure(host),
            Self::NotHttp { host, .. } => {
                format!("if `{host}` speaks https, take it off the registries that are spoken to by plain http")
            }
            Self::ProxyForm(source) => return source.hint(),
            Self::Proxy { .. } => {
                "check the proxy's URL, or name hosts that need no proxy in NO_PROXY, separated by commas".to_owned()
            }
            Self::ProxyLogin { .. } => {
                "put user and password into the proxy's URL, percent-encoded: `http://user:password@host:port`"
                    .to_owned()
            }
            Self::PlainHttp { host } => {
                format!("if the network between is yours, allow it with `--insecure-registry {host}`")
            }
            Self::Interrupted { .. } | Self::Stalled { .. } => {
                "run again: what was done is kept; behind a proxy, check its limits".to_owned()
            }
            Self::Keychain { source, .. } => return source.hint(),
            Self::Unauthorized { host, identity, .. } => {
                let own = cloud::login_of(host).filter(|_| *identity == super::auth::describe(None));
                own.unwrap_or_else(|| {
                    format!("log in with `lapstrake login {host}`, or configure a credential helper for it")
                })
            }
            Self::Denied { host, .. } => match super::known::of_host(host).cure {
                Some(cure) => cure.to_owned(),
                None => {
                    "ask for that right on the repository, check that it exists, or log in as somebody else".to_owned()
                }
            },
            Self::Realm { .. } | Self::Detour { .. } | Self::Redirects { .. } => {
                "no credential went there; check the registry's own configuration (its external URL)".to_owned()
            }
            Self::NotFound { .. } => {
                "check repository, tag and digest; some registries say so where a login is needed".to_owned()
            }
            Self::NoRepository { repository, .. } => cloud::making_of(repository),
            Self::RateLimited { .. } => "log in for a higher limit, or wait".to_owned(),
            Self::Challenge { host } => {
                format!("see that `{host}` is a registry, and that no proxy answers in its place")
            }
            Self::Status { status: 413, .. } => {
                "the registry or a proxy before it limits the size of a request".to_owned()
            }
            Self::Status { .. } => "try again later, or ask who runs the registry".to_owned(),
            Self::WrongDigest { .. } | Self::WrongLength { .. } => {
                "the registry or a proxy on the way changes bytes; nothing of it was kept".to_owned()
            }
            Self::Document { source, .. } => return source.hint(),
            Self::Unnamed(reference) => format!("say which one, as in `{reference}:TAG`"),
            _ => return None,
        })
    }
}

/// What a registry says in an error's body (distribution-spec, "Error Codes"), fit to be shown: one line, no control
/// characters, at most 300 characters, with a colon in front; empty when it says nothing.
pub(super) fn detail(body: &[u8], secrets: &[String]) -> String {
    let Some(errors) = error_list(body) else { return String::new() };
    let said: Vec<String> = errors.iter().filter_map(one_error).collect();
    if said.is_empty() {
        return String::new();
    }
    let mut text = format!(": {}", said.join("; "));
    for form in secrets.iter().filter(|secret| !secret.is_empty()).flat_map(|secret| forms(secret)) {
        text = text.replace(&form, "[secret]");
    }
    sanitize(&text)
}

/// The forms in which a server may repeat a secret: as it is, in base64, percent-encoded.
fn forms(secret: &str) -> [String; 3] {
    let percent = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD_NO_PAD, secret);
    [secret.to_owned(), base64, percent]
}

/// The codes in an error's body.
pub(super) fn codes(body: &[u8]) -> Vec<String> {
    let code = |error: &serde_json::Value| Some(error.get("code")?.as_str()?.to_owned());
    error_list(body).iter().flatten().filter_map(code).collect()
}

fn error_list(body: &[u8]) -> Option<Vec<serde_json::Value>> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    match value.get("errors") {
        Some(serde_json::Value::Array(errors)) => Some(errors.clone()),
        // Token servers and Docker Hub have forms of their own.
        _ => Some(vec![value]),
    }
}

fn one_error(error: &serde_json::Value) -> Option<String> {
    let field = |name: &str| error.get(name).and_then(serde_json::Value::as_str).filter(|text| !text.is_empty());
    match (field("code"), field("message").or(field("details")).or(field("error_description"))) {
        (Some(code), Some(message)) => Some(format!("{code}: {message}")),
        (code, message) => code.or(message).map(str::to_owned),
    }
}

fn sanitize(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_invisible(c) { ' ' } else { c }).take(300).collect()
}

/// Characters that could turn a line around or hide in it.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_shown_without_control_characters_and_secrets() {
        for (body, expected) in [
            (r#"{"errors":[{"code":"DENIED","message":"no\u001b[31m way\n"}]}"#, ": DENIED: no [31m way "),
            (r#"{"errors":[{"code":"A"},{"message":"b hunter2"}]}"#, ": A; b [secret]"),
            (r#"{"details":"incorrect username or password"}"#, ": incorrect username or password"),
            (r#"{"errors":[{"code":"X","message":"\u202egnp.exe"}]}"#, ": X:  gnp.exe"),
            (r#"{"message":"c=aHVudGVyMjo and hunter2%3A or hunter2:"}"#, ": c=[secret] and [secret] or [secret]"),
            ("<html>", ""),
            (r#"{"errors":[]}"#, ""),
            ("[1]", ""),
        ] {
            assert_eq!(detail(body.as_bytes(), &["hunter2:".into(), "hunter2".into()]), expected);
        }
        let long = format!(r#"{{"errors":[{{"message":"{}"}}]}}"#, "x".repeat(9000));
        assert_eq!(detail(long.as_bytes(), &[]).chars().count(), 300);
    }

    #[test]
    fn only_what_may_pass_counts_as_passing() {
        use std::io::{Error as Io, ErrorKind};
        let nested = |inner: Io| Io::other(Io::other(inner));
        for (kind, expected) in [
            (ErrorKind::PermissionDenied, true),
            (ErrorKind::StorageFull, true),
            (ErrorKind::ConnectionReset, false),
            (ErrorKind::TimedOut, false),
        ] {
            assert_eq!(is_this_machines(&nested(Io::from(kind))), expected, "{kind}");
        }
        for (text, expected) in [
            ("failed to lookup address information: Temporary failure in name resolution", true),
            ("failed to lookup address information: Try again", true),
            ("failed to lookup address information: Name or service not known", false),
            ("failed to lookup address information: Name does not resolve", false),
        ] {
            assert_eq!(has_no_answer_now(&nested(Io::other(text))), expected, "{text}");
        }
    }

    #[test]
    fn errors_are_small_enough_to_be_returned() {
        assert!(size_of::<RegistryError>() <= 128);
    }
}
