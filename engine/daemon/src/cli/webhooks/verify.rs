//! `karez webhooks verify`.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::{Context, Result};
use jiff::Timestamp;
use karez_api::{Json, Millis, Secret};
use karez_connectors::webhooks::{Call, Delivery, Event, Trial, Verdict};
use serde_json::json;

use super::super::{Exit, Usage};
use super::{Given, capture, contents, standard_input};
use crate::console::{self, Format, say};
use crate::diagnostics::printable;
use crate::settings::Settings;

/// How many events of one delivery are shown.
const MOST_EVENTS: usize = 10;

#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    given: Given,
    /// The captured request [default: standard input]
    file: Option<PathBuf>,
    /// The public key of a provider that signs with one of its own. May be given several times
    #[arg(long, value_name = "TEXT|@FILE")]
    key: Vec<String>,
    /// What the provider asks for once, before it sends anything, as you gave it
    #[arg(long, value_name = "TEXT")]
    verify_token: Option<String>,
    /// The address as the provider has it, for those that sign it [default: https and the request's own host and path]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// How the result is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

impl Verify {
    pub(super) fn perform(&self, settings: &Settings) -> Result<Exit> {
        let mut trial = self.given.trial(settings)?;
        let text = |key: &String| contents(key).map(|key| String::from_utf8_lossy(&key).into_owned());
        trial.keys = self.key.iter().map(text).collect::<Result<_>>()?;
        let known = trial.provider.description();
        trial.verify_token = self.verify_token.as_ref().map(Secret::new);
        let (wanted, given, unfit) = match known.takes {
            Some("secret") => {
                ("secret: give --secret or --secret-env", trial.secrets.len(), trial.keys.len())
            }
            _ => ("key: give --key", trial.keys.len(), trial.secrets.len()),
        };
        // Where the sender publishes its keys, the one that is needed is named once the request is read.
        if unfit > 0 || (given == 0 && known.takes.is_some()) {
            return Err(Usage(format!("{} is verified with a {wanted}", known.name)).into());
        }
        let call = self.call()?;
        if known.signs_address && self.url.is_none() {
            say(&format!(
                "{} signs the address: if it fails, give it as the sender has it with --url",
                known.title
            ));
        }
        let now = self.given.now();
        let verdict = trial.judge(&call, now).map_err(Usage)?;
        match self.format {
            Format::Json => console::json(&shown(&verdict))?,
            Format::Text => {
                told(&verdict, &trial, now).iter().try_for_each(|line| console::line(&printable(line)))?
            }
        }
        Ok(if matches!(verdict, Verdict::Refused { .. }) { Exit::Problems } else { Exit::Fine })
    }

    fn call(&self) -> Result<Call> {
        let mut call = match (&self.file, self.given.body()?) {
            (Some(_), Some(_)) => return Err(Usage("give a file or --body, not both".into()).into()),
            (None, Some(body)) => self.typed(body),
            (None, None) if !self.given.header.is_empty() => self.typed(Vec::new()),
            (None, None) if std::io::stdin().is_terminal() => {
                let help = "name a file with the captured request, pipe it in, or give --header and --body";
                return Err(Usage(help.into()).into());
            }
            (None, None) => captured(&standard_input()?)?,
            (Some(path), None) => {
                let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
                captured(&bytes)?
            }
        };
        if let Some(method) = &self.given.method {
            call.method.clone_from(method);
        }
        if let Some(url) = &self.url {
            // A query is a part of each request.
            let query = call.url.split_once('?').map(|(_, query)| query).filter(|_| !url.contains('?'));
            call.url = query.map_or_else(|| url.clone(), |query| format!("{url}?{query}"));
        }
        Ok(call)
    }

    fn typed(&self, body: Vec<u8>) -> Call {
        let headers = self.given.header.clone();
        Call { method: "POST".into(), url: "/".into(), headers, body: body.into() }
    }
}

fn captured(bytes: &[u8]) -> Result<Call> {
    let capture = capture::read(bytes).map_err(Usage)?;
    capture.remarks.iter().for_each(|remark| say(remark));
    Ok(capture.call)
}

/// As lines; what stands in a request may hold anything.
fn told(verdict: &Verdict, trial: &Trial, now: Millis) -> Vec<String> {
    match verdict {
        Verdict::Accepted(delivery) => accepted(delivery, trial, now),
        Verdict::Handshake { status, body } => {
            vec![format!("a handshake, answered with {status}: {body}")]
        }
        Verdict::Refused { reason, why, hint } => {
            let mut lines = vec![format!("refused: {why}")];
            lines.extend((!hint.is_empty()).then(|| format!("  {hint}")));
            lines.extend((*reason == "timestamp").then(|| "  --at judges it as of another time".to_owned()));
            lines
        }
    }
}

fn accepted(delivery: &Delivery, trial: &Trial, now: Millis) -> Vec<String> {
    let (n, name) = match trial.keys.len() {
        0 => (trial.secrets.len(), "secret"),
        keys => (keys, "key"),
    };
    let fits = match n {
        1 => format!("the {name}"),
        n => format!("{name} {} of {n}", delivery.fits.map_or(1, |index| index + 1)),
    };
    let mut lines = vec![format!("accepted: it fits {fits}")];
    let hash = if trial.provider.hashes() { "none: known by the hash of its body" } else { "none" };
    let id = delivery.id.as_deref();
    match delivery.events.as_slice() {
        [one] => lines.extend(event(one, id.unwrap_or(hash))),
        events => {
            lines.extend(id.map(|id| format!("  id      {id}")));
            lines.push(format!("  events  {}", events.len()));
            for (index, one) in events.iter().take(MOST_EVENTS).enumerate() {
                lines.extend(event(one, hash).map(|line| format!("  {}.{line}", index + 1)));
            }
        }
    }
    if let Some(at) = delivery.signed_at {
        let moment =
            i64::try_from(at.0).ok().and_then(|at| Timestamp::from_millisecond(at).ok()).unwrap_or_default();
        let (away, side) = match now.0.checked_sub(at.0) {
            Some(past) => (past, "ago"),
            None => (at.0 - now.0, "ahead"),
        };
        lines.push(format!("  signed  {moment}, {} s {side}", away / 1_000));
    }
    lines
}

/// `id` where it has none of its own.
fn event(one: &Event, id: &str) -> impl Iterator<Item = String> {
    let id = format!("  id      {}", one.id.as_deref().unwrap_or(id));
    [Some(id), one.event_type.as_ref().map(|text| format!("  type    {text}"))].into_iter().flatten()
}

fn shown(verdict: &Verdict) -> Json {
    match verdict {
        Verdict::Accepted(delivery) => {
            let event = |one: &Event| json!({"id": one.id, "type": one.event_type});
            json!({
                "verdict": "accepted", "fits": delivery.fits, "signed_at": delivery.signed_at.map(|at| at.0),
                "id": delivery.id, "events": delivery.events.iter().map(event).collect::<Vec<_>>(),
            })
        }
        Verdict::Handshake { status, body } => {
            json!({"verdict": "handshake", "status": status, "body": body})
        }
        Verdict::Refused { reason, why, hint } => {
            json!({"verdict": "refused", "reason": reason, "message": why, "hint": hint})
        }
    }
}
