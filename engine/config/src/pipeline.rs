//! One pipeline, from its merged tree to its plan.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use karez_api::{Expressions, InFlight, Json, Neighbour, Path, PipelinePlan, Problem, Role, Unrouted};

use crate::build::{Builder, Ties};
use crate::engine_keys::{InFlightKeys, TopKeys, UnroutedKey};
use crate::fingerprint::{self, Order};
use crate::graph::{Parts, Vertex, tie};
use crate::interpolate::interpolate;
use crate::node::{Catalog, Node};
use crate::schema_check::Check;
use crate::shape::{self, Nodes, Splice};
use crate::shared::{Lookups, Shared};
use crate::sheet::Sheet;
use crate::{Environment, defaults, files, tests_section, tree};

/// What all pipelines of a load are made with.
pub(crate) struct Kit<'a> {
    pub(crate) catalog: &'a Catalog<'a>,
    pub(crate) expressions: &'a dyn Expressions,
    pub(crate) environment: &'a dyn Environment,
    pub(crate) shared: &'a Shared,
    pub(crate) files: &'a [files::File],
}

/// A pipeline that was examined: its sheet holds what is wrong.
pub(crate) struct Examined {
    pub(crate) name: String,
    pub(crate) sheet: Sheet,
    pub(crate) splices: Vec<Splice>,
    pub(crate) plan: Option<PipelinePlan>,
}

/// Examines the merged tree of one pipeline.
pub(crate) fn examine(kit: &Kit<'_>, name: String, mut sheet: Sheet) -> Examined {
    shape::check_top(&sheet);
    sheet.held.set(kit.shared.holds_all);
    let splices = shape::splice(&mut sheet, kit.shared, kit.catalog);
    let Nodes { known: nodes, lost } = shape::nodes(&sheet, kit.catalog);
    let inherited: Vec<_> =
        nodes.iter().map(|node| defaults::apply(&mut sheet, node, kit.shared, kit.catalog)).collect();
    put_in(&mut sheet, kit.environment);
    let top = check_top(&mut sheet, kit.catalog);
    let file = sheet.origins.find(&Path::root()).file;
    let lookups = Lookups {
        shared: kit.shared,
        environment: kit.environment,
        files: kit.files,
        file: &kit.files[file].path,
        taken: RefCell::default(),
        sources: RefCell::default(),
        bad: Cell::new(false),
    };
    let mut vars = kit.shared.vars();
    vars.extend(top.vars.clone().unwrap_or_default());
    let builder = Builder {
        catalog: kit.catalog,
        expressions: kit.expressions,
        lookups: &lookups,
        pipeline: name.as_str().into(),
        vars: Arc::new(vars),
    };
    let (parts, limit) = build_all(&builder, &mut sheet, &nodes, &inherited);
    if lookups.bad.get() {
        sheet.held.set(true);
    }
    let tests = tests_section::read(&sheet, &nodes);
    let complete = !sheet.has_errors();
    let tied = tie(&sheet, parts, &lost).filter(|_| complete && !sheet.has_errors());
    let plan = tied.map(|tied| PipelinePlan {
        name: name.as_str().into(),
        file: kit.files[file].path.as_str().into(),
        fingerprint: whole_fingerprint(&sheet, &lookups, &builder.vars),
        renamed_from: top.renamed_from.clone(),
        sources: tied.sources,
        steps: tied.steps,
        sinks: tied.sinks,
        unrouted: match top.unrouted {
            Some(UnroutedKey::Drop) => Unrouted::Drop,
            Some(UnroutedKey::DeadLetter) | None => Unrouted::DeadLetter,
        },
        max_in_flight: in_flight(limit.or(top.max_in_flight)),
        journal_max_bytes: top.journal.unwrap_or_default().max_bytes.0,
        tests,
    });
    Examined { name, sheet, splices, plan }
}

/// `${…}` everywhere but in test data, which is compared as it stands.
fn put_in(sheet: &mut Sheet, environment: &dyn Environment) {
    let keys: Vec<String> = sheet.tree.as_object().into_iter().flat_map(|map| map.keys().cloned()).collect();
    for key in keys.iter().filter(|key| !matches!(key.as_str(), "tests" | "name" | "renamed_from")) {
        interpolate(sheet, &Path::root().field(key.as_str()), environment);
    }
}

/// The settings at the top, as far as they are right.
fn check_top(sheet: &mut Sheet, catalog: &Catalog<'_>) -> TopKeys {
    let names = files::top_names();
    let all = sheet.tree.as_object().into_iter().flatten();
    let own = all.filter(|(key, _)| names.contains(key)).map(|(key, value)| (key.clone(), value.clone()));
    let mut settings = Json::Object(own.collect());
    let mut check = Check::new(&sheet.written, &|_, _| None);
    check.run(catalog.top(), &mut settings, &Path::root());
    let problems = check.problems;
    if let Json::Object(map) = &mut settings {
        // Each wrong setting is left out, so that the others still count.
        map.retain(|key, _| {
            let at = Path::root().field(key.as_str());
            !problems.iter().any(|problem| crate::sheet::is_error(problem) && tree::below(&problem.at, &at))
        });
        if let Some(old) = map.get("renamed_from").and_then(Json::as_str).filter(|old| !files::is_name(old)) {
            let message = format!("{old:?} cannot be the name of a pipeline");
            let problem = Problem::error("bad-name", Path::root().field("renamed_from"), message);
            sheet.report(problem.help("use letters, digits, `_` and `-`"));
        }
    }
    sheet.problems.borrow_mut().extend(problems);
    serde_json::from_value(settings)
        .map_err(|error| sheet.report(Problem::error("bad-value", Path::root(), error)))
        .unwrap_or_default()
}

fn build_all(
    builder: &Builder<'_>,
    sheet: &mut Sheet,
    nodes: &[Node<'_>],
    inherited: &[Vec<&'static str>],
) -> (Parts, Option<InFlightKeys>) {
    let mut parts = Parts { sources: Vec::new(), steps: Vec::new(), sinks: Vec::new() };
    let n_sources = nodes.iter().filter(|node| node.role == Role::Source).count();
    let mut limit = None;
    let clean: Vec<bool> = nodes.iter().map(|node| builder.check_schemas(sheet, node)).collect();
    builder.lookups.sources.replace(nodes.iter().filter_map(|node| neighbour(sheet, node)).collect());
    for ((node, inherited), clean) in nodes.iter().zip(inherited).zip(clean) {
        let inherited_failure = inherited.contains(&"on_failure");
        match node.role {
            Role::Source => {
                let built = clean.then(|| builder.source(sheet, node)).flatten();
                let own = built.as_ref().and_then(|built| built.max_in_flight);
                if own.is_some() && n_sources > 1 {
                    let at = node.at.field("max_in_flight");
                    let message = "the limit counts for the whole pipeline, and this one has several sources";
                    sheet.report(
                        Problem::error("misplaced-key", at, message)
                            .on_key()
                            .help("move it to the top of the file"),
                    );
                }
                limit = limit.or(own);
                let ties = Ties { from: None, on_failure: None };
                parts.sources.push(vertex(node, built.map(|built| built.node), ties, inherited_failure));
            }
            Role::Step => {
                let (built, ties) = apart(clean.then(|| builder.step(sheet, node)).flatten(), sheet, node);
                parts.steps.push(vertex(node, built, ties, inherited_failure));
            }
            Role::Sink => {
                let (built, ties) = apart(clean.then(|| builder.sink(sheet, node)).flatten(), sheet, node);
                parts.sinks.push(vertex(node, built, ties, inherited_failure));
            }
        }
    }
    (parts, limit)
}

/// A source as other nodes see it.
fn neighbour(sheet: &Sheet, node: &Node<'_>) -> Option<Neighbour> {
    let settings = sheet.get(&node.settings).filter(|_| node.role == Role::Source)?.clone();
    Some(Neighbour {
        name: node.name.clone(),
        kind: node.component.name,
        at: node.settings.clone(),
        settings,
    })
}

fn vertex<T>(node: &Node<'_>, built: Option<T>, ties: Ties, inherited_failure: bool) -> Vertex<T> {
    Vertex { name: node.name.clone(), at: node.at.clone(), built, ties, inherited_failure }
}

/// A node that could not be built still has its place in the graph, so that nothing else is reported for it.
fn apart<T>(built: Option<(T, Ties)>, sheet: &Sheet, node: &Node<'_>) -> (Option<T>, Ties) {
    if let Some((built, ties)) = built {
        return (Some(built), ties);
    }
    fn read<K: serde::de::DeserializeOwned>(sheet: &Sheet, node: &Node<'_>, key: &str) -> Option<K> {
        serde_json::from_value(sheet.get(&node.at.field(key))?.clone()).ok()
    }
    let ties = Ties { from: read(sheet, node, "from"), on_failure: read(sheet, node, "on_failure") };
    (None, ties)
}

fn in_flight(keys: Option<InFlightKeys>) -> InFlight {
    let base = InFlight::default();
    let Some(keys) = keys else { return base };
    InFlight {
        records: keys.records.map_or(base.records, std::num::NonZero::get),
        bytes: keys.bytes.map_or(base.bytes, |bytes| usize::try_from(bytes.0).unwrap_or(usize::MAX)),
    }
}

fn whole_fingerprint(sheet: &Sheet, lookups: &Lookups<'_>, vars: &karez_api::JsonMap) -> u64 {
    let taken = lookups.taken.borrow();
    let taken = taken.iter().map(|(name, value)| serde_json::json!([name, value])).collect();
    fingerprint::of([&sheet.tree, &Json::Array(taken), &Json::Object(vars.clone())], Order::Kept)
}
