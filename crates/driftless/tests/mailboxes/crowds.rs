//! Crowds of things that are no objects, laid before those of somebody else: they hide none of them for ever.

use super::*;

// Ann has read some objects of Bob, who puts one more each time; and where they lie.
async fn scene(objects: i64) -> (MemoryMailbox, [Database; 2], SpaceId, String) {
    let place = MemoryMailbox::new();
    let [ann, bob] = std::array::from_fn(|_| Database::memory().unwrap());
    let here = shared(&ann, &[&bob]);
    let id = here.id();
    sync(&on(&ann, id, &place)).await;
    for n in 0..objects {
        sync(&on(&bob, id, &place)).await;
        fill(&space_of(&bob, id), n, 1);
    }
    sync(&on(&bob, id, &place)).await;
    sync(&on(&ann, id, &place)).await;
    same(&[&here, &space_of(&bob, id)]);
    let first = objects_of(&place, &bob)[0].to_string();
    let folder = format!("{}/", first.rsplit_once('/').unwrap().0);
    (place, [ann, bob], id, folder)
}

// Things of one byte, before every object with this number: `2` is the lowest digit of a hash.
fn lay(place: &MemoryMailbox, folder: &str, number: u64, count: usize) {
    for n in 0..count {
        let digits: String =
            [n / 676, n / 26 % 26, n % 26].map(|at| (b'a' + at as u8) as char).iter().collect();
        let name = format!("{folder}{number:016x}-{}{digits}a", "2".repeat(48));
        place.replace(&ObjectName::new(&name).unwrap(), Some(vec![1]));
    }
}

// In how many exchanges Ann has what Bob has.
async fn until_read(place: &MemoryMailbox, [ann, bob]: &[Database; 2], id: SpaceId, most: usize) -> usize {
    for turn in 1..=most {
        let synced = sync(&on(ann, id, place)).await;
        assert!(synced.finished);
        if space_of(ann, id).digest().unwrap() == space_of(bob, id).digest().unwrap() {
            assert_eq!(sync(&on(ann, id, place)).await.alarms, []);
            return turn;
        }
    }
    panic!("it was not read in {most} exchanges");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_before_the_next_object_of_a_writer_does_not_hide_it() {
    let (place, both, id, folder) = scene(1).await;
    for (number, count) in [(2, 70), (3, 300)] {
        lay(&place, &folder, number, count);
        fill(&space_of(&both[1], id), number as i64, 1);
        sync(&on(&both[1], id, &place)).await;
        assert_eq!(objects_of(&place, &both[1]).last().unwrap().to_string().find("2222"), None);
        let turns = until_read(&place, &both, id, 1 + count / 30).await;
        assert!(turns > 1, "the crowd was not in the way");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_odd_names_before_the_next_object_does_not_hide_it() {
    let (place, both, id, folder) = scene(1).await;
    for n in 0..70_000 {
        let name = format!("{folder}{:016x}-{n:05}", 2);
        place.replace(&ObjectName::new(&name).unwrap(), Some(Vec::new()));
    }
    fill(&space_of(&both[1], id), 2, 1);
    sync(&on(&both[1], id, &place)).await;
    assert_eq!(until_read(&place, &both, id, 3).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_before_an_object_that_was_away_does_not_hide_it() {
    let (place, [ann, bob], id, folder) = scene(1).await;
    for n in 2..4 {
        fill(&space_of(&bob, id), n, 1);
        sync(&on(&bob, id, &place)).await;
    }
    let away = objects_of(&place, &bob)[1].clone();
    let bytes = place.bytes(&away);
    place.replace(&away, None);
    assert!(kinds(&sync(&on(&ann, id, &place)).await).contains(&(2, AlarmKind::Missing)));
    lay(&place, &folder, 2, 10);
    place.replace(&away, bytes);
    until_read(&place, &[ann, bob], id, 4).await;
}
