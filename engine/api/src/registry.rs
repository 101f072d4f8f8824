//! The list of components. A new one is one line in `connectors/all` (or in the steps' table).

use std::sync::Arc;

use schemars::{JsonSchema, Schema, schema_for};
use serde::de::DeserializeOwned;

use crate::{Checker, Json, Problem, SinkPlan, SourcePlan, Step};

/// Where in a pipeline a component stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Source,
    Step,
    Sink,
}

impl Role {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Step => "step",
            Self::Sink => "sink",
        }
    }
}

type Check<T> = fn(Json, &Checker<'_>) -> Option<Box<T>>;

/// How a checked spec of this component becomes a plan.
#[derive(Clone, Copy)]
pub enum Build {
    Source(Check<dyn SourcePlan>),
    Step(Check<dyn Step>),
    Sink(Check<dyn SinkPlan>),
    /// A step that asks another system: records are delivered to it as to a sink, and go on with its answer.
    Asking(Check<dyn SinkPlan>),
}

/// One component as the table knows it: help, schema, reference and checks are all made from this.
#[derive(Clone)]
pub struct Component {
    /// The type key in a pipeline file.
    pub name: &'static str,
    /// One sentence for the reference.
    pub summary: &'static str,
    pub schema: fn() -> Schema,
    pub build: Build,
}

impl Component {
    #[must_use]
    pub fn role(&self) -> Role {
        match self.build {
            Build::Source(_) => Role::Source,
            Build::Step(_) | Build::Asking(_) => Role::Step,
            Build::Sink(_) => Role::Sink,
        }
    }

    #[must_use]
    pub fn source<S: SourceSpec>() -> Self {
        let build = |json: Json, cx: &Checker<'_>| read::<S>(json, cx)?.check(cx);
        Self { name: S::NAME, summary: S::SUMMARY, schema: schema::<S>, build: Build::Source(build) }
    }

    #[must_use]
    pub fn step<S: StepSpec>() -> Self {
        let build = |json: Json, cx: &Checker<'_>| read::<S>(json, cx)?.check(cx);
        Self { name: S::NAME, summary: S::SUMMARY, schema: schema::<S>, build: Build::Step(build) }
    }

    /// A step that asks another system.
    #[must_use]
    pub fn asking<S: SinkSpec>() -> Self {
        let build = |json: Json, cx: &Checker<'_>| read::<S>(json, cx)?.check(cx);
        Self { name: S::NAME, summary: S::SUMMARY, schema: schema::<S>, build: Build::Asking(build) }
    }

    #[must_use]
    pub fn sink<S: SinkSpec>() -> Self {
        let build = |json: Json, cx: &Checker<'_>| read::<S>(json, cx)?.check(cx);
        Self { name: S::NAME, summary: S::SUMMARY, schema: schema::<S>, build: Build::Sink(build) }
    }
}

fn schema<S: JsonSchema>() -> Schema {
    schema_for!(S)
}

/// The node was checked against its schema before; what serde still finds is reported without a closer place.
fn read<S: DeserializeOwned>(json: Json, cx: &Checker<'_>) -> Option<S> {
    serde_json::from_value(json)
        .map_err(|error| cx.report(Problem::error("bad-value", crate::Path::root(), error)))
        .ok()
}

/// What a pipeline file says of a source.
pub trait SourceSpec: DeserializeOwned + JsonSchema {
    const NAME: &'static str;
    const SUMMARY: &'static str;
    /// Checks what the schema cannot say and compiles expressions. No I/O. Problems go to `cx`.
    fn check(self, cx: &Checker<'_>) -> Option<Box<dyn SourcePlan>>;
}

/// What a pipeline file says of a step.
pub trait StepSpec: DeserializeOwned + JsonSchema {
    const NAME: &'static str;
    const SUMMARY: &'static str;
    /// As [`SourceSpec::check`].
    fn check(self, cx: &Checker<'_>) -> Option<Box<dyn Step>>;
}

/// What a pipeline file says of a sink.
pub trait SinkSpec: DeserializeOwned + JsonSchema {
    const NAME: &'static str;
    const SUMMARY: &'static str;
    /// As [`SourceSpec::check`].
    fn check(self, cx: &Checker<'_>) -> Option<Box<dyn SinkPlan>>;
}

/// What stands under `connections:` of shared files: components look it up by name.
#[derive(Clone, Copy)]
pub struct Connections {
    pub schema: fn() -> Schema,
    /// What the schema cannot say. Problems are relative to the connection; no I/O.
    pub check: fn(&str, &Json) -> Vec<Problem>,
}

/// All components of this binary.
#[derive(Clone, Default)]
pub struct Registry {
    components: Arc<Vec<Component>>,
    connections: Option<Connections>,
}

impl Registry {
    #[must_use]
    pub fn new(components: Vec<Component>) -> Self {
        Self { components: Arc::new(components), connections: None }
    }
    #[must_use]
    pub fn with_connections(self, connections: Connections) -> Self {
        Self { connections: Some(connections), ..self }
    }
    /// What connections are; without it each component reads them as it likes.
    #[must_use]
    pub fn connections(&self) -> Option<Connections> {
        self.connections
    }
    #[must_use]
    pub fn get(&self, role: Role, name: &str) -> Option<&Component> {
        self.of(role).find(|component| component.name == name)
    }
    /// The components of a role, in the table's order.
    pub fn of(&self, role: Role) -> impl Iterator<Item = &Component> {
        self.components.iter().filter(move |component| component.role() == role)
    }
}
