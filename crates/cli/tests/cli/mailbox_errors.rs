//! What somebody reads whose mailbox does not work: which one it is, why, and what to do about it.

use std::fs;

use crate::sandbox::Sandbox;

#[test]
fn a_host_that_is_not_known_or_not_there_may_be_so_for_now_and_each_error_names_its_mailbox() {
    let sandbox = Sandbox::new();
    for (url, word) in [
        ("http://nobody.invalid", "the host in the URL"),
        ("http://127.0.0.1:1", "serve --mailbox"),
        ("https://127.0.0.1:1/box", "serve --mailbox"),
        #[cfg(feature = "postgres")]
        ("postgres://ann@127.0.0.1:1/notes", "check that the server runs"),
    ] {
        let added = sandbox.run(&["mailbox", "add", "world", url]);
        assert_eq!(added.code, Some(0), "{added:?}");
        assert!(added.stderr.contains(&format!("{url}: the mailbox cannot be reached")), "{added:?}");
        let (message, hint) = sandbox.fails(6, "mailbox_unreachable", &["mailbox", "sync", "world"]);
        assert!(message.starts_with(&format!("{url}: ")), "{message}");
        assert!(hint.contains(word), "{hint}");
        assert!(!message.contains("os error"), "{message}");
        sandbox.ok(&["mailbox", "remove", "world", url]);
    }
    // Of several each is told of.
    let urls = ["http://127.0.0.1:1", "http://127.0.0.1:2"];
    for url in urls {
        sandbox.ok(&["mailbox", "add", "world", url]);
    }
    let ran = sandbox.run(&["mailbox", "sync"]);
    assert!(urls.iter().all(|url| ran.stderr.contains(&format!("error: {url}: "))), "{ran:?}");
    assert_eq!(ran.stderr.matches("hint: ").count(), 2, "{ran:?}");
}

#[test]
fn a_folder_whose_disk_is_not_mounted_is_not_filled_again_unless_it_is_said() {
    let sandbox = Sandbox::new();
    let (root, url) = (sandbox.path("stick/box"), format!("file://{}", sandbox.path("stick/box")));
    let (message, hint) = sandbox.fails(6, "mailbox_gone", &["mailbox", "add", "world", &url]);
    assert!(message.contains("stick is not there") && hint.contains("mounted"), "{message}; {hint}");
    fs::create_dir(sandbox.path("stick")).unwrap();
    sandbox.ok(&["mailbox", "add", "world", &url]);
    assert_eq!(sandbox.json(&["mailbox", "sync"])["sent"], 1);

    fs::rename(&root, sandbox.path("elsewhere")).unwrap();
    for _ in 0..2 {
        let (message, hint) = sandbox.fails(6, "mailbox_gone", &["mailbox", "sync"]);
        assert!(message.starts_with(&url) && hint.contains("--anew"), "{message}; {hint}");
        sandbox.fails(6, "mailbox_gone", &["mailbox", "add", "world", &url]);
    }
    assert_eq!(sandbox.json(&["status"])["ok"], false);
    assert!(fs::read_dir(sandbox.path("stick")).unwrap().next().is_none());
    // The folder on which the disk is mounted otherwise.
    fs::create_dir(&root).unwrap();
    sandbox.fails(6, "mailbox_gone", &["mailbox", "sync"]);
    assert!(fs::read_dir(&root).unwrap().next().is_none());
    fs::remove_dir(&root).unwrap();
    fs::rename(sandbox.path("elsewhere"), &root).unwrap();
    assert_eq!(sandbox.json(&["mailbox", "sync"])["repaired"], 0);
    assert_eq!(sandbox.json(&["status"])["ok"], true);

    fs::remove_dir_all(&root).unwrap();
    // Whoever says that one is lost says nothing of another, whose disk is only away.
    let (other, unmounted) = (format!("file://{}", sandbox.path("other")), sandbox.path("unmounted"));
    sandbox.ok(&["mailbox", "add", "world", &other]);
    sandbox.ok(&["mailbox", "sync", "world", &other]);
    fs::rename(sandbox.path("other"), &unmounted).unwrap();
    sandbox.fails(2, "usage", &["mailbox", "sync", "--anew"]);
    let (_, hint) = sandbox.fails(2, "usage", &["mailbox", "sync", "world", "--anew"]);
    assert!(hint.contains(&url) && hint.contains(&other), "{hint}");
    sandbox.fails(3, "not_found", &["mailbox", "sync", "world", "file:///elsewhere", "--anew"]);
    assert_eq!(sandbox.json(&["mailbox", "sync", "world", &url, "--anew"])["repaired"], 1);
    assert!(!fs::exists(sandbox.path("other")).unwrap());
    assert_eq!(sandbox.json(&["mailbox", "sync", "world", &url])["repaired"], 0);
    sandbox.fails(6, "mailbox_gone", &["mailbox", "sync", "world", &other]);
}

#[cfg(unix)]
#[test]
fn a_folder_into_which_somebody_may_not_write_is_refused_when_it_is_added() {
    use std::os::unix::fs::{PermissionsExt, chown};
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use crate::sandbox::Ran;

    const NOBODY: u32 = 65_534;
    let sandbox = Sandbox::empty();
    let folder = sandbox.path("box");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).unwrap();
    // Who may do everything is somebody else for this.
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        // The program may lie where only the user who built it may look.
        fs::copy(env!("CARGO_BIN_EXE_driftless"), sandbox.path("driftless")).unwrap();
        chown(sandbox.path(""), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let run = |words: &[&str]| {
        let command = sandbox.command(words);
        if !is_root {
            return Ran::of(&mut { command });
        }
        let mut by_nobody = Command::new(sandbox.path("driftless"));
        by_nobody.args(command.get_args()).uid(NOBODY).gid(NOBODY).stdin(Stdio::null());
        by_nobody.current_dir(sandbox.path(""));
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => by_nobody.env(name, value),
                None => by_nobody.env_remove(name),
            };
        }
        Ran::of(&mut by_nobody)
    };
    assert_eq!(run(&["init"]).code, Some(0));
    assert_eq!(run(&["space", "create", "world"]).code, Some(0));
    let refused = run(&["mailbox", "add", "world", &format!("file://{folder}"), "--json"]);
    assert_eq!(refused.code, Some(4), "{refused:?}");
    assert!(refused.stderr.contains("mailbox_denied") && refused.stderr.contains("permission denied"));
    assert!(refused.stderr.contains("has to be able to read and write that folder"), "{refused:?}");
}

#[cfg(all(unix, feature = "postgres"))]
#[test]
fn a_server_that_is_given_no_password_or_a_wrong_one_says_where_it_is_read_from() {
    use crate::postgres_server::{PASSWORD, Server};

    let Some(server) = Server::start(&[]) else { return };
    let mut sandbox = Sandbox::new();
    for (url, wrong) in [(server.url("ann", ""), ""), (server.socket_url("ann"), "another")] {
        sandbox = sandbox.with(&[("PGPASSWORD", wrong)]);
        let (message, hint) = sandbox.fails(4, "mailbox_denied", &["mailbox", "add", "world", &url]);
        assert!(message.starts_with(&url) && hint.contains("PGPASSWORD"), "{message}; {hint}");
        assert!(!message.contains("another"), "{message}");
    }
    let sandbox = sandbox.with(&[("PGPASSWORD", PASSWORD)]);
    sandbox.ok(&["mailbox", "add", "world", &server.url("ann", "")]);
    assert_eq!(sandbox.json(&["mailbox", "sync"])["sent"], 1);
    // A table that is emptied is no disk that may come back: it is filled again.
    server.sql("DELETE FROM public.driftless_mailbox");
    assert_eq!(sandbox.json(&["mailbox", "sync"])["repaired"], 1);
}
