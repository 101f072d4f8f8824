use std::time::Duration;

use serde_json::json;

use super::world::{World, header, settle};

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn a_token_in_use_is_renewed_before_it_expires() {
    let world = World::new();
    let credentials = world.seeded();
    header(&credentials).await;
    settle().await;
    world.clock.pass(HOUR - Duration::from_secs(331));
    settle().await;
    assert_eq!(world.server.calls(), 1);
    world.clock.pass(Duration::from_secs(62));
    settle().await;
    assert_eq!(world.server.calls(), 2);
    assert_eq!(header(&credentials).await, "Bearer access-2");
}

#[tokio::test]
async fn a_token_that_nobody_uses_is_left_to_expire() {
    let world = World::new();
    let credentials = world.seeded();
    header(&credentials).await;
    for _ in 0..10 {
        settle().await;
        world.clock.pass(HOUR);
    }
    settle().await;
    // The one that was used is renewed, and the one that came of that is not.
    assert_eq!(world.server.calls(), 2);
}

#[tokio::test]
async fn an_idle_refresh_token_is_kept_alive() {
    let world = World::new();
    let settings = json!({"grant": "refresh_token", "refresh_token": "seed-token", "keep_alive": "24h"});
    let _credentials = world.open(settings);
    settle().await;
    for day in 1..=5 {
        assert_eq!(world.server.calls(), day);
        world.clock.pass(24 * HOUR);
        settle().await;
    }
}

#[tokio::test]
async fn the_schedule_ends_with_the_credentials() {
    let world = World::new();
    let credentials = world.seeded();
    header(&credentials).await;
    let live = std::sync::Arc::downgrade(&credentials.live);
    drop(credentials);
    settle().await;
    assert_eq!(live.strong_count(), 0);
    world.clock.pass(HOUR);
    settle().await;
    assert_eq!(world.server.calls(), 1);
}
