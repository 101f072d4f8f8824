//! Keys that do not stand in the file: which one a verdict lacks, and those that are known. How
//! they come here is not known here.

use std::collections::BTreeMap;
use std::sync::Arc;

use karez_api::Millis;
use karez_net::jose::{Named, PublicKey, Scheme, read_set};
use reqwest::Url;
use x509_cert::Certificate;
use x509_cert::der::DecodePem;

use super::jwt::JwtAlgorithm;

/// What has to be fetched before there is a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Missing {
    pub(in super::super) address: Url,
    pub(super) kind: Kind,
}

/// What stands at an address, and what its keys are used with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// RFC 7517.
    Set(JwtAlgorithm),
    /// X.509, as PEM; of several the first.
    Certificate(Scheme),
}

/// What was fetched so far, by address.
#[derive(Clone, Default)]
pub(in super::super) struct Known(BTreeMap<Url, Arc<Fetched>>);

/// What stood at one address.
pub(in super::super) struct Fetched {
    at: Millis,
    keys: Keys,
}

enum Keys {
    Set(Vec<Named>),
    Certificate(Dated),
}

/// The key of a certificate, and from when to when it counts.
struct Dated {
    key: PublicKey,
    from: Millis,
    until: Millis,
}

const END: &str = "-----END CERTIFICATE-----";

/// Most addresses that are kept.
const MOST: usize = 16;

impl Fetched {
    /// # Errors
    /// What is wrong with the bytes, as a fragment.
    pub(in super::super) fn read(missing: &Missing, bytes: &[u8], at: Millis) -> Result<Self, String> {
        let keys = match missing.kind {
            Kind::Set(algorithm) => Keys::Set(read_set(bytes, algorithm.name(), algorithm.scheme())?),
            Kind::Certificate(scheme) => Keys::Certificate(Dated::read(bytes, scheme)?),
        };
        Ok(Self { at, keys })
    }
}

impl Dated {
    fn read(bytes: &[u8], scheme: Scheme) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let start = text.find("-----BEGIN CERTIFICATE-----").ok_or("there is no certificate")?;
        let end = text[start..].find(END).ok_or("the certificate is cut off")? + start + END.len();
        let first = Certificate::from_pem(&text[start..end]).map_err(|_| "the certificate cannot be read")?;
        let validity = first.tbs_certificate.validity;
        let time = |time: x509_cert::time::Time| {
            Millis(u64::try_from(time.to_unix_duration().as_millis()).unwrap_or(u64::MAX))
        };
        let key = PublicKey::certified(scheme, &first)?;
        Ok(Self { key, from: time(validity.not_before), until: time(validity.not_after) })
    }
}

impl Known {
    /// With one address more; the one that was fetched first goes where there would be too many.
    pub(in super::super) fn with(&self, address: Url, fetched: Fetched) -> Self {
        let mut all = self.0.clone();
        all.insert(address, Arc::new(fetched));
        while all.len() > MOST {
            let Some(oldest) = all.iter().min_by_key(|(_, fetched)| fetched.at).map(|(url, _)| url.clone())
            else {
                break;
            };
            all.remove(&oldest);
        }
        Self(all)
    }

    /// When an address was fetched last.
    pub(in super::super) fn fetched_at(&self, address: &Url) -> Option<Millis> {
        self.0.get(address).map(|fetched| fetched.at)
    }

    /// The keys of a set.
    pub(super) fn set(&self, address: &Url) -> Option<&[Named]> {
        match &self.0.get(address)?.keys {
            Keys::Set(keys) => Some(keys),
            Keys::Certificate(_) => None,
        }
    }

    /// The key of a certificate; nothing where it has to be fetched first.
    ///
    /// # Errors
    /// A fragment: it does not count now.
    pub(super) fn certificate(&self, address: &Url, now: Millis) -> Option<Result<&PublicKey, &'static str>> {
        match &self.0.get(address)?.keys {
            Keys::Certificate(dated) if now < dated.from => Some(Err("does not count yet")),
            Keys::Certificate(dated) if now > dated.until => Some(Err("has expired")),
            Keys::Certificate(dated) => Some(Ok(&dated.key)),
            Keys::Set(_) => None,
        }
    }
}
