//! Who may call at all, and how often: networks that are let in, requests of all and of each.

use std::collections::hash_map::RandomState;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use governor::clock::Clock as _;
use governor::state::keyed::HashMapStateStore;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use karez_api::{Checker, Clock, Network, Path, Problem, Rate};
use schemars::JsonSchema;
use serde::Deserialize;

/// Addresses whose requests are counted one by one; those beyond share one count.
const MOST_PEERS: usize = 10_000;

/// How many requests are taken; those beyond are answered with 429 and `Retry-After`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitSpec {
    /// Requests of all senders together. Default: no limit.
    rate: Option<Rate>,
    /// Requests of one address; an IPv6 network of 64 bits counts as one. Default: no limit.
    per_peer: Option<Rate>,
    /// How many may come at once. Default: what the rate allows in a second, at least 1.
    burst: Option<NonZeroU32>,
}

/// Checked `networks` and `request_limit`.
#[derive(Default)]
pub(super) struct Limits {
    networks: Vec<Network>,
    all: Option<Quota>,
    per_peer: Option<Quota>,
}

impl Limits {
    pub(super) fn check(
        cx: &Checker<'_>,
        networks: Option<Vec<String>>,
        limit: Option<LimitSpec>,
    ) -> Option<Self> {
        let at = Path::root().field("networks");
        if networks.as_ref().is_some_and(Vec::is_empty) {
            let help = "leave it out to let everybody in, or name networks like 192.0.2.0/24";
            cx.report(Problem::error("no-networks", at.clone(), "nobody would be let in").help(help));
            return None;
        }
        let named = networks.unwrap_or_default();
        let read = |(index, text): (usize, &String)| network(cx, &at.index(index), text);
        let found: Vec<Network> = named.iter().enumerate().filter_map(read).collect();
        let quota = |rate: Option<Rate>, burst| rate.and_then(|rate| quota(rate, burst));
        let burst = limit.as_ref().and_then(|limit| limit.burst);
        let limits = Self {
            all: quota(limit.as_ref().and_then(|limit| limit.rate), burst),
            per_peer: quota(limit.as_ref().and_then(|limit| limit.per_peer), burst),
            networks: found,
        };
        if limit.is_some_and(|limit| limit.rate.is_none() && limit.per_peer.is_none()) {
            let at = Path::root().field("request_limit");
            cx.report(
                Problem::error("no-limit", at, "this limits nothing")
                    .help("add rate: 100/s or per_peer: 10/s"),
            );
            return None;
        }
        (limits.networks.len() == named.len()).then_some(limits)
    }
}

fn network(cx: &Checker<'_>, at: &Path, text: &str) -> Option<Network> {
    let wrong = |what: String| {
        cx.report(
            Problem::error("bad-network", at.clone(), what)
                .help("write an address and how many of its bits count, like 192.0.2.0/24 or 2001:db8::/32"),
        );
    };
    text.parse().map_err(wrong).ok()
}

fn quota(rate: Rate, burst: Option<NonZeroU32>) -> Option<Quota> {
    let period = Duration::from_secs_f64(rate.interval.max(1e-9));
    let in_a_second = NonZeroU32::new((1.0 / rate.interval) as u32).unwrap_or(NonZeroU32::MIN);
    Quota::with_period(period).map(|quota| quota.allow_burst(burst.unwrap_or(in_a_second)))
}

/// Requests without proof that are answered at once, in a second.
const FREE_REFUSALS: NonZeroU32 = NonZeroU32::new(50).unwrap();

/// How long each of those beyond waits for its answer: who tries secrets, or only wants to be in the way, gets no further
/// than this, and leaves the processor to the others.
const SLOWED: Duration = Duration::from_millis(100);

/// Why a request is turned away.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turned {
    /// From a network that is not let in.
    Away,
    /// It may come again after this time.
    Later(Duration),
}

type All = RateLimiter<NotKeyed, InMemoryState, Engine>;
type PerPeer = RateLimiter<IpAddr, HashMapStateStore<IpAddr, RandomState>, Engine>;

/// The limits of one endpoint with what was counted.
pub(super) struct Gate {
    limits: Arc<Limits>,
    clock: Engine,
    all: Option<All>,
    per_peer: Option<PerPeer>,
    /// Of peers beyond those that are counted one by one.
    others: Option<All>,
    refusals: All,
}

impl Gate {
    pub(super) fn new(limits: Arc<Limits>, clock: Arc<dyn Clock>) -> Self {
        let clock = Engine(clock);
        let direct = |quota: Quota| RateLimiter::direct_with_clock(quota, clock.clone());
        Self {
            all: limits.all.map(direct),
            others: limits.per_peer.map(direct),
            refusals: direct(Quota::per_second(FREE_REFUSALS)),
            per_peer: limits
                .per_peer
                .map(|quota| RateLimiter::new(quota, HashMapStateStore::default(), clock.clone())),
            limits,
            clock,
        }
    }

    /// # Errors
    /// It is not let in, or comes too often.
    pub(super) fn pass(&self, peer: IpAddr) -> Result<(), Turned> {
        let peer = peer.to_canonical();
        let networks = &self.limits.networks;
        if !networks.is_empty() && !networks.iter().any(|network| network.contains(peer)) {
            return Err(Turned::Away);
        }
        self.peer(peer)?;
        match self.all.as_ref().map(RateLimiter::check) {
            Some(Err(early)) => Err(self.later(&early)),
            Some(Ok(())) | None => Ok(()),
        }
    }

    /// How long a request without proof waits for its answer.
    pub(super) fn brake(&self) -> Option<Duration> {
        self.refusals.check().err().map(|_| SLOWED)
    }

    fn peer(&self, peer: IpAddr) -> Result<(), Turned> {
        let (Some(limiter), Some(others)) = (&self.per_peer, &self.others) else {
            return Ok(());
        };
        if limiter.len() >= MOST_PEERS {
            limiter.retain_recent();
        }
        let checked = match limiter.len() >= MOST_PEERS {
            true => others.check(),
            false => limiter.check_key(&network_of(peer)),
        };
        checked.map_err(|early| self.later(&early))
    }

    fn later(&self, early: &governor::NotUntil<Instant>) -> Turned {
        Turned::Later(early.wait_time_from(self.clock.now()))
    }
}

/// Whoever has one address of an IPv6 network has all of them.
fn network_of(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            Ipv6Addr::from(network).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// The engine's clock as the limiter knows it.
#[derive(Clone)]
struct Engine(Arc<dyn Clock>);

impl governor::clock::Clock for Engine {
    type Instant = Instant;
    fn now(&self) -> Instant {
        self.0.instant()
    }
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
