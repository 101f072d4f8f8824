//! Requests to verdicts: nothing is taken that does not prove itself, and nothing that does is called a forgery.

use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use karez_api::{Decode, Endpoint, Json, Mount, Opened, RequestHead, SourceContext};
use serde_json::json;
use sha1::Sha1;
use sha2::digest::Digest;
use sha2::{Sha256, Sha512};

use crate::lent::{Kept, Mounted, Standing};

/// How requests to an endpoint prove themselves.
enum Proof {
    /// Header, prefix, and the right codes of a body.
    Code(&'static str, &'static str, fn(&[u8]) -> [String; 2]),
    /// Header, prefix in any case, and the right rest.
    Token(&'static str, &'static str, [&'static str; 2]),
    Nothing,
    /// Nothing that is made here: whatever is taken is forged.
    Elsewhere,
}

const SECRETS: [&str; 2] =
    ["key-one", "another key that is longer than the block of sha256, which is 64 bytes long"];

fn endpoints() -> [(Proof, Decode, Json); 11] {
    let hmac = |algorithm, encoding, prefix| json!({"hmac": {"algorithm": algorithm, "header": "X-Code", "encoding": encoding, "prefix": prefix, "secret": SECRETS}});
    [
        (
            Proof::Code("x-code", "sha256=", |body| {
                SECRETS.map(|key| hex::encode(mac::<Sha256>(64, key, body)))
            }),
            Decode::Json,
            json!({"verify": hmac("sha256", "hex", "sha256="), "delivery_id": "$.id", "event_type": "$.type", "events": ["a", "b"]}),
        ),
        (
            Proof::Code("x-code", "", |body| SECRETS.map(|key| BASE64.encode(mac::<Sha1>(64, key, body)))),
            Decode::Json,
            json!({"verify": hmac("sha1", "base64", ""), "delivery_id": {"header": "X-Id"}}),
        ),
        (
            Proof::Code("x-code", "v0=", |body| {
                SECRETS.map(|key| hex::encode(mac::<Sha512>(128, key, body)))
            }),
            Decode::Bytes,
            json!({"verify": hmac("sha512", "hex", "v0="), "event_type": {"header": "X-Type"}, "events": ["a"]}),
        ),
        (
            Proof::Token("authorization", "bearer ", SECRETS),
            Decode::Json,
            json!({"verify": {"token": {"token": SECRETS}}}),
        ),
        (
            Proof::Token("x-token", "", ["t", "t"]),
            Decode::Text,
            json!({"verify": {"token": {"header": "X-Token", "token": "t"}}, "methods": ["POST", "PUT"]}),
        ),
        (
            Proof::Token("authorization", "basic ", ["dTpwOnc=", "dTpwOnc"]),
            Decode::Json,
            json!({"verify": {"basic": {"username": "u", "password": "p:w"}}}),
        ),
        (
            Proof::Nothing,
            Decode::Json,
            json!({"verify": {"none": {"reason": "fuzzed"}}, "delivery_id": "$.id"}),
        ),
        elsewhere(
            json!({"jwt": {"algorithm": "HS256", "secret": SECRETS, "header": "X-Token", "body_claim": "sha256", "max_age": "5m"}}),
        ),
        elsewhere(
            json!({"message_signature": {"algorithm": "hmac-sha256", "secret": SECRETS, "components": ["content-digest"]}}),
        ),
        elsewhere(json!({"provider": "sns", "parameters": {"topics": ["arn"]}})),
        elsewhere(json!({"jwt": {"algorithm": "EdDSA", "jwks": "https://127.0.0.1:1/jwks"}})),
    ]
}

fn elsewhere(verify: Json) -> (Proof, Decode, Json) {
    (Proof::Elsewhere, Decode::Json, json!({"verify": verify}))
}

/// RFC 2104.
fn mac<D: Digest>(block: usize, key: &str, body: &[u8]) -> Vec<u8> {
    let mut padded = if key.len() > block { D::digest(key).to_vec() } else { key.as_bytes().to_vec() };
    padded.resize(block, 0);
    let under = |pad: u8| padded.iter().map(|byte| byte ^ pad).collect::<Vec<u8>>();
    let inner = D::new().chain_update(under(0x36)).chain_update(body).finalize();
    D::new().chain_update(under(0x5c)).chain_update(inner).finalize().to_vec()
}

struct Served {
    proof: Proof,
    decode: Decode,
    endpoint: Arc<dyn Endpoint>,
    kept: Arc<Kept>,
    _mount: Mount,
}

static SERVED: LazyLock<Vec<Served>> = LazyLock::new(|| endpoints().into_iter().map(serve).collect());

fn serve((proof, decode, mut settings): (Proof, Decode, Json)) -> Served {
    settings["path"] = "/p".into();
    let (kept, mounted) = (Arc::new(Kept::default()), Arc::new(Mounted::default()));
    // Nothing is fetched: no request is let through to where keys are asked for.
    let connections = karez_net::Connections::new(Arc::new(Standing), None, karez_net::Options::default());
    let context = SourceContext {
        pipeline: "pipeline".into(),
        source: "source".into(),
        positions: Default::default(),
        clock: Arc::new(Standing),
        tasks: Arc::new(Standing),
        shared: karez_api::Shared::default().with(Arc::new(connections)),
        ingress: Arc::clone(&mounted) as _,
        intake: Arc::clone(&kept) as _,
        decode,
        timetable: None,
        once: false,
        runs: Arc::new(karez_api::NoRuns),
    };
    let Opened::Push(mount) = run(crate::lent::webhook(settings).open(context)).unwrap() else {
        panic!("a webhook is called, not asked")
    };
    let endpoint = mounted.0.lock().unwrap().take().unwrap();
    Served { proof, decode, endpoint, kept, _mount: mount }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// The first byte chooses the endpoint; then the method and `name: value` in lines, an empty line, the body. In a
/// value, `{one}` and `{two}` stand for the right proofs.
pub fn webhook(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else { return };
    let served = &SERVED[usize::from(*choice) % SERVED.len()];
    let split = data.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = split.map_or((data, &[][..]), |at| (&data[..at], &data[at + 2..]));
    let Some(request) = request(head, served.proof.right(body)) else { return };
    let head = || RequestHead {
        parts: request.clone().into_parts().0,
        peer: std::net::SocketAddr::from(([127, 0, 0, 1], 1)),
        certificate: None,
    };
    // As the ingress does it: what is not admitted is not called.
    let answer = match served.endpoint.admit(&head()) {
        Ok(()) => run(served.endpoint.call(head(), Bytes::copy_from_slice(body))),
        Err(refusal) => refusal,
    };
    let records: Vec<_> = served.kept.records.lock().unwrap().drain(..).collect();
    let refused: Vec<_> = served.kept.refused.lock().unwrap().drain(..).collect();
    let genuine = served.proof.holds(request.headers(), body);
    if records.is_empty() {
        // Nothing is fetched here, so a key that has to be cannot be had.
        let lacks_a_key = answer.status() == StatusCode::SERVICE_UNAVAILABLE && refused == ["keys"];
        assert!(lacks_a_key || answer.status().is_client_error() && refused.len() == 1, "{answer:?}");
        assert!(
            !genuine || answer.status() != StatusCode::UNAUTHORIZED,
            "a genuine request was called a forgery"
        );
        return;
    }
    assert!(genuine, "a forged request was taken");
    let record = &records[0];
    assert_eq!((records.len(), &record.body().bytes()[..]), (1, body));
    assert!(!served.proof.is_credential() || !record.meta().headers.contains_key(served.proof.header()));
    let unreadable = served.decode != Decode::Bytes && record.body().tree().is_err();
    let expected = if unreadable { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    assert_eq!((answer.status(), refused.len()), (expected, usize::from(unreadable)));
}

fn request(head: &[u8], right: [String; 2]) -> Option<Request<()>> {
    let mut lines = head.split(|byte| *byte == b'\n');
    let method = Method::from_bytes(lines.next()?).ok()?;
    let mut request = Request::builder().method(method).uri("/webhooks/p").body(()).ok()?;
    for line in lines.take(20) {
        let line = String::from_utf8_lossy(line);
        let (name, value) = line.split_once(':')?;
        let value = value.replace("{one}", &right[0]).replace("{two}", &right[1]);
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        request.headers_mut().append(name, HeaderValue::from_bytes(value.trim().as_bytes()).ok()?);
    }
    Some(request)
}

impl Proof {
    /// What proves this body.
    fn right(&self, body: &[u8]) -> [String; 2] {
        match self {
            Self::Code(_, prefix, codes) => codes(body).map(|code| format!("{prefix}{code}")),
            Self::Token(_, prefix, tokens) => tokens.map(|token| format!("{prefix}{token}")),
            Self::Nothing | Self::Elsewhere => Default::default(),
        }
    }

    /// Whether the headers prove this body.
    fn holds(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        let only = |name: &str| {
            let mut values = headers.get_all(name).iter();
            values
                .next()
                .filter(|_| values.next().is_none())
                .map(|value| String::from_utf8_lossy(value.as_bytes()))
        };
        match self {
            Self::Nothing => true,
            Self::Elsewhere => false,
            Self::Code(name, prefix, codes) => {
                let Some(given) = only(name) else { return false };
                let Some(given) = given.strip_prefix(prefix) else { return false };
                codes(body).iter().any(|code| match code.strip_suffix('=') {
                    // The base64 of SHA-1 takes one `=`, which may be left out.
                    Some(short) => given == *code || given == short,
                    None => given.eq_ignore_ascii_case(code),
                })
            }
            Self::Token(name, prefix, tokens) => {
                let Some(given) = only(name) else { return false };
                let Some((start, rest)) = given.split_at_checked(prefix.len()) else { return false };
                let rest = if prefix.is_empty() { rest } else { rest.trim_ascii() };
                start.eq_ignore_ascii_case(prefix) && tokens.contains(&rest)
            }
        }
    }

    /// Whether the header holds a secret rather than a code for one body.
    fn is_credential(&self) -> bool {
        matches!(self, Self::Token(..))
    }

    fn header(&self) -> &'static str {
        match self {
            Self::Code(header, ..) | Self::Token(header, ..) => header,
            Self::Nothing | Self::Elsewhere => "authorization",
        }
    }
}
