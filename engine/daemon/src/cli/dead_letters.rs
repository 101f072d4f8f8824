//! `karez dead-letters`: by the daemon that holds the store; listing, showing and dropping also
//! work on the store itself while no daemon runs.

use anyhow::{Context, Result, anyhow, bail};
use http::Method;
use jiff::Timestamp;
use karez_api::Json;
use karez_runtime::DeadLetters as Letters;
use serde_json::json;

use super::Exit;
use crate::admin::{Client, encoded};
use crate::console::{self, Format, say};
use crate::diagnostics::counted;
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
        /// How many at most
        #[arg(long, default_value_t = 100, value_name = "N")]
        limit: usize,
        /// How the result is written
        #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
        format: Format,
    },
    /// Print one dead letter with its record and its original bytes
    Show {
        /// As `list` shows it
        id: String,
    },
    /// Send dead letters through their pipeline again; a running daemon is needed
    Replay {
        /// As `list` shows them; one that fails does not keep the others
        #[arg(required = true, value_name = "ID")]
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
        /// As `list` shows them
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

pub(super) async fn perform(command: DeadLetters, settings: Settings) -> Result<Exit> {
    if let Some(client) = Client::find(&settings).await? {
        return by_daemon(command, &client).await;
    }
    let store = super::store::open(&settings).await?;
    say("no daemon runs: looking into the store itself");
    let letters = Letters::open(store.progress()).await?;
    let exit = by_store(command, &letters).await;
    store.close().await?;
    exit
}

async fn by_daemon(command: DeadLetters, client: &Client) -> Result<Exit> {
    match command {
        DeadLetters::List { pipeline, after, limit, format } => {
            list(&pages(client, pipeline, after, limit).await?, format)
        }
        DeadLetters::Show { id } => {
            console::json(&client.get(&format!("dead-letters/{}", encoded(&id))).await?)?;
            Ok(Exit::Fine)
        }
        DeadLetters::Replay { ids, to, from_source, edit } => {
            let to = if from_source { "source" } else { &to };
            let body = json!({"to": to, "body": edit}).to_string();
            let mut tally = Tally::default();
            for id in ids {
                let path = format!("dead-letters/{}/replay", encoded(&id));
                tally.note(
                    &id,
                    client.send(Method::POST, &path, body.clone()).await.map(|answer| {
                        if answer["on_its_way"].is_null() { "replayed" } else { "still on its way:" }
                    }),
                )?;
            }
            tally.exit()
        }
        DeadLetters::Drop { ids } => {
            let mut tally = Tally::default();
            for id in ids {
                let path = format!("dead-letters/{}", encoded(&id));
                tally.note(&id, client.send(Method::DELETE, &path, "").await.map(|_| "dropped"))?;
            }
            tally.exit()
        }
    }
}

/// Dead letters page by page, until there are `limit` or no more.
async fn pages(
    client: &Client,
    pipeline: Option<String>,
    mut after: Option<String>,
    limit: usize,
) -> Result<Vec<Json>> {
    let mut all = Vec::new();
    while all.len() < limit {
        let mut path = format!("dead-letters?limit={}", limit - all.len());
        for (name, value) in [("pipeline", &pipeline), ("after", &after)] {
            path.extend(value.as_ref().map(|value| format!("&{name}={}", encoded(value))));
        }
        let answer = client.get(&path).await?;
        let page = answer["dead_letters"].as_array().map_or(&[][..], Vec::as_slice);
        let Some(last) = page.last() else { break };
        after = last["id"].as_str().map(str::to_owned);
        all.extend_from_slice(page);
    }
    Ok(all)
}

async fn by_store(command: DeadLetters, letters: &Letters) -> Result<Exit> {
    match command {
        DeadLetters::List { pipeline, after, limit, format } => {
            let page = letters.list(pipeline.as_deref(), after.as_deref(), limit).await?;
            let page: Vec<Json> = page.iter().map(|letter| json!(letter)).collect();
            list(&page, format)
        }
        DeadLetters::Show { id } => {
            console::json(&letters.get(&id).await?.with_context(|| missing(&id))?.json())?;
            Ok(Exit::Fine)
        }
        DeadLetters::Replay { .. } => {
            bail!("a replay needs a running daemon; start one with `karez run`")
        }
        DeadLetters::Drop { ids } => {
            let mut tally = Tally::default();
            for id in ids {
                let dropped = match letters.remove(&id).await? {
                    true => Ok("dropped"),
                    false => Err(anyhow!(missing(&id))),
                };
                tally.note(&id, dropped)?;
            }
            tally.exit()
        }
    }
}

fn missing(id: &str) -> String {
    format!("there is no dead letter {id:?}")
}

/// What became of the letters that were named. One that cannot be replayed or dropped does not keep the others.
#[derive(Default)]
struct Tally {
    failed: usize,
}

impl Tally {
    fn note(&mut self, id: &str, became: Result<&str>) -> Result<()> {
        match became {
            Ok(became) => console::line(&format!("{became} {id}"))?,
            Err(error) => {
                self.failed += 1;
                say(&format!("error: {id}: {error:#}"));
            }
        }
        Ok(())
    }

    fn exit(&self) -> Result<Exit> {
        Ok(if self.failed == 0 { Exit::Fine } else { Exit::Failed })
    }
}

fn list(letters: &[Json], format: Format) -> Result<Exit> {
    if format == Format::Json {
        console::json(&letters)?;
        return Ok(Exit::Fine);
    }
    let text = |letter: &Json, key: &str| letter[key].as_str().unwrap_or_default().to_owned();
    for letter in letters {
        let (id, node) = (text(letter, "id"), text(letter, "node"));
        let why = format!("{}[{}]: {}", text(letter, "class"), text(letter, "code"), text(letter, "message"));
        let at =
            letter["at"].as_i64().and_then(|at| Timestamp::from_millisecond(at).ok()).unwrap_or_default();
        let attempts = counted(letter["attempts"].as_u64().unwrap_or_default(), "attempt");
        console::line(&format!("{id}  {at}  {node}  {attempts}  {why}"))?;
    }
    say(&counted(letters.len(), "dead letter"));
    Ok(Exit::Fine)
}
