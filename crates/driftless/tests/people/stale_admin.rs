//! Admins who were removed, their backups, their puppets; and admins of one strength.

use driftless::{Error, Keep, Original, Subject};

use crate::world::{World, admin, all_same, fill, insert, key, meet, send, visible, write};

#[test]
fn a_stale_admins_backup_regains_nothing_and_its_grants_fall_with_it() {
    let world = World::new();
    let [ann, bob, puppet, second] = [1, 2, 3, 4].map(|seed| world.memory(seed));
    let eve = world.builder(5).open(world.path("eve")).unwrap();
    let at_ann = ann.create_space("team").unwrap();
    at_ann.grant(key(&eve), admin(5)).unwrap();
    at_ann.grant(key(&bob), write()).unwrap();
    let (at_eve, at_bob) = (send(&at_ann, &eve), send(&at_ann, &bob));
    insert(&at_eve, 1).unwrap();
    send(&at_eve, &ann);
    eve.backup(world.path("eve.backup"), &mut |_, _| {}).unwrap();
    at_ann.revoke(key(&eve)).unwrap();
    send(&at_ann, &bob);

    let copy = world.builder(6);
    let copy = copy
        .restore(world.path("copy"), &world.path("eve.backup"), Original::IsGone, &mut |_, _| {})
        .unwrap();
    let at_copy = copy.space("team").unwrap();
    assert_eq!(copy.author().unwrap(), eve.author().unwrap());
    // It still believes to be an admin: it lets puppets in, one by the other, removes Bob, writes, gives a ticket.
    at_copy.grant(key(&puppet), admin(6)).unwrap();
    at_copy.revoke(key(&bob)).unwrap();
    insert(&at_copy, 10).unwrap();
    let at_puppet = send(&at_copy, &puppet);
    at_puppet.grant(key(&second), write()).unwrap();
    insert(&at_puppet, 11).unwrap();
    let at_second = send(&at_puppet, &second);
    insert(&at_second, 12).unwrap();

    // None of the three keys opens anything.
    for stranger in [&copy, &puppet, &second] {
        for (who, space) in [(&ann, &at_ann), (&bob, &at_bob)] {
            assert!(matches!(meet(stranger, who, space), Err(Error::NotOpen(_))));
        }
    }
    // Brought in as a file, all of it is void, and Bob is a member still.
    send(&at_second, &ann);
    send(&at_second, &bob);
    let status = ann.status().unwrap();
    assert_eq!((status.spaces[0].counts.void, status.refused.len()), (6, 0), "{status:?}");
    assert_eq!(visible(&at_ann), [1]);
    insert(&at_bob, 20).unwrap();
    meet(&bob, &ann, &at_ann).unwrap();
    assert_eq!(visible(&at_ann), [1, 20]);
    let effective = at_ann.effective(None).unwrap();
    for (stranger, void) in [(&copy, 0), (&puppet, 1), (&second, 1)] {
        let found = effective.iter().find(|one| one.subject == key(stranger)).unwrap();
        assert_eq!((found.permission, found.void.len()), (None, void), "{found:?}");
        assert!(matches!(meet(stranger, &ann, &at_ann), Err(Error::NotOpen(_))));
    }
    // The chain of reasons leads to Ann's removal, which did not keep it.
    let found = effective.iter().find(|one| one.subject == key(&second)).unwrap();
    let why = found.void[0].void.as_ref().unwrap();
    let removal = effective.iter().find(|one| one.subject == key(&copy)).unwrap().decided_by[0].clone();
    assert_eq!((removal.author, removal.permission), (ann.author().unwrap(), None));
    assert!(why.contains(&removal.commit.to_string()) && why.contains("does not keep it"), "{why}");
    all_same(&[&at_ann, &at_bob]);
}

#[test]
fn admins_of_one_strength_and_stronger_ones_cannot_be_removed() {
    let world = World::new();
    let [ann, eve, fay] = [1, 2, 3].map(|seed| world.memory(seed));
    let at_ann = ann.create_space("team").unwrap();
    at_ann.grant(key(&eve), admin(5)).unwrap();
    at_ann.grant(key(&fay), admin(5)).unwrap();
    let (at_eve, at_fay) = (send(&at_ann, &eve), send(&at_ann, &fay));
    for (space, other) in
        [(&at_eve, &fay), (&at_fay, &eve), (&at_eve, &ann), (&at_eve, &eve), (&at_ann, &ann)]
    {
        let planned = space.plan_grant(key(other), None, &Keep::Seen);
        assert!(matches!(planned, Err(Error::NotPermitted(_))), "{planned:?}");
        assert!(matches!(space.revoke(key(other)), Err(Error::NotPermitted(_))));
    }
    // Nor given as much as one has.
    assert!(matches!(at_eve.grant(Subject::Anyone, admin(5)), Err(Error::NotPermitted(_))));
    at_eve.grant(Subject::Anyone, write()).unwrap();
    // Both act on a third one at the same time: the weaker statement holds, and says so.
    let gil = world.memory(4);
    send(&at_eve, &fay);
    at_eve.grant(key(&gil), admin(50)).unwrap();
    at_fay.grant(key(&gil), write()).unwrap();
    send(&at_eve, &ann);
    send(&at_fay, &ann);
    let effective = at_ann.effective(Some(gil.author().unwrap())).unwrap();
    assert_eq!(effective.len(), 1);
    assert_eq!((effective[0].permission, effective[0].decided_by.len()), (Some(write()), 2), "{effective:?}");
    all_same(&[&at_ann]);
}

#[test]
fn a_removed_admins_grants_below_the_cut_stay_and_can_be_ended_with_it() {
    let world = World::new();
    let [ann, eve, kim] = [1, 2, 3].map(|seed| world.memory(seed));
    let at_ann = ann.create_space("team").unwrap();
    at_ann.grant(key(&eve), admin(5)).unwrap();
    let at_eve = send(&at_ann, &eve);
    at_eve.grant(key(&kim), write()).unwrap();
    let at_kim = send(&at_eve, &kim);
    fill(&at_kim, 0, 3);
    send(&at_kim, &ann);
    // Keeping nothing of Eve, Kim goes too, with what she wrote: the plan says so before it is signed.
    let nothing = at_ann.plan_grant(key(&eve), None, &Keep::Nothing).unwrap();
    let lost: Vec<_> = nothing.losses.iter().map(|loss| (loss.author, loss.commits)).collect();
    let mut expected = vec![(eve.author().unwrap(), 1), (kim.author().unwrap(), 3)];
    expected.sort_unstable();
    assert_eq!(lost, expected);
    let kept = at_ann.plan_grant(key(&eve), None, &Keep::Seen).unwrap();
    assert_eq!((kept.kept(), kept.lost()), (1, 0));
    assert_eq!(visible(&at_ann), [0, 1, 2], "a plan changes nothing");
    at_ann.grant_with(&kept).unwrap();
    assert_eq!(visible(&at_ann), [0, 1, 2]);
    insert(&at_kim, 3).unwrap();
    send(&at_kim, &ann);
    assert_eq!(visible(&at_ann), [0, 1, 2, 3]);
    all_same(&[&at_ann]);
}
