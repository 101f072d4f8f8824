//! The folder itself: its lock, its identity (`STORE`), and the writes that make a name durable.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use karez_api::StoreError;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use siphasher::sip128::SipHasher13;

/// The version of everything below the folder; a newer one is refused.
pub(crate) const FORMAT: u32 = 1;

/// Where things stand in a store's folder.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    pub(crate) root: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) dedup: PathBuf,
    pub(crate) progress: PathBuf,
}

impl Paths {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            log: root.join("log"),
            dedup: root.join("dedup"),
            progress: root.join("progress"),
        }
    }

    fn store(&self) -> PathBuf {
        self.root.join("STORE")
    }
}

/// Whether a folder holds a store; opening one that does not would make it.
#[must_use]
pub fn is_store(folder: &Path) -> bool {
    Paths::new(folder).store().exists()
}

/// What `STORE` says. The secret seeds checksums and hashes; it keeps senders from forging either.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    pub(crate) id: String,
    pub(crate) format: u32,
    secret: String,
    /// False until log and progress were made for the first time.
    pub(crate) ready: bool,
    /// Checksum of the fields above: a wrong secret would make the whole log look torn.
    check: u32,
}

impl Identity {
    fn fresh() -> Self {
        let id = hex::encode(rand::random::<[u8; 16]>());
        let secret = hex::encode(rand::random::<[u8; 16]>());
        Self { id, format: FORMAT, secret, ready: false, check: 0 }.checked()
    }

    fn checked(mut self) -> Self {
        let text = format!("{} {} {} {}", self.id, self.format, self.secret, self.ready);
        self.check = crc32c::crc32c(text.as_bytes());
        self
    }

    pub(crate) fn hasher(&self) -> SipHasher13 {
        let mut key = [0; 16];
        let given = self.secret.as_bytes();
        let decoded = hex::decode(given).unwrap_or_default();
        for (place, byte) in key.iter_mut().zip(decoded) {
            *place = byte;
        }
        SipHasher13::new_with_key(&key)
    }

    /// The seed of the checksums in one file.
    pub(crate) fn seed(&self, file: &str) -> u32 {
        let bytes = self.hasher().hash(file.as_bytes()).as_bytes();
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }
}

/// Holds the folder's lock for as long as it lives.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

pub(crate) fn refused(path: &Path, what: impl std::fmt::Display) -> StoreError {
    StoreError::Refused(format!("{}: {what}", path.display()))
}

/// Takes the folder's lock.
///
/// # Errors
/// `Refused` where another process or another opener in this one holds it.
pub(crate) fn lock(paths: &Paths) -> Result<Lock, StoreError> {
    let path = paths.root.join("LOCK");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| refused(&path, format_args!("cannot be opened: {error}")))?;
    hold(&path, file)
}

/// Takes the lock of a folder that must not be changed: it is not made where it is missing.
pub(crate) fn lock_existing(paths: &Paths) -> Result<Option<Lock>, StoreError> {
    let path = paths.root.join("LOCK");
    match File::open(&path) {
        Ok(file) => hold(&path, file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(refused(&path, format_args!("cannot be opened: {error}"))),
    }
}

fn hold(path: &Path, file: File) -> Result<Lock, StoreError> {
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
        if error == rustix::io::Errno::WOULDBLOCK {
            let what = "the store is in use by another karez; stop it or use its admin API";
            refused(path, what)
        } else {
            refused(path, format_args!("cannot be locked: {error}"))
        }
    })?;
    Ok(Lock { _file: file })
}

/// Reads `STORE`, or makes it in a folder that holds nothing of a store yet.
///
/// # Errors
/// `Refused` where it is missing beside data, damaged, or of a newer version.
pub(crate) fn identify(paths: &Paths) -> Result<Identity, StoreError> {
    if let Some(identity) = read_identity(paths)? {
        return Ok(identity);
    }
    let identity = Identity::fresh();
    write_identity(paths, &identity)
        .map_err(|error| refused(&paths.store(), format_args!("cannot be written: {error}")))?;
    Ok(identity)
}

/// Reads `STORE`; `None` where there is none and nothing else of a store either.
pub(crate) fn read_identity(paths: &Paths) -> Result<Option<Identity>, StoreError> {
    let path = paths.store();
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let leftover =
                [&paths.log, &paths.progress, &paths.dedup].into_iter().find(|folder| folder.exists());
            return match leftover {
                None => Ok(None),
                Some(folder) => Err(refused(
                    &path,
                    format_args!(
                        "missing, but {} exists; restore the file from a backup, or move the folder away to begin anew",
                        folder.display()
                    ),
                )),
            };
        }
        Err(error) => return Err(refused(&path, format_args!("cannot be read: {error}"))),
    };
    let identity: Identity = serde_json::from_slice(&text)
        .map_err(|error| refused(&path, format_args!("is damaged: {error}; restore it from a backup")))?;
    if identity.format > FORMAT {
        return Err(newer(&path, identity.format));
    }
    if identity.clone().checked() != identity || hex::decode(&identity.secret).is_err() {
        return Err(refused(&path, "is damaged: its checksum does not fit; restore it from a backup"));
    }
    Ok(Some(identity))
}

pub(crate) fn newer(path: &Path, format: u32) -> StoreError {
    refused(path, format_args!("has format {format}, newer than {FORMAT}; use the karez that wrote it"))
}

/// Says that log and progress exist from now on.
pub(crate) fn mark_ready(paths: &Paths, identity: &mut Identity) -> Result<(), StoreError> {
    identity.ready = true;
    *identity = identity.clone().checked();
    write_identity(paths, identity)
        .map_err(|error| refused(&paths.store(), format_args!("cannot be written: {error}")))
}

fn write_identity(paths: &Paths, identity: &Identity) -> io::Result<()> {
    let temporary = paths.root.join("STORE.new");
    let mut file = File::create(&temporary)?;
    file.write_all(&serde_json::to_vec_pretty(identity)?)?;
    file.sync_all()?;
    fs::rename(&temporary, paths.store())?;
    sync_folder(&paths.root)
}

/// Makes names in a folder durable: a created, renamed or removed file is not before.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
