//! `karez status`.

use anyhow::Result;

use super::Exit;
use crate::admin::Client;
use crate::console::{self, Format};
use crate::settings::Settings;

#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) async fn perform(status: Status, settings: Settings) -> Result<Exit> {
    let answer = Client::expect(&settings).await?.get("status").await?;
    if status.format == Format::Json {
        console::json(&answer)?;
        return Ok(Exit::Fine);
    }
    let text = |value: &karez_api::Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    console::line(&format!(
        "karez {}: {}",
        text(&answer["version"]),
        answer["not_ready"].as_str().unwrap_or("ready")
    ))?;
    for pipeline in answer["pipelines"].as_array().into_iter().flatten() {
        let counters = &pipeline["counters"];
        let line = format!(
            "  {} [{}] in {} delivered {} dead-lettered {} in flight {}  {}",
            text(&pipeline["name"]),
            text(&pipeline["state"]),
            counters["in"],
            counters["delivered"],
            counters["dead_lettered"],
            counters["in_flight"],
            text(&pipeline["summary"]),
        );
        console::line(&line)?;
        if !pipeline["problem"].is_null() {
            console::line(&format!("    {}", text(&pipeline["problem"])))?;
        }
    }
    for (name, reason) in answer["failures"].as_object().into_iter().flatten() {
        console::line(&format!("  {name}: not changed: {}", text(reason)))?;
    }
    for problem in answer["problems"].as_array().into_iter().flatten() {
        let place = format!("{}:{}:{}", text(&problem["file"]), problem["line"], problem["column"]);
        console::line(&format!(
            "  {place}: {}[{}] {}",
            text(&problem["severity"]),
            text(&problem["code"]),
            text(&problem["message"])
        ))?;
    }
    for stream in answer["orphaned"].as_array().into_iter().flatten() {
        let advice = "no pipeline takes them; use renamed_from, or `karez store drop`";
        console::line(&format!(
            "  {}: {} unsettled records, {advice}",
            text(&stream["stream"]),
            stream["unsettled"]
        ))?;
    }
    let letters = &answer["dead_letters"];
    console::line(&format!("  {} dead letters ({} bytes)", letters["count"], letters["bytes"]))?;
    Ok(Exit::Fine)
}
