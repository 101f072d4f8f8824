//! The `stdin` source: what is piped into karez. It cannot be read twice, so the engine journals it.
//!
//! What was read and not handed out stays in the process: a reopened source goes on with it.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use karez_api::{
    Batch, Checker, Claim, Class, Clock, Decode, Fault, Form, Lane, Meta, MetaFault, NoAck, Opened,
    Positions, Record, RecordId, Replay, Source, SourceContext, SourcePlan, SourceSpec,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::task::spawn_blocking;

use crate::source::frame::{Cut, Framer, More};
use crate::source::json_values::JsonValues;
use crate::source::lines::Lines;

const BLOCK: usize = 64 << 10;
const MAX_RECORD: usize = 1 << 20;
/// A thread waits this long for input, so that none is left behind when the source stops.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// Reads records from standard input, each at most 1 MiB.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stdin {
    /// `ndjson` (default), `json` (texts one after another, or a list) or `text` (lines).
    #[serde(default)]
    format: StdinFormat,
}

/// How standard input is cut into records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum StdinFormat {
    #[default]
    Ndjson,
    Json,
    Text,
}

impl SourceSpec for Stdin {
    const NAME: &'static str = "stdin";
    const SUMMARY: &'static str = "Reads records from standard input.";
    fn check(self, _: &Checker<'_>) -> Option<Box<dyn SourcePlan>> {
        Some(Box::new(Plan(self.format)))
    }
}

struct Plan(StdinFormat);

#[async_trait]
impl SourcePlan for Plan {
    fn replay(&self) -> Replay {
        Replay::No
    }
    fn has_identity(&self) -> bool {
        false
    }
    fn claims(&self) -> Vec<Claim> {
        vec![Claim::Stdio("stdin")]
    }
    fn default_decode(&self) -> Decode {
        if self.0 == StdinFormat::Text { Decode::Text } else { Decode::Json }
    }
    async fn open(&self, cx: SourceContext) -> Result<Opened, Fault> {
        let framer = match self.0 {
            StdinFormat::Ndjson => Framer::Lines(Lines::new(Form::Json, MAX_RECORD, 0)),
            StdinFormat::Text => Framer::Lines(Lines::new(Form::Text, MAX_RECORD, 0)),
            StdinFormat::Json => Framer::Json(JsonValues::new(MAX_RECORD, 0, 0)),
        };
        // Ids only need to differ between openings: the journal keeps them from here on.
        let base = format!("stdin/{}", uuid::Uuid::new_v4()).into();
        let (source, clock) = (cx.source, cx.clock);
        Ok(Opened::Pull(Box::new(Input { framer, base, source, clock, done: false })))
    }
}

/// Read from standard input and not yet cut.
struct Pending {
    bytes: Bytes,
    /// Bytes cut off before.
    offset: u64,
    ended: bool,
}

static PENDING: Mutex<Pending> = Mutex::new(Pending { bytes: Bytes::new(), offset: 0, ended: false });

fn pending() -> MutexGuard<'static, Pending> {
    PENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits a moment for input and keeps what there is.
fn fill() -> io::Result<()> {
    let mut pending = pending();
    let mut input = io::stdin().lock();
    let ready = poll(&mut [PollFd::new(&input, PollFlags::IN)], Some(&PATIENCE))?;
    if ready == 0 || pending.ended {
        return Ok(());
    }
    let kept = pending.bytes.len();
    let mut block = vec![0; kept + BLOCK.max(kept)];
    block[..kept].copy_from_slice(&pending.bytes);
    let read = input.read(&mut block[kept..])?;
    block.truncate(kept + read);
    pending.ended = read == 0;
    pending.bytes = block.into();
    Ok(())
}

struct Input {
    framer: Framer,
    base: Arc<str>,
    source: Arc<str>,
    clock: Arc<dyn Clock>,
    done: bool,
}

#[async_trait]
impl Source for Input {
    async fn pull(&mut self) -> Result<Option<Batch>, Fault> {
        while !self.done {
            // Nothing is awaited between cutting and returning: a dropped call loses no record.
            let cuts = self.cut();
            if !cuts.is_empty() {
                return Ok(Some(self.batch(cuts)));
            }
            if self.done {
                break;
            }
            let filled = spawn_blocking(fill).await.map_err(Fault::fatal)?;
            filled.map_err(|error| Fault::service(error).with_code("stdin"))?;
        }
        Ok(None)
    }
}

impl Input {
    fn cut(&mut self) -> Vec<Cut> {
        let mut pending = pending();
        let more = if pending.ended { More::Never } else { More::Possible };
        let mut cuts = Vec::new();
        let done = self.framer.cut(&pending.bytes, pending.offset, more, &mut cuts);
        pending.bytes = pending.bytes.slice(done..);
        pending.offset += done as u64;
        self.done = pending.ended && cuts.is_empty();
        cuts
    }

    fn batch(&self, cuts: Vec<Cut>) -> Batch {
        let now = self.clock.now();
        let record = |cut: Cut| {
            let id = RecordId::At { base: Arc::clone(&self.base), offset: cut.start };
            let mut meta = Meta::new(id, Arc::clone(&self.source), now);
            meta.line = Some(cut.line);
            meta.error = cut.refusal.map(|refusal| {
                Arc::new(MetaFault {
                    class: Class::Validation,
                    code: refusal.code.into(),
                    node: Arc::clone(&self.source),
                    message: refusal.message.into(),
                    attempts: 0,
                    at: now,
                })
            });
            Record::new(cut.body, meta)
        };
        Batch {
            lane: Lane::new("stdin"),
            records: cuts.into_iter().map(record).collect(),
            positions: Positions::None,
            ack: Box::new(NoAck),
        }
    }
}
