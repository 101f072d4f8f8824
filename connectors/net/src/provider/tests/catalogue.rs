//! The files: that each can be read and is sound. What they say of a provider is not checked by anybody but people.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use reqwest::Url;

use super::*;
use crate::provider::params::{fill, named, placeholders};

const CATEGORIES: &[&str] = &[
    "accounting",
    "ai",
    "analytics",
    "cloud",
    "commerce",
    "communication",
    "content",
    "crm",
    "data",
    "developer",
    "documents",
    "email",
    "erp",
    "events",
    "files",
    "forms",
    "hr",
    "identity",
    "marketing",
    "media",
    "monitoring",
    "payments",
    "platform",
    "productivity",
    "project",
    "sales",
    "search",
    "social",
    "sports",
    "support",
];

/// Providers that describe themselves on another domain of theirs than the one they are called at.
const ELSEWHERE: &[(&str, &str)] = &[
    ("activecampaign", "activecampaign.com"),
    ("algolia", "algolia.com"),
    ("anthropic", "claude.com"),
    ("aws-lambda", "amazon.com"),
    ("aws-s3", "amazon.com"),
    ("bitbucket", "atlassian.com"),
    ("braintree", "paypal.com"),
    ("dynamics-365", "microsoft.com"),
    ("helpscout", "helpscout.com"),
    ("linkedin", "microsoft.com"),
    ("mailgun", "mailgun.com"),
    ("netsuite", "oracle.com"),
    ("pipedrive", "readme.io"),
    ("reddit", "github.com"),
    ("sap-business-one", "sap.com"),
    ("sap-successfactors", "sap.com"),
    ("sendgrid", "twilio.com"),
    ("servicenow", "servicenow.com"),
    ("shopify", "shopify.dev"),
    ("slack", "slack.dev"),
    ("slack-user", "slack.dev"),
    ("snowflake", "snowflake.com"),
    ("trello", "atlassian.com"),
    ("woocommerce", "github.io"),
];

/// Names with another meaning in one of the texts.
const RESERVED: &[&str] = &[
    "now",
    "expires",
    "uuid",
    "tenantid",
    "method",
    "path",
    "query",
    "url",
    "host_header",
    "body",
    "timestamp",
];

#[test]
fn every_file_reads_and_says_what_is_needed() {
    let words = Regex::new("^[a-z0-9]+(-[a-z0-9]+)*$").unwrap();
    for file in FILES.files() {
        let name = file.path().display();
        let provider = read(file).unwrap_or_else(|error| panic!("{name}: {error}"));
        let name = provider.name;
        assert_eq!(file.path().extension().unwrap(), "toml", "{name}");
        assert!(words.is_match(name), "{name}");
        assert!(!provider.title.is_empty() && provider.docs.starts_with("https://"), "{name}");
        assert!(CATEGORIES.contains(&&*provider.category), "{name}: {}", provider.category);
        assert!(!provider.ways.is_empty(), "{name}: no way to log in");
        assert!(provider.ways.iter().all(|way| !way.about.is_empty()), "{name}");
    }
    assert!(all().len() >= 64 && all().len() == FILES.files().count());
    assert!(all().is_sorted_by(|one, next| one.name < next.name));
    let titles: BTreeSet<_> = all().iter().map(|provider| &provider.title).collect();
    assert_eq!(titles.len(), all().len(), "two have one title");
    assert!(
        all().iter().all(|provider| find(provider.name).is_some_and(|found| std::ptr::eq(found, provider)))
    );
}

#[test]
fn every_example_is_a_connection_once_it_is_expanded() {
    for (name, provider, way) in ways() {
        let expanded =
            expand(&copied(provider, way)).unwrap_or_else(|problems| panic!("{name}: {problems:?}"));
        let auth = expanded["auth"].as_object().unwrap();
        assert!(auth.contains_key(way.kind()), "{name}: another way was meant");
        if let Some(grant) = way.grant() {
            let said = expanded["auth"]["oauth2"]["grant"].as_str().unwrap_or("authorization_code");
            assert_eq!(said, grant, "{name}");
        }
        let spec = spec(expanded).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(spec.url.is_some() && spec.auth.is_some(), "{name}");
        let probe = spec.probe.unwrap_or_else(|| panic!("{name}: no probe"));
        assert!(probe.path.starts_with('/'), "{name}: {}", probe.path);
    }
}

#[test]
fn ways_of_a_provider_can_be_told_apart() {
    for provider in all() {
        let kinds: BTreeSet<_> = provider.ways.iter().map(|way| (way.kind(), way.grant())).collect();
        assert_eq!(kinds.len(), provider.ways.len(), "{}", provider.name);
    }
}

#[test]
fn everything_is_asked_for_over_https() {
    for (name, provider, way) in ways() {
        let expanded = expand(&copied(provider, way)).unwrap();
        let kept: BTreeMap<&str, &str> =
            kept(way).into_iter().map(|name| (name, "https://kept.example.com")).collect();
        let expanded = fill(expanded.as_object().unwrap(), &kept);
        for (field, text) in addresses(&Json::Object(expanded)) {
            // The first address may begin with a kept one.
            let text = text.replace("/https://kept.example.com", "/kept");
            let url = Url::parse(&text).unwrap_or_else(|error| panic!("{name}: {field} {text}: {error}"));
            assert_eq!(url.scheme(), "https", "{name}: {field} {text}");
            assert!(url.username().is_empty() && url.fragment().is_none(), "{name}: {field} {text}");
        }
    }
}

#[test]
fn docs_are_the_providers_own() {
    let domain = |url: &str| {
        let url = Url::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        let host = url.host_str().unwrap().to_owned();
        host.rsplitn(3, '.').take(2).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join(".")
    };
    let mut elsewhere = Vec::new();
    for provider in all() {
        let docs = domain(&provider.docs);
        let called = provider.ways.iter().flat_map(|way| addresses(&expand(&copied(provider, way)).unwrap()));
        if !called.into_iter().any(|(_, url)| Url::parse(&url).is_ok() && domain(&url) == docs) {
            elsewhere.push((provider.name, docs));
        }
    }
    let elsewhere: Vec<_> = elsewhere.iter().map(|(name, docs)| (*name, docs.as_str())).collect();
    assert_eq!(elsewhere, ELSEWHERE);
}

#[test]
fn every_placeholder_has_a_source_and_every_parameter_a_use() {
    for (name, provider, way) in ways() {
        let kept = kept(way);
        let own = |text: &&str| {
            provider.params.contains_key(*text) || kept.contains(text) || RESERVED.contains(text)
        };
        let unknown: Vec<_> = provider.placeholders(way).into_iter().filter(|text| !own(text)).collect();
        assert!(unknown.is_empty(), "{name}: {unknown:?} is no parameter and not kept");
        // A kept value is there once one has logged in: no part of how one does.
        let early = Json::Object(way.auth.clone());
        let mut early_names = BTreeSet::new();
        named(&early, &mut early_names);
        assert!(early_names.is_disjoint(&kept), "{name}: {early_names:?}");
    }
    for provider in all() {
        let used: BTreeSet<_> = provider.ways.iter().flat_map(|way| provider.placeholders(way)).collect();
        for (name, param) in &provider.params {
            let place = format!("{}: {name}", provider.name);
            assert!(used.contains(name.as_str()), "{place} is not used");
            assert!(
                !RESERVED.contains(&name.as_str()) && placeholders(&format!("{{{name}}}")).count() == 1,
                "{place}"
            );
            assert!(!param.about.is_empty() && param.admits(&param.example), "{place}: {}", param.example);
            assert!(param.default.as_ref().is_none_or(|value| param.admits(value)), "{place}");
        }
    }
}

#[test]
fn no_parameter_leads_to_another_host() {
    let attempts = ["a@b", "a?b", "a#b", "a\\b", "a b", "a\n", "a:b@c", "{a}", "..", "a/../b", "a%2fb"];
    for provider in all() {
        for (name, param) in &provider.params {
            let place = format!("{}: {name}", provider.name);
            for attempt in attempts {
                assert!(!param.admits(attempt), "{place} takes {attempt:?}");
            }
            let whole = format!("https://{{{name}}}/");
            let is_the_host = addresses(&Json::Object(provider.connection.clone()))
                .iter()
                .any(|(_, url)| url.starts_with(&whole));
            assert!(is_the_host || !param.admits("evil.example/a"), "{place} takes a path");
        }
    }
}

#[test]
fn picks_are_jsonpath_where_they_begin_like_it() {
    for (name, provider, way) in ways() {
        let trees = [&provider.connection, &way.connection, &way.auth];
        let mut texts: Vec<&str> = trees.into_iter().flat_map(JsonMap::values).flat_map(picks).collect();
        texts.extend(provider.paging.iter().filter_map(|paging| paging.response.as_deref()));
        for text in texts.into_iter().filter(|text| text.starts_with('$')) {
            assert!(jsonpath_rust::parser::parse_json_path(text).is_ok(), "{name}: {text}");
        }
    }
}

#[test]
fn no_file_has_a_secret() {
    const SECRETS: &[&str] = &[
        "key",
        "client_secret",
        "password",
        "secret",
        "secret_access_key",
        "consumer_secret",
        "token_secret",
    ];
    fn look(tree: &Json, at: &str) {
        for (name, value) in tree.as_object().into_iter().flatten() {
            let filler = ["", "x", "X"].contains(&value.as_str().unwrap_or("?"));
            assert!(filler || value.is_object() || !SECRETS.contains(&&**name), "{at}.{name}");
            look(value, &format!("{at}.{name}"));
        }
    }
    for (name, _, way) in ways() {
        look(&Json::Object(way.auth.clone()), &name);
    }
}

#[test]
fn a_provider_is_written_as_json() {
    let slack = serde_json::to_value(find("slack").unwrap()).unwrap();
    assert_eq!(slack["name"], "slack");
    assert_eq!(slack["paging"]["kind"], "cursor");
    assert!(slack["ways"][0]["auth"]["oauth2"]["token_url"].is_string());
}

fn kept(way: &Way) -> BTreeSet<&str> {
    let keep = way.said().and_then(|said| said.get("keep")?.as_object());
    keep.into_iter().flat_map(JsonMap::keys).map(String::as_str).collect()
}

/// Texts of a connection that are addresses, by the names of their fields.
fn addresses(tree: &Json) -> Vec<(String, String)> {
    let fields = tree.as_object().into_iter().flatten();
    fields
        .flat_map(|(name, value)| match value {
            Json::String(text) if name == "url" || name.ends_with("_url") && !text.starts_with('$') => {
                vec![(name.clone(), text.clone())]
            }
            below => addresses(below),
        })
        .collect()
}

fn picks(tree: &Json) -> Vec<&str> {
    match tree {
        Json::String(text) if text.starts_with("$.") || text.starts_with("$[") => vec![text],
        Json::Object(fields) => fields.values().flat_map(picks).collect(),
        Json::Array(items) => items.iter().flat_map(picks).collect(),
        _ => Vec::new(),
    }
}
