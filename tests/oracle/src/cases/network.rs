//! N1, N2, N3, N5, N9: the network between karez and its far ends.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use karez_tests::{Receiver, Reply, Trouble};

use crate::broker;
use crate::faults::{Answers, Proxy, pause_between};
use crate::lane::{From, Lane, To};
use crate::observe::{Http, Manner, QueueReader};
use crate::produce::{Api, Pace, Queue, Webhook};
use crate::rig::{PATIENCE, Rig};
use crate::run::Run;

/// A lane to a receiver behind a proxy.
fn behind(rig: &mut Rig, name: &str, from: From, keys: &str) -> Proxy {
    let seed = rig.seed.of(name);
    rig.lane(name, from, To::Http(Manner::GOOD));
    let log = rig.folder.join(format!("{name}.log"));
    let mut http = Http::start(&log, seed, Manner::GOOD);
    let proxy = Proxy::start(http.address(), seed);
    http.through(format!("http://{}/", proxy.address()));
    http.add_keys(keys);
    last(rig).observer = Box::new(http);
    proxy
}

/// A lane from an API behind a proxy into a file.
fn asked_through(rig: &mut Rig, name: &str) -> Proxy {
    let seed = rig.seed.of(name);
    rig.lane(name, From::Api, To::Files);
    let api = Api::new().with_keys(", timeout: 2s");
    let proxy = Proxy::start(api.server().address(), seed);
    last(rig).producer = std::sync::Arc::new(api.through(proxy.address()));
    proxy
}

fn last(rig: &mut Rig) -> &mut Lane {
    rig.lanes.last_mut().unwrap()
}

fn note(run: &mut Run, proxy: &Proxy) {
    for (fault, times) in proxy.fired() {
        run.fired(Box::leak(fault.into_boxed_str()), times);
    }
}

/// Connections end at every kind of byte, on both sides of karez. Every retry carries the same key.
pub(super) fn cuts(run: &mut Run) {
    for fault in ["CutBefore", "CutRequest", "CutAnswer", "CutInAnswer", "CutAfter", "Slice", "Delay"] {
        run.needs(fault, 3);
    }
    let mut rig = run.rig();
    let sinks = [
        behind(&mut rig, "hook-http", From::Webhook, ", timeout: 2s"),
        behind(&mut rig, "lines-http", From::SharedLines, ", timeout: 2s"),
    ];
    rig.lane("hook-files", From::Webhook, To::Files);
    let api = asked_through(&mut rig, "api-files");
    rig.pace(Pace { senders: 4, pause: Duration::from_millis(10), ..Pace::default() });
    rig.write_pipelines();
    rig.start();
    let senders = Proxy::start(rig.daemon.ingress(), rig.seed);
    rig.lanes[2].producer = std::sync::Arc::new(Webhook::new("hook-files").through(senders.address()));
    rig.load();
    let proxies: Vec<&Proxy> = sinks.iter().chain([&senders, &api]).collect();
    proxies.iter().for_each(|proxy| proxy.hurt(70));
    let enough = |_: &mut Rig| {
        let mut all = std::collections::BTreeMap::<String, u64>::new();
        for (fault, times) in proxies.iter().flat_map(|proxy| proxy.fired()) {
            *all.entry(fault).or_default() += times;
        }
        let least = run.tier.of(5, 50, 500);
        crate::faults::FAULTS
            .iter()
            .all(|fault| all.get(&format!("{fault:?}")).is_some_and(|times| *times >= least))
    };
    rig.wait(run.tier.of(PATIENCE, PATIENCE * 3, PATIENCE * 20), enough);
    proxies.iter().for_each(|proxy| proxy.heal());
    rig.acks(5);
    rig.conclude();
    proxies.iter().for_each(|proxy| note(run, proxy));
    run.take(rig, 30);
    let sum = run.sum();
    run.check(sum.repeated_on_the_wire > 0, || "proves nothing: nothing was sent twice".into());
    run.check(sum.unknown > 0, || "proves nothing: no sender was left without an answer".into());
}

/// What was sent arrives, the answer does not: the far end has applied it and we send it again.
pub(super) fn lost_answers(run: &mut Run) {
    let windows = run.tier.of(2, 5, 20);
    run.needs("swallowed answer", windows);
    let mut rig = run.rig();
    let proxy = behind(&mut rig, "hook-http", From::Webhook, ", timeout: 1s");
    rig.begin();
    for _ in 0..windows {
        rig.acks(20);
        proxy.swallow(Answers::Lost);
        let before = proxy.fired().get("swallowed answer").copied().unwrap_or_default();
        rig.wait(PATIENCE, |_| proxy.fired().get("swallowed answer").is_some_and(|now| *now > before));
        proxy.swallow(Answers::Passed);
    }
    rig.acks(5);
    rig.conclude();
    note(run, &proxy);
    run.take(rig, 30);
    let sum = run.sum();
    run.check(sum.repeated_on_the_wire > 0, || "proves nothing: nothing was sent twice".into());
}

/// Nothing passes and nobody says so: receiver, broker and API alike. Nobody restarts anything.
pub(super) fn silence(run: &mut Run) {
    let silent = run.tier.of(Duration::from_secs(5), Duration::from_secs(45), Duration::from_secs(60));
    run.needs("silence", 3);
    let mut rig = run.rig();
    let receiver = behind(&mut rig, "hook-http", From::Webhook, ", timeout: 2s");
    let seed = rig.seed;
    let to_broker = Proxy::start(broker().lock().unwrap().address(), seed);
    let at = to_broker.address();
    rig.lane("queue-files", From::Queue, To::Files);
    let name = format!("silent-{:08x}", seed.0 as u32);
    last(&mut rig).producer = std::sync::Arc::new(Queue::new(&broker(), &name).through(at));
    rig.lane("hook-queue", From::Webhook, To::Queue);
    let log = rig.folder.join("silent.log");
    let reader = QueueReader::new(&broker(), &format!("{name}-out"), &log).through(at);
    last(&mut rig).observer = Box::new(reader);
    let to_api = asked_through(&mut rig, "api-files");
    rig.pace(Pace { pause: Duration::from_millis(10), ..Pace::default() });
    rig.begin();
    rig.acks(20);
    for _ in 0..run.tier.of(1, 2, 5) {
        let proxies = [&receiver, &to_broker, &to_api];
        proxies.iter().for_each(|proxy| proxy.freeze());
        std::thread::sleep(silent);
        proxies.iter().for_each(|proxy| proxy.thaw());
        rig.resumes("the silence");
        rig.acks(5);
    }
    run.fired("silence", 1);
    rig.conclude();
    [&receiver, &to_broker, &to_api].into_iter().for_each(|proxy| note(run, proxy));
    run.take(rig, 20);
}

/// One host that comes and goes, for many pipelines at once.
pub(super) fn flapping(run: &mut Run) {
    let (pipelines, flaps) = run.tier.of((10, 5), (50, 30), (200, 150));
    run.needs("flap", flaps);
    let mut rig = run.rig();
    rig.lane("first", From::Webhook, To::Http(Manner::GOOD));
    let mut receiver = Receiver::start();
    let more = |n: u32, receiver: &Receiver| {
        format!(
            "source: {{generate: {{rate: 20/s}}, journal: true}}\nsink: {{http: {{url: \"{}\"}}, retry: {{initial: 100ms, max_wait: 1s}}}}\n# {n}\n",
            receiver.url("/")
        )
    };
    for n in 0..pipelines {
        rig.daemon.pipeline(&format!("flap{n}"), &more(n, &receiver));
    }
    rig.begin();
    rig.acks(5);
    let (begun, before) = (Instant::now(), attempts(&rig));
    let mut random = rig.seed.random();
    for _ in 0..flaps {
        receiver.refuse();
        pause_between(&mut random, 700..1_000);
        receiver.accept();
        pause_between(&mut random, 700..1_000);
        run.fired("flap", 1);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let per_second = (attempts(&rig) - before) as f64 / seconds;
    let opened = rig.daemon.metrics().sum("karez_sink_circuit_opened_total", "pipeline=\"flap");
    run.note(format!("{pipelines} pipelines, {per_second:.0} attempts/s, circuit opened {opened} times"));
    // 20 records a second each, and what a waiting circuit tries beside them.
    run.check(per_second < f64::from(pipelines) * 45.0, || format!("{per_second:.0} attempts/s is a storm"));
    run.check(opened > 0, || "proves nothing: no circuit opened".into());
    let at_rest =
        |rig: &mut Rig| rig.daemon.metrics().sum("karez_sink_up", "pipeline=\"flap") == u64::from(pipelines);
    let well = rig.wait(PATIENCE, at_rest);
    run.check(well, || "circuits stay open though the host is back".into());
    rig.conclude();
    run.take(rig, 5);
}

fn attempts(rig: &Rig) -> u64 {
    rig.daemon.metrics().sum("karez_sink_attempts_total", "pipeline=\"flap")
}

/// `Retry-After` in every form a server may give it: obeyed within bounds, junk is as good as none.
pub(super) fn retry_after(run: &mut Run) {
    const YEARS: [&str; 2] = ["315360000", "Fri, 31 Dec 9999 23:59:59 GMT"];
    const FORMS: [&str; 9] =
        ["1", "0", "-5", "junk", YEARS[0], "1.5", "Wed, 21 Oct 2015 07:28:00 GMT", YEARS[1], ""];
    run.needs("told to wait", FORMS.len() as u64);
    // A source asks again after an hour where it is told to wait for years, so it is not told so here.
    let few = || FORMS.into_iter().filter(|form| !YEARS.contains(form));
    run.needs("told to wait before it may ask", few().count() as u64);
    let mut rig = run.rig();
    rig.lane("hook-http", From::Webhook, To::Http(Manner::GOOD));
    rig.lanes[0].pace = Pace { senders: 1, pause: Duration::from_millis(50), ..Pace::default() };
    // Each request's first try is put off with the next form.
    let told = std::sync::Arc::new(Mutex::new(0_usize));
    let http = {
        let log = rig.folder.join("retry.log");
        let mut http = Http::start(&log, rig.seed, Manner::GOOD);
        let retry = "{initial: 20ms, max_wait: 2s, max_attempts: 100}";
        http.keys_instead(&format!(", retry: {retry}, on_error: {{rate_limit: {{retry: {retry}}}}}"));
        let told = std::sync::Arc::clone(&told);
        http.before(move |_| {
            let mut told = told.lock().unwrap();
            let form = FORMS.get(*told / 2).copied();
            let status = if told.is_multiple_of(2) { 429 } else { 503 };
            *told += 1;
            form.map(|form| Reply::Told(status, form))
        });
        http
    };
    rig.lanes[0].observer = Box::new(http);
    rig.lane("api-files", From::Api, To::Files);
    let api = Api::new();
    api.server().trouble(move |asked| {
        let form = few().nth(asked.nth / 2)?;
        let status = if asked.nth.is_multiple_of(2) { 429 } else { 503 };
        Some(Trouble::Instead(Reply::Told(status, form)))
    });
    let asked = std::sync::Arc::clone(api.server());
    last(&mut rig).producer = std::sync::Arc::new(api);
    rig.begin();
    let through = |_: &mut Rig| {
        *told.lock().unwrap() >= FORMS.len() * 2 && asked.count("/cursor/events") >= few().count() * 2
    };
    rig.wait(PATIENCE, through);
    run.fired("told to wait", *told.lock().unwrap() as u64 / 2);
    run.fired("told to wait before it may ask", asked.count("/cursor/events") as u64 / 2);
    rig.acks(20);
    rig.conclude();
    run.take(rig, 20);
}
