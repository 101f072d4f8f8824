//! Nothing that a file can hold makes a load panic, hang or point outside the file.

use proptest::prelude::*;

use crate::testing::Fixture;

const VALID: &str = "name: one\nvars: &v {a: \"${A:-x}\"}\nsources:\n  a: {ticks: {<<: {count: 1}}, order_by: $.k, dedup: {key: $.id, ttl: 1h}}\n  b:\n    hook:\n      path: /x\n      verify: {hmac: {algorithm: sha256, secret: \"${file:/s}\"}}\nsteps:\n  - {id: m, map: {a: \"{{x}}\", b: 'it''s'}}\n  - keep: |\n      @.x == 1\n      BAD\nsinks:\n  out: {post: {url: \"http://é/{{x}}\"}, batch: {records: 5}, on_failure: {to: park}}\n  park: {void: }\ntests:\n  - {input: {a: [1]}, expect: {out: []}}\n";

fn places_are_inside(text: &[u8]) {
    let loaded = Fixture::new().var("A", "v").file("/s", "secret").bytes("p/a.yaml", text).load();
    let shown = String::from_utf8_lossy(text);
    let lines: Vec<&str> = shown.split('\n').collect();
    for problem in &loaded.problems {
        let line = lines.get(problem.line - 1).unwrap_or_else(|| panic!("{problem}"));
        assert!(problem.column >= 1 && problem.column <= line.chars().count() + 1, "{problem}");
    }
    assert_eq!(loaded.files.len(), 1);
    assert!(loaded.has_errors() || loaded.pipelines.len() <= 1);
    assert!(loaded.show("one").is_none_or(|page| page.contains("p/a.yaml")));
}

#[test]
fn a_billion_laughs_are_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..20 {
        let list = vec![format!("*a{}", n - 1); 9].join(", ");
        text.push_str(&format!("a{n}: &a{n} [{list}]\n"));
    }
    let problems = Fixture::new().pipeline("p/a.yaml", &text).problems();
    assert!(problems.contains("error[too-large]"), "{problems}");
}

#[test]
fn large_and_deep_files_are_refused() {
    let problems = |text: String| Fixture::new().pipeline("p/a.yaml", &text).problems();
    assert!(problems("#".repeat(1 << 21)).contains("larger than 1 MiB"));
    assert!(problems("[".repeat(1 << 20)).contains("error[too-deep]"));
    assert!(problems(format!("{}x", "- ".repeat(1 << 18))).contains("error[too-deep]"));
    assert!(problems("a: &a [*a]\n".into()).contains("error["));
    let strings = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 19), vec!["*a"; 5_000].join(","));
    assert!(problems(strings).contains("error[too-large]"));
}

#[test]
fn many_problems_are_cut_short() {
    let steps: String = (0..20_000).map(|n| format!("  - {{nope{n}: 1}}\n")).collect();
    let problems = Fixture::new().pipeline("p/a.yaml", &format!("source: {{}}\nsteps:\n{steps}")).problems();
    assert!(problems.contains("error[too-many-problems]"));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_survived(text in proptest::collection::vec(any::<u8>(), 0..400)) {
        places_are_inside(&text);
    }

    #[test]
    fn arbitrary_yaml_is_survived(text in "[a-z:{}\\[\\]\"'|>&*<!#$@\\- \n0-9,?.é]{0,200}") {
        places_are_inside(text.as_bytes());
    }

    #[test]
    fn a_changed_file_is_survived(cut in 0..VALID.len(), skip in 0..40_usize, put in "[a-z:{}\\[\\]\"'|>&*<!$@\\- \n]{0,6}") {
        let mut text = VALID.as_bytes()[..cut].to_vec();
        text.extend_from_slice(put.as_bytes());
        text.extend_from_slice(VALID.as_bytes().get(cut + skip..).unwrap_or_default());
        places_are_inside(&text);
    }
}
