use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use karez_api::{Body, Class, Json, JsonMap, Meta, Millis, Path, Record, RecordId, Scope};
use serde_json::json;

use super::Program;

fn compile(setting: Json) -> Result<Arc<Program>, String> {
    let (vars, literal, warnings) = (Arc::new(JsonMap::new()), BTreeMap::new(), RefCell::default());
    let scope = Scope { vars: &vars, literal: &literal, warnings: &warnings };
    Program::compile(&scope, &Path::root(), &setting).map_err(|problem| problem.message)
}

fn run(program: &str, body: Json) -> Result<Vec<Json>, String> {
    let meta = Meta::new(RecordId::text("r"), "s".into(), Millis(0));
    let program = compile(json!(program))?;
    program.run(&Record::new(Body::from_tree(body), meta)).map_err(|fault| fault.message().to_owned())
}

#[test]
fn a_program_that_makes_too_much_is_given_up() {
    for (program, expected) in [
        ("range(10001)", "more than 10000 values"),
        ("[range(1000001)]", "range would yield more than"),
        ("range(0; 1; 0)", "range would yield more than"),
        (". * 20000000", "would be longer than 16 MiB"),
        ("[range(3) | \"0123456789abcdef\" * 500000]", "yields more than 16 MiB"),
        ("reduce range(300) as $n (1; [.])", "nested more than"),
    ] {
        let refused = run(program, json!("x")).unwrap_err();
        assert!(refused.contains(expected), "{program}: {refused}");
    }
    assert_eq!(run("[range(10000)] | length", json!(null)), Ok(vec![json!(10_000)]));
}

#[test]
fn a_program_is_bounded_before_it_is_read() {
    assert!(compile(json!("[".repeat(200))).is_err_and(|message| message.contains("nested too deep")));
    assert!(compile(json!("-".repeat(2_000))).is_err_and(|message| message.contains("nested too deep")));
    assert!(compile(json!("1".repeat(70_000))).is_err_and(|message| message.contains("at most 64 KiB")));
}

#[test]
fn what_may_go_on_for_ever_needs_consent() {
    for program in [
        "repeat(.)",
        "[while(true; .)]",
        "until(false; .)",
        "recurse(.)",
        "def f: f; f",
        "def f: g; def g: f; f",
    ] {
        assert!(compile(json!(program)).is_err(), "{program}");
    }
    assert!(compile(json!({"program": "[recurse(.a?)]", "unbounded": true})).is_ok());
    assert_eq!(run("[..] | length", json!([1, [2]])), Ok(vec![json!(4)]));
}

#[test]
fn numbers_keep_their_64_bits() {
    assert_eq!(run(".", json!(u64::MAX)), Ok(vec![json!(u64::MAX)]));
    assert_eq!(run(". * 1", json!(i64::MIN)), Ok(vec![json!(i64::MIN)]));
    assert_eq!(run(". - 1", json!(9_007_199_254_740_993_i64)), Ok(vec![json!(9_007_199_254_740_992_i64)]));
    assert!(run("infinite", json!(1)).is_err());
}

#[test]
fn a_run_over_its_budget_is_given_up_and_counted_and_the_second_is_fatal() {
    let program =
        compile(json!("reduce range(1000000) as $n (0; reduce range(1000000) as $m (.; . + 1))")).unwrap();
    let meta = Meta::new(RecordId::text("r"), "s".into(), Millis(0));
    let record = Record::new(Body::from_tree(json!(0)), meta);
    let before = super::jq_runs();
    let classes = [(); 2].map(|()| {
        let fault = program.run(&record).unwrap_err();
        (fault.class(), fault.code().to_owned())
    });
    let budget = || "budget".to_owned();
    assert_eq!(classes, [(Class::Validation, budget()), (Class::Fatal, budget())]);
    let after = super::jq_runs();
    assert!(after.given_up >= before.given_up + 2 && after.slow >= before.slow + 2, "{before:?} {after:?}");
}

/// A definition of the library finds all that it calls, wherever that stands.
#[test]
fn every_definition_of_the_library_can_be_called() {
    for definition in super::library::all() {
        let arguments = vec![".a?"; definition.args.len()].join("; ");
        let call = if arguments.is_empty() {
            definition.name.to_owned()
        } else {
            format!("{}({arguments})", definition.name)
        };
        let program = compile(json!({"program": call, "unbounded": true}));
        if let Err(message) = program {
            assert!(message.contains("does not exist here"), "{}: {message}", definition.name);
        }
    }
}
