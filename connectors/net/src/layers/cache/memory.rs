//! Answers in memory, of a bounded size together. What was not used for longest goes first.

use std::sync::{Arc, Mutex};

use lru::LruCache;

use super::entry::Entry;
use crate::layers::lock;

pub(super) struct Memory {
    most: usize,
    kept: Mutex<Kept>,
}

struct Kept {
    entries: LruCache<String, Arc<Entry>>,
    bytes: usize,
}

impl Memory {
    pub(super) fn new(most: usize) -> Self {
        Self { most, kept: Mutex::new(Kept { entries: LruCache::unbounded(), bytes: 0 }) }
    }

    pub(super) fn get(&self, key: &str) -> Option<Arc<Entry>> {
        lock(&self.kept).entries.get(key).cloned()
    }

    pub(super) fn put(&self, key: String, entry: Entry) {
        let size = size(&key, &entry);
        let mut kept = lock(&self.kept);
        kept.remove(&key);
        if size > self.most {
            return;
        }
        kept.bytes += size;
        kept.entries.put(key, Arc::new(entry));
        while kept.bytes > self.most
            && let Some((key, entry)) = kept.entries.pop_lru()
        {
            kept.bytes -= self::size(&key, &entry);
        }
    }

    pub(super) fn remove(&self, key: &str) {
        lock(&self.kept).remove(key);
    }

    pub(super) fn clear(&self) {
        let mut kept = lock(&self.kept);
        kept.entries.clear();
        kept.bytes = 0;
    }
}

impl Kept {
    fn remove(&mut self, key: &str) {
        if let Some(entry) = self.entries.pop(key) {
            self.bytes -= size(key, &entry);
        }
    }
}

fn size(key: &str, entry: &Entry) -> usize {
    key.len() + entry.size()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use super::*;
    use crate::Response;
    use crate::testing::NOW;

    fn entry(length: usize) -> Entry {
        let body = Bytes::from(vec![b'x'; length]);
        let answer = Response { status: StatusCode::OK, headers: HeaderMap::new(), body, cached: false };
        Entry::timed(&answer, Duration::from_secs(60), NOW)
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room() {
        let memory = Memory::new(4000);
        memory.put("a".into(), entry(1000));
        memory.put("b".into(), entry(1000));
        assert!(memory.get("a").is_some());
        memory.put("c".into(), entry(1000));
        assert!(memory.get("b").is_none());
        assert!(memory.get("a").is_some() && memory.get("c").is_some());
        memory.put("huge".into(), entry(5000));
        assert!(memory.get("huge").is_none() && memory.get("a").is_some());
        memory.put("a".into(), entry(2500));
        assert!(memory.get("c").is_none(), "the new one counts in place of the old one");
        memory.clear();
        assert!(memory.get("a").is_none());
    }
}
