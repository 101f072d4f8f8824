//! A file's settings over a provider's.

use karez_api::Problem;
use serde_json::json;

use super::*;

fn expanded(settings: Json) -> Json {
    expand(&settings).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// Each problem as code, place, message and help.
fn problems(settings: Json) -> Vec<String> {
    let text = |it: &Problem| {
        format!("{} at {}: {}; {}", it.code, it.at, it.message, it.help.as_deref().unwrap_or_default())
    };
    expand(&settings).unwrap_err().iter().map(text).collect()
}

fn salesforce() -> Json {
    json!({"provider": "salesforce", "auth": {"oauth2": {"client_id": "id", "client_secret": "secret"}}})
}

#[test]
fn without_a_provider_nothing_changes() {
    for settings in [json!({"url": "https://example.com"}), json!({"provider": 5}), json!("text")] {
        assert_eq!(expanded(settings.clone()), settings);
    }
}

#[test]
fn a_provider_fills_in_what_a_file_does_not_say() {
    let whole = expanded(salesforce());
    let oauth2 = &whole["auth"]["oauth2"];
    assert_eq!(oauth2["token_url"], "https://login.salesforce.com/services/oauth2/token");
    assert_eq!(oauth2["client_secret"], "secret");
    assert_eq!(whole["url"], "{instance_url}/services/data/v62.0", "kept values stay");
    assert_eq!(whole["params"], json!({"domain": "login", "version": "v62.0"}));
    assert!(spec(whole).is_ok());
}

#[test]
fn what_a_file_says_counts() {
    let mut settings = salesforce();
    settings["params"] = json!({"domain": "acme.my"});
    settings["url"] = json!("https://proxy.example.com/{domain}");
    settings["headers"] = json!({"X-Trace": "on"});
    settings["errors"] = json!([]);
    settings["auth"]["oauth2"]["scopes"] = json!(["full"]);
    settings["auth"]["oauth2"]["keep"] = json!({"id": "$.id"});
    settings["auth"]["oauth2"]["introspection_url"] = Json::Null;
    let whole = expanded(settings);
    let oauth2 = &whole["auth"]["oauth2"];
    assert_eq!(oauth2["token_url"], "https://acme.my.salesforce.com/services/oauth2/token");
    assert_eq!(oauth2["scopes"], json!(["full"]), "a list is replaced");
    assert_eq!(oauth2["keep"], json!({"instance_url": "$.instance_url", "id": "$.id"}), "maps are merged");
    assert!(oauth2.get("introspection_url").is_none(), "null takes away");
    assert_eq!(whole["url"], "https://proxy.example.com/{domain}", "a file's own texts are not touched");
    assert_eq!(whole["params"], json!({"version": "v62.0", "domain": "acme.my"}));
    assert_eq!((&whole["errors"], &whole["headers"]), (&json!([]), &json!({"X-Trace": "on"})));
}

#[test]
fn kind_and_grant_say_which_way_is_meant() {
    let github =
        |auth: Json| expanded(json!({"provider": "github", "params": {"installation": "7"}, "auth": auth}));
    let user = github(json!({"oauth2": {"client_id": "i", "client_secret": "s"}}));
    assert_eq!(user["auth"]["oauth2"]["authorization_url"], "https://github.com/login/oauth/authorize");
    let jwt = json!({"issuer": "i", "key": "k"});
    let app = github(json!({"oauth2": {"grant": "jwt_bearer", "assertion": {"jwt": jwt}}}));
    let assertion = &app["auth"]["oauth2"]["assertion"];
    assert_eq!(assertion["installation_url"], "https://api.github.com/app/installations/7/access_tokens");
    assert_eq!(assertion["jwt"]["algorithm"], "RS256");
    let token = github(json!({"bearer": {"token": "t"}}));
    assert_eq!(token["auth"], json!({"bearer": {"token": "t"}}));
    let device = github(json!({"oauth2": {"grant": "device_code", "client_id": "i", "client_auth": "none"}}));
    assert_eq!(device["auth"]["oauth2"]["device_authorization_url"], "https://github.com/login/device/code");
}

#[test]
fn another_kind_of_log_in_takes_the_place_of_the_providers() {
    let whole = expanded(json!({"provider": "hubspot", "auth": {"basic": {"username": "u"}}}));
    assert_eq!(whole["auth"], json!({"basic": {"username": "u"}}));
    assert_eq!(whole["url"], "https://api.hubapi.com");
}

#[test]
fn an_address_may_differ_by_the_way_one_logs_in() {
    let jira =
        |params: Json, auth: Json| expanded(json!({"provider": "jira", "params": params, "auth": auth}));
    let basic = jira(json!({"site": "acme"}), json!({"basic": {"username": "u", "password": "p"}}));
    assert_eq!(basic["url"], "https://acme.atlassian.net");
    let id = "11223344-a1b2-3b33-c444-def123456789";
    let oauth2 = json!({"oauth2": {"client_id": "i", "client_secret": "s"}});
    assert_eq!(
        jira(json!({"cloud_id": id}), oauth2)["url"],
        format!("https://api.atlassian.com/ex/jira/{id}")
    );
}

#[test]
fn a_secret_with_braces_is_not_touched() {
    let settings = json!({"provider": "zendesk", "params": {"subdomain": "acme"},
        "auth": {"basic": {"username": "u", "password": "{subdomain}"}}});
    assert_eq!(expanded(settings)["auth"]["basic"]["password"], "{subdomain}");
}

#[test]
fn every_problem_says_where_and_what_to_do() {
    let auth = json!({"bearer": {"token": "t"}});
    let cases = [
        (
            json!({"provider": "salesfroce"}),
            vec![
                r#"unknown-provider at provider: the catalogue has no provider "salesfroce"; did you mean "salesforce"?"#,
            ],
        ),
        (
            json!({"provider": "nobody-knows-it"}),
            vec![
                "unknown-provider at provider: the catalogue has no provider \"nobody-knows-it\"; `karez connections providers` lists them; without one, say `url` and `auth`",
            ],
        ),
        (
            json!({"provider": "sentry", "params": {"hots": "a"}, "auth": auth}),
            vec![r#"unknown-param at params.hots: Sentry has no parameter "hots"; did you mean "host"?"#],
        ),
        (
            json!({"provider": "hubspot", "params": {"a": "b"}, "auth": auth}),
            vec![r#"unknown-param at params.a: HubSpot has no parameter "a"; it has none"#],
        ),
        (
            json!({"provider": "sentry", "params": {"host": "a/b"}, "auth": auth}),
            vec![
                r#"bad-param at params.host: "a/b" cannot be the host of Sentry; sentry.io, us.sentry.io, de.sentry.io, or the host of your own, like "de.sentry.io""#,
            ],
        ),
        (
            json!({"provider": "bamboohr", "auth": {"basic": {}}}),
            vec![
                r#"missing-param at provider: BambooHR needs the parameter company; the part before .bamboohr.com, like "acme""#,
                "missing-field at auth: BambooHR needs `auth.basic.username`; the API key",
            ],
        ),
        (
            json!({"provider": "etsy", "auth": {"oauth2": {"client_id": "i"}}}),
            vec![
                "missing-field at provider: Etsy needs the header x-api-key; KEYSTRING:SHARED_SECRET of the app",
            ],
        ),
        (
            json!({"provider": "asana"}),
            vec![
                "missing-field at provider: Asana needs `auth.oauth2.client_id`; the client's id",
                "missing-field at provider: Asana needs `auth.oauth2.client_secret`; the client's secret",
            ],
        ),
    ];
    for (settings, wanted) in cases {
        assert_eq!(problems(settings), wanted);
    }
}

#[test]
fn a_public_client_needs_no_secret() {
    let auth = json!({"oauth2": {"client_id": "i", "client_auth": "none"}});
    assert!(expand(&json!({"provider": "gitlab", "auth": auth})).is_ok());
}

#[test]
fn a_header_counts_however_it_is_written() {
    let settings =
        json!({"provider": "etsy", "headers": {"X-API-KEY": "k:s"}, "auth": {"oauth2": {"client_id": "i"}}});
    assert!(expand(&settings).is_ok());
}
