//! Signed webhook requests of about 1 KiB, made before the clock starts.

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

pub(crate) const SECRET: &str = "bench-secret";
pub(crate) const PATH: &str = "/webhooks/bench";

/// Whole HTTP requests with distinct ids, as they go over the wire.
pub(crate) fn requests(n: usize, first: usize) -> Vec<Bytes> {
    let padding = "x".repeat(880);
    (first..first + n)
        .map(|n| {
            let body = format!(
                "{{\"id\":\"evt_{n:012}\",\"type\":\"customer.updated\",\"created\":{},\"data\":{{\"account\":{},\"note\":\"{padding}\"}}}}",
                1_700_000_000 + n,
                n % 1_000,
            );
            let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
            mac.update(body.as_bytes());
            let signature = hex::encode(mac.finalize().into_bytes());
            format!(
                "POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nx-signature: {signature}\r\ncontent-length: {}\r\n\r\n{body}",
                body.len(),
            )
            .into()
        })
        .collect()
}

/// The pipeline that takes them.
pub(crate) const PIPELINE: &str = r#"
name: bench
source:
  webhook:
    path: /bench
    verify: {hmac: {algorithm: sha256, header: X-Signature, secret: bench-secret}}
dedup: {key: $.id}
sink:
  blackhole: {}
"#;
