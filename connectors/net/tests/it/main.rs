//! Connections against far ends that others wrote: a certified authorization server (`oidc-provider` from npm) in a Node
//! process, and judges of each kind of credentials (from PyPI) in a Python process.

#[cfg(test)]
mod browser;
#[cfg(test)]
mod certificates;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod judges;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod log_ins;
#[cfg(test)]
mod machines;
#[cfg(test)]
mod nginx;
#[cfg(test)]
mod provider;
#[cfg(test)]
mod rotation;
#[cfg(test)]
mod world;
