//! Threads for programs whose cost is not known. The library cannot be interrupted: a run over its budget is given up,
//! its thread is written off (it ends when the run does) and another takes its place.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use karez_api::{Fault, Json, Record};

use super::Program;

/// How long a run may take once a thread has begun with it.
pub(super) const BUDGET: Duration = Duration::from_secs(1);

/// What a run may take without being counted.
const SLOW: Duration = Duration::from_millis(50);

/// Threads that stand ready.
const THREADS: usize = 2;
/// Runs that wait for a thread; more callers wait before they queue.
const QUEUE: usize = 64;
/// Room for deep recursion and for dropping deeply nested values; only what is touched is memory.
const STACK: usize = 256 << 20;

/// What became of jq runs since the process began. Programs that are provably cheap are not timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JqRuns {
    /// Took more than 50 ms, those included that were given up.
    pub slow: u64,
    /// Given up after one second.
    pub given_up: u64,
}

static SLOW_RUNS: AtomicU64 = AtomicU64::new(0);
static GIVEN_UP: AtomicU64 = AtomicU64::new(0);

/// See [`JqRuns`].
pub fn jq_runs() -> JqRuns {
    JqRuns { slow: SLOW_RUNS.load(Ordering::Relaxed), given_up: GIVEN_UP.load(Ordering::Relaxed) }
}

type Outcome = Result<Vec<Json>, Fault>;

enum Reply {
    Begun,
    Done(Outcome),
}

struct Job {
    program: Arc<Program>,
    record: Record,
    reply: SyncSender<Reply>,
    /// Taken by whoever comes first: the thread that is done, or the caller who gives up.
    decided: Arc<AtomicBool>,
}

struct Pool {
    jobs: SyncSender<Job>,
    queue: Arc<Mutex<Receiver<Job>>>,
}

static POOL: LazyLock<Pool> = LazyLock::new(|| {
    let (jobs, queue) = sync_channel(QUEUE);
    let pool = Pool { jobs, queue: Arc::new(Mutex::new(queue)) };
    for _ in 0..THREADS {
        pool.start_thread();
    }
    pool
});

/// Runs a program; `None` if it went over its budget.
pub(super) fn run(program: &Arc<Program>, record: &Record) -> Option<Outcome> {
    let (reply, replies) = sync_channel(2);
    let decided = Arc::new(AtomicBool::new(false));
    let job =
        Job { program: Arc::clone(program), record: record.clone(), reply, decided: Arc::clone(&decided) };
    // Waiting for a thread is not the program's fault and does not count; every run before this one is bounded.
    if POOL.jobs.send(job).is_err() || replies.recv().is_err() {
        return Some(Err(gone()));
    }
    let began = Instant::now();
    let outcome = await_reply(&replies, &decided);
    if began.elapsed() > SLOW {
        SLOW_RUNS.fetch_add(1, Ordering::Relaxed);
    }
    outcome
}

/// The outcome of a run that has begun; `None` once it is over its budget.
fn await_reply(replies: &Receiver<Reply>, decided: &AtomicBool) -> Option<Outcome> {
    match replies.recv_timeout(BUDGET) {
        Ok(Reply::Done(outcome)) => Some(outcome),
        Err(RecvTimeoutError::Timeout) if !decided.swap(true, Ordering::AcqRel) => {
            POOL.start_thread();
            GIVEN_UP.fetch_add(1, Ordering::Relaxed);
            None
        }
        // It was done at the last moment.
        Err(RecvTimeoutError::Timeout) => match replies.recv() {
            Ok(Reply::Done(outcome)) => Some(outcome),
            _ => Some(Err(gone())),
        },
        Ok(Reply::Begun) | Err(RecvTimeoutError::Disconnected) => Some(Err(gone())),
    }
}

fn gone() -> Fault {
    Fault::fatal("the threads that run jq are gone")
}

impl Pool {
    fn start_thread(&self) {
        let queue = Arc::clone(&self.queue);
        let thread = std::thread::Builder::new().name("jq".to_owned()).stack_size(STACK);
        // Without a thread the callers find the pool gone; there is nobody else to tell.
        drop(thread.spawn(move || while serve(&queue) {}));
    }
}

/// Runs one job; false when this thread is written off or the pool ends.
fn serve(queue: &Mutex<Receiver<Job>>) -> bool {
    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
    let Ok(job) = next else { return false };
    if job.reply.send(Reply::Begun).is_err() {
        return true;
    }
    let outcome = job.program.execute(&job.record);
    if job.decided.swap(true, Ordering::AcqRel) {
        return false;
    }
    // The caller waits for nothing else; if it is gone, nobody needs the outcome.
    drop(job.reply.send(Reply::Done(outcome)));
    true
}
