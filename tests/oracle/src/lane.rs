//! A lane: one producer, one pipeline, one observer, and the account of what went in and came out.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::ids::Sizes;
use crate::observe::{FilesReader, Http, Manner, Observer, QueueReader, unwelcome};
use crate::produce::{Api, Lines, Load, Pace, Producer, Queue, Webhook};
use crate::{Expect, Ledger, Maker, Seed, broker};

/// Where a lane's events come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    Webhook,
    Lines,
    /// One file with the lines of all senders.
    SharedLines,
    Queue,
    Api,
}

/// Where a lane's events go.
#[derive(Debug, Clone, Copy)]
pub enum To {
    Http(Manner),
    Files,
    Queue,
}

/// One pipeline with its two ends.
pub struct Lane {
    pub name: String,
    /// Like `webhook->http`.
    pub pair: String,
    pub producer: Arc<dyn Producer>,
    pub observer: Box<dyn Observer>,
    /// A second sink of the same pipeline, which gets the same.
    pub branch: Option<Box<dyn Observer>>,
    pub ledger: Arc<Ledger>,
    pub maker: Maker,
    pub expect: Expect,
    pub pace: Pace,
    /// Engine keys of the source, each with a comma before it.
    pub source_keys: String,
    /// What stands between source and sink in the pipeline's file.
    pub middle: String,
    pub(crate) load: Option<Load>,
    pub(crate) next: Vec<u32>,
    /// Fresh events sent by nobody's hand so far.
    pub(crate) probes: u32,
}

impl Lane {
    /// In `folder`, a folder of the lane's own.
    ///
    /// # Panics
    /// The folder cannot be made.
    #[must_use]
    pub fn new(folder: &Path, name: &str, seed: Seed, from: From, to: To) -> Self {
        let at = place(folder, name);
        std::fs::create_dir_all(&at).unwrap();
        let queue = |end: &str| format!("{end}-{name}-{:08x}", seed.of("queue").0 as u32);
        let producer: Arc<dyn Producer> = match from {
            From::Webhook => Arc::new(Webhook::new(name)),
            From::Lines => Arc::new(Lines::new(at.join("in"))),
            From::SharedLines => Arc::new(Lines::new(at.join("in")).shared()),
            From::Queue => Arc::new(Queue::new(&broker(), &queue("in"))),
            From::Api => Arc::new(Api::new()),
        };
        let observer = far_end(&at, &queue("out"), seed, to);
        let middle = match from {
            // A sender tries again after silence, so it needs the key; a journal has no order of its own.
            From::Webhook => "dedup: {key: $.id, ttl: 1h}\norder_by: $.key\n",
            // The publisher, too: it does not know whether a message without a confirm is in the queue.
            From::Queue => "dedup: {key: $.id, ttl: 1h}\norder_by: $.key\n",
            From::SharedLines | From::Api => "order_by: $.key\n",
            From::Lines => "",
        };
        let mut expect = Expect::default();
        if let To::Http(Manner { rejects: true, .. }) = to {
            expect.refused = unwelcome;
        }
        Self {
            name: name.into(),
            pair: format!("{}->{}", producer.name(), observer.name()),
            producer,
            observer,
            branch: None,
            ledger: Arc::new(Ledger::create(&at.join("ledger.log"))),
            maker: Maker::new(seed, Sizes::Mixed),
            expect,
            pace: match from {
                // A file takes more than anything behind it.
                From::Lines | From::SharedLines => {
                    Pace { pause: Duration::from_millis(2), ..Pace::default() }
                }
                // So does what is only shown, and all of it is kept.
                From::Api => Pace { pause: Duration::from_millis(20), ..Pace::default() },
                From::Webhook | From::Queue => Pace::default(),
            },
            source_keys: String::new(),
            middle: middle.into(),
            load: None,
            next: Vec::new(),
            probes: 0,
        }
    }

    /// Other sizes of events.
    pub fn sized(&mut self, seed: Seed, sizes: Sizes) {
        self.maker = Maker::new(seed, sizes);
    }

    /// A second sink beside the first, in the same `folder`.
    pub fn fan_out(&mut self, folder: &Path, to: To) {
        let at = place(folder, &self.name).join("branch");
        std::fs::create_dir_all(&at).unwrap();
        let seed = self.maker.seed().of("branch");
        self.branch = Some(far_end(&at, &format!("branch-{:08x}", seed.0 as u32), seed, to));
    }

    /// What one of the two sinks is called in the table.
    #[must_use]
    pub fn branch_pair(&self) -> String {
        let name = self.branch.as_ref().map_or("", |branch| branch.name());
        format!("{}->+{name}", self.producer.name())
    }

    /// The pipeline's file.
    #[must_use]
    pub fn pipeline(&self) -> String {
        if let Some(branch) = &self.branch {
            let (first, second) = (sink(&*self.observer), sink(&**branch));
            return format!(
                "sources: {{source: {{{}{}}}}}\n{}sinks: {{sink: {{{first}}}, branch: {{{second}}}}}\n",
                self.producer.source(),
                self.source_keys,
                self.middle
            );
        }
        format!(
            "source: {{{}{}}}\n{}sink: {{{}}}\n",
            self.producer.source(),
            self.source_keys,
            self.middle,
            sink(&*self.observer)
        )
    }

    /// Senders begin, or go on where they were.
    pub fn begin(&mut self) {
        let load = Load::start(&self.producer, &self.ledger, &self.maker, &self.next, self.pace);
        self.load = Some(load);
    }

    /// No sender is in the middle of anything until it goes on.
    pub fn pause(&self) {
        self.load.iter().for_each(Load::pause);
    }

    pub fn go_on(&self) {
        self.load.iter().for_each(Load::go_on);
    }

    /// Senders finish what they are at.
    pub fn end(&mut self) {
        if let Some(load) = self.load.take() {
            self.next = load.finish();
        }
    }
}

fn place(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("lane-{name}"))
}

fn far_end(at: &Path, queue: &str, seed: Seed, to: To) -> Box<dyn Observer> {
    match to {
        To::Http(manner) => Box::new(Http::start(&at.join("observed.log"), seed, manner)),
        To::Files => Box::new(FilesReader::new(at.join("out"))),
        To::Queue => Box::new(QueueReader::new(&broker(), queue, &at.join("observed.log"))),
    }
}

fn sink(observer: &dyn Observer) -> String {
    format!("{}{}", observer.sink(), observer.keys())
}
