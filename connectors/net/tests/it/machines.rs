use karez_api::{Class, Json};
use serde_json::json;

use crate::world::World;

/// Every way for a client to prove itself, and what the server says to a wrong proof.
#[tokio::test]
async fn clients_prove_themselves_in_every_way() {
    let world = World::new();
    let (secret, key) = (&world.provider.secret, &world.provider.key);
    let jwt = json!({"algorithm": "ES256", "key": key, "key_id": "k1"});
    for (client, settings, wrong) in [
        ("post", json!({"client_secret": secret}), json!({"client_secret": "another"})),
        (
            "mac",
            json!({"client_secret": secret, "client_auth": "client_secret_jwt"}),
            json!({"client_secret": "another-secret-of-thirty-two-bytes", "client_auth": "client_secret_jwt"}),
        ),
        (
            "key",
            json!({"client_key": jwt, "client_auth": "private_key_jwt"}),
            json!({"client_key": {"algorithm": "ES256", "key": key, "key_id": "k1", "audience": "https://other.example"},
                "client_auth": "private_key_jwt"}),
        ),
    ] {
        let with = |settings: &Json| {
            let mut settings = settings.clone();
            settings["grant"] = "client_credentials".into();
            world.open(&world.connections, client, &settings)
        };
        let before = world.provider.calls("/token").await;
        let connection = with(&settings);
        // The token is got; that it is none of a human's is the far end's to say.
        let refused = crate::world::who(&connection).await.unwrap_err();
        assert!(refused.response.is_some(), "{client}: {}", refused.fault);
        assert_eq!(connection.status().tokens.refreshes, 1, "{client}");
        assert_eq!(world.provider.calls("/token").await - before, 1, "{client}");
        let told = crate::world::who(&with(&wrong)).await.unwrap_err().fault;
        assert_eq!(told.class(), Class::Auth, "{client}: {told}");
        assert!(told.message().contains("invalid_client"), "{client}: {told}");
    }
}
