//! RSASSA-PKCS1-v1_5 with SHA-1, which OAuth 1.0 has (RFC 5849 §3.4.3) and ring rightly signs with no more. The
//! exponentiation is blinded: how long it takes tells nothing of the key.

use karez_api::{Fault, Secret};
use rsa::{BoxedUint, Pkcs1v15Sign, PrivateKey};
use sha1::{Digest as _, Sha1};
use x509_cert::der::asn1::{AnyRef, UintRef};
use x509_cert::der::{Decode, Reader, Result as DerResult, SliceReader};

use crate::auth::jose::Material;

/// Bits that a key has at least.
const SHORTEST: u32 = 1_024;

pub(super) struct RsaSha1(PrivateKey);

impl RsaSha1 {
    /// # Errors
    /// A fragment: what is wrong with the key, which is not shown.
    pub(super) fn read(pem: &Secret) -> Result<Self, String> {
        let der = match Material::read(pem.expose())? {
            Material::Rsa(der) => der,
            other => return Err(format!("RSA-SHA1 needs an RSA key, and this is {}", other.kind())),
        };
        let [n, e, d, p, q] = numbers(&der).map_err(|_| "the RSA key cannot be read")?;
        if n.bit_width_vartime() < SHORTEST {
            return Err(format!("the RSA key cannot be used: it needs {SHORTEST} bits at least"));
        }
        let key = PrivateKey::from_components(n, e, d, vec![p, q]);
        key.map(Self).map_err(|_| "the RSA key cannot be used: its numbers do not fit together".into())
    }

    /// # Errors
    /// There is no randomness to be had.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Fault> {
        let hash = Sha1::digest(message);
        let signed = self.0.sign_with_rng(&mut rand::rng(), Pkcs1v15Sign::new::<Sha1>(), &hash);
        signed.map_err(|_| Fault::fatal("signing with RSA failed"))
    }
}

/// Modulus, both exponents and both primes of `RSAPrivateKey` (RFC 8017 §A.1.2).
fn numbers(der: &[u8]) -> DerResult<[BoxedUint; 5]> {
    SliceReader::new(der)?.sequence(|reader| {
        u8::decode(reader)?;
        let mut number = || -> DerResult<BoxedUint> {
            Ok(BoxedUint::from_be_slice_vartime(UintRef::decode(reader)?.as_bytes()))
        };
        let all = [number()?, number()?, number()?, number()?, number()?];
        while !reader.is_finished() {
            AnyRef::decode(reader)?;
        }
        Ok(all)
    })
}
