//! What a provider asks once, before or between its events, and the answer that it wants. Nothing
//! of it reaches the pipeline.

mod payload;
mod spec;

use ::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use bytes::Bytes;
use karez_api::{Checker, Json, Path, Response, Secret};
use reqwest::Url;
use subtle::ConstantTimeEq;

use super::answer::{self, Refusal};
use super::verify::{Address, BodyPath, Encoding, Given, Mac, Message, Request, plain};

pub(super) use spec::HandshakeSpec;

use payload::Payload;
use spec::Stage;

/// All handshakes of a webhook.
#[derive(Default)]
pub(super) struct Handshakes(Vec<Handshake>);

struct Handshake {
    stage: Stage,
    method: Method,
    conditions: Vec<Condition>,
    /// The query parameter and what it must be.
    token: Option<(String, Secret)>,
    hmac: Option<(Mac, Message, Encoding)>,
    status: StatusCode,
    headers: Headers,
    body: Payload,
    /// The address in the request that is fetched before it is answered.
    visit: Option<Address>,
    /// What of it is a secret for the operator.
    hand_over: Option<Message>,
    warning: Option<String>,
}

/// What is answered, and what is done before.
pub(super) struct Answered {
    pub(super) response: Response,
    pub(super) visit: Option<Url>,
    /// For the operator.
    pub(super) secret: Option<String>,
    /// What an operator should know.
    pub(super) warning: Option<String>,
}

type Headers = Vec<(HeaderName, Message)>;

struct Condition {
    of: Of,
    is: Option<Json>,
    absent: bool,
}

enum Of {
    Header(HeaderName),
    Query(String),
    Field(BodyPath),
}

/// What handshakes need of `verify`.
pub(super) struct Secrets<'a> {
    pub(super) verify_token: Option<&'a Secret>,
    pub(super) secrets: &'a [String],
    /// The file waits for its secret.
    pub(super) pending: bool,
}

/// Longest text that is hashed for whoever asks.
const LONGEST_CHALLENGE: usize = 256;

impl Handshakes {
    /// Those of a file at `handshakes`, and those of its provider.
    pub(super) fn check(
        cx: &Checker<'_>,
        own: Vec<HandshakeSpec>,
        of_provider: &[HandshakeSpec],
        with: &Secrets<'_>,
    ) -> Option<Self> {
        let at = Path::root().field("handshakes");
        let counts = |spec: &HandshakeSpec| with.pending || !spec.hands_over();
        let own = own.into_iter().enumerate().filter(|(_, spec)| counts(spec));
        let own = own.map(|(index, spec)| spec.check(cx, &at.index(index), with));
        let provider = Path::root().field("verify").field("provider");
        let inherited = of_provider
            .iter()
            .filter(|spec| counts(spec))
            .map(|spec| spec.clone().check(cx, &provider, with));
        own.chain(inherited).collect::<Option<_>>().map(Self)
    }

    /// Whether an address is fetched for one of them.
    pub(super) fn visit(&self) -> bool {
        self.0.iter().any(|one| one.visit.is_some())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the head is that of a request which is answered without being verified.
    pub(super) fn may_be_unverified(&self, request: &Request<'_>) -> bool {
        self.0.iter().any(|one| one.stage == Stage::Before && one.fits_head(request))
    }

    /// Whether the head is that of a request which is answered once it is verified.
    pub(super) fn may_be_verified(&self, request: &Request<'_>) -> bool {
        self.0.iter().any(|one| one.stage == Stage::After && one.fits_head(request))
    }

    pub(super) fn before(&self, request: &Request<'_>) -> Option<Result<Answered, Refusal>> {
        self.answer(Stage::Before, request)
    }

    pub(super) fn after(&self, request: &Request<'_>) -> Option<Result<Answered, Refusal>> {
        self.answer(Stage::After, request)
    }

    fn answer(&self, stage: Stage, request: &Request<'_>) -> Option<Result<Answered, Refusal>> {
        let asked = self.0.iter().find(|one| one.stage == stage && one.fits(request))?;
        Some(asked.answer(request))
    }
}

impl Handshake {
    fn fits_head(&self, request: &Request<'_>) -> bool {
        let in_head = |condition: &&Condition| !matches!(condition.of, Of::Field(_));
        *request.method == self.method && self.conditions.iter().filter(in_head).all(|one| one.holds(request))
    }

    fn fits(&self, request: &Request<'_>) -> bool {
        *request.method == self.method && self.conditions.iter().all(|one| one.holds(request))
    }

    fn answer(&self, request: &Request<'_>) -> Result<Answered, Refusal> {
        if let Some((parameter, token)) = &self.token {
            let given = request.parameter(parameter).unwrap_or_default();
            if !bool::from(given.as_bytes().ct_eq(token.expose().as_bytes())) {
                return Err(answer::forbidden(&format!("{parameter} holds a wrong token")));
            }
        }
        let bad = |what: String| answer::bad_request("handshake", &what);
        let visit = self.visit.as_ref().map(|address| address.of(request)).transpose().map_err(bad)?;
        let response = self.filled_in(request).map_err(bad)?;
        let secret = self.hand_over.as_ref().map(|message| {
            let text = message.of(request, &Given::default())?.concat();
            String::from_utf8(text).map_err(|_| "the secret is not UTF-8".to_owned())
        });
        let secret = secret.transpose().map_err(bad)?;
        Ok(Answered { response, visit, secret, warning: self.warning.clone() })
    }

    fn filled_in(&self, request: &Request<'_>) -> Result<Response, String> {
        let hmac = self.hmac.as_ref().map(|hmac| self.hashed(request, hmac)).transpose()?;
        let given = Given::hmac(hmac.as_deref());
        let fill = |message: &Message| message.of(request, &given).map(|pieces| pieces.concat());
        let (body, content_type) = match &self.body {
            Payload::None => (Vec::new(), None),
            Payload::Text(message) => (fill(message)?, Some("text/plain")),
            Payload::Json(tree) => {
                let json = tree.filled_in(&|message| {
                    String::from_utf8(fill(message)?).map_err(|_| "the text is not UTF-8".into())
                })?;
                (serde_json::to_vec(&json).unwrap_or_default(), Some("application/json"))
            }
        };
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        // What was asked comes back: nothing may take it for a page.
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(content_type) = content_type {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        for (name, message) in &self.headers {
            let value =
                HeaderValue::from_bytes(&fill(message)?).map_err(|_| format!("{name} would be no header"))?;
            headers.insert(name.clone(), value);
        }
        Ok(response)
    }

    /// An unverified asker must not get a whole body signed with the secret that events are signed with:
    /// only what looks like a challenge is hashed.
    fn hashed(&self, request: &Request<'_>, hmac: &(Mac, Message, Encoding)) -> Result<String, String> {
        let (mac, of, encoding) = hmac;
        let message = of.of(request, &Given::default())?;
        let text = message.concat();
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.+/=".contains(byte);
        if text.is_empty() || text.len() > LONGEST_CHALLENGE || !text.iter().all(plain) {
            return Err("what is to be hashed does not look like a challenge".into());
        }
        Ok(encoding.encode(&mac.code(&message)))
    }
}

impl Condition {
    fn holds(&self, request: &Request<'_>) -> bool {
        let found = match &self.of {
            Of::Header(name) => {
                request.header(name).ok().and_then(|value| std::str::from_utf8(value).ok()).map(Json::from)
            }
            Of::Query(name) => request.parameter(name).ok().map(Json::from),
            Of::Field(path) => request.field(path).filter(|value| !value.is_null()).cloned(),
        };
        match (&self.is, found) {
            (_, None) => self.absent,
            (_, Some(_)) if self.absent => false,
            (None, Some(_)) => true,
            (Some(is), Some(found)) => plain(is).is_some() && plain(is) == plain(&found),
        }
    }
}
