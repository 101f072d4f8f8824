//! The vault as its callers see it, and as somebody with write access to the disk would.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

/// Keyed state in memory, which fails or is overtaken at the write that is said.
#[derive(Default)]
struct Kept {
    rows: std::sync::Mutex<BTreeMap<String, Stored>>,
    writes: AtomicUsize,
    /// The number of the write, from 1, before which all fail. 0: none does.
    fails_from: AtomicUsize,
    /// What another writer puts into a row before the next write to it.
    overtaken_by: std::sync::Mutex<Option<Vec<u8>>>,
}

impl Kept {
    fn rows(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Stored>> {
        self.rows.lock().unwrap()
    }

    fn set(&self, key: &str, value: impl Into<Bytes>) {
        self.rows().insert(key.into(), Stored { generation: 1, value: value.into() });
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        self.rows()[&item(name)].value.to_vec()
    }
}

#[async_trait]
impl Progress for Kept {
    async fn get(&self, key: &str) -> Result<Option<Stored>, StoreError> {
        Ok(self.rows().get(key).cloned())
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        let number = self.writes.fetch_add(1, Ordering::Relaxed) + 1;
        let fails_from = self.fails_from.load(Ordering::Relaxed);
        if fails_from != 0 && number >= fails_from {
            return Err(StoreError::Full("no space".into()));
        }
        let mut rows = self.rows();
        for Write { key, expect, value } in writes {
            if let (Some(value), Some(row)) = (self.overtaken_by.lock().unwrap().take(), rows.get_mut(&key)) {
                *row = Stored { generation: row.generation + 1, value: value.into() };
            }
            let generation = rows.get(&key).map(|stored| stored.generation);
            let met = match expect {
                Expect::Anything => true,
                Expect::Absent => generation.is_none(),
                Expect::Generation(wanted) => generation == Some(wanted),
            };
            if !met {
                return Err(StoreError::Conflict { key });
            }
            match value {
                Some(value) => {
                    drop(rows.insert(key, Stored { generation: generation.unwrap_or_default() + 1, value }));
                }
                None => drop(rows.remove(&key)),
            }
        }
        Ok(())
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Stored)>, StoreError> {
        let rows = self.rows();
        let ours = rows.iter().filter(|(key, _)| key.starts_with(prefix));
        let ours = ours.filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
        Ok(ours.take(limit).map(|(key, stored)| (key.clone(), stored.clone())).collect())
    }
}

/// A millisecond later each time it is asked.
#[derive(Default)]
struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn now(&self) -> Millis {
        Millis(self.0.fetch_add(1, Ordering::Relaxed) + 1_000)
    }
    fn instant(&self) -> Instant {
        Instant::now()
    }
    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::pending())
    }
}

fn key(number: u8) -> MasterKey {
    MasterKey::parse(&hex::encode([number; 32])).unwrap()
}

fn vault_of(progress: &Arc<Kept>, store: &str, keys: Keys) -> EncryptedVault {
    EncryptedVault::new(Arc::clone(progress) as _, store, Arc::new(Ticking::default()), keys)
}

fn vault(progress: &Arc<Kept>, current: u8, old: &[u8]) -> EncryptedVault {
    vault_of(progress, "store", Keys::new(Some(key(current)), old.iter().copied().map(key).collect()))
}

async fn value(vault: &EncryptedVault, name: &str) -> Option<String> {
    vault.get(name).await.unwrap().map(|kept| kept.value.expose().to_owned())
}

fn message<T>(result: Result<T, StoreError>) -> String {
    match result {
        Ok(_) => panic!("it should be refused"),
        Err(error) => error.to_string(),
    }
}

fn on_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_put_comes_out_and_stands_nowhere_in_clear(
        name in "[a-z]{1,20}/[A-Za-z0-9_.-]{1,40}",
        text in "\\PC{0,300}",
    ) {
        on_runtime(async {
            let progress = Arc::new(Kept::default());
            let here = vault(&progress, 1, &[]);
            let generation = here.put(&name, Secret::new(text.clone()), Expect::Anything).await.unwrap();
            let kept = here.get(&name).await.unwrap().unwrap();
            prop_assert_eq!(kept.value.expose(), &text);
            prop_assert_eq!(kept.generation, generation);
            let bytes = progress.bytes(&name);
            let shown = text.len() >= 4 && bytes.windows(text.len()).any(|window| window == text.as_bytes());
            prop_assert!(!shown);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn every_changed_bit_is_found_and_no_length_is_trusted() {
    let progress = Arc::new(Kept::default());
    let here = vault(&progress, 1, &[]);
    here.put("secret/a", Secret::new("value"), Expect::Absent).await.unwrap();
    let whole = progress.bytes("secret/a");
    for (byte, bit) in (0..whole.len()).flat_map(|byte| (0..8).map(move |bit| (byte, bit))) {
        let mut changed = whole.clone();
        changed[byte] ^= 1 << bit;
        progress.set(&item("secret/a"), changed);
        let said = message(here.get("secret/a").await);
        assert!(said.contains("changed on disk") || said.contains("is not given"), "{byte}: {said}");
    }
    for length in 0..whole.len() {
        progress.set(&item("secret/a"), whole[..length].to_vec());
        assert!(here.get("secret/a").await.is_err(), "{length}");
    }
    progress.set(&item("secret/a"), "no secret at all");
    assert!(message(here.missing_keys().await).contains("remove it and store it again"));
    assert_eq!(here.names("").await.unwrap(), ["secret/a"]);
    here.remove("secret/a").await.unwrap();
    assert_eq!(here.get("secret/a").await.unwrap(), None);
}

#[tokio::test]
async fn a_secret_opens_only_under_its_name_and_in_its_store() {
    let progress = Arc::new(Kept::default());
    let here = vault(&progress, 1, &[]);
    here.put("secret/a", Secret::new("of a"), Expect::Absent).await.unwrap();
    here.put("secret/b", Secret::new("of b"), Expect::Absent).await.unwrap();
    let (a, b) = (progress.bytes("secret/a"), progress.bytes("secret/b"));
    progress.set(&item("secret/a"), b);
    progress.set(&item("secret/b"), a.clone());
    for name in ["secret/a", "secret/b"] {
        assert!(message(here.get(name).await).contains("comes from another place"), "{name}");
    }
    progress.set(&item("secret/a"), a);
    let elsewhere = vault_of(&progress, "other", Keys::new(Some(key(1)), Vec::new()));
    assert!(message(elsewhere.get("secret/a").await).contains("another place or store"));
    assert_eq!(value(&here, "secret/a").await.as_deref(), Some("of a"));
}

#[tokio::test]
async fn names_are_read_without_a_key_and_nothing_else_is() {
    let progress = Arc::new(Kept::default());
    vault(&progress, 1, &[]).put("secret/a", Secret::new("v"), Expect::Absent).await.unwrap();
    let locked = vault_of(&progress, "store", Keys::default());
    assert_eq!(locked.names("secret/").await.unwrap(), ["secret/a"]);
    assert_eq!(locked.names("connection/").await.unwrap(), [""; 0]);
    assert_eq!(locked.list("").await.unwrap()[0].key, key(1).id());
    let said = message(locked.put("secret/b", Secret::new("v"), Expect::Anything).await);
    assert!(said.contains("no master key") && said.contains("new-key"), "{said}");
    for vault in [locked, vault(&progress, 2, &[3])] {
        let said = message(vault.get("secret/a").await);
        assert!(said.contains(&key(1).id().to_string()) && said.contains("master_key_file"), "{said}");
        assert_eq!(vault.missing_keys().await.unwrap(), BTreeMap::from([(key(1).id(), 1)]));
        vault.rotate(key(4), None).await.unwrap_err();
        assert_ne!(vault.current_key().await, Some(key(4).id()), "nothing was changed");
    }
    assert!(vault(&progress, 2, &[1]).missing_keys().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_write_holds_only_against_the_value_it_saw() {
    let progress = Arc::new(Kept::default());
    let here = vault(&progress, 1, &[]);
    let put = |text: &str, expect| here.put("connection/crm", Secret::new(text), expect);
    let first = put("1", Expect::Absent).await.unwrap();
    let conflict = StoreError::Conflict { key: "connection/crm".into() };
    assert_eq!(put("2", Expect::Absent).await, Err(conflict.clone()));
    let second = put("2", Expect::Generation(first)).await.unwrap();
    assert_ne!(second, first);
    assert_eq!(put("3", Expect::Generation(first)).await, Err(conflict.clone()));
    here.remove("connection/crm").await.unwrap();
    here.remove("connection/crm").await.unwrap();
    assert_eq!(put("3", Expect::Generation(second)).await, Err(conflict.clone()));
    let again = put("4", Expect::Absent).await.unwrap();
    assert_ne!(again, first, "a generation never comes again");
    assert_eq!(value(&here, "connection/crm").await.as_deref(), Some("4"));
}

#[tokio::test]
async fn a_new_master_key_is_no_new_value() {
    let progress = Arc::new(Kept::default());
    let here = vault(&progress, 1, &[]);
    let seen = here.put("connection/crm", Secret::new("old token"), Expect::Absent).await.unwrap();
    let sealed = progress.bytes("connection/crm");
    assert_eq!(here.rotate(key(2), None).await.unwrap(), Rotated { key: key(2).id(), rewrapped: 1 });
    let rewrapped = progress.bytes("connection/crm");
    assert_eq!(sealed[142..], rewrapped[142..], "the value was not encrypted again");
    assert_eq!(here.get("connection/crm").await.unwrap().unwrap().generation, seen);
    // Who fetched a token meanwhile can store it: losing it would lock them out.
    here.put("connection/crm", Secret::new("new token"), Expect::Generation(seen)).await.unwrap();
}

#[tokio::test]
async fn whoever_is_overtaken_between_look_and_write_looks_again() {
    let progress = Arc::new(Kept::default());
    let here = vault(&progress, 1, &[]);
    let put = |text: &str, expect| here.put("connection/crm", Secret::new(text), expect);
    let first = put("first", Expect::Absent).await.unwrap();
    put("of another", Expect::Anything).await.unwrap();
    let of_another = progress.bytes("connection/crm");
    let overtake = || *progress.overtaken_by.lock().unwrap() = Some(of_another.clone());
    let last = put("last", Expect::Anything).await.unwrap();
    overtake();
    assert!(matches!(put("lost", Expect::Generation(last)).await, Err(StoreError::Conflict { .. })));
    assert!(matches!(put("lost", Expect::Generation(first)).await, Err(StoreError::Conflict { .. })));
    overtake();
    put("wins", Expect::Anything).await.unwrap();
    assert_eq!(value(&here, "connection/crm").await.as_deref(), Some("wins"));
    overtake();
    assert_eq!(here.rotate(key(2), None).await.unwrap().rewrapped, 1);
    assert_eq!(value(&here, "connection/crm").await.as_deref(), Some("of another"), "and not the one it saw");
}

#[tokio::test]
async fn a_rotation_that_breaks_off_at_any_write_loses_nothing_and_can_be_done_again() {
    const SECRETS: usize = 5;
    for broken_at in 1..=SECRETS + 2 {
        let progress = Arc::new(Kept::default());
        let here = vault(&progress, 1, &[]);
        for number in 0..SECRETS {
            let text = Secret::new(format!("value {number}"));
            here.put(&format!("secret/{number}"), text, Expect::Absent).await.unwrap();
        }
        let before = progress.writes.load(Ordering::Relaxed);
        progress.fails_from.store(before + broken_at, Ordering::Relaxed);
        let broken = here.rotate(key(2), Some("/keys/2")).await;
        assert_eq!(broken.is_ok(), broken_at == SECRETS + 2, "{broken_at}");
        progress.fails_from.store(0, Ordering::Relaxed);
        // The process that broke off, one that comes after it, and one that has not heard of it.
        let later = vault(&progress, 2, &[1]);
        for number in 0..SECRETS {
            let (name, text) = (format!("secret/{number}"), format!("value {number}"));
            assert_eq!(value(&here, &name).await.as_ref(), Some(&text));
            assert_eq!(value(&later, &name).await.as_ref(), Some(&text));
        }
        let unaware = vault(&progress, 1, &[]);
        let missing = unaware.missing_keys().await.unwrap().into_values().sum::<usize>();
        assert_eq!(missing, broken_at.saturating_sub(2), "{broken_at}");
        let told = unaware.last_rotation().await.unwrap();
        assert_eq!(told.is_some(), broken_at > 1, "the key can be found before it is needed");
        let done = later.rewrap_all().await.unwrap();
        assert_eq!(done.rewrapped, SECRETS - missing);
        let only_new = vault(&progress, 2, &[]);
        assert!(only_new.missing_keys().await.unwrap().is_empty());
        only_new.forget_rotation().await.unwrap();
        assert_eq!(only_new.last_rotation().await.unwrap(), None);
    }
}

#[tokio::test]
async fn secrets_are_bounded_and_pages_are_followed() {
    let progress = Arc::new(Kept::default());
    let here = vault(&progress, 1, &[]);
    let longest = Secret::new("x".repeat(LARGEST_SECRET));
    here.put("secret/long", longest, Expect::Anything).await.unwrap();
    let longer = Secret::new("x".repeat(LARGEST_SECRET + 1));
    assert!(message(here.put("secret/long", longer, Expect::Anything).await).contains("at most 65536"));
    for number in 0..PAGE + 3 {
        here.put(&format!("connection/{number:04}"), Secret::new("x"), Expect::Anything).await.unwrap();
    }
    assert_eq!(here.names("connection/").await.unwrap().len(), PAGE + 3);
    assert_eq!(here.rotate(key(2), None).await.unwrap().rewrapped, PAGE + 4);
}
