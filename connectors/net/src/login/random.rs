//! What cannot be guessed.

use base64::Engine as _;
use karez_api::{Fault, Secret};
use ring::rand::{SecureRandom, SystemRandom};

use crate::jose::{BASE64URL, Hash};

/// 256 bits as 43 characters: a PKCE verifier (RFC 7636 §4.1), a state, a nonce, a ticket.
///
/// # Errors
/// There is no randomness to be had.
pub(super) fn secret() -> Result<Secret, Fault> {
    let mut bytes = [0; 32];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Fault::fatal("no log-in can begin: the system gives no random numbers"))?;
    Ok(Secret::new(BASE64URL.encode(bytes)))
}

/// By this they are looked up, so that the time of a comparison tells nothing.
pub(super) fn hash(text: &str) -> Vec<u8> {
    Hash::Sha256.digest(text.as_bytes())
}

/// `S256` (RFC 7636 §4.2).
pub(super) fn challenge(verifier: &Secret) -> String {
    BASE64URL.encode(hash(verifier.expose()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_that_of_the_rfc() {
        let verifier = Secret::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(challenge(&verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn a_verifier_has_the_length_of_the_rfc() {
        assert_eq!(secret().unwrap().expose().len(), 43);
        assert_ne!(secret().unwrap(), secret().unwrap());
    }
}
