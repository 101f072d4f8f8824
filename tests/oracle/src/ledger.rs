//! What was asked of karez and what it promised: one line per transition in a file that only grows.
//! An attempt is on disk before the request goes out. `K` alone is an obligation; after `U` the event may
//! or may not appear; after `N` alone it must not.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::Id;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// `K`: karez has it.
    Acked,
    /// `N`: karez said that it does not take it, so it must be sent again.
    Refused,
    /// `U`: no answer.
    Unknown,
}

/// Everything that happened to one event at its sender.
#[derive(Debug, Clone, Copy, Default)]
pub struct Account {
    pub attempts: u32,
    pub acked: u32,
    pub refused: u32,
    pub unknown: u32,
}

#[derive(Debug, Default)]
struct State {
    accounts: HashMap<Id, Account>,
    lines: String,
    /// Lines handed over, and those that are on disk.
    written: u64,
    synced: u64,
    acked: u64,
    unknown: u64,
    refused: u64,
    /// When the attempt on its way began, by event.
    asked: HashMap<Id, Instant>,
    /// How long each acknowledged attempt took.
    waits: Vec<Duration>,
    closed: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    begun: Instant,
}

/// The ledger of one lane.
pub struct Ledger {
    shared: Arc<Shared>,
    writing: Option<JoinHandle<()>>,
}

impl Ledger {
    /// # Panics
    /// The file cannot be made.
    #[must_use]
    pub fn create(path: &Path) -> Self {
        let file = File::create(path).unwrap();
        let shared =
            Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), begun: Instant::now() });
        let writer = Arc::clone(&shared);
        let writing = std::thread::spawn(move || writer.write(file));
        Self { shared, writing: Some(writing) }
    }

    /// An attempt is about to be made. On disk when this returns.
    pub fn attempts(&self, id: Id) {
        let mut state = self.state();
        state.accounts.entry(id).or_default().attempts += 1;
        state.asked.insert(id, Instant::now());
        self.note(&mut state, 'A', id);
        let mine = state.written;
        while state.synced < mine {
            state = self.shared.changed.wait(state).unwrap();
        }
    }

    /// How that attempt ended.
    pub fn ended(&self, id: Id, fate: Fate) {
        let mut state = self.state();
        let account = state.accounts.entry(id).or_default();
        match fate {
            Fate::Acked => account.acked += 1,
            Fate::Refused => account.refused += 1,
            Fate::Unknown => account.unknown += 1,
        }
        let first = account.acked == 1;
        let asked = state.asked.remove(&id);
        let letter = match fate {
            Fate::Acked => {
                state.acked += u64::from(first);
                state.waits.extend(asked.map(|asked| asked.elapsed()));
                'K'
            }
            Fate::Refused => {
                state.refused += 1;
                'N'
            }
            Fate::Unknown => {
                state.unknown += 1;
                'U'
            }
        };
        self.note(&mut state, letter, id);
    }

    fn note(&self, state: &mut State, letter: char, id: Id) {
        let at = self.shared.begun.elapsed().as_micros();
        writeln!(state.lines, "{letter} {id} {at}").unwrap();
        state.written += 1;
        self.shared.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    /// Events that were acknowledged, each once.
    #[must_use]
    pub fn acked(&self) -> u64 {
        self.state().acked
    }

    /// Attempts without an answer.
    #[must_use]
    pub fn unknown(&self) -> u64 {
        self.state().unknown
    }

    /// Attempts that were turned away.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.state().refused
    }

    /// How long acknowledged attempts took, from the shortest to the longest.
    #[must_use]
    pub fn waits(&self) -> Vec<Duration> {
        let mut waits = self.state().waits.clone();
        waits.sort_unstable();
        waits
    }

    /// Every event that was ever attempted.
    #[must_use]
    pub fn accounts(&self) -> HashMap<Id, Account> {
        self.state().accounts.clone()
    }
}

impl Shared {
    /// Writes what has come together, syncs once for all of it.
    fn write(&self, mut file: File) {
        loop {
            let (lines, written) = {
                let mut state = self.state.lock().unwrap();
                while state.lines.is_empty() && !state.closed {
                    state = self.changed.wait(state).unwrap();
                }
                if state.lines.is_empty() {
                    return;
                }
                (std::mem::take(&mut state.lines), state.written)
            };
            file.write_all(lines.as_bytes()).unwrap();
            file.sync_data().unwrap();
            self.state.lock().unwrap().synced = written;
            self.changed.notify_all();
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.state().closed = true;
        self.shared.changed.notify_all();
        if let Some(writing) = self.writing.take() {
            writing.join().ok();
        }
    }
}
