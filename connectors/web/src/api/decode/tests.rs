//! Whole answers of every format: what comes of them, and that they come to the same in pieces.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::testing::{File, places};

fn checked(format: Json, gzip: bool, records: Option<&str>) -> Result<Decoder, Vec<Problem>> {
    let format: Format = serde_json::from_value(format).unwrap();
    let at = Path::root().field("streams").field("orders");
    File::default().check(|cx| Decoder::check(cx, &at, &format, gzip, records))
}

fn decoder(format: Json) -> Decoder {
    checked(format, false, None).unwrap()
}

/// The records, or code and message of the fault.
fn read(format: &Json, body: impl Into<Bytes>) -> Result<Json, String> {
    let page = decoder(format.clone()).read(body.into());
    page.and_then(|page| trees(page.records)).map(Json::Array).map_err(told)
}

fn told(fault: Fault) -> String {
    assert_eq!(fault.class(), karez_api::Class::Service);
    format!("{} {}", fault.code(), fault.message())
}

fn rows_of(decoder: &Decoder) -> Rows {
    decoder.lines().or_else(|| decoder.items(MAX_ROW)).unwrap()
}

/// The same, in pieces of so many bytes.
fn in_pieces(decoder: &Decoder, body: &[u8], sizes: &[usize]) -> Result<Json, String> {
    let mut rows = rows_of(decoder);
    let (mut records, mut at) = (Vec::new(), 0);
    for size in sizes.iter().cycle() {
        let piece = &body[at..body.len().min(at + size)];
        at += piece.len();
        records.extend(rows.feed(Some(Bytes::copy_from_slice(piece))).map_err(told)?);
        if at == body.len() {
            break;
        }
    }
    records.extend(rows.feed(None).map_err(told)?);
    trees(records).map(Json::Array).map_err(told)
}

fn csv() -> Json {
    json!({"csv": {"null_values": ["", "NULL"]}})
}

fn xml() -> Json {
    json!({"xml": {
        "record": "/s:Envelope/Orders/Order",
        "list": ["Line", "/s:Envelope/Orders/Order/Tags/Tag"],
        "namespaces": {"s": "urn:soap", "": "urn:orders"},
    }})
}

const TABLE: &str =
    "\u{feff}id,name,note\r\n1,\"a, \"\"b\"\"\",\"two\r\nlines\"\r\n\r\n2,NULL,\r\n3,é,\u{feff}x";
const LINES: &str = "\u{feff}{\"id\":1,\"t\":\"é\"}\n\r\n [2] \r\n\"three\"\n4";
const DOCUMENT: &str = "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<!DOCTYPE e [ <!ENTITY x \"y\"> ]>\
<e:Envelope xmlns:e=\"urn:soap\" xmlns=\"urn:orders\"><!-- > --><e:Header>ignored &amp; gone</e:Header>\
<o:Orders xmlns:o=\"urn:orders\" page=\"1\"><Order id=\"1\" note=\"a&lt;b&#10;c\"><Line>x &amp; \u{feff}y</Line>\
<Empty/><Blank>  </Blank><Price cur='EUR'> 5 </Price></Order>\r\n<o:Order><Line>é</Line><Line><![CDATA[<raw>]]></Line>\
<Tags><Tag/></Tags>mixed<b>in</b> text&#x41;</o:Order><Other/><Order/></o:Orders></e:Envelope>\n<?end?>";

fn table_records() -> Json {
    json!([
        {"id": "1", "name": "a, \"b\"", "note": "two\r\nlines"},
        {"id": "2", "name": null, "note": null},
        {"id": "3", "name": "é", "note": "\u{feff}x"},
    ])
}

fn document_records() -> Json {
    json!([
        {"@id": "1", "@note": "a<b\nc", "Line": ["x & \u{feff}y"], "Empty": null, "Blank": null,
         "Price": {"@cur": "EUR", "#text": "5"}},
        {"Line": ["é", "<raw>"], "Tags": {"Tag": [null]}, "b": "in", "#text": "mixed textA"},
        null,
    ])
}

fn samples() -> Vec<(Json, &'static str, Json)> {
    vec![
        (json!("ndjson"), LINES, json!([{"id": 1, "t": "é"}, [2], "three", 4])),
        (csv(), TABLE, table_records()),
        (xml(), DOCUMENT, document_records()),
    ]
}

#[test]
fn every_format_has_its_records_whole_or_in_pieces_of_any_size() {
    for (format, body, expected) in samples() {
        assert_eq!(read(&format, body), Ok(expected.clone()), "{format}");
        let decoder = decoder(format.clone());
        for size in 1..=body.len() {
            assert_eq!(
                in_pieces(&decoder, body.as_bytes(), &[size]),
                Ok(expected.clone()),
                "{format} by {size}"
            );
        }
        for at in 1..body.len() {
            let sizes = [at, body.len()];
            assert_eq!(
                in_pieces(&decoder, body.as_bytes(), &sizes),
                Ok(expected.clone()),
                "{format} at {at}"
            );
        }
    }
}

/// JSON whose records stand at `$.data.items`.
fn listed() -> Decoder {
    checked(json!("json"), false, Some("$.data.items")).unwrap()
}

#[test]
fn a_list_in_json_is_the_same_in_pieces_of_any_size() {
    for body in [
        r#"{"data":{"items":[{"id":1,"t":"\u00e9]\""},[2,{}], "é" ,-4.5e1,null,true],"n":[1]},"next":{"a":[]}}"#,
        " {\n \"meta\" : {\"items\":[9]} , \"data\" :\t{ \"items\" : [ ] , \"n\":1 } }\n",
        r#"{"data":{"n":12,"items":null}}"#,
        r#"{"data":{"items":{"id":[1,2]},"n":12}}"#,
        r#"{"data":{"items":[1,23,456]}}"#,
        r#"{"n":[-0.25e-3],"data":{"items":[{"a":-1.5,"b":[2.0E+7,-0]},-3.25]},"x":1.5}"#,
        "\u{feff}{\"d\\u0061ta\":{\"items\":[{}]}}",
    ] {
        let whole = trees(listed().read(body.into()).unwrap().records).unwrap();
        for size in 1..=body.len() {
            let pieces = in_pieces(&listed(), body.as_bytes(), &[size]);
            assert_eq!(pieces, Ok(whole.clone().into()), "{body} by {size}");
        }
    }
    let root = checked(json!("json"), false, None).unwrap();
    assert_eq!(in_pieces(&root, b"[1, 2]", &[1]), Ok(json!([1, 2])));
    assert!(checked(json!("json"), false, Some("$.data[*].x")).unwrap().items(MAX_ROW).is_none());
    assert!(
        checked(json!("json"), true, None).unwrap().items(MAX_ROW).is_none(),
        "a file is unpacked as a whole"
    );
}

#[test]
fn json_in_pieces_that_is_something_else_is_an_error() {
    for (body, expected) in [
        ("<!DOCTYPE html>\n<html></html>", "bad_answer the answer is not JSON: expected value"),
        ("", "bad_answer the answer is empty, not JSON"),
        ("[1]", "bad_answer the answer is not such JSON: the records do not stand there"),
        (
            r#"{"error":"token=secret"}"#,
            "records_missing the answer has no records at $.data.items: $ has no such",
        ),
        (
            r#"{"data":{}}"#,
            "records_missing the answer has no records at $.data.items: $.data has no such field",
        ),
        (
            r#"{"data":{"items":7}}"#,
            "records_missing the answer has no records at $.data.items: $.data.items is some",
        ),
        (
            r#"{"data":null}"#,
            "records_missing the answer has no records at $.data.items: $.data is something else",
        ),
        (r#"{"data":{"items":[1],"items":[2]}}"#, "bad_answer the answer has \"items\" twice"),
        (r#"{"data":{"items":[1]}"#, "bad_answer the answer is"),
        (r#"{"data":{"items":[1,{"a""#, "bad_answer the answer is not JSON: EOF"),
        (r#"{"data":{"items":[1 2]}}"#, "bad_answer the answer is not JSON: a comma or an end is missing"),
        (r#"{"data":{"items":[1,]}}"#, "bad_answer the answer is not JSON: expected value"),
        (r#"{"data":{"items":[{"a":1.}]}}"#, "bad_answer the answer is not JSON: invalid number"),
        (r#"{"data":{"items":[1]},}"#, "bad_answer the answer is not JSON: a comma or an end is missing"),
        (r#"{"data" {"items":[1]}}"#, "bad_answer the answer is not JSON: a colon is missing"),
        (r#"{"data":{"items":[1]}} {}"#, "bad_answer the answer is not one JSON text: more stands behind it"),
    ] {
        for size in [1, 7, 1_000] {
            let told = in_pieces(&listed(), body.as_bytes(), &[size]).unwrap_err();
            assert!(told.starts_with(expected) && !told.contains("secret"), "{body} by {size}: {told}");
        }
    }
}

#[test]
fn a_gzip_file_is_what_is_in_it() {
    for (format, body, expected) in samples() {
        let decoder = checked(format, true, None).unwrap();
        let packed = gzip::packed(body.as_bytes());
        assert_eq!(
            trees(decoder.read(packed.clone().into()).unwrap().records).unwrap(),
            *expected.as_array().unwrap()
        );
        assert_eq!(in_pieces(&decoder, &packed, &[7]), Ok(expected));
        let half = in_pieces(&decoder, &packed[..packed.len() - 9], &[7]).unwrap_err();
        assert!(half.starts_with("bad_answer the answer is not a whole gzip file"), "{half}");
    }
    let bomb = gzip::packed(&vec![b'x'; 64 << 20]);
    let decoder = checked(json!("ndjson"), true, None).unwrap();
    let told = in_pieces(&decoder, &bomb, &[4096]).unwrap_err();
    assert_eq!(told, "bad_answer a row of the answer is longer than 1048576 bytes");
}

/// What texts of these formats are made of.
const JUNK: [&[u8]; 24] = [
    b"<a>",
    b"</a>",
    b"<a/>",
    b"<a b='",
    b"'>",
    b"<",
    b">",
    b"/",
    b"&amp;",
    b"&",
    b";",
    b"<![CDATA[",
    b"]]>",
    b"<!--",
    b"-->",
    b"\"",
    b",",
    b"\r",
    b"\n",
    b"1",
    b"[",
    b"]",
    "\u{feff}".as_bytes(),
    b"\xc3",
];

/// What an answer with a list is made of, so that some come out well.
const JSON_JUNK: [&str; 16] = [
    r#"{"data":{"items":["#,
    r#"{"data":"#,
    r#"{"items":"#,
    "[",
    "]",
    "{",
    "}",
    "]}}",
    ",",
    ":",
    "1",
    "23",
    "\"x\"",
    "null",
    r#""n":[{}]"#,
    " ",
];

proptest! {
    #[test]
    fn pieces_do_not_matter(sizes in prop::collection::vec(1..40_usize, 1..20), which in 0..3_usize) {
        let (format, body, expected) = samples().swap_remove(which);
        prop_assert_eq!(in_pieces(&decoder(format), body.as_bytes(), &sizes), Ok(expected));
    }

    #[test]
    fn junk_comes_to_the_same_in_pieces(
        body in prop::collection::vec(prop::sample::select(&JUNK), 0..24),
        size in 1..8_usize,
        which in 0..3_usize,
    ) {
        let formats = [json!("ndjson"), json!({"csv": {"header": false}}), json!({"xml": {"record": "/a"}})];
        let (decoder, body) = (decoder(formats[which].clone()), body.concat());
        let whole = decoder.read(body.clone().into()).and_then(|page| trees(page.records)).map(Json::Array);
        prop_assert_eq!(whole.ok(), in_pieces(&decoder, &body, &[size]).ok());
    }

    #[test]
    fn json_comes_to_the_same_in_pieces(
        body in prop::collection::vec(prop::sample::select(&JSON_JUNK), 0..24),
        size in 1..8_usize,
    ) {
        let body = body.concat();
        let at_once = in_pieces(&listed(), body.as_bytes(), &[body.len().max(1)]);
        prop_assert_eq!(in_pieces(&listed(), body.as_bytes(), &[size]).ok(), at_once.clone().ok());
        // A list is never found where reading the whole finds none.
        if let (Ok(records), Ok(page)) = (at_once, listed().read(body.clone().into())) {
            prop_assert_eq!(records, Json::Array(trees(page.records).unwrap()), "{}", body);
        }
    }

    #[test]
    fn a_table_comes_back_as_it_was_written(
        rows in prop::collection::vec(prop::collection::vec("[a-z \",\r\n;é]{0,6}", 3), 0..8),
    ) {
        let quoted = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
        let line = |row: &Vec<String>| row.iter().map(quoted).collect::<Vec<_>>().join(",") + "\r\n";
        let body: String = rows.iter().map(line).collect();
        let format = json!({"csv": {"header": false}});
        let expected: Json =
            rows.iter().map(|row| json!({"c1": row[0], "c2": row[1], "c3": row[2]})).collect();
        prop_assert_eq!(read(&format, body), Ok(expected));
    }
}

#[test]
fn an_answer_that_is_something_else_is_an_error_and_never_no_records() {
    let cut = DOCUMENT.split("</e:Envelope>").next().unwrap();
    let page = "<!DOCTYPE html>\n<html><body>Please log in</body></html>";
    let shown = "<!DOCTYPE html> <html><body>Please log in</body></html>";
    for (format, body, expected) in [
        (
            json!("json"),
            page,
            format!("not JSON: expected value at line 1 column 1; its 55 bytes begin with {shown}"),
        ),
        (json!("json"), "", "is empty, not JSON".into()),
        (json!("json"), "[{\"a\":1},{\"a\":", "column 14; its 14 bytes begin with [{\"a\":1},{\"a\":".into()),
        (json!("json"), "Bad Gateway", "its 11 bytes begin with Bad Gateway".into()),
        (json!("ndjson"), page, "line 1 of the answer is not JSON: expected value (<!DOCTYPE html>)".into()),
        (json!("ndjson"), "{}\n\n{\"a\":", "line 3 of the answer is not JSON".into()),
        (csv(), page, format!("not CSV: it is something else; its 55 bytes begin with {shown}")),
        (csv(), "\n  {\"error\":\"slow\"}", "not CSV: it is something else".into()),
        (csv(), "", "is empty, not CSV with a header".into()),
        (
            csv(),
            "a,b\n1,2\n3\n",
            "line 3 of the answer is not CSV: the row has 1 fields where there are 2".into(),
        ),
        (
            csv(),
            "a,b\n\"1\n\",2\n3,\"4\n\n",
            "line 4 of the answer is not CSV: a quote is never closed".into(),
        ),
        (csv(), "a,b,a\n", "line 1 of the answer is not CSV: the header has \"a\" twice".into()),
        (xml(), page, "line 1 of the answer is not XML: it is a page of HTML".into()),
        (xml(), &page[16..], "it is a page of HTML".into()),
        (xml(), "", "is empty, not XML".into()),
        (xml(), "oops", "not XML: there is text outside of its elements; its 4 bytes begin with oops".into()),
        (xml(), cut, "line 3 of the answer is not XML: it ends before <e:Envelope> is closed".into()),
        (xml(), "<a>\n<b></a>", "line 2 of the answer is not XML: <b> is closed by </a>".into()),
        (xml(), "<a>&x;</a>", "the entity &x; is not expanded".into()),
        (xml(), "<a b=\"&x;\"/>", "line 1 of the answer is not XML".into()),
        (xml(), "<a b='1' b='2'/>", "line 1 of the answer is not XML".into()),
        (xml(), "<a/><b/>", "there is something behind its end".into()),
        (xml(), "<?xml version='1.0' encoding='ISO-8859-1'?><a/>", "in ISO-8859-1, and only UTF-8".into()),
    ] {
        let told = read(&format, body.to_owned()).unwrap_err();
        assert!(told.starts_with("bad_answer ") && told.contains(&expected), "{told}\nnot {expected}");
    }
    let long = read(&json!("json"), "x".repeat(10_000)).unwrap_err();
    assert!(long.contains("10000 bytes") && long.len() < 300, "{long}");
    for format in [json!("json"), json!("ndjson"), csv(), xml()] {
        let told = read(&format, &b"a\n\xff\xfe"[..]).unwrap_err();
        assert!(told.starts_with("bad_answer"), "{told}");
    }
}

#[test]
fn a_document_without_its_records_tells_what_it_has() {
    let within = |inner: &str| format!("<x:Envelope xmlns:x=\"urn:soap\">{inner}</x:Envelope>");
    for (body, expected) in [
        ("<a/>".to_owned(), "records_missing the answer has no records at /s:Envelope/Orders/Order: / has a"),
        ("<s:Envelope/>".into(), ": /s:Envelope has nothing in it"),
        (within("<x:Fault/><x:Fault/><y/>"), ": /s:Envelope has s:Fault, y"),
        (within(""), ": /s:Envelope has nothing in it"),
    ] {
        let told = read(&xml(), body.clone()).unwrap_err();
        assert!(told.ends_with(expected), "{body}: {told}");
    }
    assert_eq!(read(&xml(), within("<Orders><Other/></Orders>")), Ok(json!([])));
    assert_eq!(
        read(&json!({"xml": {"record": "/ids/id"}}), "<ids><id>7</id><id>8</id></ids>"),
        Ok(json!(["7", "8"]))
    );
    assert_eq!(read(&json!({"xml": {"record": "/id"}}), "<id v='1'/>"), Ok(json!([{"@v": "1"}])));
}

#[test]
fn a_document_is_only_so_deep_and_so_wide() {
    let deep = |levels: usize| format!("<r>{}{}</r>", "<a>".repeat(levels), "</a>".repeat(levels));
    let format = json!({"xml": {"record": "/r"}});
    assert!(read(&format, deep(63)).is_ok());
    assert!(read(&format, deep(64)).unwrap_err().contains("elements stand in more than 64 others"));
    let wide = |n: usize| {
        let attributes: String = (0..n).map(|n| format!(" a{n}=''")).collect();
        format!("<r{attributes}/>")
    };
    assert!(read(&format, wide(256)).is_ok());
    assert!(read(&format, wide(257)).unwrap_err().contains("more than 256 attributes"));
    let bomb = "<!DOCTYPE r [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;\">]><r>&b;</r>";
    assert!(read(&format, bomb).unwrap_err().contains("the entity &b; is not expanded"));
}

#[test]
fn a_table_may_have_no_header() {
    let body = "1;x\n2;y";
    let named = json!({"csv": {"delimiter": ";", "header": false, "columns": ["id", "name"]}});
    assert_eq!(read(&named, body), Ok(json!([{"id": "1", "name": "x"}, {"id": "2", "name": "y"}])));
    let numbered = json!({"csv": {"delimiter": ";", "header": false}});
    assert_eq!(read(&numbered, body), Ok(json!([{"c1": "1", "c2": "x"}, {"c1": "2", "c2": "y"}])));
    assert_eq!(read(&numbered, ""), Ok(json!([])));
    assert!(read(&named, "1;x\n2").unwrap_err().contains("line 2"));
    assert!(read(&numbered, "1;x\n2").unwrap_err().contains("line 2"));
    assert_eq!(read(&csv(), "a,b\n"), Ok(json!([])), "a header alone is a table without rows");
    assert_eq!(read(&json!("ndjson"), ""), Ok(json!([])));
}

#[test]
fn no_more_is_held_than_one_row_however_long_the_answer_is() {
    const LENGTH: usize = 50 << 20;
    let line = format!("{{\"id\":123456,\"text\":\"{}\"}}\n", "x".repeat(200));
    let row = format!("123456,\"{}\"\r\n", "y\n\"\"".repeat(50));
    let item = format!(",{}", line.trim_end());
    let element = format!("<o><id>1</id><t>{}</t></o>\n", "z&amp;".repeat(40));
    for (format, head, row, tail) in [
        (json!("ndjson"), "", line, ""),
        (csv(), "id,text\n", row, ""),
        (json!({"xml": {"record": "/os/o"}}), "<os>", element, "</os>"),
        (json!("json"), " [0", item, "]\n"),
    ] {
        let mut rows = rows_of(&decoder(format.clone()));
        let count = LENGTH / row.len();
        let block = Bytes::from(row.repeat(100));
        let mut records = rows.feed(Some(head.into())).unwrap().len();
        for _ in 0..count / 100 {
            // Three pieces, none of which ends with a row.
            for (from, to) in [(0, 1000), (1000, block.len() - 7), (block.len() - 7, block.len())] {
                records += rows.feed(Some(block.slice(from..to))).unwrap().len();
                assert!(rows.held.len() <= row.len() && rows.held.capacity() <= 4 * block.len(), "{format}");
            }
        }
        records += rows.feed(Some(tail.into())).unwrap().len();
        records += rows.feed(None).unwrap().len();
        let expected = count / 100 * 100 + usize::from(head.ends_with('0'));
        assert_eq!(records, expected, "{format}");
    }
}

#[test]
fn a_row_in_tiny_pieces_is_not_read_again_for_each_of_them() {
    let (mut rows, text) = (listed_rows(), "x".repeat(900 << 10));
    let whole = format!("{{\"data\":{{\"items\":[\"{text}\"]}}}}");
    let mut records = Vec::new();
    // Half a million looks at up to a megabyte would take minutes.
    for piece in whole.as_bytes().chunks(2) {
        records.extend(rows.feed(Some(Bytes::copy_from_slice(piece))).unwrap());
    }
    records.extend(rows.feed(None).unwrap());
    assert_eq!(trees(records).unwrap(), [Json::from(text)]);
}

fn listed_rows() -> Rows {
    rows_of(&listed())
}

#[test]
fn a_row_without_end_is_given_up() {
    for (format, head) in [(json!("ndjson"), "\""), (csv(), "a\n\""), (xml(), "<a b=\""), (xml(), "<a>")] {
        let mut rows = decoder(format.clone()).lines().unwrap();
        rows.feed(Some(head.into())).unwrap();
        let mut pieces = std::iter::repeat_n(Bytes::from(vec![b'x'; 64 << 10]), 100);
        let fault = pieces.find_map(|piece| rows.feed(Some(piece)).err()).unwrap();
        assert!(fault.message().contains("longer than 1048576 bytes"), "{format}: {fault}");
    }
    let nested = json!({"xml": {"record": "/r"}});
    let mut rows = decoder(nested).lines().unwrap();
    rows.feed(Some("<r>".into())).unwrap();
    let mut pieces = std::iter::repeat_n(Bytes::from("<a>1</a>".repeat(8 << 10)), 100);
    let fault = pieces.find_map(|piece| rows.feed(Some(piece)).err()).unwrap();
    assert!(fault.message().contains("a record of the answer is longer than 1048576 bytes"), "{fault}");
}

#[test]
fn a_json_answer_is_read_as_a_whole_with_what_is_beside_the_records() {
    let decoder = checked(json!("json"), false, Some("$.data")).unwrap();
    let page = decoder.read("\u{feff}{\"data\":[{\"id\":1}],\"next\":\"t\"}".into()).unwrap();
    assert_eq!(page.envelope, json!({"data": [], "next": "t"}));
    assert_eq!(trees(page.records).unwrap(), [json!({"id": 1})]);
    assert!(decoder.lines().is_none() && decoder.items(MAX_ROW).is_some());
    let told = decoder.read("{\"error\":\"token=secret\"}".into()).map_err(told).unwrap_err();
    assert_eq!(told, "records_missing the answer has no records at $.data: $ has error");
    assert!(checked(json!("json"), true, None).unwrap().read(gzip::packed(b"[1]").into()).is_ok());
}

#[test]
fn what_is_wrong_with_the_settings_is_told_with_its_place() {
    for (format, records, expected) in [
        (json!("json"), Some("data"), "bad-jsonpath streams.orders.records"),
        (json!("csv"), Some("$.data"), "bad-records streams.orders.records"),
        (json!({"csv": {"delimiter": "é"}}), None, "bad-value streams.orders.format.csv.delimiter"),
        (json!({"csv": {"columns": ["a"]}}), None, "bad-value streams.orders.format.csv.columns"),
        (
            json!({"csv": {"header": false, "columns": ["a", "a"]}}),
            None,
            "bad-value streams.orders.format.csv.columns",
        ),
        (json!({"xml": {"record": "Order"}}), None, "bad-value streams.orders.format.xml.record"),
        (json!({"xml": {"record": "/a//b"}}), None, "bad-value streams.orders.format.xml.record"),
        (
            json!({"xml": {"record": "/a", "list": ["/b/c"]}}),
            None,
            "bad-value streams.orders.format.xml.list[0]",
        ),
        (
            json!({"xml": {"record": "/a", "list": ["b c"]}}),
            None,
            "bad-value streams.orders.format.xml.list[0]",
        ),
        (
            json!({"xml": {"record": "/a", "namespaces": {"s": ""}}}),
            None,
            "bad-value streams.orders.format.xml.namespaces.s",
        ),
    ] {
        let problems = checked(format.clone(), false, records).err().unwrap();
        assert_eq!(places(&problems), [expected], "{format}");
    }
}

#[test]
fn an_answer_is_asked_for_by_its_media_type() {
    for (format, first) in [
        (json!("json"), "application/json"),
        (json!("ndjson"), "application/x-ndjson"),
        (csv(), "text/csv"),
        (xml(), "application/xml"),
    ] {
        assert_eq!(decoder(format.clone()).accepts()[0], first);
        assert_eq!(checked(format, true, None).unwrap().accepts()[0], "application/gzip");
    }
}
