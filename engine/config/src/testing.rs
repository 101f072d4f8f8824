//! Small fake components, expressions and environment for this crate's tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use karez_api::{
    Checker, Claim, Component, Condition, Emit, Escape, Evaluate, Expressions, Fault, Json, Opened, Path,
    Problem, Record, Registry, Replay, Scope, Secret, Shape, Sink, SinkContext, SinkPlan, SinkSpec,
    SourceContext, SourcePlan, SourceSpec, Step, StepSpec, Text, Value, constant,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{Environment, Input, Loaded, SourceFile, StoredSecret, load};

/// Files and an environment.
#[derive(Default)]
pub(crate) struct Fixture {
    vars: BTreeMap<String, String>,
    world: BTreeMap<String, String>,
    secrets: BTreeMap<String, String>,
    files: Vec<SourceFile>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::default()
    }
    pub(crate) fn var(mut self, name: &str, value: &str) -> Self {
        self.vars.insert(name.into(), value.into());
        self
    }
    pub(crate) fn file(mut self, path: &str, text: &str) -> Self {
        self.world.insert(path.into(), text.into());
        self
    }
    /// An empty one is not at hand.
    pub(crate) fn secret(mut self, name: &str, text: &str) -> Self {
        self.secrets.insert(name.into(), text.into());
        self
    }
    pub(crate) fn pipeline(self, path: &str, text: &str) -> Self {
        self.layered(0, path, text)
    }
    pub(crate) fn layered(mut self, layer: usize, path: &str, text: &str) -> Self {
        self.files.push(SourceFile { path: path.into(), text: text.into(), layer });
        self
    }
    pub(crate) fn bytes(mut self, path: &str, text: &[u8]) -> Self {
        self.files.push(SourceFile { path: path.into(), text: text.into(), layer: 0 });
        self
    }
    pub(crate) fn load(&self) -> Loaded {
        let registry = registry();
        load(Input { registry: &registry, expressions: &Fake, files: self.files.clone(), environment: self })
    }
    /// All problems, a line each.
    pub(crate) fn problems(&self) -> String {
        self.load().problems.iter().map(|problem| format!("{problem}\n")).collect()
    }
}

impl Environment for Fixture {
    fn var(&self, name: &str) -> Option<String> {
        self.vars.get(name).cloned()
    }
    fn file(&self, path: &str) -> Result<String, String> {
        self.world.get(path).cloned().ok_or_else(|| "no such file".into())
    }
    fn secret(&self, name: &str) -> Result<Option<StoredSecret>, String> {
        let found = self.secrets.get(name).map(String::as_str);
        Ok(found.map(|text| match text {
            "" => StoredSecret::NotAtHand,
            text => StoredSecret::Value(Secret::new(text)),
        }))
    }
    fn data_file(&self, _: &str, path: &str) -> Result<Vec<u8>, String> {
        self.file(path).map(String::into_bytes)
    }
    fn named_schema(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(self.world.get(&format!("schemas/{name}.schema.json")).map(|text| text.clone().into_bytes()))
    }
    fn schema_names(&self) -> Vec<String> {
        let names =
            self.world.keys().filter_map(|path| path.strip_prefix("schemas/")?.strip_suffix(".schema.json"));
        names.map(str::to_owned).collect()
    }
}

pub(crate) fn registry() -> Registry {
    Registry::new(vec![
        Component::source::<HookSpec>(),
        Component::source::<TicksSpec>(),
        Component::source::<ListSpec>(),
        Component::step::<KeepSpec>(),
        Component::step::<MapSpec>(),
        Component::step::<ForkSpec>(),
        Component::step::<CheckedSpec>(),
        Component::sink::<PostSpec>(),
        Component::sink::<VoidSpec>(),
    ])
}

/// A push source with a path of its own.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HookSpec {
    /// The path.
    path: String,
    verify: Verify,
    #[serde(default)]
    events: Vec<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Verify {
    Hmac(#[expect(dead_code, reason = "only its schema matters")] Hmac),
    Token {
        #[expect(dead_code, reason = "only its schema matters")]
        token: Secret,
    },
    None {
        #[expect(dead_code, reason = "only its schema matters")]
        reason: String,
    },
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Hmac {
    #[expect(dead_code, reason = "only its schema matters")]
    algorithm: Algorithm,
    #[expect(dead_code, reason = "only its schema matters")]
    secret: Secret,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Algorithm {
    Sha1,
    Sha256,
}

struct Plan {
    claims: Vec<Claim>,
    replay: Replay,
    identity: bool,
    polls: bool,
}

#[async_trait]
impl SourcePlan for Plan {
    fn replay(&self) -> Replay {
        self.replay
    }
    fn has_identity(&self) -> bool {
        self.identity
    }
    fn polls(&self) -> bool {
        self.polls
    }
    fn claims(&self) -> Vec<Claim> {
        self.claims.clone()
    }
    async fn open(&self, _: SourceContext) -> Result<Opened, Fault> {
        Err(Fault::fatal("never opened"))
    }
}

impl SourceSpec for HookSpec {
    const NAME: &'static str = "hook";
    const SUMMARY: &'static str = "Takes requests.";
    fn check(self, _: &Checker<'_>) -> Option<Box<dyn SourcePlan>> {
        let claims = vec![Claim::IngressPath(self.path)];
        let (Verify::Hmac(_) | Verify::Token { .. } | Verify::None { .. }, _) = (self.verify, self.events);
        Some(Box::new(Plan { claims, replay: Replay::No, identity: false, polls: false }))
    }
}

/// A source that can replay.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TicksSpec {
    #[serde(default)]
    count: u32,
    #[serde(default)]
    every: Option<karez_api::Duration>,
    #[serde(default)]
    follow: bool,
}

impl SourceSpec for TicksSpec {
    const NAME: &'static str = "ticks";
    const SUMMARY: &'static str = "Makes records.";
    fn check(self, _: &Checker<'_>) -> Option<Box<dyn SourcePlan>> {
        let identity = self.count > 0 || self.every.is_some() || self.follow;
        Some(Box::new(Plan { claims: Vec::new(), replay: Replay::Yes, identity, polls: false }))
    }
}

/// A source that asks.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListSpec {}

impl SourceSpec for ListSpec {
    const NAME: &'static str = "list";
    const SUMMARY: &'static str = "Asks for records.";
    fn check(self, _: &Checker<'_>) -> Option<Box<dyn SourcePlan>> {
        Some(Box::new(Plan { claims: Vec::new(), replay: Replay::Yes, identity: true, polls: true }))
    }
}

struct Pass(Vec<String>, bool);

impl Step for Pass {
    fn apply(&self, record: Record, out: &mut Emit) -> Result<(), Fault> {
        out.push(record);
        Ok(())
    }
    fn outputs(&self) -> Vec<String> {
        self.0.clone()
    }
    fn has_default_output(&self) -> bool {
        self.1
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("x-karez-kind" = "condition"))]
struct KeepSpec(Json);

impl StepSpec for KeepSpec {
    const NAME: &'static str = "keep";
    const SUMMARY: &'static str = "Keeps records.";
    fn check(self, cx: &Checker<'_>) -> Option<Box<dyn Step>> {
        cx.condition(&Path::root(), &self.0)?;
        Some(Box::new(Pass(Vec::new(), true)))
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
struct MapSpec(#[schemars(extend("x-karez-kind" = "value"))] BTreeMap<String, Json>);

impl StepSpec for MapSpec {
    const NAME: &'static str = "map";
    const SUMMARY: &'static str = "Builds records.";
    fn check(self, cx: &Checker<'_>) -> Option<Box<dyn Step>> {
        for (name, value) in &self.0 {
            cx.value(&Path::root().field(name.as_str()), value);
        }
        Some(Box::new(Pass(Vec::new(), true)))
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ForkSpec {
    outputs: Vec<String>,
    #[serde(default)]
    rest: bool,
}

impl StepSpec for ForkSpec {
    const NAME: &'static str = "fork";
    const SUMMARY: &'static str = "Has outputs.";
    fn check(self, _: &Checker<'_>) -> Option<Box<dyn Step>> {
        Some(Box::new(Pass(self.outputs, self.rest)))
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
struct CheckedSpec(String);

impl StepSpec for CheckedSpec {
    const NAME: &'static str = "checked";
    const SUMMARY: &'static str = "Looks a schema up.";
    fn check(self, cx: &Checker<'_>) -> Option<Box<dyn Step>> {
        match cx.reuse.schema(&self.0) {
            Ok(_) => Some(Box::new(Pass(Vec::new(), true))),
            Err(why) => {
                cx.report(Problem::error("unknown-schema", Path::root(), why));
                None
            }
        }
    }
}

/// A sink for batches.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PostSpec {
    #[serde(default)]
    connection: Option<String>,
    #[serde(default)]
    #[schemars(extend("x-karez-kind" = "text"))]
    url: String,
    #[serde(default)]
    method: Option<Method>,
    #[serde(default)]
    timeout_after: Option<karez_api::Duration>,
    #[serde(default)]
    size: Option<karez_api::ByteSize>,
    #[serde(default)]
    password: Option<Secret>,
    #[serde(default)]
    port: Option<u16>,
    #[serde(default)]
    file: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
enum Method {
    #[serde(rename = "POST")]
    Post,
    #[serde(rename = "PUT")]
    Put,
}

impl SinkSpec for PostSpec {
    const NAME: &'static str = "post";
    const SUMMARY: &'static str = "Sends records.";
    fn check(self, cx: &Checker<'_>) -> Option<Box<dyn SinkPlan>> {
        let field = |name: &str| Path::root().field(name);
        if let Some(name) = &self.connection
            && cx.reuse.connection(name).is_none()
        {
            cx.report(Problem::error(
                "unknown-connection",
                field("connection"),
                format_args!("no connection is called {name:?}"),
            ));
        }
        cx.text(&field("url"), &self.url, Escape::None);
        if self.port == Some(13) {
            let password = self.password.as_ref().map_or("", |password| password.expose());
            cx.report(Problem::error(
                "bad-value",
                field("port"),
                format_args!("port 13 with {password} is refused"),
            ));
        }
        let (_, _, _) = (self.method, self.timeout_after, self.size);
        Some(Box::new(Out(
            self.file.map(Claim::File).into_iter().collect(),
            Shape::Batch { atomic: false, max: 100 },
        )))
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct VoidSpec {}

impl SinkSpec for VoidSpec {
    const NAME: &'static str = "void";
    const SUMMARY: &'static str = "Forgets records.";
    fn check(self, _: &Checker<'_>) -> Option<Box<dyn SinkPlan>> {
        Some(Box::new(Out(Vec::new(), Shape::Single)))
    }
}

struct Out(Vec<Claim>, Shape);

#[async_trait]
impl SinkPlan for Out {
    fn shape(&self, _: bool) -> Shape {
        self.1
    }
    fn claims(&self) -> Vec<Claim> {
        self.0.clone()
    }
    async fn open(&self, _: SinkContext) -> Result<Box<dyn Sink>, Fault> {
        Err(Fault::fatal("never opened"))
    }
}

/// Expressions in which `BAD` is wrong, but not where it is literal text.
struct Fake;

impl Fake {
    fn check(scope: &Scope<'_>, at: &Path, setting: &Json) -> Result<(), Vec<Problem>> {
        match setting {
            Json::String(text) => {
                let literal = scope.literal.get(at).map(Vec::as_slice).unwrap_or_default();
                match text.find("BAD").filter(|start| !literal.iter().any(|range| range.contains(start))) {
                    Some(start) => {
                        let problem = Problem::error("bad-expression", at.clone(), "unexpected BAD");
                        Err(vec![problem.within(start..start + 3)])
                    }
                    None => Ok(()),
                }
            }
            Json::Object(fields) => fields
                .iter()
                .try_for_each(|(name, inner)| Self::check(scope, &at.field(name.as_str()), inner)),
            _ => Ok(()),
        }
    }
}

impl Expressions for Fake {
    fn value(&self, scope: &Scope<'_>, at: &Path, setting: &Json) -> Result<Value, Vec<Problem>> {
        Self::check(scope, at, setting)?;
        if setting.as_str().is_some_and(|text| text.starts_with('$')) {
            return Ok(Arc::new(Picked));
        }
        Ok(constant(Some(setting.clone())))
    }
    fn text(&self, scope: &Scope<'_>, at: &Path, setting: &str, _: Escape) -> Result<Text, Vec<Problem>> {
        Self::check(scope, at, &Json::from(setting))?;
        Ok(constant(setting.to_owned()))
    }
    fn condition(&self, scope: &Scope<'_>, at: &Path, setting: &Json) -> Result<Condition, Vec<Problem>> {
        if setting.as_str() == Some("@.x") {
            scope.warn(Problem::warning("existence", at.clone(), "asks whether the field exists"));
        }
        Self::check(scope, at, setting)?;
        let value: Arc<_> = constant(true);
        Ok(value)
    }
}

/// A pick, which differs from record to record.
struct Picked;

impl Evaluate<Option<Json>> for Picked {
    fn eval(&self, record: &Record) -> Result<Option<Json>, Fault> {
        record
            .body()
            .tree()
            .map(|body| Some(body.clone()))
            .map_err(|error| Fault::validation("decode", error))
    }
}
