//! Private keys as files hold them: PKCS#8 (RFC 5958), PKCS#1 (RFC 8017 §A.1.2) and SEC1 (RFC 5915) in PEM. What is
//! wrong with one is told in words that show nothing of it.

use base64::Engine as _;
use x509_cert::der::asn1::{AnyRef, BitStringRef, ContextSpecific, ObjectIdentifier, OctetStringRef};
use x509_cert::der::{Decode, Reader, Result as DerResult, SliceReader, TagNumber};
use x509_cert::spki::AlgorithmIdentifierRef;
use zeroize::Zeroizing;

use crate::jose::BASE64;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
}

/// What a key consists of.
pub(crate) enum Material {
    /// `RSAPrivateKey` in DER.
    Rsa(Zeroizing<Vec<u8>>),
    Ec {
        curve: Curve,
        private: Zeroizing<Vec<u8>>,
        public: Vec<u8>,
    },
    /// The seed.
    Ed25519(Zeroizing<Vec<u8>>),
}

impl Material {
    /// # Errors
    /// A fragment: what is wrong with the text, and what to do.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        // Keys that went through JSON or an environment often have their ends of line spelled out.
        let text = Zeroizing::new(text.replace("\\r", "").replace("\\n", "\n"));
        let (label, der) = block(&text)?;
        match label {
            "PRIVATE KEY" => pkcs8(&der),
            "RSA PRIVATE KEY" => Ok(Self::Rsa(der)),
            "EC PRIVATE KEY" => sec1(&der, None),
            "ENCRYPTED PRIVATE KEY" => Err(encrypted()),
            "CERTIFICATE" => Err("it is a certificate; the private key is wanted".into()),
            "PUBLIC KEY" | "RSA PUBLIC KEY" => Err("it is a public key; the private key is wanted".into()),
            "OPENSSH PRIVATE KEY" => {
                Err("it is a key for OpenSSH; `ssh-keygen -p -m PKCS8 -f FILE` rewrites it".into())
            }
            _ => Err("it is PEM of another kind than a private key".into()),
        }
    }

    /// For people.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "an RSA key",
            Self::Ec { curve: Curve::P256, .. } => "an EC key on P-256",
            Self::Ec { curve: Curve::P384, .. } => "an EC key on P-384",
            Self::Ed25519(_) => "an Ed25519 key",
        }
    }
}

fn encrypted() -> String {
    "the key is encrypted with a passphrase; `openssl pkcs8 -topk8 -nocrypt -in FILE` decrypts it".into()
}

/// The first block that is no parameters of a curve, which openssl writes before some keys.
fn block(text: &str) -> Result<(&str, Zeroizing<Vec<u8>>), String> {
    let mut rest = text;
    loop {
        let start =
            rest.find(BEGIN).ok_or("it is not PEM: there is no line `-----BEGIN … PRIVATE KEY-----`")?;
        let (label, after) =
            rest[start + BEGIN.len()..].split_once(DASHES).ok_or("the PEM is cut off in its first line")?;
        let (body, after) =
            after.split_once("-----END").ok_or("the PEM is cut off: its END line is missing")?;
        if label == "EC PARAMETERS" {
            rest = after;
            continue;
        }
        if body.contains("ENCRYPTED") {
            return Err(encrypted());
        }
        let body = Zeroizing::new(body.split_ascii_whitespace().collect::<String>());
        let der = BASE64.decode(&*body).map_err(|_| "what stands between its PEM lines is not base64")?;
        return Ok((label, Zeroizing::new(der)));
    }
}

fn pkcs8(der: &[u8]) -> Result<Material, String> {
    let (algorithm, key) = private_key_info(der).map_err(|_| "what is in the PEM is no PKCS#8")?;
    let curve = algorithm.parameters.and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
    match algorithm.oid {
        RSA | RSA_PSS => Ok(Material::Rsa(Zeroizing::new(key.to_vec()))),
        EC => sec1(key, curve),
        ED25519 => {
            let seed = OctetStringRef::from_der(key).map_err(|_| "the Ed25519 key cannot be read")?;
            Ok(Material::Ed25519(Zeroizing::new(seed.as_bytes().to_vec())))
        }
        _ => Err("it is neither an RSA, nor an EC, nor an Ed25519 key".into()),
    }
}

/// `OneAsymmetricKey` of RFC 5958 §2.
fn private_key_info(der: &[u8]) -> DerResult<(AlgorithmIdentifierRef<'_>, &[u8])> {
    SliceReader::new(der)?.sequence(|reader| {
        u8::decode(reader)?;
        let algorithm = AlgorithmIdentifierRef::decode(reader)?;
        let key = OctetStringRef::decode(reader)?.as_bytes();
        // Attributes and a public key may follow.
        while !reader.is_finished() {
            AnyRef::decode(reader)?;
        }
        Ok((algorithm, key))
    })
}

/// `curve` where it stands outside of the key.
fn sec1(der: &[u8], curve: Option<ObjectIdentifier>) -> Result<Material, String> {
    let (private, inner, public) = ec_private_key(der).map_err(|_| "the EC key cannot be read")?;
    let curve = match inner.or(curve) {
        Some(P256) => Curve::P256,
        Some(P384) => Curve::P384,
        Some(_) => {
            return Err("it is an EC key on a curve that is not known here; P-256 and P-384 are".into());
        }
        None => return Err("the EC key does not say its curve".into()),
    };
    let public = public.ok_or("the EC key lacks its public half; `openssl pkey -in FILE` adds it")?;
    Ok(Material::Ec { curve, private: Zeroizing::new(private.to_vec()), public: public.to_vec() })
}

type EcParts<'d> = (&'d [u8], Option<ObjectIdentifier>, Option<&'d [u8]>);

/// `ECPrivateKey` of RFC 5915 §3.
fn ec_private_key(der: &[u8]) -> DerResult<EcParts<'_>> {
    SliceReader::new(der)?.sequence(|reader| {
        u8::decode(reader)?;
        let private = OctetStringRef::decode(reader)?.as_bytes();
        let curve = ContextSpecific::<ObjectIdentifier>::decode_explicit(reader, TagNumber::N0)?;
        let public = ContextSpecific::<BitStringRef<'_>>::decode_explicit(reader, TagNumber::N1)?;
        Ok((private, curve.map(|curve| curve.value), public.and_then(|public| public.value.as_bytes())))
    })
}
