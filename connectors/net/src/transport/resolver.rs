//! Names become addresses here, and only those that may be called: the connection is made to an address
//! that was judged, so a name that answers differently a second time gains nothing (DNS rebinding).

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::Guard;

pub(super) struct Resolver {
    pub(super) guard: Arc<Guard>,
    /// The proxy was named by whoever wrote the file, so it may stand anywhere.
    pub(super) proxy: Option<String>,
}

/// A name that stands for no address that may be called.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Forbidden(pub(super) String);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = Arc::clone(&self.guard);
        let trusted = self.proxy.as_deref() == Some(name.as_str());
        Box::pin(async move {
            // Port 0 stands for the one of the request.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let addresses = match trusted {
                true => found.collect(),
                false => permitted(&guard, name.as_str(), found)?,
            };
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

fn permitted(
    guard: &Guard,
    name: &str,
    found: impl Iterator<Item = SocketAddr>,
) -> Result<Vec<SocketAddr>, Forbidden> {
    let mut refused = None;
    let mut permitted = Vec::new();
    for address in found {
        match guard.admit(address.ip()) {
            Ok(()) => permitted.push(address),
            Err(message) => refused = Some(message),
        }
    }
    match (permitted.is_empty(), refused) {
        (true, Some(message)) => Err(Forbidden(format!("{name} stands for {message}"))),
        _ => Ok(permitted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(addresses: &[&str]) -> Result<Vec<String>, String> {
        let found = addresses.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 0));
        permitted(&Guard::default(), "crm.example.com", found)
            .map(|kept| kept.iter().map(|address| address.ip().to_string()).collect())
            .map_err(|forbidden| forbidden.to_string())
    }

    #[test]
    fn a_name_leads_only_to_addresses_that_may_be_called() {
        assert_eq!(judged(&["1.1.1.1", "10.0.0.1", "::1"]), Ok(vec!["1.1.1.1".to_owned()]));
        assert_eq!(judged(&[]), Ok(vec![]));
        assert!(
            judged(&["169.254.169.254"])
                .unwrap_err()
                .starts_with("crm.example.com stands for 169.254.169.254")
        );
    }
}
