//! The `webhook` source: what its settings say, and the plan made of them. How a request is
//! judged is in `verify`, how it is answered in `endpoint`.

mod answer;
mod endpoint;
mod fetch;
mod hand_over;
mod handshake;
mod headers;
mod identity;
mod keys;
mod limits;
mod packed;
pub(crate) mod provider;
mod respond;
pub(crate) mod trial;
mod verify;
mod watch;

use std::sync::Arc;

use ::http::{HeaderName, Method};
use async_trait::async_trait;
use karez_api::{
    ByteSize, Checker, Claim, Decode, Dedup, DedupScope, Evaluate, Fault, Json, LARGEST_RECORD, Opened, Path,
    Problem, Record, Replay, SourceContext, SourcePlan, SourceSpec, Unpack, Value,
};
use schemars::JsonSchema;
use serde::Deserialize;

use endpoint::Webhooks;
use handshake::{HandshakeSpec, Handshakes, Secrets};
use identity::Taken;
use limits::{LimitSpec, Limits};
use packed::Packed;
use provider::{Naming, Provider};
use respond::{Respond, RespondSpec};
use verify::{Case, PublicUrl, Verifier, Verify, Wanted};

/// Where the ingress listener serves webhooks.
const PREFIX: &str = "/webhooks";

/// Receives what another system posts. A request is answered with 200 once its records are on disk.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Webhook {
    /// Where it is served, below `/webhooks`: `/stripe` is `POST /webhooks/stripe`.
    path: String,
    /// Methods that are accepted; others are answered with 405. Default: `[POST]`.
    #[serde(default = "post")]
    methods: Vec<String>,
    /// How a request proves that it comes from the right sender. Required; `none` needs a reason.
    verify: Option<Verify>,
    /// The address that the sender knows this webhook by, like `https://hooks.example.com/webhooks/orders`. Only
    /// schemes that sign the address need it.
    public_url: Option<String>,
    /// Event types that are wanted; others are answered with 200 and counted as filtered. Default: all.
    events: Option<Vec<String>>,
    /// Where the event type stands: `{header: X-GitHub-Event}`, or a value like `$.type`.
    #[serde(default)]
    #[schemars(extend("x-karez-kind" = "value"))]
    event_type: Option<Json>,
    /// Where the sender's id of a delivery stands: `{header: X-GitHub-Delivery}`, or a value like `$.id`.
    /// It becomes the record's id, the same each time the sender tries again. A delivery without it
    /// is known by a hash of its body.
    #[serde(default)]
    #[schemars(extend("x-karez-kind" = "value"))]
    delivery_id: Option<Json>,
    /// Requests that are answered here and become no record, like a challenge when a webhook is registered. The
    /// provider's own come by themselves.
    #[serde(default)]
    handshakes: Vec<HandshakeSpec>,
    /// When a delivery is answered and with what: `after_delivery`, or a map. Default: once it is on disk, with 200 and
    /// its id.
    respond: Option<RespondSpec>,
    /// Networks that requests are accepted from, like `192.0.2.0/24`. Default: all.
    networks: Option<Vec<String>>,
    /// How many requests are taken. Default: no limit.
    request_limit: Option<LimitSpec>,
    /// Largest body; a larger one is answered with 413. Default 1MiB, at most 60MiB: what the journal takes.
    #[serde(default = "one_mebibyte")]
    max_body: ByteSize,
}

fn post() -> Vec<String> {
    vec!["POST".into()]
}
fn one_mebibyte() -> ByteSize {
    ByteSize(1 << 20)
}

impl SourceSpec for Webhook {
    const NAME: &'static str = "webhook";
    const SUMMARY: &'static str = "Receives HTTP requests, verifies them and answers once they are on disk.";

    fn check(self, cx: &Checker<'_>) -> Option<Box<dyn SourcePlan>> {
        let path = checked_path(cx, &self.path);
        let methods = checked_methods(cx, &self.methods);
        let max_body = checked_size(cx, self.max_body);
        let respond = match self.respond {
            None => Some(Respond::default()),
            Some(respond) => respond.check(cx),
        };
        let limits = Limits::check(cx, self.networks, self.request_limit);
        let proof = self.verify.map(|verify| Proof::check(cx, verify, self.public_url, self.handshakes));
        if proof.is_none() {
            cx.report(
                Problem::error(
                    "missing-verify",
                    Path::root(),
                    "a webhook needs `verify`: without it anybody can post",
                )
                .help(
                    "add verify: {hmac: {algorithm: sha256, header: X-Signature, secret: \"${SECRET}\"}}, \
                     token, basic, or none: {reason: \"…\"} if it is meant",
                ),
            );
        }
        let proof = proof.flatten();
        // What the file says counts more than what is known of the provider.
        let provider = proof.as_ref().and_then(|proof| proof.provider);
        let known = |naming: fn(&'static Provider) -> &'static Naming| {
            provider.map(naming).filter(|naming| !naming.is_empty()).map(Taken::Provider)
        };
        // Of several events in one delivery each has an id and a type of its own.
        let each = provider.and_then(Provider::each);
        let types_are_known = self.event_type.is_some() || known(Provider::event_type).is_some();
        if self.events.is_some() && !types_are_known && (proof.is_some() || self.event_type.is_none()) {
            cx.report(
                Problem::error(
                    "missing-event-type",
                    Path::root().field("events"),
                    "`events` needs to know where the event type stands",
                )
                .help("add event_type: {header: X-Event-Type}, or a value like event_type: $.type"),
            );
            return None;
        }
        let event_type = optional(self.event_type, |setting| taken(cx, "event_type", setting))?;
        let delivery_id = optional(self.delivery_id, |setting| taken(cx, "delivery_id", setting))?;
        let proof = proof?;
        let of_provider = |naming| known(naming).filter(|_| each.is_none());
        let hashes = delivery_id.is_some() || provider.is_some_and(Provider::hashes);
        let packed = provider.zip(each).map(|(provider, each)| {
            Arc::new(Packed { provider, each, typed: event_type.is_none() }) as Arc<dyn Unpack>
        });
        let respond = respond?;
        Some(Box::new(Plan {
            path: path?,
            parts: Arc::new(Parts {
                methods: methods?,
                verifier: proof.verifier,
                case: proof.case,
                handshakes: proof.handshakes,
                provider,
                pending: proof.pending,
                events: self.events,
                event_type: event_type.or_else(|| of_provider(Provider::event_type)),
                delivery_id: delivery_id.or_else(|| known(Provider::delivery_id)),
                hashes,
                respond: respond.or(provider.and_then(Provider::answer)),
                limits: Arc::new(limits?),
                max_body: max_body?,
            }),
            packed,
        }))
    }
}

/// What is checked together: how a request is verified, and what is answered without becoming a record.
struct Proof {
    verifier: Verifier,
    case: Case,
    handshakes: Handshakes,
    provider: Option<&'static Provider>,
    pending: Option<String>,
}

impl Proof {
    fn check(
        cx: &Checker<'_>,
        verify: Verify,
        public_url: Option<String>,
        handshakes: Vec<HandshakeSpec>,
    ) -> Option<Self> {
        let provider = verify.provider();
        let case = Case::new(verify.clone(), public_url.clone());
        let public_url = match public_url {
            None => None,
            Some(url) => Some(checked_url(cx, &url)?),
        };
        let wanted =
            Wanted { public_url, verify_token: handshakes.iter().any(HandshakeSpec::wants_verify_token) };
        let (verify_token, secrets) = (verify.verify_token().cloned(), verify.secret_texts());
        let pending = verify.pending();
        let verifier = verify.check(cx, wanted)?;
        let with =
            Secrets { verify_token: verify_token.as_ref(), secrets: &secrets, pending: pending.is_some() };
        let of_provider = provider.map(Provider::handshakes).unwrap_or_default();
        let handshakes = Handshakes::check(cx, handshakes, of_provider, &with)?;
        Some(Self { verifier, case, handshakes, provider, pending })
    }
}

fn checked_url(cx: &Checker<'_>, url: &str) -> Option<PublicUrl> {
    let report = |what| {
        cx.report(
            Problem::error("bad-url", Path::root().field("public_url"), what)
                .help("write it as the sender has it, like https://hooks.example.com/webhooks/orders"),
        );
    };
    PublicUrl::parse(url).map_err(report).ok()
}

/// Nothing where nothing was set; `None` outside where it is wrong.
fn optional<T>(setting: Option<Json>, compile: impl FnOnce(&Json) -> Option<T>) -> Option<Option<T>> {
    match setting {
        None => Some(None),
        Some(setting) => compile(&setting).map(Some),
    }
}

fn taken(cx: &Checker<'_>, field: &str, setting: &Json) -> Option<Taken> {
    let at = Path::root().field(field);
    let header = setting
        .as_object()
        .filter(|fields| fields.len() == 1)
        .and_then(|fields| fields.get("header"))
        .and_then(Json::as_str);
    match header {
        Some(name) => header_name(cx, &at.field("header"), name).map(Taken::Header),
        None => varying(cx, &at, setting).map(Taken::Value),
    }
}

/// `delivery_id: id` would give every event one id; `$.id` is what was meant.
fn varying(cx: &Checker<'_>, at: &Path, setting: &Json) -> Option<Value> {
    let value = cx.value(at, setting)?;
    if setting.is_object() || value.constant().is_none() {
        return Some(value);
    }
    cx.report(
        Problem::error("constant-value", at.clone(), format!("{setting} is the same for every event"))
            .help("a field of the body is written $.name, a header {header: Name}"),
    );
    None
}

fn header_name(cx: &Checker<'_>, at: &Path, name: &str) -> Option<HeaderName> {
    let parsed = HeaderName::from_bytes(name.as_bytes());
    if parsed.is_err() {
        cx.report(
            Problem::error("bad-header-name", at.clone(), format!("{name:?} is not a header name"))
                .help("letters, digits and `-`, like X-Signature"),
        );
    }
    parsed.ok()
}

fn checked_path(cx: &Checker<'_>, path: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let fine = path.strip_prefix('/').is_some_and(|rest| {
        rest.split('/').all(|segment| {
            !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(plain)
        })
    });
    if !fine {
        cx.report(
            Problem::error(
                "bad-path",
                Path::root().field("path"),
                format!("{path:?} is not a path to serve"),
            )
            .help("begin with `/`, use letters, digits, `-`, `.`, `_` and `~` between slashes, like /stripe"),
        );
    }
    if let Some(behind) = path.strip_prefix(PREFIX).filter(|behind| fine && behind.starts_with('/')) {
        let at = cx.at.field("path");
        let message = format!("this is served at {PREFIX}{path}");
        cx.scope.warn(Problem::warning("doubled-path", at, message).help(format_args!("write {behind}")));
    }
    fine.then(|| format!("{PREFIX}{path}"))
}

fn checked_methods(cx: &Checker<'_>, methods: &[String]) -> Option<Vec<Method>> {
    let at = Path::root().field("methods");
    if methods.is_empty() {
        cx.report(
            Problem::error("no-methods", at, "no method would be accepted").help("leave it out for [POST]"),
        );
        return None;
    }
    let numbered = methods.iter().enumerate();
    let found: Vec<Method> =
        numbered.filter_map(|(index, name)| checked_method(cx, &at.index(index), name)).collect();
    (found.len() == methods.len()).then_some(found)
}

fn checked_method(cx: &Checker<'_>, at: &Path, name: &str) -> Option<Method> {
    let known = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::GET];
    let found = known.into_iter().find(|method| method.as_str() == name);
    if found.is_none() {
        cx.report(
            Problem::error("bad-method", at.clone(), format!("{name:?} is not a method to accept"))
                .help("one of POST, PUT, PATCH, DELETE, GET"),
        );
    }
    found
}

fn checked_size(cx: &Checker<'_>, size: ByteSize) -> Option<usize> {
    let fine = usize::try_from(size.0).ok().filter(|size| (1..=LARGEST_RECORD).contains(size));
    if fine.is_none() {
        let most = LARGEST_RECORD >> 20;
        cx.report(
            Problem::error("bad-size", Path::root().field("max_body"), "max_body is out of bounds")
                .help(format_args!("from 1 byte to {most}MiB: a larger body could never be journaled")),
        );
    }
    fine
}

/// All that an endpoint needs of its file.
struct Parts {
    methods: Vec<Method>,
    verifier: Verifier,
    /// For looking into what it refuses.
    case: Case,
    handshakes: Handshakes,
    provider: Option<&'static Provider>,
    /// The name that the secret gets which the provider has not sent yet.
    pending: Option<String>,
    events: Option<Vec<String>>,
    event_type: Option<Taken>,
    delivery_id: Option<Taken>,
    /// Whether a delivery without an id is known by the hash of its body.
    hashes: bool,
    respond: Respond,
    limits: Arc<Limits>,
    max_body: usize,
}

/// What a provider's deliveries are deduplicated by: the sender's id, or the hash in its place.
struct Id;

impl Evaluate<Option<Json>> for Id {
    fn eval(&self, record: &Record) -> Result<Option<Json>, Fault> {
        Ok(Some(record.id().to_string().into()))
    }
}

struct Plan {
    /// With the prefix.
    path: String,
    parts: Arc<Parts>,
    packed: Option<Arc<dyn Unpack>>,
}

#[async_trait]
impl SourcePlan for Plan {
    fn replay(&self) -> Replay {
        Replay::No
    }
    fn ordered(&self) -> bool {
        false
    }
    fn has_identity(&self) -> bool {
        self.parts.hashes || self.parts.delivery_id.is_some() || self.packed.is_some()
    }
    fn default_decode(&self) -> Decode {
        self.parts.provider.and_then(Provider::decode).unwrap_or(Decode::Json)
    }
    fn default_dedup(&self) -> Option<Dedup> {
        let ttl = self.parts.provider?.dedup_window();
        Some(Dedup { key: Arc::new(Id), ttl, scope: DedupScope::Source })
    }
    fn unpack(&self) -> Option<Arc<dyn Unpack>> {
        self.packed.clone()
    }
    fn ends(&self) -> bool {
        false
    }
    fn claims(&self) -> Vec<Claim> {
        vec![Claim::IngressPath(self.path.clone())]
    }
    async fn open(&self, cx: SourceContext) -> Result<Opened, Fault> {
        let owner = format!("{}/{}", cx.pipeline, cx.source);
        let endpoint = Arc::new(Webhooks::new(Arc::clone(&self.parts), &cx)?);
        cx.ingress.mount(&owner, &self.path, endpoint).map(Opened::Push)
    }
}
