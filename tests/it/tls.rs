//! The listener of webhooks speaks TLS, and knows senders by their certificates.

use std::process::Command;

use karez_tests::{Daemon, Folder, Launch, eventually};

const PIPELINE: &str = "sources:\n\
                        \x20 open: {webhook: {path: /open, verify: {none: {reason: test}}}}\n\
                        \x20 mutual: {webhook: {path: /mutual, verify: {mtls: {names: ['spiffe://example.com/hooks']}}}}\n\
                        sink: {blackhole: {}}\n";

/// Certificates, made by a root of their own.
struct Pki<'f>(&'f Folder);

impl Pki<'_> {
    fn root(&self, name: &str) {
        let text = format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={name} -keyout {name}.key -out {name}.pem"
        );
        self.openssl(&text);
    }

    /// `alternative` is like `IP:127.0.0.1`.
    fn issue(&self, root: &str, name: &str, alternative: &str) {
        self.openssl(&format!("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"));
        self.0.write(
            &format!("{name}.ext"),
            format!("subjectAltName={alternative}\nbasicConstraints=CA:FALSE\n"),
        );
        self.openssl(&format!("x509 -req -in {name}.csr -CA {root}.pem -CAkey {root}.key -CAcreateserial -days 2 -extfile {name}.ext -out {name}.pem"));
    }

    fn openssl(&self, arguments: &str) {
        let output =
            Command::new("openssl").args(arguments.split(' ')).current_dir(self.0.at("")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Posts with curl: its status, 0 where TLS was not agreed on; and what curl says.
fn post(daemon: &Daemon, path: &str, client: Option<&str>) -> (u16, String) {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--cacert", "root.pem", "-o", "/dev/null", "-w", "%{http_code}", "-d", "{}"]);
    curl.args(["-H", "Content-Type: application/json"]).current_dir(daemon.at(""));
    if let Some(client) = client {
        curl.args(["--cert", &format!("{client}.pem"), "--key", &format!("{client}.key")]);
    }
    let output = curl.arg(format!("https://{}{path}", daemon.ingress())).output().unwrap();
    let status = String::from_utf8_lossy(&output.stdout).parse().unwrap_or(0);
    (status, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn senders_are_known_by_their_certificates() {
    let folder = Folder::new().with("tls", PIPELINE);
    let pki = Pki(&folder);
    pki.root("root");
    pki.issue("root", "server", "IP:127.0.0.1");
    pki.root("clients");
    pki.issue("clients", "right", "URI:spiffe://example.com/hooks");
    pki.issue("clients", "other", "URI:spiffe://example.com/others");
    pki.root("strangers");
    pki.issue("strangers", "forged", "URI:spiffe://example.com/hooks");
    let mut launch = Launch::default();
    for (name, file) in [("CERTIFICATE", "server.pem"), ("KEY", "server.key"), ("CLIENT_CA", "clients.pem")] {
        launch.set(&format!("KAREZ_TLS_{name}"), &folder.at(file).to_string_lossy());
    }
    let daemon = Daemon::start_as(folder, launch);
    assert_eq!(post(&daemon, "/webhooks/open", None).0, 200, "{}", daemon.stderr());
    assert_eq!(post(&daemon, "/webhooks/mutual", Some("right")).0, 200);
    assert_eq!(post(&daemon, "/webhooks/mutual", None).0, 401);
    assert_eq!(post(&daemon, "/webhooks/mutual", Some("other")).0, 401);
    assert_eq!(post(&daemon, "/webhooks/mutual", Some("forged")).0, 0, "it is of no root that is believed");

    // A certificate that is replaced is taken over without a restart; one that cannot be used is not.
    daemon.write("server.key", "nonsense");
    daemon.says("the old certificate stays");
    assert_eq!(post(&daemon, "/webhooks/open", None).0, 200);
    Pki(&daemon).issue("root", "server", "IP:127.0.0.1");
    daemon.says("the certificate was read again");
    eventually("it answers with the new one", || post(&daemon, "/webhooks/open", None).0 == 200);
}

#[test]
fn files_that_do_not_fit_are_named_at_the_start() {
    let folder = Folder::new().with("tls", PIPELINE);
    let mut command =
        folder.command(["run", "pipelines", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let said = command.env("KAREZ_TLS_CERTIFICATE", "server.pem").output().unwrap();
    assert!(String::from_utf8_lossy(&said.stderr).contains("TLS needs both tls_certificate and tls_key"));
    let said = command.env("KAREZ_TLS_KEY", "server.key").output().unwrap();
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(
        !said.status.success() && text.contains("server.key holds no private key in PEM")
            || text.contains("cannot read server.pem"),
        "{text}"
    );
}
