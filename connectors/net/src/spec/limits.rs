//! How much, how often, how long.

use karez_api::{Duration, Rate};
use schemars::JsonSchema;
use serde::Deserialize;

/// What may be asked of the far end. All of it is shared by every pipeline that uses the connection.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Quotas that we keep ourselves; each of them must allow a request.
    #[serde(default)]
    pub quotas: Vec<Quota>,
    /// Whether the far end's headers (`Retry-After`, `RateLimit`, `X-RateLimit-*` and the like) are obeyed. Default true.
    pub headers: Option<bool>,
    /// The part of each known quota that is left for others, in percent. Default 0.
    pub reserve: Option<u8>,
    /// Longest wait for a turn before a call fails as rate-limited, so that its record waits elsewhere. Default 30s.
    pub max_wait: Option<Duration>,
    /// Calls at once. Default: no limit of the connection's own.
    pub concurrency: Option<Concurrency>,
    /// When the far end is left alone for a while. Default: half of the last 20 calls failed.
    pub circuit: Option<CircuitSpec>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// How often, like `10/s` or `100/m`. Needed unless `requests` and `window` say it.
    pub rate: Option<Rate>,
    /// How many may go at once after a rest. Default 1.
    pub burst: Option<u32>,
    /// Count within a sliding window of this length in place of a bucket: `requests` in each `window`, by default as
    /// many as `rate` makes of it. A window is exact: what is on its way counts until its answer has come.
    pub window: Option<Duration>,
    /// Up to 100000.
    pub requests: Option<u32>,
    /// Methods that it is about. Default: all.
    #[serde(default)]
    pub methods: Vec<String>,
    /// The beginning of the paths that it is about. Default: all.
    pub path: Option<String>,
    /// What a request costs of `burst` or `requests`. Default 1.
    pub cost: Option<u32>,
}

/// A number, or `adaptive` (from 1 to 200, by how fast the far end answers).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Concurrency {
    Fixed(u32),
    Adaptive(Adaptive),
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Adaptive {
    Adaptive,
}

#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CircuitSpec {
    /// Calls that are looked back at. Default 20.
    pub window: Option<u32>,
    /// Failures among them that open it, in percent. Default 50.
    pub failures: Option<u8>,
    /// How long it stays open at most before one call tries; it begins with 500ms. Default 30s.
    pub open: Option<Duration>,
}

/// Answers that may be used again, by the rules of RFC 9111 (a private cache).
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CacheSpec {
    /// Where: `redis://host:port/0`, which then holds answers in clear. Where it cannot be asked, the far end is.
    /// Default: in memory.
    pub redis: Option<karez_api::Secret>,
    /// Most bytes in memory. Default 64MiB.
    pub size: Option<karez_api::ByteSize>,
    /// How long an answer counts whatever its headers say. Default: as its headers say.
    pub ttl: Option<Duration>,
}
