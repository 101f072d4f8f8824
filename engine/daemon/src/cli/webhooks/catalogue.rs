//! `karez webhooks list` and `show`.

use anyhow::Result;
use karez_connectors::webhooks::{Description, Provider, providers};

use super::super::Exit;
use crate::console::{self, Format, say};
use crate::diagnostics::counted;

pub(super) fn list(format: Format) -> Result<Exit> {
    let all: Vec<Description> = providers().map(Provider::description).collect();
    if format == Format::Json {
        console::json(&all)?;
        return Ok(Exit::Fine);
    }
    let heads = ["NAME", "TITLE", "SCHEME", "WINDOW", "KNOWN FOR", "KNOWN BY"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(heads).chain(all.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..5).map(width).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}  "));
        console::line(&format!("{}{}", cells.collect::<String>(), row[5]))?;
    }
    say(&counted(all.len(), "provider"));
    Ok(Exit::Fine)
}

fn row(one: &Description) -> [String; 6] {
    let window = one.window.clone().unwrap_or_else(|| "none".into());
    let nothing = if one.hashed { "hash of the body" } else { "nothing" };
    let id = one.event_id.first().map_or_else(|| nothing.into(), |template| in_words(template));
    let id = one.each.as_ref().map_or(id.clone(), |_| format!("{id} of each event"));
    [one.name.to_owned(), one.title.clone(), one.scheme.clone(), window, one.dedup.clone(), id]
}

/// `{body:id}` is the field `id`.
fn in_words(template: &str) -> String {
    template.replace("{header:", "header ").replace("{body:", "").replace(['}', '?'], "").replace('|', " or ")
}

pub(super) fn show(provider: &Provider, format: Format) -> Result<Exit> {
    let known = provider.description();
    if format == Format::Json {
        console::json(&known)?;
        return Ok(Exit::Fine);
    }
    console::line(&format!("{} ({})", known.title, known.name))?;
    for (name, text) in lines(&known) {
        console::line(&format!("  {name:<12} {text}"))?;
    }
    console::line("\nA pipeline:\n")?;
    console::line(&known.yaml)?;
    Ok(Exit::Fine)
}

fn lines(known: &Description) -> Vec<(&'static str, String)> {
    let words =
        |templates: &[String]| templates.iter().map(|it| in_words(it)).collect::<Vec<_>>().join(", else ");
    let window = match (&known.window, &known.ahead) {
        (Some(window), Some(ahead)) => {
            format!("a request counts for {window} after its time, and for {ahead} before")
        }
        _ if known.event_id.is_empty() && !known.hashed => {
            "none: a captured request can be sent again".into()
        }
        _ => {
            format!("none: a captured request can be sent again once it is forgotten, after {}", known.dedup)
        }
    };
    let id = match (known.event_id.as_slice(), known.hashed) {
        ([], true) => format!("the hash of the body; known for {}", known.dedup),
        ([], false) => "none: what comes again is taken again".into(),
        (ids, _) => format!("{}; known for {}", words(ids), known.dedup),
    };
    let nothing = "nothing of the request: whoever knows the secret can send anything";
    let mut lines = vec![
        ("scheme", known.scheme.clone()),
        ("stands in", known.proof.clone()),
        ("signed", known.signed.clone().unwrap_or_else(|| nothing.into())),
    ];
    lines.extend(known.timestamp.clone().map(|text| ("time", text)));
    lines.extend([("replay", window), (known.takes.unwrap_or("key"), known.key.clone())]);
    lines.extend(known.parameters.iter().map(|(name, what)| ("parameter", format!("{name}: {what}"))));
    if known.signs_address {
        lines.push(("address", "is signed: `public_url` is needed, as the sender has it".into()));
    }
    if known.wants_verify_token {
        lines.push(("verify_token", "a text of your own that is asked for once".into()));
    }
    lines.extend(known.each.as_deref().map(|list| match list {
        "." => ("events", "the items of the body, one record each".to_owned()),
        list => ("events", format!("the items of {list}, one record each")),
    }));
    lines.push(("event id", id));
    if !known.event_type.is_empty() {
        lines.push(("event type", words(&known.event_type)));
    }
    lines.extend(known.deadline.clone().map(|time| ("deadline", time)));
    lines.push(("answer", known.answer.clone()));
    lines.extend(known.handshakes.iter().map(|text| ("handshake", text.clone())));
    lines.extend(known.note.clone().map(|text| ("note", text)));
    lines.push(("docs", known.docs.clone()));
    lines
}
