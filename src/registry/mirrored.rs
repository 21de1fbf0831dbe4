//! Reads that ask mirrors first, and the registry itself when they fail.
//!
//! Knows neither what a manifest nor what a blob is for; pushes never come here.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::access::Mirror;
use super::client::Client;
use super::contract::{BlobStream, Pending, blob_name};
use super::error::RegistryError;
use super::exchange::{Exchange, Host};
use super::{download, pull};
use crate::oci::{Descriptor, Digester, Document, Reference, ReferenceError, Repository};

/// A read of a reference: `pull::resolve` or `pull::manifest`.
type Read<T> = for<'a> fn(&'a Exchange, &'a Host, &'a Reference) -> Pending<'a, Option<T>>;

pub(super) async fn resolve(client: &Client, at: &Reference) -> Result<Option<Descriptor>, RegistryError> {
    first(client, at, |exchange, host, at| Box::pin(pull::resolve(exchange, host, at))).await
}

pub(super) async fn manifest(client: &Client, at: &Reference) -> Result<Option<Document>, RegistryError> {
    first(client, at, |exchange, host, at| Box::pin(pull::manifest(exchange, host, at))).await
}

/// The first answer; that of the registry itself, if all mirrors lack it.
async fn first<T>(client: &Client, at: &Reference, read: Read<T>) -> Result<Option<T>, RegistryError> {
    for mirror in client.mirrors_of(&at.repository()) {
        let there = mirror.reference(at).map_err(unnamed)?;
        let answer = match client.host(mirror.registry()) {
            Ok(host) => read(client.mirror_exchange(), &host, &there).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(Some(found)) => {
                if at.digest().is_none() {
                    client.mirrors().served(&mirror, &at.to_string());
                }
                return Ok(Some(found));
            }
            Ok(None) => client.mirrors().lacks(&mirror, &at.to_string()),
            Err(error) => client.mirrors().failed(&mirror, &error),
        }
    }
    read(client.exchange(), &*client.host(at.domain())?, at).await
}

/// A whole small blob from the first that has it and has it right.
pub(super) async fn fetch_blob(
    client: &Client,
    at: &Repository,
    blob: &Descriptor,
    cap: u64,
) -> Result<Vec<u8>, RegistryError> {
    if blob.size > cap {
        return Err(RegistryError::TooLarge { what: blob_name(at, &blob.digest), cap });
    }
    for mirror in client.mirrors_of(at) {
        let read = async { collect(open_at(client, &mirror, at, blob).await?, blob.size).await };
        match read.await {
            Ok(bytes) => return Ok(bytes),
            Err(error) => passed_over(client, &mirror, at, blob, &error),
        }
    }
    collect(direct(client, at, blob, 0).await?, blob.size).await
}

async fn collect(mut stream: BlobStream, size: u64) -> Result<Vec<u8>, RegistryError> {
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    while let Some(chunk) = stream.try_next().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// A blob from the first mirror that opens it, going on at the registry itself when that one fails on the way.
pub(super) async fn read_blob(
    client: &Client,
    at: &Repository,
    blob: &Descriptor,
) -> Result<BlobStream, RegistryError> {
    for mirror in client.mirrors_of(at) {
        match open_at(client, &mirror, at, blob).await {
            Ok(stream) => return Ok(Relay::start(client, mirror, at, blob, stream)),
            Err(error) => passed_over(client, &mirror, at, blob, &error),
        }
    }
    direct(client, at, blob, 0).await
}

fn passed_over(client: &Client, mirror: &Mirror, at: &Repository, blob: &Descriptor, error: &RegistryError) {
    match error {
        RegistryError::NotFound { .. } => client.mirrors().lacks(mirror, &blob_name(at, &blob.digest)),
        error => client.mirrors().failed(mirror, error),
    }
}

async fn open_at(
    client: &Client,
    mirror: &Mirror,
    at: &Repository,
    blob: &Descriptor,
) -> Result<BlobStream, RegistryError> {
    let there = mirror.repository(at).map_err(unnamed)?;
    download::read_blob(Arc::clone(client.mirror_exchange()), client.host(mirror.registry())?, &there, blob, 0).await
}

/// The blob from the registry itself, from `offset` on.
async fn direct(client: &Client, at: &Repository, blob: &Descriptor, offset: u64) -> Result<BlobStream, RegistryError> {
    download::read_blob(Arc::clone(client.exchange()), client.host(at.registry())?, at, blob, offset).await
}

fn unnamed(error: ReferenceError) -> RegistryError {
    RegistryError::Unnamed(error.to_string())
}

/// A blob on its way, which a mirror began.
struct Relay {
    client: Client,
    at: Repository,
    blob: Descriptor,
    stream: BlobStream,
    /// The mirror, as long as the bytes are its own.
    mirror: Option<Mirror>,
    /// Over all bytes that were handed on: two sources may have each a part of them.
    digester: Digester,
    got: u64,
}

impl Relay {
    fn start(client: &Client, mirror: Mirror, at: &Repository, blob: &Descriptor, stream: BlobStream) -> BlobStream {
        let relay = Self {
            client: client.clone(),
            at: at.clone(),
            blob: blob.clone(),
            stream,
            mirror: Some(mirror),
            digester: Digester::new(blob.digest.algorithm()),
            got: 0,
        };
        stream::try_unfold(relay, |mut relay| async move { Ok(relay.next().await?.map(|chunk| (chunk, relay))) })
            .boxed()
    }

    async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            let error = match self.stream.next().await {
                Some(Ok(chunk)) => return self.take(chunk).map(Some),
                None => return Ok(None),
                Some(Err(error)) => error,
            };
            let Some(mirror) = self.mirror.take() else { return Err(error) };
            self.client.mirrors().failed(&mirror, &error);
            // What was handed on cannot be taken back.
            if matches!(error, RegistryError::WrongDigest { .. }) || self.got >= self.blob.size {
                return Err(error);
            }
            self.stream = direct(&self.client, &self.at, &self.blob, self.got).await?;
        }
    }

    /// Takes note of bytes. One source verifies its own; of two, the whole is verified before its last bytes go on.
    fn take(&mut self, chunk: Bytes) -> Result<Bytes, RegistryError> {
        self.digester.update(&chunk);
        self.got += chunk.len() as u64;
        if self.mirror.is_some() || self.got < self.blob.size {
            return Ok(chunk);
        }
        let algorithm = self.blob.digest.algorithm();
        let actual = std::mem::replace(&mut self.digester, Digester::new(algorithm)).finish();
        if actual == self.blob.digest {
            return Ok(chunk);
        }
        Err(RegistryError::WrongDigest { what: blob_name(&self.at, &self.blob.digest), actual: Box::new(actual) })
    }
}
