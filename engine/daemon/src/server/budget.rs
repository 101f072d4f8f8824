//! What the bodies of all requests may take in memory at the same time, from arrival to answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes that are left.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<AtomicUsize>);

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes)))
    }

    /// An account of one request; what it took goes back when it is dropped.
    pub(crate) fn open(&self) -> Charge {
        Charge { budget: self.clone(), taken: 0 }
    }
}

/// See [`Budget::open`].
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Budget,
    taken: usize,
}

impl Charge {
    /// False, and nothing is taken, where so much is not left.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let taken = self.budget.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes)).is_ok();
        self.taken += if taken { bytes } else { 0 };
        taken
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.0.fetch_add(self.taken, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_comes_back_with_the_answer() {
        let budget = Budget::new(100);
        let (mut one, mut other) = (budget.open(), budget.open());
        assert!(one.take(60) && one.take(30));
        assert!(!other.take(11) && other.take(10));
        drop(one);
        assert!(other.take(90));
    }
}
