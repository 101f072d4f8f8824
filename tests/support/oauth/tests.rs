use serde_json::{Value as Json, json};

use super::*;
use crate::{Answer, Request, send};

fn token(server: &OAuthServer, form: &str) -> Answer {
    send(server.server.address(), &Request::post("/token", form)).unwrap()
}

fn refresh(server: &OAuthServer, token: &str) -> Json {
    let answer = self::token(server, &format!("grant_type=refresh_token&refresh_token={token}"));
    json!({"status": answer.status, "body": answer.json()})
}

fn api(server: &OAuthServer, token: &Json) -> u16 {
    let request =
        Request::get("/things").header("authorization", format!("Bearer {}", token.as_str().unwrap()));
    send(server.server.address(), &request).unwrap().status
}

#[test]
fn a_refresh_token_that_comes_again_revokes_all_that_came_of_its_log_in() {
    let server = OAuthServer::start();
    let (first, other) = (server.log_in(), server.log_in());
    let given = refresh(&server, &first);
    assert_eq!(given["status"], 200);
    assert_eq!(api(&server, &given["body"]["access_token"]), 200);
    assert_eq!(refresh(&server, &first)["body"]["error"], "invalid_grant");
    assert_eq!(api(&server, &given["body"]["access_token"]), 401);
    let second = given["body"]["refresh_token"].as_str().unwrap();
    assert_eq!(refresh(&server, second)["status"], 400);
    assert_eq!(refresh(&server, &other)["status"], 200);
    let counts = server.counts();
    assert_eq!((counts.token_calls, counts.refreshed, counts.reused, counts.families_revoked), (4, 2, 1, 1));
    assert_eq!((counts.api_accepted, counts.api_refused), (1, 1));
}

#[test]
fn a_lost_answer_was_done_and_grace_forgives_it_once() {
    let server = OAuthServer::start_with(Oddities { grace: true, ..Oddities::default() });
    let first = server.log_in();
    server.slip([Slip::Lost]);
    let asked = Request::post("/token", format!("grant_type=refresh_token&refresh_token={first}"));
    assert!(send(server.server.address(), &asked).is_err());
    assert_eq!(server.counts().refreshed, 1);
    let given = refresh(&server, &first);
    let second = given["body"]["refresh_token"].as_str().unwrap();
    assert_eq!(refresh(&server, second)["status"], 200);
    assert_eq!(refresh(&server, &first)["status"], 400);
}

#[test]
fn answers_slip_as_they_are_told() {
    let server = OAuthServer::start();
    server.slip([
        Slip::ErrorUnder200("invalid_grant"),
        Slip::Html,
        Slip::Status(503, Some(7)),
        Slip::Slow(Duration::from_millis(1)),
    ]);
    let ask = || token(&server, "grant_type=client_credentials");
    let answer = ask();
    assert_eq!((answer.status, &answer.json()["error"]), (200, &json!("invalid_grant")));
    assert_eq!(ask().header("content-type"), Some("text/html"));
    let answer = ask();
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("7")));
    assert_eq!(ask().json()["token_type"], "Bearer");
    assert_eq!(server.counts().token_calls, 4);
}

#[test]
fn a_held_answer_is_done_before_anybody_knows() {
    let server = OAuthServer::start();
    let first = server.log_in();
    server.slip([Slip::Held]);
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| refresh(&server, &first));
        server.holds(1);
        assert_eq!(server.counts().refreshed, 1);
        server.release();
        assert_eq!(asked.join().unwrap()["status"], 200);
    });
}

#[test]
fn the_tokens_look_as_they_are_told() {
    let oddities = Oddities { nested: true, milliseconds: true, ..Oddities::default() };
    let server = OAuthServer::start_with(oddities);
    let body = refresh(&server, &server.log_in())["body"].clone();
    assert_eq!(body["authed_user"]["expires_in"], 3_600_000);
    server.expire();
    assert_eq!(api(&server, &body["authed_user"]["access_token"]), 401);
    server.behave(|oddities| oddities.dpop = true);
    let answer = token(&server, "grant_type=client_credentials");
    assert_eq!((answer.status, answer.header("dpop-nonce")), (400, Some("nonce-of-the-server")));
    assert_eq!(answer.json()["error"], "use_dpop_nonce");
}

/// RFC 7636, appendix B.
#[test]
fn a_code_is_exchanged_once_and_only_with_its_verifier() {
    let server = OAuthServer::start();
    let code = || {
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        let path = format!("/authorize?redirect_uri=http://h/cb&state=s%201&code_challenge={challenge}");
        let answer = send(server.server.address(), &Request::get(&path)).unwrap();
        let to = answer.header("location").unwrap().to_owned();
        assert!(to.starts_with("http://h/cb?code=") && to.ends_with("&state=s+1"), "{to}");
        to.split(['=', '&']).nth(1).unwrap().to_owned()
    };
    let exchange = |code: &str, verifier: &str| {
        token(&server, &format!("grant_type=authorization_code&code={code}&code_verifier={verifier}")).status
    };
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let first = code();
    assert_eq!((exchange(&first, verifier), exchange(&first, verifier)), (200, 400));
    assert_eq!(exchange(&code(), "other"), 400);
}
