//! Where the daemon's own settings come from: `karez.yaml`, then `KAREZ_*`, then flags; the later wins.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use karez_api::{Json, JsonMap, Network, Secret};
use serde::de::{Deserialize, Deserializer, Error};

use crate::secrets::KeySource;
use crate::server::TlsFiles;

/// The variable that may hold the master key itself. Pipeline files cannot ask for it.
pub(crate) const MASTER_KEY: &str = "KAREZ_MASTER_KEY";

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
    #[serde(default, deserialize_with = "written_networks")]
    pub(crate) allow_private: Option<Vec<Network>>,
    pub(crate) public_url: Option<String>,
    pub(crate) drain_timeout: Option<karez_api::Duration>,
    pub(crate) master_key_file: Option<PathBuf>,
    pub(crate) master_key_command: Option<Vec<String>>,
    /// The key itself: never in a file of settings, which is no place to keep one.
    #[serde(skip)]
    pub(crate) master_key: Option<Secret>,
    pub(crate) old_master_key_files: Option<Vec<PathBuf>>,
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
pub(crate) fn network(text: &str) -> Result<Network, String> {
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
        // One place of the master key takes the place of another, whichever they are.
        let key = if over.says_where_the_key_is() { &over } else { &self };
        let (file, command) = (key.master_key_file.clone(), key.master_key_command.clone());
        let text = key.master_key.clone();
        Self {
            master_key_file: file,
            master_key_command: command,
            master_key: text,
            old_master_key_files: over.old_master_key_files.or(self.old_master_key_files),
            pipelines: over.pipelines.or(self.pipelines),
            data_dir: over.data_dir.or(self.data_dir),
            listen: over.listen.or(self.listen),
            admin: over.admin.or(self.admin),
            admin_hosts: over.admin_hosts.or(self.admin_hosts),
            tls_certificate: over.tls_certificate.or(self.tls_certificate),
            tls_key: over.tls_key.or(self.tls_key),
            tls_client_ca: over.tls_client_ca.or(self.tls_client_ca),
            trusted_proxies: over.trusted_proxies.or(self.trusted_proxies),
            allow_private: over.allow_private.or(self.allow_private),
            public_url: over.public_url.or(self.public_url),
            drain_timeout: over.drain_timeout.or(self.drain_timeout),
        }
    }

    fn says_where_the_key_is(&self) -> bool {
        self.master_key_file.is_some() || self.master_key_command.is_some() || self.master_key.is_some()
    }

    /// `KAREZ_PIPELINES` (separated by `:`), `KAREZ_DATA_DIR`, `KAREZ_LISTEN`, `KAREZ_ADMIN`,
    /// `KAREZ_ADMIN_HOSTS`, `KAREZ_TRUSTED_PROXIES` and `KAREZ_ALLOW_PRIVATE` (separated by `,`),
    /// `KAREZ_TLS_CERTIFICATE`, `KAREZ_TLS_KEY`, `KAREZ_TLS_CLIENT_CA`, `KAREZ_PUBLIC_URL`, `KAREZ_DRAIN_TIMEOUT`,
    /// `KAREZ_MASTER_KEY`, `KAREZ_MASTER_KEY_FILE`,
    /// `KAREZ_MASTER_KEY_COMMAND` (words separated by spaces), `KAREZ_OLD_MASTER_KEY_FILES` (separated by `:`).
    ///
    /// # Errors
    /// One of them cannot be read.
    pub(crate) fn from_environment(var: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let list = |name: &str, separator: char| {
            var(name).map(|text| text.split(separator).map(|item| item.trim().to_owned()).collect::<Vec<_>>())
        };
        let paths = |name| list(name, ':').map(|paths| paths.into_iter().map(PathBuf::from).collect());
        let networks = |name: &str| -> Result<Option<Vec<Network>>> {
            let read = |texts: Vec<String>| texts.iter().map(|text| network(text)).collect::<Result<_, _>>();
            list(name, ',').map(read).transpose().map_err(|error| anyhow!("{name}: {error}"))
        };
        Ok(Self {
            pipelines: paths("KAREZ_PIPELINES"),
            data_dir: var("KAREZ_DATA_DIR").map(PathBuf::from),
            listen: parsed(&var, "KAREZ_LISTEN", address)?,
            admin: parsed(&var, "KAREZ_ADMIN", address)?,
            admin_hosts: list("KAREZ_ADMIN_HOSTS", ','),
            tls_certificate: var("KAREZ_TLS_CERTIFICATE").map(PathBuf::from),
            tls_key: var("KAREZ_TLS_KEY").map(PathBuf::from),
            tls_client_ca: var("KAREZ_TLS_CLIENT_CA").map(PathBuf::from),
            trusted_proxies: networks("KAREZ_TRUSTED_PROXIES")?,
            allow_private: networks("KAREZ_ALLOW_PRIVATE")?,
            public_url: var("KAREZ_PUBLIC_URL"),
            drain_timeout: parsed(&var, "KAREZ_DRAIN_TIMEOUT", str::parse)?,
            master_key_file: var("KAREZ_MASTER_KEY_FILE").map(PathBuf::from),
            master_key_command: var("KAREZ_MASTER_KEY_COMMAND")
                .map(|text| text.split_whitespace().map(str::to_owned).collect()),
            master_key: var(MASTER_KEY).map(Secret::new),
            old_master_key_files: paths("KAREZ_OLD_MASTER_KEY_FILES"),
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
    /// Networks that are not public and may be called by every connection.
    pub(crate) allow_private: Vec<Network>,
    /// Where others reach the listener of webhooks, without a slash at its end.
    pub(crate) public_url: Option<String>,
    pub(crate) drain_timeout: Duration,
    master_key_file: Option<PathBuf>,
    master_key_command: Option<Vec<String>>,
    master_key: Option<Secret>,
    /// Keys that only read.
    pub(crate) old_master_key_files: Vec<PathBuf>,
}

impl Settings {
    /// Where the master key comes from, if there is one.
    ///
    /// # Errors
    /// It is said twice.
    pub(crate) fn master_key(&self) -> Result<Option<KeySource>> {
        let file = self.master_key_file.clone().map(KeySource::File);
        let command = self.master_key_command.clone().map(KeySource::Command);
        let text = self.master_key.clone().map(KeySource::Text);
        let mut said = file.into_iter().chain(command).chain(text);
        match (said.next(), said.next()) {
            (said, None) => Ok(said),
            _ => bail!(
                "the master key is given twice; keep one of master_key_file, master_key_command and {MASTER_KEY}"
            ),
        }
    }

    pub(crate) fn speaks_tls(&self) -> bool {
        self.tls_certificate.is_some()
    }

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
            allow_private: layer.allow_private.unwrap_or_default(),
            public_url: layer.public_url.map(|url| url.trim_end_matches('/').to_owned()),
            drain_timeout: layer.drain_timeout.map_or(Duration::from_secs(30), |time| time.0),
            master_key_file: layer.master_key_file,
            master_key_command: layer.master_key_command,
            master_key: layer.master_key,
            old_master_key_files: layer.old_master_key_files.unwrap_or_default(),
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
    fn one_place_of_the_master_key_takes_the_place_of_another() {
        let file =
            Layer::from_yaml("master_key_command: [vault, read]\nold_master_key_files: [old]\n").unwrap();
        let key = |layer: Layer| Settings::from(layer).master_key();
        let command = KeySource::Command(vec!["vault".into(), "read".into()]);
        assert_eq!(key(file.clone()).unwrap(), Some(command));
        let vars = [("KAREZ_MASTER_KEY", "s3cret")];
        let over = file.under(Layer::from_environment(environment(&vars)).unwrap());
        assert_eq!(key(over.clone()).unwrap(), Some(KeySource::Text(Secret::new("s3cret"))));
        assert!(!format!("{:?}", Settings::from(over.clone())).contains("s3cret"));
        assert_eq!(Settings::from(over).old_master_key_files, [Path::new("old")]);
        let vars = [("KAREZ_MASTER_KEY", "s3cret"), ("KAREZ_MASTER_KEY_FILE", "f")];
        let twice = key(Layer::from_environment(environment(&vars)).unwrap()).unwrap_err().to_string();
        assert!(twice.contains("given twice") && !twice.contains("s3cret"), "{twice}");
        assert!(Layer::from_yaml("master_key: s3cret").is_err(), "a file is no place for a key");
        assert_eq!(key(Layer::default()).unwrap(), None);
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
