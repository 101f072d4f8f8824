use serde_json::{Value, json};

use super::*;
use crate::auth::testing::{SetClock, read, request};
use crate::jose::{PublicKey, Scheme};

fn signed(spec: &Value, request: &Request, nonce: &str, timestamp: u64) -> String {
    let credentials = OAuth1Credentials::new(&read(spec), SetClock::at(0)).unwrap();
    let once = Once { nonce: nonce.into(), timestamp };
    credentials.authorization(request, &once).unwrap()
}

/// RFC 5849 §1.2, but for `oauth_version`, which those requests leave out: as computed by oauthlib with it.
#[test]
fn the_request_of_the_rfc_is_signed_as_others_do() {
    let spec = json!({"consumer_key": "dpf43f3p2l4k3l03", "consumer_secret": "kd94hf93k423kf44",
        "token": "nnch734d00sl2jdk", "token_secret": "pfkkdhi9sl3r4s00", "realm": "Photos"});
    let asked = request("GET", "http://photos.example.net/photos?file=vacation.jpg&size=original", "");
    let own = [
        ("oauth_consumer_key", "dpf43f3p2l4k3l03".to_owned()),
        ("oauth_token", "nnch734d00sl2jdk".to_owned()),
        ("oauth_signature_method", "HMAC-SHA1".to_owned()),
        ("oauth_timestamp", "137131202".to_owned()),
        ("oauth_nonce", "chapoH".to_owned()),
    ];
    let code = Hash::Sha1.mac(b"kd94hf93k423kf44&pfkkdhi9sl3r4s00", base_string(&asked, &own).as_bytes());
    assert_eq!(STANDARD.encode(code), "MdpQcU8iPSUjWoN/UDMsK2sui9I=");
    let value = signed(&spec, &asked, "chapoH", 137_131_202);
    assert!(value.starts_with(
        "OAuth realm=\"Photos\", oauth_consumer_key=\"dpf43f3p2l4k3l03\", oauth_token=\"nnch734d00sl2jdk\", \
         oauth_signature_method=\"HMAC-SHA1\", oauth_timestamp=\"137131202\", oauth_nonce=\"chapoH\", \
         oauth_version=\"1.0\", oauth_signature=\""
    ));
}

/// RFC 5849 §3.4.1.1.
#[test]
fn the_base_string_of_the_rfc_comes_out() {
    let mut asked =
        request("POST", "http://EXAMPLE.COM:80/request?b5=%3D%253D&a3=a&c%40=&a2=r%20b", "c2&a3=2+q");
    asked.headers.insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
    let own = [
        ("oauth_consumer_key", "9djdj82h48djs9d2".to_owned()),
        ("oauth_token", "kkk9d7dh3k39sjv7".to_owned()),
        ("oauth_signature_method", "HMAC-SHA1".to_owned()),
        ("oauth_timestamp", "137131201".to_owned()),
        ("oauth_nonce", "7d8f3e4a".to_owned()),
    ];
    assert_eq!(
        base_string(&asked, &own),
        "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D%26\
         c2%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1%26\
         oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
    );
    // A body that is no form is not covered.
    asked.headers.insert("content-type", "application/json".parse().unwrap());
    assert!(!base_string(&asked, &own).contains("c2%3D"));
}

/// RFC 5849 §3.4.4.
#[test]
fn plaintext_is_both_secrets_encoded_twice() {
    let spec = json!({"consumer_key": "k", "consumer_secret": "djr9rjt0jd78jf88", "token": "t",
        "token_secret": "jjd99&tj88uiths3", "method": "PLAINTEXT"});
    let value = signed(&spec, &request("GET", "https://a.example/", ""), "n", 1);
    assert!(value.contains("oauth_signature_method=\"PLAINTEXT\""));
    assert!(value.ends_with("oauth_signature=\"djr9rjt0jd78jf88%26jjd99%2526tj88uiths3\""), "{value}");
}

#[test]
fn a_signature_with_rsa_is_proved_by_the_public_key() {
    let pem = include_str!("../jose/testdata/rsa.pkcs8.pem");
    let code = RsaSha1::read(&Secret::new(pem)).unwrap().sign(b"GET&x").unwrap();
    let public = include_str!("../jose/testdata/public.pem");
    let public = PublicKey::read(Scheme::Rsa(Hash::Sha1), public, "").unwrap();
    assert!(public.verifies(b"GET&x", &code));
    let spec = json!({"consumer_key": "k", "consumer_secret": pem, "method": "RSA-SHA1"});
    let value = signed(&spec, &request("GET", "https://a.example/", ""), "n", 1);
    assert!(value.contains("oauth_signature_method=\"RSA-SHA1\""));
}

#[test]
fn what_is_wrong_is_told_at_its_place() {
    let places = |spec: Value| {
        let mut problems = Vec::new();
        check(&read(&spec), &Path::root(), &mut problems);
        problems.iter().map(|problem| problem.at.to_string()).collect::<Vec<_>>()
    };
    let key = include_str!("../jose/testdata/ed25519.pkcs8.pem");
    let rsa = json!({"consumer_key": "k", "consumer_secret": key, "method": "RSA-SHA1", "token_secret": "x"});
    assert_eq!(places(rsa), ["consumer_secret", "token_secret"]);
    assert_eq!(places(json!({"consumer_key": "k", "consumer_secret": "x"})), Vec::<String>::new());
}
