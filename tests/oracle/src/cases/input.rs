//! I1, I2, I3, I5, I6: bodies, files and patterns of somebody who means harm.

use std::time::{Duration, Instant};

use karez_tests::{Daemon, Folder, Launch, Receiver, Request, json, send};

use crate::lane::{From, To};
use crate::observe::{Manner, lines_of};
use crate::rig::Rig;
use crate::run::{Build, Run};

/// A daemon of its own with these pipelines, and a lane beside them that must not notice anything.
fn beside(run: &Run, pipelines: &[(&str, String)]) -> Rig {
    let mut rig = run.rig();
    rig.lane("beside", From::Webhook, To::Http(Manner::GOOD)).pace.senders = 2;
    for (name, text) in pipelines {
        rig.daemon.pipeline(name, text);
    }
    rig.begin();
    rig.acks(10);
    rig
}

fn open(path: &str, rest: &str) -> String {
    format!(
        "source: {{webhook: {{path: /{path}, verify: {{none: {{reason: test}}}}, max_body: 2MiB}}}}\n{rest}\n"
    )
}

fn finish(run: &mut Run, mut rig: Rig) {
    let alive = rig.daemon.is_running();
    run.check(alive, || "it ended".into());
    let said = rig.daemon.stderr();
    run.check(!said.contains("panicked"), || format!("panicked: {}", crate::rig::tail(&said, 400)));
    rig.acks(5);
    rig.conclude();
    run.take(rig, 10);
}

/// JSON that is deep, large, doubled or not JSON: refused with 4xx, or delivered digit by digit.
pub(super) fn hostile_json(run: &mut Run) {
    let mut rig = beside(run, &[("json", open("json", "sink: {files: {path: out.ndjson}}"))]);
    let nested = |depth: usize| {
        format!("{{\"id\":\"deep{depth}\",\"n\":{}1{}}}", "[".repeat(depth), "]".repeat(depth))
    };
    let mut bodies: Vec<Vec<u8>> = [
        nested(100),
        nested(120),
        nested(127),
        nested(128),
        nested(1_000),
        nested(100_000),
        "{\"id\":\"huge-exponent\",\"n\":1e400}".into(),
        "{\"id\":\"forty-digits\",\"n\":1234567890123456789012345678901234567890}".into(),
        "{\"id\":\"u64\",\"n\":18446744073709551615}".into(),
        "{\"id\":\"beyond-u64\",\"n\":18446744073709551616}".into(),
        "{\"id\":\"i64\",\"n\":-9223372036854775808}".into(),
        "{\"id\":\"long-fraction\",\"n\":0.1000000000000000055511151231257827}".into(),
        "{\"id\":\"negative-zero\",\"n\":-0.0}".into(),
        "{\"id\":\"doubled\",\"n\":1,\"n\":2}".into(),
        "{\"id\":\"lone-surrogate\",\"n\":\"\\ud800\"}".into(),
        "{\"id\":\"nul\",\"n\":\"\\u0000\"}".into(),
        "{\"id\":\"nan\",\"n\":NaN}".into(),
        "{\"id\":\"infinity\",\"n\":Infinity}".into(),
        "{\"id\":\"comma\",\"n\":1,}".into(),
        "{\"id\":\"two\"}{\"id\":\"three\"}".into(),
        "\u{feff}{\"id\":\"bom\",\"n\":1}".into(),
        String::new(),
        " ".into(),
        "null".into(),
        "\"text\"".into(),
        format!(
            "{{\"id\":\"wide\",\"n\":{{{}}}}}",
            (0..50_000).map(|n| format!("\"k{n}\":1")).collect::<Vec<_>>().join(",")
        ),
        format!("{{\"id\":\"large\",\"n\":\"{}\"}}", "x".repeat(3 << 20)),
    ]
    .map(String::into_bytes)
    .to_vec();
    bodies.push(b"{\"id\":\"bad-utf8\",\"n\":\"\xff\xfe\"}".to_vec());
    run.needs("hostile body", bodies.len() as u64);
    let mut accepted = Vec::new();
    for body in bodies {
        run.fired("hostile body", 1);
        let short = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let request = Request::post("/webhooks/json", "").body(body.clone());
        match send(rig.daemon.ingress(), &request) {
            Ok(answer) if answer.status == 200 => accepted.push(body),
            Ok(answer) => {
                run.check((400..500).contains(&answer.status), || format!("{short}: {}", answer.status))
            }
            Err(error) => run.violation(format!("{short}: no answer: {error}")),
        }
    }
    rig.wait(Duration::from_secs(20), Rig::is_at_rest);
    let path = rig.daemon.at("out.ndjson");
    rig.wait(Duration::from_secs(20), |rig| {
        lines_of(&path).len() as u64 + rig.daemon.metrics().outcome("json", "dead_lettered")
            >= accepted.len() as u64
    });
    let delivered = lines_of(&path);
    let letters = rig.daemon.metrics().outcome("json", "dead_lettered");
    let same = accepted.iter().filter(|body| delivered.iter().any(|line| line == body.trim_ascii())).count();
    run.note(format!("{} accepted, {same} delivered as they were, {letters} dead letters", accepted.len()));
    for line in &delivered {
        let known = accepted.iter().any(|body| body.trim_ascii() == line);
        run.check(known, || format!("altered: {}", String::from_utf8_lossy(&line[..line.len().min(100)])));
    }
    finish(run, rig);
}

/// Compressed bodies that would not end: refused before anything is unpacked.
pub(super) fn bombs(run: &mut Run) {
    let rig = beside(run, &[("bomb", open("bomb", "sink: {blackhole: {}}"))]);
    let before = rig.daemon.memory();
    run.needs("bomb", 40);
    for encoding in ["gzip", "deflate", "br", "zstd", "gzip, gzip"] {
        for _ in 0..8 {
            // What is inside does not matter to whoever refuses it by its header.
            let request = Request::post("/webhooks/bomb", "")
                .body(vec![0x1f; 200_000])
                .header("Content-Encoding", encoding);
            match send(rig.daemon.ingress(), &request) {
                Ok(answer) => run
                    .check([413, 415].contains(&answer.status), || format!("{encoding}: {}", answer.status)),
                Err(error) => run.violation(format!("{encoding}: no answer: {error}")),
            }
            run.fired("bomb", 1);
        }
    }
    let grown = rig.daemon.memory().saturating_sub(before) >> 20;
    run.check(grown <= 24, || format!("memory grew by {grown} MiB"));
    finish(run, rig);
}

/// Pipeline files that would take all memory and time.
pub(super) fn hostile_yaml(run: &mut Run) {
    let laughs = {
        let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
        for n in 1..30 {
            text += &format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 9].join(","));
        }
        text
    };
    let good = open("good", "sink: {blackhole: {}}");
    let files: [(&str, String, i32); 9] = [
        ("laughs", laughs, 1),
        ("deep", format!("a: {}{}", "[".repeat(100_000), "]".repeat(100_000)), 1),
        ("deep-maps", (0..5_000).fold(String::new(), |text, depth| text + &" ".repeat(depth) + "a:\n"), 1),
        ("tags", "source: !!python/object:os.system {webhook: {}}\n".into(), 1),
        ("merge", format!("x: &x {{path: /y}}\n{}", good.replace("path: /good", "<<: *x")), 1),
        ("doubled", format!("{good}sink: {{blackhole: {{}}}}\n"), 1),
        ("country", good.replace("reason: test", "reason: no"), 1),
        ("octal", good.replace("2MiB", "012"), 1),
        ("large", format!("{good}# {}\n", "x".repeat(20 << 20)), 1),
    ];
    run.needs("hostile file", files.len() as u64);
    for (name, text, _) in files {
        let folder = Folder::staying(run.folder().join(format!("yaml-{name}")));
        folder.pipeline("hostile", &text);
        let begun = Instant::now();
        let (code, peak, said) = checked(&folder);
        let took = begun.elapsed();
        run.fired("hostile file", 1);
        run.check(code == Some(0) || code == Some(1), || {
            format!("{name}: check ended with {code:?}: {said}")
        });
        run.check(!said.contains("panicked"), || format!("{name}: {said}"));
        // Ten times the figure for a release build on a quiet machine.
        run.check(took < Duration::from_secs(5), || format!("{name}: took {took:?}"));
        run.check(peak < 400 << 20, || format!("{name}: took {} MiB", peak >> 20));
        let placed = code == Some(0) || said.contains("hostile.yaml");
        run.check(placed, || format!("{name}: the file is not named: {}", crate::rig::tail(&said, 200)));
    }
}

/// Exit code, peak of memory, and output of `karez check`.
fn checked(folder: &Folder) -> (Option<i32>, u64, String) {
    let out = folder.at("out.txt");
    let file = std::fs::File::create(&out).unwrap();
    let mut command = folder.command(["check"]);
    let mut child = command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
    let (begun, mut peak) = (Instant::now(), 0);
    let code = loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let now = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<u64>().ok());
        peak = peak.max(now.unwrap_or_default() << 10);
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        if begun.elapsed() > Duration::from_secs(60) {
            child.kill().ok();
            child.wait().ok();
            break None;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    (code, peak, String::from_utf8_lossy(&std::fs::read(out).unwrap_or_default()).into_owned())
}

/// Patterns and programs that would run for ever: a named end, and nobody else waits.
pub(super) fn hostile_patterns(run: &mut Run) {
    let pipelines = [
        (
            "regex",
            open(
                "regex",
                "steps:\n  - validate: {schema: {properties: {text: {type: string, pattern: \"^(a+)+$\"}}}}\nsink: {blackhole: {}}",
            ),
        ),
        ("jq", open("jq", "steps:\n  - jq: '[range(1000000000)] | length | {n: .}'\nsink: {blackhole: {}}")),
        ("match", open("match", "steps:\n  - filter: \"match(@.text, '(a|aa)+b')\"\nsink: {blackhole: {}}")),
    ];
    let mut rig = beside(run, &pipelines);
    let text = format!("{}!", "a".repeat(40));
    run.needs("hostile record", 9);
    for (name, _) in &pipelines {
        for n in 0..3 {
            let request = Request::post(&format!("/webhooks/{name}"), json!({"id": n, "text": text}));
            let answer = send(rig.daemon.ingress(), &request);
            run.check(answer.is_ok_and(|answer| answer.status == 200), || format!("{name}: not accepted"));
            run.fired("hostile record", 1);
        }
    }
    rig.acks(20);
    let settled = rig.wait(Duration::from_secs(60), |rig| {
        let metrics = rig.daemon.metrics();
        pipelines.iter().all(|(name, _)| metrics.outcome(name, "in") == 3 && metrics.in_flight(name) == 0)
    });
    run.check(settled, || "records that run for ever have no end".into());
    let slowest = rig.slowest(0);
    run.note(format!("p99 beside them {} ms", slowest.as_millis()));
    run.check(slowest < Duration::from_secs(2), || format!("others waited {slowest:?}"));
    finish(run, rig);
}

/// Line breaks in headers, paths that climb, and lines that would forge a log.
pub(super) fn injection(run: &mut Run) {
    let receiver = Receiver::start();
    let headers = format!(
        "steps:\n  - set: {{n: 1}}\nsink: {{http: {{url: \"{}\", headers: {{X-Note: \"{{{{note}}}}\"}}}}}}",
        receiver.url("/{{note}}")
    );
    let mut rig = beside(
        run,
        &[
            ("headers", open("headers", &headers)),
            ("paths", open("paths", "sink: {files: {path: \"safe/{{note}}.ndjson\"}}")),
        ],
    );
    let notes = [
        "a\r\nX-Evil: 1",
        "a\nb",
        "../../escape",
        "..",
        "/etc/escape",
        "a/../../escape",
        "a\u{0}b",
        "\\..\\escape",
        "x\n2026-01-01T00:00:00Z ERROR forged",
        "<script>alert(1)</script>",
    ];
    run.needs("injection", 2 * notes.len() as u64);
    for note in notes {
        for name in ["headers", "paths"] {
            let request = Request::post(&format!("/webhooks/{name}"), json!({"id": note, "note": note}));
            let answer = send(rig.daemon.ingress(), &request);
            run.check(answer.is_ok_and(|answer| answer.status == 200), || format!("{note:?}: not accepted"));
            run.fired("injection", 1);
        }
    }
    let settled = |rig: &mut Rig| {
        let metrics = rig.daemon.metrics();
        ["headers", "paths"]
            .iter()
            .all(|name| metrics.outcome(name, "in") > 0 && metrics.in_flight(name) == 0)
    };
    let settled = rig.wait(Duration::from_secs(20), settled);
    run.check(settled, || "hostile notes do not come to an end".into());
    for seen in receiver.seen() {
        run.check(seen.header("x-evil").is_none(), || "a header was smuggled in".into());
        let climbs = seen.path.split('/').any(|segment| [".", "..", "%2e%2e", "%2E%2E"].contains(&segment));
        run.check(!climbs, || format!("a path climbs: {}", seen.path));
    }
    let escaped = ["escape.ndjson", "escape"].iter().any(|name| {
        let above = rig.folder.parent().map(|folder| folder.join(name)).is_some_and(|path| path.exists());
        above || rig.folder.join(name).exists() || std::path::Path::new("/etc").join(name).exists()
    });
    run.check(!escaped, || "a file was written outside its folder".into());
    let forged = rig.daemon.stderr().lines().any(|line| line.starts_with("2026-01-01T00:00:00Z"));
    run.check(!forged, || "a line of the log was forged".into());
    finish(run, rig);
}

/// A daemon that is not a lane's.
pub(super) fn daemon(run: &Run, name: &str, pipelines: &[(&str, String)], launch: Launch) -> Daemon {
    let folder = Folder::staying(run.folder().join(name));
    for (name, text) in pipelines {
        folder.pipeline(name, text);
    }
    Daemon::start_as(folder, Launch { binary: Some(Build::Plain.binary()), ..launch })
}
