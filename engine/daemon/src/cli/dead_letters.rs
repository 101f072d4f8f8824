//! `karez dead-letters`: by the daemon that holds the store; listing, showing and dropping also
//! work on the store itself while no daemon runs.

use anyhow::{Context, Result, bail};
use http::Method;
use karez_api::Json;
use karez_runtime::DeadLetters as Letters;
use karez_store::{Options, Store};
use serde_json::json;

use super::Exit;
use crate::admin::Client;
use crate::console::{self, Format, say};
use crate::settings::Settings;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum DeadLetters {
    /// List dead letters, oldest first
    List {
        /// Only those of this pipeline
        #[arg(long)]
        pipeline: Option<String>,
        /// Continue after the letter of this id
        #[arg(long, value_name = "ID")]
        after: Option<String>,
        #[arg(long, default_value_t = 100)]
        limit: usize,
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Print one dead letter with its record and its original bytes
    Show { id: String },
    /// Send dead letters through their pipeline again; a running daemon is needed
    Replay {
        #[arg(required = true)]
        ids: Vec<String>,
        /// Where it enters: `original` (the node that failed), `source`, or the name of a node
        #[arg(long, default_value = "original", value_name = "NODE", conflicts_with = "from_source")]
        to: String,
        /// The same as `--to source`
        #[arg(long)]
        from_source: bool,
        /// Replace the record's body by this text
        #[arg(long, value_name = "BODY")]
        edit: Option<String>,
    },
    /// Remove dead letters for good
    Drop {
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

pub(super) async fn perform(command: DeadLetters, settings: Settings) -> Result<Exit> {
    if let Some(client) = Client::find(&settings).await? {
        return by_daemon(command, &client).await;
    }
    let folder = settings.data_dir.clone();
    if !folder.exists() {
        // Opening would make a store, which nobody asked for.
        bail!("there is no data folder {}; name one with --data-dir", folder.display());
    }
    say("no daemon runs: looking into the store itself");
    let store = tokio::task::spawn_blocking(move || Store::open(folder, Options::default())).await??;
    let letters = Letters::open(store.progress()).await?;
    let exit = by_store(command, &letters).await;
    store.close().await?;
    exit
}

async fn by_daemon(command: DeadLetters, client: &Client) -> Result<Exit> {
    match command {
        DeadLetters::List { pipeline, after, limit, format } => {
            let mut path = format!("dead-letters?limit={limit}");
            for (name, value) in [("pipeline", pipeline), ("after", after)] {
                path.extend(value.map(|value| format!("&{name}={value}")));
            }
            let answer = client.get(&path).await?;
            list(answer["dead_letters"].as_array().map_or(&[], Vec::as_slice), format)?;
        }
        DeadLetters::Show { id } => console::json(&client.get(&format!("dead-letters/{id}")).await?)?,
        DeadLetters::Replay { ids, to, from_source, edit } => {
            let to = if from_source { "source" } else { &to };
            let body = json!({"to": to, "body": edit}).to_string();
            for id in ids {
                let path = format!("dead-letters/{id}/replay");
                let answer =
                    client.send(Method::POST, &path, body.clone()).await.with_context(|| id.clone())?;
                let became = if answer["on_its_way"].is_null() { "replayed" } else { "still on its way:" };
                console::line(&format!("{became} {id}"))?;
            }
        }
        DeadLetters::Drop { ids } => {
            for id in ids {
                client
                    .send(Method::DELETE, &format!("dead-letters/{id}"), "")
                    .await
                    .with_context(|| id.clone())?;
                console::line(&format!("dropped {id}"))?;
            }
        }
    }
    Ok(Exit::Fine)
}

async fn by_store(command: DeadLetters, letters: &Letters) -> Result<Exit> {
    match command {
        DeadLetters::List { pipeline, after, limit, format } => {
            let page = letters.list(pipeline.as_deref(), after.as_deref(), limit).await?;
            let page: Vec<Json> = page.iter().map(|letter| json!(letter)).collect();
            list(&page, format)?;
        }
        DeadLetters::Show { id } => {
            console::json(&letters.get(&id).await?.with_context(|| format!("no dead letter {id}"))?.json())?
        }
        DeadLetters::Replay { .. } => {
            bail!("a replay needs a running daemon; start one with `karez run`")
        }
        DeadLetters::Drop { ids } => {
            for id in ids {
                if !letters.remove(&id).await? {
                    bail!("no dead letter {id}");
                }
                console::line(&format!("dropped {id}"))?;
            }
        }
    }
    Ok(Exit::Fine)
}

fn list(letters: &[Json], format: Format) -> Result<()> {
    if format == Format::Json {
        return Ok(console::json(&letters)?);
    }
    let text = |letter: &Json, key: &str| letter[key].as_str().unwrap_or_default().to_owned();
    for letter in letters {
        let (id, node) = (text(letter, "id"), text(letter, "node"));
        let why = format!("{}[{}]: {}", text(letter, "class"), text(letter, "code"), text(letter, "message"));
        console::line(&format!("{id}  {node}  {why}"))?;
    }
    say(&crate::diagnostics::counted(letters.len(), "dead letter"));
    Ok(())
}
