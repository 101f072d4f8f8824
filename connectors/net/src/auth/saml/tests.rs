use karez_api::Json;
use serde_json::json;

use super::*;
use crate::auth::testing::read;

const KEY: &str = include_str!("../jose/testdata/rsa.pkcs8.pem");
const CERTIFICATE: &str = include_str!("../jose/testdata/certificate.pem");
/// 2023-11-14T22:13:20Z.
const NOW: Millis = Millis(1_700_000_000_000);

fn spec() -> Json {
    json!({"issuer": "me", "subject": "a<b@c.example", "audience": "there & back", "key": KEY,
        "certificate": CERTIFICATE, "attributes": {"company": "\"A\""}, "lifetime": "10m"})
}

async fn assertion(spec: &Json) -> String {
    let saml = Saml::read(&read(spec)).unwrap();
    let sent = saml.assertion("https://a.example/token?x=1&y=2", NOW).await.unwrap();
    String::from_utf8(BASE64URL.decode(sent).unwrap()).unwrap()
}

#[tokio::test]
async fn an_assertion_says_what_the_file_says() {
    let xml = assertion(&spec()).await;
    for part in [
        r#"<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_"#,
        r#" IssueInstant="2023-11-14T22:13:20Z" Version="2.0"><saml:Issuer>me</saml:Issuer><ds:Signature "#,
        r#"<saml:NameID Format="urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified">a&lt;b@c.example</saml:NameID>"#,
        r#"NotOnOrAfter="2023-11-14T22:23:20Z" Recipient="https://a.example/token?x=1&amp;y=2">"#,
        r#"<saml:Conditions NotBefore="2023-11-14T22:12:20Z" NotOnOrAfter="2023-11-14T22:23:20Z">"#,
        "<saml:Audience>there &amp; back</saml:Audience>",
        r#"<saml:Attribute Name="company"><saml:AttributeValue>"A"</saml:AttributeValue></saml:Attribute>"#,
        "<ds:X509Certificate>MII",
    ] {
        assert!(xml.contains(part), "{part}\n{xml}");
    }
    assert_ne!(xml, assertion(&spec()).await);
}

#[tokio::test]
async fn an_assertion_from_a_file_is_sent_as_it_is_and_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("assertion.xml");
    let spec = json!({"file": file.to_str().unwrap()});
    std::fs::write(&file, "<a/>\n").unwrap();
    assert_eq!(assertion(&spec).await, "<a/>");
    std::fs::write(&file, "<b/>").unwrap();
    assert_eq!(assertion(&spec).await, "<b/>");
    std::fs::write(&file, "secret").unwrap();
    let fault = Saml::read(&read(&spec)).unwrap().assertion("", NOW).await.unwrap_err();
    assert!(fault.message().ends_with("is no XML"), "{fault}");
    std::fs::remove_file(&file).unwrap();
    let fault = Saml::read(&read(&spec)).unwrap().assertion("", NOW).await.unwrap_err();
    assert!(fault.message().contains("cannot be read"), "{fault}");
}

#[test]
fn what_is_wrong_is_told_at_its_place() {
    let place = |changes: Json| {
        let mut spec = spec();
        spec.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let mut problems = Vec::new();
        check(&read(&spec), &Path::root(), &mut problems);
        problems.iter().map(|problem| problem.at.to_string()).collect::<Vec<_>>().join(" ")
    };
    let other = include_str!("../jose/testdata/ed25519.pkcs8.pem");
    for (changes, expected) in [
        (json!({}), ""),
        (json!({"issuer": null}), "issuer"),
        (json!({"subject": null}), "subject"),
        (json!({"subject": "a\u{1}"}), "subject"),
        (json!({"key": null}), "key"),
        (json!({"key": other}), "key"),
        (json!({"certificate": other}), "certificate"),
        (json!({"certificate": null}), ""),
        (json!({"attributes": {"a": "\u{0}"}}), "attributes"),
        (json!({"lifetime": "2h"}), "lifetime"),
        (json!({"file": "a.xml"}), "issuer subject audience attributes key certificate lifetime"),
    ] {
        assert_eq!(place(changes.clone()), expected, "{changes}");
    }
}
