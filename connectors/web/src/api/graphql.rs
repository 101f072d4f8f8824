//! The `graphql` source: a GraphQL API read as the `http` source reads others. What is different is how a page is asked
//! for, that errors come under a good status, and that answers say what they cost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use karez_api::{Checker, Class, Fault, Json, Path, Problem, Record, SourcePlan, SourceSpec};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};
use serde_json::json;

use super::check::{self, Kind};
use super::plan::Plan;
use super::spec::{ExpectSpec, IncrementalSpec, PageSpec, RuleSpec, Shared, StreamSpec, apart, together};
use super::stream::Streams;

/// What a GraphQL server answers with, best first (GraphQL over HTTP, §4).
pub(super) const ACCEPTS: &[&str] = &["application/graphql-response+json", "application/json"];
const PATH: &str = "/graphql";
/// Longest message of the far end that is passed on, in characters.
const LONGEST_MESSAGE: usize = 200;
/// What the far ends call "too many requests".
const THROTTLED: [&str; 4] = ["THROTTLED", "RATE_LIMITED", "RATE_LIMIT_EXCEEDED", "TOO_MANY_REQUESTS"];
const REFUSED: [&str; 4] = ["UNAUTHENTICATED", "UNAUTHORIZED", "AUTHENTICATION_ERROR", "INVALID_TOKEN"];

/// Reads a GraphQL API.
#[derive(Debug)]
pub(crate) struct GraphqlSpec {
    shared: Shared<QuerySpec>,
    single: QuerySpec,
}

/// One query. Its variables see the request that is made: `parent`, `window` and `page`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct QuerySpec {
    /// Behind the connection's address. Default: `/graphql`, or nothing beside a `url`.
    path: Option<String>,
    /// The query, with its variables declared.
    query: String,
    /// Values of the variables, like `{owner: acme, since: "{{window.from}}"}`.
    #[schemars(extend("x-karez-kind" = "value"))]
    variables: BTreeMap<String, Json>,
    /// The query of a text with several that is meant.
    operation: Option<String>,
    #[schemars(extend("x-karez-kind" = "text"))]
    headers: BTreeMap<String, String>,
    /// How the next page is asked for. Default: there is one page.
    page: Option<RelaySpec>,
    /// Where the list of records is in an answer. Default: `nodes` of the connection that `page.relay` names.
    #[schemars(extend("x-karez-kind" = "value"))]
    records: Option<String>,
    /// Fields that identify a record. Default: `[id]`.
    key: Option<Vec<String>>,
    /// Most pages of one window of one partition; more is an error. Default: 100000.
    #[schemars(range(min = 1))]
    max_pages: Option<u64>,
    /// What is new since the last run. Default: every run reads everything.
    incremental: Option<IncrementalSpec>,
    /// What an answer with `errors` is: `fail` (default), or `partial`: its data counts, and the errors are counted.
    on_errors: OnErrors,
    /// Answers that mean something else than their status says; the first that fits counts.
    errors: Vec<RuleSpec>,
    /// What a run has to bring; one that does not is suspicious, and the next begins where it began.
    expect: Option<ExpectSpec>,
    /// Read once for each record of another stream: its name, `{stream, key, when, changed_only}`, or `{values: […]}`.
    for_each: Option<Json>,
}

/// Pages of a connection (the Relay specification): `pageInfo {hasNextPage endCursor}`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RelaySpec {
    /// Where the connection is in an answer, like `$.data.repository.issues`.
    #[schemars(extend("x-karez-kind" = "value"))]
    relay: String,
    /// The variable that takes the cursor. Default: `after`.
    #[serde(default = "after")]
    into: String,
    /// Records of a page. It is halved where the far end takes too long with it. Default: as the query says.
    #[serde(default)]
    #[schemars(range(min = 1))]
    size: Option<u64>,
    /// The variable that takes the size. Default: `first`.
    #[serde(default = "first")]
    size_into: String,
}

fn after() -> String {
    "after".into()
}

fn first() -> String {
    "first".into()
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnErrors {
    #[default]
    Fail,
    Partial,
}

impl<'de> Deserialize<'de> for GraphqlSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        apart(deserializer).map(|(shared, single)| Self { shared, single })
    }
}

impl JsonSchema for GraphqlSpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "GraphqlSource".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        together::<QuerySpec>(generator, "Reads a GraphQL API, page by page.")
    }
}

impl SourceSpec for GraphqlSpec {
    const NAME: &'static str = "graphql";
    const SUMMARY: &'static str = "Reads a GraphQL API: page by page, what is new since the last run.";

    fn check(self, cx: &Checker<'_>) -> Option<Box<dyn SourcePlan>> {
        Some(Box::new(Plan(Arc::new(self.streams(cx)?))))
    }
}

impl GraphqlSpec {
    pub(super) fn streams(self, cx: &Checker<'_>) -> Option<Streams> {
        let at = |name: &String| Path::root().field("streams").field(name.as_str());
        let named = self.shared.streams.iter().map(|(name, query)| (at(name), query));
        let all = named.chain([(Path::root(), &self.single)]);
        // All of them are looked at, whatever is wrong with the first.
        let wrong = all.filter(|(at, query)| !query.relays(cx, at)).count();
        (wrong == 0).then_some(())?;
        let own_address = self.shared.url.is_some();
        let translated = |query: QuerySpec| query.stream(own_address);
        let Shared { url, connection, allow_private, streams, emit, parallel } = self.shared;
        let streams = streams.into_iter().map(|(name, query)| (name, translated(query))).collect();
        let shared = Shared { url, connection, allow_private, streams, emit, parallel };
        check::check(cx, Kind::Graphql, shared, translated(self.single))
    }
}

impl QuerySpec {
    /// Whether it says where its connection is, if it has one.
    fn relays(&self, cx: &Checker<'_>, at: &Path) -> bool {
        let Some(page) = self.page.as_ref().filter(|page| !page.relay.starts_with('$')) else { return true };
        let message = "says where the connection stands, so it begins with $";
        let problem = Problem::error("bad-jsonpath", at.field("page").field("relay"), message);
        cx.report(problem.help(format_args!("write $.{}", page.relay)));
        false
    }

    /// The stream that it is. A query is text, whatever stands in it.
    fn stream(self, own_address: bool) -> StreamSpec {
        let mut body = json!({"query": {"literal": self.query}, "variables": self.variables});
        if let Some(operation) = self.operation {
            body["operationName"] = operation.into();
        }
        let records = self.records.or_else(|| self.page.as_ref().map(|page| format!("{}.nodes", page.relay)));
        let page = self.page.map(|page| PageSpec {
            size_into: page.size.map(|_| format!("body.$.variables.{}", page.size_into)),
            into: Some(format!("body.$.variables.{}", page.into)),
            relay: Some((page.relay, page.size)),
            ..PageSpec::default()
        });
        let default = if own_address { "" } else { PATH };
        StreamSpec {
            method: Some("POST".into()),
            path: Some(self.path.unwrap_or_else(|| default.into())),
            headers: self.headers,
            body: Some(body),
            records,
            key: self.key.unwrap_or_else(|| vec!["id".into()]),
            page,
            max_pages: self.max_pages,
            incremental: self.incremental,
            errors: self.errors,
            expect: self.expect,
            for_each: self.for_each,
            on_errors: Some(self.on_errors),
            ..StreamSpec::default()
        }
    }
}

/// What an answer says of itself.
pub(super) struct Told {
    /// Errors that are counted rather than failed by.
    pub(super) errors: u64,
    /// How long to wait until there is enough left for another query like this one.
    pub(super) wait: Option<Duration>,
}

/// # Errors
/// The answer has errors: auth, rate_limit or service, as their codes say.
pub(super) fn told(on_errors: OnErrors, envelope: &Record) -> Result<Told, Fault> {
    let Ok(tree) = envelope.body().tree() else { return Ok(Told { errors: 0, wait: None }) };
    let wait = wait(tree);
    let errors = tree.get("errors").and_then(Json::as_array).filter(|errors| !errors.is_empty());
    let Some(errors) = errors else { return Ok(Told { errors: 0, wait }) };
    let code = |error: &Json| {
        let told = error.pointer("/extensions/code").or_else(|| error.get("type"));
        told.and_then(Json::as_str).unwrap_or_default().to_ascii_uppercase()
    };
    let is = |codes: &[&str]| errors.iter().any(|error| codes.contains(&code(error).as_str()));
    let message = message(errors);
    if is(&THROTTLED) {
        return Err(Fault::rate_limit(message, wait).with_code("graphql_throttled"));
    }
    if is(&REFUSED) {
        return Err(Fault::new(Class::Auth, "graphql_auth", message));
    }
    match on_errors {
        OnErrors::Partial if tree.get("data").is_some_and(|data| !data.is_null()) => {
            Ok(Told { errors: errors.len() as u64, wait })
        }
        _ => Err(Fault::service(message).with_code("graphql_errors")),
    }
}

fn message(errors: &[Json]) -> String {
    let first = errors[0].get("message").and_then(Json::as_str).unwrap_or("without a message");
    let first: String = first.chars().filter(|c| !c.is_control()).take(LONGEST_MESSAGE).collect();
    match errors.len() {
        1 => format!("the answer has an error: {first}"),
        n => format!("the answer has {n} errors, the first: {first}"),
    }
}

/// By what the query cost, what is left and how fast that grows (`extensions.cost`, as Shopify has it).
fn wait(tree: &Json) -> Option<Duration> {
    let cost = tree.pointer("/extensions/cost")?;
    let number = |pointer: &str| cost.pointer(pointer).and_then(Json::as_f64);
    let needed = number("/requestedQueryCost").or_else(|| number("/actualQueryCost"))?;
    let (left, rate) =
        (number("/throttleStatus/currentlyAvailable")?, number("/throttleStatus/restoreRate")?);
    let missing = needed - left;
    (missing > 0.0 && rate > 0.0).then(|| Duration::from_secs_f64((missing / rate).min(3_600.0)))
}

#[cfg(test)]
mod tests {
    use karez_api::{Body, Millis};

    use super::*;
    use crate::http::as_record;

    fn judged(on_errors: OnErrors, answer: Json) -> Result<Told, Fault> {
        told(on_errors, &as_record(Body::from_tree(answer), Millis(0)))
    }

    #[test]
    fn errors_under_a_good_status_are_a_failure_unless_the_file_takes_what_there_is() {
        let errors = json!([{"message": "no such field", "extensions": {"code": "undefinedField"}}, {}]);
        let answer = json!({"data": {"a": 1}, "errors": errors});
        let fault = judged(OnErrors::Fail, answer.clone()).err().unwrap();
        assert_eq!((fault.class(), fault.code()), (Class::Service, "graphql_errors"));
        assert_eq!(fault.message(), "the answer has 2 errors, the first: no such field");
        assert_eq!(judged(OnErrors::Partial, answer).unwrap().errors, 2);
        assert!(judged(OnErrors::Partial, json!({"data": null, "errors": errors})).is_err());
        assert!(judged(OnErrors::Fail, json!({"data": {}, "errors": []})).is_ok());
    }

    #[test]
    fn codes_of_errors_decide_what_is_done() {
        let of = |code: &str| {
            let errors = json!([{"message": "m", "extensions": {"code": code}}]);
            judged(OnErrors::Partial, json!({"data": {}, "errors": errors})).map(drop).unwrap_err().class()
        };
        assert_eq!(of("THROTTLED"), Class::RateLimit);
        assert_eq!(of("UNAUTHENTICATED"), Class::Auth);
        let typed = json!({"errors": [{"type": "RATE_LIMITED", "message": "slow down"}]});
        assert_eq!(judged(OnErrors::Fail, typed).err().unwrap().class(), Class::RateLimit);
    }

    #[test]
    fn the_wait_is_until_there_is_enough_for_the_same_again() {
        let cost = |left: u64| {
            let status = json!({"currentlyAvailable": left, "restoreRate": 50.0});
            json!({"data": {}, "extensions": {"cost": {"requestedQueryCost": 300, "throttleStatus": status}}})
        };
        assert_eq!(judged(OnErrors::Fail, cost(100)).unwrap().wait, Some(Duration::from_secs(4)));
        assert_eq!(judged(OnErrors::Fail, cost(400)).unwrap().wait, None);
    }
}
