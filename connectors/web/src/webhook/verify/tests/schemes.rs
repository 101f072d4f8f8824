//! What users write themselves beside a plain HMAC.

use karez_api::Millis;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use sha2::{Digest as _, Sha256};

use super::*;

/// 2026-11-24T10:15:00Z.
const SECONDS: u64 = NOW.0 / 1_000;

/// A request with what matters of it.
#[derive(Clone, Copy)]
struct Asked<'a> {
    query: &'a str,
    headers: &'a [(&'a str, &'a str)],
    body: &'a str,
}

fn public_url(text: &str) -> Option<PublicUrl> {
    (!text.is_empty()).then(|| PublicUrl::parse(text).unwrap())
}

/// What proved it, or why it is refused.
fn verdict(verify: &Json, url: Option<PublicUrl>, asked: Asked<'_>) -> Result<Verified, String> {
    let spec: Verify = serde_json::from_value(verify.clone()).unwrap();
    let wanted = Wanted { public_url: url, verify_token: false };
    let verifier = File::default().check(|cx| spec.check(cx, wanted)).unwrap();
    let request = ::http::Request::post(format!("/webhooks/orders{}", asked.query));
    let request = asked.headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let head = request.body(()).unwrap().into_parts().0;
    let body = Body::from_bytes(Form::Json, asked.body.to_owned().into());
    verifier.verify(&Request::whole(&head, &body, NOW), &Known::default()).map_err(refusal).map_err(
        |refusal| {
            let said: Json = serde_json::from_slice(refusal.response.body()).unwrap();
            said["error"].as_str().unwrap().to_owned()
        },
    )
}

/// Why it is refused; nothing where it is let in.
fn asked(verify: &Json, url: Option<PublicUrl>, asked: Asked<'_>) -> String {
    verdict(verify, url, asked).err().unwrap_or_default()
}

fn mac(message: &str) -> String {
    hex::encode(Mac::new(Algorithm::Sha256, b"s3cret").unwrap().code(&[message.as_bytes().into()]))
}

#[test]
fn a_secret_counts_until_its_end() {
    let code = mac("{}");
    for (secret, said) in [
        (json!({"secret": "s3cret", "not_after": "2026-11-24T10:15:00Z"}), ""),
        (
            json!([{"secret": "s3cret", "not_after": "2026-11-24T11:14:59+01:00"}, "new"]),
            "x-signature does not match the body",
        ),
        (json!(["new", {"secret": "s3cret"}]), ""),
    ] {
        let verify = hmac(json!({"secret": secret}));
        let headers = [("x-signature", &*code)];
        assert_eq!(
            asked(&verify, None, Asked { query: "", headers: &headers, body: "{}" }),
            said,
            "{verify}"
        );
    }
}

#[test]
fn it_is_known_which_secret_or_key_a_request_was_made_with() {
    let hash = hex::encode(Sha256::digest("s3cret{}"));
    let public = |seed| hex::encode(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap().public_key());
    let token = jwt(&json!({"alg": "EdDSA"}), &json!({}));
    let basic = format!("Basic {}", BASE64.encode("u:p"));
    let headers =
        [("x-signature", &*mac("{}")), ("x-hash", &*hash), ("x-token", "t"), ("authorization", &*token)];
    let outdated = json!({"secret": "s3cret", "not_after": "2026-11-24T10:14:59Z"});
    for (verify, secret) in [
        (hmac(json!({})), Some(0)),
        (hmac(json!({"secret": ["new", "s3cret", "s3cret"]})), Some(1)),
        (hmac(json!({"secret": [outdated, "new", "s3cret"]})), Some(2)),
        (json!({"hash": {"algorithm": "sha256", "header": "X-Hash", "secret": ["new", "s3cret"]}}), Some(1)),
        (json!({"token": {"header": "X-Token", "token": ["a", "b", "t"]}}), Some(2)),
        (json!({"jwt": {"algorithm": "EdDSA", "key": [public(2), public(1)]}}), Some(1)),
        (json!({"none": {"reason": "a test"}}), None),
    ] {
        let found = verdict(&verify, None, Asked { query: "", headers: &headers, body: "{}" });
        assert_eq!(found, Ok(Verified { secret, at: None }), "{verify}");
    }
    let verify = json!({"basic": {"username": "u", "password": "p"}});
    let given = Asked { query: "", headers: &[("authorization", &*basic)], body: "" };
    assert_eq!(verdict(&verify, None, given), Ok(Verified { secret: Some(0), at: None }));
}

#[test]
fn a_list_of_codes_is_searched_for_the_right_one() {
    let verify = hmac(json!({
        "separator": ",", "prefix": "v1=", "message": "{timestamp}.{body}", "timestamp": {"label": "t="},
    }));
    let code = mac(&format!("{SECONDS}.{{}}"));
    for (header, said) in [
        (format!("t={SECONDS},v1={code}"), ""),
        (format!("v0=zz, v1=00 , v1={code} ,t={SECONDS}"), ""),
        (format!("t={SECONDS},v0={code}"), "x-signature holds no v1="),
        (format!("t={SECONDS},v1=00"), "x-signature has the wrong length"),
        (format!("v1={code}"), "x-signature holds no t="),
        (format!("t={SECONDS},t={SECONDS},v1={code}"), "x-signature holds t= twice"),
        (format!("t=0,v1={code}"), "x-signature does not match the body"),
    ] {
        let headers = [("x-signature", &*header)];
        assert_eq!(
            asked(&verify, None, Asked { query: "", headers: &headers, body: "{}" }),
            said,
            "{header}"
        );
    }
}

#[test]
fn what_was_signed_too_far_from_now_is_refused() {
    let verify = hmac(json!({
        "message": "{timestamp}.{body}",
        "timestamp": {"header": "X-Time", "tolerance": "5m", "future": "10s"},
    }));
    let old = "the timestamp is 301 s old, which is too old";
    let ahead = "the timestamp is 11 s ahead of our clock, which is too far";
    for (time, said) in [
        (SECONDS.to_string(), ""),
        ((SECONDS - 300).to_string(), ""),
        ((SECONDS - 301).to_string(), old),
        ((SECONDS + 10).to_string(), ""),
        ((SECONDS + 11).to_string(), ahead),
        ("soon".to_owned(), "\"soon\" is not a timestamp"),
        ("-1".to_owned(), "\"-1\" is not a timestamp"),
    ] {
        let code = mac(&format!("{time}.{{}}"));
        let headers = [("x-signature", &*code), ("x-time", &*time)];
        assert_eq!(asked(&verify, None, Asked { query: "", headers: &headers, body: "{}" }), said, "{time}");
    }
}

#[test]
fn each_of_several_headers_stands_once() {
    let verify = hmac(json!({"header": ["X-Signature-*", "X-Old"]}));
    let code = mac("{}");
    for (headers, said) in [
        (vec![("x-signature-1", "00"), ("x-signature-100", &*code)], ""),
        (vec![("x-old", &*code)], ""),
        (vec![("x-signature-101", &*code)], "x-signature-1 is missing"),
        (vec![("x-signature-2", &*code), ("x-signature-2", "00")], "x-signature-1 stands twice"),
    ] {
        assert_eq!(
            asked(&verify, None, Asked { query: "", headers: &headers, body: "{}" }),
            said,
            "{headers:?}"
        );
    }
}

#[test]
fn a_message_is_put_together_from_all_of_a_request() {
    let body = r#"{"a":{"b":[1,"two"]},"n":null}"#;
    let crc = crc32fast::hash(body.as_bytes()).to_string();
    for (message, url, signed) in [
        ("{method} {url} {header:X-Id|X-Other}", "https://a.example/b", "POST https://a.example/b?q=a%2Cb 7"),
        ("{url}{header:X-Other|X-Id}", "https://a.example/b", "https://a.example:443/b?q=a%2Cb7"),
        ("{url}", "https://a.example:443/b", "https://a.example/b?q=a%2Cb"),
        ("{url}", "http://a.example/b", "http://a.example:80/b?q=a%2Cb"),
        ("{url}", "https://a.example/b", "https://a.example/b?q=a,b"),
        ("{query:q}|{body:a.b.0}|{body:a.b.1}|{body:n?}|", "", "a,b|1|two||"),
        ("{crc32}", "", &crc),
    ] {
        let verify = hmac(json!({"message": message}));
        let (right, wrong) = (mac(signed), mac(&format!("{signed} ")));
        for (code, said) in [(&right, ""), (&wrong, "x-signature does not match the body")] {
            let headers = [("x-id", "7"), ("x-signature", &**code)];
            let given = Asked { query: "?q=a%2Cb", headers: &headers, body };
            assert_eq!(asked(&verify, public_url(url), given), said, "{message} {signed}");
        }
    }
    let verify = hmac(json!({"message": "{body:missing}"}));
    let headers = [("x-signature", &*mac(""))];
    let given = Asked { query: "", headers: &headers, body };
    assert_eq!(asked(&verify, None, given), "missing is missing in the body");
}

#[test]
fn a_form_that_is_no_form_has_to_be_hashed() {
    let verify = hmac(json!({
        "message": "{url}{sorted_form}",
        "body_hash": {"query": "hash", "algorithm": "sha256"},
    }));
    let (url, form) = ("https://a.example/b", ("content-type", "application/x-www-form-urlencoded"));
    let hash = hex::encode(Sha256::digest("{}"));
    let code = mac(&format!("{url}?hash={hash}"));
    let of_form = mac(&format!("{url}a1a2b1"));
    let unhashed = mac(url);
    for (query, headers, body, said) in [
        (format!("?hash={hash}"), vec![("x-signature", &*code)], "{}", ""),
        (format!("?hash={hash}"), vec![("x-signature", &*code)], "[]", "hash is not the hash of the body"),
        (String::new(), vec![("x-signature", &*of_form), form], "b=1&a=2&a=1&a=1", ""),
        (String::new(), vec![("x-signature", &*unhashed)], "", ""),
        (
            String::new(),
            vec![("x-signature", &*unhashed)],
            "{}",
            "the body is neither a form nor signed in another way",
        ),
    ] {
        let given = Asked { query: &query, headers: &headers, body };
        assert_eq!(asked(&verify, public_url(url), given), said, "{query} {body}");
    }
}

/// Signed with EdDSA, or as `alg` says with whatever key there is.
fn jwt(header: &Json, claims: &Json) -> String {
    let key = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
    let part = |json: &Json| {
        Encoding::Base64url.encode(json.to_string().as_bytes()).trim_end_matches('=').to_owned()
    };
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = match header["alg"].as_str() {
        Some("EdDSA") => key.sign(signed.as_bytes()).as_ref().to_vec(),
        Some("HS256") => {
            let public = hex::encode(key.public_key());
            Mac::new(Algorithm::Sha256, public.as_bytes()).unwrap().code(&[signed.as_bytes().into()])
        }
        _ => Vec::new(),
    };
    format!("Bearer {signed}.{}", Encoding::Base64url.encode(&signature).trim_end_matches('='))
}

#[test]
fn a_jwt_is_what_the_file_says() {
    let public = hex::encode(Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap().public_key());
    let verify = json!({"jwt": {
        "algorithm": "EdDSA", "key": public, "issuer": "acme", "audience": "karez", "body_claim": "sha256", "max_age": "5m",
    }});
    let hash = hex::encode(Sha256::digest("{}"));
    let right =
        json!({"iss": "acme", "aud": ["x", "karez"], "iat": SECONDS, "exp": SECONDS + 60, "sha256": hash});
    let with = |name: &str, value: Json| {
        let mut claims = right.clone();
        claims[name] = value;
        claims
    };
    let alg = |name: &str| json!({"alg": name, "typ": "JWT"});
    let other = "authorization is signed with another algorithm than the file says";
    for (header, claims, said) in [
        (alg("EdDSA"), right.clone(), ""),
        (alg("EdDSA"), with("aud", json!("karez")), ""),
        (alg("EdDSA"), with("exp", json!(SECONDS - 59)), ""),
        (alg("none"), right.clone(), other),
        // The public key taken for the secret of an HMAC.
        (alg("HS256"), right.clone(), other),
        (json!({"typ": "JWT"}), right.clone(), other),
        (
            json!({"alg": "EdDSA", "crit": ["b64"]}),
            right.clone(),
            "authorization asks for an extension that is not known here",
        ),
        (alg("EdDSA"), with("iss", json!("other")), "authorization is from another issuer"),
        (alg("EdDSA"), with("aud", json!(["x"])), "authorization is for another audience"),
        (alg("EdDSA"), with("exp", json!(SECONDS - 61)), "authorization has expired"),
        (alg("EdDSA"), with("exp", json!("soon")), "authorization holds an exp that is no time"),
        (alg("EdDSA"), with("nbf", json!(SECONDS + 61)), "authorization does not count yet"),
        (alg("EdDSA"), with("iat", json!(SECONDS + 61)), "authorization was issued in the future"),
        (alg("EdDSA"), with("iat", json!(SECONDS - 361)), "authorization is too old"),
        (alg("EdDSA"), with("iat", Json::Null), "authorization holds an iat that is no time"),
        (
            alg("EdDSA"),
            with("sha256", json!("00")),
            "authorization holds a sha256 that is not the hash of the body",
        ),
        (alg("EdDSA"), with("sha256", Json::Null), "authorization holds no sha256"),
    ] {
        let token = jwt(&header, &claims);
        let headers = [("authorization", &*token)];
        assert_eq!(
            asked(&verify, None, Asked { query: "", headers: &headers, body: "{}" }),
            said,
            "{header} {claims}"
        );
    }
    let token = jwt(&alg("EdDSA"), &right);
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    for (token, said) in [
        (&*forged, "authorization has a wrong signature"),
        ("Bearer a.b", "authorization is no JWT"),
        ("Bearer a.b.c.d", "authorization is no JWT"),
        ("Basic x", "authorization has no bearer token"),
    ] {
        let headers = [("authorization", token)];
        assert_eq!(asked(&verify, None, Asked { query: "", headers: &headers, body: "{}" }), said, "{token}");
    }
    assert_eq!(NOW, Millis(SECONDS * 1_000));
}

#[test]
fn a_token_may_stand_in_each_item_of_a_body() {
    let verify = json!({"token": {"each": "value", "body": "state", "token": "t"}});
    for (body, said) in [
        (r#"{"value":[{"state":"t"},{"state":"t"}]}"#, ""),
        (r#"{"value":[{"state":"t"},{"state":"x"}]}"#, "state holds a wrong token"),
        (r#"{"value":[{"state":"t"},{}]}"#, "state is missing in the body"),
        (r#"{"value":[]}"#, "value is empty or too long"),
        (r#"{"value":{}}"#, "value is no list in the body"),
        ("not json", "value is no list in the body"),
    ] {
        assert_eq!(asked(&verify, None, Asked { query: "", headers: &[], body }), said, "{body}");
    }
}
