//! Clients that are known by their certificate, and tokens that are bound to one (RFC 8705).

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use karez_api::{Class, Json};
use karez_net::{Connections, Options, Request, check};
use serde_json::json;

use crate::keys::Keys;
use crate::nginx::Nginx;
use crate::world::{Ahead, World, who};

fn settings(client_auth: &str) -> Json {
    json!({"client_auth": client_auth, "scopes": ["openid", "offline_access"], "authorization_params": {"prompt": "consent"}})
}

#[tokio::test]
async fn a_client_is_known_by_its_certificate_and_so_are_its_tokens() {
    let world = World::new();
    for (client, client_auth) in [("certified", "tls"), ("public", "none")] {
        let settings = settings(client_auth);
        let connection = world.secured(&world.connections, client, &settings, "client");
        assert_eq!(world.log_in(&connection, "alice").await.as_deref(), Ok("alice"), "{client}");
        assert_eq!(who(&connection).await.unwrap(), "alice", "{client}");
        world.clock.pass(Duration::from_secs(3_700));
        assert_eq!(who(&connection).await.unwrap(), "alice", "{client}");
        assert_eq!(connection.status().tokens.refreshes, 1, "{client}");

        // Whoever found the token has no use for it, with a certificate of their own or with none.
        let token = &world.vault.json(client)["tokens"]["access"];
        let mut tls = world.provider.keys.tls("stranger");
        for certificate in ["another", "none"] {
            if certificate == "none" {
                tls.as_object_mut().unwrap().retain(|name, _| name != "certificate" && name != "key");
            }
            let thief = json!({"url": world.provider.secured, "allow_private": ["127.0.0.0/8"], "tls": tls,
                "auth": {"bearer": {"token": token}}});
            let thief = world.connections.open(&check("thief", &thief).unwrap()).unwrap();
            let told = who(&thief).await.unwrap_err().fault;
            assert_eq!(
                (told.class(), told.code()),
                (Class::Auth, "http_401"),
                "{client}, {certificate}: {told}"
            );
        }
    }
    // Where certificates are shown, and nowhere else (§5).
    assert_eq!(world.provider.calls("tls /token").await, 4);
    assert_eq!(world.provider.calls("/token").await, 0);
}

#[tokio::test]
async fn a_certificate_that_vouches_for_itself_is_known_by_the_server_or_refused() {
    let world = World::new();
    let machine = json!({"grant": "client_credentials", "client_auth": "tls"});
    let connection = world.secured(&world.connections, "self-signed", &machine, "stranger");
    // The token is got; that it is none of a human's is the far end's to say.
    let refused = who(&connection).await.unwrap_err();
    assert!(refused.response.is_some(), "{}", refused.fault);
    assert_eq!(connection.status().tokens.refreshes, 1);
    assert_eq!(world.provider.calls("tls /token").await, 1);
    let connection = world.secured(&world.connections, "self-signed", &machine, "client");
    let told = who(&connection).await.unwrap_err().fault;
    assert_eq!((told.class(), told.code()), (Class::Auth, "invalid_client"));
    assert!(told.message().contains("look at `client_id`, `tls.certificate` and"), "{told}");
}

#[tokio::test]
async fn a_web_server_that_asks_for_a_certificate_gets_it_and_says_what_is_wrong_with_another() {
    let keys = Keys::certificates();
    let nginx = Nginx::start(&keys);
    let connections = Connections::new(Arc::new(Ahead::default()), None, Options::default());
    let get = async |path: &str, tls: Json| {
        let settings =
            json!({"url": nginx.url, "allow_private": ["127.0.0.0/8"], "tls": tls, "follow_redirects": true});
        let connection = connections.open(&check("nginx", &settings).unwrap()).unwrap();
        connection.call(Request::new(Method::GET, connection.url(path).unwrap())).await
    };
    let ask = async |tls: Json| get("/", tls).await;
    let answer = ask(keys.tls("client")).await.unwrap();
    assert_eq!(serde_json::from_slice::<Json>(&answer.body).unwrap(), json!({"subject": "CN=client"}));
    // Whoever it points to does not learn who we are.
    let answer = get("/away", keys.tls("client")).await.unwrap();
    assert_eq!(serde_json::from_slice::<Json>(&answer.body).unwrap(), json!({"subject": ""}));
    let none = json!({"ca": keys.text("ca.pem"), "only_ca": true});
    for (tls, said) in
        [(none, "No required SSL certificate was sent"), (keys.tls("stranger"), "The SSL certificate error")]
    {
        let told = ask(tls).await.unwrap_err().fault;
        assert_eq!(told.class(), Class::Auth, "{told}");
        assert!(told.message().contains(said), "{told}");
    }
    // And it is we who do not trust a server whose certificate nobody vouches for.
    let told = ask(json!({"ca": keys.text("stranger.pem"), "only_ca": true})).await.unwrap_err().fault;
    assert_eq!(told.class(), Class::Connection, "{told}");
    assert!(told.message().contains("UnknownIssuer"), "{told}");
}
