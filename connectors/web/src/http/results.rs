//! What an answer means for each record: by its status where the file says so, and by the items of
//! its body where a batch is answered one by one.

use std::collections::BTreeMap;

use ::http::StatusCode;
use bytes::Bytes;
use karez_api::{
    Body, Checker, Condition, Fault, Form, Json, Meta, Millis, Outcome, Path, Problem, Record, RecordId,
    Value,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Longest reason that is taken from an answer, in characters.
const LONGEST_REASON: usize = 200;

/// What a status means here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Word {
    /// Delivered all the same: like 409 for what is there already.
    Done,
    /// It will never be accepted: no retry.
    Refuse,
    /// Another attempt may succeed.
    Retry,
}

/// How the answer to a batch tells its records apart.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResultKeys {
    /// The list in the answer with an item for each record, in their order, like `$.results`.
    #[schemars(extend("x-karez-kind" = "value"))]
    each: Json,
    /// Which items tell of success, like `@.status < 300`.
    #[schemars(extend("x-karez-kind" = "condition"))]
    ok: Json,
    /// Which of the others may succeed at another attempt. Default: none.
    #[schemars(extend("x-karez-kind" = "condition"))]
    retry: Option<Json>,
    /// Why an item failed, for people, like `$.error.message`.
    #[schemars(extend("x-karez-kind" = "value"))]
    message: Option<Json>,
}

/// `results`, compiled.
pub(super) struct Results {
    each: Value,
    ok: Condition,
    retry: Option<Condition>,
    message: Option<Value>,
}

impl Results {
    pub(super) fn check(cx: &Checker<'_>, at: &Path, keys: &ResultKeys) -> Option<Self> {
        let each = cx.value(&at.field("each"), &keys.each);
        let ok = cx.condition(&at.field("ok"), &keys.ok);
        let retry = keys.retry.as_ref().map(|setting| cx.condition(&at.field("retry"), setting));
        let message = keys.message.as_ref().map(|setting| cx.value(&at.field("message"), setting));
        Some(Self { each: each?, ok: ok?, retry: flat(retry)?, message: flat(message)? })
    }

    /// An outcome for each of `n` records.
    ///
    /// # Errors
    /// The answer does not tell, as it should; what was done is not known.
    pub(super) fn judge(&self, to: &str, body: &Bytes, n: usize, now: Millis) -> Result<Vec<Outcome>, Fault> {
        let unclear = |why: &str| Fault::service(format!("{to}: {why}")).with_code("unclear_results");
        let answer = as_record(Body::from_bytes(Form::Json, body.clone()), now);
        let found = self.each.eval(&answer).map_err(|fault| unclear(fault.message()))?;
        let Some(Json::Array(items)) = found else {
            return Err(unclear("the answer has no list of results"));
        };
        if items.len() != n {
            return Err(unclear(&format!("{} results for {n} records", items.len())));
        }
        items
            .into_iter()
            .map(|item| self.one(to, item, now).map_err(|fault| unclear(fault.message())))
            .collect()
    }

    fn one(&self, to: &str, item: Json, now: Millis) -> Result<Outcome, Fault> {
        let item = as_record(Body::from_tree(item), now);
        if self.ok.eval(&item)? {
            return Ok(Outcome::Done);
        }
        let reason = match &self.message {
            Some(message) => message.eval(&item)?.map(|reason| shown(&reason)),
            None => None,
        };
        let message = match reason {
            Some(reason) => format!("{to} refused this record of the batch: {reason}"),
            None => format!("{to} refused this record of the batch"),
        };
        let again = self.retry.as_ref().map_or(Ok(false), |retry| retry.eval(&item))?;
        Ok(match again {
            true => Outcome::NotSent(Fault::service(message).with_code("item_failed")),
            false => Outcome::Refused(Fault::validation("item_refused", message)),
        })
    }
}

fn flat<T>(checked: Option<Option<T>>) -> Option<Option<T>> {
    match checked {
        None => Some(None),
        Some(checked) => checked.map(Some),
    }
}

fn shown(reason: &Json) -> String {
    let text = reason.as_str().map_or_else(|| reason.to_string(), str::to_owned);
    text.chars().filter(|c| !c.is_control()).take(LONGEST_REASON).collect()
}

/// Expressions are about records, so an answer is one for a moment.
pub(crate) fn as_record(body: Body, now: Millis) -> Record {
    Record::new(body, Meta::new(RecordId::text("answer"), "answer".into(), now))
}

/// `on_status`, checked.
pub(super) fn statuses(
    cx: &Checker<'_>,
    at: &Path,
    written: &BTreeMap<String, Word>,
) -> Option<Vec<(StatusCode, Word)>> {
    let one = |(status, word): (&String, &Word)| {
        let found = status.parse().ok().and_then(|number: u16| StatusCode::from_u16(number).ok());
        match found.filter(|status| (100..600).contains(&status.as_u16())) {
            Some(status) => Some((status, *word)),
            None => {
                let message = format!("{status:?} is not a status");
                let problem = Problem::error("bad-status", at.field(status.as_str()), message).on_key();
                cx.report(problem.help("a number from 100 to 599, like 409: done"));
                None
            }
        }
    };
    let checked: Vec<_> = written.iter().map(one).collect();
    checked.into_iter().collect()
}
