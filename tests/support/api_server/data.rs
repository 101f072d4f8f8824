//! The records. Knows nothing of requests.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::graph::Budget;
use super::reports::Reports;
use crate::Json;

/// A record and what it is found by.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) id: u64,
    pub(super) at: Timestamp,
    pub(super) parent: u64,
    pub(super) body: Json,
    /// How often it was changed.
    version: u64,
}

pub(super) struct Data {
    pub(super) began: Timestamp,
    pub(super) page_size: usize,
    /// Tokens of earlier ones count no more.
    pub(super) generation: u64,
    pub(super) tags: bool,
    pub(super) pause: Duration,
    pub(super) reports: Reports,
    pub(super) budget: Option<Budget>,
    collections: HashMap<String, BTreeMap<u64, Item>>,
}

/// How much older the records of the beginning are.
const OLDER: SignedDuration = SignedDuration::from_hours(24);

impl Data {
    pub(super) fn new() -> Self {
        let began = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
        Self {
            began,
            page_size: 10,
            generation: 0,
            tags: false,
            pause: Duration::ZERO,
            reports: Reports::default(),
            budget: None,
            collections: HashMap::new(),
        }
    }

    fn collection(&mut self, name: &str) -> &mut BTreeMap<u64, Item> {
        self.collections.entry(name.to_owned()).or_default()
    }

    /// Numbers begin with 1 in each collection.
    fn next(&mut self, collection: &str) -> u64 {
        self.collection(collection).last_key_value().map_or(1, |(last, _)| last + 1)
    }

    pub(super) fn add(&mut self, collection: &str, parent: u64) {
        let id = self.next(collection);
        let at = self.began - OLDER + SignedDuration::from_secs(id.cast_signed());
        self.touch(collection, id, parent, at);
    }

    pub(super) fn touch(&mut self, collection: &str, id: u64, parent: u64, at: Timestamp) {
        let version = self.collection(collection).get(&id).map_or(1, |item| item.version + 1);
        let body = json!({
            "id": id,
            "updated_at": at.to_string(),
            "parent": parent,
            // Every form has to escape something of it.
            "payload": format!("{collection} \"{id}\", v{version} <&>"),
        });
        self.collection(collection).insert(id, Item { id, at, parent, body, version });
    }

    pub(super) fn show(&mut self, collection: &str, mut body: Json) {
        let id = self.next(collection);
        body["number"] = id.into();
        let item = Item { id, at: Timestamp::now(), parent: 0, body, version: 1 };
        self.collection(collection).insert(id, item);
    }

    pub(super) fn all(&self, collection: &str) -> Vec<Json> {
        self.items(collection).map(|item| item.body.clone()).collect()
    }

    /// By number.
    pub(super) fn items(&self, collection: &str) -> impl Iterator<Item = &Item> {
        self.collections.get(collection).into_iter().flat_map(BTreeMap::values)
    }

    pub(super) fn has(&self, collection: &str, id: u64) -> bool {
        self.collections.get(collection).is_some_and(|items| items.contains_key(&id))
    }
}
