//! Where the records stand in an answer. They are cut out of its text where plain names lead to them, and moved out of
//! its tree else, but for what only filters and the like can find.

use jsonpath_rust::parser::model::{Segment, Selector};
use jsonpath_rust::parser::parse_json_path;
use karez_api::{Body, Checker, Fault, Json, Meta, Millis, Path, Problem, Record, RecordId, Value};
use serde::de::DeserializeSeed as _;

use super::Page;
use super::fault::{bad, names, records_missing};
use super::way::Way;

/// A path to records, compiled.
pub(super) struct Records {
    text: String,
    /// Names and indexes up to what can match many.
    way: Vec<Step>,
    rest: Rest,
    /// The path, where it is nothing but names.
    names: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Name(String),
    /// From the end where negative.
    Index(i64),
    /// All members.
    Every,
}

/// What comes behind the way.
enum Rest {
    /// Nothing: the path is singular.
    None,
    Steps(Vec<Step>),
    /// Filters, slices, descendants: the whole path as a pick, which copies what it finds.
    Pick(Value),
}

impl Records {
    pub(super) fn check(cx: &Checker<'_>, at: &Path, text: &str) -> Option<Self> {
        if !text.starts_with('$') {
            let message = "says where the records stand, so it begins with $";
            let help = format!("write $.{text}, or $ for the whole answer");
            cx.report(Problem::error("bad-jsonpath", at.clone(), message).help(help));
            return None;
        }
        // It judges the path; jsonpath-rust, which takes more than RFC 9535 has, only takes it apart.
        let pick = cx.value(at, &Json::from(text))?;
        let Ok(query) = parse_json_path(text) else {
            cx.report(Problem::error("bad-jsonpath", at.clone(), "is not a JSONPath (RFC 9535)"));
            return None;
        };
        Some(Self::new(text, query.segments.iter().map(step).collect(), pick))
    }

    fn new(text: &str, steps: Vec<Option<Step>>, pick: Value) -> Self {
        let is_way = |step: &Option<Step>| matches!(step, Some(Step::Name(_) | Step::Index(_)));
        let length = steps.iter().take_while(|step| is_way(step)).count();
        let mut way = steps;
        let rest: Option<Vec<Step>> = way.split_off(length).into_iter().collect();
        let rest = match rest {
            None => Rest::Pick(pick),
            Some(rest) if rest.is_empty() => Rest::None,
            Some(rest) => Rest::Steps(rest),
        };
        Self { text: text.to_owned(), way: way.into_iter().flatten().collect(), rest, names: names_of(text) }
    }

    /// The names that lead to the records, where nothing else does.
    pub(super) fn names(&self) -> Option<&[String]> {
        self.names.as_deref()
    }

    /// The records as they stand in the text of an answer, which is not parsed any further. Nothing where something else
    /// than names leads to them, and where the answer is not what it should be.
    pub(super) fn cut(&self, text: &str) -> Option<Page> {
        let way = self.names.as_deref()?;
        let mut records = Vec::new();
        let mut reader = serde_json::Deserializer::from_str(text);
        let envelope = Way { names: way, records: &mut records }.deserialize(&mut reader).ok()?;
        reader.end().ok()?;
        Some(Page { envelope, records })
    }

    /// Takes the records out of an answer.
    ///
    /// # Errors
    /// `records_missing`: what leads to them is not there, or ends in something that is no list.
    pub(super) fn take(&self, mut tree: Json) -> Result<Page, Fault> {
        if let Rest::Pick(pick) = &self.rest {
            return self.pick(pick, tree);
        }
        let node = self.end_of_way(&mut tree)?;
        let records = match (&self.rest, node) {
            (_, Json::Null) => Vec::new(),
            (Rest::Steps(steps), node) if node.is_array() || node.is_object() => {
                let mut found = Vec::new();
                collect(node, steps, &mut found);
                found
            }
            (_, Json::Array(items)) => std::mem::take(items),
            // The next page's token may stand in it.
            (_, Json::Object(fields)) => vec![Json::Object(fields.clone())],
            (_, scalar) => return Err(self.missing(self.way.len(), scalar)),
        };
        Ok(Page { envelope: tree, records: bodies(records) })
    }

    /// What the singular part of the path leads to.
    fn end_of_way<'t>(&self, tree: &'t mut Json) -> Result<&'t mut Json, Fault> {
        let mut node: &Json = tree;
        for (done, step) in self.way.iter().enumerate() {
            node = step.one(node).ok_or_else(|| self.missing(done, node))?;
        }
        let mut node = tree;
        for step in &self.way {
            let Some(next) = step.one_mut(node) else { return Err(self.missing(0, &Json::Null)) };
            node = next;
        }
        Ok(node)
    }

    fn pick(&self, pick: &Value, mut tree: Json) -> Result<Page, Fault> {
        let end = self.end_of_way(&mut tree)?;
        match end {
            Json::Null => return Ok(Page { envelope: tree, records: Vec::new() }),
            Json::Array(_) | Json::Object(_) => {}
            scalar => return Err(self.missing(self.way.len(), scalar)),
        }
        let meta = Meta::new(RecordId::text("answer"), "answer".into(), Millis(0));
        let answer = Record::new(Body::from_tree(tree), meta);
        let found = pick.eval(&answer).map_err(|fault| bad(fault.message()))?;
        let envelope = answer.into_body().0.into_tree().map_err(bad)?;
        let records = match found {
            None => Vec::new(),
            Some(Json::Array(records)) => records,
            Some(one) => vec![one],
        };
        Ok(Page { envelope, records: bodies(records) })
    }

    /// `node` is where the first `done` steps lead.
    fn missing(&self, done: usize, node: &Json) -> Fault {
        let mut there = "$".to_owned();
        self.way[..done].iter().for_each(|step| step.write(&mut there));
        let found = match node {
            Json::Object(fields) => names(fields.keys().map(String::as_str)),
            Json::Array(items) => format!("is a list of {}", items.len()),
            Json::Null => "is null".into(),
            Json::String(_) => "is a text".into(),
            Json::Number(_) => "is a number".into(),
            Json::Bool(_) => "is true or false".into(),
        };
        records_missing(&self.text, &there, found)
    }
}

fn bodies(trees: Vec<Json>) -> Vec<Body> {
    trees.into_iter().map(Body::from_tree).collect()
}

impl Step {
    fn one<'t>(&self, node: &'t Json) -> Option<&'t Json> {
        match self {
            Self::Name(name) => node.as_object()?.get(name),
            Self::Index(index) => {
                let items = node.as_array()?;
                items.get(place(*index, items.len())?)
            }
            Self::Every => None,
        }
    }

    fn one_mut<'t>(&self, node: &'t mut Json) -> Option<&'t mut Json> {
        match self {
            Self::Name(name) => node.as_object_mut()?.get_mut(name),
            Self::Index(index) => {
                let items = node.as_array_mut()?;
                let place = place(*index, items.len())?;
                items.get_mut(place)
            }
            Self::Every => None,
        }
    }

    fn write(&self, text: &mut String) {
        match self {
            Self::Name(name) if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') => {
                text.push('.');
                text.push_str(name);
            }
            Self::Name(name) => text.push_str(&format!("['{name}']")),
            Self::Index(index) => text.push_str(&format!("[{index}]")),
            Self::Every => text.push_str("[*]"),
        }
    }
}

fn place(index: i64, length: usize) -> Option<usize> {
    match usize::try_from(index) {
        Ok(place) => Some(place),
        Err(_) => length.checked_sub(usize::try_from(index.unsigned_abs()).ok()?),
    }
}

/// Moves out what the steps lead to, in the order in which it stands there.
fn collect(node: &mut Json, steps: &[Step], found: &mut Vec<Json>) {
    let Some((step, rest)) = steps.split_first() else {
        found.push(node.take());
        return;
    };
    match (step, node) {
        (Step::Every, Json::Array(items)) if rest.is_empty() => found.append(items),
        (Step::Every, Json::Array(items)) => {
            items.iter_mut().for_each(|item| collect(item, rest, found));
        }
        (Step::Every, Json::Object(fields)) => {
            fields.values_mut().for_each(|value| collect(value, rest, found));
        }
        (Step::Every, _) => {}
        (step, node) => {
            if let Some(next) = step.one_mut(node) {
                collect(next, rest, found);
            }
        }
    }
}

/// The names of a path that is nothing but names.
pub(crate) fn names_of(path: &str) -> Option<Vec<String>> {
    let name = |segment: &Segment| match segment {
        Segment::Selector(Selector::Name(name)) => Some(name.clone()),
        _ => None,
    };
    parse_json_path(path).ok()?.segments.iter().map(name).collect()
}

/// One step of a path, if it is a plain one.
fn step(segment: &Segment) -> Option<Step> {
    match segment {
        Segment::Selector(Selector::Name(name)) => Some(Step::Name(name.clone())),
        Segment::Selector(Selector::Index(index)) => Some(Step::Index(*index)),
        Segment::Selector(Selector::Wildcard) => Some(Step::Every),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use karez_api::constant;
    use serde_json::json;

    use super::*;
    use crate::testing::{File, places};

    fn records(path: &str) -> Records {
        File::default().check(|cx| Records::check(cx, &Path::root().field("records"), path)).unwrap()
    }

    fn trees(page: &Page) -> Json {
        page.records.iter().map(|body| body.tree().unwrap().clone()).collect()
    }

    /// The records, or the code and message of the fault.
    fn taken(path: &str, answer: Json) -> Result<Json, String> {
        let page = records(path).take(answer);
        page.map(|page| trees(&page)).map_err(|fault| format!("{} {}", fault.code(), fault.message()))
    }

    #[test]
    fn a_list_is_its_items_an_object_one_record_and_null_none() {
        for (path, answer, expected) in [
            ("$", json!([1, {"a": 2}]), json!([1, {"a": 2}])),
            ("$", json!({"a": 1}), json!([{"a": 1}])),
            ("$", json!(null), json!([])),
            ("$.data.items", json!({"data": {"items": [{"id": 1}]}}), json!([{"id": 1}])),
            ("$.data.items", json!({"data": {"items": []}}), json!([])),
            ("$.data.items", json!({"data": {"items": null}}), json!([])),
            ("$['a b'][0]", json!({"a b": [[1, 2], [3]]}), json!([1, 2])),
            ("$[-1]", json!([[1], [2]]), json!([2])),
            ("$[\"it's\"]", json!({"it's": [1]}), json!([1])),
            ("$[*]", json!([1, 2]), json!([1, 2])),
            ("$.*", json!({"a": 1, "b": 2}), json!([1, 2])),
            ("$.data[*].order", json!({"data": [{"order": 1}, {}, {"order": null}]}), json!([1, null])),
            ("$.data[*][*]", json!({"data": [[1], [], [2, 3]]}), json!([1, 2, 3])),
            ("$.data[*]", json!({"data": []}), json!([])),
            ("$.data[*]", json!({"data": null}), json!([])),
            ("$.data[*].order", json!({"data": [{}]}), json!([])),
        ] {
            assert_eq!(taken(path, answer.clone()), Ok(expected), "{path} of {answer}");
        }
    }

    #[test]
    fn what_is_not_there_is_an_error_that_tells_what_is() {
        for (path, answer, expected) in [
            ("$.items", json!({"error": "x", "a": 1}), "at $.items: $ has error, a"),
            ("$.data.items", json!({"data": {}}), "at $.data.items: $.data has nothing in it"),
            ("$.data.items", json!({"data": [1, 2]}), "at $.data.items: $.data is a list of 2"),
            ("$.data.items", json!({"data": null}), "at $.data.items: $.data is null"),
            ("$.data.items", json!({"data": "no"}), "at $.data.items: $.data is a text"),
            ("$.n", json!({"n": 7}), "at $.n: $.n is a number"),
            ("$", json!(true), "at $: $ is true or false"),
            ("$['a b'][3]", json!({"a b": [1]}), "at $['a b'][3]: $['a b'] is a list of 1"),
            ("$[-2]", json!([1]), "at $[-2]: $ is a list of 1"),
            ("$.data[*]", json!({"rows": []}), "at $.data[*]: $ has rows"),
            ("$.data[*].id", json!({"data": "x"}), "at $.data[*].id: $.data is a text"),
        ] {
            let told = taken(path, answer.clone()).unwrap_err();
            assert_eq!(told, format!("records_missing the answer has no records {expected}"), "{answer}");
        }
        let many: Json = (0..15).map(|n| (format!("key{n}\n{}", "x".repeat(100)), json!("secret"))).collect();
        let told = taken("$.items", many).unwrap_err();
        assert!(told.contains("key9") && told.ends_with(" and 5 more") && !told.contains("key10"), "{told}");
        assert!(!told.contains("secret") && !told.contains('\n') && told.len() < 600, "{told}");
    }

    #[test]
    fn the_envelope_is_the_answer_with_an_empty_list_for_the_records() {
        for (path, answer, expected) in [
            ("$.data", json!({"data": [1], "next": "t"}), json!({"data": [], "next": "t"})),
            ("$", json!([1, 2]), json!([])),
            ("$", json!({"id": 1, "next": "t"}), json!({"id": 1, "next": "t"})),
            ("$.data[*]", json!({"data": [1], "next": "t"}), json!({"data": [], "next": "t"})),
            ("$.data[*].o", json!({"data": [{"o": 1, "c": 2}]}), json!({"data": [{"o": null, "c": 2}]})),
        ] {
            assert_eq!(records(path).take(answer.clone()).unwrap().envelope, expected, "{path} of {answer}");
        }
    }

    #[test]
    fn records_are_cut_out_of_the_text_as_they_stand_there() {
        for (path, text, expected, envelope) in [
            ("$", " [1, {\"a\" : 2}]", vec!["1", "{\"a\" : 2}"], json!([])),
            (
                "$.data",
                r#"{"n":{"a":[1]},"data":[{"id":1},[]],"next":"t"}"#,
                vec![r#"{"id":1}"#, "[]"],
                json!({"n": {"a": [1]}, "data": [], "next": "t"}),
            ),
            (
                "$.data.items",
                r#"{"data":{"items":null,"more":true}}"#,
                vec![],
                json!({"data": {"items": null, "more": true}}),
            ),
            // Judged when it is looked into, and alone.
            (
                "$.data",
                r#"{"data":[{"a":1,"a":2},123456789012345678901]}"#,
                vec![r#"{"a":1,"a":2}"#, "123456789012345678901"],
                json!({"data": []}),
            ),
        ] {
            let page = records(path).cut(text).unwrap_or_else(|| panic!("{path} of {text}"));
            let cut: Vec<_> = page.records.iter().map(|body| body.bytes().clone()).collect();
            assert_eq!(
                (cut, &page.envelope),
                (expected.into_iter().map(Bytes::from).collect::<Vec<_>>(), &envelope)
            );
            let parsed = karez_api::parse_json(text.as_bytes());
            if let Ok(tree) = parsed {
                assert_eq!(records(path).take(tree).unwrap().envelope, envelope, "{path} of {text}");
            }
        }
    }

    #[test]
    fn an_answer_that_is_not_as_expected_is_not_cut() {
        for (path, text) in [
            ("$.data", r#"{"data":{"id":1}}"#),
            ("$.data", r#"{"data":7}"#),
            ("$.data", r#"{"rows":[]}"#),
            ("$.data", r#"{"data":[1],"data":[2]}"#),
            ("$.data", r#"{"data":[1],"n":{"a":1,"a":2}}"#),
            ("$.data", r#"{"data":[1]"#),
            ("$.data", r#"{"data":[1]} x"#),
            ("$.data", r#"{"data":[1,]}"#),
            ("$.data", "[1]"),
            ("$", "<html>"),
            ("$", ""),
            ("$.data[0]", r#"{"data":[[1]]}"#),
            ("$.data[*]", r#"{"data":[1]}"#),
            ("$..data", r#"{"data":[1]}"#),
        ] {
            assert!(records(path).cut(text).is_none(), "{path} of {text}");
        }
        let deep = format!("{{\"data\":[{}]}}", "[".repeat(100_000));
        assert!(records("$.data").cut(&deep).is_none());
    }

    #[test]
    fn what_only_a_pick_finds_is_found_by_it_where_the_way_to_it_exists() {
        let pick = constant(Some(json!([1, 2])));
        let filtered = Records::new("$.data[?@.a]", vec![Some(Step::Name("data".into())), None], pick);
        let answer = json!({"data": [0], "next": "t"});
        let page = filtered.take(answer.clone()).unwrap();
        assert_eq!((trees(&page), page.envelope), (json!([1, 2]), answer));
        assert!(filtered.take(json!({"data": null})).unwrap().records.is_empty());
        assert_eq!(filtered.take(json!({"rows": [1]})).unwrap_err().code(), "records_missing");
        assert_eq!(filtered.take(json!({"data": 1})).unwrap_err().code(), "records_missing");
        assert!(matches!(records("$..id").rest, Rest::Pick(_)));
        assert!(matches!(records("$.data[1:]").rest, Rest::Pick(_)));
    }

    #[test]
    fn a_path_that_is_none_is_told_with_its_place() {
        for path in ["data.items", "$.[", "{{a}}", ""] {
            let check = |cx: &Checker<'_>| Records::check(cx, &Path::root().field("records"), path);
            let problems = File::default().check(check).err().unwrap();
            assert_eq!(places(&problems), ["bad-jsonpath records"], "{path}");
        }
    }
}
