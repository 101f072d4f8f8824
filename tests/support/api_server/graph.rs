//! GraphQL as far as a reader of connections needs it: the collection is the one that the query names first, and is
//! narrowed by the variables `since`, `until`, `from` and `order`.

use std::time::Instant;

use serde_json::json;

use super::data::Data;
use super::pages::{self, Page};
use crate::Json;
use crate::server::Seen;

/// What queries may cost.
pub(super) struct Budget {
    most: f64,
    left: f64,
    per_second: f64,
    at: Instant,
}

impl Budget {
    pub(super) fn new(most: f64, per_second: f64) -> Self {
        Self { most, left: most, per_second, at: Instant::now() }
    }

    /// Whether so much is left; then it is taken.
    fn take(&mut self, cost: f64) -> bool {
        let now = Instant::now();
        let back = (now - self.at).as_secs_f64() * self.per_second;
        (self.left, self.at) = ((self.left + back).min(self.most), now);
        let enough = self.left >= cost;
        self.left -= if enough { cost } else { 0.0 };
        enough
    }

    fn status(&self) -> Json {
        json!({"maximumAvailable": self.most, "currentlyAvailable": self.left, "restoreRate": self.per_second})
    }
}

fn error(message: &str, code: &str) -> Json {
    json!([{"message": message, "extensions": {"code": code}}])
}

pub(super) fn answer(data: &mut Data, seen: &Seen) -> Page {
    let Ok(asked) = serde_json::from_slice::<Json>(&seen.body) else { return Page::status(400) };
    let variables = &asked["variables"];
    let query = asked["query"].as_str().unwrap_or_default();
    // query(…) { COLLECTION(…) { … } }
    let inside = query.split_once('{').map_or("", |(_, inside)| inside);
    let collection = inside.split(['(', '{']).next().unwrap_or_default().trim();
    let size = variables["first"].as_u64().unwrap_or(data.page_size as u64) as usize;
    let mut extensions = json!({});
    if let Some(budget) = &mut data.budget {
        let enough = budget.take(size as f64);
        extensions["cost"] = json!({"requestedQueryCost": size, "throttleStatus": budget.status()});
        if !enough {
            let errors = error("Throttled", "THROTTLED");
            return Page::json(200, &json!({"errors": errors, "extensions": extensions}));
        }
    }
    let text = |name: &str| pages::text(variables, name);
    let items = match pages::narrowed(data, collection, None, text) {
        Ok(items) => items,
        Err(page) => return page,
    };
    let Ok(first) = pages::behind(data, &items, text("after")) else {
        return Page::json(200, &json!({"data": null, "errors": error("no such cursor", "BAD_CURSOR")}));
    };
    let part = &items[first..(first + size).min(items.len())];
    let edges: Vec<Json> =
        part.iter().map(|item| json!({"cursor": pages::token(data, item), "node": item.body})).collect();
    let info = json!({
        "hasNextPage": first + part.len() < items.len(),
        // As many give it, on the last page too.
        "endCursor": part.last().map(|last| pages::token(data, last)),
    });
    let mut connection = json!({"pageInfo": info});
    if query.contains("edges") {
        connection["edges"] = edges.into();
    } else {
        connection["nodes"] = part.iter().map(|item| item.body.clone()).collect();
    }
    let mut body = json!({"data": {collection: connection}});
    if data.budget.is_some() {
        body["extensions"] = extensions;
    }
    Page::json(200, &body)
}
