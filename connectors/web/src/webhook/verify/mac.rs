//! Keyed hashes, ready to be started for each request.

use std::borrow::Cow;

use hmac::{Hmac, KeyInit};
use karez_net::jose::Hash;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

/// The hash inside an HMAC, or on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in super::super) enum Algorithm {
    Sha1,
    Sha256,
    Sha512,
}

impl Algorithm {
    /// Bytes in a code.
    pub(super) fn length(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// Without a key.
    pub(super) fn digest(self, message: &[Cow<'_, [u8]>]) -> Vec<u8> {
        match self {
            Self::Sha1 => digest::<Sha1>(message),
            Self::Sha256 => digest::<Sha256>(message),
            Self::Sha512 => digest::<Sha512>(message),
        }
    }
}

impl From<Algorithm> for Hash {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha1 => Self::Sha1,
            Algorithm::Sha256 => Self::Sha256,
            Algorithm::Sha512 => Self::Sha512,
        }
    }
}

fn digest<D: Digest>(message: &[Cow<'_, [u8]>]) -> Vec<u8> {
    let mut hash = D::new();
    message.iter().for_each(|piece| hash.update(piece));
    hash.finalize().to_vec()
}

/// An HMAC with its key set.
pub(in super::super) enum Mac {
    Sha1(Box<Hmac<Sha1>>),
    Sha256(Box<Hmac<Sha256>>),
    Sha512(Box<Hmac<Sha512>>),
}

impl Mac {
    /// `None` for a key that the algorithm cannot take, which HMAC (RFC 2104) does not know.
    pub(in super::super) fn new(algorithm: Algorithm, key: &[u8]) -> Option<Self> {
        Some(match algorithm {
            Algorithm::Sha1 => Self::Sha1(Box::new(Hmac::new_from_slice(key).ok()?)),
            Algorithm::Sha256 => Self::Sha256(Box::new(Hmac::new_from_slice(key).ok()?)),
            Algorithm::Sha512 => Self::Sha512(Box::new(Hmac::new_from_slice(key).ok()?)),
        })
    }

    pub(in super::super) fn code(&self, message: &[Cow<'_, [u8]>]) -> Vec<u8> {
        match self {
            Self::Sha1(mac) => compute(mac.as_ref(), message),
            Self::Sha256(mac) => compute(mac.as_ref(), message),
            Self::Sha512(mac) => compute(mac.as_ref(), message),
        }
    }
}

fn compute<M: hmac::Mac + Clone>(keyed: &M, message: &[Cow<'_, [u8]>]) -> Vec<u8> {
    let mut mac = keyed.clone();
    message.iter().for_each(|piece| mac.update(piece));
    mac.finalize().into_bytes().to_vec()
}
