//! Who may look into a database folder, what it refuses, and that one process writes.

use std::fs;
use std::time::{Duration, Instant};

use driftless_store::{Folder, StorageError};
use tempfile::tempdir;

#[test]
fn a_new_database_needs_a_folder_of_its_own() {
    let home = tempdir().unwrap();
    let path = home.path().join("above/database");
    assert!(matches!(Folder::open(&path), Err(StorageError::NotFound(_))));
    let folder = Folder::create(&path).unwrap();
    assert!(matches!(Folder::open(&path), Err(StorageError::NotFound(_))));

    // A crash may have left the draft of a database; nothing was lost with it.
    fs::write(path.join("driftless.sqlite.new"), "half").unwrap();
    Folder::create(&path).unwrap();

    fs::write(folder.database_file(), "").unwrap();
    assert!(matches!(Folder::create(&path), Err(StorageError::Exists(_))));
    assert_eq!(Folder::open(&path).unwrap().path(), path);

    let other = home.path().join("photos");
    fs::create_dir(&other).unwrap();
    Folder::create(&other).unwrap();
    fs::write(other.join("me.jpg"), "").unwrap();
    assert!(matches!(Folder::create(&other), Err(StorageError::Occupied(_))));
    assert!(matches!(Folder::create(other.join("me.jpg")), Err(StorageError::Io(_))));
}

#[cfg(unix)]
#[test]
fn nobody_else_may_look_into_a_folder() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempdir().unwrap();
    let taken_over = home.path().join("open to all");
    fs::create_dir(&taken_over).unwrap();
    fs::set_permissions(&taken_over, fs::Permissions::from_mode(0o777)).unwrap();
    for path in [home.path().join("new"), taken_over] {
        let _folder = Folder::create(&path).unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(path.clone()), 0o700);
        assert_eq!(mode(path.join("lock")), 0o600);
    }
}

#[test]
fn a_second_writer_is_refused_within_its_patience() {
    let home = tempdir().unwrap();
    let folder = Folder::create(home.path()).unwrap();
    let lock = folder.lock_writer(Duration::ZERO).unwrap();
    let start = Instant::now();
    let refused = folder.lock_writer(Duration::from_millis(50)).unwrap_err();
    assert!(start.elapsed() >= Duration::from_millis(50) && start.elapsed() < Duration::from_secs(2));
    assert!(matches!(refused, StorageError::Locked(_)));
    assert!(refused.to_string().contains(&home.path().display().to_string()));
    drop(lock);
    // Another test may be starting a process, which has the lock too until it runs its program.
    drop(folder.lock_writer(Duration::from_secs(60)).unwrap());
}

#[test]
fn a_waiting_writer_gets_the_lock_when_it_is_freed() {
    let home = tempdir().unwrap();
    let folder = Folder::create(home.path()).unwrap();
    let lock = folder.lock_writer(Duration::ZERO).unwrap();
    std::thread::scope(|threads| {
        let waiting = threads.spawn(|| folder.lock_writer(Duration::from_secs(60)).map(drop));
        drop(lock);
        waiting.join().unwrap().unwrap();
    });
}
