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

/// The tables of RFC 9535 whose results have one order: a value for a singular path, else a list.
#[test]
fn the_examples_of_the_standard_hold() {
    let store = json!({"store": {
        "book": [
            {"category": "reference", "author": "Nigel Rees", "title": "Sayings of the Century", "price": 8.95},
            {"category": "fiction", "author": "Evelyn Waugh", "title": "Sword of Honour", "price": 12.99},
            {"category": "fiction", "author": "Herman Melville", "title": "Moby Dick", "isbn": "0-553-21311-3", "price": 8.99},
            {"category": "fiction", "author": "J. R. R. Tolkien", "title": "The Lord of the Rings", "isbn": "0-395-19395-8", "price": 22.99}
        ],
        "bicycle": {"color": "red", "price": 399}
    }});
    let authors = || json!(["Nigel Rees", "Evelyn Waugh", "Herman Melville", "J. R. R. Tolkien"]);
    let letters = json!(["a", "b", "c", "d", "e", "f", "g"]);
    let filters = json!({
        "a": [3, 5, 1, 2, 4, 6, {"b": "j"}, {"b": "k"}, {"b": {}}, {"b": "kilo"}],
        "o": {"p": 1, "q": 2, "r": 3, "s": 5, "t": {"u": 6}},
        "e": "f"
    });
    let nested = json!({"o": {"j": 1, "k": 2}, "a": [5, 3, [{"j": 4}, {"k": 6}]]});
    let nulls = json!({"a": null, "b": [null], "c": [{}], "null": 1});
    for (tree, path, expected) in [
        // Table 2
        (&store, "$.store.book[*].author", Some(authors())),
        (&store, "$..author", Some(authors())),
        (&store, "$.store..price", Some(json!([8.95, 12.99, 8.99, 22.99, 399]))),
        (&store, "$..book[2].author", Some(json!(["Herman Melville"]))),
        (&store, "$..book[2].publisher", Some(json!([]))),
        (&store, "$..book[-1].title", Some(json!(["The Lord of the Rings"]))),
        (&store, "$..book[0,1].price", Some(json!([8.95, 12.99]))),
        (&store, "$..book[:2].price", Some(json!([8.95, 12.99]))),
        (&store, "$..book[?@.isbn].price", Some(json!([8.99, 22.99]))),
        (&store, "$..book[?@.price<10].price", Some(json!([8.95, 8.99]))),
        // Table 9
        (&letters, "$[1:3]", Some(json!(["b", "c"]))),
        (&letters, "$[5:]", Some(json!(["f", "g"]))),
        (&letters, "$[1:5:2]", Some(json!(["b", "d"]))),
        (&letters, "$[5:1:-2]", Some(json!(["f", "d"]))),
        (&letters, "$[::-1]", Some(json!(["g", "f", "e", "d", "c", "b", "a"]))),
        // Table 12
        (&filters, "$.a[?@.b == 'kilo']", Some(json!([{"b": "kilo"}]))),
        (&filters, "$.a[?(@.b == 'kilo')]", Some(json!([{"b": "kilo"}]))),
        (&filters, "$.a[?@>3.5]", Some(json!([5, 4, 6]))),
        (&filters, "$.a[?@.b]", Some(json!([{"b": "j"}, {"b": "k"}, {"b": {}}, {"b": "kilo"}]))),
        (&filters, "$[?@.*]", Some(json!([filters["a"], filters["o"]]))),
        (&filters, "$[?@[?@.b]]", Some(json!([filters["a"]]))),
        (&filters, "$.o[?@<3, ?@<3]", Some(json!([1, 2, 1, 2]))),
        (&filters, "$.a[?@<2 || @.b == \"k\"]", Some(json!([1, {"b": "k"}]))),
        (&filters, "$.a[?match(@.b, \"[jk]\")]", Some(json!([{"b": "j"}, {"b": "k"}]))),
        (&filters, "$.a[?search(@.b, \"[jk]\")]", Some(json!([{"b": "j"}, {"b": "k"}, {"b": "kilo"}]))),
        (&filters, "$.o[?@>1 && @<4]", Some(json!([2, 3]))),
        (&filters, "$.o[?@.u || @.x]", Some(json!([{"u": 6}]))),
        (&filters, "$.a[?@.b == $.x]", Some(json!([3, 5, 1, 2, 4, 6]))),
        (&filters, "$.a[?@ == @]", Some(filters["a"].clone())),
        // Table 16
        (&nested, "$..j", Some(json!([1, 4]))),
        (&nested, "$..[0]", Some(json!([5, {"j": 4}]))),
        (&nested, "$.a..[0, 1]", Some(json!([5, 3, {"j": 4}, {"k": 6}]))),
        // Table 17
        (&nulls, "$.a", Some(json!(null))),
        (&nulls, "$.a[0]", None),
        (&nulls, "$.a.d", None),
        (&nulls, "$.b[0]", Some(json!(null))),
        (&nulls, "$.b[*]", Some(json!([null]))),
        (&nulls, "$.b[?@]", Some(json!([null]))),
        (&nulls, "$.b[?@==null]", Some(json!([null]))),
        (&nulls, "$.c[?@.d==null]", Some(json!([]))),
        (&nulls, "$.null", Some(json!(1))),
    ] {
        assert_eq!(parse_pick(path).unwrap().pick(tree), expected, "{path}");
    }
}

/// RFC 9535, Table 11.
#[test]
fn comparisons_are_those_of_the_standard() {
    let tree = json!({"obj": {"x": "y"}, "arr": [2, 3]});
    for (condition, expected) in [
        ("$.absent1 == $.absent2", true),
        ("$.absent1 <= $.absent2", true),
        ("$.absent == 'g'", false),
        ("$.absent1 != $.absent2", false),
        ("$.absent != 'g'", true),
        ("1 <= 2", true),
        ("1 > 2", false),
        ("13 == '13'", false),
        ("'a' <= 'b'", true),
        ("'a' > 'b'", false),
        ("$.obj == $.arr", false),
        ("$.obj != $.arr", true),
        ("$.obj == $.obj", true),
        ("$.obj != $.obj", false),
        ("$.arr == $.arr", true),
        ("$.arr != $.arr", false),
        ("$.obj == 17", false),
        ("$.obj != 17", true),
        ("$.obj <= $.arr", false),
        ("$.obj < $.arr", false),
        ("$.obj <= $.obj", true),
        ("$.arr <= $.arr", true),
        ("1 <= $.arr", false),
        ("1 >= $.arr", false),
        ("1 > $.arr", false),
        ("1 < $.arr", false),
        ("true <= true", true),
        ("true > true", false),
    ] {
        assert_eq!(parse_condition(condition).unwrap().holds(&tree), expected, "{condition}");
    }
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
