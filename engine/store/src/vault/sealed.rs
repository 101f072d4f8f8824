//! A secret as bytes: sealed under a data key of its own, which is wrapped by a master key. Both are bound to the
//! place they stand in. Knows neither the store nor which keys are at hand.
//!
//! ```text
//! magic 4 | version 1 | algorithm 1 | key id 8 | data key id 16 | revision 8 | changed 8
//! | wrap nonce 24 | data key 32 + tag 16 | nonce 24 | value + tag 16
//! ```

use bytes::Bytes;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use karez_api::{Millis, Secret};
use zeroize::Zeroizing;

use super::master_key::{KeyId, MasterKey, random};
use crate::codec::{Reader, put_bytes, put_text};

const MAGIC: &[u8] = b"KZVS";
const VERSION: u8 = 1;
const XCHACHA20_POLY1305: u8 = 1;
const TAG: usize = 16;
const DATA_KEY: usize = 32;

type DataKey = Zeroizing<[u8; DATA_KEY]>;

/// Where a secret stands; it can be opened nowhere else.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) store: &'a str,
    pub(super) name: &'a str,
}

/// A sealed secret, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sealed {
    /// The master key that wraps its data key.
    pub(super) key: KeyId,
    data_key: [u8; 16],
    /// Rises with each value; wrapping the data key anew leaves it.
    pub(super) revision: u64,
    /// When this value was stored.
    pub(super) changed: Millis,
    wrap_nonce: [u8; 24],
    wrapped: [u8; DATA_KEY + TAG],
    nonce: [u8; 24],
    value: Vec<u8>,
}

impl Sealed {
    /// Seals under a new data key.
    ///
    /// # Errors
    /// A fragment: the system has no randomness to give.
    pub(super) fn seal(
        place: Place<'_>,
        key: &MasterKey,
        value: &Secret,
        revision: u64,
        changed: Millis,
    ) -> Result<Self, String> {
        let data_key = random()?;
        let mut sealed = Self {
            key: key.id(),
            data_key: rand::random(),
            revision,
            changed,
            wrap_nonce: [0; 24],
            wrapped: [0; DATA_KEY + TAG],
            nonce: rand::random(),
            value: Vec::new(),
        };
        let about = sealed.about_value(place);
        sealed.value = encrypted(&data_key, &sealed.nonce, &about, value.expose().as_bytes())?;
        sealed.wrap(place, key, &data_key)?;
        Ok(sealed)
    }

    /// The value; nothing where anything was changed, or moved here from elsewhere.
    pub(super) fn open(&self, place: Place<'_>, key: &MasterKey) -> Option<Secret> {
        let data_key = self.unwrap(place, key)?;
        let plain = decrypted(&data_key, &self.nonce, &self.about_value(place), &self.value)?;
        str::from_utf8(&plain).ok().map(Secret::new)
    }

    /// The same value, its data key wrapped by another master key; nothing as [`Sealed::open`].
    pub(super) fn rewrap(mut self, place: Place<'_>, from: &MasterKey, to: &MasterKey) -> Option<Self> {
        let data_key = self.unwrap(place, from)?;
        self.wrap(place, to, &data_key).ok()?;
        Some(self)
    }

    fn wrap(&mut self, place: Place<'_>, key: &MasterKey, data_key: &DataKey) -> Result<(), String> {
        self.key = key.id();
        self.wrap_nonce = rand::random();
        let wrapped = encrypted(key.bytes(), &self.wrap_nonce, &self.about_key(place), &**data_key)?;
        self.wrapped = wrapped.try_into().map_err(|_| "a data key has the wrong length")?;
        Ok(())
    }

    fn unwrap(&self, place: Place<'_>, key: &MasterKey) -> Option<DataKey> {
        let plain = decrypted(key.bytes(), &self.wrap_nonce, &self.about_key(place), &self.wrapped)?;
        <[u8; DATA_KEY]>::try_from(plain.as_slice()).ok().map(Zeroizing::new)
    }

    /// What the value is bound to: not the master key, which changes without it.
    fn about_value(&self, place: Place<'_>) -> Vec<u8> {
        let mut about = self.about(place, "value");
        about.extend_from_slice(&self.revision.to_le_bytes());
        about.extend_from_slice(&self.changed.0.to_le_bytes());
        about
    }

    fn about_key(&self, place: Place<'_>) -> Vec<u8> {
        let mut about = self.about(place, "data key");
        about.extend_from_slice(&self.key.0);
        about
    }

    fn about(&self, place: Place<'_>, field: &str) -> Vec<u8> {
        let mut about = vec![VERSION, XCHACHA20_POLY1305];
        for text in [place.store, place.name, field] {
            put_text(&mut about, text);
        }
        put_bytes(&mut about, &self.data_key);
        about
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(142 + self.value.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[VERSION, XCHACHA20_POLY1305]);
        out.extend_from_slice(&self.key.0);
        out.extend_from_slice(&self.data_key);
        out.extend_from_slice(&self.revision.to_le_bytes());
        out.extend_from_slice(&self.changed.0.to_le_bytes());
        out.extend_from_slice(&self.wrap_nonce);
        out.extend_from_slice(&self.wrapped);
        out.extend_from_slice(&self.nonce);
        out.extend_from_slice(&self.value);
        out.into()
    }

    /// Nothing where the bytes are no sealed secret of this format.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let ours = reader.take(4)? == MAGIC && reader.u8()? == VERSION && reader.u8()? == XCHACHA20_POLY1305;
        let sealed = Self {
            key: KeyId(reader.take(8)?.try_into().ok()?),
            data_key: reader.take(16)?.try_into().ok()?,
            revision: reader.u64()?,
            changed: Millis(reader.u64()?),
            wrap_nonce: reader.take(24)?.try_into().ok()?,
            wrapped: reader.take(DATA_KEY + TAG)?.try_into().ok()?,
            nonce: reader.take(24)?.try_into().ok()?,
            value: reader.rest().to_vec(),
        };
        ours.then_some(sealed)
    }
}

fn encrypted(key: &[u8; 32], nonce: &[u8; 24], about: &[u8], plain: &[u8]) -> Result<Vec<u8>, String> {
    // With room for the tag, so that the plaintext is not left behind by a move.
    let mut buffer = Vec::with_capacity(plain.len() + TAG);
    buffer.extend_from_slice(plain);
    let cipher = XChaCha20Poly1305::new(key.into());
    let done = cipher.encrypt_in_place(&XNonce::from(*nonce), about, &mut buffer);
    done.map(|()| buffer).map_err(|_| "a secret could not be encrypted".into())
}

fn decrypted(key: &[u8; 32], nonce: &[u8; 24], about: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut buffer = Zeroizing::new(sealed.to_vec());
    let cipher = XChaCha20Poly1305::new(key.into());
    cipher.decrypt_in_place(&XNonce::from(*nonce), about, &mut *buffer).ok()?;
    Some(buffer)
}
