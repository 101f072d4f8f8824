//! SAML 2.0 assertions as grants (RFC 7522): built and signed here, or read from a file that somebody else renews.

mod build;
mod xml;

use std::path::PathBuf;

use base64::Engine as _;
use karez_api::{Fault, Millis, Path, Problem};

use crate::jose::BASE64URL;
use crate::spec::SamlAssertion;
use build::Builder;

/// Most bytes of a file that is read.
const LARGEST: u64 = 1 << 20;

pub(crate) enum Saml {
    File(PathBuf),
    Built(Box<Builder>),
}

impl Saml {
    /// # Errors
    /// A fragment: what is missing, or wrong with the key.
    pub(crate) fn read(spec: &SamlAssertion) -> Result<Self, String> {
        match &spec.file {
            Some(file) => Ok(Self::File(file.into())),
            None => Builder::read(spec)
                .map(Box::new)
                .map(Self::Built)
                .map_err(|(field, what)| format!("{field}: {what}")),
        }
    }

    /// An assertion for the token address, as it is sent: base64url without padding (RFC 7522 §2.1).
    ///
    /// # Errors
    /// The file cannot be read, or there is no randomness to be had.
    pub(crate) async fn assertion(&self, token_url: &str, now: Millis) -> Result<String, Fault> {
        let assertion = match self {
            Self::File(file) => from_file(file).await?,
            Self::Built(builder) => builder.assertion(token_url, now)?,
        };
        Ok(BASE64URL.encode(assertion))
    }
}

async fn from_file(file: &std::path::Path) -> Result<String, Fault> {
    let shown = file.display();
    let wrong = |what: &str| Fault::auth(format!("the SAML assertion in {shown} {what}"));
    let size =
        tokio::fs::metadata(file).await.map_err(|error| wrong(&format!("cannot be read: {error}")))?.len();
    if size > LARGEST {
        return Err(wrong("is larger than 1 MiB"));
    }
    let text = tokio::fs::read_to_string(file).await;
    let text = text.map_err(|error| wrong(&format!("cannot be read: {error}")))?;
    match text.trim() {
        text if text.starts_with('<') => Ok(text.to_owned()),
        _ => Err(wrong("is no XML")),
    }
}

pub(crate) fn check(spec: &SamlAssertion, at: &Path, problems: &mut Vec<Problem>) {
    if spec.file.is_none() {
        if let Err((field, what)) = Builder::read(spec) {
            problems.push(Problem::error("bad-assertion", at.field(field), what));
        }
        return;
    }
    for (field, is_there) in [
        ("issuer", spec.issuer.is_some()),
        ("subject", spec.subject.is_some()),
        ("name_id_format", spec.name_id_format.is_some()),
        ("audience", spec.audience.is_some()),
        ("recipient", spec.recipient.is_some()),
        ("attributes", !spec.attributes.is_empty()),
        ("key", spec.key.is_some()),
        ("certificate", spec.certificate.is_some()),
        ("lifetime", spec.lifetime.is_some()),
    ] {
        if is_there {
            let what = "the assertion comes from `file`";
            problems.push(Problem::error("unused", at.field(field), what).on_key());
        }
    }
}

#[cfg(test)]
mod tests;
