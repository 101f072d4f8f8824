//! Where the daemon's own settings come from: `karez.yaml`, then `KAREZ_*`, then flags; the later wins.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use karez_api::{Json, JsonMap, Network};
use serde::de::{Deserialize, Deserializer, Error};

use crate::server::TlsFiles;

/// `karez.yaml`, the environment and the flags, each in this form before they are laid over each other.
#[derive(Debug, Default, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Layer {
    pub(crate) pipelines: Option<Vec<PathBuf>>,
    pub(crate) data_dir: Option<PathBuf>,
    #[serde(default, deserialize_with = "written_address")]
    pub(crate) listen: Option<SocketAddr>,
    #[serde(default, deserialize_with = "written_address")]
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) admin_hosts: Option<Vec<String>>,
    pub(crate) tls_certificate: Option<PathBuf>,
    pub(crate) tls_key: Option<PathBuf>,
    pub(crate) tls_client_ca: Option<PathBuf>,
    #[serde(default, deserialize_with = "written_networks")]
    pub(crate) trusted_proxies: Option<Vec<Network>>,
    pub(crate) drain_timeout: Option<karez_api::Duration>,
}

/// An address to listen on. Names are not looked up: which of their addresses would be meant?
///
/// # Errors
/// A sentence.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{text:?} is not an address; write IP:PORT, like 127.0.0.1:7070"))
}

fn written_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| address(&text).map_err(D::Error::custom)).transpose()
}

/// # Errors
/// A sentence.
fn network(text: &str) -> Result<Network, String> {
    text.parse().map_err(|what| format!("{what}; write an address and its bits, like 10.0.0.0/8"))
}

fn written_networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Network>>, D::Error> {
    let texts = Option::<Vec<String>>::deserialize(deserializer)?;
    let read = |texts: Vec<String>| texts.iter().map(|text| network(text)).collect::<Result<_, _>>();
    texts.map(read).transpose().map_err(D::Error::custom)
}

impl Layer {
    /// What `over` says wins.
    pub(crate) fn under(self, over: Self) -> Self {
        Self {
            pipelines: over.pipelines.or(self.pipelines),
            data_dir: over.data_dir.or(self.data_dir),
            listen: over.listen.or(self.listen),
            admin: over.admin.or(self.admin),
            admin_hosts: over.admin_hosts.or(self.admin_hosts),
            tls_certificate: over.tls_certificate.or(self.tls_certificate),
            tls_key: over.tls_key.or(self.tls_key),
            tls_client_ca: over.tls_client_ca.or(self.tls_client_ca),
            trusted_proxies: over.trusted_proxies.or(self.trusted_proxies),
            drain_timeout: over.drain_timeout.or(self.drain_timeout),
        }
    }

    /// `KAREZ_PIPELINES` (separated by `:`), `KAREZ_DATA_DIR`, `KAREZ_LISTEN`, `KAREZ_ADMIN`,
    /// `KAREZ_ADMIN_HOSTS` and `KAREZ_TRUSTED_PROXIES` (separated by `,`), `KAREZ_TLS_CERTIFICATE`, `KAREZ_TLS_KEY`,
    /// `KAREZ_TLS_CLIENT_CA`, `KAREZ_DRAIN_TIMEOUT`.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub(crate) fn from_environment(var: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let list = |name: &str, separator: char| {
            var(name).map(|text| text.split(separator).map(|item| item.trim().to_owned()).collect::<Vec<_>>())
        };
        Ok(Self {
            pipelines: list("KAREZ_PIPELINES", ':')
                .map(|paths| paths.into_iter().map(PathBuf::from).collect()),
            data_dir: var("KAREZ_DATA_DIR").map(PathBuf::from),
            listen: parsed(&var, "KAREZ_LISTEN", address)?,
            admin: parsed(&var, "KAREZ_ADMIN", address)?,
            admin_hosts: list("KAREZ_ADMIN_HOSTS", ','),
            tls_certificate: var("KAREZ_TLS_CERTIFICATE").map(PathBuf::from),
            tls_key: var("KAREZ_TLS_KEY").map(PathBuf::from),
            tls_client_ca: var("KAREZ_TLS_CLIENT_CA").map(PathBuf::from),
            trusted_proxies: list("KAREZ_TRUSTED_PROXIES", ',')
                .map(|texts| texts.iter().map(|text| network(text)).collect::<Result<_, _>>())
                .transpose()
                .map_err(|error| anyhow!("KAREZ_TRUSTED_PROXIES: {error}"))?,
            drain_timeout: parsed(&var, "KAREZ_DRAIN_TIMEOUT", str::parse)?,
        })
    }

    /// `path`, or `karez.yaml` here if there is one.
    ///
    /// # Errors
    /// A named file is missing, or a file is not what it should be.
    pub(crate) fn from_file(path: Option<&Path>) -> Result<Self> {
        let file = path.unwrap_or(Path::new("karez.yaml"));
        match std::fs::read_to_string(file) {
            Ok(text) => Self::from_yaml(&text).with_context(|| file.display().to_string()),
            Err(error) if path.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }

    fn from_yaml(text: &str) -> Result<Self> {
        if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            return Ok(Self::default());
        }
        let tree = karez_config::read_yaml(text).map_err(anyhow::Error::msg)?;
        Self::deserialize(&tree).map_err(|error| match wrong_key(&tree) {
            Some(key) => anyhow!("{key}: {error}"),
            None => error.into(),
        })
    }
}

/// The setting that cannot be read; none where it is not one of ours, which the error says by itself.
fn wrong_key(tree: &Json) -> Option<&str> {
    let reads = |key: &str, value: &Json| {
        let alone = JsonMap::from_iter([(key.to_owned(), value.clone())]);
        Layer::deserialize(Json::Object(alone)).is_ok()
    };
    let ours = |key: &str| reads(key, &Json::Null);
    tree.as_object()?.iter().find(|(key, value)| ours(key) && !reads(key, value)).map(|(key, _)| key.as_str())
}

fn parsed<T>(
    var: impl Fn(&str) -> Option<String>,
    name: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>> {
    match var(name).map(|text| parse(&text)) {
        None => Ok(None),
        Some(Ok(value)) => Ok(Some(value)),
        Some(Err(error)) => bail!("{name}: {error}"),
    }
}

/// The settings in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) pipelines: Vec<PathBuf>,
    pub(crate) data_dir: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// Whether somebody chose the admin address: else commands ask the data folder for it.
    pub(crate) admin_is_chosen: bool,
    pub(crate) admin_hosts: Vec<String>,
    tls_certificate: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    tls_client_ca: Option<PathBuf>,
    pub(crate) trusted_proxies: Vec<Network>,
    pub(crate) drain_timeout: Duration,
}

impl Settings {
    /// How the listener of webhooks speaks TLS, if it does.
    ///
    /// # Errors
    /// One file is named without the other.
    pub(crate) fn tls(&self) -> Result<Option<TlsFiles>> {
        match (&self.tls_certificate, &self.tls_key) {
            (Some(certificate), Some(key)) => Ok(Some(TlsFiles {
                certificate: certificate.clone(),
                key: key.clone(),
                client_ca: self.tls_client_ca.clone(),
            })),
            (None, None) if self.tls_client_ca.is_none() => Ok(None),
            _ => bail!("TLS needs both tls_certificate and tls_key"),
        }
    }
}

impl From<Layer> for Settings {
    fn from(layer: Layer) -> Self {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            pipelines: layer
                .pipelines
                .filter(|paths| !paths.is_empty())
                .unwrap_or_else(|| vec!["pipelines".into()]),
            data_dir: layer.data_dir.unwrap_or_else(|| ".karez".into()),
            listen: layer.listen.unwrap_or_else(|| loopback(7070)),
            admin_is_chosen: layer.admin.is_some(),
            admin: layer.admin.unwrap_or_else(|| loopback(7071)),
            admin_hosts: layer.admin_hosts.unwrap_or_default(),
            tls_certificate: layer.tls_certificate,
            tls_key: layer.tls_key,
            tls_client_ca: layer.tls_client_ca,
            trusted_proxies: layer.trusted_proxies.unwrap_or_default(),
            drain_timeout: layer.drain_timeout.map_or(Duration::from_secs(30), |time| time.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment<'a>(vars: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let file = Layer::from_yaml("listen: 127.0.0.1:1\nadmin: 127.0.0.1:1\ndata_dir: file\n").unwrap();
        let vars = [("KAREZ_LISTEN", "127.0.0.1:2"), ("KAREZ_ADMIN", "127.0.0.1:2")];
        let environment = Layer::from_environment(environment(&vars)).unwrap();
        let flags = Layer { listen: "127.0.0.1:3".parse().ok(), ..Layer::default() };
        let settings = Settings::from(file.under(environment).under(flags));
        assert_eq!(settings.listen.port(), 3);
        assert_eq!(settings.admin.port(), 2);
        assert_eq!(settings.data_dir, Path::new("file"));
        assert_eq!(settings.drain_timeout, Duration::from_secs(30));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let bad = Layer::from_environment(environment(&[("KAREZ_DRAIN_TIMEOUT", "soon")])).unwrap_err();
        assert!(bad.to_string().starts_with("KAREZ_DRAIN_TIMEOUT: \"soon\" is not a duration"), "{bad}");
        assert!(Layer::from_yaml("listn: 1").unwrap_err().to_string().contains("listn"));
        assert!(Layer::from_yaml("# nothing yet\n").is_ok());
        for (text, said) in [
            ("listen: localhost:7070", "listen: \"localhost:7070\" is not an address; write IP:PORT"),
            ("drain_timeout: 5", "drain_timeout: \"5\" is not a duration"),
            ("trusted_proxies: [ten]", "trusted_proxies: \"ten\" is not a network"),
            ("pipelines: p", "pipelines: invalid type"),
        ] {
            let bad = Layer::from_yaml(text).unwrap_err().to_string();
            assert!(bad.starts_with(said), "{bad}");
        }
        let bad = Layer::from_environment(environment(&[("KAREZ_LISTEN", ":7070")])).unwrap_err();
        assert!(bad.to_string().starts_with("KAREZ_LISTEN: \":7070\" is not an address"), "{bad}");
    }
}
