//! The member who never stopped: what he wrote in time stays, what he wrote without being seen does not, whoever meets whom
//! first; and what honest people built on it is theirs.

use driftless::{Error, Keep, Space, operators_from_json};

use crate::world::{World, all_same, fill, insert, key, meet, seen, send, visible, write};

fn note(space: &Space, n: i64, text: &str) {
    let operators = operators_from_json(&format!(r#"{{"$set": {{"note": "{text}"}}}}"#)).unwrap();
    space.collection("items").unwrap().edit(&n.into(), operators).unwrap();
}

// Who asks whom after Ann has removed Mal, and Bob has what Mal wrote since.
const ORDERS: [&[(&str, &str)]; 3] = [
    // What is void comes to Ann by Bob, then the removal to Cem with it.
    &[("bob", "ann"), ("cem", "ann"), ("bob", "cem")],
    // Cem hears of the removal first, and takes what is void only then.
    &[("cem", "ann"), ("bob", "cem"), ("ann", "cem")],
    // Cem has what is void first, as something that counts.
    &[("cem", "bob"), ("cem", "ann"), ("bob", "cem")],
];

#[test]
fn what_he_wrote_in_time_stays_and_the_rest_is_void_in_every_order_of_meeting() {
    let mut outcomes = Vec::new();
    for order in ORDERS {
        let world = World::new();
        let [ann, bob, cem, mal] = [1, 2, 3, 4].map(|seed| world.memory(seed));
        let at_ann = ann.create_space("team").unwrap();
        for member in [&bob, &cem, &mal] {
            at_ann.grant(key(member), write()).unwrap();
        }
        let [at_bob, at_cem, at_mal] = [&bob, &cem, &mal].map(|member| {
            meet(member, &ann, &at_ann).unwrap();
            member.space("team").unwrap()
        });
        fill(&at_mal, 0, 5);
        meet(&mal, &ann, &at_ann).unwrap();
        for member in [&bob, &cem] {
            meet(member, &ann, &at_ann).unwrap();
        }
        // Offline from Ann he goes on, and meets Bob, who does not know either and builds on it.
        fill(&at_mal, 5, 10);
        note(&at_mal, 3, "too late");
        meet(&mal, &bob, &at_bob).unwrap();
        assert_eq!(visible(&at_bob).len(), 15);
        note(&at_bob, 7, "honest");
        insert(&at_bob, 100).unwrap();

        let plan = at_ann.plan_grant(key(&mal), None, &Keep::Seen).unwrap();
        assert_eq!((plan.kept(), plan.lost(), plan.branches.len()), (5, 0, 1), "{plan:?}");
        at_ann.grant_with(&plan).unwrap();

        for (one, other) in order {
            let named = |name: &str| match name {
                "ann" => &ann,
                "bob" => &bob,
                _ => &cem,
            };
            meet(named(one), named(other), &at_ann).unwrap();
        }
        all_same(&[&at_ann, &at_bob, &at_cem]);
        assert_eq!(visible(&at_ann), [0, 1, 2, 3, 4, 7, 100], "{order:?}");
        let documents = seen(&at_ann);
        assert_eq!(
            (documents["3"].as_str(), documents["7"].as_str()),
            (r#"{"n":3}"#, r#"{"note":"honest"}"#)
        );
        assert_eq!(ann.status().unwrap().spaces[0].counts.void, 11);
        outcomes.push(documents);

        // He is served nothing, wherever he asks, and gives nothing that counts.
        let before = at_mal.digest().unwrap();
        insert(&at_ann, 200).unwrap();
        for (who, space) in [(&ann, &at_ann), (&bob, &at_bob), (&cem, &at_cem)] {
            let refused = meet(&mal, who, space).unwrap_err();
            assert!(matches!(refused, Error::NotOpen(_)), "{refused:?}");
        }
        assert_eq!(at_mal.digest().unwrap(), before);
        insert(&at_mal, 300).unwrap();
        send(&at_mal, &ann);
        assert!(!visible(&at_ann).contains(&300));
        all_same(&[&at_ann]);
        // He learns of it only by a file that somebody gives him; then he sees what all see, and may write no more.
        send(&at_ann, &mal);
        all_same(&[&at_ann, &at_mal]);
        assert!(matches!(insert(&at_mal, 301), Err(Error::NotPermitted(_))));
    }
    assert!(outcomes.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn who_is_let_in_again_writes_again_and_what_was_void_stays_void() {
    let world = World::new();
    let [ann, mal] = [1, 2].map(|seed| world.memory(seed));
    let at_ann = ann.create_space("team").unwrap();
    at_ann.grant(key(&mal), write()).unwrap();
    let at_mal = send(&at_ann, &mal);
    fill(&at_mal, 0, 2);
    send(&at_mal, &ann);
    at_ann.revoke(key(&mal)).unwrap();
    fill(&at_mal, 2, 2);
    send(&at_mal, &ann);
    at_ann.grant(key(&mal), write()).unwrap();
    send(&at_ann, &mal);
    fill(&at_mal, 4, 2);
    send(&at_mal, &ann);
    assert_eq!(visible(&at_ann), [0, 1, 4, 5]);
    all_same(&[&at_ann, &at_mal]);
}

#[test]
fn a_chain_that_forks_below_the_cut_does_not_escape_it() {
    let world = World::new();
    let ann = world.memory(1);
    let mal = world.builder(2).open(world.path("mal")).unwrap();
    let at_ann = ann.create_space("team").unwrap();
    at_ann.grant(key(&mal), write()).unwrap();
    let at_mal = send(&at_ann, &mal);
    fill(&at_mal, 0, 3);
    mal.backup(world.path("mal.backup"), &mut |_, _| {}).unwrap();
    fill(&at_mal, 3, 3);
    send(&at_mal, &ann);
    at_ann.revoke(key(&mal)).unwrap();

    // A copy from before goes on with numbers that were kept, on a chain that was not.
    let gone = driftless::Original::IsGone;
    let copy = world.builder(3).restore(world.path("copy"), &world.path("mal.backup"), gone, &mut |_, _| {});
    let copy = copy.unwrap();
    let at_copy = copy.space("team").unwrap();
    fill(&at_copy, 50, 2);
    send(&at_copy, &ann);
    assert_eq!(visible(&at_ann), [0, 1, 2, 3, 4, 5]);
    let status = ann.status().unwrap();
    assert_eq!((status.spaces[0].counts.void, status.spaces[0].forked.len()), (2, 1));
    // Of a second removal, the plan names both branches; what is void is not counted as staying.
    let plan = at_ann.plan_grant(key(&mal), None, &Keep::Seen).unwrap();
    assert_eq!((plan.branches.len(), plan.kept()), (2, 6), "{plan:?}");
    all_same(&[&at_ann]);
}
