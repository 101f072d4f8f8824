use super::*;
use crate::testing::TestClock;

fn gate(clock: &TestClock, networks: &[&str], rate: Option<&str>, per_peer: Option<&str>) -> Gate {
    let quota = |text: Option<&str>| text.and_then(|text| quota(text.parse().unwrap(), None));
    let limits = Limits {
        networks: networks.iter().map(|text| text.parse().unwrap()).collect(),
        all: quota(rate),
        per_peer: quota(per_peer),
    };
    Gate::new(Arc::new(limits), Arc::new(clock.clone()))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn only_named_networks_are_let_in() {
    let gate = gate(&TestClock::default(), &["192.0.2.0/24", "2001:db8::/32"], None, None);
    for inside in ["192.0.2.1", "::ffff:192.0.2.9", "2001:db8:1::1"] {
        assert_eq!(gate.pass(ip(inside)), Ok(()), "{inside}");
    }
    for outside in ["192.0.3.1", "::1", "2001:db9::1"] {
        assert_eq!(gate.pass(ip(outside)), Err(Turned::Away), "{outside}");
    }
}

#[test]
fn a_rate_is_counted_for_all_and_for_each() {
    let clock = TestClock::default();
    let gate = gate(&clock, &[], Some("3/s"), Some("2/s"));
    let (one, other) = (ip("192.0.2.1"), ip("192.0.2.2"));
    assert_eq!((gate.pass(one), gate.pass(one)), (Ok(()), Ok(())));
    assert!(matches!(gate.pass(one), Err(Turned::Later(wait)) if wait <= Duration::from_millis(500)));
    assert_eq!(gate.pass(other), Ok(()));
    assert!(matches!(gate.pass(other), Err(Turned::Later(_))), "three of all in a second");
    clock.pass(Duration::from_millis(1_100));
    assert_eq!((gate.pass(one), gate.pass(other)), (Ok(()), Ok(())));
}

#[test]
fn an_ipv6_network_is_one_peer() {
    let gate = gate(&TestClock::default(), &[], None, Some("1/s"));
    assert_eq!(gate.pass(ip("2001:db8::1")), Ok(()));
    assert!(gate.pass(ip("2001:db8::2")).is_err());
    assert_eq!(gate.pass(ip("2001:db8:0:1::1")), Ok(()));
}

#[test]
fn what_is_remembered_of_peers_is_bounded() {
    let gate = gate(&TestClock::default(), &[], None, Some("1/h"));
    for n in 0..(MOST_PEERS as u32 + 5) {
        gate.pass(std::net::Ipv4Addr::from(n).into()).ok();
    }
    let limiter = gate.per_peer.as_ref().unwrap();
    assert!(limiter.len() <= MOST_PEERS, "{}", limiter.len());
}

#[test]
fn who_cannot_prove_anything_is_slowed_down_after_a_while() {
    let clock = TestClock::default();
    let gate = gate(&clock, &[], None, None);
    let slowed = |n: u32| (0..n).filter(|_| gate.brake().is_some()).count();
    assert_eq!(slowed(FREE_REFUSALS.get()), 0);
    assert_eq!(slowed(3), 3);
    clock.pass(Duration::from_secs(1));
    assert_eq!(slowed(FREE_REFUSALS.get()), 0);
}
