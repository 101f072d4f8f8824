use proptest::prelude::*;
use serde_json::json;

use super::{parse_condition, parse_pick};

#[test]
fn picks_follow_the_standard() {
    let tree = json!({"o": {"j j": {"k.k": 3}, "'": {"@": 2}}, "a": [0, 1, 2, 3, 4, 5, 6], "n": [{"a": 1, "b": 2}, {"a": 3, "b": 4}], "é": 1});
    for (path, expected) in [
        ("$.o['j j']['k.k']", Some(json!(3))),
        ("$['o'][\"'\"]['@']", Some(json!(2))),
        ("$.a[-2]", Some(json!(5))),
        ("$.a[9]", None),
        ("$.a[1:3]", Some(json!([1, 2]))),
        ("$.a[5:1:-2]", Some(json!([5, 3]))),
        ("$.a[::-1]", Some(json!([6, 5, 4, 3, 2, 1, 0]))),
        ("$.a[0,0,1]", Some(json!([0, 0, 1]))),
        ("$.n[*]['a','b']", Some(json!([1, 2, 3, 4]))),
        ("$..b", Some(json!([2, 4]))),
        ("$.n[?@.a > 1 && $.a[0] == 0].b", Some(json!([4]))),
        ("$.n[?@[?@ > 3]].a", Some(json!([3]))),
        ("$ .é", Some(json!(1))),
        ("$['\\u00e9']", Some(json!(1))),
        ("$.a[?@ == 1.0]", Some(json!([1]))),
        ("$.none[*]", Some(json!([]))),
        ("$", Some(tree.clone())),
    ] {
        assert_eq!(parse_pick(path).unwrap().pick(&tree), expected, "{path}");
    }
    for bad in [
        "",
        "a",
        "$.",
        "$..",
        "$a",
        "$[",
        "$[]",
        "$[01]",
        "$[-0]",
        "$['a]",
        "$.1",
        "$[a]",
        "$.a.",
        "$ ",
        "$[?]",
        "$['\\x']",
        "$[9007199254740992]",
        "$.a[?@.b == @..c]",
        "$.a[?length(@.b)]",
    ] {
        assert!(parse_pick(bad).is_err(), "{bad}");
    }
    assert!(parse_condition(&"(".repeat(10_000)).is_err());
    assert!(parse_condition(&"!".repeat(5_000)).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "[-$@.*?!=<>&|()\\[\\]'\"\\\\a-c0-9 ,:é]{0,40}") {
        let _picked = parse_pick(&text).is_ok();
        if let Err(mistake) = parse_condition(&text) {
            prop_assert!(text.get(mistake.within).is_some());
        }
    }
}
