//! Checking signatures and signed tokens (RFC 7515, 7517, 7518), for whoever is shown one. What a token has to say is
//! for its reader to judge; signing is in [`crate::auth`].

mod algorithm;
mod hash;
mod jwk;
mod public_key;
mod token;

pub use hash::Hash;
pub use jwk::{Named, read_set};
pub use public_key::{PublicKey, Scheme};
pub use token::{Token, fields};

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Written without padding, read with or without.
pub(crate) const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Read with or without padding.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
