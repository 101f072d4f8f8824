//! One node: engine keys plus exactly one type key.

use std::collections::BTreeMap;

use karez_api::{Component, Connections, Json, JsonMap, Path, Problem, Registry, Role};
use schemars::schema_for;

use crate::engine_keys::{SinkKeys, SourceKeys, StepKeys, TopKeys, of_role, roles_of};
use crate::schema_view::View;
use crate::sheet::Sheet;
use crate::suggest;

const ROLES: [Role; 3] = [Role::Source, Role::Step, Role::Sink];

/// The registry with all schemas made once.
pub(crate) struct Catalog<'a> {
    registry: &'a Registry,
    schemas: BTreeMap<(Role, &'static str), Json>,
    engine: BTreeMap<Role, Json>,
    connection: Json,
    top: Json,
}

impl<'a> Catalog<'a> {
    pub(crate) fn new(registry: &'a Registry) -> Self {
        let components = ROLES.into_iter().flat_map(|role| registry.of(role));
        let schemas =
            components.map(|component| ((component.role(), component.name), (component.schema)().to_value()));
        Self {
            registry,
            schemas: schemas.collect(),
            engine: BTreeMap::from([
                (Role::Source, schema_for!(SourceKeys).to_value()),
                (Role::Step, schema_for!(StepKeys).to_value()),
                (Role::Sink, schema_for!(SinkKeys).to_value()),
            ]),
            connection: registry
                .connections()
                .map_or_else(|| serde_json::json!({"type": "object"}), |kind| (kind.schema)().to_value()),
            top: schema_for!(TopKeys).to_value(),
        }
    }

    pub(crate) fn get(&self, role: Role, name: &str) -> Option<&'a Component> {
        self.registry.get(role, name)
    }

    pub(crate) fn of(&self, role: Role) -> impl Iterator<Item = &'a Component> {
        self.registry.of(role)
    }

    pub(crate) fn schema(&self, component: &Component) -> &Json {
        self.schemas.get(&(component.role(), component.name)).unwrap_or(&Json::Bool(true))
    }

    pub(crate) fn engine(&self, role: Role) -> &Json {
        self.engine.get(&role).unwrap_or(&Json::Bool(true))
    }

    /// The schema of a connection, and what it cannot say.
    pub(crate) fn connection(&self) -> (&Json, Option<Connections>) {
        (&self.connection, self.registry.connections())
    }

    pub(crate) fn top(&self) -> &Json {
        &self.top
    }

    pub(crate) fn all_names(&self) -> Vec<&'static str> {
        let mut names: Vec<&'static str> = self.schemas.keys().map(|(_, name)| *name).collect();
        names.dedup();
        names
    }

    /// The settings of a component, by name.
    pub(crate) fn fields(&self, role: Role, name: &str) -> Vec<String> {
        let Some(schema) = self.get(role, name).map(|component| self.schema(component)) else {
            return Vec::new();
        };
        let view = View::new(schema, schema);
        let mut fields: Vec<String> =
            view.properties().into_iter().map(|(name, _)| name.to_owned()).collect();
        for branch in view.branches().into_iter().flatten() {
            fields.extend(branch.properties().into_iter().map(|(name, _)| name.to_owned()));
        }
        fields
    }

    fn roles(&self, name: &str) -> Vec<Role> {
        ROLES.into_iter().filter(|role| self.get(*role, name).is_some()).collect()
    }
}

/// A node whose type is known.
pub(crate) struct Node<'a> {
    pub(crate) role: Role,
    pub(crate) name: String,
    /// Where the node stands.
    pub(crate) at: Path,
    /// Where its component's settings stand.
    pub(crate) settings: Path,
    pub(crate) component: &'a Component,
    /// A key beside its type means nothing there; it was reported.
    pub(crate) has_strays: bool,
}

/// The type of a node without a look at anything else.
pub(crate) fn type_of<'a>(fields: &JsonMap, role: Role, catalog: &Catalog<'a>) -> Option<&'a Component> {
    fields.keys().filter(|key| !is_engines(key, fields, role, catalog)).find_map(|key| catalog.get(role, key))
}

/// Whether a key of a node is the engine's. One that is a type as well (`schedule`) is the engine's beside another type.
fn is_engines(key: &str, fields: &JsonMap, role: Role, catalog: &Catalog<'_>) -> bool {
    let is_type = |key: &str| catalog.get(role, key).is_some();
    let beside = || fields.keys().any(|other| other != key && is_type(other));
    of_role(role).contains(&key) && (!is_type(key) || beside())
}

/// Reads the outline of the node at `at` and reports what is wrong with it.
pub(crate) fn outline<'a>(
    sheet: &Sheet,
    catalog: &Catalog<'a>,
    role: Role,
    name: String,
    at: Path,
) -> Option<Node<'a>> {
    let Some(fields) = sheet.get(&at).and_then(Json::as_object) else {
        let found = sheet.get(&at).map_or_else(|| "nothing".into(), crate::tree::describe);
        let message = format!("expected a {}, a map with one type key, found {found}", role.name());
        sheet.report(Problem { on_key: found == "nothing", ..Problem::error("wrong-type", at, message) });
        return None;
    };
    let types: Vec<&Component> = fields
        .keys()
        .filter(|key| !is_engines(key, fields, role, catalog))
        .filter_map(|key| catalog.get(role, key))
        .collect();
    let mut has_strays = false;
    for key in fields.keys() {
        if !of_role(role).contains(&key.as_str()) && catalog.get(role, key).is_none() {
            has_strays = true;
            sheet.report(stray(key, &at.field(key.as_str()), role, types.first().copied(), catalog));
        }
    }
    match types.as_slice() {
        [component] => {
            let settings = at.field(component.name);
            Some(Node { role, name, at, settings, component, has_strays })
        }
        [] if has_strays => None,
        [] => {
            let names: Vec<&str> = catalog.of(role).map(|component| component.name).collect();
            let message = format!("this {} has no type", role.name());
            sheet.report(
                Problem::error("missing-type", at, message)
                    .help(format_args!("its type is one of: {}", names.join(", "))),
            );
            None
        }
        [first, second, ..] => {
            let message =
                format!("a {} has one type, this has {:?} and {:?}", role.name(), first.name, second.name);
            let help = if role == Role::Step {
                "make them two steps"
            } else {
                "make them two, each under its own name"
            };
            sheet.report(Problem::error("two-types", at.field(second.name), message).on_key().help(help));
            None
        }
    }
}

/// A key that is neither an engine key nor a type of this role.
fn stray(key: &str, at: &Path, role: Role, component: Option<&Component>, catalog: &Catalog<'_>) -> Problem {
    let error = |code, message: String| Problem::error(code, at.clone(), message).on_key();
    if let Some(component) = component
        && catalog.fields(role, component.name).iter().any(|field| field == key)
    {
        return error("misplaced-key", format!("{key:?} belongs to the component"))
            .help(format_args!("move it inside `{}:`", component.name));
    }
    let roles = roles_of(key);
    let others = catalog.roles(key);
    // What is a type elsewhere, too, is meant as one where there is none.
    if !roles.is_empty() && (component.is_some() || others.is_empty()) {
        let words: Vec<String> = roles.iter().map(|role| format!("{}s", role.name())).collect();
        let words = words.join(" and ");
        let help = match (key, role) {
            ("id", Role::Sink) => "its name is its key under `sinks:`".to_owned(),
            _ => format!("only {words} take it"),
        };
        return error("wrong-role", format!("{key:?} has no meaning beside a {}", role.name())).help(help);
    }
    if let (None, [other, ..]) = (component, others.as_slice()) {
        let types = catalog.of(role).map(|component| component.name).collect::<Vec<_>>().join(", ");
        return error("wrong-role", format!("{key:?} is a {}, not a {}", other.name(), role.name()))
            .help(format_args!("a {} is one of: {types}", role.name()));
    }
    let types: Vec<&str> = catalog.of(role).map(|component| component.name).collect();
    let (code, message) = match component {
        None => ("unknown-type", format!("no {} is called {key:?}", role.name())),
        Some(_) => ("unknown-field", "unknown field".to_owned()),
    };
    let help = match component {
        None => suggest::help(key, types, "there are"),
        Some(component) => {
            let inner = catalog.fields(role, component.name);
            let near = suggest::nearest(key, inner.iter().map(String::as_str));
            match (suggest::nearest(key, of_role(role).iter().copied()), near) {
                (Some(near), _) => Some(format!("did you mean \"{near}\"?")),
                (None, Some(near)) => {
                    Some(format!("did you mean \"{near}\"? it stands inside `{}:`", component.name))
                }
                (None, None) => suggest::help(key, of_role(role).iter().copied(), "beside its type it takes"),
            }
        }
    };
    Problem { help, ..error(code, message) }
}
