//! The source records of dead letters, each kept once and counted: the last letter takes it along.

use std::collections::BTreeMap;
use std::hash::Hasher as _;

use karez_api::{Progress, Record, StoreError, Write};
use siphasher::sip128::{Hasher128, SipHasher13};

use super::KeptRecord;
use super::kept::meta_json;

pub(super) const PREFIX: &str = "dead-letter-origins/";

/// What an origin is kept under. The same record seen again after a crash has the same name.
pub(super) fn name(pipeline: &str, origin: &Record) -> String {
    let mut hasher = SipHasher13::new_with_keys(0x6b61_7265_7a00, 3);
    for part in [pipeline.as_bytes(), origin.id().to_string().as_bytes()] {
        hasher.write(part);
        hasher.write_u8(0);
    }
    hasher.write_u64(origin.meta().received_at.0);
    hasher.write(origin.body().bytes());
    format!("{:032x}", hasher.finish128().as_u128())
}

/// Whether a record failed just as it came.
pub(super) fn same(record: &Record, origin: &Record) -> bool {
    record.body().form() == origin.body().form()
        && record.body().bytes() == origin.body().bytes()
        && meta_json(record.meta()) == meta_json(origin.meta())
}

fn record_key(name: &str) -> String {
    format!("{PREFIX}{name}/record")
}

fn letters_key(name: &str) -> String {
    format!("{PREFIX}{name}/letters")
}

/// How many new letters refer to which origin.
#[derive(Default)]
pub(super) struct Taken<'a>(BTreeMap<String, (u64, &'a Record)>);

impl<'a> Taken<'a> {
    pub(super) fn take(&mut self, name: &str, origin: &'a Record) {
        self.0.entry(name.to_owned()).or_insert((0, origin)).0 += 1;
    }
}

pub(super) struct Origins<'a>(pub(super) &'a dyn Progress);

impl Origins<'_> {
    pub(super) async fn get(&self, name: &str) -> Result<Option<KeptRecord>, StoreError> {
        let key = record_key(name);
        let stored = self.0.get(&key).await?;
        let read = |value: &[u8]| {
            serde_json::from_slice(value)
                .map_err(|error| StoreError::Refused(format!("{key} cannot be read: {error}")))
        };
        stored.map(|stored| read(&stored.value)).transpose()
    }

    /// What to write so that these letters are counted.
    pub(super) async fn taken(&self, taken: Taken<'_>) -> Result<Vec<Write>, StoreError> {
        let mut writes = Vec::new();
        for (name, (letters, record)) in taken.0 {
            let before = self.letters(&name).await?;
            if before == 0 {
                writes.push(Write::put(record_key(&name), super::json(&KeptRecord::keep(record))));
            }
            writes.push(Write::put(letters_key(&name), (before + letters).to_string()));
        }
        Ok(writes)
    }

    /// What to write when a letter goes.
    pub(super) async fn released(&self, name: &str) -> Result<Vec<Write>, StoreError> {
        Ok(match self.letters(name).await? {
            0 | 1 => vec![Write::remove(record_key(name)), Write::remove(letters_key(name))],
            more => vec![Write::put(letters_key(name), (more - 1).to_string())],
        })
    }

    async fn letters(&self, name: &str) -> Result<u64, StoreError> {
        let stored = self.0.get(&letters_key(name)).await?;
        let count = stored.and_then(|stored| std::str::from_utf8(&stored.value).ok()?.parse().ok());
        Ok(count.unwrap_or(0))
    }
}
