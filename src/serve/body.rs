//! Bodies of requests: taken piece by piece, from senders that may fall silent.
//!
//! A slow sender is not refused, only one that sends nothing at all for a while.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Bytes, Incoming};

use super::answer::{Code, Refusal};

/// How much of a body is read for nothing but good manners, in bytes.
const MANNERS: u64 = 8 * 1024 * 1024;

/// The next bytes of a body; `None` at its end.
pub(super) async fn next(body: &mut Incoming, silence: Duration) -> Result<Option<Bytes>, Refusal> {
    loop {
        let frame = match tokio::time::timeout(silence, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => return Ok(None),
            Ok(Some(Err(error))) => return Err(Code::UploadInvalid.refuse(format!("the body broke off: {error}"))),
            Err(_) => return Err(Code::UploadInvalid.refuse(format!("no byte came for {} s", silence.as_secs()))),
        };
        if let Ok(bytes) = frame.into_data() {
            return Ok(Some(bytes));
        }
    }
}

/// A whole body, which may have up to `limit` bytes.
pub(super) async fn whole(mut body: Incoming, limit: usize, silence: Duration) -> Result<Vec<u8>, Refusal> {
    let too_large = || Code::TooLarge.refuse(format!("a manifest has up to {limit} bytes"));
    let mut bytes = Vec::new();
    if body.size_hint().lower() > limit as u64 {
        discard(body, silence).await;
        return Err(too_large());
    }
    while let Some(next) = next(&mut body, silence).await? {
        if bytes.len() + next.len() > limit {
            discard(body, silence).await;
            return Err(too_large());
        }
        bytes.extend_from_slice(&next);
    }
    Ok(bytes)
}

/// Reads a body away, unless it is long or stalls.
pub(super) async fn discard(mut body: Incoming, silence: Duration) {
    let mut left = MANNERS;
    if body.size_hint().lower() > left {
        return;
    }
    while let Ok(Some(bytes)) = next(&mut body, silence).await {
        left = left.saturating_sub(bytes.len() as u64);
        if left == 0 {
            return;
        }
    }
}
