//! Many log-ins at once at their full cost: a process of its own, so that what it takes can be measured.
#![cfg(target_os = "linux")]

use driftless::{Database, Error, Password};

// The most memory that this process has had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn two_hundred_log_ins_at_once_stay_within_192_mib_and_each_ends_clearly() {
    let db = Database::builder().user_name("ann").password(Password::new("open sesame")).memory().unwrap();
    db.create_user("ben", Some(&Password::new("open barley"))).unwrap();
    let before = peak();
    let log_in = |n: usize| match n % 4 {
        // Also who guesses, or asks for nobody, takes no more.
        0 => (db.login("ann", Some(&Password::new("open sesame"))).map(drop), true),
        1 => (db.login("ben", Some(&Password::new("wrong"))).map(drop), false),
        2 => (db.login(&format!("nobody {n}"), Some(&Password::new("open sesame"))).map(drop), false),
        _ => (db.login("ann", Some(&Password::new("open sesame"))).map(drop), true),
    };
    let ended: Vec<_> = std::thread::scope(|scope| {
        let started: Vec<_> = (0..200).map(|n| scope.spawn(move || log_in(n))).collect();
        started.into_iter().map(|log_in| log_in.join().unwrap()).collect()
    });
    let (mut worked_on, mut busy) = (0, 0);
    for (ended, right) in ended {
        match (ended, right) {
            (Ok(()), true) | (Err(Error::LoginFailed), false) => worked_on += 1,
            (Err(Error::Busy(_) | Error::TooManyAttempts { .. }), _) => busy += 1,
            (other, right) => panic!("{right}: {other:?}"),
        }
    }
    assert!(worked_on >= 10 && worked_on + busy == 200, "{worked_on} {busy}");
    // Before it was the peak of one log-in already, so this counts all.
    let most = peak();
    let told = format!("{worked_on} worked on, {busy} told to wait; {most} KiB at most, {before} before");
    assert!(most < 192 * 1024, "{told}");
    // Whoever tries again gets in.
    db.login("ann", Some(&Password::new("open sesame"))).unwrap();
}
