//! Signing as JOSE has it (RFC 7515, 7518): private keys, tokens made with them, and what of a key is public. Checking
//! signatures is in [`crate::jose`].

mod check;
mod jwk;
mod key;
mod make;
mod pem;

pub(crate) use check::check;
pub(crate) use jwk::thumbprint;
pub(crate) use key::SigningKey;
pub(crate) use make::{Fallback, make};
pub(crate) use pem::Material;

#[cfg(test)]
mod tests;
