//! Answers that mean something else than their status says. The first rule that fits counts; what it says is acted
//! upon elsewhere.

use http::HeaderName;
use jsonpath_rust::parser::model::JpQuery;
use jsonpath_rust::query::js_path_process;
use karez_api::Json;

use crate::Response;
use crate::pick::Pick;
use crate::spec::{ErrorRule, Meaning};

/// Error rules, compiled: those of a connection, or of one request.
#[derive(Debug)]
pub struct Rules(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    status: Vec<u16>,
    headers: Vec<(HeaderName, String)>,
    body: Option<JpQuery>,
    is: Vec<Json>,
    means: Meaning,
}

impl Rules {
    /// # Errors
    /// Which rule, by its number, and what is wrong with which of its fields.
    pub fn new(rules: &[ErrorRule]) -> Result<Self, (usize, &'static str, String)> {
        let read = |(number, rule)| Rule::read(rule).map_err(|(field, message)| (number, field, message));
        rules.iter().enumerate().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// What an answer means by the first rule that fits it. `body` is its tree, once somebody has asked for it.
    pub(super) fn means(&self, answer: &Response, body: &mut Option<Json>) -> Option<Meaning> {
        self.0.iter().find(|rule| rule.fits(answer, body)).map(|rule| rule.means)
    }
}

impl Rule {
    fn read(rule: &ErrorRule) -> Result<Self, (&'static str, String)> {
        let header = |(name, value): (&String, &String)| {
            let name = name.parse().map_err(|_| ("header", format!("{name:?} is not a header's name")))?;
            Ok((name, value.clone()))
        };
        let query = |text: &String| match Pick::read(text).map_err(|what| ("body", what))? {
            Pick::Body(query) => Ok(query),
            _ => Err(("body", "must be a JSONPath, which begins with `$`".to_owned())),
        };
        Ok(Self {
            status: rule.status.clone(),
            headers: rule.header.iter().map(header).collect::<Result<_, _>>()?,
            body: rule.body.as_ref().map(query).transpose()?,
            is: rule.is.clone(),
            means: rule.means,
        })
    }

    fn fits(&self, answer: &Response, body: &mut Option<Json>) -> bool {
        let status = self.status.is_empty() || self.status.contains(&answer.status.as_u16());
        let header = |(name, value): &(HeaderName, String)| {
            answer.headers.get_all(name).iter().any(|found| found.as_bytes() == value.as_bytes())
        };
        status
            && self.headers.iter().all(header)
            && self.body.as_ref().is_none_or(|query| self.picks(query, answer, body))
    }

    fn picks(&self, query: &JpQuery, answer: &Response, body: &mut Option<Json>) -> bool {
        let body = body.get_or_insert_with(|| karez_api::parse_json(&answer.body).unwrap_or_default());
        let found = js_path_process(query, body).unwrap_or_default();
        found.into_iter().map(|found| found.val()).any(|value| match self.is.is_empty() {
            true => !matches!(value, Json::Null | Json::Bool(false)),
            false => self.is.contains(value),
        })
    }
}
