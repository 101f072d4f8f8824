//! A browser as far as the server's own pages need one: cookies, redirects and forms.

use std::collections::BTreeMap;

use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Url};

pub(crate) const CALLBACK: &str = "http://127.0.0.1:7070/oauth/callback";

pub(crate) struct Browser {
    client: Client,
    cookies: BTreeMap<String, String>,
}

/// Where it ended.
enum Page {
    /// It was sent to us.
    Callback(Url),
    Form {
        action: Url,
        fields: BTreeMap<String, String>,
    },
    Other(String),
}

impl Browser {
    pub(crate) fn new() -> Self {
        let client = Client::builder().redirect(Policy::none()).no_proxy().build().unwrap();
        Self { client, cookies: BTreeMap::new() }
    }

    /// Logs in as somebody and agrees to all. Yields the query of the callback.
    pub(crate) async fn log_in(&mut self, location: &Url, who: &str) -> String {
        match self.walk(location, who).await {
            Page::Callback(url) => url.query().unwrap().to_owned(),
            Page::Form { action, .. } => panic!("still at {action}"),
            Page::Other(text) => panic!("ended at {text}"),
        }
    }

    /// The same where a code that was shown is typed.
    pub(crate) async fn confirm(&mut self, location: &Url, who: &str) {
        match self.walk(location, who).await {
            Page::Other(text) => assert!(text.contains("successful"), "{text}"),
            _ => panic!("it did not end"),
        }
    }

    async fn walk(&mut self, location: &Url, who: &str) -> Page {
        let mut page = self.open(Method::GET, location.clone(), None).await;
        for _ in 0..5 {
            let Page::Form { action, mut fields } = page else { break };
            if fields.contains_key("login") || fields.get("prompt").is_some_and(|prompt| prompt == "login") {
                fields.insert("login".into(), who.to_owned());
                fields.insert("password".into(), "any".into());
            }
            page = self.open(Method::POST, action, Some(&fields)).await;
        }
        page
    }

    async fn open(&mut self, method: Method, url: Url, fields: Option<&BTreeMap<String, String>>) -> Page {
        let (mut method, mut url, mut fields) = (method, url, fields);
        loop {
            if url.as_str().starts_with(CALLBACK) {
                return Page::Callback(url);
            }
            let cookies: Vec<String> =
                self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let mut request =
                self.client.request(method.clone(), url.clone()).header(COOKIE, cookies.join("; "));
            if let Some(fields) = fields {
                let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
                request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
            }
            let answer = request.send().await.unwrap();
            for cookie in answer.headers().get_all(SET_COOKIE) {
                let pair = cookie.to_str().unwrap().split(';').next().unwrap();
                let (name, value) = pair.split_once('=').unwrap();
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
            if let Some(next) = answer.headers().get(LOCATION) {
                url = url.join(next.to_str().unwrap()).unwrap();
                (method, fields) = (Method::GET, None);
                continue;
            }
            let status = answer.status();
            let text = String::from_utf8(answer.bytes().await.unwrap().to_vec()).unwrap();
            return match form(&url, &text).filter(|_| status.is_success()) {
                Some(form) => form,
                None => Page::Other(format!("{status}: {text}")),
            };
        }
    }
}

/// The form of a page, with its hidden fields.
fn form(page: &Url, text: &str) -> Option<Page> {
    let form = &text[text.find("<form")?..];
    let action = page.join(attribute(form, "action")?).unwrap();
    let inputs = form.split("<input").skip(1).filter_map(|input| {
        Some((attribute(input, "name")?.to_owned(), attribute(input, "value").unwrap_or_default().to_owned()))
    });
    Some(Page::Form { action, fields: inputs.collect() })
}

fn attribute<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let tag = &text[..text.find('>')?];
    let rest = tag.split_once(&format!("{name}=\""))?.1;
    rest.split('"').next()
}
