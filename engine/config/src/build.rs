//! One node checked and built: engine keys by their schema and serde, settings by the component.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use karez_api::{
    Act, Asking, BatchPlan, Build, Checker, Claim, Condition, Dedup, DedupScope, Encode, Escape, Expressions,
    Input, Json, JsonMap, OnError, OnFailure, Path, Problem, RateLimit, Replay, Retry, Role, Schedule, Scope,
    Shape, SinkNode, SinkPlan, SourceNode, StepNode, Timetable, Value,
};
use serde::de::DeserializeOwned;

use crate::engine_keys::{
    ASKING, BatchKeys, DedupKeys, FailureKey, InFlightKeys, Names, OnErrorKeys, RateLimitKeys, RetryKeys,
    ScopeKey, SinkKeys, SourceKeys, StepKeys, of_role,
};
use crate::fingerprint::{self, Order};
use crate::node::{Catalog, Node};
use crate::schema_check::{Check, Kind};
use crate::shared::Lookups;
use crate::sheet::Sheet;
use crate::{suggest, tree};

/// How long a source may take to open.
const OPEN_WITHIN: Duration = Duration::from_secs(30);
/// Default time for which a dedup key counts.
const DEDUP_TTL: Duration = Duration::from_secs(7 * 86_400);
/// Keys of a rate limit that are told apart where the file does not say.
const RATE_KEYS: usize = 10_000;
/// Records in a batch where neither file nor sink say.
const BATCH_RECORDS: usize = 500;

/// What all nodes of a pipeline are built with.
pub(crate) struct Builder<'a> {
    pub(crate) catalog: &'a Catalog<'a>,
    pub(crate) expressions: &'a dyn Expressions,
    pub(crate) lookups: &'a Lookups<'a>,
    pub(crate) pipeline: Arc<str>,
    pub(crate) vars: Arc<JsonMap>,
}

/// How a node is tied into the graph, as it is written.
pub(crate) struct Ties {
    pub(crate) from: Option<Names>,
    pub(crate) on_failure: Option<FailureKey>,
}

/// A source with the limit that is written beside it.
pub(crate) struct BuiltSource {
    pub(crate) node: SourceNode,
    pub(crate) max_in_flight: Option<InFlightKeys>,
}

impl Builder<'_> {
    /// Checks the part of a node that its schema describes; converted values go back into the sheet.
    /// Returns whether nothing is wrong.
    pub(crate) fn check_schemas(&self, sheet: &mut Sheet, node: &Node<'_>) -> bool {
        let component = node.component.name;
        let mut settings = sheet.get(&node.settings).cloned().unwrap_or_default();
        if settings.is_null() {
            // `stdout:` with nothing behind it is `stdout: {}`.
            settings = Json::Object(JsonMap::new());
        }
        let misplaced = |at: &Path, name: &str| {
            let direct = at.keys().len() == node.settings.keys().len() + 1;
            direct.then(|| self.engine_key_inside(node, at, name)).flatten()
        };
        let mut check = Check::new(&sheet.written, &misplaced);
        check.run(self.catalog.schema(node.component), &mut settings, &node.settings);
        let mut engine = engine_part(sheet, node);
        check.run(self.catalog.engine(node.role), &mut engine, &node.at);
        let Check { problems, secret, expressions, .. } = check;
        let clean = !node.has_strays && !problems.iter().any(crate::sheet::is_error);
        if !clean {
            self.check_expressions(sheet, expressions, &problems);
        }
        sheet.problems.borrow_mut().extend(problems);
        sheet.secret.borrow_mut().extend(secret);
        tree::set(&mut sheet.tree, &node.at, component, settings);
        if let Json::Object(engine) = engine {
            for (key, value) in engine {
                tree::set(&mut sheet.tree, &node.at, &key, value);
            }
        }
        clean
    }

    /// A key inside a component that belongs beside it, or was meant to.
    fn engine_key_inside(&self, node: &Node<'_>, at: &Path, name: &str) -> Option<Problem> {
        let (keys, component) = (of_role(node.role), node.component.name);
        if keys.contains(&name) {
            let message = format!("{name:?} belongs to the engine");
            let problem = Problem::error("misplaced-key", at.clone(), message).on_key();
            return Some(problem.help(format_args!("move it beside `{component}:`")));
        }
        let fields = self.catalog.fields(node.role, component);
        if suggest::nearest(name, fields.iter().map(String::as_str)).is_some() {
            return None;
        }
        let near = suggest::nearest(name, keys.iter().copied())?;
        let problem = Problem::error("unknown-field", at.clone(), "unknown field").on_key();
        Some(problem.help(format_args!("did you mean \"{near}\"? it stands beside `{component}:`")))
    }

    /// Compiles the expressions of a node that cannot be built, so that their problems are reported too.
    fn check_expressions(&self, sheet: &Sheet, expressions: Vec<(Kind, Path)>, problems: &[Problem]) {
        for (kind, at) in expressions {
            let Some(setting) = sheet.get(&at) else {
                continue;
            };
            if problems.iter().any(|problem| crate::sheet::is_error(problem) && tree::below(&problem.at, &at))
            {
                continue;
            }
            let warnings = RefCell::default();
            let scope = self.scope(sheet, &warnings);
            let found = match (kind, setting) {
                (Kind::Value, _) => self.expressions.value(&scope, &at, setting).err(),
                (Kind::Condition, _) => self.expressions.condition(&scope, &at, setting).err(),
                (Kind::Text, Json::String(text)) => {
                    self.expressions.text(&scope, &at, text, Escape::None).err()
                }
                (Kind::Text, _) => None,
            };
            sheet.problems.borrow_mut().extend(found.into_iter().flatten());
        }
    }

    pub(crate) fn source(&self, sheet: &Sheet, node: &Node<'_>) -> Option<BuiltSource> {
        let keys: SourceKeys = read_keys(sheet, node)?;
        let lookups_before = self.lookups.taken.borrow().len();
        let Build::Source(build) = node.component.build else {
            return None;
        };
        let plan = self.build(sheet, node, Encode::default(), build)?;
        let at = |key: &str| node.at.field(key);
        let value = |key: &str, setting: &Option<Json>| -> Option<Option<Value>> {
            setting.as_ref().map_or(Some(None), |setting| self.varying(sheet, &at(key), setting).map(Some))
        };
        let (split, id, order_by) =
            (value("split", &keys.split), value("id", &keys.id), value("order_by", &keys.order_by));
        let dedup = keys.dedup.map_or(Some(None), |dedup| self.dedup(sheet, &at("dedup"), dedup).map(Some));
        let journal = journal(sheet, node, keys.journal, plan.replay());
        let id = id?;
        if !plan.has_identity() && id.is_none() && !journal {
            sheet.report(
                Problem::warning(
                    "no-identity",
                    node.at.clone(),
                    "records of this source have no id that survives a redelivery",
                )
                .on_key()
                .help("give one with `id: EXPR`, or make it stable with `journal: true`"),
            );
        }
        if split.as_ref().is_some_and(Option::is_some) && plan.unpack().is_some() {
            sheet.report(
                Problem::error(
                    "needless-split",
                    at("split"),
                    "deliveries of this sender are taken apart already: one record for each event",
                )
                .on_key()
                .help("leave `split` out; the step `split` takes an event itself apart"),
            );
            return None;
        }
        let rate_limit = source_rate_limit(sheet, &at("rate_limit"), keys.rate_limit.as_ref());
        let timetable = timetable(sheet, node, keys.schedule.as_ref(), plan.polls());
        let node_plan = SourceNode {
            name: node.name.as_str().into(),
            kind: node.component.name,
            fingerprint: self.fingerprint(sheet, node, lookups_before),
            decode: keys.decode.unwrap_or_else(|| plan.default_decode()),
            split: split?,
            id,
            dedup: dedup?.or_else(|| plan.default_dedup()),
            order_by: order_by?,
            journal,
            concurrency: keys.concurrency.map(std::num::NonZero::get),
            timeout: keys.timeout.map_or(OPEN_WITHIN, |timeout| timeout.0),
            retry: retry(&source_retry(), keys.retry.as_ref()),
            rate_limit: rate_limit?,
            timetable: timetable?,
            plan,
        };
        Some(BuiltSource { node: node_plan, max_in_flight: keys.max_in_flight })
    }

    pub(crate) fn step(&self, sheet: &Sheet, node: &Node<'_>) -> Option<(StepNode, Ties)> {
        let keys: StepKeys = read_keys(sheet, node)?;
        let act = match node.component.build {
            Build::Step(build) => {
                refuse_asking_keys(sheet, node);
                self.build(sheet, node, Encode::default(), build).map(Act::Apply)
            }
            Build::Asking(build) => self.asking(sheet, node, &keys, build).map(Act::Ask),
            Build::Source(_) | Build::Sink(_) => None,
        };
        let when = self.when(sheet, node, keys.when.as_ref());
        let act = act?;
        let plan = StepNode {
            id: node.name.as_str().into(),
            kind: node.component.name,
            from: Vec::new(),
            when: when?,
            on_failure: OnFailure::default(),
            timeout: keys.timeout.map(|timeout| timeout.0).filter(|_| matches!(act, Act::Apply(_))),
            act,
        };
        Some((plan, Ties { from: keys.from, on_failure: keys.on_failure }))
    }

    fn asking(
        &self,
        sheet: &Sheet,
        node: &Node<'_>,
        keys: &StepKeys,
        build: fn(Json, &Checker<'_>) -> Option<Box<dyn SinkPlan>>,
    ) -> Option<Box<Asking>> {
        let lookups_before = self.lookups.taken.borrow().len();
        let plan = self.build(sheet, node, Encode::default(), build);
        let rate_limit = self.rate_limit(sheet, node, keys.rate_limit.as_ref());
        let plan = plan?;
        Some(Box::new(Asking {
            fingerprint: self.fingerprint(sheet, node, lookups_before),
            concurrency: keys.concurrency.map_or_else(|| plan.default_concurrency(), std::num::NonZero::get),
            timeout: keys.timeout.map_or_else(|| plan.default_timeout(), |timeout| timeout.0),
            on_error: on_error(keys.retry.as_ref(), keys.on_error.as_ref()),
            rate_limit: rate_limit?,
            plan,
        }))
    }

    fn rate_limit(
        &self,
        sheet: &Sheet,
        node: &Node<'_>,
        keys: Option<&RateLimitKeys>,
    ) -> Option<Option<RateLimit>> {
        let Some(keys) = keys else { return Some(None) };
        let at = node.at.field("rate_limit").field("key");
        let key = match &keys.key {
            Some(setting) => Some(self.varying(sheet, &at, setting)?),
            None => None,
        };
        let max_keys = keys.max_keys.map_or(RATE_KEYS, std::num::NonZero::get);
        Some(Some(RateLimit { rate: keys.rate, key, max_keys }))
    }

    pub(crate) fn sink(&self, sheet: &Sheet, node: &Node<'_>) -> Option<(SinkNode, Ties)> {
        let keys: SinkKeys = read_keys(sheet, node)?;
        let lookups_before = self.lookups.taken.borrow().len();
        let Build::Sink(build) = node.component.build else {
            return None;
        };
        let encode = keys.encode.unwrap_or_default();
        let plan = self.build(sheet, node, encode, build);
        let when = self.when(sheet, node, keys.when.as_ref());
        let rate_limit = self.rate_limit(sheet, node, keys.rate_limit.as_ref());
        let plan = plan?;
        let batch = keys.batch.map_or(Some(None), |batch| {
            batch_plan(sheet, &node.at.field("batch"), &batch, plan.shape(true)).map(Some)
        });
        let node_plan = SinkNode {
            name: node.name.as_str().into(),
            kind: node.component.name,
            fingerprint: self.fingerprint(sheet, node, lookups_before),
            from: Vec::<Input>::new(),
            when: when?,
            on_failure: OnFailure::default(),
            encode,
            batch: batch?,
            concurrency: keys.concurrency.map_or_else(|| plan.default_concurrency(), std::num::NonZero::get),
            timeout: keys.timeout.map_or_else(|| plan.default_timeout(), |timeout| timeout.0),
            on_error: on_error(keys.retry.as_ref(), keys.on_error.as_ref()),
            rate_limit: rate_limit?,
            plan,
        };
        Some((node_plan, Ties { from: keys.from, on_failure: keys.on_failure }))
    }

    /// Lets the component check its settings and make its plan; its problems go to the sheet.
    fn build<T: ?Sized>(
        &self,
        sheet: &Sheet,
        node: &Node<'_>,
        encode: Encode,
        build: fn(Json, &Checker<'_>) -> Option<Box<T>>,
    ) -> Option<Box<T>> {
        let warnings = RefCell::default();
        let problems = RefCell::default();
        let checker = Checker {
            node: node.name.as_str().into(),
            pipeline: Arc::clone(&self.pipeline),
            at: node.settings.clone(),
            encode,
            expressions: self.expressions,
            scope: self.scope(sheet, &warnings),
            reuse: self.lookups,
            problems: &problems,
        };
        let plan = build(sheet.get(&node.settings).cloned().unwrap_or_default(), &checker);
        let problems = problems.into_inner();
        let failed = problems.iter().any(crate::sheet::is_error);
        if plan.is_none() && !failed && !self.lookups.bad.get() {
            sheet.report(Problem::error("bad-value", node.settings.clone(), "these settings cannot be used"));
        }
        sheet.problems.borrow_mut().extend(problems.into_iter().chain(warnings.into_inner()));
        plan.filter(|_| !failed)
    }

    fn scope<'s>(&'s self, sheet: &'s Sheet, warnings: &'s RefCell<Vec<Problem>>) -> Scope<'s> {
        Scope { vars: &self.vars, literal: &sheet.literal, warnings }
    }

    fn value(&self, sheet: &Sheet, at: &Path, setting: &Json) -> Option<Value> {
        let warnings = RefCell::default();
        let compiled = self.expressions.value(&self.scope(sheet, &warnings), at, setting);
        self.keep(sheet, warnings, compiled)
    }

    /// A value that means something only if records differ in it: with `key: id` for `key: $.id` every record
    /// after the first would be a duplicate. What is put as `{literal: …}` is meant.
    fn varying(&self, sheet: &Sheet, at: &Path, setting: &Json) -> Option<Value> {
        let value = self.value(sheet, at, setting)?;
        if setting.is_object() || value.constant().is_none() {
            return Some(value);
        }
        sheet.report(
            Problem::error("constant-value", at.clone(), format!("{setting} is the same for every record"))
                .help("a field of the record is written $.name"),
        );
        None
    }

    fn when(&self, sheet: &Sheet, node: &Node<'_>, setting: Option<&Json>) -> Option<Option<Condition>> {
        let Some(setting) = setting else {
            return Some(None);
        };
        let warnings = RefCell::default();
        let compiled =
            self.expressions.condition(&self.scope(sheet, &warnings), &node.at.field("when"), setting);
        self.keep(sheet, warnings, compiled).map(Some)
    }

    fn keep<T>(
        &self,
        sheet: &Sheet,
        warnings: RefCell<Vec<Problem>>,
        compiled: Result<T, Vec<Problem>>,
    ) -> Option<T> {
        sheet.problems.borrow_mut().extend(warnings.into_inner());
        compiled.map_err(|problems| sheet.problems.borrow_mut().extend(problems)).ok()
    }

    fn dedup(&self, sheet: &Sheet, at: &Path, keys: DedupKeys) -> Option<Dedup> {
        let scope = match keys.scope {
            ScopeKey::Source => DedupScope::Source,
            ScopeKey::Pipeline => DedupScope::Pipeline,
        };
        let key = self.varying(sheet, &at.field("key"), &keys.key)?;
        Some(Dedup { key, ttl: keys.ttl.map_or(DEDUP_TTL, |ttl| ttl.0), scope })
    }

    /// All that a node's behaviour hangs on: its settings and engine keys, what it looked up, the variables.
    fn fingerprint(&self, sheet: &Sheet, node: &Node<'_>, lookups_before: usize) -> u64 {
        let own = sheet.get(&node.at).cloned().unwrap_or_default();
        let taken = self.lookups.taken.borrow();
        let taken: Vec<Json> =
            taken[lookups_before..].iter().map(|(name, value)| serde_json::json!([name, value])).collect();
        let vars = Json::Object(JsonMap::clone(&self.vars));
        fingerprint::of([&own, &Json::Array(taken), &vars], Order::Ignored)
    }
}

/// The engine keys of a node as one map.
fn engine_part(sheet: &Sheet, node: &Node<'_>) -> Json {
    let fields = tree::object(&sheet.tree, &node.at).into_iter().flatten();
    let keys = of_role(node.role);
    Json::Object(
        fields
            // `schedule` is a type, too.
            .filter(|(key, _)| keys.contains(&key.as_str()) && *key != node.component.name)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    )
}

fn read_keys<T: DeserializeOwned>(sheet: &Sheet, node: &Node<'_>) -> Option<T> {
    serde_json::from_value(engine_part(sheet, node))
        .map_err(|error| sheet.report(Problem::error("bad-value", node.at.clone(), error)))
        .ok()
}

/// Only a step that asks another system has somebody to be patient with.
fn refuse_asking_keys(sheet: &Sheet, node: &Node<'_>) {
    let given = |key: &&&str| sheet.get(&node.at.field(**key)).is_some();
    for key in ASKING.iter().filter(given) {
        let message = format!("`{}` asks nobody: there is nothing to wait for", node.component.name);
        let problem = Problem::error("misplaced-key", node.at.field(*key), message).on_key();
        sheet.report(problem.help("only a step that asks another system (`enrich`) has this key"));
    }
}

/// A source holds all its records back alike.
fn source_rate_limit(sheet: &Sheet, at: &Path, keys: Option<&RateLimitKeys>) -> Option<Option<RateLimit>> {
    let Some(keys) = keys else { return Some(None) };
    if keys.key.is_some() || keys.max_keys.is_some() {
        let message = "records wait at their source in the order they come, whatever their keys";
        let problem = Problem::error("bad-value", at.clone(), message);
        sheet.report(problem.help("leave `key` out, or limit by key at a sink or an `enrich` step"));
        return None;
    }
    Some(Some(RateLimit { rate: keys.rate, key: None, max_keys: 1 }))
}

/// Only a source that asks can be told when. `polls` is what its plan says.
fn timetable(
    sheet: &Sheet,
    node: &Node<'_>,
    schedule: Option<&Schedule>,
    polls: bool,
) -> Option<Option<Arc<dyn Timetable>>> {
    let Some(schedule) = schedule else { return Some(None) };
    let at = node.at.field("schedule");
    if !polls {
        let message =
            format!("`{}` is not asked again and again, so it has no schedule", node.component.name);
        let problem = Problem::error("misplaced-key", at, message).on_key();
        sheet.report(problem.help("only a source that polls has this key: leave it out"));
        return None;
    }
    match schedule.check() {
        Ok(times) => Some(Some(Arc::new(times))),
        Err(problem) => {
            sheet.report(Problem { at: at.join(&problem.at), ..problem });
            None
        }
    }
}

fn journal(sheet: &Sheet, node: &Node<'_>, wanted: Option<bool>, replay: Replay) -> bool {
    if wanted == Some(false) && replay == Replay::No {
        let message = "this source cannot send a record again, so it is always journaled";
        sheet.report(
            Problem::error("journal-needed", node.at.field("journal"), message).help("leave `journal` out"),
        );
    }
    wanted.unwrap_or(false) || replay == Replay::No
}

fn batch_plan(sheet: &Sheet, at: &Path, keys: &BatchKeys, shape: Shape) -> Option<BatchPlan> {
    let Shape::Batch { max, .. } = shape else {
        sheet.report(
            Problem::error("no-batch", at.clone(), "this sink takes one record at a time")
                .on_key()
                .help("leave `batch` out"),
        );
        return None;
    };
    if let Some(records) = keys.records.filter(|records| records.get() > max) {
        let message = format!("this sink takes at most {max} records at once, found {records}");
        sheet.report(Problem::error("bad-value", at.field("records"), message));
        return None;
    }
    Some(BatchPlan {
        records: keys.records.map_or(BATCH_RECORDS.min(max), std::num::NonZero::get),
        bytes: usize::try_from(keys.bytes.0).unwrap_or(usize::MAX),
        linger: keys.linger.0,
    })
}

/// A source is opened again for as long as it takes.
fn source_retry() -> Retry {
    Retry { max_attempts: None, max_elapsed: None, ..OnError::default().connection }
}

fn retry(base: &Retry, keys: Option<&RetryKeys>) -> Retry {
    let Some(keys) = keys else { return *base };
    Retry {
        backoff: keys.backoff.map_or(base.backoff, Into::into),
        initial: keys.initial.map_or(base.initial, |time| time.0),
        max_wait: keys.max_wait.map_or(base.max_wait, |time| time.0),
        max_attempts: keys.max_attempts.map(std::num::NonZero::get).or(base.max_attempts),
        max_elapsed: keys.max_elapsed.map(|time| time.0).or(base.max_elapsed),
    }
}

/// `retry` says it for connection and service, `on_error` for each class; the rest is as the contract has it.
fn on_error(beside: Option<&RetryKeys>, by_class: Option<&OnErrorKeys>) -> OnError {
    let base = OnError::default();
    let class = |keys: fn(&OnErrorKeys) -> Option<&RetryKeys>| by_class.and_then(keys);
    OnError {
        auth: retry(&base.auth, class(|keys| keys.auth.as_ref().map(|class| &class.retry))),
        rate_limit: retry(&base.rate_limit, class(|keys| keys.rate_limit.as_ref().map(|class| &class.retry))),
        connection: retry(
            &retry(&base.connection, beside),
            class(|keys| keys.connection.as_ref().map(|class| &class.retry)),
        ),
        service: retry(
            &retry(&base.service, beside),
            class(|keys| keys.service.as_ref().map(|class| &class.retry)),
        ),
    }
}

/// What a built node holds alone in the process.
pub(crate) fn claims(plan: &karez_api::PipelinePlan) -> Vec<(Role, Arc<str>, Claim)> {
    let sources = plan.sources.iter().flat_map(|node| {
        node.plan.claims().into_iter().map(|claim| (Role::Source, Arc::clone(&node.name), claim))
    });
    let sinks = plan.sinks.iter().flat_map(|node| {
        node.plan.claims().into_iter().map(|claim| (Role::Sink, Arc::clone(&node.name), claim))
    });
    sources.chain(sinks).collect()
}
