//! The outline of a pipeline: short form or graph form, shared steps put in place, names.

use std::collections::BTreeMap;

use karez_api::{Json, JsonMap, Path, Problem, Role};

use crate::engine_keys::TOP_NODES;
use crate::files::{is_name, top_names};
use crate::node::{Catalog, Node, outline, type_of};
use crate::shared::Shared;
use crate::sheet::{Origins, Sheet, Spot};
use crate::{suggest, tree};

/// Steps of a shared file that stand in a pipeline.
pub(crate) struct Splice {
    pub(crate) name: String,
    /// Where `use:` is written.
    pub(crate) used_at: Spot,
    /// Their places in the pipeline's list.
    pub(crate) steps: std::ops::Range<usize>,
}

/// Reports keys at the top that mean nothing.
pub(crate) fn check_top(sheet: &Sheet) {
    let Some(fields) = sheet.tree.as_object() else {
        return;
    };
    let settings = top_names();
    let known: Vec<&str> = TOP_NODES.iter().copied().chain(settings.iter().map(String::as_str)).collect();
    for key in fields.keys().filter(|key| !known.contains(&key.as_str())) {
        let at = Path::root().field(key.as_str());
        let problem = Problem::error("unknown-field", at, "unknown field").on_key();
        let help = match crate::shared::SECTIONS.contains(&key.as_str()) {
            true => Some(
                "it belongs to a shared file: one with connections, mappings, schemas and defaults only"
                    .into(),
            ),
            false => match suggest::nearest(key, crate::shared::SECTIONS) {
                Some(near) if suggest::nearest(key, known.iter().copied()).is_none() => {
                    Some(format!("did you mean \"{near}\"? it belongs to a shared file"))
                }
                _ => suggest::help(key, known.iter().copied(), "a pipeline has"),
            },
        };
        sheet.report(Problem { help, ..problem });
    }
}

/// Puts the steps of shared files in the place of each `use: NAME`.
pub(crate) fn splice(sheet: &mut Sheet, shared: &Shared, catalog: &Catalog<'_>) -> Vec<Splice> {
    let root = Path::root().field("steps");
    let Some(Json::Array(old)) = sheet.get(&root).cloned() else {
        return Vec::new();
    };
    if !old.iter().any(uses) {
        return Vec::new();
    }
    let origins = sheet.origins.clone();
    let mut steps = Vec::new();
    let mut from: Vec<(Path, bool)> = Vec::new();
    let mut splices = Vec::new();
    for (index, step) in old.into_iter().enumerate() {
        let at = root.index(index);
        if !uses(&step) {
            steps.push(step);
            from.push((at, false));
            continue;
        }
        // What is wrong is reported at its place in the list as it becomes.
        let place = root.index(steps.len());
        let taken: Vec<&str> = splices.iter().map(|splice: &Splice| splice.name.as_str()).collect();
        let Some((name, list)) = wanted(sheet, shared, &step, &place, &taken) else {
            steps.push(step);
            from.push((at, false));
            continue;
        };
        let start = steps.len();
        for (n, step) in rename(&name, &list, catalog).into_iter().enumerate() {
            steps.push(step);
            from.push((Path::root().field("steps").field(name.as_str()).index(n), true));
        }
        splices.push(Splice { name, used_at: origins.find(&at.field("use")), steps: start..steps.len() });
    }
    tree::set(&mut sheet.tree, &Path::root(), "steps", Json::Array(steps));
    sheet.origins.insert(root.clone(), origins.find(&root));
    for (index, (path, is_shared)) in from.iter().enumerate() {
        let source: &Origins = if *is_shared { &shared.sheet.origins } else { &origins };
        sheet.origins.graft(&root.index(index), source, path);
    }
    splices
}

/// Whether a step is `use: NAME`; where one is still there after [`splice`], its problem is reported.
fn uses(step: &Json) -> bool {
    step.as_object().is_some_and(|step| step.contains_key("use"))
}

/// The shared steps that a `use` names.
fn wanted(
    sheet: &Sheet,
    shared: &Shared,
    step: &Json,
    at: &Path,
    taken: &[&str],
) -> Option<(String, Vec<Json>)> {
    for key in step.as_object().into_iter().flat_map(JsonMap::keys).filter(|key| *key != "use") {
        let problem = Problem::error("unknown-field", at.field(key.as_str()), "nothing stands beside `use`");
        sheet.report(problem.on_key().help("shared steps take no parameters"));
    }
    let at = at.field("use");
    let Some(name) = step.get("use").and_then(Json::as_str) else {
        sheet.report(Problem::error("wrong-type", at, "expected the name of shared steps"));
        return None;
    };
    let Some((entry, entry_at)) = shared.entry("steps", name) else {
        let help = suggest::help(name, shared.names("steps"), "shared steps");
        let help = help.unwrap_or_else(|| "no shared file has `steps:`".into());
        sheet.report(
            Problem::error("unknown-name", at, format_args!("no shared steps are called {name:?}"))
                .help(help),
        );
        return None;
    };
    if taken.contains(&name) {
        let message = format!("shared steps {name:?} stand in this pipeline already");
        sheet.report(
            Problem::error("duplicate-name", at, message)
                .help("their ids would be the same; write them out the second time"),
        );
        return None;
    }
    let list = entry.as_array()?;
    if list.iter().any(|step| step.get("use").is_some()) {
        let message = format!("shared steps {name:?} use other shared steps");
        sheet.report(Problem::error("nested-use", at, message).help("write their steps out"));
        return None;
    }
    if shared.sheet.is_bad(&entry_at) {
        sheet.held.set(true);
    }
    Some((name.to_owned(), list.clone()))
}

/// Gives shared steps ids under the name they are used by, and follows these in their own `from` and `to`.
fn rename(prefix: &str, steps: &[Json], catalog: &Catalog<'_>) -> Vec<Json> {
    let ids: Vec<Option<String>> =
        steps.iter().enumerate().map(|(n, step)| id_of(step, n, catalog)).collect();
    let inner = |name: &str| ids.iter().flatten().any(|id| id == name);
    let outer = |value: &mut Json| {
        if let Json::String(name) = value
            && inner(name.split('.').next().unwrap_or(name))
        {
            *name = format!("{prefix}/{name}");
        }
    };
    let mut renamed = steps.to_vec();
    for (step, id) in renamed.iter_mut().zip(&ids) {
        let (Some(fields), Some(id)) = (step.as_object_mut(), id) else {
            continue;
        };
        match fields.get_mut("from") {
            Some(Json::Array(names)) => names.iter_mut().for_each(outer),
            Some(name) => outer(name),
            None => {}
        }
        if let Some(to) = fields.get_mut("on_failure").and_then(|failure| failure.get_mut("to")) {
            outer(to);
        }
        fields.insert("id".into(), Json::String(format!("{prefix}/{id}")));
    }
    renamed
}

/// A step's name: its `id`, else its type and its place in the list.
fn id_of(step: &Json, index: usize, catalog: &Catalog<'_>) -> Option<String> {
    let fields = step.as_object()?;
    match fields.get("id") {
        Some(Json::String(id)) => Some(id.clone()),
        Some(_) => None,
        None => Some(format!("{}-{}", type_of(fields, Role::Step, catalog)?.name, index + 1)),
    }
}

/// All nodes of a pipeline, in file order.
#[derive(Default)]
pub(crate) struct Nodes<'a> {
    pub(crate) known: Vec<Node<'a>>,
    /// Names of those whose type is not known: nobody who names one is wrong for it.
    pub(crate) lost: Vec<String>,
}

impl<'a> Nodes<'a> {
    fn add(&mut self, name: String, node: Option<Node<'a>>) {
        match node {
            Some(node) => self.known.push(node),
            None => self.lost.push(name),
        }
    }
}

/// Reads the outline of all nodes and reports what is wrong with it.
pub(crate) fn nodes<'a>(sheet: &Sheet, catalog: &Catalog<'a>) -> Nodes<'a> {
    let mut nodes = Nodes::default();
    ends(sheet, catalog, Role::Source, &mut nodes);
    let steps = Path::root().field("steps");
    match sheet.get(&steps) {
        None | Some(Json::Null) => {}
        Some(Json::Array(list)) => {
            for (index, step) in list.iter().enumerate() {
                let at = steps.index(index);
                if uses(step) {
                    nodes.lost.extend(step.get("use").and_then(Json::as_str).map(str::to_owned));
                    continue;
                }
                let name = id_of(step, index, catalog).unwrap_or_else(|| format!("step-{}", index + 1));
                if step.get("id").is_some() {
                    check_node_name(sheet, &name, &at.field("id"), false);
                }
                nodes.add(name.clone(), outline(sheet, catalog, Role::Step, name, at));
            }
        }
        Some(other) => {
            let message = format!("expected a list of steps, found {}", tree::describe(other));
            sheet.report(Problem::error("wrong-type", steps, message).help("begin each step with `- `"));
        }
    }
    ends(sheet, catalog, Role::Sink, &mut nodes);
    check_unique(sheet, &nodes.known);
    nodes
}

/// The sources or sinks, in either form.
fn ends<'a>(sheet: &Sheet, catalog: &Catalog<'a>, role: Role, nodes: &mut Nodes<'a>) {
    let (one, many) = if role == Role::Source { ("source", "sources") } else { ("sink", "sinks") };
    let (one_at, many_at) = (Path::root().field(one), Path::root().field(many));
    match (sheet.get(&one_at), sheet.get(&many_at)) {
        (None, None) => {
            let problem =
                Problem::error("missing-field", Path::root(), format_args!("the pipeline has no {one}"));
            sheet.report(problem.help(format_args!("write `{one}:` for one, `{many}:` for several by name")));
        }
        (Some(_), Some(_)) => {
            let problem =
                Problem::error("two-forms", many_at, format_args!("both `{one}` and `{many}` are given"))
                    .on_key();
            sheet.report(problem.help(format_args!("put all of them under `{many}:`, each with a name")));
        }
        (Some(_), None) => nodes.add(one.to_owned(), outline(sheet, catalog, role, one.to_owned(), one_at)),
        (None, Some(Json::Object(map))) if !map.is_empty() => {
            for name in map.keys() {
                let at = many_at.field(name.as_str());
                check_node_name(sheet, name, &at, true);
                nodes.add(name.clone(), outline(sheet, catalog, role, name.clone(), at));
            }
        }
        (None, Some(other)) => {
            let found = if other.is_object() { "an empty one".to_owned() } else { tree::describe(other) };
            let message = format!("expected a map of {one} names, found {found}");
            sheet.report(Problem::error("wrong-type", many_at, message));
        }
    }
}

fn check_node_name(sheet: &Sheet, name: &str, at: &Path, on_key: bool) {
    // Shared steps have one `/` in their names, put there by `splice`.
    let parts: Vec<&str> = name.split('/').collect();
    let spliced = sheet.origins.find(at).path.keys().len() > at.keys().len();
    let allowed = if spliced { 2 } else { 1 };
    if parts.len() > allowed || !parts.iter().all(|part| is_name(part)) {
        let problem =
            Problem::error("bad-name", at.clone(), format_args!("{name:?} cannot be the name of a node"));
        let help = "use letters, digits, `_` and `-`; a dot stands before an output's name";
        sheet.report(Problem { on_key, ..problem.help(help) });
    }
}

fn check_unique(sheet: &Sheet, nodes: &[Node<'_>]) {
    let mut seen: BTreeMap<&str, &Node<'_>> = BTreeMap::new();
    for node in nodes {
        if let Some(first) = seen.insert(&node.name, node) {
            for (here, there) in [(first, node), (node, first)] {
                let message = format!("the name {:?} is also that of {}", here.name, there.at);
                let at = if sheet.get(&here.at.field("id")).is_some() && here.role == Role::Step {
                    here.at.field("id")
                } else {
                    here.at.clone()
                };
                sheet.report(
                    Problem::error("duplicate-name", at, message)
                        .on_key()
                        .help("sources, steps and sinks share one set of names"),
                );
            }
        }
    }
}
