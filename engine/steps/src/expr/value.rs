//! *Value* settings: picks, templates, jq, literals, and maps and lists of them.

use std::sync::Arc;

use karez_api::{Escape, Evaluate, Fault, Json, JsonMap, Path, Problem, Record, Scope, Value, constant};

use super::jq::Program;
use super::jsonpath::{Query, parse_pick};
use super::literal_ranges;
use super::template::Template;
use super::text::{is_template, template};

pub(super) fn compile(scope: &Scope<'_>, at: &Path, setting: &Json) -> Result<Value, Vec<Problem>> {
    let node = node(scope, at, setting)?;
    Ok(match node {
        Node::Constant(value) => constant(Some(value)),
        other => Arc::new(other),
    })
}

/// The body as a tree.
///
/// # Errors
/// Class validation: it cannot be read as one.
pub(crate) fn tree(record: &Record) -> Result<&Json, Fault> {
    record.body().tree().map_err(|error| Fault::validation("body", format!("body cannot be read: {error}")))
}

enum Node {
    Constant(Json),
    Pick(Query),
    Template(Template),
    Jq(Arc<Program>),
    Map(MapNode),
    List(Vec<Node>),
}

impl Evaluate<Option<Json>> for Node {
    fn eval(&self, record: &Record) -> Result<Option<Json>, Fault> {
        Ok(match self {
            Self::Constant(value) => Some(value.clone()),
            Self::Pick(query) => query.pick(tree(record)?),
            Self::Template(template) => Some(Json::String(template.render(record)?)),
            Self::Jq(program) => at_most_one(program.run(record)?)?,
            Self::Map(map) => Some(Json::Object(map.eval(record)?)),
            Self::List(nodes) => {
                let mut items = Vec::with_capacity(nodes.len());
                for node in nodes {
                    items.extend(node.eval(record)?);
                }
                Some(Json::Array(items))
            }
        })
    }
}

/// A map with the same keys for every record.
struct MapNode {
    /// Each key with null: copied for a record, since that costs less than hashing every key again.
    keys: JsonMap,
    /// In the order of the keys.
    values: Vec<Node>,
}

impl MapNode {
    fn eval(&self, record: &Record) -> Result<JsonMap, Fault> {
        let mut fields = self.keys.clone();
        let mut absent = Vec::new();
        for ((index, slot), node) in fields.values_mut().enumerate().zip(&self.values) {
            match node.eval(record)? {
                Some(value) => *slot = value,
                None => absent.push(index),
            }
        }
        if !absent.is_empty() {
            let mut places = 0..;
            fields.retain(|_, _| places.next().is_some_and(|place| !absent.contains(&place)));
        }
        Ok(fields)
    }
}

fn at_most_one(mut outputs: Vec<Json>) -> Result<Option<Json>, Fault> {
    if outputs.len() > 1 {
        let message =
            format!("jq yielded {} values where one is needed; collect them with [ ]", outputs.len());
        return Err(Fault::validation("jq", message));
    }
    Ok(outputs.pop())
}

fn node(scope: &Scope<'_>, at: &Path, setting: &Json) -> Result<Node, Vec<Problem>> {
    match setting {
        Json::String(text) => string(scope, at, text).map_err(|problem| vec![problem]),
        Json::Object(fields) => match (fields.len(), fields.iter().next()) {
            (1, Some((key, program))) if key == "jq" => Program::compile(scope, &at.field("jq"), program)
                .map(Node::Jq)
                .map_err(|problem| vec![problem]),
            (1, Some((key, value))) if key == "literal" => Ok(Node::Constant(value.clone())),
            _ => map(scope, at, fields),
        },
        Json::Array(items) => list(scope, at, items),
        Json::Null | Json::Bool(_) | Json::Number(_) => Ok(Node::Constant(setting.clone())),
    }
}

fn string(scope: &Scope<'_>, at: &Path, text: &str) -> Result<Node, Problem> {
    let literal = literal_ranges(scope, at);
    let is_literal = |at: usize| literal.iter().any(|range| range.contains(&at));
    if text.starts_with('$') && !is_literal(0) {
        return pick(at, text, literal.first());
    }
    if !is_template(scope, at, text) {
        return Ok(Node::Constant(Json::String(text.to_owned())));
    }
    let template = template(scope, at, text, Escape::None)?;
    match template.constant() {
        Some(Ok(text)) => Ok(Node::Constant(Json::String(text))),
        Some(Err(mistake)) => Err(mistake.problem("bad-template", at)),
        None => Ok(Node::Template(template)),
    }
}

fn pick(at: &Path, text: &str, literal: Option<&std::ops::Range<usize>>) -> Result<Node, Problem> {
    if let Some(range) = literal {
        return Err(Problem::error("bad-jsonpath", at.clone(), "${…} cannot stand in a pick")
            .within(range.clone())
            .help("what ${…} brings in is literal text; use {jq: '.[$vars.name]'} with `vars:`"));
    }
    if !matches!(text[1..].trim_start().chars().next(), None | Some('.' | '[')) {
        return Err(Problem::error(
            "bad-jsonpath",
            at.clone(),
            format!("{text:?} begins with $ but is not a path"),
        )
        .within(0..text.len())
        // `${` in a file would be read as a variable.
        .help(format!(
            "write {{literal: {:?}}} for the text itself, $.name for a field",
            text.replace("${", "$${")
        )));
    }
    parse_pick(text).map(Node::Pick).map_err(|mistake| mistake.problem("bad-jsonpath", at))
}

fn map(scope: &Scope<'_>, at: &Path, fields: &JsonMap) -> Result<Node, Vec<Problem>> {
    let entries = fields
        .iter()
        .map(|(name, setting)| node(scope, &at.field(name), setting).map(|node| (name.clone(), node)));
    let entries = all(entries)?;
    if entries.iter().all(|(_, node)| matches!(node, Node::Constant(_))) {
        let constants = entries.into_iter().filter_map(|(name, node)| Some((name, node.into_constant()?)));
        return Ok(Node::Constant(Json::Object(constants.collect())));
    }
    let (keys, values) = entries.into_iter().map(|(name, node)| ((name, Json::Null), node)).unzip();
    Ok(Node::Map(MapNode { keys, values }))
}

fn list(scope: &Scope<'_>, at: &Path, items: &[Json]) -> Result<Node, Vec<Problem>> {
    let nodes = items.iter().enumerate().map(|(index, setting)| node(scope, &at.index(index), setting));
    let nodes = all(nodes)?;
    if nodes.iter().all(|node| matches!(node, Node::Constant(_))) {
        return Ok(Node::Constant(Json::Array(nodes.into_iter().filter_map(Node::into_constant).collect())));
    }
    Ok(Node::List(nodes))
}

impl Node {
    fn into_constant(self) -> Option<Json> {
        match self {
            Self::Constant(value) => Some(value),
            _ => None,
        }
    }
}

/// All results, or all problems.
fn all<T>(results: impl Iterator<Item = Result<T, Vec<Problem>>>) -> Result<Vec<T>, Vec<Problem>> {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(value) => good.push(value),
            Err(problems) => bad.extend(problems),
        }
    }
    if bad.is_empty() { Ok(good) } else { Err(bad) }
}
