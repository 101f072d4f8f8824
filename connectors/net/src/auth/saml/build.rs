//! An assertion of our own: a bearer's (SAML 2.0 Profiles §3.3), with an enveloped signature (XML Signature §6.6.4).

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use karez_api::{Fault, Millis};
use uuid::Uuid;
use x509_cert::Certificate;
use x509_cert::der::{DecodePem, Encode};

use super::xml::{element, takes, text};
use crate::auth::jose::SigningKey;
use crate::jose::{Hash, PublicKey, Scheme};
use crate::spec::{JwtAlgorithm, SamlAssertion};

const SAML: &str = "urn:oasis:names:tc:SAML:2.0:assertion";
const SIGNATURE: &str = "http://www.w3.org/2000/09/xmldsig#";
const C14N: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
const RSA_SHA256: &str = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256";
const SHA256: &str = "http://www.w3.org/2001/04/xmlenc#sha256";
const BEARER: &str = "urn:oasis:names:tc:SAML:2.0:cm:bearer";
const UNSPECIFIED: &str = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified";
const CONTEXT: &str = "urn:oasis:names:tc:SAML:2.0:ac:classes:unspecified";

const LIFETIME: Duration = Duration::from_secs(300);
const LONGEST: Duration = Duration::from_secs(3_600);
/// How far it counts from in the past, for far ends whose clock is late.
const BACKDATE: u64 = 60_000;

pub(crate) struct Builder {
    issuer: String,
    subject: String,
    format: String,
    audience: Option<String>,
    recipient: Option<String>,
    attributes: BTreeMap<String, String>,
    key: SigningKey,
    /// In base64.
    certificate: Option<String>,
    lifetime: Duration,
}

impl Builder {
    /// # Errors
    /// The field that is wrong, and a fragment about it.
    pub(super) fn read(spec: &SamlAssertion) -> Result<Self, (&'static str, String)> {
        let missing =
            |field| (field, "it is needed where the assertion does not come from `file`".to_owned());
        let issuer = spec.issuer.clone().ok_or_else(|| missing("issuer"))?;
        let subject = spec.subject.clone().ok_or_else(|| missing("subject"))?;
        let key = spec.key.as_ref().ok_or_else(|| missing("key"))?;
        let key = SigningKey::read(JwtAlgorithm::RS256, key).map_err(|what| ("key", what))?;
        let certificate = spec.certificate.as_deref().map(|pem| certificate(pem, &key)).transpose();
        let lifetime = spec.lifetime.map_or(LIFETIME, |lifetime| lifetime.0);
        if lifetime.as_secs() == 0 || lifetime > LONGEST {
            return Err(("lifetime", "an assertion counts from 1s to 1h".into()));
        }
        let fields = [
            ("issuer", spec.issuer.as_ref()),
            ("subject", spec.subject.as_ref()),
            ("name_id_format", spec.name_id_format.as_ref()),
            ("audience", spec.audience.as_ref()),
            ("recipient", spec.recipient.as_ref()),
        ];
        let attributes = spec
            .attributes
            .iter()
            .flat_map(|(name, value)| [("attributes", Some(name)), ("attributes", Some(value))]);
        let mut all = fields.into_iter().chain(attributes);
        if let Some((field, _)) = all.find(|(_, value)| value.is_some_and(|value| !takes(value))) {
            return Err((field, "it has characters that XML does not have".into()));
        }
        Ok(Self {
            issuer,
            subject,
            format: spec.name_id_format.clone().unwrap_or_else(|| UNSPECIFIED.into()),
            audience: spec.audience.clone(),
            recipient: spec.recipient.clone(),
            attributes: spec.attributes.clone(),
            key,
            certificate: certificate.map_err(|what| ("certificate", what))?,
            lifetime,
        })
    }

    /// # Errors
    /// There is no randomness to be had, or the clock is far off.
    pub(super) fn assertion(&self, token_url: &str, now: Millis) -> Result<String, Fault> {
        let id = format!("_{}", Uuid::new_v4().simple());
        let issued = instant(now.0)?;
        let issuer = element("saml:Issuer", &[], &text(&self.issuer));
        let rest = self.statements(token_url, now)?;
        let attributes = [("xmlns:saml", SAML), ("ID", &id), ("IssueInstant", &issued), ("Version", "2.0")];
        // The signature is about the element without it.
        let bare = element("saml:Assertion", &attributes, &format!("{issuer}{rest}"));
        let signature = self.signature(&id, &bare)?;
        Ok(element("saml:Assertion", &attributes, &format!("{issuer}{signature}{rest}")))
    }

    fn statements(&self, token_url: &str, now: Millis) -> Result<String, Fault> {
        let end = instant(now.0 + u64::try_from(self.lifetime.as_millis()).unwrap_or(u64::MAX / 2))?;
        let start = instant(now.0.saturating_sub(BACKDATE))?;
        let recipient = self.recipient.as_deref().unwrap_or(token_url);
        let name = element("saml:NameID", &[("Format", &self.format)], &text(&self.subject));
        let data =
            element("saml:SubjectConfirmationData", &[("NotOnOrAfter", &end), ("Recipient", recipient)], "");
        let confirmation = element("saml:SubjectConfirmation", &[("Method", BEARER)], &data);
        let subject = element("saml:Subject", &[], &format!("{name}{confirmation}"));
        let audience = element("saml:Audience", &[], &text(self.audience.as_deref().unwrap_or(token_url)));
        let audience = element("saml:AudienceRestriction", &[], &audience);
        let conditions =
            element("saml:Conditions", &[("NotBefore", &start), ("NotOnOrAfter", &end)], &audience);
        let context = element("saml:AuthnContextClassRef", &[], CONTEXT);
        let context = element("saml:AuthnContext", &[], &context);
        let authn = element("saml:AuthnStatement", &[("AuthnInstant", &instant(now.0)?)], &context);
        Ok(format!("{subject}{conditions}{authn}{}", self.attributes()))
    }

    fn attributes(&self) -> String {
        if self.attributes.is_empty() {
            return String::new();
        }
        let one = |(name, value): (&String, &String)| {
            element("saml:Attribute", &[("Name", name)], &element("saml:AttributeValue", &[], &text(value)))
        };
        element("saml:AttributeStatement", &[], &self.attributes.iter().map(one).collect::<String>())
    }

    fn signature(&self, id: &str, bare: &str) -> Result<String, Fault> {
        let algorithm = |name: &str, algorithm: &str| element(name, &[("Algorithm", algorithm)], "");
        let transforms = algorithm("ds:Transform", ENVELOPED) + &algorithm("ds:Transform", C14N);
        let digest = STANDARD.encode(Hash::Sha256.digest(bare.as_bytes()));
        let reference = [
            element("ds:Transforms", &[], &transforms),
            algorithm("ds:DigestMethod", SHA256),
            element("ds:DigestValue", &[], &digest),
        ];
        let info = [
            algorithm("ds:CanonicalizationMethod", C14N),
            algorithm("ds:SignatureMethod", RSA_SHA256),
            element("ds:Reference", &[("URI", &format!("#{id}"))], &reference.concat()),
        ]
        .concat();
        // On its own, the element declares its namespace itself.
        let signed = element("ds:SignedInfo", &[("xmlns:ds", SIGNATURE)], &info);
        let value = STANDARD.encode(self.key.signature(signed.as_bytes())?);
        let certificate = self.certificate.as_deref().map(|certificate| {
            let certificate = element("ds:X509Certificate", &[], certificate);
            element("ds:KeyInfo", &[], &element("ds:X509Data", &[], &certificate))
        });
        let parts = [
            element("ds:SignedInfo", &[], &info),
            element("ds:SignatureValue", &[], &value),
            certificate.unwrap_or_default(),
        ];
        Ok(element("ds:Signature", &[("xmlns:ds", SIGNATURE)], &parts.concat()))
    }
}

/// `xs:dateTime` in UTC, as SAML wants it.
fn instant(millis: u64) -> Result<String, Fault> {
    let seconds = i64::try_from(millis / 1_000).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_second(seconds).map_err(|_| Fault::fatal("the clock is far off"))?;
    Ok(time.to_string())
}

/// The first certificate, in base64; it has to be that of the key.
fn certificate(pem: &str, key: &SigningKey) -> Result<String, String> {
    const END: &str = "-----END CERTIFICATE-----";
    let start = pem.find("-----BEGIN CERTIFICATE-----").ok_or("it is not PEM of a certificate")?;
    let end =
        pem[start..].find(END).ok_or("the PEM is cut off: its END line is missing")? + start + END.len();
    let certificate =
        Certificate::from_pem(&pem[start..end]).map_err(|_| "the certificate cannot be read")?;
    let public = PublicKey::certified(Scheme::Rsa(Hash::Sha256), &certificate)?;
    let probe = key.signature(b"probe").map_err(|fault| fault.message().to_owned())?;
    if !public.verifies(b"probe", &probe) {
        return Err("it is the certificate of another key than `key`".into());
    }
    Ok(STANDARD.encode(certificate.to_der().map_err(|_| "the certificate cannot be read")?))
}
