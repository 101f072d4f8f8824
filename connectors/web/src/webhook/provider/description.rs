//! A provider in words: what its file says, for people.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::verify::Shown;
use super::Provider;

/// All that is known of a provider.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Description {
    pub name: &'static str,
    pub title: String,
    /// Like `HMAC-SHA256`.
    pub scheme: String,
    /// Where the code stands, and how it is written.
    pub proof: String,
    /// What is signed, as a template; absent where nothing is.
    pub signed: Option<String>,
    /// Where the time stands.
    pub timestamp: Option<String>,
    /// How old a request may be, like `5m`; absent where a captured one counts forever.
    pub window: Option<String>,
    /// How far its time may be ahead of our clock.
    pub ahead: Option<String>,
    /// What stands beside the provider's name: `secret` or `key`, or nothing.
    pub takes: Option<&'static str>,
    /// What else stands there under `parameters`, and what each of that is.
    pub parameters: BTreeMap<String, String>,
    /// How the secret or key is written.
    pub key: String,
    /// Whether `public_url` is needed.
    pub signs_address: bool,
    /// Whether `verify_token` is needed.
    pub wants_verify_token: bool,
    /// The list in the body whose items become an event each; `.` if the body is the list. `event_id` and `event_type`
    /// are of an item then.
    pub each: Option<String>,
    /// Where the id stands that an event is known by, in templates.
    pub event_id: Vec<String>,
    /// Whether an event without an id is known by the hash of its body; if not, it is never taken for known.
    pub hashed: bool,
    pub event_type: Vec<String>,
    /// How long a delivery is known, like `3d`.
    pub dedup: String,
    /// Within what time the provider wants an answer.
    pub deadline: Option<String>,
    pub answer: String,
    pub handshakes: Vec<String>,
    pub docs: String,
    pub note: Option<String>,
    /// A pipeline file.
    pub yaml: String,
}

impl Provider {
    /// Everything that its file says, in words.
    #[must_use]
    pub fn description(&self) -> Description {
        let shown = self.verify().shown();
        let answer = self.answer().map(|own| (own.status, own.body.as_str())).unwrap_or((200, ""));
        Description {
            name: self.name,
            title: self.file.title.clone(),
            signed: shown.signed.clone(),
            timestamp: shown.timestamp.clone(),
            window: shown.window.map(|(past, _)| length(past)),
            ahead: shown.window.map(|(_, future)| length(future)),
            takes: shown.takes,
            parameters: self.file.parameters.clone(),
            key: shown.key.clone(),
            signs_address: shown.signs_address,
            wants_verify_token: self.wants_verify_token(),
            each: self.file.each.clone(),
            event_id: self.file.event_id.clone(),
            hashed: self.hashes(),
            event_type: self.file.event_type.clone(),
            dedup: length(self.dedup_window()),
            deadline: self.deadline().map(length),
            answer: match answer {
                (status, "") => status.to_string(),
                (status, body) => format!("{status} {body}"),
            },
            handshakes: self.handshakes().iter().map(super::HandshakeSpec::shown).collect(),
            docs: self.file.docs.clone(),
            note: self.file.note.clone(),
            yaml: self.yaml(&shown),
            scheme: shown.scheme,
            proof: shown.proof,
        }
    }

    fn yaml(&self, shown: &Shown) -> String {
        let variable = |what: &str| format!("\"${{{}_{what}}}\"", self.name.to_uppercase().replace('-', "_"));
        let mut verify = format!("{{provider: {}", self.name);
        if let Some(takes) = shown.takes {
            verify += &format!(", {takes}: {}", variable(&format!("WEBHOOK_{}", takes.to_uppercase())));
        }
        if !self.file.parameters.is_empty() {
            let each =
                self.file.parameters.keys().map(|name| format!("{name}: {}", variable(&name.to_uppercase())));
            verify += &format!(", parameters: {{{}}}", each.collect::<Vec<_>>().join(", "));
        }
        if self.wants_verify_token() {
            verify += &format!(", verify_token: {}", variable("VERIFY_TOKEN"));
        }
        let mut lines = vec![
            format!("# pipelines/{}.yaml", self.name),
            "source:".into(),
            "  webhook:".into(),
            format!("    path: /{}", self.name),
        ];
        lines.push(format!("    verify: {verify}}}"));
        if shown.signs_address {
            lines.push(format!("    public_url: https://hooks.example.com/webhooks/{}", self.name));
        }
        lines.extend(["sink:".into(), format!("  files: {{path: {}.ndjson}}", self.name)]);
        lines.join("\n")
    }
}

/// As a file would have it.
fn length(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    // Only whole units that people say: 100s is not 1m40s.
    let fit = units.into_iter().find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit));
    fit.map_or_else(|| format!("{}ms", time.as_millis()), |(unit, name)| format!("{}{name}", seconds / unit))
}
