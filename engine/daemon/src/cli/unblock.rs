//! `karez unblock`.

use anyhow::Result;
use http::Method;

use super::{Exit, console};
use crate::admin::{Client, encoded};
use crate::settings::Settings;

#[derive(Debug, clap::Args)]
pub(crate) struct Unblock {
    /// The pipelines whose records are to be tried again now
    #[arg(required = true, value_name = "PIPELINE")]
    pipelines: Vec<String>,
}

pub(super) async fn perform(unblock: Unblock, settings: Settings) -> Result<Exit> {
    let client = Client::expect(&settings).await?;
    for name in unblock.pipelines {
        client.send(Method::POST, &format!("pipelines/{}/unblock", encoded(&name)), "").await?;
        console::line(&format!("unblocked {name}"))?;
    }
    Ok(Exit::Fine)
}
