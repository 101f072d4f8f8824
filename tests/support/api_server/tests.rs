use std::io::Read as _;

use serde_json::json;

use super::*;
use crate::{Answer, Request, send};

fn get(server: &ApiServer, path: &str) -> Answer {
    send(server.address(), &Request::get(path)).unwrap()
}

fn ids(list: &Json) -> Vec<u64> {
    list.as_array().unwrap().iter().map(|record| record["id"].as_u64().unwrap()).collect()
}

#[test]
fn every_style_leads_through_every_record_once() {
    let server = ApiServer::with(25);
    let follow = |style: &str| {
        let (mut found, mut next) = (Vec::new(), Some(String::new()));
        while let Some(query) = next {
            let answer = get(&server, &format!("/{style}/records?limit=10{query}"));
            let body = answer.json();
            let list = ids(if body.is_array() { &body } else { &body["items"] });
            let n = found.len() + list.len();
            next = match style {
                "cursor" => body["next"].as_str().map(|next| format!("&cursor={next}")),
                "header" => answer.header("x-next").map(|next| format!("&cursor={next}")),
                "last" => list.last().map(|last| format!("&after={last}")),
                "pages0" => (n < 25).then(|| format!("&page={}", n / 10)),
                "pages1" => (n < 25).then(|| format!("&page={}", n / 10 + 1)),
                "offset" => (n < body["total"].as_u64().unwrap() as usize).then(|| format!("&offset={n}")),
                "link" => {
                    let link = answer.header("link").unwrap();
                    link.contains("\"next\"").then(|| {
                        let address = link.split(['<', '>']).nth(1).unwrap();
                        format!("&page={}", address.rsplit('=').next().unwrap())
                    })
                }
                _ => body["paging"]["next"]
                    .as_str()
                    .map(|next| format!("&page={}", next.rsplit('=').next().unwrap())),
            };
            found.extend(list);
        }
        found
    };
    for (name, _) in Style::ALL {
        assert_eq!(follow(name), (1..=25).collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn lists_are_narrowed_by_time_both_ends_included() {
    let server = ApiServer::with(3);
    let at = |id: usize| server.records("records")[id - 1]["updated_at"].as_str().unwrap().to_owned();
    let between = |from: &str, to: &str, more: &str| {
        ids(&get(&server, &format!("/last/records?since={from}&until={to}{more}")).json())
    };
    assert_eq!(between(&at(2), &at(3), ""), [2, 3]);
    assert_eq!(between(&at(2), &at(2), ""), [2]);
    server.touch("records", 1, 0, server.began());
    assert_eq!(between(&at(2), &server.began().to_string(), ""), [2, 3, 1]);
    assert_eq!(between(&at(2), &server.began().to_string(), "&order=desc"), [1, 3, 2]);
    assert_eq!(server.records("records")[0]["payload"], "records \"1\", v2 <&>");
}

#[test]
fn children_are_their_parents() {
    let server = ApiServer::start();
    server.grow("projects", 2);
    server.grow_under("issues", 1, 3);
    server.grow_under("issues", 2, 1);
    assert_eq!(ids(&get(&server, "/last/projects/1/issues").json()), [1, 2, 3]);
    assert_eq!(ids(&get(&server, "/last/projects/2/issues").json()), [4]);
    assert_eq!(get(&server, "/last/projects/3/issues").status, 404);
}

#[test]
fn a_token_counts_until_tokens_expire() {
    let server = ApiServer::with(20);
    let next = get(&server, "/cursor/records").json()["next"].as_str().unwrap().to_owned();
    assert_eq!(get(&server, &format!("/cursor/records?cursor={next}")).status, 200);
    server.expire_tokens();
    assert_eq!(get(&server, &format!("/cursor/records?cursor={next}")).status, 410);
    assert_eq!(get(&server, "/cursor/records?cursor=nonsense").status, 400);
}

#[test]
fn parameters_stand_wherever_an_api_may_want_them() {
    let server = ApiServer::with(20);
    let next = get(&server, "/cursor/records").json()["next"].as_str().unwrap().to_owned();
    let form = Request::new("POST", "/cursor/records").body(format!("cursor={next}"));
    for request in [
        Request::get("/cursor/records").header("X-Cursor", &next),
        Request::post("/cursor/records", json!({"cursor": next})),
        form,
    ] {
        assert_eq!(send(server.address(), &request).unwrap().json()["items"][0]["id"], 11);
    }
}

#[test]
fn whoever_has_it_already_is_told_so() {
    let server = ApiServer::with(3);
    server.tags();
    let tag = get(&server, "/cursor/records").header("etag").unwrap().to_owned();
    let again = Request::get("/cursor/records").header("If-None-Match", &tag);
    assert_eq!(send(server.address(), &again).unwrap().status, 304);
    server.grow("records", 1);
    assert_eq!(send(server.address(), &again).unwrap().status, 200);
}

#[test]
fn the_forms_say_the_same() {
    let server = ApiServer::with(2);
    let lines = get(&server, "/ndjson/records").text();
    let bodies: Vec<Json> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(bodies, server.records("records"));
    for (form, encoding) in [("gzip", None), ("encoded", Some("gzip"))] {
        let answer = get(&server, &format!("/{form}/records"));
        assert_eq!(answer.header("content-encoding"), encoding);
        let mut text = String::new();
        flate2::read::GzDecoder::new(&*answer.body).read_to_string(&mut text).unwrap();
        assert_eq!(serde_json::from_str::<Json>(&text).unwrap(), json!(server.records("records")));
    }
    let csv = get(&server, "/csv/records").text();
    assert!(csv.starts_with("id,updated_at,parent,payload\n1,"), "{csv}");
    assert!(csv.ends_with(",0,\"records \"\"2\"\", v1 <&>\"\n"), "{csv}");
    let xml = get(&server, "/xml/records").text();
    assert!(xml.contains(
        "<Order><Id>1</Id><Payload>records \"1\", v1 &lt;&amp;&gt;</Payload><Line>0</Line></Order>"
    ));
}

#[test]
fn a_report_is_made_polled_and_fetched_or_aborted() {
    let server = ApiServer::with(2);
    let make = || {
        let made = send(server.address(), &Request::post("/reports", "{}")).unwrap();
        assert_eq!(made.status, 202);
        format!("/reports/{}", made.json()["id"].as_str().unwrap())
    };
    let first = make();
    assert_eq!(get(&server, &format!("{first}/file")).status, 404);
    assert_eq!(get(&server, &first).json()["status"], "pending");
    assert_eq!(get(&server, &first).json()["status"], "done");
    assert_eq!(get(&server, &format!("{first}/file")).text().lines().count(), 3);
    let second = make();
    assert_eq!(send(server.address(), &Request::new("DELETE", &second)).unwrap().status, 204);
    assert_eq!(server.reports(), ["done", "aborted"]);
}

#[test]
fn connections_have_edges_or_nodes_and_cost_points() {
    let server = ApiServer::with(15);
    let ask = |query: &str, variables: Json| {
        let body = json!({"query": query, "variables": variables});
        send(server.address(), &Request::post("/graphql", body)).unwrap().json()
    };
    let nodes = "query($first: Int) { records(first: $first) { nodes { id } pageInfo { endCursor } } }";
    let first = ask(nodes, json!({"first": 10}))["data"]["records"].clone();
    assert_eq!((ids(&first["nodes"]), &first["pageInfo"]["hasNextPage"]), ((1..=10).collect(), &json!(true)));
    let edges = nodes.replace("nodes { id }", "edges { node { id } }");
    let rest =
        ask(&edges, json!({"first": 10, "after": first["pageInfo"]["endCursor"]}))["data"]["records"].clone();
    assert_eq!(
        (&rest["edges"][0]["node"]["id"], &rest["pageInfo"]["hasNextPage"]),
        (&json!(11), &json!(false))
    );
    server.budget(15.0, 0.0);
    assert_eq!(
        ask(nodes, json!({"first": 10}))["extensions"]["cost"]["throttleStatus"]["currentlyAvailable"],
        5.0
    );
    assert_eq!(ask(nodes, json!({"first": 10}))["errors"][0]["extensions"]["code"], "THROTTLED");
}

#[test]
fn trouble_comes_as_it_is_told_and_is_counted() {
    let server = ApiServer::with(12);
    server.trouble(|asked| match (asked.path.as_str(), asked.nth) {
        ("/cursor/records", 0) => Some(Trouble::Instead(Reply::RetryAfter(429, 7))),
        ("/cursor/records", 1) => Some(Trouble::html()),
        ("/cursor/records", 2) => Some(Trouble::empty()),
        ("/cursor/records", 3) => Some(Trouble::token("again")),
        ("/cursor/records", 4) => Some(Trouble::edit(|body| body["items"].as_array_mut().unwrap().reverse())),
        ("/cursor/records", 5) => Some(Trouble::Late(Duration::from_millis(1))),
        ("/cursor/records", 6) => Some(Trouble::Truncated),
        _ => None,
    });
    let get = || get(&server, "/cursor/records");
    assert_eq!((get().status, get().text().contains("<html>"), get().body.len()), (429, true, 0));
    assert_eq!(get().json()["next"], "again");
    assert_eq!(get().json()["items"][0]["id"], 10);
    assert_eq!(get().status, 200);
    assert!(send(server.address(), &Request::get("/cursor/records")).is_err());
    assert_eq!(get().status, 200);
    assert_eq!((server.count("/cursor/records"), server.asked("/cursor/records").len()), (8, 8));
}

#[test]
fn what_hangs_is_answered_once_nothing_is_wrong() {
    let server = ApiServer::with(1);
    server.trouble(|_| Some(Trouble::Instead(Reply::Hang)));
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| get(&server, "/cursor/records").status);
        server.sees("/cursor/records", 1);
        server.heal();
        assert_eq!(asked.join().unwrap(), 200);
    });
}
