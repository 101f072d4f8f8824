//! The HTTP client underneath: no redirects, no proxies from the environment, bounded connecting.

use std::sync::Arc;
use std::time::Duration;

use karez_api::{Path, Problem};
use reqwest::{Certificate, Client, ClientBuilder, Identity, Proxy, redirect};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::resolver::Resolver;
use super::{Guard, Manners, chain};
use crate::spec::TlsSpec;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const POOL_IDLE: Duration = Duration::from_secs(90);
/// Idle connections that are kept for one host.
const POOL_SIZE: usize = 64;
/// A peer that vanished is noticed after a few of these.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// # Errors
/// Which part of it cannot be used, and why.
pub(super) fn build(manners: &Manners<'_>, guard: &Arc<Guard>) -> Result<Client, String> {
    provide_cryptography();
    let mut builder = Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .connect_timeout(manners.connect_timeout.unwrap_or(CONNECT_TIMEOUT))
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(POOL_SIZE)
        .tcp_keepalive(KEEPALIVE)
        .user_agent(concat!("karez/", env!("CARGO_PKG_VERSION")));
    let mut proxy_host = None;
    if let Some(address) = manners.proxy {
        let (host, proxy) = proxy(address)?;
        proxy_host = Some(host);
        builder = builder.proxy(proxy);
    }
    if let Some(tls) = manners.tls {
        builder = secured(builder, tls)?;
    }
    let resolver = Resolver { guard: Arc::clone(guard), proxy: proxy_host };
    builder.dns_resolver(Arc::new(resolver)).build().map_err(|error| chain(&error))
}

/// Reports what cannot be used of certificates, key and proxy; paths are relative to the connection.
pub(crate) fn check(tls: Option<&TlsSpec>, proxy_address: Option<&str>, problems: &mut Vec<Problem>) {
    provide_cryptography();
    let at = |field: &str| Path::root().field("tls").field(field);
    let mut report = |at: Path, message: String| problems.push(Problem::error("bad-tls", at, message));
    if let Some(tls) = tls {
        if let Some(Err(message)) = tls.ca.as_deref().map(authorities) {
            report(at("ca"), message);
        }
        if tls.only_ca && tls.ca.is_none() {
            report(at("only_ca"), "says to trust only `ca`, but there is none".to_owned());
        }
        if let Err(message) = identity(tls) {
            report(at("certificate"), message);
        }
    }
    if let Some(Err(message)) = proxy_address.map(proxy) {
        problems.push(Problem::error("bad-proxy", Path::root().field("proxy"), message));
    }
}

fn secured(builder: ClientBuilder, tls: &TlsSpec) -> Result<ClientBuilder, String> {
    let builder = match tls.ca.as_deref().map(authorities).transpose()? {
        Some(trusted) if tls.only_ca => builder.tls_certs_only(trusted),
        Some(trusted) => builder.tls_certs_merge(trusted),
        None => builder,
    };
    Ok(match identity(tls)? {
        Some(identity) => builder.identity(identity),
        None => builder,
    })
}

fn authorities(pem: &str) -> Result<Vec<Certificate>, String> {
    match Certificate::from_pem_bundle(pem.as_bytes()) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err("holds no certificate that can be read; it must be PEM text".to_owned()),
    }
}

/// Who we are: a certificate with its key.
fn identity(tls: &TlsSpec) -> Result<Option<Identity>, String> {
    match (&tls.certificate, &tls.key) {
        (None, None) => Ok(None),
        (Some(_), None) => Err("needs its private key: `key`".to_owned()),
        (None, Some(_)) => Err("is missing: `key` alone proves nothing".to_owned()),
        (Some(certificate), Some(key)) => {
            let identity = Identity::from_pem(format!("{}\n{certificate}", key.expose()).as_bytes());
            // The library's words may quote the key.
            let identity = identity
                .map_err(|_| "cannot be read together with `key`; both must be PEM text".to_owned())?;
            pair(certificate.as_bytes(), key.expose().as_bytes())?;
            Ok(Some(identity))
        }
    }
}

/// Whether they belong together, which no server says in words that help.
fn pair(certificate: &[u8], key: &[u8]) -> Result<(), String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
    let (Ok(chain), Ok(key)) = (chain, PrivateKeyDer::from_pem_slice(key)) else {
        return Err("and `key` must hold what their names say".to_owned());
    };
    match CertifiedKey::from_der(chain, key, &ring::default_provider()) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => Err("belongs to another key than `key`".to_owned()),
        Err(_) => Err("and `key` are of a kind that cannot be used".to_owned()),
    }
}

fn proxy(address: &str) -> Result<(String, Proxy), String> {
    let wrong = || "must be a URL like http://proxy.example.com:3128".to_owned();
    let url = reqwest::Url::parse(address).map_err(|_| wrong())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong());
    }
    let host = url.host_str().ok_or_else(wrong)?.to_owned();
    Ok((host, Proxy::all(url).map_err(|_| wrong())?))
}

/// reqwest panics where no provider was chosen for the process; whoever chose first wins.
fn provide_cryptography() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        let chosen = ring::default_provider().install_default();
        // An error means that another thread was faster, which is as good.
        drop::<Result<(), Arc<_>>>(chosen);
    }
}
