//! `tests:` of a pipeline file. Their data is compared as it stands; they run elsewhere.

use std::sync::Arc;

use karez_api::{Build, Json, JsonMap, Millis, Path, Problem, RecordedRun, Role, Test};

use crate::node::Node;
use crate::sheet::Sheet;
use crate::{suggest, tree};

const FIELDS: [&str; 9] = ["name", "input", "replay", "faults", "answers", "expect", "exact", "now", "seed"];
/// What `expect` may name beside sinks.
const COUNTS: [&str; 3] = ["dead_letters", "filtered", "duplicates"];

/// The cases that are right; what is wrong with the others is reported.
pub(crate) fn read(sheet: &Sheet, nodes: &[Node<'_>]) -> Vec<Test> {
    let root = Path::root().field("tests");
    match sheet.get(&root) {
        None | Some(Json::Null) => Vec::new(),
        Some(Json::Array(cases)) => {
            let cases = cases.iter().enumerate();
            cases
                .filter_map(|(index, case)| Case { sheet, nodes, at: root.index(index) }.read(case))
                .collect()
        }
        Some(other) => {
            let message = format!("expected a list of cases, found {}", tree::describe(other));
            sheet.report(Problem::error("wrong-type", root, message));
            Vec::new()
        }
    }
}

struct Case<'a> {
    sheet: &'a Sheet,
    nodes: &'a [Node<'a>],
    at: Path,
}

impl Case<'_> {
    fn read(&self, case: &Json) -> Option<Test> {
        let Some(fields) = case.as_object() else {
            return self.wrong(&self.at, "a case with `input` and `expect`", case);
        };
        for name in fields.keys().filter(|name| !FIELDS.contains(&name.as_str())) {
            let problem =
                Problem::error("unknown-field", self.at.field(name.as_str()), "unknown field").on_key();
            self.sheet.report(Problem { help: suggest::help(name, FIELDS, "a case has"), ..problem });
        }
        let name = self.name(fields);
        let replay = self.replay(fields);
        let input = if fields.contains_key("replay") { Some(Vec::new()) } else { self.input(fields) };
        let answers = self.answers(fields);
        let expect = self.expect(fields);
        let exact = self.field(fields, "exact", "true or false", false, Json::as_bool);
        let seed = self.field(fields, "seed", "a whole number from 0", 0, Json::as_u64);
        let now = self.now(fields);
        Some(Test {
            name,
            at: self.at.clone(),
            input: input?,
            replay: replay?,
            answers: answers?,
            expect: expect?,
            exact: exact?,
            now: now?,
            seed: seed?,
        })
    }

    fn wrong<T>(&self, at: &Path, expected: &str, found: &Json) -> Option<T> {
        let message = format!("expected {expected}, found {}", tree::describe(found));
        self.sheet.report(Problem::error("wrong-type", at.clone(), message));
        None
    }

    fn missing<T>(&self, name: &str) -> Option<T> {
        self.sheet.report(Problem::error(
            "missing-field",
            self.at.clone(),
            format_args!("{name:?} is missing"),
        ));
        None
    }

    fn field<T>(
        &self,
        fields: &JsonMap,
        name: &str,
        expected: &str,
        default: T,
        read: fn(&Json) -> Option<T>,
    ) -> Option<T> {
        let Some(value) = fields.get(name) else {
            return Some(default);
        };
        read(value).or_else(|| self.wrong(&self.at.field(name), expected, value))
    }

    fn name(&self, fields: &JsonMap) -> String {
        let number = self.at.keys().last().map_or(1, |key| match key {
            karez_api::Key::Index(index) => index + 1,
            karez_api::Key::Field(_) => 1,
        });
        let default = format!("case {number}");
        self.field(fields, "name", "a string", default.clone(), |value| value.as_str().map(str::to_owned))
            .unwrap_or(default)
    }

    /// Records by source; in the short form, or with one source, a list alone will do.
    fn input(&self, fields: &JsonMap) -> Option<Vec<(Arc<str>, Vec<Json>)>> {
        let at = self.at.field("input");
        let sources: Vec<&str> = self.names(Role::Source);
        match fields.get("input") {
            None => self.missing("input"),
            Some(Json::Array(records)) => match sources.as_slice() {
                [only] => Some(vec![(Arc::from(*only), records.clone())]),
                [] => None,
                _ => {
                    let problem = Problem::error(
                        "wrong-type",
                        at,
                        "there are several sources, so records need the name of theirs",
                    );
                    self.sheet.report(problem.help(format_args!("write `input: {{{}: […]}}`", sources[0])));
                    None
                }
            },
            Some(Json::Object(lists)) => {
                let mut input = Vec::new();
                let mut right = true;
                for (name, records) in lists {
                    right &= self.known(&at, name, &sources, "source");
                    match records {
                        Json::Array(records) => input.push((Arc::from(name.as_str()), records.clone())),
                        other => {
                            right = self
                                .wrong(&at.field(name.as_str()), "a list of records", other)
                                .unwrap_or(false)
                        }
                    }
                }
                // Sources go in file order, whatever the order here.
                input.sort_by_key(|(name, _): &(Arc<str>, _)| {
                    sources.iter().position(|known| **known == **name)
                });
                right.then_some(input)
            }
            Some(other) => self.wrong(&at, "a list of records, or lists by source", other),
        }
    }

    /// A fixture beside the file, in place of `input`.
    fn replay(&self, fields: &JsonMap) -> Option<Option<RecordedRun>> {
        let faults = self.field(fields, "faults", "true or false", true, Json::as_bool);
        let Some(setting) = fields.get("replay") else {
            if fields.contains_key("faults") {
                let message = "faults are tried only where a case has `replay`";
                self.sheet.report(Problem::error("misplaced-key", self.at.field("faults"), message).on_key());
                return None;
            }
            return Some(None);
        };
        let at = self.at.field("replay");
        if fields.contains_key("input") {
            let message = "a case has `input` or `replay`, not both";
            self.sheet.report(Problem::error("misplaced-key", at, message).on_key());
            return None;
        }
        let Some(fixture) = setting.as_str().filter(|path| !path.is_empty()) else {
            return self.wrong(&at, "the path of a fixture, like \"fixtures/orders.json\"", setting);
        };
        Some(Some(RecordedRun { fixture: fixture.to_owned(), faults: faults? }))
    }

    /// By the names of steps that ask.
    fn answers(&self, fields: &JsonMap) -> Option<JsonMap> {
        let at = self.at.field("answers");
        let asking: Vec<&str> = (self.nodes.iter())
            .filter(|node| matches!(node.component.build, Build::Asking(_)))
            .map(|node| node.name.as_str())
            .collect();
        match fields.get("answers") {
            None => Some(JsonMap::new()),
            Some(Json::Object(answers)) => {
                // All of them are looked at, so that each wrong one is told.
                let known = |name: &&String| self.known(&at, name, &asking, "step that asks another system");
                let right = answers.keys().filter(known).count() == answers.len();
                right.then(|| answers.clone())
            }
            Some(other) => self.wrong(&at, "answers by the names of steps", other),
        }
    }

    fn expect(&self, fields: &JsonMap) -> Option<JsonMap> {
        let at = self.at.field("expect");
        let sinks = self.names(Role::Sink);
        match fields.get("expect") {
            None => self.missing("expect"),
            Some(Json::Array(records)) => match sinks.as_slice() {
                [only] => Some(JsonMap::from_iter([((*only).to_owned(), Json::Array(records.clone()))])),
                _ => self.wrong(&at, "lists by sink", &Json::Array(Vec::new())),
            },
            Some(Json::Object(expected)) => {
                let mut right = true;
                for (name, value) in expected {
                    let field = at.field(name.as_str());
                    let count = matches!(name.as_str(), "filtered" | "duplicates");
                    let is_sink = !COUNTS.contains(&name.as_str()) || sinks.contains(&name.as_str());
                    if is_sink && !self.expected_of(&at, name, &sinks) {
                        right = false;
                        continue;
                    }
                    right &= match value {
                        Json::Number(number) if count && number.is_u64() => true,
                        Json::Array(_) if !count => true,
                        other if count => self.wrong(&field, "a whole number from 0", other).unwrap_or(false),
                        other => self.wrong(&field, "a list", other).unwrap_or(false),
                    };
                }
                right.then(|| expected.clone())
            }
            Some(other) => self.wrong(&at, "lists by sink", other),
        }
    }

    /// Whether `expect` may name this as a sink.
    fn expected_of(&self, at: &Path, name: &str, sinks: &[&str]) -> bool {
        if FIELDS.contains(&name) && !sinks.contains(&name) {
            let message = format!("{name:?} belongs to the case");
            let problem = Problem::error("misplaced-key", at.field(name), message).on_key();
            self.sheet.report(problem.help("move it beside `expect:`"));
            return false;
        }
        self.known(at, name, sinks, "sink")
    }

    fn known(&self, at: &Path, name: &str, names: &[&str], role: &str) -> bool {
        if names.contains(&name) {
            return true;
        }
        if self.is_declared(name, role) {
            // What is wrong with it is reported where it stands.
            return false;
        }
        let problem =
            Problem::error("unknown-name", at.field(name), format_args!("no {role} is called {name:?}"))
                .on_key();
        self.sheet
            .report(Problem { help: suggest::help(name, names.iter().copied(), "there are"), ..problem });
        false
    }

    fn is_declared(&self, name: &str, role: &str) -> bool {
        let root = Path::root();
        (name == role && self.sheet.get(&root.field(role)).is_some())
            || self.sheet.get(&root.field(format!("{role}s")).field(name)).is_some()
    }

    fn names(&self, role: Role) -> Vec<&str> {
        self.nodes.iter().filter(|node| node.role == role).map(|node| node.name.as_str()).collect()
    }

    /// Milliseconds, or a time as RFC 3339 writes it.
    fn now(&self, fields: &JsonMap) -> Option<Option<Millis>> {
        let at = self.at.field("now");
        match fields.get("now") {
            None => Some(None),
            Some(Json::Number(millis)) if millis.is_u64() => Some(millis.as_u64().map(Millis)),
            Some(Json::String(text)) => {
                match text.parse::<jiff::Timestamp>().map(|time| u64::try_from(time.as_millisecond())) {
                    Ok(Ok(millis)) => Some(Some(Millis(millis))),
                    _ => self.wrong(&at, "a time like \"2026-01-31T12:00:00Z\"", &fields["now"]),
                }
            }
            Some(other) => self.wrong(&at, "a time like \"2026-01-31T12:00:00Z\"", other),
        }
    }
}
