//! Threads for programs whose cost is not known. The library cannot be interrupted: a run over its budget is given up,
//! its thread is written off (it ends when the run does) and another takes its place.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use karez_api::{Fault, Json, Record};

use super::Program;

/// How long a run may take once a thread has begun with it.
pub(super) const BUDGET: Duration = Duration::from_secs(1);

/// Threads that stand ready.
const THREADS: usize = 2;
/// Runs that wait for a thread; more callers wait before they queue.
const QUEUE: usize = 64;
/// Room for deep recursion and for dropping deeply nested values; only what is touched is memory.
const STACK: usize = 256 << 20;

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
    let gone = || Some(Err(Fault::fatal("the threads that run jq are gone")));
    // Waiting for a thread is not the program's fault and does not count; every run before this one is bounded.
    if POOL.jobs.send(job).is_err() || replies.recv().is_err() {
        return gone();
    }
    match replies.recv_timeout(BUDGET) {
        Ok(Reply::Done(outcome)) => Some(outcome),
        Err(RecvTimeoutError::Timeout) if !decided.swap(true, Ordering::AcqRel) => {
            POOL.start_thread();
            None
        }
        // It was done at the last moment.
        Err(RecvTimeoutError::Timeout) => match replies.recv() {
            Ok(Reply::Done(outcome)) => Some(outcome),
            _ => gone(),
        },
        Ok(Reply::Begun) | Err(RecvTimeoutError::Disconnected) => gone(),
    }
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
