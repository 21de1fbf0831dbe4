//! Small blobs in one request: a POST that carries the bytes (distribution-spec, "Single POST").
//!
//! Registries need not know it, and most open a session instead, as for any POST. That session is not lost: the blob
//! goes on there by the common way, which is not here.

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use reqwest::{Method, StatusCode};

use super::contract::{BlobBody, blob_name};
use super::error::RegistryError;
use super::retry::is_transient;
use super::transport::Size;
use super::upload::{Session, Upload};

/// The most bytes that are sent without knowing whether they are taken: as many as a connection sends anyway before
/// it hears of the other side.
const LARGEST: u64 = 14 << 10;

/// Tries to push a blob by one request; says whether it is there now. If not, its bytes are in memory for the next try.
pub(super) async fn push(upload: &mut Upload<'_>) -> Result<bool, RegistryError> {
    let (exchange, host, to, blob) = (upload.exchange, upload.host, upload.to, upload.blob);
    let path = to.path();
    let has_session = || host.sessions.has(path, &blob.digest) || host.ahead.has(path);
    if blob.size > LARGEST || !host.manners.may_take_single() || has_session() {
        return Ok(false);
    }
    let bytes = whole(upload).await?;
    upload.body = BlobBody::Bytes(bytes.clone());
    let mut url = host.url(&format!("/v2/{path}/blobs/uploads/"))?;
    url.query_pairs_mut().append_pair("digest", blob.digest.as_str());
    let mut ask = upload.ask(Method::POST, url, "POST");
    (ask.size, ask.body) = (Size::Small, Some(bytes));
    let _place = host.pools.upload(blob.size).await;
    let answer = exchange.call(host, &ask).await?;
    match answer.response.status() {
        StatusCode::CREATED => {
            host.manners.takes_single(true);
            exchange.drain(answer.response, &ask.action).await;
            upload.progress.finish(blob.size, upload.report);
            return Ok(true);
        }
        status if is_transient(status) || matches!(status, StatusCode::FORBIDDEN | StatusCode::NOT_FOUND) => {
            return Err(exchange.refusal(host, &ask, &to.to_string(), answer).await);
        }
        status if status.is_success() => {
            if let Ok(session) = Session::opened(host, &ask, &answer.response) {
                host.sessions.remember(path, &blob.digest, session);
            }
        }
        _ => {}
    }
    host.manners.takes_single(false);
    exchange.drain(answer.response, &ask.action).await;
    Ok(false)
}

/// The bytes of a blob, which are as many as its descriptor says.
async fn whole(upload: &Upload<'_>) -> Result<Bytes, RegistryError> {
    let mut stream = upload.body.open(0).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.try_next().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > upload.blob.size {
            break;
        }
    }
    let (expected, actual) = (upload.blob.size, bytes.len() as u64);
    if actual != expected {
        let what = blob_name(upload.to, &upload.blob.digest);
        return Err(RegistryError::WrongLength { what, expected, actual });
    }
    Ok(bytes.into())
}
