//! What a provider asks once, before or between its events, and the answer that it wants. Nothing
//! of it reaches the pipeline.

use std::collections::BTreeMap;

use ::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use bytes::Bytes;
use karez_api::{Checker, Json, Path, Problem, Response, Secret};
use schemars::JsonSchema;
use serde::Deserialize;
use subtle::ConstantTimeEq;

use super::answer::{self, Refusal};
use super::verify::{Algorithm, BodyPath, Encoding, Given, Mac, Message, Request, plain};
use super::{checked_method, header_name};

/// A request that is answered here, and how.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HandshakeSpec {
    /// Whether the request has to be verified like any other: `after` (the default), or `before` if it carries no proof.
    #[serde(default)]
    verification: Stage,
    /// Its method. Default: POST.
    method: Option<String>,
    /// What has to be true of it; all of these.
    #[serde(rename = "match")]
    conditions: Vec<ConditionSpec>,
    /// The query parameter that has to be equal to the `verify_token` of `verify`; else the answer is 403.
    verify_token: Option<String>,
    /// What `{hmac}` in the answer is.
    hmac: Option<HmacSpec>,
    /// What is answered.
    answer: AnswerSpec,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Stage {
    Before,
    #[default]
    After,
}

/// Something about one header, query parameter or field of the body.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ConditionSpec {
    /// A header.
    header: Option<String>,
    /// A query parameter.
    query: Option<String>,
    /// A field of the body, like `event.type`.
    body: Option<String>,
    /// What it has to be: text, a number, true or false. Default: anything, it only has to be there.
    is: Option<Json>,
    /// It has to be missing. Default: false.
    #[serde(default)]
    absent: bool,
}

/// A keyed hash with the first secret of `verify`.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HmacSpec {
    /// `sha1`, `sha256` or `sha512`.
    algorithm: Algorithm,
    /// What is hashed, like `{query:token}` or `{body:token}`.
    of: String,
    /// How it is written. Default: `hex`.
    #[serde(default)]
    encoding: Encoding,
}

/// Texts may hold `{body:FIELD}`, `{query:NAME}`, `{header:NAME}` and `{hmac}`.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AnswerSpec {
    /// Its status. Default: 200.
    #[serde(default = "ok")]
    status: u16,
    /// Headers beside the content type.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// A body of plain text. Default: none.
    text: Option<String>,
    /// A JSON body, in place of `text`.
    json: Option<Json>,
}

fn ok() -> u16 {
    200
}

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

enum Payload {
    None,
    Text(Message),
    Json(Tree),
}

/// JSON whose texts are templates.
enum Tree {
    Leaf(Json),
    Text(Message),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

/// What handshakes need of `verify`.
pub(super) struct Secrets<'a> {
    pub(super) verify_token: Option<&'a Secret>,
    pub(super) secrets: &'a [String],
}

/// Longest text that is hashed for whoever asks.
const LONGEST_CHALLENGE: usize = 256;

impl HandshakeSpec {
    pub(super) fn wants_verify_token(&self) -> bool {
        self.verify_token.is_some()
    }

    fn check(self, cx: &Checker<'_>, at: &Path, with: &Secrets<'_>) -> Option<Handshake> {
        let method = match self.method.as_deref() {
            None => Method::POST,
            // Some only look whether somebody is there.
            Some("HEAD") => Method::HEAD,
            Some(name) => checked_method(cx, &at.field("method"), name)?,
        };
        let match_at = at.field("match");
        if self.conditions.is_empty() {
            cx.report(Problem::error("missing-match", match_at, "every request would be answered so"));
            return None;
        }
        let conditions = self.conditions.into_iter().enumerate();
        let conditions: Option<Vec<_>> =
            conditions.map(|(index, spec)| spec.check(cx, &match_at.index(index))).collect();
        let token = match (self.verify_token, with.verify_token) {
            (None, _) => None,
            (Some(parameter), Some(token)) => Some((parameter, token.clone())),
            // Reported where the token is missing.
            (Some(_), None) => return None,
        };
        let hmac = match self.hmac {
            None => None,
            Some(spec) => Some(spec.check(cx, &at.field("hmac"), with)?),
        };
        let (status, headers, body) = self.answer.check(cx, &at.field("answer"))?;
        Some(Handshake {
            stage: self.verification,
            method,
            conditions: conditions?,
            token,
            hmac,
            status,
            headers,
            body,
        })
    }
}

impl ConditionSpec {
    fn check(self, cx: &Checker<'_>, at: &Path) -> Option<Condition> {
        let of = match (self.header, self.query, self.body) {
            (Some(name), None, None) => Of::Header(header_name(cx, &at.field("header"), &name)?),
            (None, Some(name), None) => Of::Query(name),
            (None, None, Some(path)) => Of::Field(
                BodyPath::parse(&path)
                    .map_err(|what| cx.report(Problem::error("bad-field", at.field("body"), what)))
                    .ok()?,
            ),
            _ => {
                let message = "it looks at exactly one of header, query and body";
                cx.report(Problem::error("ambiguous-place", at.clone(), message));
                return None;
            }
        };
        if self.absent && self.is.is_some() {
            cx.report(Problem::error("ambiguous-match", at.clone(), "what is absent has no value"));
            return None;
        }
        Some(Condition { of, is: self.is, absent: self.absent })
    }
}

impl HmacSpec {
    fn check(self, cx: &Checker<'_>, at: &Path, with: &Secrets<'_>) -> Option<(Mac, Message, Encoding)> {
        let Some(secret) = with.secrets.first() else {
            cx.report(Problem::error("missing-secret", at.clone(), "`verify` has no secret to hash with"));
            return None;
        };
        let message = template(cx, &at.field("of"), &self.of)?;
        Some((Mac::new(self.algorithm, secret.as_bytes())?, message, self.encoding))
    }
}

impl AnswerSpec {
    fn check(self, cx: &Checker<'_>, at: &Path) -> Option<(StatusCode, Headers, Payload)> {
        let status = StatusCode::from_u16(self.status).ok().filter(|status| status.is_success());
        if status.is_none() {
            cx.report(Problem::error("bad-status", at.field("status"), "it is not from 200 to 299"));
        }
        let headers: Option<Vec<_>> = self
            .headers
            .iter()
            .map(|(name, text)| {
                let place = at.field("headers").field(name);
                Some((header_name(cx, &place, name)?, template(cx, &place, text)?))
            })
            .collect();
        let body = match (self.text, self.json) {
            (None, None) => Payload::None,
            (Some(text), None) => Payload::Text(template(cx, &at.field("text"), &text)?),
            (None, Some(json)) => Payload::Json(tree(cx, &at.field("json"), json)?),
            (Some(_), Some(_)) => {
                cx.report(Problem::error("ambiguous-answer", at.clone(), "keep one of text and json"));
                return None;
            }
        };
        Some((status?, headers?, body))
    }
}

fn template(cx: &Checker<'_>, at: &Path, text: &str) -> Option<Message> {
    let fit = |message: Message| {
        message.has_only(&["header:NAME", "query:NAME", "body:FIELD", "hmac"]).map(|()| message)
    };
    Message::parse(text)
        .and_then(fit)
        .map_err(|what| cx.report(Problem::error("bad-message", at.clone(), what)))
        .ok()
}

fn tree(cx: &Checker<'_>, at: &Path, json: Json) -> Option<Tree> {
    Some(match json {
        Json::String(text) if text.contains('{') => Tree::Text(template(cx, at, &text)?),
        Json::Array(items) => {
            let items = items.into_iter().enumerate();
            Tree::List(items.map(|(index, item)| tree(cx, &at.index(index), item)).collect::<Option<_>>()?)
        }
        Json::Object(fields) => {
            let fields = fields.into_iter();
            let field = |(name, value)| Some((String::clone(&name), tree(cx, &at.field(name), value)?));
            Tree::Map(fields.map(field).collect::<Option<_>>()?)
        }
        leaf => Tree::Leaf(leaf),
    })
}

impl Handshakes {
    /// Those of a file at `handshakes`, and those of its provider.
    pub(super) fn check(
        cx: &Checker<'_>,
        own: Vec<HandshakeSpec>,
        of_provider: &[HandshakeSpec],
        with: &Secrets<'_>,
    ) -> Option<Self> {
        let at = Path::root().field("handshakes");
        let own = own.into_iter().enumerate();
        let own = own.map(|(index, spec)| spec.check(cx, &at.index(index), with));
        let provider = Path::root().field("verify").field("provider");
        let inherited = of_provider.iter().map(|spec| spec.clone().check(cx, &provider, with));
        own.chain(inherited).collect::<Option<_>>().map(Self)
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

    pub(super) fn before(&self, request: &Request<'_>) -> Option<Result<Response, Refusal>> {
        self.answer(Stage::Before, request)
    }

    pub(super) fn after(&self, request: &Request<'_>) -> Option<Result<Response, Refusal>> {
        self.answer(Stage::After, request)
    }

    fn answer(&self, stage: Stage, request: &Request<'_>) -> Option<Result<Response, Refusal>> {
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

    fn answer(&self, request: &Request<'_>) -> Result<Response, Refusal> {
        if let Some((parameter, token)) = &self.token {
            let given = request.parameter(parameter).unwrap_or_default();
            if !bool::from(given.as_bytes().ct_eq(token.expose().as_bytes())) {
                return Err(answer::forbidden(&format!("{parameter} holds a wrong token")));
            }
        }
        self.filled_in(request).map_err(|what| answer::bad_request("handshake", &what))
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

impl Tree {
    fn filled_in(&self, fill: &dyn Fn(&Message) -> Result<String, String>) -> Result<Json, String> {
        Ok(match self {
            Self::Leaf(leaf) => leaf.clone(),
            Self::Text(message) => Json::String(fill(message)?),
            Self::List(items) => {
                Json::Array(items.iter().map(|item| item.filled_in(fill)).collect::<Result<_, _>>()?)
            }
            Self::Map(fields) => {
                let field =
                    |(name, tree): &(String, Tree)| Ok::<_, String>((name.clone(), tree.filled_in(fill)?));
                Json::Object(fields.iter().map(field).collect::<Result<_, _>>()?)
            }
        })
    }
}
