use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use karez_api::Class;

use super::*;
use crate::testing::{Server, answer, get};

fn transport(allowed: &[&str]) -> Transport {
    let allowed = allowed.iter().map(|network| network.parse().unwrap()).collect();
    Transport::new(&Manners { allowed, ..Manners::default() }, clock()).unwrap()
}

const CERTIFICATE: &str = include_str!("../auth/jose/testdata/certificate.pem");
const ANOTHER_KEY: &str = include_str!("../auth/jose/testdata/p256.pkcs8.pem");

fn clock() -> Arc<dyn Clock> {
    Arc::new(crate::testing::TestClock::still())
}

fn packed(length: usize) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(&vec![b'x'; length]).unwrap();
    packer.finish().unwrap()
}

#[tokio::test]
async fn an_answer_comes_back_whole_and_unpacked() {
    let server = Server::start(|asked| match asked.uri().path() {
        "/packed" => answer(200, &[("content-encoding", "gzip")], packed(100_000)),
        _ => answer(203, &[("x-kind", "teapot")], vec![b'y'; 300_000]),
    })
    .await;
    let transport = transport(&["127.0.0.0/8"]);
    let packed = transport.send(get(server.url("/packed")), 1 << 20).await.unwrap();
    assert_eq!((packed.status.as_u16(), packed.body.len()), (200, 100_000));
    let plain = transport.send(get(server.url("/plain")), 1 << 20).await.unwrap();
    assert_eq!((plain.status.as_u16(), plain.body.len()), (203, 300_000));
    assert_eq!(plain.headers["x-kind"], "teapot");
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_refused_also_where_it_grows_while_it_is_unpacked() {
    let server = Server::start(|asked| match asked.uri().path() {
        "/packed" => answer(200, &[("content-encoding", "gzip")], packed(50 << 20)),
        _ => answer(200, &[], vec![b'y'; 1025]),
    })
    .await;
    let transport = transport(&["127.0.0.1"]);
    for path in ["/packed", "/plain"] {
        let failure = transport.send(get(server.url(path)), 1024).await.unwrap_err();
        assert_eq!((failure.fault.class(), failure.fault.code()), (Class::Validation, "response_too_large"));
    }
}

#[tokio::test]
async fn a_private_address_is_not_called_unless_it_is_allowed() {
    let server = Server::start(|_| answer(200, &[], "")).await;
    let named: Url = format!("http://localhost:{}/", server.address.port()).parse().unwrap();
    for url in [server.url("/"), named.clone()] {
        let failure = transport(&[]).send(get(url), 10).await.unwrap_err();
        assert_eq!((failure.fault.code(), failure.effect), ("private_address", Effect::None));
        assert!(failure.fault.message().contains("is a loopback address"), "{}", failure.fault);
        assert!(failure.fault.message().contains("`allow_private`"), "{}", failure.fault);
    }
    assert!(server.asked().is_empty());
    assert!(transport(&["127.0.0.1", "::1"]).send(get(named), 10).await.is_ok());
}

#[tokio::test]
async fn redirects_are_answers_like_others() {
    let server = Server::start(|_| answer(302, &[("location", "/elsewhere")], "")).await;
    let answer = transport(&["127.0.0.1"]).send(get(server.url("/")), 10).await.unwrap();
    assert_eq!(answer.status.as_u16(), 302);
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn nobody_there_is_a_failure_that_had_no_effect() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}/path?token=secret").parse().unwrap();
    let failure = transport(&["127.0.0.1"]).send(get(url), 10).await.unwrap_err();
    assert_eq!((failure.fault.class(), failure.effect), (Class::Connection, Effect::None));
    assert!(
        failure.fault.message().starts_with(&format!("GET http://{free}/path failed: ")),
        "{}",
        failure.fault
    );
    assert!(!failure.fault.message().contains("secret"));
}

#[tokio::test]
async fn a_proxy_may_stand_in_a_private_network_but_not_lead_into_one() {
    let proxy = Server::start(|asked| answer(200, &[], asked.uri().to_string())).await;
    let address = format!("http://localhost:{}", proxy.address.port());
    let transport =
        Transport::new(&Manners { proxy: Some(&address), ..Manners::default() }, clock()).unwrap();
    let answer = transport.send(get("http://crm.example.com/a".parse().unwrap()), 100).await.unwrap();
    assert_eq!(answer.body, "http://crm.example.com/a");
    let failure = transport.send(get("http://10.0.0.1/".parse().unwrap()), 100).await.unwrap_err();
    assert_eq!(failure.fault.code(), "private_address");
}

#[test]
fn what_cannot_be_used_of_certificates_is_told_with_its_place() {
    let tls = |ca: Option<&str>, certificate: Option<&str>, key: Option<&str>| TlsSpec {
        ca: ca.map(str::to_owned),
        only_ca: ca.is_none(),
        certificate: certificate.map(str::to_owned),
        key: key.map(karez_api::Secret::new),
    };
    for (tls, proxy, at) in [
        (tls(Some("junk"), None, None), None, "tls.ca"),
        (tls(None, None, None), None, "tls.only_ca"),
        (TlsSpec { only_ca: false, ..tls(None, Some("x"), None) }, None, "tls.certificate"),
        (TlsSpec { only_ca: false, ..tls(None, Some("x"), Some("SECRET")) }, None, "tls.certificate"),
        (TlsSpec::default(), Some("socks5://there"), "proxy"),
    ] {
        let mut problems = Vec::new();
        check(Some(&tls), proxy, &mut problems);
        let told: Vec<String> = problems.iter().map(|problem| problem.at.to_string()).collect();
        assert_eq!(told, [at]);
        assert!(!problems[0].message.contains("SECRET"));
    }
    let mut problems = Vec::new();
    let of_another = TlsSpec { only_ca: false, ..tls(None, Some(CERTIFICATE), Some(ANOTHER_KEY)) };
    check(Some(&of_another), None, &mut problems);
    assert_eq!(problems[0].message, "belongs to another key than `key`");
}

/// A server that says `head`, then a part of `body`, and is gone.
fn breaks_off(head: &'static str, body: Vec<u8>) -> Url {
    use std::io::{BufRead as _, BufReader};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let asked = BufReader::new(&stream).lines().map(Result::unwrap);
        asked.take_while(|line| !line.is_empty()).for_each(drop);
        let head = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n").replace("LENGTH", &body.len().to_string());
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body[..body.len() / 2]).unwrap();
    });
    url
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_none_packed_or_not() {
    let lines = (0..20_000).map(|line| format!("{{\"line\":{line}}}\n")).collect::<String>();
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(lines.as_bytes()).unwrap();
    for (head, body) in [
        ("content-length: LENGTH", lines.clone().into_bytes()),
        ("content-encoding: gzip\r\ncontent-length: LENGTH", packer.finish().unwrap()),
    ] {
        let url = breaks_off(head, body);
        let failure = transport(&["127.0.0.1"]).send(get(url), 1 << 20).await.map(|answer| answer.body.len());
        let failure = failure.unwrap_err();
        assert_eq!((failure.fault.class(), failure.effect), (Class::Connection, Effect::Unknown), "{head}");
    }
}
