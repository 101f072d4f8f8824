//! A web server that asks for certificates: nginx, as a child process.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use karez_tests::eventually;

use crate::keys::Keys;

pub(crate) struct Nginx {
    process: Child,
    /// It wants a certificate that it knows. `/away` points to somebody else, who takes any, and none.
    pub(crate) url: String,
}

impl Nginx {
    /// Both answer with the subject of the certificate that they see.
    pub(crate) fn start(keys: &Keys) -> Self {
        let held = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [address, other] = held.map(|listener| listener.local_addr().unwrap().to_string());
        let folder = keys.path("").display().to_string();
        let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let elsewhere = kinds.map(|kind| format!("{kind}_temp_path {folder}/{kind};")).join(" ");
        let settings = format!(
            r#"daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr;
            events {{}}
            http {{
                access_log off; {elsewhere} default_type application/json;
                ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.key;
                ssl_client_certificate {folder}/ca.pem;
                server {{
                    listen {address} ssl; ssl_verify_client on;
                    location / {{ return 200 '{{"subject": "$ssl_client_s_dn"}}'; }}
                    location /away {{ return 302 https://{other}/; }}
                }}
                server {{
                    listen {other} ssl; ssl_verify_client optional_no_ca;
                    location / {{ return 200 '{{"subject": "$ssl_client_s_dn"}}'; }}
                }}
            }}"#
        );
        fs::write(keys.path("nginx.conf"), settings).unwrap();
        let mut process = Command::new("/usr/sbin/nginx")
            .args(["-p", &folder, "-e", "stderr", "-c", "nginx.conf"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("nginx: {error}; tests/run installs it"));
        eventually("nginx listens", || {
            assert!(process.try_wait().unwrap().is_none(), "nginx has ended");
            TcpStream::connect(&address).is_ok()
        });
        Self { process, url: format!("https://{address}") }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
