//! `karez test`: one case of a pipeline's `tests:`. Pure: no store, no network, no waiting; clock and ids are fixed.
//! What `input` gives is fed to the graph; with `replay`, what the real sources read of a recorded API is.

mod replay;
mod stage;
mod world;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use karez_api::{
    Body, DedupKey, Fault, Json, JsonMap, Meta, Millis, PipelinePlan, Record, RecordId, RecordedRun,
    SinkNode, SourceNode, Test,
};
use serde_json::json;

use crate::counters::{Counters, End};
use crate::graph::{Graph, Outcome};
use crate::letters::body_json;
use crate::prepare::Prepare;
use crate::tap::Taps;
use replay::Replaying;
pub use stage::{FarEnd, PlannedFault, Play, Stage};

/// When `now:` is not given: 2026-01-01T00:00:00Z.
const NOW: Millis = Millis(1_767_225_600_000);

/// One thing that is not as a test expects.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Mismatch {
    /// What of the test it is about: a sink's name, `dead_letters`, `filtered`, `duplicates`.
    pub about: String,
    pub message: String,
}

/// What one case came to.
pub struct Tested {
    pub name: String,
    /// Empty where all is as expected.
    pub mismatches: Vec<Mismatch>,
    /// Of a case with `replay`.
    pub replayed: Option<Replayed>,
}

/// What came of playing recorded exchanges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replayed {
    pub exchanges: usize,
    /// Faults that were tried in them, of how many that there are.
    pub tried: usize,
    pub faults: usize,
}

/// A plan's graph, for one case after the other.
struct Trial {
    pipeline: Arc<str>,
    graph: Graph,
    sources: Vec<Prepare>,
    nodes: Vec<SourceNode>,
    sinks: Vec<SinkNode>,
}

/// Runs all cases of a plan, in order. Recorded far ends come from `stage`.
#[must_use]
pub fn run_tests(mut plan: PipelinePlan, stage: &dyn Stage) -> Vec<Tested> {
    let tests = std::mem::take(&mut plan.tests);
    let trial = Trial::new(plan);
    let run = |test: Test| {
        let (mismatches, replayed) = match &test.replay {
            None => (trial.run(&test), None),
            Some(recorded) => trial.replay(&test, recorded, stage),
        };
        Tested { name: test.name, mismatches, replayed }
    };
    tests.into_iter().map(run).collect()
}

/// What one case yielded.
#[derive(Default)]
struct Yield {
    sinks: BTreeMap<Arc<str>, Vec<Json>>,
    dead_letters: Vec<Json>,
    filtered: u64,
    duplicates: u64,
}

impl Trial {
    fn new(mut plan: PipelinePlan) -> Self {
        let counters = Arc::new(Counters::default());
        let sources = (0_u16..)
            .zip(&mut plan.sources)
            .map(|(n, node)| {
                // Cases give decoded records of any source: all are prepared when they enter.
                node.journal = false;
                Prepare::new(&plan.name, n, node, true, Arc::clone(&counters))
            })
            .collect();
        let graph = Graph::new(&mut plan, Arc::new(Taps::default()));
        Self { pipeline: plan.name, graph, sources, nodes: plan.sources, sinks: plan.sinks }
    }

    fn run(&self, test: &Test) -> Vec<Mismatch> {
        let now = test.now.unwrap_or(NOW);
        let mut seen: HashSet<(Arc<str>, Arc<str>)> = HashSet::new();
        let mut result = Yield::default();
        let mut number = 0_u64;
        for (name, records) in &test.input {
            let Some(source) = self.sources.iter().position(|source| source.name == *name) else {
                continue;
            };
            for record in records {
                number += 1;
                let record = input_record(record, name, now, test.seed, number);
                self.feed(source, record, (test, now), &mut seen, &mut result);
            }
        }
        compare(test, &result)
    }

    /// The real sources read what was recorded; and again, with each fault.
    fn replay(
        &self,
        test: &Test,
        recorded: &RecordedRun,
        stage: &dyn Stage,
    ) -> (Vec<Mismatch>, Option<Replayed>) {
        let about = |message: String| Mismatch { about: "replay".to_owned(), message };
        let now = match stage.begun(&recorded.fixture) {
            Ok(begun) => test.now.unwrap_or(begun),
            Err(why) => return (vec![about(why)], None),
        };
        let replaying = Replaying { stage, fixture: &recorded.fixture, pipeline: &self.pipeline, now };
        let (mut seen, mut result) = (HashSet::new(), Yield::default());
        let (mut replayed, mut wrong) = (Replayed::default(), Vec::new());
        let asking: Vec<usize> = (0..self.nodes.len()).filter(|n| self.nodes[*n].plan.polls()).collect();
        if asking.is_empty() {
            wrong.push("no source asks an API, so there is nothing to replay".to_owned());
        }
        for source in asking {
            let node = &self.nodes[source];
            let clean = match replaying.clean(node) {
                Ok(clean) => clean,
                Err(why) => {
                    wrong.push(format!("{}: {why}", node.name));
                    continue;
                }
            };
            replayed.exchanges += clean.asked;
            for record in clean.in_order() {
                self.feed(source, record.clone(), (test, now), &mut seen, &mut result);
            }
            if recorded.faults {
                let (tried, came_out) = replaying.with_faults(node, &clean);
                replayed.tried += tried;
                replayed.faults += clean.faults();
                wrong.extend(came_out);
            }
        }
        let mut mismatches: Vec<Mismatch> = wrong.into_iter().map(about).collect();
        mismatches.extend(compare(test, &result));
        (mismatches, Some(replayed))
    }

    fn feed(
        &self,
        source: usize,
        record: Record,
        (test, now): (&Test, Millis),
        seen: &mut HashSet<(Arc<str>, Arc<str>)>,
        result: &mut Yield,
    ) {
        let mut walk = self.graph.walk(now);
        match self.sources[source].records(record.clone()) {
            Ok(parts) => {
                for part in parts {
                    let known = part.dedup.is_some_and(|key: DedupKey| !seen.insert((key.scope, key.key)));
                    if known {
                        result.duplicates += 1;
                    } else {
                        walk.at_source(source, [(part.record, None)]);
                    }
                }
            }
            Err(fault) => walk.refuse(&self.sources[source].name, record, fault),
        }
        self.collect(walk.finish(), (test, now), result);
    }

    fn collect(&self, outcome: Outcome, (test, now): (&Test, Millis), result: &mut Yield) {
        for arrival in outcome.arrivals {
            let sink = &self.sinks[arrival.sink];
            let Some(step) = self.graph.sinks[arrival.sink].asks else {
                let given = body_json(arrival.record.body());
                result.sinks.entry(Arc::clone(&sink.name)).or_default().push(given);
                continue;
            };
            let mut walk = self.graph.walk(now);
            match answered(sink, test, arrival.record.clone()) {
                Ok(record) => walk.after(step, record, None, arrival.diverted, None),
                Err(fault) => walk.refuse(&sink.name, arrival.record, fault),
            }
            self.collect(walk.finish(), (test, now), result);
        }
        for refusal in outcome.refusals {
            result.dead_letters.push(json!({
                "node": &*refusal.node, "class": refusal.fault.class().name(),
                "code": refusal.fault.code(), "message": refusal.fault.message(),
            }));
        }
        let filtered = outcome.ends.iter().filter(|(_, end)| *end == End::Filtered).count();
        result.filtered += filtered as u64;
    }
}

/// What the step makes of the answer that the case has for it.
fn answered(sink: &SinkNode, test: &Test, record: Record) -> Result<Record, Fault> {
    let Some(answer) = test.answers.get(&*sink.name) else {
        let message = format!("cases ask nobody: put what `{}` is answered into `answers:`", sink.name);
        return Err(Fault::validation("no_answer", message));
    };
    sink.plan.answered(record, answer)
}

/// A test's record: a body, or `{body, meta}` with exactly those keys.
fn input_record(input: &Json, source: &Arc<str>, now: Millis, seed: u64, number: u64) -> Record {
    let (body, given) = match input.as_object() {
        Some(map) if map.len() == 2 && map.contains_key("body") && map.contains_key("meta") => {
            (map["body"].clone(), map["meta"].as_object().cloned().unwrap_or_default())
        }
        _ => (input.clone(), JsonMap::new()),
    };
    let mut meta = Meta::new(RecordId::text(format!("test-{seed}-{number}")), Arc::clone(source), now);
    // Beside what every record has, a source's own words stand as expressions see them.
    let (fixed, own): (JsonMap, JsonMap) =
        given.into_iter().partition(|(name, _)| name == "extra" || Meta::FIXED.contains(&name.as_str()));
    crate::letters::overlay_meta(&mut meta, &Json::Object(fixed));
    meta.extra.extend(own);
    Record::new(Body::from_tree(body), meta)
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

fn compare(test: &Test, result: &Yield) -> Vec<Mismatch> {
    let mut mismatches = Vec::new();
    for (about, expected) in &test.expect {
        let (got, whole) = match about.as_str() {
            "dead_letters" => (Json::Array(result.dead_letters.clone()), false),
            "filtered" => (json!(result.filtered), true),
            "duplicates" => (json!(result.duplicates), true),
            sink => {
                let given = result.sinks.get(sink).cloned().unwrap_or_default();
                (Json::Array(given), test.exact)
            }
        };
        if let Err(message) = matches(expected, &got, whole, about) {
            mismatches.push(Mismatch { about: about.clone(), message });
        }
    }
    if !mismatches.is_empty() && !test.expect.contains_key("dead_letters") {
        mismatches.extend(result.dead_letters.iter().map(unexpected));
    }
    mismatches
}

/// A dead letter that a failed case did not speak of: it probably is the reason.
fn unexpected(letter: &Json) -> Mismatch {
    let text = |key: &str| letter[key].as_str().unwrap_or_default();
    let (node, class, code, why) = (text("node"), text("class"), text("code"), text("message"));
    Mismatch {
        about: "dead_letters".to_owned(),
        message: format!("a record was refused at {node}: {class}[{code}]: {why}"),
    }
}

/// Lists match in length, objects by the fields named (`exact`: all of them), numbers by value.
fn matches(expected: &Json, got: &Json, exact: bool, at: &str) -> Result<(), String> {
    match (expected, got) {
        (Json::Array(expected), Json::Array(got)) => {
            if expected.len() != got.len() {
                let n = |n: usize| {
                    if n == 1 { "1 record".to_owned() } else { format!("{n} records") }
                };
                let given = Json::Array(got.clone());
                return Err(format!("{at}: expected {}, got {}: {given}", n(expected.len()), n(got.len())));
            }
            let mut pairs = expected.iter().zip(got).enumerate();
            pairs.try_for_each(|(n, (expected, got))| matches(expected, got, exact, &format!("{at}[{n}]")))
        }
        (Json::Object(expected), Json::Object(got)) => {
            for (name, expected) in expected {
                let at = format!("{at}.{name}");
                let Some(got) = got.get(name) else {
                    return Err(format!("{at}: expected {expected}, but there is no such field"));
                };
                matches(expected, got, exact, &at)?;
            }
            match got.keys().find(|name| exact && !expected.contains_key(*name)) {
                Some(extra) => Err(format!("{at}.{extra}: not expected")),
                None => Ok(()),
            }
        }
        (Json::Number(a), Json::Number(b)) if a.as_f64() == b.as_f64() => Ok(()),
        _ if expected == got => Ok(()),
        _ => Err(format!("{at}: expected {expected}, got {got}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_match_by_the_fields_they_name() {
        let check = |expected: Json, got: Json, exact| matches(&expected, &got, exact, "out");
        assert_eq!(check(json!([{"a": 1}]), json!([{"a": 1.0, "b": 2}]), false), Ok(()));
        assert_eq!(
            check(json!([{"a": 1}]), json!([{"a": 1, "b": 2}]), true),
            Err("out[0].b: not expected".into())
        );
        assert_eq!(
            check(json!([{"a": {"b": 1}}]), json!([{"a": {"b": "1"}}]), false),
            Err("out[0].a.b: expected 1, got \"1\"".into())
        );
        assert_eq!(
            check(json!([]), json!([{"a": 1}]), false),
            Err("out: expected 0 records, got 1 record: [{\"a\":1}]".into())
        );
    }
}
