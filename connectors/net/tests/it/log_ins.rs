use karez_api::Class;
use karez_net::login::Account;
use serde_json::json;

use crate::browser::Browser;
use crate::world::{World, who};

fn web(world: &World) -> karez_api::Json {
    json!({"client_secret": world.provider.secret, "client_auth": "basic", "scopes": ["openid", "offline_access"],
        "authorization_params": {"prompt": "consent"}})
}

#[tokio::test]
async fn a_human_logs_in_with_a_browser_and_out_again() {
    let world = World::new();
    let connection = world.open(&world.connections, "web", &web(&world));
    let told = who(&connection).await.unwrap_err().fault;
    assert_eq!(told.class(), Class::Auth, "{told}");
    assert_eq!(world.log_in(&connection, "alice").await.as_deref(), Ok("alice"));
    assert_eq!(who(&connection).await.unwrap(), "alice");
    // Somebody else needs to be meant.
    let told = world.log_in(&connection, "bob").await.unwrap_err();
    assert!(told.contains("was logged in as alice and would be bob now"), "{told}");
    assert_eq!(who(&connection).await.unwrap(), "alice");
    let account = connection.account().unwrap();
    assert!(account.log_out().await.unwrap().is_none());
    assert_eq!(world.provider.calls("/token/revocation").await, 2);
    assert!(world.vault.json("web").is_null());
    assert_eq!(who(&connection).await.unwrap_err().fault.class(), Class::Auth);
}

#[tokio::test]
async fn a_public_client_pushes_its_request_and_binds_its_tokens_to_a_key() {
    let world = World::new();
    let settings = json!({"client_auth": "none", "par": "always", "dpop": true,
        "scopes": ["openid", "offline_access"], "authorization_params": {"prompt": "consent"}});
    let connection = world.open(&world.connections, "app", &settings);
    assert_eq!(world.log_in(&connection, "alice").await.as_deref(), Ok("alice"));
    assert!(world.provider.calls("/request").await >= 1);
    // The server wants a nonce of its own in each proof.
    assert_eq!(who(&connection).await.unwrap(), "alice");
    world.clock.pass(std::time::Duration::from_secs(4_000));
    assert_eq!(who(&connection).await.unwrap(), "alice");
    // Another process goes on with the same key.
    let other = world.another();
    assert_eq!(who(&world.open(&other, "app", &settings)).await.unwrap(), "alice");
}

#[tokio::test]
async fn a_machine_without_a_browser_shows_a_code() {
    let world = World::new();
    let settings =
        json!({"grant": "device_code", "client_auth": "none", "scopes": ["openid", "offline_access"]});
    let connection = world.open(&world.connections, "device", &settings);
    let login =
        world.connections.logins().device(&connection.account().unwrap(), Account::Same).await.unwrap();
    let page = login.complete_url.as_deref().unwrap().parse().unwrap();
    let (done, ()) = tokio::join!(login.wait(), async {
        Browser::new().confirm(&page, "alice").await;
    });
    assert_eq!(done.unwrap().subject.as_deref(), Some("alice"));
    assert_eq!(who(&connection).await.unwrap(), "alice");
}
