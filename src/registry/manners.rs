//! How one registry wants to be treated: what is known of it, and what it has taught us in this run.
//!
//! Forgets everything at the end of a run, since registries and the proxies before them change.

use std::sync::Mutex;

use reqwest::header::HeaderMap;

use super::auth::lock;
use super::exchange::text;
use super::known::{self, Known, Way};

/// The largest chunk that is tried after a body was too large.
const LARGEST_CHUNK: u64 = 64 << 20;
/// The smallest one: less than this and the requests cost more than the bytes.
const SMALLEST_CHUNK: u64 = 256 << 10;

/// How a blob's bytes are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    /// All at once, this way.
    Whole(Way),
    /// By PATCH requests of at most so many bytes, each with its `Content-Range`, and an empty PUT with the digest.
    Chunks(u64),
}

/// The sizes of chunks that a registry announces with an upload session (distribution-spec, "Pushing a blob in chunks").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) least: u64,
    pub(super) most: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { least: 0, most: u64::MAX }
    }
}

impl Bounds {
    pub(super) fn announced(headers: &HeaderMap) -> Self {
        let bytes = |name: &str| text(headers, name)?.trim().parse::<u64>().ok().filter(|bytes| *bytes > 0);
        let least = bytes("oci-chunk-min-length").unwrap_or(0);
        Self { least, most: bytes("oci-chunk-max-length").unwrap_or(u64::MAX).max(least) }
    }
}

/// What one registry is like, shared by all tasks.
pub(super) struct Manners(Mutex<State>);

struct State {
    known: &'static Known,
    /// The way that had success after another one was refused.
    way: Option<Way>,
    /// The most bytes of a request, as far as it was found out.
    body: u64,
    /// Whether a blob may come with the POST, once that was found out.
    single: Option<bool>,
}

impl Manners {
    /// The manners of the registry `domain` (`host` or `host:port`).
    pub(super) fn of(domain: &str) -> Self {
        Self::like(known::of_host(domain))
    }

    fn like(known: &'static Known) -> Self {
        Self(Mutex::new(State { known, way: None, body: u64::MAX, single: None }))
    }

    /// What was known before.
    pub(super) fn known(&self) -> &'static Known {
        lock(&self.0).known
    }

    /// Takes note of what a server says it is.
    pub(super) fn recognise(&self, headers: &HeaderMap) {
        if let Some(known) = known::of_headers(headers) {
            lock(&self.0).known = known;
        }
    }

    /// How to send a blob of `size` bytes.
    pub(super) fn sending(&self, size: u64, bounds: Bounds) -> Sending {
        let state = lock(&self.0);
        let limit = state.known.body.min(state.body).min(bounds.most);
        if size > limit && state.known.ranged > 0 {
            return Sending::Chunks(limit.min(state.known.ranged).max(bounds.least));
        }
        Sending::Whole(state.way.unwrap_or(state.known.way))
    }

    /// Whether a POST may carry a blob. Not tried where a PUT is known to be refused, which is the same with a session.
    pub(super) fn may_take_single(&self) -> bool {
        let state = lock(&self.0);
        state.single != Some(false) && state.way.unwrap_or(state.known.way) == Way::Put
    }

    /// Whether a POST that carried a blob has brought it.
    pub(super) fn is_known_to_take_single(&self) -> bool {
        lock(&self.0).single == Some(true)
    }

    /// Takes note whether a POST that carried a blob has brought it.
    pub(super) fn takes_single(&self, is_there: bool) {
        lock(&self.0).single = Some(is_there);
    }

    /// A blob was taken this way after another one was refused.
    pub(super) fn takes(&self, way: Way) {
        lock(&self.0).way = Some(way);
    }

    /// A request of `sent` bytes was too large (413): finds a smaller size for all that follow, if there is one.
    pub(super) fn too_large(&self, sent: u64) -> bool {
        let mut state = lock(&self.0);
        let Some(smaller) = smaller(sent).filter(|_| state.known.ranged > 0) else { return false };
        state.body = state.body.min(smaller);
        true
    }
}

/// The next power of two below `bytes`, within the sizes of chunks that make sense.
fn smaller(bytes: u64) -> Option<u64> {
    let half = 1 << bytes.checked_sub(1)?.checked_ilog2()?;
    (half >= SMALLEST_CHUNK).then_some(half.min(LARGEST_CHUNK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_sent_only_when_told() {
        let unknown = Manners::of("registry.test");
        assert_eq!(unknown.sending(1 << 40, Bounds::default()), Sending::Whole(Way::Put));
        let bounds = Bounds { least: 5 << 20, most: 10 << 20 };
        assert_eq!(unknown.sending(10 << 20, bounds), Sending::Whole(Way::Put));
        assert_eq!(unknown.sending((10 << 20) + 1, bounds), Sending::Chunks(10 << 20));
        assert_eq!(
            Manners::of("registry.cloudflare.com").sending(1 << 30, Bounds::default()),
            Sending::Chunks(95 << 20)
        );
        let hub = Manners::of("ghcr.io");
        assert_eq!(hub.sending(1 << 30, Bounds::default()), Sending::Whole(Way::Patch));
        assert!(hub.too_large(1 << 30));
        assert_eq!(hub.sending(1 << 30, Bounds::default()), Sending::Chunks(4 << 20));
        let google = Manners::of("europe-docker.pkg.dev");
        assert!(!google.too_large(1 << 30), "it takes no chunks");
        assert_eq!(google.sending(1 << 30, bounds), Sending::Whole(Way::Put));
    }

    #[test]
    fn a_size_that_was_too_large_is_halved_and_remembered() {
        let manners = Manners::of("registry.test");
        let mut sent = 300 << 20;
        let mut sizes = Vec::new();
        while manners.too_large(sent) {
            let Sending::Chunks(size) = manners.sending(300 << 20, Bounds::default()) else { panic!("chunks") };
            sizes.push(size >> 10);
            sent = size;
        }
        assert_eq!(sizes, [65536, 32768, 16384, 8192, 4096, 2048, 1024, 512, 256]);
        assert_eq!(manners.sending(1 << 10, Bounds::default()), Sending::Whole(Way::Put));
        assert!(!manners.too_large(0) && !manners.too_large(1) && !manners.too_large(256 << 10));
        manners.takes(Way::Patch);
        assert_eq!(manners.sending(1 << 10, Bounds::default()), Sending::Whole(Way::Patch));
    }

    #[test]
    fn a_post_with_a_blob_is_tried_where_nothing_speaks_against_it() {
        let unknown = Manners::of("registry.test");
        assert!(unknown.may_take_single() && !Manners::of("ghcr.io").may_take_single());
        assert!(!unknown.is_known_to_take_single());
        unknown.takes_single(true);
        assert!(unknown.may_take_single() && unknown.is_known_to_take_single());
        unknown.takes_single(false);
        assert!(!unknown.may_take_single() && !unknown.is_known_to_take_single());
    }

    #[test]
    fn announced_bounds_are_read_and_kept_in_order() {
        let bounds = |least: &str, most: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("oci-chunk-min-length", least.parse().unwrap());
            headers.insert("oci-chunk-max-length", most.parse().unwrap());
            Bounds::announced(&headers)
        };
        assert_eq!(bounds("5", "10"), Bounds { least: 5, most: 10 });
        assert_eq!(bounds("5", "3"), Bounds { least: 5, most: 5 });
        assert_eq!(bounds("x", "0"), Bounds::default());
        assert_eq!(bounds("-1", "99999999999999999999"), Bounds::default());
    }
}
