//! Whether the parts of a signature fit each other: what is looked at is signed, and what is signed is known.

use karez_api::{Checker, Path, Problem};

use super::super::message::Message;
use super::super::place::Place;
use super::super::signed::{BodyHash, Proof};
use super::super::spec::{BodyHashSpec, TimestampSpec};
use super::super::time::{At, Timestamp, Window};
use super::place::{ambiguous_place, place};

/// A scheme whose parts are read, to see whether they fit each other.
pub(super) struct Signature<'a> {
    pub(super) cx: &'a Checker<'a>,
    pub(super) at: &'a Path,
    pub(super) place: &'a Place,
    pub(super) separator: Option<char>,
    pub(super) message: &'a Message,
}

impl Signature<'_> {
    fn report(&self, code: &'static str, field: &str, message: &str, help: &str) {
        self.cx.report(Problem::error(code, self.at.field(field), message).help(help));
    }

    pub(super) fn timestamp(&self, spec: TimestampSpec) -> Option<Timestamp> {
        let at = self.at.field("timestamp");
        let whole = TimestampSpec { label: None, ..spec };
        let at = match spec.label {
            Some(label) if whole.header.is_none() && whole.query.is_none() && whole.body.is_none() => {
                let Some(separator) = self.separator else {
                    let message = "a label needs a list, and so a `separator`";
                    self.cx.report(Problem::error("missing-separator", at.field("label"), message));
                    return None;
                };
                At::Label(self.place.clone(), separator, label)
            }
            Some(_) => {
                self.cx.report(ambiguous_place(&at));
                return None;
            }
            None => At::Place(place(
                self.cx,
                &at,
                whole.header.as_ref(),
                whole.query.clone(),
                whole.body.as_deref(),
            )?),
        };
        if !self.is_signed(&at) {
            self.report(
                "unsigned-timestamp",
                "timestamp",
                "the timestamp is no part of what is signed: anybody could write a newer one",
                "put {timestamp} into `message`, or leave the timestamp out",
            );
            return None;
        }
        let past = whole.tolerance.0;
        let future = whole.future.map_or(past, |future| future.0);
        Some(Timestamp { at, unit: whole.unit, window: Window { past, future } })
    }

    fn is_signed(&self, at: &At) -> bool {
        self.message.names_timestamp() || matches!(at, At::Place(place) if self.covers(place))
    }

    /// Whether what stands there is a part of what is signed.
    fn covers(&self, place: &Place) -> bool {
        match place {
            Place::Headers(names) => names.iter().all(|name| self.message.names_header(name)),
            Place::Query(name) => self.message.names_url() || self.message.names_query(name),
            Place::Body(path) => self.message.names_path(path),
        }
    }

    pub(super) fn body_hash(&self, spec: BodyHashSpec) -> Option<BodyHash> {
        let hash = spec.check(self.cx, &self.at.field("body_hash"))?;
        if !self.covers(&hash.place) {
            self.report(
                "unsigned-body-hash",
                "body_hash",
                "the hash is no part of what is signed: anybody could write another one",
                "put it into `message`, like {header:Digest}",
            );
            return None;
        }
        Some(hash)
    }

    pub(super) fn holds_together(&self, proof: &Proof, has_url: bool, has_no_timestamp: bool) -> Option<()> {
        let names_secret = self.message.names_secret();
        if matches!(proof, Proof::Hash(..)) != names_secret {
            let (message, help) = match names_secret {
                true => ("the secret is the key here, no part of the message", "leave {secret} out"),
                false => ("without the secret in it anybody can make this hash", "put {secret} into it"),
            };
            self.report("bad-message", "message", message, help);
            return None;
        }
        if self.message.names_url() && !has_url {
            let message = "this scheme signs the address that the sender knows, so `public_url` is needed";
            self.cx.report(
                Problem::error("missing-public-url", self.at.clone(), message)
                    .help("add public_url: https://hooks.example.com/webhooks/NAME beside `verify`, as the sender has it"),
            );
            return None;
        }
        if self.message.names_timestamp() && has_no_timestamp {
            self.report(
                "missing-timestamp",
                "message",
                "it names a timestamp, but nothing says where that stands",
                "add timestamp: {header: X-Timestamp}",
            );
            return None;
        }
        Some(())
    }
}

impl BodyHashSpec {
    fn check(self, cx: &Checker<'_>, at: &Path) -> Option<BodyHash> {
        let place = place(cx, at, self.header.as_ref(), self.query, None)?;
        Some(BodyHash { place, algorithm: self.algorithm, encoding: self.encoding })
    }
}
