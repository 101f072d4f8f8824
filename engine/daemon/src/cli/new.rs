//! `karez new`.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};

use anyhow::{Context, Result, bail};

use super::Exit;
use crate::console;
use crate::settings::Settings;

#[derive(Debug, clap::Args)]
pub(crate) struct New {
    /// Name of the pipeline: letters, digits, `-` and `_`; the file is pipelines/NAME.yaml
    name: String,
}

pub(super) fn perform(new: &New, settings: &Settings) -> Result<Exit> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if new.name.is_empty() || !new.name.chars().all(plain) {
        bail!("{:?} is not a name: letters, digits, - and _", new.name);
    }
    let folder = settings.pipelines.first().context("no pipelines folder is set")?;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join(format!("{}.yaml", new.name));
    let made = OpenOptions::new().write(true).create_new(true).open(&path);
    if made.as_ref().is_err_and(|error| error.kind() == ErrorKind::AlreadyExists) {
        bail!("{} exists already; choose another name", path.display());
    }
    let mut file = made.with_context(|| format!("cannot make {}", path.display()))?;
    file.write_all(STARTER.replace("NAME", &new.name).as_bytes())?;
    let shown = path.display();
    console::line(&format!("wrote {shown}; try `karez test {shown}`, then `karez run {shown}`"))?;
    Ok(Exit::Fine)
}

const STARTER: &str = r#"# A webhook becomes lines of a file. Try it, with the daemon running:
#   curl -H 'Content-Type: application/json' -d '{"id": 1, "total": 12.5, "customer": {"name": "Ada"}}' \
#     http://127.0.0.1:7070/webhooks/NAME
name: NAME

source:
  webhook:
    path: /NAME                      # POST /webhooks/NAME
    verify: {none: {reason: "a first try on this machine"}}   # real senders: hmac, token or basic

# One event counts once, however often its sender repeats it.
dedup: {key: $.id, ttl: 72h}

steps:
  - filter: "@.total > 0"            # keeps what matches
  - map:                             # builds a new record; $ picks, {{ }} writes
      order: $.id
      total: $.total
      label: "order {{id}} of {{customer.name}}"

sink:
  files: {path: NAME.ndjson, format: ndjson}

# `karez test` runs these without network or disk.
tests:
  - name: an order becomes one line
    input: {source: [{id: 1, total: 12.5, customer: {name: Ada}}]}
    expect: {sink: [{order: 1, total: 12.5, label: "order 1 of Ada"}]}
  - name: an empty order is left out
    input: {source: [{id: 2, total: 0, customer: {name: Ada}}]}
    expect: {sink: []}
"#;
