//! A log whose files were changed in any way: opening it never panics, and invents neither events, keys nor confirmations.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use karez_api::{
    Body, DedupKey, Events, Form, Mark, Meta, Millis, NewEntry, Record, RecordId, SinkName, StreamName,
};
use karez_store::{LogAlone, Options};
use serde_json::json;
use tempfile::TempDir;

/// Files do not grow beyond this, in bytes: copies of copies would.
const LARGEST: usize = 64 << 10;
const STREAMS: [&str; 2] = ["orders", "refunds"];

/// The files of a genuine log, by their path in its folder, and what it was given.
struct Genuine {
    files: Vec<(PathBuf, Vec<u8>)>,
    events: BTreeSet<(&'static str, u64, String)>,
    confirmed: HashSet<u128>,
}

static GENUINE: LazyLock<Genuine> = LazyLock::new(|| run(genuine()));

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Changes, one after another.
pub fn store_recovery(data: &[u8]) {
    let mut files = GENUINE.files.clone();
    let mut script = Script(data);
    for _ in 0..16 {
        if script.0.is_empty() {
            break;
        }
        change(&mut files, &mut script);
    }
    let folder = quick_folder();
    write(folder.path(), &files);
    run(judge(folder.path()));
}

/// Opened twice: what was found is found again.
async fn judge(folder: &Path) {
    let mut before = None;
    for _ in 0..2 {
        // On a disk that counts as full no space is set aside, which would take longer than all the rest.
        let options = Options { disk_floor: u64::MAX, ..options() };
        let log = match LogAlone::open(folder, options) {
            Ok(log) => log,
            Err(refused) => {
                assert!(before.is_none(), "taken once, then refused: {refused}");
                return;
            }
        };
        let found = found(&*log.events()).await;
        if let Some(before) = before.replace(found.clone()) {
            assert_eq!(found, before, "the second opening found something else");
        }
        log.close().await.unwrap();
    }
}

async fn found(events: &dyn Events) -> BTreeMap<(&'static str, u64), String> {
    let genuine = &*GENUINE;
    let mut all = BTreeMap::new();
    for source in STREAMS {
        let next = events.stats(&stream(source)).next;
        for entry in events.fetch(&stream(source), &(1..60).collect::<Vec<_>>()).await.unwrap() {
            let text = String::from_utf8_lossy(entry.record.body().bytes()).into_owned();
            assert!(entry.sequence < next, "{} would be given twice", entry.sequence);
            assert!(genuine.events.contains(&(source, entry.sequence, text.clone())), "invented {text}");
            all.insert((source, entry.sequence), text);
        }
        let known = (0..99).any(|n| events.knows(&key(source, &format!("never given {n}"))));
        assert!(!known, "knows a key that nobody gave");
    }
    let (confirmed, mark) = events.ledger(&sink());
    assert!(confirmed.is_subset(&genuine.confirmed), "invented a confirmation");
    assert!(mark.is_none_or(|mark| mark.0.starts_with(b"mark ")), "invented a mark");
    all
}

/// A log of several segments with everything in it, by a fixed identity.
async fn genuine() -> Genuine {
    let folder = quick_folder();
    let (id, secret) = ("00112233445566778899aabbccddeeff", "ffeeddccbbaa99887766554433221100");
    let check = crc32c::crc32c(format!("{id} 1 {secret} false").as_bytes());
    let identity = json!({"id": id, "format": 1, "secret": secret, "ready": false, "check": check});
    fs::write(folder.path().join("STORE"), identity.to_string()).unwrap();
    let log = LogAlone::open(folder.path(), options()).unwrap();
    let events = log.events();
    let mut given = BTreeSet::new();
    for n in 0..24_u64 {
        let source = STREAMS[usize::from(n % 3 == 0)];
        let text = format!("event {n} {}", "x".repeat(40));
        let dedup = Some(key(source, &text));
        let stored =
            events.append(&stream(source), vec![NewEntry { record: record(&text), dedup }]).await.unwrap();
        if let [karez_api::Appended::Stored(sequence)] = stored[..] {
            given.insert((source, sequence, text));
        }
        if n % 4 == 0 {
            events.settle(&stream(source), vec![n / 3]);
            events.remember(vec![key(source, &format!("remembered {n}"))]).await.unwrap();
        }
        if n % 6 == 0 {
            let mark = Mark(Bytes::from(format!("mark {n}")));
            events.delivered(&sink(), vec![n.into(), 1000], Some(mark)).await.unwrap();
        }
    }
    events.forget(&sink(), vec![0]);
    events.flush().await.unwrap();
    drop(events);
    log.close().await.unwrap();
    let mut files = Vec::new();
    read(folder.path(), folder.path(), &mut files);
    files.sort();
    let confirmed = (0..24).step_by(6).chain([1000]).collect();
    Genuine { files, events: given, confirmed }
}

/// What is read of an input as it is used up.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> usize {
        self.0.split_off_first().map_or(0, |byte| usize::from(*byte))
    }
    /// A place in something of that length.
    fn place(&mut self, length: usize) -> usize {
        (self.byte() << 8 | self.byte()) % length.max(1)
    }
    fn bytes(&mut self) -> &'a [u8] {
        let length = self.byte().min(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }
}

fn change(files: &mut Vec<(PathBuf, Vec<u8>)>, script: &mut Script<'_>) {
    let kind = script.byte();
    let several = files.len() > 1;
    let (of, other) = (script.byte() % files.len(), script.byte() % files.len());
    let copied = files[other].1.clone();
    let content = &mut files[of].1;
    let at = script.place(content.len());
    let end = (at + script.place(256)).min(content.len());
    match kind % 12 {
        0 => content.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (end % 8)),
        1 => content.truncate(at),
        2 => content.drain(at..end).for_each(drop),
        3 => content[at..end].fill(0),
        4 => drop(content.splice(at..at, script.bytes().to_vec())),
        5 => drop(content.splice(at..end, script.bytes().to_vec())),
        6 => content.extend_from_within(at..end),
        7 => *content = script.bytes().to_vec(),
        8 => *content = copied,
        9 => drop(content.splice(at..end, copied)),
        10 if several => drop(files.remove(of)),
        _ => content.extend_from_slice(script.bytes()),
    }
    if let Some((_, content)) = files.get_mut(of) {
        content.truncate(LARGEST);
    }
}

fn write(folder: &Path, files: &[(PathBuf, Vec<u8>)]) {
    for inside in ["log", "dedup"] {
        fs::create_dir_all(folder.join(inside)).unwrap();
    }
    for (path, content) in files {
        fs::write(folder.join(path), content).unwrap();
    }
}

fn read(root: &Path, folder: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for item in fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        match path.is_dir() {
            true => read(root, &path, files),
            // What holds no data is made anew.
            false if path.ends_with("LOCK") || path.ends_with("reserve") => {}
            false => files.push((path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap())),
        }
    }
}

/// In memory where there is such a folder.
fn quick_folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn options() -> Options {
    Options { disk_floor: 0, segment_bytes: 1024, cache_bytes: 1024, ..Options::default() }
}

fn stream(source: &str) -> StreamName {
    StreamName { pipeline: "p".into(), source: source.into() }
}

fn sink() -> SinkName {
    SinkName { pipeline: "p".into(), sink: "k".into() }
}

fn key(source: &str, text: &str) -> DedupKey {
    let ttl = Duration::from_secs(3600);
    DedupKey { scope: format!("p/{source}").into(), key: text.into(), ttl, at: Millis(1000) }
}

fn record(text: &str) -> Record {
    let meta = Meta::new(RecordId::text(text), Arc::from("s"), Millis(1000));
    Record::new(Body::from_bytes(Form::Text, Bytes::copy_from_slice(text.as_bytes())), meta)
}
