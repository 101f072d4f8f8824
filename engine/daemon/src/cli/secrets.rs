//! `karez secrets`: by the daemon that holds the store, else on the store itself.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use http::Method;
use jiff::Timestamp;
use karez_api::{Expect, Json, Secret, Vault, secret_item};
use karez_store::{Keys, LARGEST_SECRET};
use serde_json::json;
use zeroize::Zeroizing;

use super::{Exit, Usage};
use crate::admin::{Client, encoded, is_stored, shown, tell};
use crate::console::{self, Format, say};
use crate::diagnostics::counted;
use crate::memory::Memory;
use crate::secrets::{list, read_all, rotate, unlock, write_new};
use crate::settings::Settings;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Secrets {
    /// Store a secret under a name; `${secret:NAME}` in a pipeline file stands for it
    ///
    /// The value is read from stdin, less one line break at its end, or asked for on a terminal without being shown.
    /// A running daemon reloads the pipelines that use it.
    Set {
        /// Letters, digits, `_`, `-` and `.`, at most 128
        name: String,
    },
    /// List names, when each was stored, and the master key it is encrypted with; never values
    List {
        /// How the result is written
        #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
        format: Format,
    },
    /// Remove a secret for good; pipelines that use it go on with what they have until they are started again
    Remove {
        /// As `list` shows it
        name: String,
    },
    /// Write a new master key to a file that does not exist yet, readable by its owner only
    NewKey {
        /// Where to; keep it apart from the data folder and its backups
        file: PathBuf,
    },
    /// Encrypt everything with another master key, while the daemon runs
    ///
    /// Only the keys of the secrets are encrypted anew. It may break off at any time and be done again. The daemon
    /// finds the new key by itself until the settings name it.
    RotateKey {
        /// File of the new key, as the daemon sees it [default: the master key of the settings]
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
}

pub(super) async fn perform(command: Secrets, settings: Settings) -> Result<Exit> {
    if let Secrets::NewKey { file } = command {
        let key = write_new(&file)?;
        console::line(&format!("wrote master key {} to {}", key.id(), file.display()))?;
        say("name it in karez.yaml: master_key_file; without it, what is encrypted with it is lost");
        return Ok(Exit::Fine);
    }
    check_name(&command)?;
    match Client::find(&settings).await? {
        Some(daemon) => by_daemon(command, &daemon).await,
        None => by_store(command, &settings).await,
    }
}

/// Before anybody is asked for a value.
fn check_name(command: &Secrets) -> Result<()> {
    match command {
        Secrets::Set { name } | Secrets::Remove { name } => {
            secret_item(name).map(drop).map_err(|what| Usage(what).into())
        }
        Secrets::List { .. } | Secrets::NewKey { .. } | Secrets::RotateKey { .. } => Ok(()),
    }
}

async fn by_daemon(command: Secrets, daemon: &Client) -> Result<Exit> {
    match command {
        Secrets::Set { name } => {
            let value = value_of(&name)?;
            let body = json!({"value": value.expose()}).to_string();
            let answer = daemon.send(Method::POST, &format!("secrets/{}", encoded(&name)), body).await?;
            console::line(&format!("stored {name}"))?;
            tell_followed(&answer);
        }
        Secrets::Remove { name } => {
            let answer = daemon.send(Method::DELETE, &format!("secrets/{}", encoded(&name)), "").await?;
            console::line(&format!("removed {name}"))?;
            tell_followed(&answer);
        }
        Secrets::List { format } => {
            let answer = daemon.get("secrets").await?;
            tell_list(answer["secrets"].as_array().map_or(&[][..], Vec::as_slice), format)?;
        }
        Secrets::RotateKey { to } => {
            let file = to.map(std::path::absolute).transpose()?;
            let body = json!({"file": file}).to_string();
            tell_rotated(&daemon.send(Method::POST, "master-key", body).await?, file)?;
        }
        Secrets::NewKey { .. } => {}
    }
    Ok(Exit::Fine)
}

async fn by_store(command: Secrets, settings: &Settings) -> Result<Exit> {
    let needs_key = matches!(command, Secrets::Set { .. } | Secrets::RotateKey { .. });
    let keys = if needs_key { read_all(settings).await? } else { Keys::default() };
    if let Secrets::Set { name } = &command
        && !karez_store::is_store(&settings.data_dir)
    {
        // Before there is a store that holds nothing, and before anybody is asked for a value in vain.
        keys.to_encrypt(name)?;
    }
    let value = match &command {
        Secrets::Set { name } => Some(value_of(name)?),
        _ => None,
    };
    // The first secret may come before the first start of a daemon; looking makes no store.
    let store = match value {
        Some(_) => super::store::open_or_make(settings).await?,
        None => super::store::open(settings).await?,
    };
    let memory = Memory::new(store, keys);
    let done = in_store(command, value, &memory).await;
    memory.close().await?;
    done.map(|()| Exit::Fine)
}

async fn in_store(command: Secrets, value: Option<Secret>, memory: &Memory) -> Result<()> {
    let vault = memory.vault();
    match command {
        Secrets::Set { name } => {
            unlock(vault).await?;
            let value = value.context("there is no value")?;
            vault.put(&secret_item(&name).map_err(Usage)?, value, Expect::Anything).await?;
            console::line(&format!("stored {name}"))?;
        }
        Secrets::Remove { name } => {
            let item = secret_item(&name).map_err(Usage)?;
            if !is_stored(vault, &item).await? {
                bail!("no secret is called {name:?}");
            }
            vault.remove(&item).await?;
            console::line(&format!("removed {name}"))?;
        }
        Secrets::List { format } => {
            let listed: Vec<Json> = list(vault).await?.iter().map(shown).collect();
            tell_list(&listed, format)?;
        }
        Secrets::RotateKey { to } => {
            unlock(vault).await?;
            let file = to.map(std::path::absolute).transpose()?;
            tell_rotated(&tell(rotate(vault, file.as_deref()).await?), file)?;
        }
        Secrets::NewKey { .. } => {}
    }
    Ok(())
}

/// Never from an argument: those stand in the shell's history and in the list of processes.
fn value_of(name: &str) -> Result<Secret> {
    let text = match std::io::stdin().is_terminal() {
        true => console::ask_unseen(&format!("Value of {name} (it is not shown): "))?,
        false => piped()?,
    };
    let text = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    match text.len() {
        0 => Err(Usage(format!("there is no value for {name}; write it to stdin")).into()),
        length if length > LARGEST_SECRET => {
            Err(Usage(format!("the value of {name} is longer than {LARGEST_SECRET} bytes")).into())
        }
        _ => Ok(Secret::new(text)),
    }
}

fn piped() -> Result<Zeroizing<String>> {
    // With a line break, and one byte more that shows that it is too long.
    let most = LARGEST_SECRET + 3;
    let mut bytes = Zeroizing::new(Vec::with_capacity(most));
    std::io::stdin().lock().take(most as u64).read_to_end(&mut bytes).context("cannot read the value")?;
    match str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(error) if error.error_len().is_none() && bytes.len() == most => {
            Err(Usage(format!("the value is longer than {LARGEST_SECRET} bytes")).into())
        }
        Err(_) => Err(Usage("the value is no text (UTF-8); store it in base64".into()).into()),
    }
}

fn tell_followed(answer: &Json) {
    let names = |key: &str| {
        let listed = answer[key].as_array().into_iter().flatten().filter_map(Json::as_str);
        listed.collect::<Vec<_>>().join(", ")
    };
    for (key, text) in [("started", "started"), ("reloaded", "reloaded")] {
        if !names(key).is_empty() {
            say(&format!("{text}: {}", names(key)));
        }
    }
    if let Some(why) = answer["not_reloaded"].as_str() {
        say(&format!("pipelines were not reloaded: {why}"));
    }
    let failed = answer["failed"].as_object().is_some_and(|failed| !failed.is_empty());
    if failed || answer["problems"].as_u64().is_some_and(|problems| problems > 0) {
        say("some pipelines have problems; `karez status` shows them");
    }
}

fn tell_list(listed: &[Json], format: Format) -> Result<()> {
    if format == Format::Json {
        return Ok(console::json(&listed)?);
    }
    for one in listed {
        let text = |key: &str| one[key].as_str().unwrap_or_default();
        let changed = one["changed"].as_i64().and_then(|at| Timestamp::from_millisecond(at).ok());
        console::line(&format!("{}  {}  key {}", text("name"), changed.unwrap_or_default(), text("key")))?;
    }
    say(&counted(listed.len(), "secret"));
    Ok(())
}

fn tell_rotated(rotated: &Json, file: Option<PathBuf>) -> Result<()> {
    let key = rotated["key"].as_str().unwrap_or_default();
    let count = usize::try_from(rotated["rewrapped"].as_u64().unwrap_or_default()).unwrap_or_default();
    console::line(&format!(
        "master key {key} encrypts everything now; {} came under it",
        counted(count, "secret")
    ))?;
    if let Some(file) = file {
        say(&format!(
            "set master_key_file: {} in karez.yaml, and take old_master_key_files out",
            file.display()
        ));
        say("backups of the data folder that were made before need the old key");
    }
    Ok(())
}
