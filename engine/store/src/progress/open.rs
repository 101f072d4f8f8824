//! Opens sled and reads what is in it. Damage in it can panic; that ends here, as a refusal.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use karez_api::{StoreError, Stored};

use super::value;
use crate::folder::{FORMAT, Identity, newer, refused, sync_folder};

/// sled's page cache, in bytes.
const CACHE: u64 = 16 << 20;
/// Keys of callers stand behind this byte, our own before it.
pub(super) const CALLERS: u8 = b'k';
const IDENTITY: &[u8] = b"\0store";
pub(super) const HEAD: &[u8] = b"\0head";

/// Opens sled in `path`; damage in it can panic there, which becomes a refusal here.
///
/// # Errors
/// `Refused`: damaged, of another store, newer, or missing although the store was in use.
pub(crate) fn open(path: &Path, identity: &Identity) -> Result<sled::Db, StoreError> {
    if identity.ready && !path.join("db").exists() {
        return Err(refused(
            path,
            "progress is missing, although the store was in use; restore it from a backup",
        ));
    }
    let config = sled::Config::new().path(path).cache_capacity(CACHE).flush_every_ms(None);
    let opened = open_patiently(&config);
    let tree = match opened {
        Ok(Ok(tree)) => tree,
        Ok(Err(error)) => return Err(damaged(path, &error)),
        Err(_) => return Err(damaged(path, &"sled cannot read it")),
    };
    let said = tree.get(IDENTITY).map_err(|error| damaged(path, &error))?;
    let ours = format!("{FORMAT} {}", identity.id);
    match said {
        Some(said) => check_identity(path, &said, identity)?,
        None if identity.ready => {
            return Err(damaged(path, &"it does not say which store it belongs to"));
        }
        None => drop(tree.insert(IDENTITY, ours.as_bytes()).map_err(|error| damaged(path, &error))?),
    }
    tree.flush().map_err(|error| damaged(path, &error))?;
    sync_all(path).map_err(|error| refused(path, format_args!("cannot be synced: {error}")))?;
    Ok(tree)
}

/// sled's own threads may hold a database for a moment after it was closed; the folder's lock is ours by now.
fn open_patiently(config: &sled::Config) -> std::thread::Result<sled::Result<sled::Db>> {
    let mut patience = 200;
    loop {
        let opened = catch_unwind(AssertUnwindSafe(|| config.open()));
        let held = matches!(&opened, Ok(Err(sled::Error::Io(error))) if error.to_string().contains("lock"));
        if !held || patience == 0 {
            return opened;
        }
        patience -= 1;
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(super) fn damaged(path: &Path, what: &dyn std::fmt::Display) -> StoreError {
    refused(
        path,
        format_args!(
            "progress is damaged: {what}; see `karez store verify`, restore the folder from a backup, or move the store away to begin anew"
        ),
    )
}

fn check_identity(path: &Path, said: &[u8], identity: &Identity) -> Result<(), StoreError> {
    let said = String::from_utf8_lossy(said);
    let (format, id) = said.split_once(' ').unwrap_or_default();
    match format.parse::<u32>() {
        Ok(format) if format > FORMAT => Err(newer(path, format)),
        Ok(_) if id == identity.id => Ok(()),
        _ => Err(refused(
            path,
            format_args!(
                "progress belongs to store {id}, not to {}; restore the folder as a whole",
                identity.id
            ),
        )),
    }
}

fn sync_all(folder: &Path) -> io::Result<()> {
    for item in fs::read_dir(folder)? {
        let item = item?;
        if item.file_type()?.is_dir() {
            sync_all(&item.path())?;
        } else {
            File::open(item.path())?.sync_all()?;
        }
    }
    sync_folder(folder)
}

/// How many writes progress has seen.
pub(crate) fn head(tree: &sled::Db) -> u64 {
    let head = tree.get(HEAD).ok().flatten();
    head.and_then(|head| Some(u64::from_le_bytes(head.as_ref().try_into().ok()?))).unwrap_or_default()
}

/// Every value of callers, or why it cannot be read.
pub(crate) fn each(tree: &sled::Db) -> impl Iterator<Item = Result<(String, Stored), String>> {
    tree.range([CALLERS]..[CALLERS + 1]).map(|item| {
        let (key, bytes) = item.map_err(|error| error.to_string())?;
        let name = String::from_utf8_lossy(&key[1..]).into_owned();
        match value::decode(&key, &bytes) {
            Some(stored) => Ok((name, stored)),
            None => Err(name),
        }
    })
}
