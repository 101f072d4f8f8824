use serde_json::{Value, json};

use super::*;
use crate::auth::testing::{Answers, SetClock, answer, credentials, read, request};

const LATER: Duration = Duration::from_secs(11);

fn spec() -> Value {
    json!({"session": {
        "url": "/login", "body": {"user": "u", "n": 1}, "form": true, "token": "$.data.token",
        "expires": "$.data.ttl", "expires_format": "milliseconds", "keep": {"host": "$.data.host"},
    }})
}

fn token(name: &str, millis: u64) -> Response {
    let body = json!({"data": {"token": name, "ttl": millis, "host": "h1"}}).to_string();
    answer(200, &[], &body)
}

async fn sent(session: &dyn Credentials) -> Result<(Stamp, String), Fault> {
    let mut asked = request("GET", "https://a.example/x", "");
    let stamp = session.apply(&mut asked).await?;
    Ok((stamp, asked.headers["authorization"].to_str().unwrap().to_owned()))
}

#[tokio::test]
async fn many_at_once_wait_for_one_log_in_and_use_it_until_it_ends() {
    let (clock, far) = (SetClock::at(1_000_000), Answers::with([token("t1", 600_000), token("t2", 600_000)]));
    let session = credentials(&spec(), Arc::clone(&clock), Arc::clone(&far));
    assert_eq!(session.status().state, "idle");
    let all = futures_util::future::join_all((0..50).map(|_| sent(&*session))).await;
    assert!(all.into_iter().all(|one| one.unwrap().1 == "Bearer t1"));
    assert_eq!((session.status().state, session.status().expires_at), ("ready", Some(Millis(1_600_000))));
    session.prepare().await.unwrap();
    assert_eq!(session.kept(), [("host".to_owned(), "h1".to_owned())].into());
    let asked = &far.asked()[0];
    assert_eq!((asked.method.as_str(), asked.url.as_str()), ("POST", "https://a.example/api/login"));
    assert_eq!(asked.body, "user=u&n=1");
    clock.pass(Duration::from_secs(539));
    assert_eq!(sent(&*session).await.unwrap().1, "Bearer t1");
    clock.pass(Duration::from_secs(1));
    assert_eq!(sent(&*session).await.unwrap().1, "Bearer t2");
    assert_eq!(far.asked().len(), 2);
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_for_all_who_had_it() {
    let (clock, far) = (SetClock::at(0), Answers::with([token("t1", 600_000), token("t2", 600_000)]));
    let session = credentials(&spec(), Arc::clone(&clock), Arc::clone(&far));
    let refused = answer(401, &[], "");
    let (stamp, _) = sent(&*session).await.unwrap();
    // So young a token is refused for another reason.
    assert!(!session.refused(stamp, &refused).await.unwrap());
    clock.pass(LATER);
    let all = futures_util::future::join_all((0..20).map(|_| session.refused(stamp, &refused))).await;
    assert!(all.into_iter().all(|again| again.unwrap()));
    assert_eq!(sent(&*session).await.unwrap().1, "Bearer t2");
    assert_eq!(far.asked().len(), 2);
}

#[tokio::test]
async fn a_failed_log_in_is_not_tried_again_at_once() {
    let (clock, far) = (
        SetClock::at(0),
        Answers::with([answer(403, &[], "p4ssw0rd"), answer(503, &[("retry-after", "60")], "")]),
    );
    let session = credentials(&spec(), Arc::clone(&clock), Arc::clone(&far));
    let all = futures_util::future::join_all((0..20).map(|_| sent(&*session))).await;
    for one in all {
        let fault = one.unwrap_err();
        assert_eq!(fault.class(), Class::Auth);
        assert_eq!(fault.message(), "crm: the log-in was answered with status 403");
    }
    assert_eq!(far.asked().len(), 1);
    assert_eq!(session.status().state, "failing");
    clock.pass(Duration::from_secs(1));
    assert_eq!(sent(&*session).await.unwrap_err().class(), Class::Service);
    clock.pass(Duration::from_secs(59));
    assert_eq!(sent(&*session).await.unwrap_err().retry_after(), Some(Duration::from_secs(60)));
    assert_eq!(far.asked().len(), 2);
    clock.pass(Duration::from_secs(1));
    assert_eq!(sent(&*session).await.unwrap_err().class(), Class::Connection);
    assert_eq!(far.asked().len(), 3);
}

#[tokio::test]
async fn a_token_that_is_still_good_is_used_where_the_next_log_in_fails() {
    let (clock, far) = (SetClock::at(0), Answers::with([token("t1", 600_000), answer(503, &[], "")]));
    let session = credentials(&spec(), Arc::clone(&clock), Arc::clone(&far));
    sent(&*session).await.unwrap();
    clock.pass(Duration::from_secs(545));
    for _ in 0..3 {
        assert_eq!(sent(&*session).await.unwrap().1, "Bearer t1");
    }
    assert_eq!((far.asked().len(), session.status().state), (2, "failing"));
    clock.pass(Duration::from_secs(55));
    assert_eq!(sent(&*session).await.unwrap_err().class(), Class::Connection);
}

/// Takes all requests and answers none.
struct Silent;

#[async_trait]
impl Carrier for Silent {
    async fn send(&self, _: Request, _: usize) -> Result<Response, crate::Failure> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_log_in_without_an_answer_ends() {
    let clock = crate::testing::TestClock::still();
    let session = credentials(&spec(), Arc::new(clock.clone()), Arc::new(Silent));
    // Whoever asked gave up; the next one must not wait for the same for ever.
    assert!(sent(&*session).now_or_never().is_none());
    clock.pass(TIMEOUT);
    let told = sent(&*session).await.unwrap_err();
    assert_eq!(told.message(), "crm: the log-in gave no answer within 30s");
}

#[tokio::test]
async fn a_token_is_taken_from_where_it_is_and_put_where_it_belongs() {
    let log_in = json!({"session": {
        "url": "https://b.example/in?x=1", "method": "get", "token": "cookie:sid", "in": {"cookie": "sid"},
        "basic": {"username": "u", "password": "p"}, "headers": {"X-App": "a"},
    }});
    let far = Answers::with([answer(200, &[("set-cookie", "sid=s1; HttpOnly")], "<html>")]);
    let session = credentials(&log_in, SetClock::at(0), Arc::clone(&far));
    let mut asked = request("GET", "https://a.example/x", "");
    session.apply(&mut asked).await.unwrap();
    assert_eq!(asked.headers["cookie"], "sid=s1");
    let log_in = &far.asked()[0];
    assert_eq!((log_in.method.as_str(), log_in.url.as_str()), ("GET", "https://b.example/in?x=1"));
    assert_eq!(
        (&log_in.headers["authorization"], &log_in.headers["x-app"]),
        (&"Basic dTpw".parse().unwrap(), &"a".parse().unwrap())
    );
}

#[tokio::test]
async fn an_answer_without_a_token_is_told_without_being_shown() {
    let cases = [
        (answer(200, &[], "<html>s3cret"), "crm: the log-in answered with something else than JSON"),
        (
            answer(200, &[], r#"{"a": "s3cret"}"#),
            "crm: the log-in answered without a token where `token` looks for it",
        ),
        (
            answer(302, &[], ""),
            "crm: the log-in was answered with a redirect, which is not followed with credentials",
        ),
    ];
    for (far, expected) in cases {
        let session = credentials(&spec(), SetClock::at(0), Answers::with([far]));
        assert_eq!(sent(&*session).await.unwrap_err().message(), expected);
    }
}

#[test]
fn what_is_wrong_is_told_at_its_place() {
    let spec: Session = read(&json!({
        "url": "ftp://a/", "method": "A B", "headers": {"a b": "c"}, "form": true, "token": "callback:x",
        "expires_format": "clock", "in": {"header": "c d"}, "keep": {"n": "x"}, "basic": {"username": "a:b"},
        "prefix": "\n x",
    }));
    let mut problems = Vec::new();
    check(&spec, &Path::root(), &mut problems);
    let places: Vec<String> = problems.iter().map(|problem| problem.at.to_string()).collect();
    let expected = [
        "url",
        "method",
        "form",
        "expires_format",
        "headers.a b",
        "basic.username",
        "token",
        "keep.n",
        "in.header",
    ];
    assert_eq!(places, expected);
}

#[tokio::test]
async fn a_log_in_goes_on_where_nobody_waits_for_it_any_more() {
    let far = Answers::with([token("t1", 600_000)]);
    let session = credentials(&spec(), SetClock::at(0), Arc::clone(&far));
    // The carrier yields once: the first look begins the call, and gives up.
    assert!(sent(&*session).now_or_never().is_none());
    assert_eq!(sent(&*session).await.unwrap().1, "Bearer t1");
    assert_eq!(far.asked().len(), 1);
}
