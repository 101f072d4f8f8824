//! Disks that are full and stores that are not what they should be.

use std::process::Command;

use karez_tests::{Daemon, Folder, Launch, Request, eventually, json};

use crate::webhook_to;

const OUT: &str = "dedup: {key: $.id, ttl: 1h}\nsink: {files: {path: out.ndjson}}";
const RUN: [&str; 5] = ["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];

/// A small disk of its own.
struct Disk(Folder);

impl Disk {
    /// `None`, with a word about it, where this user may not mount.
    fn mount(size: &str) -> Option<Self> {
        let folder = Folder::new();
        let path = folder.at("");
        let options = format!("size={size}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path).output();
        let mounted = mounted.unwrap();
        if mounted.status.success() {
            return Some(Self(folder));
        }
        println!("skipped: cannot mount a small disk: {}", String::from_utf8_lossy(&mounted.stderr).trim());
        None
    }
}

impl Disk {
    /// Fills it but for so many bytes.
    fn fill(&self, left: u64) {
        let space = rustix::fs::statvfs(self.0.at("")).unwrap();
        let take = (space.f_bavail * space.f_frsize).saturating_sub(left);
        self.0.write("filler", vec![1; usize::try_from(take).unwrap()]);
    }

    fn make_room(&self) {
        std::fs::remove_file(self.0.at("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.0.at("")).status().unwrap();
    }
}

#[test]
fn a_disk_without_room_asks_senders_to_come_again_and_goes_on_once_there_is_room() {
    let folder = Folder::new().with("orders", &webhook_to("orders", OUT));
    let Some(disk) = Disk::mount("96m") else { return };
    let data = disk.0.at("data");
    let daemon = Daemon::start_with(folder, &["--data-dir", data.to_str().unwrap()]);
    let mut accepted = Vec::new();
    let mut next = 0;
    let mut post = || {
        let answer = daemon.send(&Request::post("/webhooks/orders", json!({"id": next})));
        if answer.status == 200 {
            accepted.push(next);
        }
        next += 1;
        answer
    };
    assert_eq!(post().status, 200);
    // Below the floor, then without a single byte.
    for left in [16 << 20, 0] {
        disk.fill(left);
        eventually("senders are asked to come again", || {
            let answer = post();
            assert!([200, 503].contains(&answer.status), "{}", answer.text());
            answer.status == 503 && answer.header("retry-after").is_some()
        });
        disk.make_room();
        eventually("they are accepted again", || post().status == 200);
    }
    daemon.drained("orders");
    let mut written = daemon.numbers("out.ndjson", "id");
    written.sort_unstable();
    assert_eq!(written, accepted);
}

#[test]
fn a_store_that_is_not_whole_is_refused_by_name_and_left_as_it_is() {
    type Damage = (&'static str, fn(&Folder));
    let damages: [Damage; 4] = [
        ("STORE", |folder| folder.write(".karez/STORE", "{}")),
        ("STORE", |folder| {
            let store = folder.read(".karez/STORE");
            assert!(store.contains("\"format\""), "{store}");
            let newer =
                store.replace("\"format\":1", "\"format\":9").replace("\"format\": 1", "\"format\": 9");
            folder.write(".karez/STORE", newer);
        }),
        ("log", |folder| std::fs::remove_dir_all(folder.at(".karez/log")).unwrap()),
        ("progress", |folder| std::fs::remove_dir_all(folder.at(".karez/progress")).unwrap()),
    ];
    for (what, damage) in damages {
        let mut daemon = Daemon::start(Folder::new().with("orders", &webhook_to("orders", OUT)));
        daemon.post("/webhooks/orders", &json!({"id": 1}));
        daemon.drained("orders");
        daemon.kill();
        damage(&daemon);
        let before = daemon.read(".karez/STORE");
        let refused = daemon.karez(&RUN).exits(3);
        assert!(refused.stderr.contains(what), "{what} is not named: {}", refused.stderr);
        assert_eq!(daemon.read(".karez/STORE"), before);
    }
}

#[test]
fn a_torn_end_of_the_log_is_cut_off_and_a_damaged_byte_is_found() {
    let mut daemon = Daemon::start(Folder::new().with("orders", &webhook_to("orders", OUT)));
    for id in 0..10 {
        daemon.post("/webhooks/orders", &json!({"id": id}));
    }
    daemon.drained("orders");
    daemon.stop();
    assert!(daemon.karez(&["store", "verify"]).exits(0).stdout.contains("whole"));
    let segments = std::fs::read_dir(daemon.at(".karez/log")).unwrap();
    let segment = segments.map(|entry| entry.unwrap().path()).max().unwrap();
    let good = std::fs::read(&segment).unwrap();
    let mut bad = good.clone();
    let middle = good.iter().rposition(|byte| *byte != 0).unwrap() / 2;
    bad[middle] ^= 0xff;
    std::fs::write(&segment, &bad).unwrap();
    let found = daemon.karez(&["store", "verify"]).exits(1);
    assert!(found.stdout.contains("damaged"), "{}", found.stdout);
    std::fs::write(&segment, &good).unwrap();
    daemon.restart();
    let answer = daemon.send(&Request::post("/webhooks/orders", json!({"id": 9})));
    assert_eq!(answer.json()["status"], "duplicate", "nothing was forgotten");
}

#[test]
fn a_folder_is_held_by_one_daemon() {
    let daemon = Daemon::start(Folder::new().with("orders", &webhook_to("orders", OUT)));
    let refused = daemon.karez(&RUN).exits(3);
    assert!(refused.stderr.contains("in use"), "{}", refused.stderr);
    assert!(refused.stderr.contains("LOCK"), "{}", refused.stderr);
    // The first one is still found by the commands of its folder.
    let status = daemon.karez(&["status"]).exits(0);
    assert!(status.stdout.contains("orders"), "{}", status.stdout);
    daemon.karez(&["store", "verify"]).exits(3);
}

#[test]
fn a_source_that_can_replay_waits_while_the_disk_is_full() {
    let pipeline = "source: {files: {paths: [in.ndjson], follow: true}}\nsink: {files: {path: out.ndjson}}\n";
    let folder = Folder::new().with("copy", pipeline);
    let Some(disk) = Disk::mount("96m") else { return };
    let launch = Launch { data: Some(disk.0.at("data")), ..Launch::default() };
    let daemon = Daemon::start_as(folder, launch);
    daemon.write("in.ndjson", "{\"id\":1}\n");
    eventually("it reads", || daemon.numbers("out.ndjson", "id") == [1]);
    disk.fill(8 << 20);
    daemon.write("in.ndjson", "{\"id\":1}\n{\"id\":2}\n");
    eventually("it says that it waits", || daemon.status("copy").to_string().contains("\"down\":"));
    karez_tests::never(std::time::Duration::from_millis(700), "it reads on", || {
        daemon.numbers("out.ndjson", "id").len() > 1
    });
    disk.make_room();
    eventually("it reads on", || daemon.numbers("out.ndjson", "id") == [1, 2]);
    daemon.drained("copy");
}
