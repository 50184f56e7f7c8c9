//! `kill -9` at moments that nobody chose, while devices send to a mailbox and receive from it: a few by default, 200 with
//! `DRIFTLESS_ROWS=full`.

use serde_json::{Value, json};

use crate::sandbox::Sandbox;

// Documents that each device writes before each kill.
const EACH: u64 = 100;

#[test]
fn whenever_an_exchange_with_a_mailbox_is_killed_nothing_is_lost_and_nothing_sent_twice() {
    let kills: u64 = if std::env::var_os("DRIFTLESS_ROWS").is_some() { 200 } else { 8 };
    let sandbox = Sandbox::new();
    let url = format!("file://{}", sandbox.path("box"));
    let author = sandbox.json(&["--dir", "other", "init"])["author"].as_str().unwrap().to_owned();
    sandbox.ok(&["grant", "world", &author, "write"]);
    let id = sandbox.json(&["space", "show", "world"])["space"].as_str().unwrap().to_owned();
    sandbox.ok(&["mailbox", "add", "world", &url]);
    sandbox.ok(&["mailbox", "sync"]);
    sandbox.ok(&["--dir", "other", "mailbox", "add", &id, &url]);
    sandbox.ok(&["--dir", "other", "mailbox", "sync"]);
    let devices = [vec![], vec!["--dir", "other"]];
    let (mut dice, mut cut) = (0x9e37_79b9_7f4a_7c15_u64, 0);
    for kill in 0..kills {
        let device = &devices[kill as usize % 2];
        let lines: String = (0..EACH)
            .map(|n| format!("{{\"n\": {}, \"text\": \"{}\"}}\n", kill * EACH + n, "x".repeat(2_000)))
            .collect();
        let file = sandbox.file("numbers.jsonl", lines);
        sandbox.ok(&[device.as_slice(), &["import", &id, "numbers", &file, "--key", "n"]].concat());
        let mut sync = sandbox.start(&[device.as_slice(), &["mailbox", "sync", "-v"]].concat());
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Some lines on, and then a moment that is another each time.
        for _ in 0..1 + (dice >> 33) % 4 {
            if sync.stderr.next().is_none() {
                break;
            }
        }
        for _ in 0..(dice >> 20) % 400_000 {
            std::hint::spin_loop();
        }
        sync.kill();
        cut += u64::from(sync.stdout.next().is_none());
    }
    for _ in 0..2 {
        for device in &devices {
            let synced = sandbox.json(&[device.as_slice(), &["mailbox", "sync"]].concat());
            assert_eq!(synced["alarms"], json!([]));
        }
    }
    let count =
        |device: &[&str]| sandbox.json(&[device, &["count", &id, "numbers"]].concat())["count"].clone();
    for device in &devices {
        assert_eq!(count(device), kills * EACH);
        let idle = sandbox.json(&[device.as_slice(), &["mailbox", "sync"]].concat());
        assert_eq!((&idle["sent"], &idle["received"]), (&json!(0), &json!(0)));
        assert_eq!(sandbox.json(&[device.as_slice(), &["fsck"]].concat())["ok"], true);
    }
    let digest = |device: &[&str]| -> Value { sandbox.json(&[device, &["digest", &id]].concat()) };
    assert_eq!(digest(&devices[0]), digest(&devices[1]));
    // Of each writer one object for each number, and whoever comes now gets everything from them, each commit once.
    let mut objects = 0;
    for writer in
        std::fs::read_dir(std::path::PathBuf::from(sandbox.path("box")).join(&id)).unwrap().flatten()
    {
        let names = std::fs::read_dir(writer.path()).unwrap().flatten();
        let names = names.map(|object| object.file_name().into_string().unwrap());
        let mut numbers: Vec<_> = names
            .filter(|name| !name.starts_with('.'))
            .map(|name| name.split_once('-').unwrap().0.to_owned())
            .collect();
        numbers.sort();
        assert_eq!(numbers, (1..=numbers.len()).map(|number| format!("{number:016x}")).collect::<Vec<_>>());
        objects += numbers.len();
    }
    sandbox.ok(&["--dir", "third", "init"]);
    sandbox.ok(&["--dir", "third", "mailbox", "add", &id, &url]);
    let copied = sandbox.json(&["--dir", "third", "mailbox", "sync"]);
    assert_eq!(copied["received"], digest(&devices[0])["commits"]);
    assert_eq!(digest(&["--dir", "third"]), digest(&devices[0]));
    eprintln!("{kills} kills, {cut} before the end; {objects} objects");
    assert!(cut > 0);
}
