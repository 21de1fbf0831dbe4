//! Registries: the contract, an HTTP client, an in-memory registry, and the credentials for them.
//!
//! What is pushed and in which order is decided by the use cases.

mod access;
mod auth;
mod challenge;
mod client;
mod cloud;
mod connections;
mod contract;
mod docker_config;
mod download;
mod error;
mod exchange;
mod failure;
mod flights;
mod helper_process;
mod keychain;
mod known;
mod login;
mod login_store;
mod manners;
mod memory;
mod mirrored;
mod mirrors;
mod mount;
mod origin;
mod pool;
mod probe;
mod proxy;
mod pull;
mod push;
mod referrers;
mod retry;
mod token;
mod transport;
mod trust;
mod upload;
mod upload_body;

pub use access::{Access, Mirror, ProxyRule};
pub use client::{Client, ClientConfig};
pub use cloud::{CloudError, Clouds, Facts, WebError};
pub(crate) use connections::{Connections, ConnectionsError, Size};
pub use contract::{BlobBody, BlobStream, Mounted, Pending, Registry, Reopen};
pub use docker_config::{DockerConfig, DockerKeychain, hostname};
pub use error::RegistryError;
pub use failure::TlsFault;
pub use helper_process::{HelperError, Helpers, server_url};
pub use keychain::{Anonymous, Chain, Credential, Given, Identity, Keychain, KeychainError, Lookup};
pub use login::{Checked, LoginError, registry_name};
pub use login_store::{Keeper, LoginStore};
pub use memory::Memory;
pub use origin::{Detour, Origin, OriginError, validate_realm, validate_redirect, validate_upload_location};
pub use probe::{ConnectError, Greeting, Readable, UploadSession, Way};
pub use proxy::{Proxies, Proxy, ProxyError};
pub use retry::RetryPolicy;
pub use trust::{ClientIdentity, PemError, check_certificates, check_roots};
