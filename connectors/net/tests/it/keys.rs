//! Keys and certificates, made by openssl for one run.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

const REQUEST: &str = "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

/// A folder of them, which goes with the test.
pub(crate) struct Keys {
    folder: tempfile::TempDir,
}

impl Keys {
    /// `ca.pem` vouches for `server` and `client`; `stranger` vouches for itself. Each has a `.pem` and a `.key`.
    pub(crate) fn certificates() -> Self {
        let keys = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(keys.path("san"), "subjectAltName=IP:127.0.0.1").unwrap();
        for name in ["ca", "stranger"] {
            keys.openssl(&format!(
                "{REQUEST} -x509 -subj /CN={name} -days 2 -keyout {name}.key -out {name}.pem"
            ));
        }
        for name in ["server", "client"] {
            keys.openssl(&format!("{REQUEST} -subj /CN={name} -keyout {name}.key -out {name}.csr"));
            let sign = "x509 -req -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san";
            keys.openssl(&format!("{sign} -in {name}.csr -out {name}.pem"));
        }
        keys
    }

    /// The same with keys to sign with.
    pub(crate) fn of_all_kinds() -> Self {
        let keys = Self::certificates();
        keys.openssl("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.pem");
        keys.openssl("pkey -in rsa.pem -pubout -out rsa.public.pem");
        keys.openssl("req -x509 -new -key rsa.pem -subj /CN=karez -days 2 -out rsa.certificate.pem");
        keys.openssl("ecparam -name prime256v1 -genkey -out p256.pem");
        keys.openssl("pkey -in p256.pem -pubout -out p256.public.pem");
        keys.openssl("ecparam -name secp384r1 -genkey -noout -out p384.pem");
        keys.openssl("pkey -in p384.pem -pubout -out p384.public.pem");
        keys.openssl("genpkey -algorithm ed25519 -out ed25519.pem");
        keys.openssl("pkey -in ed25519.pem -pubout -out ed25519.public.pem");
        keys
    }

    fn openssl(&self, arguments: &str) {
        let run = Command::new("openssl").args(arguments.split(' ')).current_dir(self.folder.path()).output();
        let run = run.unwrap_or_else(|error| panic!("openssl: {error}; tests/run installs it"));
        assert!(run.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&run.stderr));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// What a connection says of `tls` to show the certificate of `name` and to trust `ca`.
    pub(crate) fn tls(&self, name: &str) -> karez_api::Json {
        serde_json::json!({"ca": self.text("ca.pem"), "only_ca": true, "certificate": self.text(&format!("{name}.pem")),
            "key": self.text(&format!("{name}.key"))})
    }
}
