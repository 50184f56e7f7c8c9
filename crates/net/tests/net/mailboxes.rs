//! Mailboxes: what every adapter does, and what a folder does with things that are no objects.

use std::sync::Arc;

use driftless_net::mailbox::{
    Access, FolderMailbox, FolderUse, MAX_OBJECT, Mailbox, MailboxError, MemoryMailbox, ObjectName,
    conformance,
};

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_a_mailbox() {
    conformance::all(Arc::new(MemoryMailbox::new()), "t").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_a_mailbox() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = FolderMailbox::open(folder.path().join("made/for/it")).unwrap();
    conformance::all(Arc::new(mailbox.clone()), "t").await;
    // Nothing is left beside the objects.
    let listing = mailbox.list("", "", 1000).await.unwrap();
    assert_eq!(listing.foreign, 0);
}

#[tokio::test]
async fn a_file_is_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"x").unwrap();
    let refused = FolderMailbox::open(&file).map(drop);
    assert!(matches!(refused, Err(MailboxError::Unusable(_) | MailboxError::Unreachable(_))), "{refused:?}");
}

#[tokio::test]
async fn a_folder_is_made_once_and_one_that_is_gone_is_not_made_again() {
    let sandbox = tempfile::tempdir().unwrap();
    let (above, root) = (sandbox.path().join("disk"), sandbox.path().join("disk/box"));
    let used = |how| FolderMailbox::used(&root, how);
    // The disk is not there, so nothing is made where it would be.
    assert!(
        matches!(used(FolderUse::Make), Err(MailboxError::Gone(why)) if why.contains("disk is not there"))
    );
    assert!(!above.exists());
    std::fs::create_dir(&above).unwrap();
    assert!(
        matches!(used(FolderUse::Find), Err(MailboxError::Gone(why)) if why.contains("box is not there"))
    );
    let mailbox = used(FolderUse::Make).unwrap();
    used(FolderUse::Make).unwrap();
    used(FolderUse::Find).unwrap();
    std::fs::remove_dir(&root).unwrap();
    assert!(matches!(mailbox.list("", "", 9).await, Err(MailboxError::Gone(_))));
    assert!(matches!(mailbox.put_if_absent(&name("a/1"), vec![1]).await, Err(MailboxError::Gone(_))));
    assert!(!root.exists());
}

#[cfg(unix)]
#[tokio::test]
async fn what_a_private_folder_holds_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;

    let sandbox = tempfile::tempdir().unwrap();
    let root = sandbox.path().join("box");
    let mailbox = FolderMailbox::used(&root, FolderUse::Private).unwrap();
    mailbox.put_if_absent(&name("a/b/1"), vec![1]).await.unwrap();
    let mode = |part: &str| std::fs::metadata(root.join(part)).unwrap().permissions().mode() & 0o777;
    assert_eq!(["", "a", "a/b", "a/b/1"].map(mode), [0o700, 0o700, 0o700, 0o600]);
}

#[tokio::test]
async fn a_host_that_has_no_address_is_told_from_one_that_does_not_answer() {
    for (url, nobody) in [
        ("http://nobody.invalid", "http://127.0.0.1:1"),
        #[cfg(feature = "postgres")]
        ("postgres://ann@nobody.invalid/notes?sslmode=disable", "postgres://ann@127.0.0.1:1/notes"),
    ] {
        let list = async |url| {
            let mailbox = driftless_net::mailbox::open(url, &Access::default()).unwrap();
            mailbox.list("", "", 9).await.unwrap_err()
        };
        let error = list(url).await;
        assert!(matches!(&error, MailboxError::NoHost(why) if why.contains("nobody.invalid")), "{error:?}");
        let error = list(nobody).await;
        assert!(matches!(&error, MailboxError::Unreachable(why) if !why.contains("os error")), "{error:?}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_folder_opens_neither_links_nor_pipes_and_nothing_outside() {
    use std::os::unix::fs::symlink;

    let folder = tempfile::tempdir().unwrap();
    let (root, outside) = (folder.path().join("box"), folder.path().join("outside"));
    std::fs::create_dir_all(outside.join("w")).unwrap();
    std::fs::write(outside.join("w/secret"), b"secret").unwrap();
    let mailbox = FolderMailbox::open(&root).unwrap();
    assert!(mailbox.put_if_absent(&name("s/w/1"), b"ours".to_vec()).await.is_ok());
    symlink(outside.join("w/secret"), root.join("s/w/2")).unwrap();
    symlink(outside.join("w"), root.join("s/linked")).unwrap();
    symlink(&outside, root.join("out")).unwrap();
    symlink(root.join("s/w/4"), root.join("s/w/4")).unwrap();
    let pipe = std::process::Command::new("mkfifo").arg(root.join("s/w/3")).status().unwrap();
    assert!(pipe.success());
    for odd in ["UPPER", "1 (conflicted copy)", "x.tmp", ".new-1-1", "new\nline", "1.sync-conflict-20260101"]
    {
        std::fs::write(root.join("s/w").join(odd), b"odd").unwrap();
    }
    std::fs::create_dir_all(root.join("s/w/5/6/7/8")).unwrap();

    let listing = mailbox.list("", "", 100).await.unwrap();
    let names: Vec<_> = listing.objects.iter().map(|object| object.name.as_str()).collect();
    assert_eq!(names, ["s/w/1"]);
    // Three links, a pipe and six names; what lies deeper than a name reaches is not even looked at.
    assert_eq!(listing.foreign, 11, "{listing:?}");
    for linked in ["s/w/2", "s/w/3", "s/w/4", "s/w/5", "s/linked/secret", "out/w/secret"] {
        assert_eq!(mailbox.get(&name(linked), 0..100).await, Ok(None), "{linked}");
        assert_eq!(mailbox.delete(&name(linked)).await, Ok(()), "{linked}");
    }
    assert_eq!(std::fs::read(outside.join("w/secret")).unwrap(), b"secret");
    // Nor does it write through a link.
    assert!(mailbox.put_if_absent(&name("s/linked/new"), b"x".to_vec()).await.is_err());
    assert!(mailbox.put_if_absent(&name("out/new"), b"x".to_vec()).await.is_err());
    assert!(!outside.join("w/new").exists() && !outside.join("new").exists());
}

#[tokio::test]
async fn a_giant_file_is_read_only_as_far_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = FolderMailbox::open(folder.path()).unwrap();
    let file = std::fs::File::create(folder.path().join("giant")).unwrap();
    // Holes take no room.
    file.set_len(10 << 30).unwrap();
    let listing = mailbox.list("", "", 100).await.unwrap();
    assert_eq!(listing.objects.first().map(|object| object.size), Some(10 << 30));
    let got = mailbox.get(&name("giant"), 0..u64::MAX).await.unwrap().unwrap();
    assert_eq!(got.len(), MAX_OBJECT + 1);
}

#[tokio::test]
async fn a_page_of_a_folder_of_many_files_holds_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = FolderMailbox::open(folder.path()).unwrap();
    for number in 0..3000 {
        std::fs::write(folder.path().join(format!("{number:04}")), b"").unwrap();
    }
    let (mut found, mut after) = (0, String::new());
    loop {
        let listing = mailbox.list("", &after, usize::MAX).await.unwrap();
        assert!(listing.objects.len() <= 1000);
        found += listing.objects.len();
        after = listing.objects.last().unwrap().name.to_string();
        if !listing.more {
            break;
        }
    }
    assert_eq!((found, after.as_str()), (3000, "2999"));
}
