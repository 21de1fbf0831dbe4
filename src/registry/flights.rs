//! Who brings a blob to a registry: one push of several that want to.
//!
//! Sends nothing. Remembers for one run what this client brought, and never what it only saw.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use tokio::sync::watch;

use super::auth::lock;
use super::known::Mounting;
use crate::oci::{Descriptor, Digest};

/// A blob, as one push and another mean the same one. Where nothing can be mounted, each repository is a world of its own.
type Key = (Option<String>, Digest, u64);

/// The blobs under way to one registry, or brought there.
#[derive(Default)]
pub(super) struct Flights(Mutex<BTreeMap<Key, Flight>>);

#[derive(Default)]
struct Flight {
    /// Ends when the push that is under way does.
    under_way: Option<watch::Receiver<()>>,
    /// The repositories that have the blob.
    at: BTreeSet<String>,
}

/// Whose turn it is.
pub(super) enum Turn<'a> {
    /// The blob is there already.
    There,
    /// It is ours to bring.
    Ours(Lead<'a>),
}

/// The task of bringing a blob. When it is dropped undone, the next one that waits takes over.
pub(super) struct Lead<'a> {
    flights: &'a Flights,
    key: Key,
    path: String,
    /// A repository of the same registry that has the blob.
    pub(super) elsewhere: Option<String>,
    _under_way: watch::Sender<()>,
}

impl Flights {
    /// Waits until the blob is in the repository `path`, or ours to bring.
    pub(super) async fn turn(&self, mounting: Mounting, path: &str, blob: &Descriptor) -> Turn<'_> {
        let world = (mounting != Mounting::Any).then(|| path.to_owned());
        let key: Key = (world, blob.digest.clone(), blob.size);
        loop {
            let mut ending = {
                let mut flights = lock(&self.0);
                let flight = flights.entry(key.clone()).or_default();
                if flight.at.contains(path) {
                    return Turn::There;
                }
                match &flight.under_way {
                    Some(under_way) => under_way.clone(),
                    None => {
                        let (sender, receiver) = watch::channel(());
                        flight.under_way = Some(receiver);
                        let elsewhere = flight.at.first().cloned();
                        let path = path.to_owned();
                        return Turn::Ours(Lead { flights: self, key, path, elsewhere, _under_way: sender });
                    }
                }
            };
            // An error means that the sender is gone: that is the news.
            let _ = ending.changed().await;
        }
    }

    /// Takes note that a repository may have lost blobs.
    pub(super) fn forget(&self, path: &str) {
        for flight in lock(&self.0).values_mut() {
            flight.at.remove(path);
        }
    }
}

impl Lead<'_> {
    /// The blob is there.
    pub(super) fn done(self) {
        if let Some(flight) = lock(&self.flights.0).get_mut(&self.key) {
            flight.at.insert(self.path.clone());
        }
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        if let Some(flight) = lock(&self.flights.0).get_mut(&self.key) {
            flight.under_way = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn turn<'a>(flights: &'a Flights, mounting: Mounting, path: &str) -> Option<Turn<'a>> {
        flights.turn(mounting, path, &Descriptor::of("", b"blob")).now_or_never()
    }

    #[test]
    fn one_brings_and_the_others_wait_for_it() {
        let flights = Flights::default();
        let Some(Turn::Ours(lead)) = turn(&flights, Mounting::Any, "a") else { panic!("the first one leads") };
        assert!(turn(&flights, Mounting::Any, "a").is_none());
        assert!(turn(&flights, Mounting::Any, "b").is_none());
        assert!(
            matches!(turn(&flights, Mounting::Referred, "b"), Some(Turn::Ours(_))),
            "no mount, nothing to wait for"
        );
        drop(lead);
        let Some(Turn::Ours(lead)) = turn(&flights, Mounting::Any, "a") else { panic!("the next one takes over") };
        assert_eq!(lead.elsewhere, None);
        lead.done();
        assert!(matches!(turn(&flights, Mounting::Any, "a"), Some(Turn::There)));
        let Some(Turn::Ours(lead)) = turn(&flights, Mounting::Any, "b") else { panic!("another repository") };
        assert_eq!(lead.elsewhere.as_deref(), Some("a"));
        drop(lead);
        flights.forget("a");
        assert!(matches!(turn(&flights, Mounting::Any, "a"), Some(Turn::Ours(Lead { elsewhere: None, .. }))));
    }
}
