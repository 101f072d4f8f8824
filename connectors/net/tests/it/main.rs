//! Connections against a certified authorization server (`oidc-provider` from npm) in a Node process of its own.

#[cfg(test)]
mod browser;
#[cfg(test)]
mod log_ins;
#[cfg(test)]
mod machines;
#[cfg(test)]
mod provider;
#[cfg(test)]
mod rotation;
#[cfg(test)]
mod world;
