//! What all pipelines may use: connections, mappings, schemas, defaults, vars and steps of shared files.

use std::cell::{Cell, RefCell};

use karez_api::{Json, JsonMap, Neighbour, Path, Problem, Reuse, Role};

use crate::engine_keys::of_role;
use crate::files::Desk;
use crate::interpolate::{interpolate, reason};
use crate::node::Catalog;
use crate::schema_check::{Check, template_in_fixed};
use crate::sheet::{Origins, Sheet, Spot};
use crate::{Environment, FileKind, overlay, suggest, tree, yaml};

/// The keys of a shared file.
pub(crate) const SECTIONS: [&str; 6] = ["connections", "mappings", "schemas", "defaults", "vars", "steps"];

/// All shared files as one tree.
pub(crate) struct Shared {
    pub(crate) sheet: Sheet,
    /// Something that every pipeline may depend on is in error.
    pub(crate) holds_all: bool,
}

/// What is wrong with the outline of a shared file.
pub(crate) fn check_file(map: &JsonMap) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (key, value) in map {
        let at = Path::root().field(key.as_str());
        if key == "overlay" {
            if !value.is_boolean() {
                problems.push(Problem::error("wrong-type", at, "expected true or false"));
            }
        } else if !SECTIONS.contains(&key.as_str()) {
            let problem = Problem::error("unknown-field", at, "unknown field").on_key();
            let help = suggest::help(key, SECTIONS, "a shared file holds only");
            problems.push(Problem { help, ..problem });
        } else if let Json::Object(entries) = value {
            problems.extend(entries.iter().filter_map(|(name, entry)| check_entry(key, name, entry, &at)));
        } else {
            let found = tree::describe(value);
            problems.push(Problem::error(
                "wrong-type",
                at,
                format_args!("expected a map of names, found {found}"),
            ));
        }
    }
    problems
}

fn check_entry(section: &str, name: &str, entry: &Json, at: &Path) -> Option<Problem> {
    let (right, expected) = match section {
        "connections" => (entry.is_object(), "a map of settings"),
        "schemas" => (entry.is_object() || entry.is_string(), "a JSON Schema or a path"),
        "steps" => (entry.is_array(), "a list of steps"),
        "defaults" => (entry.is_object(), "a map of settings"),
        _ => (true, ""),
    };
    let found = tree::describe(entry);
    (!right).then(|| {
        Problem::error("wrong-type", at.field(name), format_args!("expected {expected}, found {found}"))
    })
}

impl Shared {
    /// Puts all shared files together and reports what clashes.
    pub(crate) fn gather(desk: &mut Desk, catalog: &Catalog<'_>, environment: &dyn Environment) -> Self {
        let tree = SECTIONS.iter().map(|name| ((*name).to_owned(), Json::Object(JsonMap::new()))).collect();
        let nowhere = Origins::of_file(0, &[]);
        let mut sheet = Sheet::new(Json::Object(tree), nowhere);
        for index in 0..desk.files.len() {
            if desk.files[index].kind == FileKind::Shared
                && let Some((tree, origins)) = desk.files[index].content.take()
            {
                add(desk, index, &mut sheet, &tree, &origins);
            }
        }
        for section in ["connections", "mappings", "vars"] {
            interpolate(&mut sheet, &Path::root().field(section), environment);
        }
        check_connections(&mut sheet, catalog);
        check_defaults(&sheet, catalog);
        desk.report_sheet(&sheet);
        let bad = |section| sheet.is_bad(&Path::root().field(section));
        let holds_all = bad("defaults") || bad("vars") || desk.files.iter().any(|file| file.holds_all);
        Self { sheet, holds_all }
    }

    pub(crate) fn entry(&self, section: &str, name: &str) -> Option<(&Json, Path)> {
        let at = Path::root().field(section).field(name);
        self.sheet.get(&at).map(|value| (value, at))
    }

    pub(crate) fn names(&self, section: &str) -> Vec<&str> {
        let entries = tree::object(&self.sheet.tree, &Path::root().field(section));
        entries.map(|entries| entries.keys().map(String::as_str).collect()).unwrap_or_default()
    }

    /// The connections that nothing is wrong with, by name.
    pub(crate) fn connections(&self) -> Vec<(String, Json)> {
        let at = Path::root().field("connections");
        let entries = tree::object(&self.sheet.tree, &at).into_iter().flatten();
        let good = entries.filter(|(name, _)| !self.sheet.is_bad(&at.field(name.as_str())));
        good.map(|(name, settings)| (name.clone(), settings.clone())).collect()
    }

    pub(crate) fn vars(&self) -> JsonMap {
        tree::object(&self.sheet.tree, &Path::root().field("vars")).cloned().unwrap_or_default()
    }
}

fn add(desk: &mut Desk, index: usize, sheet: &mut Sheet, tree: &Json, origins: &Origins) {
    for section in SECTIONS {
        let Some(entries) = tree.get(section).and_then(Json::as_object) else {
            continue;
        };
        for (name, entry) in entries {
            let at = Path::root().field(section);
            match (section, entry) {
                ("defaults", Json::Object(fields)) => {
                    if sheet.get(&at.field(name.as_str())).is_none() {
                        overlay::graft(
                            sheet,
                            &at,
                            name,
                            Json::Object(JsonMap::new()),
                            origins,
                            &at.field(name.as_str()),
                        );
                    }
                    for (field, value) in fields {
                        add_entry(desk, index, sheet, &at.field(name.as_str()), field, value, origins);
                    }
                }
                ("defaults", _) => {}
                _ => add_entry(desk, index, sheet, &at, name, entry, origins),
            }
        }
    }
}

fn add_entry(
    desk: &mut Desk,
    index: usize,
    sheet: &mut Sheet,
    parent: &Path,
    name: &str,
    entry: &Json,
    origins: &Origins,
) {
    let at = parent.field(name);
    if sheet.get(&at).is_none() {
        return overlay::graft(sheet, parent, name, entry.clone(), origins, &at);
    }
    let first = sheet.origins.find(&at);
    let file = &desk.files[index];
    if file.overlay && desk.files[first.file].layer < file.layer {
        return overlay::merge(sheet, &at, entry, origins, &at);
    }
    let second = Spot { file: index, path: at };
    report_twice(desk, &first, &second, &format!("{name:?}"));
}

/// Reports one name at both of its places.
pub(crate) fn report_twice(desk: &mut Desk, first: &Spot, second: &Spot, what: &str) {
    for (here, there) in [(first, second), (second, first)] {
        let other = desk.name_place(there);
        let problem = Problem::error(
            "duplicate-name",
            here.path.clone(),
            format_args!("{what} stands also in {other}"),
        )
        .on_key()
        .help("rename one; a file of a later path may change it with `overlay: true`");
        desk.report(here.file, problem);
    }
}

/// Settings of a connection are fixed, whatever the component that uses it makes of its own.
fn check_connections(sheet: &mut Sheet, catalog: &Catalog<'_>) {
    let at = Path::root().field("connections");
    let names: Vec<String> =
        tree::object(&sheet.tree, &at).map(|all| all.keys().cloned().collect()).unwrap_or_default();
    let mut problems = Vec::new();
    if let Some(connections) = tree::get_mut(&mut sheet.tree, &at) {
        tree::strings_mut(connections, &at, &mut |path, text| {
            let literal = sheet.literal.get(path).map_or(&[][..], Vec::as_slice);
            problems.extend(template_in_fixed(text, literal, path));
        });
    }
    sheet.problems.borrow_mut().extend(problems);
    for name in &names {
        check_connection(sheet, catalog, name, &at);
    }
}

fn check_connection(sheet: &mut Sheet, catalog: &Catalog<'_>, name: &str, parent: &Path) {
    let at = parent.field(name);
    let (schema, Some(kind)) = catalog.connection() else { return };
    if sheet.is_bad(&at) {
        return;
    }
    let mut settings = sheet.get(&at).cloned().unwrap_or_default();
    let nowhere_else = |_: &Path, _: &str| None;
    let mut check = Check::new(&sheet.written, &nowhere_else);
    check.run(schema, &mut settings, &at);
    let Check { mut problems, secret, .. } = check;
    if !problems.iter().any(crate::sheet::is_error) {
        let found = (kind.check)(name, &settings).into_iter();
        problems.extend(found.map(|problem| Problem { at: at.join(&problem.at), ..problem }));
    }
    sheet.problems.borrow_mut().extend(problems);
    sheet.secret.borrow_mut().extend(secret);
    tree::set(&mut sheet.tree, parent, name, settings);
}

fn check_defaults(sheet: &Sheet, catalog: &Catalog<'_>) {
    let root = Path::root().field("defaults");
    let Some(entries) = tree::object(&sheet.tree, &root) else {
        return;
    };
    let roles = [Role::Source, Role::Step, Role::Sink];
    for (name, fields) in entries {
        let at = root.field(name.as_str());
        let role = roles.into_iter().find(|role| role.name() == name);
        let known: Vec<String> = match role {
            Some(role) => of_role(role)
                .iter()
                .filter(|key| !matches!(**key, "id" | "from" | "schedule"))
                .map(|key| (*key).to_owned())
                .collect(),
            None => roles.into_iter().flat_map(|role| catalog.fields(role, name)).collect(),
        };
        if role.is_none() && !roles.into_iter().any(|role| catalog.get(role, name).is_some()) {
            let names = catalog.all_names();
            let problem = Problem::error("unknown-type", at, "neither a role nor a component").on_key();
            let all = names.iter().copied().chain(["source", "step", "sink"]);
            sheet.report(Problem { help: suggest::help(name, all, "there are"), ..problem });
            continue;
        }
        for field in fields.as_object().into_iter().flat_map(JsonMap::keys) {
            if !known.iter().any(|known| known == field) {
                let problem =
                    Problem::error("unknown-field", at.field(field.as_str()), "unknown field").on_key();
                let help = suggest::help(field, known.iter().map(String::as_str), "it takes");
                sheet.report(Problem { help, ..problem });
            }
        }
    }
}

/// The shared parts as one pipeline's components see them; what they took is remembered for its fingerprints.
pub(crate) struct Lookups<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) environment: &'a dyn Environment,
    pub(crate) files: &'a [crate::files::File],
    /// The pipeline's own file.
    pub(crate) file: &'a str,
    pub(crate) taken: RefCell<Vec<(String, Json)>>,
    /// The pipeline's sources.
    pub(crate) sources: RefCell<Vec<Neighbour>>,
    /// Something that was taken is in error.
    pub(crate) bad: Cell<bool>,
}

impl Lookups<'_> {
    fn take(&self, section: &str, name: &str) -> Option<Json> {
        let (value, at) = self.shared.entry(section, name)?;
        if self.shared.sheet.is_bad(&at) {
            self.bad.set(true);
        }
        self.remember(section, name, value);
        Some(value.clone())
    }

    fn remember(&self, section: &str, name: &str, value: &Json) {
        self.taken.borrow_mut().push((format!("{section}/{name}"), value.clone()));
    }

    fn schema_by_path(&self, beside: &str, path: &str) -> Result<Json, String> {
        let bytes =
            self.environment.data_file(beside, path).map_err(|why| format!("{path}: {}", reason(&why)))?;
        parse(path, &bytes)
    }
}

impl Reuse for Lookups<'_> {
    fn connection(&self, name: &str) -> Option<Json> {
        self.take("connections", name)
    }

    fn mapping(&self, name: &str) -> Option<Json> {
        self.take("mappings", name)
    }

    fn schema(&self, name: &str) -> Result<Json, String> {
        let schema = match self.take("schemas", name) {
            Some(Json::String(path)) => {
                let spot = self.shared.sheet.origins.find(&Path::root().field("schemas").field(name));
                self.schema_by_path(&self.files[spot.file].path, &path)?
            }
            Some(inline) => inline,
            None if name.contains('/')
                || [".json", ".yaml", ".yml"].iter().any(|end| name.ends_with(end)) =>
            {
                self.schema_by_path(self.file, name)?
            }
            None => {
                let bytes =
                    self.environment.named_schema(name).map_err(|why| format!("schema {name:?}: {why}"))?;
                let bytes = bytes.ok_or_else(|| {
                    let names = self.names("schemas");
                    let help = suggest::help(name, names.iter().map(String::as_str), "schemas");
                    let help = help.unwrap_or_else(|| format!("put it into schemas/{name}.schema.json"));
                    format!("no schema is called {name:?}; {help}")
                })?;
                parse(&format!("{name}.schema.json"), &bytes)?
            }
        };
        self.remember("schemas", name, &schema);
        Ok(schema)
    }

    fn sources(&self) -> Vec<Neighbour> {
        let sources = self.sources.borrow().clone();
        sources.iter().for_each(|source| self.remember("sources", &source.name, &source.settings));
        sources
    }

    fn names(&self, kind: &str) -> Vec<String> {
        let mut names: Vec<String> = self.shared.names(kind).into_iter().map(str::to_owned).collect();
        if kind == "schemas" {
            names.extend(self.environment.schema_names());
        }
        names.sort();
        names.dedup();
        names
    }
}

fn parse(path: &str, bytes: &[u8]) -> Result<Json, String> {
    if path.ends_with(".yaml") || path.ends_with(".yml") {
        return yaml::read(bytes)
            .map(|document| document.tree)
            .map_err(|error| format!("{path}: {}", error.message));
    }
    karez_api::parse_json(bytes).map_err(|error| format!("{path}: {error}"))
}
