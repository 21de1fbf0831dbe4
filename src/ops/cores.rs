//! Who may use a core next: of all layers that are ready to be written, the largest.
//!
//! First come, first served would let the small ones, which are fetched and checked first, keep the largest for the
//! end, when nothing is left to be done beside it. Knows sizes alone.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// As many places as there are cores.
pub(super) struct Cores {
    queue: Mutex<Queue>,
}

struct Queue {
    free: usize,
    /// By size, the largest first, then by arrival.
    waiting: BTreeMap<(Reverse<u64>, u64), oneshot::Sender<Core>>,
    arrivals: u64,
}

/// A place, until it is dropped.
pub(super) struct Core(Option<Arc<Cores>>);

impl Cores {
    /// `count` places, at least one.
    pub(super) fn new(count: usize) -> Arc<Self> {
        let queue = Queue { free: count.max(1), waiting: BTreeMap::new(), arrivals: 0 };
        Arc::new(Self { queue: Mutex::new(queue) })
    }

    /// Waits for a place for work over `bytes`.
    pub(super) async fn take(self: &Arc<Self>, bytes: u64) -> Core {
        let coming = {
            let mut queue = self.queue();
            if queue.free > 0 {
                queue.free -= 1;
                return Core(Some(Arc::clone(self)));
            }
            let (sender, receiver) = oneshot::channel();
            queue.arrivals += 1;
            let arrival = queue.arrivals;
            queue.waiting.insert((Reverse(bytes), arrival), sender);
            receiver
        };
        // The queue lives as long as somebody waits in it, so the sender is never lost.
        coming.await.unwrap_or(Core(None))
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        let Some(cores) = self.0.take() else { return };
        let mut queue = cores.queue();
        while let Some((_, next)) = queue.waiting.pop_first() {
            match next.send(Self(Some(Arc::clone(&cores)))) {
                Ok(()) => return,
                // Whoever waited is gone; the place must not be given back by the one that was meant for them.
                Err(mut unwanted) => unwanted.0 = None,
            }
        }
        queue.free += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn the_largest_that_waits_is_next_and_equal_ones_go_by_arrival() {
        let cores = Cores::new(1);
        let first = cores.take(1).await;
        let served = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for (name, bytes) in [("small", 1), ("large", 9), ("middle", 5), ("middle too", 5)] {
            let (waiting, log) = (Arc::clone(&cores), Arc::clone(&served));
            tasks.push(tokio::spawn(async move {
                let _core = waiting.take(bytes).await;
                log.lock().unwrap().push(name);
            }));
            tokio::task::yield_now().await;
        }
        drop(first);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*served.lock().unwrap(), ["large", "middle", "middle too", "small"]);
        assert_eq!(cores.queue().free, 1);
    }

    #[tokio::test]
    async fn whoever_gives_up_waiting_costs_no_place() {
        let cores = Cores::new(2);
        let (one, two) = (cores.take(1).await, cores.take(1).await);
        let gone = tokio::time::timeout(Duration::from_millis(1), cores.take(7)).await;
        assert!(gone.is_err());
        assert_eq!(cores.queue().waiting.len(), 1);
        let waiting = Arc::clone(&cores);
        let late = tokio::spawn(async move { drop(waiting.take(3).await) });
        tokio::task::yield_now().await;
        drop(one);
        tokio::time::timeout(Duration::from_secs(10), late).await.unwrap().unwrap();
        drop(two);
        let queue = cores.queue();
        assert_eq!((queue.free, queue.waiting.len()), (2, 0));
    }
}
