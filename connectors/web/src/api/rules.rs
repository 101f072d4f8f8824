//! Answers that mean something else than their status says. What concerns the client (try again, wait, renew the
//! credentials) goes to it; what concerns the reading (nothing here, leave out, stop) is judged here.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, StatusCode};
use karez_api::{Body, Checker, Fault, Form, Json, Millis, Path, Problem, Record, Value};
use karez_net::spec::{ErrorRule, Meaning};
use karez_net::{Failure, Rules};

use super::spec::{Action, RuleSpec};
use crate::http::as_record;

/// The rules of one stream.
#[derive(Default)]
pub(super) struct Judge {
    /// Those of the client.
    pub(super) client: Option<Arc<Rules>>,
    own: Vec<Rule>,
    /// Some of them look into bodies.
    pub(super) bodies: bool,
}

struct Rule {
    status: Vec<u16>,
    headers: Vec<(HeaderName, String)>,
    body: Option<Value>,
    is: Vec<Json>,
    action: Action,
}

/// What an answer comes to here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ruling {
    Nothing,
    Skip,
    Fail,
}

impl Judge {
    pub(super) fn check(cx: &Checker<'_>, at: &Path, specs: &[RuleSpec]) -> Option<Self> {
        let mut judge = Self { bodies: specs.iter().any(|spec| spec.body.is_some()), ..Self::default() };
        let (mut client, mut places) = (Vec::new(), Vec::new());
        let mut wrong = false;
        for (number, spec) in specs.iter().enumerate() {
            let at = at.index(number);
            if spec.status.is_empty() && spec.header.is_empty() && spec.body.is_none() {
                let message = "the rule fits every answer";
                cx.report(Problem::error("bad-rule", at, message).help("set status, header or body"));
                wrong = true;
                continue;
            }
            match meaning(spec.action) {
                Some(means) => {
                    places.push(at);
                    client.push(ErrorRule {
                        status: spec.status.clone(),
                        header: spec.header.clone(),
                        body: spec.body.clone(),
                        is: spec.is.clone(),
                        means,
                    });
                }
                None => match Rule::check(cx, &at, spec) {
                    Some(rule) => judge.own.push(rule),
                    None => wrong = true,
                },
            }
        }
        if !client.is_empty() {
            match Rules::new(&client) {
                Ok(rules) => judge.client = Some(Arc::new(rules)),
                Err((number, field, what)) => {
                    cx.report(Problem::error(
                        "bad-rule",
                        places[number].field(field),
                        format!("{field} {what}"),
                    ));
                    wrong = true;
                }
            }
        }
        (!wrong).then_some(judge)
    }

    /// What a good answer comes to, by what stands in it.
    ///
    /// # Errors
    /// An expression cannot be computed.
    pub(super) fn of_answer(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        envelope: &Record,
    ) -> Result<Option<Ruling>, Fault> {
        for rule in &self.own {
            if rule.fits(status, headers, envelope)? {
                return Ok(Some(rule.ruling()));
            }
        }
        Ok(None)
    }

    /// What a failure comes to.
    pub(super) fn of_failure(&self, failure: &Failure, now: Millis) -> Option<Ruling> {
        let answer = failure.response.as_ref()?;
        let body = as_record(Body::from_bytes(Form::Json, answer.body.clone()), now);
        // A body that cannot be read has nothing that a rule asks for.
        let fits = |rule: &&Rule| rule.fits(answer.status, &answer.headers, &body).unwrap_or(false);
        self.own.iter().find(fits).map(Rule::ruling)
    }
}

fn meaning(action: Action) -> Option<Meaning> {
    match action {
        Action::Retry => Some(Meaning::Service),
        Action::Throttle => Some(Meaning::RateLimit),
        Action::RefreshAuth => Some(Meaning::Auth),
        Action::Ignore | Action::SkipPartition | Action::Fail => None,
    }
}

impl Rule {
    fn check(cx: &Checker<'_>, at: &Path, spec: &RuleSpec) -> Option<Self> {
        let mut headers = Vec::new();
        for (name, value) in &spec.header {
            let Ok(name) = name.parse() else {
                let message = format!("{name:?} is not a header name");
                cx.report(Problem::error("bad-header-name", at.field("header"), message));
                return None;
            };
            headers.push((name, value.clone()));
        }
        let body = match &spec.body {
            None => None,
            Some(pick) => Some(cx.value(&at.field("body"), &Json::from(pick.as_str()))?),
        };
        Some(Self { status: spec.status.clone(), headers, body, is: spec.is.clone(), action: spec.action })
    }

    fn fits(&self, status: StatusCode, headers: &HeaderMap, body: &Record) -> Result<bool, Fault> {
        let header = |(name, value): &(HeaderName, String)| {
            headers.get_all(name).iter().any(|found| found.as_bytes() == value.as_bytes())
        };
        if !(self.status.is_empty() || self.status.contains(&status.as_u16()))
            || !self.headers.iter().all(header)
        {
            return Ok(false);
        }
        let Some(pick) = &self.body else { return Ok(true) };
        Ok(match pick.eval(body)? {
            None | Some(Json::Null | Json::Bool(false)) => false,
            Some(found) => self.is.is_empty() || self.is.contains(&found),
        })
    }

    fn ruling(&self) -> Ruling {
        match self.action {
            Action::SkipPartition => Ruling::Skip,
            Action::Fail => Ruling::Fail,
            _ => Ruling::Nothing,
        }
    }
}
