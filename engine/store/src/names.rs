//! Names and the numbers that stand for them in the log, so that adopting a pipeline moves names, not data.

use std::collections::HashMap;
use std::sync::Arc;

use karez_api::{SinkName, StreamName};

use crate::codec::{Reader, put_text};

const STREAM: u8 = 0;
const SINK: u8 = 1;
const SCOPE: u8 = 2;

/// All names of a store. A dedup scope may have several numbers, the first of which new keys are written under.
#[derive(Debug, Default)]
pub(crate) struct Names {
    streams: HashMap<StreamName, u64>,
    sinks: HashMap<SinkName, u64>,
    scopes: HashMap<Arc<str>, Vec<u64>>,
    /// Given out, but not in the log yet: they go ahead of whatever uses them.
    unwritten: Vec<Vec<u8>>,
}

impl Names {
    pub(crate) fn stream(&self, name: &StreamName) -> Option<u64> {
        self.streams.get(name).copied()
    }
    pub(crate) fn sink(&self, name: &SinkName) -> Option<u64> {
        self.sinks.get(name).copied()
    }
    pub(crate) fn scope(&self, scope: &str) -> Option<&[u64]> {
        self.scopes.get(scope).map(Vec::as_slice)
    }
    pub(crate) fn streams(&self) -> impl Iterator<Item = (&StreamName, u64)> {
        self.streams.iter().map(|(name, id)| (name, *id))
    }

    pub(crate) fn add_stream(&mut self, name: &StreamName) -> u64 {
        if let Some(id) = self.stream(name) {
            return id;
        }
        let id = rand::random();
        self.streams.insert(name.clone(), id);
        self.unwritten.push(payload(STREAM, id, &name.pipeline, &name.source));
        id
    }

    pub(crate) fn add_sink(&mut self, name: &SinkName) -> u64 {
        if let Some(id) = self.sink(name) {
            return id;
        }
        let id = rand::random();
        self.sinks.insert(name.clone(), id);
        self.unwritten.push(payload(SINK, id, &name.pipeline, &name.sink));
        id
    }

    pub(crate) fn add_scope(&mut self, scope: &Arc<str>) {
        if !self.scopes.contains_key(scope) {
            let id = rand::random();
            self.scopes.insert(Arc::clone(scope), vec![id]);
            self.unwritten.push(payload(SCOPE, id, scope, ""));
        }
    }

    /// Payloads that must precede the next use, oldest first.
    pub(crate) fn unwritten(&self) -> &[Vec<u8>] {
        &self.unwritten
    }

    pub(crate) fn written(&mut self, count: usize) {
        self.unwritten.drain(..count);
    }

    /// Payloads that say all of it, for the head of a segment.
    pub(crate) fn snapshot(&self) -> Vec<Vec<u8>> {
        let streams = self.streams.iter().map(|(n, id)| payload(STREAM, *id, &n.pipeline, &n.source));
        let sinks = self.sinks.iter().map(|(n, id)| payload(SINK, *id, &n.pipeline, &n.sink));
        let scopes =
            self.scopes.iter().flat_map(|(scope, ids)| ids.iter().map(|id| payload(SCOPE, *id, scope, "")));
        streams.chain(sinks).chain(scopes).collect()
    }

    /// Takes in a payload of the log; `None` where it is malformed.
    pub(crate) fn recover(&mut self, payload: &[u8]) -> Option<()> {
        let mut reader = Reader::new(payload);
        let (kind, id) = (reader.u8()?, reader.u64()?);
        let (pipeline, local) = (Arc::from(reader.text()?), Arc::from(reader.text()?));
        match kind {
            STREAM => {
                self.streams.insert(StreamName { pipeline, source: local }, id);
            }
            SINK => {
                self.sinks.insert(SinkName { pipeline, sink: local }, id);
            }
            SCOPE => {
                let ids = self.scopes.entry(pipeline).or_default();
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// Names a stream whose name was lost to damage, so that its entries can be found and adopted.
    pub(crate) fn name_if_lost(&mut self, id: u64) {
        if !self.streams.values().any(|known| *known == id) {
            let name = StreamName { pipeline: "damaged".into(), source: format!("{id:016x}").into() };
            self.streams.insert(name, id);
        }
    }

    /// Forgets all names of a pipeline. Returns the numbers of its streams and of its sinks.
    pub(crate) fn remove(&mut self, pipeline: &str) -> (Vec<u64>, Vec<u64>) {
        self.scopes.retain(|scope, _| tail(scope, pipeline).is_none());
        let streams =
            self.streams.extract_if(|name, _| &*name.pipeline == pipeline).map(|(_, id)| id).collect();
        let sinks = self.sinks.extract_if(|name, _| &*name.pipeline == pipeline).map(|(_, id)| id).collect();
        (streams, sinks)
    }

    /// Whether anything hangs on a pipeline.
    pub(crate) fn knows_pipeline(&self, pipeline: &str) -> bool {
        self.streams.keys().any(|name| &*name.pipeline == pipeline)
            || self.sinks.keys().any(|name| &*name.pipeline == pipeline)
            || self.scopes.keys().any(|scope| tail(scope, pipeline).is_some())
    }

    /// Moves the names of pipeline `from` to pipeline `to`. Where `to` has one already, the two change places,
    /// so that nothing becomes unreachable; dedup scopes are joined.
    pub(crate) fn adopt(&mut self, from: &str, to: &Arc<str>) {
        let old: Vec<StreamName> =
            self.streams.keys().filter(|name| &*name.pipeline == from).cloned().collect();
        for name in old {
            let new = StreamName { pipeline: Arc::clone(to), source: Arc::clone(&name.source) };
            swap(&mut self.streams, name, new);
        }
        let old: Vec<SinkName> = self.sinks.keys().filter(|name| &*name.pipeline == from).cloned().collect();
        for name in old {
            let new = SinkName { pipeline: Arc::clone(to), sink: Arc::clone(&name.sink) };
            swap(&mut self.sinks, name, new);
        }
        let old: Vec<Arc<str>> =
            self.scopes.keys().filter(|scope| tail(scope, from).is_some()).cloned().collect();
        for scope in old {
            let Some(tail) = tail(&scope, from) else {
                continue;
            };
            let new: Arc<str> = format!("{to}{tail}").into();
            let mut ids = self.scopes.remove(&scope).unwrap_or_default();
            ids.extend(self.scopes.remove(&new).unwrap_or_default());
            self.scopes.insert(new, ids);
        }
    }
}

/// What follows the pipeline's name in a scope: nothing, or `/source`.
fn tail<'a>(scope: &'a str, pipeline: &str) -> Option<&'a str> {
    scope.strip_prefix(pipeline).filter(|tail| tail.is_empty() || tail.starts_with('/'))
}

fn swap<K: Eq + std::hash::Hash>(map: &mut HashMap<K, u64>, a: K, b: K) {
    let (of_a, of_b) = (map.remove(&a), map.remove(&b));
    if let Some(id) = of_b {
        map.insert(a, id);
    }
    if let Some(id) = of_a {
        map.insert(b, id);
    }
}

fn payload(kind: u8, id: u64, pipeline: &str, local: &str) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend_from_slice(&id.to_le_bytes());
    put_text(&mut out, pipeline);
    put_text(&mut out, local);
    out
}
