//! A world in which time passes only where everybody waits: futures are polled on this thread until none of them can go
//! on, then the clock moves to the next time that somebody waits for. Nothing of it is random, and nothing takes long.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use karez_api::{Clock, Millis, Tasks};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How driving a future ended.
pub(super) enum Driven<T> {
    Done(T),
    /// Somebody wants it to end here.
    Halted,
    /// It waits for what never comes.
    Stuck,
}

/// The tasks of one opening of a source.
#[derive(Default)]
pub(super) struct World {
    arriving: Arc<Arriving>,
    running: FuturesUnordered<Task>,
}

#[derive(Default)]
struct Arriving(Mutex<Vec<Task>>);

impl Tasks for Arriving {
    fn spawn(&self, _: &'static str, task: Task) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }
}

/// Notes that something can go on.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl World {
    pub(super) fn tasks(&self) -> Arc<dyn Tasks> {
        Arc::clone(&self.arriving) as _
    }

    /// Drives `main` to its end. `halts` is asked whenever nothing can go on without time.
    pub(super) fn drive<T>(
        &mut self,
        clock: &Simulated,
        main: impl Future<Output = T>,
        halts: impl Fn() -> bool,
    ) -> Driven<T> {
        let mut main = pin!(main);
        loop {
            if let Some(done) = self.settle(main.as_mut()) {
                return Driven::Done(done);
            }
            if halts() {
                return Driven::Halted;
            }
            if !clock.advance() {
                return Driven::Stuck;
            }
        }
    }

    /// Lets everything go on that can without time.
    pub(super) fn idle(&mut self) {
        let _: Option<()> = self.settle(pin!(std::future::pending()));
    }

    fn settle<T>(&mut self, mut main: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        while woken.0.swap(false, Ordering::SeqCst) {
            if let Poll::Ready(done) = main.as_mut().poll(&mut cx) {
                return Some(done);
            }
            let arrived =
                std::mem::take(&mut *self.arriving.0.lock().unwrap_or_else(PoisonError::into_inner));
            if !arrived.is_empty() {
                woken.0.store(true, Ordering::SeqCst);
                self.running.extend(arrived);
            }
            while let Poll::Ready(Some(())) = self.running.poll_next_unpin(&mut cx) {}
        }
        None
    }
}

/// A clock that moves only when somebody waits.
#[derive(Clone)]
pub(super) struct Simulated(Arc<Inner>);

struct Inner {
    now: Millis,
    begun: Instant,
    time: Mutex<Time>,
    numbers: AtomicU64,
}

#[derive(Default)]
struct Time {
    passed: Duration,
    /// What of it does not count for the wall clock.
    before: Duration,
    waiting: BTreeMap<(Duration, u64), Waker>,
}

impl Simulated {
    pub(super) fn at(now: Millis) -> Self {
        let begun = crate::SystemClock.instant();
        Self(Arc::new(Inner { now, begun, time: Mutex::default(), numbers: AtomicU64::new(0) }))
    }

    /// The wall clock shows the beginning again: what was recorded happened then, however often it is begun.
    pub(super) fn restart(&self) {
        let mut time = self.time();
        time.before = time.passed;
    }

    /// Goes to the next time that somebody waits for; false where nobody does.
    fn advance(&self) -> bool {
        let mut time = self.time();
        let Some(((until, _), waker)) = time.waiting.pop_first() else { return false };
        time.passed = time.passed.max(until);
        drop(time);
        waker.wake();
        true
    }

    fn time(&self) -> MutexGuard<'_, Time> {
        self.0.time.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for Simulated {
    fn now(&self) -> Millis {
        let time = self.time();
        let passed = time.passed.saturating_sub(time.before).as_millis();
        Millis(self.0.now.0.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX)))
    }

    fn instant(&self) -> Instant {
        self.0.begun + self.time().passed
    }

    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let until = self.time().passed.saturating_add(time);
        let number = self.0.numbers.fetch_add(1, Ordering::Relaxed);
        Box::pin(Sleep { clock: self.clone(), at: (until, number) })
    }
}

struct Sleep {
    clock: Simulated,
    at: (Duration, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut time = self.clock.time();
        if time.passed >= self.at.0 {
            return Poll::Ready(());
        }
        time.waiting.insert(self.at, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.clock.time().waiting.remove(&self.at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_where_all_wait_and_a_halt_comes_before() {
        let (clock, mut world) = (Simulated::at(Millis(1_000)), World::default());
        let (first, second) = (clock.clone(), clock.clone());
        let order: Arc<Mutex<Vec<u64>>> = Arc::default();
        let seen = Arc::clone(&order);
        let task = Box::pin(async move {
            second.sleep(Duration::from_secs(60)).await;
            seen.lock().unwrap().push(second.now().0);
        });
        world.tasks().spawn("test", task);
        let seen = Arc::clone(&order);
        let main = async move {
            first.sleep(Duration::from_secs(3_600)).await;
            seen.lock().unwrap().push(first.now().0);
        };
        assert!(matches!(world.drive(&clock, main, || false), Driven::Done(())));
        assert_eq!(*order.lock().unwrap(), [61_000, 3_601_000]);
        clock.restart();
        assert_eq!(clock.now(), Millis(1_000));
        let never = std::future::pending::<()>();
        assert!(matches!(world.drive(&clock, never, || false), Driven::Stuck));
        let sleep = clock.sleep(Duration::from_secs(1));
        assert!(matches!(world.drive(&clock, sleep, || true), Driven::Halted));
    }
}
