//! Downloads of blobs: streamed, verified, taken up again where a connection was lost.
//!
//! Keeps nothing: what is read twice is fetched twice.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use reqwest::header::{CONTENT_RANGE, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};

use super::contract::{BlobStream, blob_name};
use super::error::RegistryError;
use super::exchange::{Ask, Exchange, Host, text};
use super::pool::Place;
use super::pull::blob_ask;
use super::retry::GOOD_PROGRESS;
use super::transport::Size;
use crate::oci::{Descriptor, Digester, Repository};

/// A download under way.
struct Download {
    exchange: Arc<Exchange>,
    host: Arc<Host>,
    ask: Ask,
    what: String,
    blob: Descriptor,
    connection: Option<Connection>,
    /// Over all bytes; absent when they are not read from the beginning.
    digester: Option<Digester>,
    /// Bytes so far, handed on.
    got: u64,
    /// Bytes to drop, since a registry that ignores `Range` sends them again.
    skip: u64,
    failures: u32,
    /// Bytes at the last failure.
    mark: u64,
}

/// An answer whose body is being read, and the place that it takes at its registry until it ends.
struct Connection {
    response: Response,
    _place: Option<Place>,
}

/// Opens a blob from `offset` on; read from its beginning it is verified.
pub(super) async fn read_blob(
    exchange: Arc<Exchange>,
    host: Arc<Host>,
    at: &Repository,
    blob: &Descriptor,
    offset: u64,
) -> Result<BlobStream, RegistryError> {
    let mut ask = blob_ask(&host, Method::GET, at, &blob.digest)?;
    ask.size = Size::Bulk;
    let mut download = Download {
        exchange,
        host,
        ask,
        what: blob_name(at, &blob.digest),
        blob: blob.clone(),
        connection: None,
        digester: (offset == 0).then(|| Digester::new(blob.digest.algorithm())),
        got: offset,
        skip: 0,
        failures: 0,
        mark: offset,
    };
    // Nobody has a range that is empty.
    if offset == 0 || offset < blob.size {
        download.connect().await?;
    }
    Ok(Box::pin(stream::try_unfold(download, |mut download| async move {
        Ok(download.next().await?.map(|chunk| (chunk, download)))
    })))
}

impl Download {
    async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            let Some(connection) = &mut self.connection else { return Ok(None) };
            match self.exchange.transport.chunk(&mut connection.response, &self.ask.action).await {
                Ok(Some(chunk)) => {
                    if let Some(fresh) = self.take(chunk)? {
                        return Ok(Some(fresh));
                    }
                }
                Ok(None) if self.got == self.blob.size => {
                    self.connection = None;
                    return self.verify().map(|()| None);
                }
                Ok(None) => {
                    let (expected, actual) = (self.blob.size, self.got);
                    self.resume(RegistryError::WrongLength { what: self.what.clone(), expected, actual }).await?;
                }
                Err(error) if error.is_transient() => self.resume(error).await?,
                Err(error) => return Err(error),
            }
        }
    }

    fn take(&mut self, mut chunk: Bytes) -> Result<Option<Bytes>, RegistryError> {
        let known = usize::try_from(self.skip).unwrap_or(usize::MAX).min(chunk.len());
        self.skip -= known as u64;
        let chunk = chunk.split_off(known);
        if chunk.is_empty() {
            return Ok(None);
        }
        self.got += chunk.len() as u64;
        if self.got > self.blob.size {
            return Err(self.too_long(self.got));
        }
        if let Some(digester) = &mut self.digester {
            digester.update(&chunk);
        }
        if self.got == self.blob.size {
            // Before the last bytes are handed on: whoever pushes them has never sent all of a wrong blob.
            self.verify()?;
        }
        Ok(Some(chunk))
    }

    fn too_long(&self, actual: u64) -> RegistryError {
        RegistryError::WrongLength { what: self.what.clone(), expected: self.blob.size, actual }
    }

    fn verify(&mut self) -> Result<(), RegistryError> {
        match self.digester.take().map(Digester::finish) {
            Some(actual) if actual != self.blob.digest => {
                Err(RegistryError::WrongDigest { what: self.what.clone(), actual: Box::new(actual) })
            }
            _ => Ok(()),
        }
    }

    /// Opens the rest of the blob after a loss; gives `loss` back when that has been tried often enough.
    async fn resume(&mut self, loss: RegistryError) -> Result<(), RegistryError> {
        // Its place is free for others as long as we wait.
        self.connection = None;
        if self.got >= self.mark + GOOD_PROGRESS {
            self.failures = 0;
        }
        self.failures += 1;
        self.mark = self.got;
        if self.failures >= self.exchange.retry.tries {
            return Err(loss.after(self.failures));
        }
        self.exchange.wait(&self.host, self.failures, None, &self.ask.action).await;
        self.connect().await
    }

    /// Asks for what has not come yet.
    async fn connect(&mut self) -> Result<(), RegistryError> {
        let mut ask = self.ask.clone();
        if self.got > 0 {
            let range = format!("bytes={}-", self.got);
            ask.headers.extend(HeaderValue::try_from(range).ok().map(|value| (RANGE, value)));
        }
        let answer = self.exchange.call(&self.host, &ask).await?;
        let range = text(answer.response.headers(), CONTENT_RANGE.as_str());
        let rest = format!("bytes {}-", self.got);
        let length = answer.response.content_length().unwrap_or(0);
        match answer.response.status() {
            StatusCode::PARTIAL_CONTENT if self.got > 0 && range.is_some_and(|range| range.starts_with(&rest)) => {
                self.skip = 0;
            }
            StatusCode::OK if length > self.blob.size => return Err(self.too_long(length)),
            StatusCode::OK => self.skip = self.got,
            StatusCode::PARTIAL_CONTENT => {
                return Err(self.host.protocol(&self.ask.action, "another range than was asked for"));
            }
            _ => return Err(self.exchange.refusal(&self.host, &ask, &self.what, answer).await),
        }
        self.connection = Some(Connection { response: answer.response, _place: answer.place });
        Ok(())
    }
}
