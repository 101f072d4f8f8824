//! TLS of a listener: a certificate with its key, and whose certificates of clients are believed, from
//! files that are read again when they change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(10);

/// PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    /// The server's certificate, then those that lead to its root.
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Roots of clients: who shows a certificate has to have it from one of them.
    pub(crate) client_ca: Option<PathBuf>,
}

/// A listener's side of TLS.
pub(crate) struct Tls {
    files: TlsFiles,
    current: ArcSwap<ServerConfig>,
}

impl Tls {
    /// # Errors
    /// A file that cannot be used, and why.
    pub(crate) fn open(files: TlsFiles) -> Result<Self> {
        let current = ArcSwap::from_pointee(read(&files)?);
        Ok(Self { files, current })
    }

    /// For the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }

    /// Looks at the files for as long as it is polled. One that cannot be used leaves what was there before.
    pub(super) async fn follow(self: Arc<Self>) {
        let mut seen = self.stamps().await;
        loop {
            tokio::time::sleep(EVERY).await;
            let now = self.stamps().await;
            if now == seen {
                continue;
            }
            seen = now;
            let tls = Arc::clone(&self);
            let reading = tokio::task::spawn_blocking(move || read(&tls.files));
            match reading.await {
                Ok(Ok(config)) => {
                    self.current.store(Arc::new(config));
                    info!(certificate = %self.files.certificate.display(), "the certificate was read again");
                }
                Ok(Err(error)) => warn!(error = %format!("{error:#}"), "the old certificate stays"),
                Err(error) => warn!(%error, "the old certificate stays"),
            }
        }
    }

    async fn stamps(&self) -> Vec<Option<SystemTime>> {
        let TlsFiles { certificate, key, client_ca } = &self.files;
        let mut stamps = Vec::new();
        for path in [Some(certificate), Some(key), client_ca.as_ref()].into_iter().flatten() {
            stamps.push(tokio::fs::metadata(path).await.ok().and_then(|found| found.modified().ok()));
        }
        stamps
    }
}

fn read(files: &TlsFiles) -> Result<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .context("TLS cannot be set up")?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for root in certificates(path)? {
                roots
                    .add(root)
                    .with_context(|| format!("{} holds a root that cannot be used", path.display()))?;
            }
            // Webhooks that ask for a certificate refuse requests without one; others need none.
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .with_context(|| format!("{} cannot be used", path.display()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .with_context(|| format!("{} holds no private key in PEM", files.key.display()))?;
    let mut config = builder
        .with_single_cert(certificates(&files.certificate)?, key)
        .with_context(|| format!("{} and {} do not fit", files.certificate.display(), files.key.display()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found: Vec<_> = read.with_context(|| format!("cannot read {}", path.display()))?;
    if found.is_empty() {
        bail!("{} holds no certificate in PEM", path.display());
    }
    Ok(found)
}
