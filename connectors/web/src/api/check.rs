//! From what a file says to streams that can be read: expressions compiled, names resolved, all that is wrong told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use karez_api::{Checker, Json, Path, Problem, SourcePlan, SourceSpec, suggest};

use super::ask::{Api, Ask, Asked, is_alone};
use super::changes;
use super::decode::{Decoder, Format, names_of};
use super::elsewhere::Elsewhere;
use super::page::Paging;
use super::plan::Plan;
use super::records::{Cursor, Identity};
use super::rules::Judge;
use super::spec::{ApiSpec, CallSpec, JobSpec, Shared, StreamSpec};
use super::stream::{Job, Parent, Reading, Stream, Streams};
use super::told::Told;
use crate::http::{FarEnd, host_end};

const MAX_PAGES: u64 = 100_000;
/// Deepest chain of parents.
const DEEPEST: usize = 8;
/// What a stream is called that has no name of its own.
const ONLY: &str = "records";

impl SourceSpec for ApiSpec {
    const NAME: &'static str = "http";
    const SUMMARY: &'static str =
        "Reads an API: page by page, what is new since the last run, resumed at the page.";

    fn check(self, cx: &Checker<'_>) -> Option<Box<dyn SourcePlan>> {
        Some(Box::new(Plan(Arc::new(self.streams(cx)?))))
    }
}

impl ApiSpec {
    pub(super) fn streams(self, cx: &Checker<'_>) -> Option<Streams> {
        check(cx, Kind::Http, self.shared, self.single)
    }
}

/// What a source is in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Http,
    Graphql,
}

impl Kind {
    /// What one stream cannot do without.
    fn main(self) -> &'static str {
        match self {
            Self::Http => "path",
            Self::Graphql => "query",
        }
    }

    fn has(self, spec: &StreamSpec) -> bool {
        match self {
            Self::Http => spec.path.is_some(),
            Self::Graphql => spec.body.as_ref().is_some_and(|body| body["query"]["literal"] != ""),
        }
    }
}

pub(super) fn check(
    cx: &Checker<'_>,
    kind: Kind,
    shared: Shared<StreamSpec>,
    single: StreamSpec,
) -> Option<Streams> {
    let root = Path::root();
    let api = api(cx, &shared);
    let named = !shared.streams.is_empty();
    let main = kind.main();
    if named && kind.has(&single) {
        let message = format!("with `streams`, each has its own {main}");
        let problem = Problem::error("bad-stream", root.field(main), message).on_key();
        cx.report(problem.help("move it into a stream"));
        return None;
    }
    let specs: Vec<(String, Path, StreamSpec)> = match named {
        true => {
            let at = |name: &str| Path::root().field("streams").field(name);
            shared.streams.into_iter().map(|(name, spec)| (name.clone(), at(&name), spec)).collect()
        }
        false => vec![(ONLY.to_owned(), root.clone(), single)],
    };
    let names: Vec<String> = specs.iter().map(|(name, ..)| name.clone()).collect();
    let mut whole = true;
    for (name, at, spec) in &specs {
        if !kind.has(spec) && (kind == Kind::Graphql || named) {
            let message = format!("a stream needs `{main}`");
            cx.report(Problem::error("bad-stream", at.clone(), message));
            whole = false;
        }
        if name.is_empty() || name.contains('/') || name == "rewind" {
            let message = format!("{name:?} cannot name a stream");
            cx.report(
                Problem::error("bad-stream", at.clone(), message).on_key().help("letters, digits, - and _"),
            );
            whole = false;
        }
    }
    let api = api?;
    let checked: Vec<Option<Stream>> = specs
        .iter()
        .map(|(name, at, spec)| {
            let parent = parent(cx, at, spec, &specs, name);
            let reading = reading(cx, at, &api, spec);
            Some(Stream { name: name.as_str().into(), parent: parent?, reading: reading? })
        })
        .collect();
    let all: Vec<Stream> = checked.into_iter().collect::<Option<_>>().filter(|_| whole)?;
    circles(cx, &specs, &all)?;
    let emit = emitted(cx, &shared.emit, &names, &all)?;
    Some(Streams {
        all,
        emit,
        parallel: shared.parallel.clamp(1, 64),
        own_parameters: api.far_end.parameters(),
        far_end: api.far_end,
    })
}

/// Where the API is: a connection, or an address of its own.
fn api(cx: &Checker<'_>, shared: &Shared<StreamSpec>) -> Option<Api> {
    let root = Path::root();
    match (&shared.url, &shared.connection) {
        (Some(url), None) => {
            let at = root.field("url");
            let end = host_end(cx, &at, url)?;
            let prefix = url[end..].trim_end_matches('/').to_owned();
            if prefix.contains(['?', '#']) || prefix.contains("{{") {
                let message = "the address ends before any ?, # or {{…}}";
                cx.report(Problem::error("bad-url", at, message).help("use `path` and `query`"));
                return None;
            }
            let far_end = FarEnd::of_its_own(cx, &at, &url[..end], &shared.allow_private)?;
            Some(Api { far_end, prefix })
        }
        (None, Some(name)) => {
            if !shared.allow_private.is_empty() {
                let message = "the connection says which networks may be called";
                let problem = Problem::error("bad-target", root.field("allow_private"), message).on_key();
                cx.report(problem.help("move it to the connection"));
            }
            let far_end = FarEnd::named(cx, &root.field("connection"), name)?;
            Some(Api { far_end, prefix: String::new() })
        }
        (url, _) => {
            let message = match url {
                Some(_) => "takes `url` or `connection`, not both",
                None => "it needs to be said where the API is",
            };
            let help = "set connection (a name under `connections:`) or url, and path";
            cx.report(Problem::error("bad-target", root, message).help(help));
            None
        }
    }
}

fn reading(cx: &Checker<'_>, at: &Path, api: &Api, spec: &StreamSpec) -> Option<Reading> {
    let paging = match &spec.page {
        None => Some(Paging::single()),
        Some(page) => Paging::check(cx, &at.field("page"), page),
    };
    let format = spec.format.as_ref().unwrap_or(&Format::Json);
    let decoder = Decoder::check(cx, at, format, spec.gzip, spec.records.as_deref());
    let incremental = match &spec.incremental {
        None => Some(None),
        Some(incremental) => changes::check(cx, &at.field("incremental"), incremental, spec).map(Some),
    };
    let cursor = match &spec.incremental {
        None => Some(None),
        Some(incremental) => {
            let at = at.field("incremental").field("cursor");
            let way = incremental.cursor.as_str().and_then(names_of);
            cx.value(&at, &incremental.cursor).map(|pick| Some((pick, way)))
        }
    };
    let judge = Judge::check(cx, &at.field("errors"), &spec.errors);
    let paging = paging?;
    let asked = Asked {
        method: spec.method.as_deref(),
        path: spec.path.as_deref(),
        query: &spec.query,
        headers: &spec.headers,
        body: spec.body.as_ref(),
        form: &spec.form,
        into: paging.into.iter().chain(&paging.size_into).collect(),
    };
    let ask = Ask::check(cx, at, api, &asked);
    let job = match &spec.job {
        None => Some(None),
        Some(job) => {
            let given = spec.page.is_none() && spec.path.as_deref().is_some_and(is_alone);
            job_of(cx, &at.field("job"), api, job, given).map(Some)
        }
    };
    let incremental = incremental?;
    changes::warn_of_shifts(cx, at, spec);
    let cursor = cursor?.zip(incremental.as_ref());
    let cursor = cursor.map(|((pick, way), incremental)| Cursor::new(pick, way, incremental.format.clone()));
    Some(Reading {
        ask: ask?,
        decoder: decoder?,
        max_pages: spec.max_pages.unwrap_or(MAX_PAGES).max(1),
        identity: Identity::new(&spec.key, cursor),
        incremental,
        judge: judge?,
        expect: spec.expect.clone(),
        job: job?,
        told: Told::of(spec, &api.prefix),
        on_errors: spec.on_errors,
        paging,
    })
}

fn job_of(cx: &Checker<'_>, at: &Path, api: &Api, spec: &JobSpec, given: bool) -> Option<Job> {
    let none = BTreeMap::new();
    let headers = BTreeMap::new();
    let call = |at: Path, spec: &CallSpec| {
        let asked = Asked {
            method: Some(spec.method.as_deref().unwrap_or("POST")),
            path: Some(&spec.path),
            query: &spec.query,
            headers: &headers,
            body: spec.body.as_ref(),
            form: &none,
            into: Vec::new(),
        };
        Ask::check(cx, &at, api, &asked)
    };
    let create = call(at.field("create"), &spec.create);
    let abort = match &spec.abort {
        None => Some(None),
        Some(abort) => call(at.field("abort"), abort).map(Some),
    };
    let poll_at = at.field("poll");
    let asked = Asked {
        method: Some("GET"),
        path: Some(&spec.poll.path),
        query: &spec.poll.query,
        headers: &headers,
        body: None,
        form: &none,
        into: Vec::new(),
    };
    let poll = Ask::check(cx, &poll_at, api, &asked);
    let elsewhere = Elsewhere::check(cx, &at.field("hosts"), &spec.hosts, given, api);
    let done = cx.condition(&poll_at.field("done"), &spec.poll.done);
    let failed = match &spec.poll.failed {
        None => Some(None),
        Some(failed) => cx.condition(&poll_at.field("failed"), failed).map(Some),
    };
    Some(Job {
        create: create?,
        poll: poll?,
        every: spec
            .poll
            .every
            .map_or(Duration::from_secs(5), |every| every.0)
            .max(Duration::from_millis(100)),
        timeout: spec.poll.timeout.map_or(Duration::from_secs(3_600), |timeout| timeout.0),
        done: done?,
        failed: failed?,
        abort: abort?,
        elsewhere: elsewhere?,
    })
}

/// `for_each`: a name, `{stream, key, changed_only}` or `{values}`.
fn parent(
    cx: &Checker<'_>,
    at: &Path,
    spec: &StreamSpec,
    specs: &[(String, Path, StreamSpec)],
    own: &str,
) -> Option<Parent> {
    let at = at.field("for_each");
    let wrong = |message: String| {
        let help = "the name of a stream, {stream: NAME, key: [id]}, or {values: [eu, us]}";
        cx.report(Problem::error("bad-parent", at.clone(), message).help(help));
        None
    };
    let Some(setting) = &spec.for_each else { return Some(Parent::None) };
    let empty = karez_api::JsonMap::new();
    let fields = setting.as_object().unwrap_or(&empty);
    if let Some(unknown) =
        fields.keys().find(|key| !["stream", "key", "when", "changed_only", "values"].contains(&key.as_str()))
    {
        return wrong(format!("unknown field {unknown:?}"));
    }
    if let Some(values) = fields.get("values") {
        return match values.as_array().filter(|values| !values.is_empty() && fields.len() == 1) {
            Some(values) => Some(Parent::Values(values.clone())),
            None => wrong("`values` is a list of at least one, and stands alone".into()),
        };
    }
    let name = setting.as_str().or_else(|| fields.get("stream").and_then(Json::as_str));
    let Some(name) = name else { return wrong("it is not said which stream".into()) };
    let names: Vec<&str> = specs.iter().map(|(name, ..)| name.as_str()).filter(|name| *name != own).collect();
    let Some(index) = specs.iter().position(|(known, ..)| known == name && name != own) else {
        let help = suggest::help(name, names.iter().copied(), "there are").unwrap_or_default();
        let message = format!("no other stream is named {name:?}");
        cx.report(Problem::error("unknown-stream", at.clone(), message).help(help));
        return None;
    };
    let listed = match fields.get("key") {
        None => None,
        Some(Json::Array(keys)) if !keys.is_empty() => {
            match keys.iter().map(|key| key.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>() {
                Some(keys) => Some(keys),
                None => return wrong("`key` is a list of field names".into()),
            }
        }
        Some(_) => return wrong("`key` is a list of field names".into()),
    };
    let changed_only = match fields.get("changed_only") {
        None => false,
        Some(Json::Bool(flag)) => *flag,
        Some(_) => return wrong("`changed_only` is true or false".into()),
    };
    let when = match fields.get("when") {
        None => None,
        Some(setting) => Some(cx.condition(&at.field("when"), setting)?),
    };
    let parent = &specs[index].2;
    if changed_only && (parent.incremental.is_none() || parent.for_each.is_some()) {
        let message = "`changed_only` needs a parent that is incremental and has no parent of its own".into();
        return wrong(message);
    }
    let key = listed.unwrap_or_else(|| match parent.key.is_empty() {
        true => vec!["id".to_owned()],
        false => parent.key.clone(),
    });
    Some(Parent::Stream { index, key, when, changed_only })
}

/// Nobody is their own ancestor.
fn circles(cx: &Checker<'_>, specs: &[(String, Path, StreamSpec)], all: &[Stream]) -> Option<()> {
    for (number, (name, at, _)) in specs.iter().enumerate() {
        let (mut seen, mut here) = (BTreeSet::from([number]), number);
        while let Parent::Stream { index, .. } = all[here].parent {
            if !seen.insert(index) || seen.len() > DEEPEST {
                let message = match seen.len() > DEEPEST {
                    true => format!("{name:?} has more than {DEEPEST} streams above it"),
                    false => format!("{name:?} is among its own ancestors"),
                };
                cx.report(Problem::error("bad-parent", at.field("for_each"), message));
                return None;
            }
            here = index;
        }
    }
    Some(())
}

fn emitted(cx: &Checker<'_>, written: &[String], names: &[String], all: &[Stream]) -> Option<Vec<usize>> {
    if written.is_empty() {
        let parents: BTreeSet<usize> = all
            .iter()
            .filter_map(|stream| match stream.parent {
                Parent::Stream { index, .. } => Some(index),
                _ => None,
            })
            .collect();
        return Some((0..all.len()).filter(|index| !parents.contains(index)).collect());
    }
    let mut emit = Vec::new();
    for (number, name) in written.iter().enumerate() {
        let Some(index) = names.iter().position(|known| known == name) else {
            let help = suggest::help(name, names.iter().map(String::as_str), "there are").unwrap_or_default();
            let message = format!("no stream is named {name:?}");
            let at = Path::root().field("emit").index(number);
            cx.report(Problem::error("unknown-stream", at, message).help(help));
            return None;
        };
        if !emit.contains(&index) {
            emit.push(index);
        }
    }
    Some(emit)
}
