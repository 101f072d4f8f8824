//! Senders that prove themselves by a certificate, when the connection is made (mutual TLS). That it comes
//! from a root of `tls_client_ca` the listener has seen to; whose it is, is asked here.

use karez_api::{Checker, Path, Problem};
use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::super::answer::{self, Refusal};
use super::request::Request;
use super::{Verified, Verifier, by};

/// A certificate of the sender, as TLS proved it: `tls_client_ca` of the daemon names the roots that it may be from.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MtlsSpec {
    /// Names of which the certificate has to hold one among its alternative names: of a host (`hooks.example.com`), an
    /// e-mail address, or a URI (`spiffe://example.com/hooks`).
    #[serde(default)]
    names: Vec<String>,
    /// SHA-256 hashes of certificates of which it has to be one, in hex; colons may stand between.
    #[serde(default)]
    fingerprints: Vec<String>,
}

/// A checked one.
pub(in super::super) struct ClientCertificate {
    names: Vec<String>,
    fingerprints: Vec<[u8; 32]>,
}

impl MtlsSpec {
    pub(super) fn check(self, cx: &Checker<'_>, at: &Path) -> Option<Verifier> {
        if self.names.is_empty() && self.fingerprints.is_empty() {
            cx.report(
                Problem::error(
                    "missing-names",
                    at.clone(),
                    "whoever has a certificate of the same root could post",
                )
                .help("add names: [hooks.example.com], or fingerprints"),
            );
            return None;
        }
        let read = |(index, text): (usize, &String)| {
            let bytes = hex::decode(text.replace(':', "")).ok();
            let found = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
            if found.is_none() {
                let at = at.field("fingerprints").index(index);
                let message = "a fingerprint is the SHA-256 of a certificate: 64 hex digits";
                cx.report(Problem::error("bad-fingerprint", at, message));
            }
            found
        };
        let fingerprints: Vec<_> = self.fingerprints.iter().enumerate().filter_map(read).collect();
        let fine = fingerprints.len() == self.fingerprints.len();
        fine.then(|| Verifier::Mtls(ClientCertificate { names: self.names, fingerprints }))
    }
}

impl ClientCertificate {
    /// Which of the names or, counted after them, of the fingerprints it is.
    ///
    /// # Errors
    /// 401: there is none, or it is another one.
    pub(super) fn verify(&self, request: &Request<'_>) -> Result<Verified, Refusal> {
        let refused = |what: &str| answer::unauthorized(what, None);
        let Some(der) = request.certificate else {
            return Err(refused("a certificate of the client is needed, and there was none"));
        };
        let hash: [u8; 32] = Sha256::digest(der).into();
        let known = self.fingerprints.iter().position(|fingerprint| *fingerprint == hash);
        let known = known.map(|place| self.names.len() + place);
        let named = || {
            let held = names(der)?;
            self.names.iter().position(|name| held.contains(name))
        };
        known
            .or_else(named)
            .map(by)
            .ok_or_else(|| refused("the certificate of the client is not one of those named"))
    }
}

/// Its alternative names; a common name says nothing any more (RFC 9525 §2).
fn names(der: &[u8]) -> Option<Vec<String>> {
    let certificate = Certificate::from_der(der).ok()?;
    let (_, names) = certificate.tbs_certificate.get::<SubjectAltName>().ok()??;
    let text = |name: &GeneralName| match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::Rfc822Name(address) => Some(address.to_string()),
        GeneralName::UniformResourceIdentifier(uri) => Some(uri.to_string()),
        _ => None,
    };
    Some(names.0.iter().filter_map(text).collect())
}
