//! What is told before a grant is signed, and afterwards of each key; and rules that are tried before anybody signs them.

use driftless::{Deed, DraftGrant, DraftRule, Error, Fate, Keep, Permission, PolicyCase, Strength, Subject};

use crate::world::{World, admin, all_same, fill, insert, key, meet, send, visible, write};

const HOUR: u64 = 60 * 60 * 1000;

#[test]
fn a_plan_is_what_is_signed_also_when_more_came_meanwhile() {
    let world = World::new();
    let [ann, mal] = [1, 2].map(|seed| world.memory(seed));
    let at_ann = ann.create_space("team").unwrap();
    at_ann.grant(key(&mal), write()).unwrap();
    let at_mal = send(&at_ann, &mal);
    fill(&at_mal, 0, 4);
    send(&at_mal, &ann);
    let log = at_mal.log(driftless::LogQuery::default()).unwrap();
    let second =
        log.iter().find(|line| line.seq == 2 && Subject::Key(line.author) == key(&mal)).unwrap().commit;

    let less = at_ann.plan_grant(key(&mal), Some(Permission::Read), &Keep::Commits(vec![second])).unwrap();
    assert_eq!((less.present, less.permission, less.weakens), (Some(write()), Some(Permission::Read), true));
    assert_eq!((less.kept(), less.lost(), less.branches[0].seq), (2, 2, 2), "{less:?}");
    // A commit of somebody else, or of nobody, cannot be kept.
    for other in [log.last().unwrap().commit, driftless::CommitId([9; 32])] {
        let refused = at_ann.plan_grant(key(&mal), None, &Keep::Commits(vec![other])).unwrap_err();
        assert_eq!(refused.code(), "invalid", "{refused}");
    }
    // What gives more keeps everything and needs to say nothing.
    let more = at_ann.plan_grant(key(&mal), Some(Permission::Write(Strength(50))), &Keep::Seen).unwrap();
    assert_eq!((more.keep.as_ref(), more.lost(), more.weakens), (None, 0, false));

    let plan = at_ann.plan_grant(key(&mal), None, &Keep::Seen).unwrap();
    fill(&at_mal, 4, 1);
    send(&at_mal, &ann);
    assert_eq!(visible(&at_ann).len(), 5);
    at_ann.grant_with(&plan).unwrap();
    assert_eq!(visible(&at_ann), [0, 1, 2, 3], "what came after the plan is not kept");
    all_same(&[&at_ann]);
    let elsewhere = ann.create_space("other").unwrap().grant_with(&plan);
    assert!(matches!(elsewhere, Err(Error::Invalid(_))));
}

#[test]
fn what_came_late_and_when_others_were_last_met_is_told() {
    let world = World::new();
    let [ann, mal] = [1, 2].map(|seed| world.memory(seed));
    let at_ann = ann.create_space("team").unwrap();
    at_ann.grant(key(&mal), write()).unwrap();
    meet(&mal, &ann, &at_ann).unwrap();
    let at_mal = mal.space("team").unwrap();
    let met = world.now();
    fill(&at_mal, 0, 2);
    let written = world.now();
    world.pass(3 * HOUR);
    insert(&at_ann, 100).unwrap();
    let plan = at_ann.plan_grant(key(&mal), None, &Keep::Seen).unwrap();
    assert!(plan.late.is_none() && plan.exchanged_ms.is_some_and(|at| at <= met), "{plan:?}");
    send(&at_mal, &ann);
    let plan = at_ann.plan_grant(key(&mal), None, &Keep::Seen).unwrap();
    let late = plan.late.unwrap();
    assert_eq!(late.commits, 2);
    assert!(late.written.ms() <= written && late.since.ms() >= written + 3 * HOUR, "{late:?}");
    // A week later that is nothing to speak of.
    world.pass(7 * 24 * HOUR);
    assert_eq!(at_ann.plan_grant(key(&mal), None, &Keep::Seen).unwrap().late, None);
}

#[test]
fn a_public_space_is_said_to_be_one_and_a_public_admin_needs_a_word_more() {
    let world = World::new();
    let ann = world.memory(1);
    let at_ann = ann.create_space("team").unwrap();
    let plan = |permission| at_ann.plan_grant(Subject::Anyone, permission, &Keep::Seen).unwrap();
    let read = plan(Some(Permission::Read));
    assert!(read.opens && !read.is_public_admin());
    at_ann.grant_with(&read).unwrap();
    assert!(plan(Some(write())).opens && !plan(Some(Permission::Read)).opens && !plan(None).opens);
    let mut everything = plan(Some(admin(10)));
    assert!(matches!(at_ann.grant_with(&everything), Err(Error::Invalid(_))));
    everything.allow_public_admin = true;
    at_ann.grant_with(&everything).unwrap();
    assert_eq!(at_ann.effective(None).unwrap()[1].permission, Some(admin(10)));
}

#[test]
fn of_each_key_it_is_told_what_holds_and_by_which_statement() {
    let world = World::new();
    let [ann, bob, cem, dan, eve] = [1, 2, 3, 4, 5].map(|seed| world.memory(seed));
    let at_ann = ann.create_space("team").unwrap();
    at_ann.grant(key(&bob), write()).unwrap();
    let opened = at_ann.grant(Subject::Anyone, write()).unwrap();
    let removed = at_ann.revoke(key(&bob)).unwrap();
    let at_cem = send(&at_ann, &cem);
    insert(&at_cem, 1).unwrap();
    let ticket =
        driftless::Invite { permission: Permission::Read, uses: None, expires: None, addresses: vec![] };
    at_ann.invite(ticket).unwrap();
    send(&at_cem, &ann);
    let effective = at_ann.effective(None).unwrap();
    let of = |subject: Subject| effective.iter().find(|one| one.subject == subject).unwrap();
    let told = |subject| {
        let one = of(subject);
        let decided: Vec<_> = one.decided_by.iter().map(|ruling| (ruling.commit, ruling.kind)).collect();
        (one.permission, one.as_anyone, decided)
    };
    assert!(of(key(&ann)).you && effective[0].subject == key(&ann));
    assert_eq!(told(Subject::Anyone), (Some(write()), false, vec![(opened, "grant")]));
    assert_eq!(
        told(key(&bob)),
        (None, false, vec![(removed, "grant")]),
        "a removed key has not what anyone has"
    );
    assert_eq!(told(key(&cem)), (Some(write()), true, vec![(opened, "grant")]));
    assert!(effective.iter().all(|one| one.subject != key(&dan)), "nobody has heard of him");
    assert_eq!(at_ann.effective(Some(dan.author().unwrap())).unwrap()[0].permission, Some(write()));

    let explained = at_ann.explain_key(&bob.author().unwrap()).unwrap();
    let details: Vec<&str> = explained.steps.iter().map(|step| step.detail.as_str()).collect();
    assert!(
        !explained.ok() && details.iter().any(|detail| detail.contains(&removed.to_string())),
        "{details:?}"
    );
    // A document that is not here, and who said so.
    at_ann.grant(key(&eve), write()).unwrap();
    let at_eve = send(&at_ann, &eve);
    let removed = at_ann.revoke(key(&eve)).unwrap();
    insert(&at_eve, 7).unwrap();
    send(&at_eve, &ann);
    let explained = at_ann.explain("items", &7.into(), None).unwrap();
    let step = explained.steps.iter().find(|step| step.step == "commit").unwrap();
    let by = [removed.to_string(), ann.author().unwrap().to_string(), "does not keep it".to_owned()];
    assert!(!step.ok && by.iter().all(|text| step.detail.contains(text)), "{step:?}");
    let pending = ann.status().unwrap().spaces[0].void[0].reason.clone();
    assert!(by.iter().all(|text| pending.contains(text)), "{pending}");
}

#[test]
fn words_for_keys_are_ids_prefixes_and_names_of_users_here() {
    let world = World::new();
    let [ann, bob] = [1, 2].map(|seed| world.memory(seed));
    let at_ann = ann.create_space("team").unwrap();
    let id = bob.author().unwrap().to_string();
    assert_eq!(at_ann.find_subject("*").unwrap(), Subject::Anyone);
    assert_eq!(at_ann.find_subject(&id).unwrap(), key(&bob));
    assert_eq!(at_ann.find_subject(&ann.user().unwrap()).unwrap(), key(&ann));
    assert_eq!(at_ann.find_subject(&id[..10]).unwrap_err().code(), "not_found");
    at_ann.grant(key(&bob), Permission::Read).unwrap();
    assert_eq!(at_ann.find_subject(&id[..10]).unwrap(), key(&bob));
    assert_eq!(at_ann.find_subject(&id[..9]).unwrap_err().code(), "not_found");
}

#[test]
fn a_draft_is_judged_as_the_same_commits_would_be_and_changes_nothing() {
    let world = World::new();
    let [ann, bob, eve] = [1, 2, 3].map(|seed| world.memory(seed));
    let at_ann = ann.create_space("team").unwrap();
    at_ann.grant(key(&eve), admin(5)).unwrap();
    let at_eve = send(&at_ann, &eve);
    insert(&at_eve, 1).unwrap();
    send(&at_eve, &ann);
    let written = at_eve.log(driftless::LogQuery::default()).unwrap()[0].commit;
    let before = at_ann.digest().unwrap();
    let (own, eve_key, bob_key) = (ann.author().unwrap(), eve.author().unwrap(), bob.author().unwrap());
    let grant = |subject, permission, keep| DraftGrant { subject, permission, keep };
    let rule = |by, knowing, grant| DraftRule { by, knowing, grant };
    // Eve lets Bob in; Ann, who does not know, removes Eve and keeps nothing.
    let draft = [
        rule(eve_key, None, grant(key(&bob), Some(write()), Keep::Seen)),
        rule(own, Some(0), grant(key(&eve), None, Keep::Nothing)),
    ];
    let case = |who, knowing, does| PolicyCase { who, knowing, does };
    let to_bob = || Deed::Grant(grant(key(&bob), Some(Permission::Read), Keep::Seen));
    let decided = at_ann.judge_cases(
        &draft,
        &[
            case(bob_key, None, Deed::Read),
            case(bob_key, None, Deed::Write),
            case(bob_key, Some(1), Deed::Write),
            case(eve_key, Some(1), Deed::Administer),
            case(eve_key, None, Deed::Administer),
            case(eve_key, None, Deed::Read),
            case(eve_key, None, Deed::Wrote(written)),
            case(own, None, to_bob()),
            case(eve_key, None, to_bob()),
        ],
    );
    let decided = decided.unwrap();
    let fates: Vec<Fate> = decided.iter().map(|decided| decided.fate).collect();
    use Fate::{Allowed, Refused, Void};
    assert_eq!(
        fates,
        [Refused, Refused, Void, Void, Refused, Refused, Void, Allowed, Refused],
        "{decided:?}"
    );
    assert!(decided[2].because.contains("draft 1") && decided[2].because.contains("draft 2"), "{decided:?}");
    assert!(decided[6].because.contains("draft 2"), "{decided:?}");
    let refused = at_ann.judge_cases(&[rule(bob_key, None, grant(key(&eve), None, Keep::Nothing))], &[]);
    assert!(matches!(refused, Err(Error::NotPermitted(text)) if text.starts_with("draft 1: ")));
    assert_eq!(at_ann.digest().unwrap(), before);
    assert_eq!(visible(&at_ann), [1]);
}
