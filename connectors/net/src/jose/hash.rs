//! Hashes, with and without a key.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

/// The hash of a signature, or inside an HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    #[must_use]
    pub fn digest(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => Sha1::digest(message).to_vec(),
            Self::Sha256 => Sha256::digest(message).to_vec(),
            Self::Sha384 => Sha384::digest(message).to_vec(),
            Self::Sha512 => Sha512::digest(message).to_vec(),
        }
    }

    /// HMAC (RFC 2104), which takes keys of any length.
    #[must_use]
    pub fn mac(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => code(Hmac::<Sha1>::new_from_slice(key).ok(), message),
            Self::Sha256 => code(Hmac::<Sha256>::new_from_slice(key).ok(), message),
            Self::Sha384 => code(Hmac::<Sha384>::new_from_slice(key).ok(), message),
            Self::Sha512 => code(Hmac::<Sha512>::new_from_slice(key).ok(), message),
        }
    }
}

/// `keyed` is always there: HMAC refuses no key.
fn code<M: Mac>(keyed: Option<M>, message: &[u8]) -> Vec<u8> {
    keyed.map_or_else(Vec::new, |keyed| keyed.chain_update(message).finalize().into_bytes().to_vec())
}
