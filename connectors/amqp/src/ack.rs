//! Acknowledgements of one consuming session. Which record is settled when is the engine's business.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use karez_api::{Ack, Fault, Settled, Verdict};
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use tokio::sync::Mutex;

/// A channel and what it has delivered that is not settled yet.
pub(crate) struct Session {
    channel: Channel,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    unsettled: BTreeSet<u64>,
    /// Settling broke off half-way: what the broker was told is not known, so nothing more is.
    broken: bool,
}

impl Session {
    pub(crate) fn new(channel: Channel) -> Self {
        Self { channel, state: Mutex::default() }
    }

    pub(crate) async fn delivered(&self, tags: &[u64]) {
        self.state.lock().await.unsettled.extend(tags);
    }

    /// Whether nothing that was delivered waits to be settled.
    pub(crate) async fn is_idle(&self) -> bool {
        self.state.lock().await.unsettled.is_empty()
    }

    async fn settle(&self, verdicts: &BTreeMap<u64, Told>) -> Settled {
        let mut state = self.state.lock().await;
        if state.broken || !self.channel.status().connected() {
            return Settled::Stale;
        }
        state.broken = true;
        // A tag that is settled already is skipped: acknowledged twice, it would close the channel.
        let mut left: BTreeMap<u64, Told> = verdicts
            .iter()
            .filter(|(tag, _)| state.unsettled.contains(tag))
            .map(|(tag, told)| (*tag, *told))
            .collect();
        if let Some(last) = covered(&state.unsettled, &left) {
            if self.ack(last, true).await.is_err() {
                return Settled::Stale;
            }
            state.unsettled = state.unsettled.split_off(&(last + 1));
            left = left.split_off(&(last + 1));
        }
        for (tag, told) in left {
            let sent = match told {
                Told::Ack => self.ack(tag, false).await,
                Told::Requeue => {
                    self.channel.basic_nack(tag, BasicNackOptions { requeue: true, multiple: false }).await
                }
            };
            if sent.is_err() {
                return Settled::Stale;
            }
            state.unsettled.remove(&tag);
        }
        state.broken = false;
        Settled::Done
    }

    async fn ack(&self, tag: u64, multiple: bool) -> lapin::Result<()> {
        self.channel.basic_ack(tag, BasicAckOptions { multiple }).await
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Ack,
    Requeue,
}

/// The last tag up to which everything unsettled is to be acknowledged, where that is more than one.
fn covered(unsettled: &BTreeSet<u64>, told: &BTreeMap<u64, Told>) -> Option<u64> {
    let run = unsettled.iter().take_while(|tag| told.get(tag) == Some(&Told::Ack));
    let (count, last) = run.fold((0, 0), |(count, _), tag| (count + 1, *tag));
    (count > 1).then_some(last)
}

/// The way back for one batch.
pub(crate) struct AmqpAck {
    pub(crate) session: Arc<Session>,
    /// Delivery tags by index.
    pub(crate) tags: Vec<u64>,
}

#[async_trait]
impl Ack for AmqpAck {
    async fn settle(&mut self, part: &[(u32, Verdict)]) -> Result<Settled, Fault> {
        let verdicts = part
            .iter()
            .filter_map(|(index, verdict)| Some((*self.tags.get(*index as usize)?, told(verdict))))
            .collect();
        Ok(self.session.settle(&verdicts).await)
    }
}

/// A refused record has a dead letter here: giving it back to the broker would only repeat it.
fn told(verdict: &Verdict) -> Told {
    match verdict {
        Verdict::Durable | Verdict::Duplicate | Verdict::Refused(_) => Told::Ack,
        Verdict::Returned => Told::Requeue,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_run_from_the_oldest_is_acknowledged_at_once() {
        let run = |unsettled: &[u64], acked: &[u64], returned: &[u64]| {
            let told = acked.iter().map(|tag| (*tag, Told::Ack));
            let told = told.chain(returned.iter().map(|tag| (*tag, Told::Requeue))).collect();
            covered(&unsettled.iter().copied().collect(), &told)
        };
        assert_eq!(run(&[1, 2, 3, 4], &[1, 2, 3], &[]), Some(3));
        assert_eq!(run(&[1, 2, 3, 4], &[2, 3, 4], &[]), None);
        assert_eq!(run(&[1, 2, 3, 4], &[1, 3, 4], &[2]), None);
        assert_eq!(run(&[3, 7, 9], &[3, 7], &[9]), Some(7));
        assert_eq!(run(&[5], &[5], &[]), None);
        assert_eq!(run(&[], &[1], &[]), None);
    }
}
