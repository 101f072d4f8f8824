//! Master keys: what they look like, how they are known by id, and which of them are at hand. Where they come from
//! is the caller's business.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit, Mac};
use karez_api::StoreError;
use rand::TryRng;
use rand::rngs::SysRng;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::no_key;

const KEY_BYTES: usize = 32;
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::URL_SAFE, LENIENT);

/// By what a master key is known: made from the key, so it also tells whether a key is the right one. It says
/// nothing of the key itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub(super) [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::str::FromStr for KeyId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| format!("{text:?} is not the id of a key"))
    }
}

/// 32 bytes that data keys are wrapped with.
pub struct MasterKey {
    id: KeyId,
    bytes: Zeroizing<[u8; KEY_BYTES]>,
}

impl MasterKey {
    /// A key as it is written: 32 bytes in base64 or in hex, white space around them counts for nothing.
    ///
    /// # Errors
    /// A fragment that holds nothing of the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim_ascii();
        let decoded = match text.len() {
            64 => hex::decode(text).ok(),
            _ => STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok(),
        };
        let decoded = Zeroizing::new(decoded.ok_or("not a key: it is neither base64 nor hex")?);
        let bytes = <[u8; KEY_BYTES]>::try_from(decoded.as_slice())
            .map_err(|_| format!("not a key: it has {} bytes, a key has {KEY_BYTES}", decoded.len()))?;
        Ok(Self::from_bytes(Zeroizing::new(bytes)))
    }

    /// A new one, from the system's own generator.
    ///
    /// # Errors
    /// A fragment: the system has no randomness to give.
    pub fn generate() -> Result<Self, String> {
        random().map(Self::from_bytes)
    }

    /// As [`MasterKey::parse`] reads it, in base64.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(*self.bytes))
    }

    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.bytes
    }

    fn from_bytes(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        // As HMAC does it with a key that is shorter than a block (RFC 2104 §2).
        let mut block = Zeroizing::new([0; 64]);
        block[..KEY_BYTES].copy_from_slice(&*bytes);
        let mut mac = <Hmac<Sha256> as KeyInit>::new((&*block).into());
        mac.update(b"karez master key id, format 1");
        let tag = mac.finalize().into_bytes();
        let mut id = [0; 8];
        id.copy_from_slice(&tag[..8]);
        Self { id: KeyId(id), bytes }
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.id)
    }
}

/// # Errors
/// A fragment: the system has no randomness to give.
pub(super) fn random() -> Result<Zeroizing<[u8; KEY_BYTES]>, String> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    SysRng.try_fill_bytes(&mut *bytes).map_err(|error| format!("there is no randomness: {error}"))?;
    Ok(bytes)
}

/// The master keys at hand: one that encrypts, others that only read.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    current: Option<Arc<MasterKey>>,
    old: Vec<Arc<MasterKey>>,
}

impl Keys {
    /// Without a `current` one nothing can be encrypted; what stands under `old` ones can still be read.
    #[must_use]
    pub fn new(current: Option<MasterKey>, old: Vec<MasterKey>) -> Self {
        Self { current: current.map(Arc::new), old: old.into_iter().map(Arc::new).collect() }
    }

    pub(super) fn current(&self) -> Option<&Arc<MasterKey>> {
        self.current.as_ref()
    }

    /// The one that encrypts, for `name`.
    ///
    /// # Errors
    /// There is none; the message says how to get one.
    pub fn to_encrypt(&self, name: &str) -> Result<&Arc<MasterKey>, StoreError> {
        self.current().ok_or_else(|| no_key(name))
    }

    pub(super) fn find(&self, id: KeyId) -> Option<&Arc<MasterKey>> {
        self.current.iter().chain(&self.old).find(|key| key.id == id)
    }

    /// Encrypts with `key` from now on; the one before it goes on reading.
    pub(super) fn promote(&mut self, key: MasterKey) {
        if self.current.as_ref().is_none_or(|current| current.id != key.id) {
            self.old.extend(self.current.replace(Arc::new(key)));
        }
    }

    /// Nothing stands under any but the current one.
    pub(super) fn drop_old(&mut self) {
        self.old.clear();
    }

    /// For messages: the ids at hand.
    pub(super) fn ids(&self) -> String {
        let ids: Vec<String> = self.current.iter().chain(&self.old).map(|key| key.id.to_string()).collect();
        if ids.is_empty() { "none".into() } else { ids.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_may_be_written() {
        let bytes = [0xfb; 32];
        let (standard, url_safe) = (STANDARD.encode(bytes), URL_SAFE.encode(bytes));
        let id = MasterKey::parse(&standard).unwrap().id();
        for text in [url_safe.trim_end_matches('=').to_owned(), hex::encode(bytes), format!(" {standard}\n")]
        {
            assert_eq!(MasterKey::parse(&text).unwrap().id(), id, "{text}");
        }
        assert_eq!(id.to_string().parse(), Ok(id));
        for (text, said) in [
            ("", "it has 0 bytes"),
            ("c2hvcnQ=", "it has 5 bytes"),
            ("a key, no?", "neither base64 nor hex"),
            (&"zz".repeat(32), "neither base64 nor hex"),
        ] {
            let error = MasterKey::parse(text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn new_keys_differ_and_are_not_shown() {
        let (one, other) = (MasterKey::generate().unwrap(), MasterKey::generate().unwrap());
        assert_ne!(one.id(), other.id());
        assert_eq!(MasterKey::parse(&one.to_text()).unwrap().id(), one.id());
        assert!(!format!("{one:?}").contains(&**one.to_text()));
    }
}
