//! Tokens against a server that rotates refresh tokens and revokes all of them when a spent one comes again.

mod background;
mod id_tokens;
mod oddities;
mod renewal;
mod rotation;
pub(crate) mod world;
