//! Calls that tests make of the HTTP client, and what loopback registries answer to them.
//!
//! One repository, one blob, one secret: what differs from test to test is the registry.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lapstrake::diagnostic::Diagnose;
use lapstrake::oci::media_type::OCI_LAYER_GZIP;
use lapstrake::oci::{Descriptor, Repository};
use lapstrake::registry::{
    BlobBody, Client, ClientConfig, Credential, Given, Identity, Registry, RegistryError, RetryPolicy,
};

use super::fault::{FaultServer, Reply, Seen};

pub(crate) const SECRET: &str = "canary-5f1c";
pub(crate) const BLOB: &[u8] = b"0123456789abcdefghij";

pub(crate) fn config() -> ClientConfig {
    let retry = RetryPolicy { first_wait: Duration::from_millis(2), ..RetryPolicy::default() };
    ClientConfig { retry, patience: Duration::from_millis(400), ..ClientConfig::default() }
}

pub(crate) fn client() -> Client {
    Client::new(config())
}

pub(crate) fn client_of(domain: &str, credential: Credential) -> Client {
    let identity = Identity::new(credential, "a test's flag");
    Client::new(ClientConfig { keychain: Arc::new(Given { domain: domain.into(), identity }), ..config() })
}

pub(crate) fn password() -> Credential {
    Credential::Password { username: "user".into(), password: SECRET.into() }
}

pub(crate) fn repository(server: &FaultServer) -> Repository {
    Repository::parse(&format!("{}/team/app", server.domain())).unwrap()
}

pub(crate) fn blob() -> Descriptor {
    Descriptor::of(OCI_LAYER_GZIP, BLOB)
}

pub(crate) fn blob_path() -> String {
    format!("/v2/team/app/blobs/{}", blob().digest)
}

pub(crate) async fn read(client: &Client, server: &FaultServer) -> Result<Vec<u8>, RegistryError> {
    client.fetch_blob(&repository(server), &blob(), 1000).await
}

pub(crate) async fn push(client: &Client, server: &FaultServer) -> Result<(), RegistryError> {
    client.push_blob(&repository(server), &blob(), BlobBody::Bytes(Bytes::from_static(BLOB)), &|_| {}).await
}

pub(crate) fn challenge(seen: &Seen) -> Reply {
    let host = seen.header("host").unwrap();
    Reply::status(401).header("www-authenticate", format!(r#"Bearer realm="http://{host}/token",service="reg""#))
}

pub(crate) fn bearer(seen: &Seen) -> Option<&str> {
    seen.header("authorization")?.strip_prefix("Bearer ")
}

pub(crate) fn token(value: &str) -> Reply {
    Reply::ok(format!(r#"{{"token":"{value}","expires_in":300}}"#))
}

/// The message of an error with its causes and its hint: all that a user may see of it.
pub(crate) fn shown(error: &RegistryError) -> String {
    let mut text = format!("{error} {error:?} {:?}", error.hint());
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(" {error}"));
        cause = error.source();
    }
    text
}
