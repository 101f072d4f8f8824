//! `karez connections providers` and `show`.

use anyhow::Result;
use karez_api::Json;
use karez_connectors::providers::{self, Paging, Param, Provider, Way};

use super::super::Exit;
use crate::console::{self, Format, say};
use crate::diagnostics::counted;

/// A provider for programs.
#[derive(serde::Serialize)]
struct Known {
    #[serde(flatten)]
    provider: &'static Provider,
    /// A connection for each of `ways`.
    yaml: Vec<String>,
}

impl From<&'static Provider> for Known {
    fn from(provider: &'static Provider) -> Self {
        Self { provider, yaml: provider.ways.iter().map(|way| provider.example(way)).collect() }
    }
}

pub(super) fn list(format: Format) -> Result<Exit> {
    if format == Format::Json {
        console::json(&providers::all().iter().map(Known::from).collect::<Vec<_>>())?;
        return Ok(Exit::Fine);
    }
    let heads = ["NAME", "TITLE", "CATEGORY", "LOG-IN", "PARAMETERS", "DOCS"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(heads).chain(providers::all().iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..5).map(width).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}  "));
        console::line(&format!("{}{}", cells.collect::<String>(), row[5]))?;
    }
    say(&counted(providers::all().len(), "provider"));
    Ok(Exit::Fine)
}

fn row(one: &Provider) -> [String; 6] {
    let mut ways: Vec<&str> = one.ways.iter().map(|way| way.grant().unwrap_or(way.kind())).collect();
    ways.sort_unstable();
    let params: Vec<&str> = one.params.keys().map(String::as_str).collect();
    let params = if params.is_empty() { "none".into() } else { params.join(", ") };
    let texts = [one.name, &one.title, &one.category];
    let [name, title, category] = texts.map(str::to_owned);
    [name, title, category, ways.join(", "), params, one.docs.clone()]
}

pub(super) fn show(provider: &'static Provider, format: Format) -> Result<Exit> {
    if format == Format::Json {
        console::json(&Known::from(provider))?;
        return Ok(Exit::Fine);
    }
    console::line(&format!("{} ({})", provider.title, provider.name))?;
    for (name, text) in once(lines(provider)) {
        console::line(&format!("  {name:<12} {text}"))?;
    }
    for way in &provider.ways {
        console::line(&format!("\n{}\n", heading(way)))?;
        console::line(provider.example(way).trim_end())?;
    }
    Ok(Exit::Fine)
}

fn heading(way: &Way) -> String {
    let kind = way.grant().map_or_else(|| way.kind().to_owned(), |grant| format!("{} {grant}", way.kind()));
    format!("A connection by {kind}, for {}:", way.about)
}

fn lines(provider: &Provider) -> Vec<(&'static str, String)> {
    let mut lines = vec![("category", provider.category.clone())];
    for way in &provider.ways {
        lines.extend(addresses(&Json::Object(provider.settings(way))));
    }
    lines.extend(provider.params.iter().map(|(name, param)| ("parameter", parameter(name, param))));
    for way in &provider.ways {
        let fields = way.needs.iter().map(|(field, about)| format!("auth.{}.{field}: {about}", way.kind()));
        let headers = way.headers.iter().map(|(name, about)| format!("headers.{name}: {about}"));
        lines.extend(fields.chain(headers).map(|text| ("needs", text)));
    }
    lines.extend(provider.paging.iter().map(|known| ("paging", paging(known))));
    if let Some(limit) = &provider.rate_limit {
        lines.push(("rate limit", limit.text.clone()));
        if !limit.headers.is_empty() {
            lines.push(("told by", limit.headers.join(", ")));
        }
    }
    lines.extend(provider.note.clone().map(|text| ("note", text)));
    lines.push(("docs", provider.docs.clone()));
    lines
}

/// Where requests go, and where one logs in.
fn addresses(settings: &Json) -> Vec<(&'static str, String)> {
    const PLACES: &[(&str, &str)] = &[
        ("address", "/url"),
        ("authorizes", "/auth/oauth2/authorization_url"),
        ("tokens from", "/auth/oauth2/token_url"),
        ("tokens from", "/auth/oauth2/assertion/installation_url"),
        ("revokes", "/auth/oauth2/revocation_url"),
        ("logs in at", "/auth/session/url"),
    ];
    let text = |place: &str| settings.pointer(place).and_then(Json::as_str);
    let mut lines: Vec<_> =
        PLACES.iter().filter_map(|(name, place)| Some((*name, text(place)?.to_owned()))).collect();
    let scopes = settings.pointer("/auth/oauth2/scopes").and_then(Json::as_array);
    let scopes = scopes.map(|scopes| scopes.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(", "));
    lines.extend(scopes.map(|scopes| ("scopes", scopes)));
    let method = text("/probe/method").unwrap_or("GET");
    lines.extend(text("/probe/path").map(|path| ("probe", format!("{method} {path}"))));
    lines
}

/// Without those that were said already, in the order of their names' first lines.
fn once(lines: Vec<(&'static str, String)>) -> Vec<(&'static str, String)> {
    let mut grouped: Vec<(&'static str, String)> = Vec::with_capacity(lines.len());
    for line in lines {
        if grouped.contains(&line) {
            continue;
        }
        let behind = grouped.iter().rposition(|(name, _)| *name == line.0).map_or(grouped.len(), |at| at + 1);
        grouped.insert(behind, line);
    }
    grouped
}

fn parameter(name: &str, param: &Param) -> String {
    let default = param.default.as_ref().map_or("no default".into(), |value| format!("default {value}"));
    format!("{name}: {}, like {} ({default})", param.about, param.example)
}

/// Like `cursor: after, from $.paging.next.after; limit up to 100`.
fn paging(known: &Paging) -> String {
    let mut text = known.kind.name().to_owned();
    if !known.request.is_empty() {
        text += &format!(": {}", known.request.join(" or "));
    }
    text += &known.response.as_ref().map(|place| format!(", from {place}")).unwrap_or_default();
    text += &match (&known.size, known.max_size) {
        (Some(size), Some(most)) => format!("; {size} up to {most}"),
        (Some(size), None) => format!("; {size}"),
        (None, Some(most)) => format!("; up to {most} at once"),
        (None, None) => String::new(),
    };
    text + &known.note.as_ref().map(|note| format!("; {note}")).unwrap_or_default()
}
