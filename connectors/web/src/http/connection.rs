//! A named connection of a shared file, as far as HTTP is concerned.

use std::collections::BTreeMap;

use karez_api::{Checker, Json, Path, Problem, suggest};
use reqwest::Url;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Connection {
    /// What every path is put behind.
    pub(super) url: String,
    /// Sent with every request; a sink's own header of the same name wins.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
}

/// Looks a connection up; reports what is wrong with it at `connection`.
pub(super) fn find(cx: &Checker<'_>, name: &str) -> Option<Connection> {
    let at = Path::root().field("connection");
    let Some(settings) = cx.reuse.connection(name) else {
        let known = cx.reuse.names("connections");
        let help = match known.is_empty() {
            true => "no file has `connections:` yet".to_owned(),
            false => suggest::help(name, known.iter().map(String::as_str), "there are").unwrap_or_default(),
        };
        cx.report(
            Problem::error("unknown-connection", at, format!("no connection is named {name:?}")).help(help),
        );
        return None;
    };
    read(settings)
        .map_err(|message| {
            cx.report(Problem::error("bad-connection", at, format!("connection {name:?} {message}")))
        })
        .ok()
}

fn read(settings: Json) -> Result<Connection, String> {
    // The settings may hold secrets, so serde's own words, which quote them, are not passed on.
    let connection: Connection = serde_json::from_value(settings)
        .map_err(|_| "needs `url` and may have `headers` (a map of strings), nothing else".to_owned())?;
    let url = base(&connection.url).map_err(|message| format!("has a bad url: {message}"))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a bad url: a path goes behind it, so it ends before any ? or #".to_owned());
    }
    Ok(connection)
}

/// Checks a URL's constant beginning: scheme and host.
pub(super) fn base(url: &str) -> Result<Url, &'static str> {
    let parsed = Url::parse(url).map_err(|_| "it cannot be read as a URL")?;
    match parsed.scheme() {
        "http" | "https" if parsed.has_host() => Ok(parsed),
        "http" | "https" => Err("it names no host"),
        _ => Err("it must begin with http:// or https://"),
    }
}
