//! `karez tap`.

use std::io::Write;

use anyhow::Result;

use super::Exit;
use crate::admin::{Client, encoded};
use crate::settings::Settings;

#[derive(Debug, clap::Args)]
pub(crate) struct Tap {
    /// A pipeline, or one node of it
    #[arg(value_name = "PIPELINE[.NODE]")]
    target: String,
}

pub(super) async fn perform(tap: Tap, settings: Settings) -> Result<Exit> {
    let client = Client::expect(&settings).await?;
    let show = |lines: &[u8]| {
        let mut out = std::io::stdout().lock();
        out.write_all(lines)?;
        Ok(out.flush()?)
    };
    client.stream(http::Method::GET, &format!("tap/{}", encoded(&tap.target)), show).await?;
    Ok(Exit::Fine)
}
