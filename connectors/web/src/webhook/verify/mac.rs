//! Keyed hashes, ready to be started for each request.

use hmac::{Hmac, KeyInit};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::{Choice, ConstantTimeEq};

/// The hash inside the HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in super::super) enum Algorithm {
    Sha1,
    Sha256,
    Sha512,
}

/// An HMAC with its key set.
pub(in super::super) enum Mac {
    Sha1(Box<Hmac<Sha1>>),
    Sha256(Box<Hmac<Sha256>>),
    Sha512(Box<Hmac<Sha512>>),
}

impl Mac {
    /// `None` for a key that the algorithm cannot take, which HMAC (RFC 2104) does not know.
    pub(super) fn new(algorithm: Algorithm, key: &[u8]) -> Option<Self> {
        Some(match algorithm {
            Algorithm::Sha1 => Self::Sha1(Box::new(Hmac::new_from_slice(key).ok()?)),
            Algorithm::Sha256 => Self::Sha256(Box::new(Hmac::new_from_slice(key).ok()?)),
            Algorithm::Sha512 => Self::Sha512(Box::new(Hmac::new_from_slice(key).ok()?)),
        })
    }

    /// Bytes in a code.
    pub(super) fn length(&self) -> usize {
        match self {
            Self::Sha1(_) => 20,
            Self::Sha256(_) => 32,
            Self::Sha512(_) => 64,
        }
    }

    pub(super) fn matches(&self, body: &[u8], code: &[u8]) -> Choice {
        match self {
            Self::Sha1(mac) => compute(mac.as_ref(), body).ct_eq(code),
            Self::Sha256(mac) => compute(mac.as_ref(), body).ct_eq(code),
            Self::Sha512(mac) => compute(mac.as_ref(), body).ct_eq(code),
        }
    }
}

fn compute<M: hmac::Mac + Clone>(keyed: &M, body: &[u8]) -> Vec<u8> {
    let mut mac = keyed.clone();
    mac.update(body);
    mac.finalize().into_bytes().to_vec()
}
