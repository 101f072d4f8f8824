//! The connections of a running daemon, as it tells them.

use anyhow::Result;
use http::Method;
use karez_api::Json;

use crate::admin::{Client, encoded};
use crate::cli::Exit;
use crate::console::{self, Format};
use crate::settings::Settings;

pub(super) async fn list(format: Format, settings: &Settings) -> Result<Exit> {
    let answer = Client::expect(settings).await?.get("connections").await?;
    match format {
        Format::Json => console::json(&answer)?,
        Format::Text => {
            for connection in answer["connections"].as_array().into_iter().flatten() {
                for line in lines(connection) {
                    console::line(&line)?;
                }
            }
        }
    }
    Ok(Exit::Fine)
}

pub(super) async fn test(name: &str, settings: &Settings) -> Result<Exit> {
    let path = format!("connections/{}/test", encoded(name));
    let told = Client::expect(settings).await?.send(Method::POST, &path, "").await?;
    if told["works"] == true {
        let (request, status) = (told["request"].as_str().unwrap_or_default(), &told["status"]);
        console::line(&format!("{name} works: {request} answered {status} in {} ms", told["took_ms"]))?;
        return Ok(Exit::Fine);
    }
    // It begins with the name of its kind.
    let why = told["message"].as_str().unwrap_or_default();
    console::line(&format!("{name} does not work: {why}"))?;
    Ok(Exit::Problems)
}

pub(super) async fn log_out(name: &str, settings: &Settings) -> Result<Exit> {
    let path = format!("connections/{}/log-in", encoded(name));
    let told = Client::expect(settings).await?.send(Method::DELETE, &path, "").await?;
    console::line(&format!("{name} is logged out"))?;
    if let Some(why) = told["not_revoked"].as_str() {
        console::line(&format!("  the other system did not take the token back: {why}"))?;
    }
    Ok(Exit::Fine)
}

/// One connection for people.
pub(in crate::cli) fn lines(connection: &Json) -> Vec<String> {
    let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let name = text(&connection["name"]);
    let place = connection["url"].as_str().map_or(String::new(), |url| format!(" {url}"));
    if connection["used"] != true {
        return vec![format!("{name}{place}: nobody has used it yet")];
    }
    let (calls, latency) = (&connection["calls"], &connection["calls"]["latency"]);
    let ms = |value: &Json| format!("{:.0}", value.as_f64().unwrap_or_default());
    let mut lines = vec![format!(
        "{name}{place}: {} calls, {} failed; {} ms on average, p95 {}, p99 {}",
        calls["api_calls"],
        calls["failed"],
        ms(&latency["average_ms"]),
        ms(&latency["p95_ms"]),
        ms(&latency["p99_ms"])
    )];
    for (error, count) in
        calls["failed_by"].as_object().into_iter().flatten().filter(|(_, count)| **count != 0)
    {
        lines.push(format!("  {error}: {count}"));
    }
    if connection["circuit"] != "closed" {
        lines.push(format!("  circuit {}", text(&connection["circuit"])));
    }
    for quota in connection["quotas"].as_array().into_iter().flatten() {
        let limit = quota["limit"].as_f64().map_or(String::new(), |limit| format!(" of {limit:.0}"));
        let left = quota["remaining"].as_f64().unwrap_or_default();
        lines.push(format!("  quota {}: {left:.0}{limit} left", text(&quota["name"])));
    }
    let auth = &connection["auth"];
    let unusual = ["failing", "needs_login"];
    if let Some(state) = auth["state"].as_str().filter(|state| unusual.contains(state)) {
        let why = auth["why"].as_str().map_or(String::new(), |why| format!(": {why}"));
        lines.push(format!("  credentials {}{why}", state.replace('_', " ")));
    }
    lines
}
