use std::time::Duration;

use karez_api::Class;
use serde_json::json;

use crate::world::{World, who};

const EXPIRED: Duration = Duration::from_secs(3_700);

#[tokio::test]
async fn at_expiry_fifty_tasks_and_two_instances_make_one_call() {
    let world = World::new();
    let settings = json!({"client_secret": world.provider.secret, "client_auth": "basic", "scopes": ["openid", "offline_access"],
        "authorization_params": {"prompt": "consent"}});
    let connection = world.open(&world.connections, "web", &settings);
    world.log_in(&connection, "alice").await.unwrap();
    let others = world.another();
    let other = world.open(&others, "web", &settings);
    assert_eq!(who(&other).await.unwrap(), "alice");
    let mut spent = vec![world.vault.json("web")["tokens"]["refresh"].clone()];
    for round in 0..5 {
        world.clock.pass(EXPIRED);
        let before = world.provider.calls("/token").await;
        let all = (0..50).map(|n| who(if n % 2 == 0 { &connection } else { &other }));
        for answer in futures_util::future::join_all(all).await {
            assert_eq!(answer.unwrap(), "alice", "round {round}");
        }
        assert_eq!(world.provider.calls("/token").await - before, 1, "round {round}");
        let now = world.vault.json("web")["tokens"]["refresh"].clone();
        assert!(!spent.contains(&now));
        spent.push(now);
    }
    // A spent one revokes all of them there: nobody can mend that here, and it is said.
    let mut kept = world.vault.json("web");
    kept["tokens"]["refresh"] = spent[0].clone();
    world.vault.set("web", &kept);
    world.clock.pass(EXPIRED);
    let told = who(&connection).await.unwrap_err().fault;
    assert_eq!(told.class(), Class::Auth);
    assert!(told.message().contains("run `karez connect web`"), "{told}");
    let calls = world.provider.calls("/token").await;
    for _ in 0..20 {
        who(&connection).await.unwrap_err();
    }
    assert_eq!(world.provider.calls("/token").await, calls);
    // And a log-in mends it.
    world.log_in(&connection, "alice").await.unwrap();
    assert_eq!(who(&connection).await.unwrap(), "alice");
}
