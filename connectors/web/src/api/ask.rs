//! One request of a stream: what it is made of, and the context that its expressions see in place of a record.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use karez_api::{
    Body, Checker, Escape, Fault, Json, JsonMap, Millis, Path, Place, Problem, Record, Text, Value,
};
use karez_net::{Connection, Rules, Tally};
use reqwest::Url;
use serde_json::json;

use super::page::Into;
use super::state::Token;
use crate::http::{FarEnd, Request, Settings, append, as_record};

/// A request, compiled.
pub(super) struct Ask {
    request: Request,
    /// Where the path is one template and nothing else: it may yield a whole address, of the same host.
    whole: Option<Text>,
    /// The path of the API's own address.
    prefix: String,
    body: Option<Value>,
    form: Vec<(String, Value)>,
    /// Compiled places in the JSON body, by how they are written.
    places: BTreeMap<String, Place>,
}

/// What of a file a request is made of.
pub(super) struct Asked<'a> {
    pub(super) method: Option<&'a str>,
    pub(super) path: Option<&'a str>,
    pub(super) query: &'a BTreeMap<String, Json>,
    pub(super) headers: &'a BTreeMap<String, String>,
    pub(super) body: Option<&'a Json>,
    pub(super) form: &'a BTreeMap<String, Json>,
    pub(super) into: Vec<&'a Into>,
}

/// Where the API is.
pub(super) struct Api {
    pub(super) far_end: FarEnd,
    /// The path of its own address.
    pub(super) prefix: String,
}

/// What goes with each request beside what the file says.
pub(super) struct Manner {
    pub(super) accepts: Option<&'static [&'static str]>,
    pub(super) rules: Option<Arc<Rules>>,
    pub(super) tally: Arc<Tally>,
}

/// What expressions of a request see.
#[derive(Debug, Clone, Default)]
pub(super) struct Context {
    pub(super) parent: Option<Json>,
    pub(super) from: Option<Json>,
    pub(super) to: Option<Json>,
    pub(super) job: Option<Json>,
}

impl Context {
    /// As a record. What there is none of is absent.
    pub(super) fn record(&self, token: &Token, size: Option<u64>, now: Millis) -> Record {
        let mut window = JsonMap::new();
        window.extend(self.from.clone().map(|from| ("from".to_owned(), from)));
        window.extend(self.to.clone().map(|to| ("to".to_owned(), to)));
        let mut page = JsonMap::new();
        match token {
            Token::First | Token::Url(_) => None,
            Token::Cursor(token) => page.insert("token".into(), token.clone()),
            Token::Number(number) => page.insert("number".into(), json!(number)),
            Token::Offset(offset) => page.insert("offset".into(), json!(offset)),
        };
        page.extend(size.map(|size| ("size".to_owned(), json!(size))));
        let mut all = JsonMap::new();
        all.insert("window".into(), window.into());
        all.insert("page".into(), page.into());
        all.extend(self.parent.clone().map(|parent| ("parent".to_owned(), parent)));
        all.extend(self.job.clone().map(|job| ("job".to_owned(), job)));
        as_record(Body::from_tree(all.into()), now)
    }
}

impl Ask {
    pub(super) fn check(cx: &Checker<'_>, at: &Path, api: &Api, asked: &Asked<'_>) -> Option<Self> {
        if asked.body.is_some() && !asked.form.is_empty() {
            let message = "a request has a body or a form, not both";
            cx.report(Problem::error("bad-body", at.field("form"), message).on_key());
            return None;
        }
        let carries = asked.body.is_some() || !asked.form.is_empty();
        let settings = Settings {
            url: None,
            connection: None,
            path: asked.path,
            method: asked.method.unwrap_or(if carries { "POST" } else { "GET" }),
            headers: asked.headers,
            query: asked.query,
            allow_private: &[],
        };
        let alone = asked.path.filter(|path| is_alone(path));
        let whole = match alone {
            None => Some(None),
            Some(path) => cx.text(&at.field("path"), path, Escape::None).map(Some),
        };
        let settings = Settings { path: if alone.is_some() { None } else { settings.path }, ..settings };
        let request = Request::behind(cx, at, &api.far_end, &settings);
        let body = match asked.body {
            None | Some(Json::Null) => Some(None),
            Some(setting) => cx.value(&at.field("body"), setting).map(Some),
        };
        let form: Vec<_> = asked
            .form
            .iter()
            .filter_map(|(name, setting)| {
                Some((name.clone(), cx.value(&at.field("form").field(name.as_str()), setting)?))
            })
            .collect();
        let mut places = BTreeMap::new();
        for into in &asked.into {
            match into {
                Into::Body(path) if asked.body.is_some() => {
                    places.insert(path.clone(), cx.place(&at.field("page").field("into"), path)?);
                }
                Into::Body(_) => {
                    let message = "there is no JSON body to put it into";
                    let help = "set `body: {}`";
                    cx.report(Problem::error("bad-page", at.field("page"), message).help(help));
                    return None;
                }
                _ => {}
            }
        }
        (form.len() == asked.form.len()).then_some(())?;
        Some(Self { request: request?, whole: whole?, prefix: api.prefix.clone(), body: body?, form, places })
    }

    /// # Errors
    /// As the connection's opening.
    pub(super) fn open(&self, shared: &karez_api::Shared) -> Result<Arc<Connection>, Fault> {
        self.request.open(shared)
    }

    /// The request itself. `puts` go where they belong; `whole` is an address that the far end gave.
    ///
    /// # Errors
    /// An expression cannot be computed in this context, or the address cannot be made.
    pub(super) async fn made(
        &self,
        connection: &Connection,
        context: &Record,
        puts: &[(&Into, Json)],
        whole: Option<&str>,
        manner: &Manner,
    ) -> Result<karez_net::Request, Fault> {
        connection.ready().await?;
        let Parts { target, mut headers, body, form } = self.parts(context, puts)?;
        let own = self.given(context)?;
        let url = match (whole, own) {
            (Some(whole), _) => connection.url(whole)?,
            (None, Some(own)) => connection.url(&behind(&self.prefix, &own, &target))?,
            (None, None) => connection.url(&target)?,
        };
        let (bytes, media_type) = match body {
            Some(body) => (Bytes::from(body.to_string()), Some("application/json")),
            None if !self.form.is_empty() => (Bytes::from(form), Some("application/x-www-form-urlencoded")),
            None => (Bytes::new(), None),
        };
        if let Some(media_type) = media_type {
            headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static(media_type));
        }
        if let Some(accepts) = manner.accepts
            && let Ok(value) = HeaderValue::from_str(&accepts.join(", "))
        {
            headers.entry(header::ACCEPT).or_insert(value);
        }
        let mut request = karez_net::Request::new(self.request.method.clone(), url);
        request.headers = headers;
        request.body = bytes;
        // What is read may be asked for again at once; longer waits are the engine's.
        request.retries = self.request.method == Method::GET;
        request.accepts = manner.accepts;
        request.rules = manner.rules.clone();
        request.tally = Some(Arc::clone(&manner.tally));
        Ok(request)
    }

    /// The address that an answer gave, where that is all of the path.
    ///
    /// # Errors
    /// An expression cannot be computed in this context.
    pub(super) fn given(&self, context: &Record) -> Result<Option<String>, Fault> {
        self.whole.as_ref().map(|text| text.eval(context)).transpose()
    }

    /// What of a request the file and the page say, without a connection.
    ///
    /// # Errors
    /// An expression cannot be computed in this context.
    pub(super) fn parts(&self, context: &Record, puts: &[(&Into, Json)]) -> Result<Parts, Fault> {
        let address = self.request.address(context)?;
        let mut headers: HeaderMap = address.headers.into_iter().collect();
        let mut target = format!("{}{}", self.prefix, address.target);
        let mut body =
            self.body.as_ref().map(|body| body.eval(context)).transpose()?.map(Option::unwrap_or_default);
        let mut form = String::new();
        for (name, value) in &self.form {
            if let Some(value) = value.eval(context)? {
                append(&mut form, name, &value)?;
            }
        }
        for (into, value) in puts {
            match into {
                Into::Query(name) => {
                    target = with_parameter(&target, name, value)?;
                }
                Into::Form(name) => append(&mut form, name, value)?,
                Into::Header(name) => {
                    let value = HeaderValue::from_str(&text(value));
                    let value =
                        value.map_err(|_| Fault::service("the page's token cannot stand in a header"))?;
                    headers.insert(name.clone(), value);
                }
                Into::Body(path) => {
                    if let (Some(body), Some(place)) = (&mut body, self.places.get(path)) {
                        place.put(body, value.clone())?;
                    }
                }
            }
        }
        Ok(Parts { target, headers, body, form })
    }

    pub(super) fn method(&self) -> &Method {
        &self.request.method
    }
}

/// A request without the address that it goes behind.
pub(super) struct Parts {
    /// Path and query.
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Json>,
    pub(super) form: String,
}

/// Whether a path is one template and nothing else.
pub(super) fn is_alone(path: &str) -> bool {
    let inner = path.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
    inner.is_some_and(|inner| !inner.contains(['{', '}', '#']))
}

/// An address that an answer gave, with the parameters of the target that has no path.
fn behind(prefix: &str, given: &str, target: &str) -> String {
    let is_whole = given.starts_with("https://") || given.starts_with("http://");
    let slash = if is_whole || given.starts_with('/') { "" } else { "/" };
    let begun = if is_whole { given.to_owned() } else { format!("{prefix}{slash}{given}") };
    match target.split_once('?') {
        Some((_, query)) if !query.is_empty() => {
            let mark = if begun.contains('?') { '&' } else { '?' };
            format!("{begun}{mark}{query}")
        }
        _ => begun,
    }
}

/// The target with one more parameter, in place of one of that name.
fn with_parameter(target: &str, name: &str, value: &Json) -> Result<String, Fault> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let kept = form_urlencoded::parse(query.as_bytes()).filter(|(known, _)| known != name);
    let mut query: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).finish();
    append(&mut query, name, value)?;
    Ok(format!("{path}?{query}"))
}

fn text(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// An address without what the connection adds by itself to each request: it may be a secret, and is not saved.
pub(super) fn bare(url: &str, own: &[String]) -> String {
    let Ok(mut url) = Url::parse(url) else { return url.to_owned() };
    let kept: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| !own.iter().any(|own| own == name))
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    if url.query().is_some() && kept.len() < url.query_pairs().count() {
        url.set_query(None);
        if !kept.is_empty() {
            url.query_pairs_mut().extend_pairs(kept);
        }
    }
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_replaces_the_parameter_that_was_there() {
        let target = with_parameter("/a?page=1&q=x%20y", "page", &json!(2)).unwrap();
        assert_eq!(target, "/a?q=x+y&page=2");
        assert_eq!(with_parameter("/a", "after", &json!("ä&b")).unwrap(), "/a?after=%C3%A4%26b");
    }

    #[test]
    fn what_a_connection_adds_is_not_kept_in_a_next_address() {
        let own = ["access_token".to_owned()];
        assert_eq!(bare("https://a.b/c?access_token=s&after=1", &own), "https://a.b/c?after=1");
        assert_eq!(bare("https://a.b/c?access_token=s", &own), "https://a.b/c");
        assert_eq!(bare("https://a.b/c?x=%20y", &own), "https://a.b/c?x=%20y");
    }

    #[test]
    fn an_address_that_an_answer_gave_keeps_what_stands_in_it() {
        assert_eq!(behind("/v1", "https://a.b/x?y=1", "/v1/?z=2"), "https://a.b/x?y=1&z=2");
        assert_eq!(behind("/v1", "/files/7", "/v1/"), "/v1/files/7");
        assert!(is_alone("{{job.url}}") && !is_alone("/{{job.url}}") && !is_alone("{{a}}/{{b}}"));
    }
}
