//! How many requests of one kind are under way at one registry: more while all is well, half when it has too many.
//!
//! Does not time anything: how long to leave a registry alone is the business of `exchange`.

use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::auth::lock;

/// From this size on it is the bytes of a blob that take time, and no longer its requests.
const LARGE: u64 = 4 << 20;
/// Large blobs that go to one registry at once. They share the way there: with more of them, the largest one, which
/// had the start of all, ends late and alone.
const LARGE_AT_ONCE: usize = 4;

/// The places at one registry, by kind of request.
pub(super) struct Pools {
    /// Small documents and questions.
    pub(super) small: Pool,
    /// Blobs that come from there.
    pub(super) download: Pool,
    upload: Pool,
    large: Arc<Semaphore>,
}

impl Default for Pools {
    fn default() -> Self {
        Self {
            small: Pool::new(8, 32),
            download: Pool::new(6, 16),
            upload: Pool::new(6, 16),
            large: Arc::new(Semaphore::new(LARGE_AT_ONCE)),
        }
    }
}

impl Pools {
    /// Waits for a place to bring a blob of `size` bytes.
    pub(super) async fn upload(&self, size: u64) -> Place {
        // Whoever has a place never waits for this one, so that nobody waits in a circle.
        let large = if size < LARGE { None } else { Arc::clone(&self.large).acquire_owned().await.ok() };
        let mut place = self.upload.place().await;
        place._large = large;
        place
    }
}

/// Places for requests, taken in the order of asking. Grows by one place for each success while the places do not
/// suffice, after the first trouble by one for each round of successes; a trouble halves it, down to one place.
pub(super) struct Pool(Arc<Shared>);

struct Shared {
    places: Arc<Semaphore>,
    state: Mutex<State>,
}

struct State {
    limit: usize,
    ceiling: usize,
    /// Places to take away as they are given back.
    owed: usize,
    /// Successes since the last growth.
    good: usize,
    /// How often the pool was halved.
    halvings: u64,
}

/// One place; given back when dropped.
pub(super) struct Place {
    shared: Arc<Shared>,
    permit: Option<OwnedSemaphorePermit>,
    /// The right to bring a large blob, given back with the place.
    _large: Option<OwnedSemaphorePermit>,
    /// How often the pool had been halved when the request began.
    halvings: u64,
}

impl Pool {
    fn new(first: usize, ceiling: usize) -> Self {
        let state = State { limit: first, ceiling, owed: 0, good: 0, halvings: 0 };
        Self(Arc::new(Shared { places: Arc::new(Semaphore::new(first)), state: Mutex::new(state) }))
    }

    /// Waits for a place.
    pub(super) async fn place(&self) -> Place {
        // The semaphore is never closed, so that the permit is always there.
        let permit = Arc::clone(&self.0.places).acquire_owned().await.ok();
        let halvings = lock(&self.0.state).halvings;
        Place { shared: Arc::clone(&self.0), permit, _large: None, halvings }
    }

    #[cfg(test)]
    fn limit(&self) -> usize {
        lock(&self.0.state).limit
    }
}

impl Place {
    /// The request that has the place was answered well.
    pub(super) fn well(&self) {
        let mut state = lock(&self.shared.state);
        // Growth without need would let a later burst begin where nothing was ever tried.
        if self.shared.places.available_permits() > 0 || state.limit >= state.ceiling {
            return;
        }
        state.good += 1;
        if state.halvings > 0 && state.good < state.limit {
            return;
        }
        state.good = 0;
        state.limit += 1;
        match state.owed.checked_sub(1) {
            Some(less) => state.owed = less,
            None => self.shared.places.add_permits(1),
        }
    }

    /// The registry has too much to do. Requests that were under way at the last halving say nothing new.
    pub(super) fn busy(&self) {
        let mut state = lock(&self.shared.state);
        if self.halvings != state.halvings {
            return;
        }
        let limit = (state.limit / 2).max(1);
        state.owed += state.limit - limit;
        state.owed -= self.shared.places.forget_permits(state.owed);
        (state.limit, state.good) = (limit, 0);
        state.halvings += 1;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        if state.owed > 0
            && let Some(permit) = self.permit.take()
        {
            state.owed -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn taken(pool: &Pool) -> Vec<Place> {
        std::iter::from_fn(|| pool.place().now_or_never()).collect()
    }

    #[test]
    fn a_pool_grows_under_load_and_halves_once_a_round() {
        let pool = Pool::new(4, 6);
        let first = taken(&pool);
        assert_eq!(first.len(), 4);
        first[0].well();
        assert_eq!(pool.limit(), 5);
        let fifth = pool.place().now_or_never().unwrap();
        fifth.well();
        fifth.well();
        assert_eq!(pool.limit(), 6, "the ceiling holds");

        for place in &first {
            place.busy();
        }
        assert_eq!(pool.limit(), 3, "what was under way together counts once");
        drop((first, fifth));
        let second = taken(&pool);
        assert_eq!(second.len(), 3);
        second[0].busy();
        drop(second);
        let third = taken(&pool);
        assert_eq!(third.len(), 1);
        third[0].busy();
        assert_eq!(pool.limit(), 1, "the floor holds");
        third[0].well();
        assert_eq!(pool.limit(), 2);
        assert_eq!(taken(&pool).len(), 1);
    }

    #[test]
    fn growth_after_trouble_takes_a_round_of_successes() {
        let pool = Pool::new(8, 32);
        taken(&pool)[0].busy();
        let places = taken(&pool);
        assert_eq!(places.len(), 4);
        for place in &places[..3] {
            place.well();
        }
        assert_eq!(pool.limit(), 4);
        places[3].well();
        assert_eq!(pool.limit(), 5);
    }

    #[test]
    fn large_blobs_leave_places_to_small_ones() {
        let pools = Pools::default();
        let large: Vec<Place> = std::iter::from_fn(|| pools.upload(LARGE).now_or_never()).collect();
        assert_eq!(large.len(), LARGE_AT_ONCE);
        let small: Vec<Place> = std::iter::from_fn(|| pools.upload(LARGE - 1).now_or_never()).collect();
        assert_eq!(small.len(), 6 - LARGE_AT_ONCE);
        drop(large);
        assert!(pools.upload(LARGE).now_or_never().is_some());
    }

    #[test]
    fn a_pool_that_suffices_does_not_grow() {
        let pool = Pool::new(2, 9);
        for _ in 0..20 {
            pool.place().now_or_never().unwrap().well();
        }
        assert_eq!(pool.limit(), 2);
    }
}
