//! `karez connect`: a human logs in for a connection of a running daemon.

use anyhow::{Result, bail};
use http::Method;
use karez_api::Json;

use super::Exit;
use crate::admin::{Client, encoded};
use crate::console;
use crate::settings::Settings;

#[derive(Debug, clap::Args)]
pub(crate) struct Connect {
    /// The connection, as `connections:` names it
    connection: String,
    /// Show a code to type elsewhere, for machines without a browser
    #[arg(long)]
    device: bool,
    /// Open the address in this machine's browser, too
    #[arg(long, conflicts_with = "device")]
    open: bool,
    /// Accept another account than the one that was logged in before
    #[arg(long)]
    any_account: bool,
}

pub(super) async fn perform(connect: Connect, settings: Settings) -> Result<Exit> {
    let client = Client::expect(&settings).await?;
    let words = [("device", connect.device), ("any", connect.any_account)];
    let query: Vec<&str> = words.iter().filter(|(_, said)| *said).map(|(word, _)| *word).collect();
    let path = format!("connections/{}/log-in?{}", encoded(&connect.connection), query.join("&"));
    let mut ended = None;
    client
        .stream(Method::POST, &path, |line| {
            let told: Json = serde_json::from_slice(line)?;
            match (told["error"].as_str(), &told["done"]) {
                (Some(why), _) => bail!("{why}"),
                (None, Json::Null) => show(&told, connect.open)?,
                (None, done) => ended = Some(done.clone()),
            }
            Ok(())
        })
        .await?;
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
