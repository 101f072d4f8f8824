//! `karez connect`: a human logs in for a connection of a running daemon.

mod loopback;

use std::sync::Arc;

use anyhow::{Result, bail};
use http::Method;
use karez_api::Json;

use super::Exit;
use crate::admin::{Client, encoded};
use crate::console;
use crate::settings::Settings;
use loopback::Loopback;

#[derive(Debug, clap::Args)]
pub(crate) struct Connect {
    /// The connection, as `connections:` names it
    connection: String,
    /// Show a code to type elsewhere, for machines without a browser
    #[arg(long)]
    device: bool,
    /// Let the browser come back to a port of this machine, where it cannot reach the daemon's listener; the daemon
    /// does the rest. Any free port, unless the other system must know it
    #[arg(long, value_name = "PORT", num_args = 0..=1, require_equals = true, default_missing_value = "0", conflicts_with = "device")]
    loopback: Option<u16>,
    /// Open the address in this machine's browser, too
    #[arg(long, conflicts_with = "device")]
    open: bool,
    /// Accept another account than the one that was logged in before
    #[arg(long)]
    any_account: bool,
}

pub(super) async fn perform(connect: Connect, settings: Settings) -> Result<Exit> {
    let client = Arc::new(Client::expect(&settings).await?);
    let words = [("device", connect.device), ("any", connect.any_account)];
    let words = words.into_iter().filter(|(_, said)| *said).map(|(word, _)| word.to_owned());
    let mut query: Vec<String> = words.collect();
    let loopback = match connect.loopback {
        Some(port) => Some(Loopback::open(port, Arc::clone(&client)).await?),
        None => None,
    };
    query.extend(loopback.as_ref().map(|loopback| format!("loopback={}", loopback.port)));
    let path = format!("connections/{}/log-in?{}", encoded(&connect.connection), query.join("&"));
    let mut ended = None;
    let told = client
        .stream(Method::POST, &path, |line| {
            let told: Json = serde_json::from_slice(line)?;
            match (told["error"].as_str(), &told["done"]) {
                (Some(why), _) => bail!("{why}"),
                (None, Json::Null) => show(&told, connect.open)?,
                (None, done) => ended = Some(done.clone()),
            }
            Ok(())
        })
        .await;
    if let Some(loopback) = loopback {
        loopback.close().await;
    }
    told?;
    let Some(done) = ended else { bail!("the daemon ended before the log-in did") };
    let who = done["subject"].as_str().map_or(String::new(), |subject| format!(" as {subject}"));
    console::line(&format!("{} is logged in{who}", connect.connection))?;
    Ok(Exit::Fine)
}

/// What somebody has to do now.
fn show(told: &Json, open: bool) -> Result<()> {
    let url = told["url"].as_str().unwrap_or_default();
    let minutes = told["expires_in"].as_u64().unwrap_or_default() / 60;
    match told["code"].as_str() {
        Some(code) => {
            console::line(&format!("open {url} and type {code} within {minutes} minutes"))?;
            if let Some(complete) = told["complete_url"].as_str() {
                console::line(&format!("or open {complete}"))?;
            }
        }
        None => {
            console::line(&format!("open within {minutes} minutes: {url}"))?;
            if open {
                browse(url);
            }
        }
    }
    Ok(())
}

/// Whoever has no browser has the address.
fn browse(url: &str) {
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    std::process::Command::new(opener).arg(url).spawn().map(drop).unwrap_or_default();
}
