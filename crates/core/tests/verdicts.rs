//! Which commits count: the attacks of the design review by name, each saying who wins, and what people do every day.
#![allow(clippy::print_stdout)]

mod replica;

use std::collections::BTreeSet;
use std::time::Instant;

use driftless_core::clock::Timestamp;
use driftless_core::id::{CommitId, SpaceId};
use driftless_core::rules::invite::InviteKey;
use driftless_core::rules::{Permission, RuleOperator, Shown, Strength, Subject};
use driftless_core::verdict::{
    Chains, Change, FrontierId, ParentFrontier, Place, Refusal, RuleCommit, RuleIndex, Rules, Verdict, Via,
};
use replica::{History, Other, author, id};

fn admin(strength: u32) -> Option<Permission> {
    Some(Permission::Admin(Strength(strength)))
}

fn write(strength: u32) -> Option<Permission> {
    Some(Permission::Write(Strength(strength)))
}

fn grant(subject: &str, permission: Option<Permission>) -> RuleOperator {
    RuleOperator::Grant { subject: subject_of(subject), permission, keep: None }
}

fn cut(subject: &str, permission: Option<Permission>, keep: &[&str]) -> RuleOperator {
    RuleOperator::Grant { subject: subject_of(subject), permission, keep: Some(ids(keep)) }
}

fn subject_of(name: &str) -> Subject {
    match name {
        "*" => Subject::Anyone,
        "team" => Subject::Space(team().space()),
        _ => Subject::Key(author(name)),
    }
}

fn ids(names: &[&str]) -> Vec<CommitId> {
    let ids: BTreeSet<_> = names.iter().map(|name| id(name)).collect();
    ids.into_iter().collect()
}

/// Ann of strength 0, and whom she lets in at once.
fn space(others: &[(&str, Option<Permission>)]) -> History {
    let mut operators = vec![grant("ann", admin(0))];
    operators.extend(others.iter().map(|(name, permission)| grant(name, *permission)));
    History::begin("ann", operators)
}

/// The team that Tina keeps: the laptop, the phone and Lee are let in by its genesis.
fn team() -> Other {
    let tina = RuleOperator::Grant {
        subject: Subject::Key(Other::key("tina").id()),
        permission: admin(0),
        keep: None,
    };
    let first = vec![tina, grant("laptop", admin(1)), grant("phone", admin(3)), grant("lee", write(7))];
    let mut team = Other::begin("tina", first);
    team.rule("no phone", "tina", &["genesis"], vec![cut("phone", None, &[])]);
    team.rule("less", "tina", &["genesis"], vec![cut("phone", write(4), &[])]);
    team
}

/// Ann of strength 0, and what the team gets.
fn space_of_team(permission: Option<Permission>) -> History {
    let grants = [("team", permission)];
    space(&grants)
}

fn enrol(grant: &str, index: u32, proof: Vec<Shown>) -> Vec<RuleOperator> {
    vec![RuleOperator::Enrol { grant: id(grant), index, proof }]
}

fn withdraw(key: &str, proof: Vec<Shown>, keep: &[&str]) -> Vec<RuleOperator> {
    let space = team().space();
    vec![RuleOperator::Withdraw { space, key: author(key), proof, keep: ids(keep) }]
}

fn ticket() -> InviteKey {
    InviteKey::from_secret(&[42; 32])
}

fn invite(permission: Option<Permission>, uses: Option<u32>) -> RuleOperator {
    let permission = permission.unwrap();
    RuleOperator::Invite { key: ticket().public(), permission, uses, expires_ms: Some(5) }
}

fn redeem(invite: &str, joiner: &str) -> Vec<RuleOperator> {
    let space = SpaceId::from(id("genesis"));
    let proof = ticket().prove(&space, &id(invite), &author(joiner));
    vec![RuleOperator::Redeem { invite: id(invite), index: 0, proof }]
}

fn end(invite: &str, keep: &[&str]) -> Vec<RuleOperator> {
    vec![RuleOperator::EndInvite { invite: id(invite), index: 0, keep: ids(keep) }]
}

#[test]
fn b1_what_a_removed_admin_grants_to_sock_puppets_falls_with_the_cut() {
    let mut h = space(&[("mallory", admin(1))]);
    h.document("m5", "mallory", &["genesis"]).unwrap();
    h.rule("cut", "ann", &["m5"], vec![cut("mallory", None, &["m5"])]).unwrap();
    // Offline, without the cut: a puppet, and the puppet's puppet.
    h.rule("m6", "mallory", &["m5"], vec![grant("x", admin(2))]).unwrap();
    h.rule("x1", "x", &["m6"], vec![grant("y", write(3))]).unwrap();
    h.document("y1", "y", &["x1"]).unwrap();
    assert!(h.counts("cut"), "ann, the stronger, wins");
    assert!(h.counts("m5"), "what was kept stays");
    assert!(!h.counts("m6") && !h.counts("x1") && !h.counts("y1"), "mallory and her puppets lose");
    assert!(matches!(h.verdict("m6"), Verdict::CutBy(_)));
    assert_eq!(h.verdict("y1"), Verdict::PermissionLost);
    h.check();
}

#[test]
fn b2_a_backdated_takeover_loses() {
    let mut h = space(&[("mallory", admin(1)), ("bob", admin(2))]);
    h.rule_at("cut", "ann", &["genesis"], 100, vec![cut("mallory", None, &[])]).unwrap();
    // A week later, from a backup: old parents and an earlier time.
    let takeover = h.rule_at("takeover", "mallory", &["genesis"], 50, vec![cut("ann", None, &[])]);
    assert_eq!(takeover, Err(Refusal::SubjectNotWeaker { operator: 0 }), "mallory cannot act on ann");
    h.rule_at("coup", "mallory", &["genesis"], 50, vec![cut("bob", None, &[])]).unwrap();
    assert!(h.counts("cut") && !h.counts("coup"), "ann wins, mallory's earlier time buys nothing");
    assert_eq!(h.replica.rules.members().get(&Subject::Key(author("bob"))), admin(2).as_ref(), "bob stays");
    assert_eq!(h.replica.rules.member(&author("mallory")), None);
    h.check();
}

#[test]
fn b2_of_two_equals_neither_can_remove_the_other() {
    let mut h = space(&[("bob", admin(1)), ("carl", admin(1))]);
    let refused = Err(Refusal::SubjectNotWeaker { operator: 0 });
    assert_eq!(h.rule("b", "bob", &["genesis"], vec![cut("carl", None, &[])]), refused);
    assert_eq!(h.rule("c", "carl", &["genesis"], vec![cut("bob", None, &[])]), refused);
    assert_eq!(h.replica.rules.members().len(), 3, "both stay");
    h.check();
}

#[test]
fn b3_a_keep_names_commits_so_a_fork_below_the_cut_loses_and_an_honest_fork_is_kept() {
    let mut h = space(&[("mallory", write(5)), ("honest", write(5))]);
    h.document("m1", "mallory", &["genesis"]).unwrap();
    h.document("m2", "mallory", &["m1"]).unwrap();
    h.document("m3", "mallory", &["m2"]).unwrap();
    h.document("h1", "honest", &["genesis"]).unwrap();
    h.document("h2", "honest", &["h1"]).unwrap();
    h.document("h2b", "honest", &["h1"]).unwrap();
    h.document("h3b", "honest", &["h2b"]).unwrap();
    let keep_both = cut("honest", None, &["h2", "h3b"]);
    let keep_one = cut("mallory", None, &["m3"]);
    h.rule("cut", "ann", &["m3", "h2", "h3b"], vec![keep_one, keep_both]).unwrap();
    // Mallory forks at 1: the same author seqs as what was kept, another branch.
    h.document("m2x", "mallory", &["m1"]).unwrap();
    h.document("m3x", "mallory", &["m2x"]).unwrap();
    h.document("h3", "honest", &["h2"]).unwrap();
    assert!(h.counts("m1") && h.counts("m2") && h.counts("m3"), "mallory's kept chain stays");
    assert!(!h.counts("m2x") && !h.counts("m3x"), "mallory's fork below the cut loses");
    assert!(h.counts("h2") && h.counts("h2b") && h.counts("h3b"), "both honest branches win");
    assert!(!h.counts("h3"), "beyond the cut nothing stays");
    h.check();
}

#[test]
fn b4_a_key_that_is_granted_again_writes_again() {
    let mut h = space(&[("mallory", write(5))]);
    h.document("m5", "mallory", &["genesis"]).unwrap();
    h.document("m6", "mallory", &["m5"]).unwrap();
    h.rule("cut", "ann", &["m5"], vec![cut("mallory", None, &["m5"])]).unwrap();
    assert_eq!(h.document("late", "mallory", &["m6", "cut"]), Err(Refusal::MayNotWrite));
    h.rule("again", "ann", &["cut"], vec![grant("mallory", write(5))]).unwrap();
    h.document("m8", "mallory", &["m6", "again"]).unwrap();
    assert!(h.counts("m8"), "the re-granted key wins: m8 knows the cut and was let in again");
    assert!(h.counts("m5") && !h.counts("m6"), "the cut still holds for what it cut");
    h.check();
}

#[test]
fn b5_a_weaker_admin_cannot_rewrite_what_a_stronger_one_did() {
    let mut h = space(&[("yann", admin(1)), ("bea", admin(5))]);
    h.rule("y1", "yann", &["genesis"], vec![grant("kim", write(7))]).unwrap();
    h.document("k1", "kim", &["y1"]).unwrap();
    h.rule("demote", "ann", &["k1"], vec![cut("yann", write(9), &["y1"])]).unwrap();
    h.document("y2", "yann", &["demote"]).unwrap();
    h.rule("bea", "bea", &["demote"], vec![cut("yann", None, &[])]).unwrap();
    assert!(h.counts("y1") && h.counts("k1"), "yann's grant of strength 1 wins over bea of strength 5");
    assert!(h.counts("bea") && !h.counts("y2"), "bea wins over what yann wrote at strength 9");
    h.check();
}

#[test]
fn b6_there_is_always_an_admin() {
    let mut h = space(&[("bob", admin(0))]);
    let refused = Err(Refusal::SubjectNotWeaker { operator: 0 });
    assert_eq!(h.rule("a1", "ann", &["genesis"], vec![cut("ann", None, &["genesis"])]), refused);
    assert_eq!(h.rule("b1", "bob", &["genesis"], vec![cut("bob", None, &[])]), refused);
    assert_eq!(h.rule("a2", "ann", &["genesis"], vec![cut("bob", None, &[])]), refused);
    assert_eq!(h.rule("b2", "bob", &["genesis"], vec![cut("ann", None, &["genesis"])]), refused);
    let members = h.replica.rules.members();
    assert_eq!(members.values().filter(|permission| **permission == admin(0).unwrap()).count(), 2);
    h.check();
}

#[test]
fn d1_an_old_proof_buys_nothing_after_a_withdrawal() {
    let (team, mut h) = (team(), space_of_team(write(5)));
    let old = team.proof(&["genesis"]);
    h.rule("laptop", "laptop", &["genesis"], enrol("genesis", 1, old.clone())).unwrap();
    let told = withdraw("phone", team.proof(&["no phone"]), &[]);
    h.rule("out", "laptop", &["laptop"], told).unwrap();
    let thief = enrol("genesis", 1, old.clone());
    assert_eq!(h.rule("on top", "phone", &["out"], thief.clone()), Err(Refusal::Withdrawn));
    // Beside it, not having heard: admitted, and void, with all that was written.
    h.rule("beside", "phone", &["genesis"], thief).unwrap();
    h.document("p1", "phone", &["beside"]).unwrap();
    assert!(h.counts("laptop") && h.counts("out"), "the laptop wins");
    assert!(!h.counts("beside") && !h.counts("p1"), "the thief loses");
    assert!(h.replica.rules.member(&author("phone")).is_none());
    // Of the two the laptop is the stronger; and what T has not taken back cannot be withdrawn at all.
    let back = withdraw("laptop", old, &[]);
    assert_eq!(h.rule("back", "phone", &["beside", "laptop"], back.clone()), Err(Refusal::NothingToWithdraw));
    assert_eq!(h.rule("ann", "ann", &["laptop"], back), Err(Refusal::NothingToWithdraw));
    let early = withdraw("phone", team.proof(&["no phone"]), &[]);
    h.rule("lee", "lee", &["genesis"], enrol("genesis", 1, team.proof(&["genesis"]))).unwrap();
    assert_eq!(
        h.rule("weak", "lee", &["lee", "beside"], early),
        Err(Refusal::SubjectNotWeaker { operator: 0 }),
        "lee, 7 in the team, is weaker than the phone was"
    );
    h.check();
}

#[test]
fn d1_what_was_written_before_the_removal_can_stay() {
    let (team, mut h) = (team(), space_of_team(write(5)));
    let proof = team.proof(&["genesis"]);
    h.rule("laptop", "laptop", &["genesis"], enrol("genesis", 1, proof.clone())).unwrap();
    h.rule("phone", "phone", &["genesis"], enrol("genesis", 1, proof)).unwrap();
    h.document("p1", "phone", &["phone"]).unwrap();
    let removal = team.proof_above(&["no phone"], &["genesis"]);
    assert_eq!(removal.len(), 1, "what was shown need not be shown again");
    let change = h.rule("out", "laptop", &["laptop", "p1"], withdraw("phone", removal, &["p1"]));
    assert_eq!(change, Ok(Change::Authors(BTreeSet::from([author("phone")]))));
    h.document("p2", "phone", &["p1"]).unwrap();
    assert!(h.counts("phone") && h.counts("p1"), "what was kept stays");
    assert!(!h.counts("p2"), "what came after is void");
    assert_eq!(h.document("p3", "phone", &["p2", "out"]), Err(Refusal::MayNotWrite));
    h.check();
}

#[test]
fn d2_a_wider_grant_raises_nobody_and_a_narrower_one_bounds_everybody() {
    let (team, mut h) = (team(), space_of_team(write(5)));
    let standing = |h: &History| {
        let standing = h.replica.rules.member(&author("laptop")).unwrap();
        (standing.permission, standing.via)
    };
    h.rule("laptop", "laptop", &["genesis"], enrol("genesis", 1, team.proof(&["genesis"]))).unwrap();
    h.rule("wider", "ann", &["laptop"], vec![grant("team", admin(3))]).unwrap();
    let inside = Via::Space(Strength(1));
    assert_eq!(standing(&h), (write(5).unwrap(), inside), "a grant about the team raises nobody");
    assert_eq!(
        h.rule("stale", "laptop", &["wider"], enrol("genesis", 1, vec![])),
        Err(Refusal::NoSpaceGrant),
        "the grant named must be the one that holds"
    );
    h.rule("again", "laptop", &["wider"], enrol("wider", 0, vec![])).unwrap();
    assert_eq!(standing(&h), (admin(3).unwrap(), inside), "it takes an enrolment");
    assert_eq!(
        h.rule("twice", "laptop", &["again"], enrol("wider", 0, vec![])),
        Err(Refusal::EnrolledAlready)
    );
    h.document("l1", "laptop", &["again"]).unwrap();
    h.document("l2", "laptop", &["l1"]).unwrap();
    h.rule("narrower", "ann", &["l1"], vec![cut("team", write(9), &["l1"])]).unwrap();
    assert_eq!(standing(&h), (write(9).unwrap(), inside), "the smallest on the way holds");
    assert!(h.counts("l1") && !h.counts("l2"), "what ann kept stays");
    h.rule("nobody", "ann", &["narrower"], vec![cut("team", None, &["l1"])]).unwrap();
    assert!(h.replica.rules.member(&author("laptop")).is_none());
    assert!(h.counts("l1"));
    h.check();
}

#[test]
fn d3_a_space_that_is_rolled_back_shows_nothing() {
    let (team, mut h) = (team(), space_of_team(write(5)));
    let old = team.proof(&["genesis"]);
    h.rule("lee", "lee", &["genesis"], enrol("genesis", 1, team.proof(&["no phone"]))).unwrap();
    assert_eq!(h.rule("back", "phone", &["lee"], enrol("genesis", 1, old.clone())), Err(Refusal::NotLetIn));
    // What was weakened there is weaker here, whatever the proof leaves out; of two sides both hold.
    let mut h = space_of_team(admin(2));
    h.rule("lee", "lee", &["genesis"], enrol("genesis", 1, team.proof(&["less"]))).unwrap();
    h.rule("phone", "phone", &["lee"], enrol("genesis", 1, old.clone())).unwrap();
    let phone = h.replica.rules.member(&author("phone")).unwrap();
    assert_eq!((phone.permission, phone.via), (write(2).unwrap(), Via::Space(Strength(4))));
    h.check();
    // Beside it she gets in, and can then be withdrawn.
    let mut h = space_of_team(write(5));
    h.rule("lee", "lee", &["genesis"], enrol("genesis", 1, team.proof(&["no phone"]))).unwrap();
    h.rule("beside", "phone", &["genesis"], enrol("genesis", 1, old)).unwrap();
    assert!(h.counts("beside"));
    h.rule("out", "ann", &["lee", "beside"], withdraw("phone", vec![], &[])).unwrap();
    assert!(!h.counts("beside") && h.replica.rules.member(&author("phone")).is_none(), "ann wins");
    h.check();
}

#[test]
fn d3_a_proof_leaves_nothing_out_and_shows_only_what_was_signed() {
    let (team, mut h) = (team(), space_of_team(write(5)));
    let whole = team.proof(&["no phone"]);
    let mut refusal =
        |proof: Vec<Shown>| h.rule("no", "laptop", &["genesis"], enrol("genesis", 1, proof)).unwrap_err();
    let incomplete = Refusal::ProofIncomplete;
    assert_eq!(refusal(vec![]), incomplete, "nothing");
    assert_eq!(refusal(whole[1..].to_vec()), incomplete, "the genesis is left out");
    assert_eq!(refusal([&whole[..], &whole[..]].concat()), incomplete, "twice");
    let mut unsigned = whole.clone();
    unsigned.iter_mut().for_each(|shown| shown.signature = None);
    assert_eq!(refusal(unsigned), incomplete, "nobody vouches for it");
    let mut without = whole.clone();
    without[1].body = None;
    assert_eq!(refusal(without), incomplete, "what a rule commit says is hidden");
    for at in 0..whole.len() {
        for (part, flip) in [(0, 3), (0, 30), (0, 70), (1, 2), (1, 40)] {
            let mut damaged = whole.clone();
            let bytes = if part == 0 { &mut damaged[at].header } else { damaged[at].body.as_mut().unwrap() };
            bytes[flip] ^= 1;
            assert_eq!(refusal(damaged), incomplete, "commit {at}, byte {flip} of part {part}");
        }
    }
    let other = Other::begin("tina", vec![grant("laptop", admin(1))]);
    assert_eq!(refusal(other.proof(&["genesis"])), incomplete, "another space");
    h.rule("laptop", "laptop", &["genesis"], enrol("genesis", 1, whole)).unwrap();
    assert_eq!(h.rule("eve", "eve", &["laptop"], enrol("genesis", 1, vec![])), Err(Refusal::NotLetIn));
    // Who is named here has what was said here.
    h.rule("less", "ann", &["laptop"], vec![cut("lee", None, &[])]).unwrap();
    assert_eq!(h.rule("lee", "lee", &["less"], enrol("genesis", 1, vec![])), Err(Refusal::KeyNamedBefore));
    h.check();
}

#[test]
fn d4_a_circle_of_spaces_goes_nowhere() {
    // T grants S; Mo enrols in T as one whom S lets in.
    let s = Other::begin(
        "ann",
        vec![
            RuleOperator::Grant {
                subject: Subject::Key(Other::key("ann").id()),
                permission: admin(0),
                keep: None,
            },
            RuleOperator::Grant {
                subject: Subject::Key(Other::key("mo").id()),
                permission: admin(1),
                keep: None,
            },
        ],
    );
    let mut t = Other::begin(
        "tina",
        vec![
            RuleOperator::Grant {
                subject: Subject::Key(Other::key("tina").id()),
                permission: admin(0),
                keep: None,
            },
            RuleOperator::Grant { subject: Subject::Space(s.space()), permission: admin(2), keep: None },
        ],
    );
    let first = t.id("genesis");
    let mo = RuleOperator::Enrol { grant: first, index: 1, proof: s.proof(&["genesis"]) };
    t.rule("mo", "mo", &["genesis"], vec![mo]);
    t.rule("friend", "mo", &["mo"], vec![grant("friend", write(9))]);
    t.rule("kim", "tina", &["friend"], vec![grant("kim", write(3))]);
    // In S, which grants T, neither Mo's place in T nor what Mo said there is heard; what Tina said after it is.
    let mut h = space(&[]);
    let team = RuleOperator::Grant { subject: Subject::Space(t.space()), permission: write(5), keep: None };
    h.rule("team", "ann", &["genesis"], vec![team]).unwrap();
    let enrol = |proof| vec![RuleOperator::Enrol { grant: id("team"), index: 0, proof }];
    h.rule("kim", "kim", &["team"], enrol(t.proof(&["kim"]))).unwrap();
    assert_eq!(h.rule("friend", "friend", &["kim"], enrol(vec![])), Err(Refusal::NotLetIn));
    assert!(h.counts("kim"));
    h.check();
}

#[test]
fn a_grant_to_a_space_keeps_and_cuts_only_those_who_came_by_it() {
    let (team, mut h) = (team(), space_of_team(write(5)));
    h.rule("more", "ann", &["genesis"], vec![grant("bob", write(7)), grant("carl", admin(2))]).unwrap();
    h.document("b1", "bob", &["more"]).unwrap();
    h.rule("lee", "lee", &["more"], enrol("genesis", 1, team.proof(&["genesis"]))).unwrap();
    h.document("l1", "lee", &["lee"]).unwrap();
    let keep = |kept: &[&str]| vec![cut("team", None, kept)];
    assert_eq!(
        h.rule("wrong", "carl", &["l1", "b1"], keep(&["b1"])),
        Err(Refusal::KeptElsewhere { operator: 0, kept: id("b1") })
    );
    assert_eq!(
        h.rule("bare", "carl", &["l1", "b1"], vec![grant("team", None)]),
        Err(Refusal::KeepMissing { operator: 0 })
    );
    h.document("l2", "lee", &["l1"]).unwrap();
    h.rule("shut", "carl", &["l1", "b1"], keep(&["l1"])).unwrap();
    assert!(h.counts("l1") && h.counts("b1") && !h.counts("l2"));
    // Who was granted the same strength here is stronger than the team, and nobody of the team acts on another.
    assert_eq!(h.document("l3", "lee", &["l2", "shut"]), Err(Refusal::MayNotWrite));
    h.check();
}

#[test]
fn b9_uses_are_exact_along_one_history_and_overshoot_displaces_nobody() {
    let mut h = space(&[]);
    h.rule("ticket", "ann", &["genesis"], vec![invite(write(6), Some(1))]).unwrap();
    h.rule_at("kim", "kim", &["ticket"], 100, redeem("ticket", "kim")).unwrap();
    h.document("k1", "kim", &["kim"]).unwrap();
    assert_eq!(h.rule("late", "lee", &["k1"], redeem("ticket", "lee")), Err(Refusal::InviteUsedUp));
    // A year later the leaked ticket is redeemed on the old state, with an earlier time.
    h.rule_at("leak", "eve", &["ticket"], 50, redeem("ticket", "eve")).unwrap();
    assert!(h.counts("kim") && h.counts("k1"), "kim, the member, wins: nobody displaces her");
    assert!(h.counts("leak"), "the overshoot is not resolved by the rules");
    let [invitation] = h.replica.rules.invitations()[..] else { panic!("one invite") };
    assert_eq!((invitation.uses, invitation.redeemed, invitation.ended), (Some(1), 2, false), "it is shown");
    // And ended by an admin, who says who stays.
    let change = h.rule("end", "ann", &["kim"], end("ticket", &["kim"]));
    assert_eq!(change, Ok(Change::Authors(BTreeSet::from([author("eve")]))));
    assert!(h.counts("kim") && h.counts("k1") && !h.counts("leak"));
    assert!(h.replica.rules.invitations()[0].ended);
    h.check();
}

#[test]
fn b12_an_edit_with_many_parents_is_judged_with_every_grant_its_author_saw() {
    let mut h = space(&[("bob", write(1))]);
    h.rule("grant", "ann", &["genesis"], vec![grant("carl", write(9))]).unwrap();
    let heads: Vec<String> = (0..70).map(|n| format!("b{n}")).collect();
    for head in &heads {
        h.document(head, "bob", &["genesis"]).unwrap();
    }
    let rest: Vec<&str> = heads.iter().map(String::as_str).collect();
    assert_eq!(h.document("without", "carl", &rest[..64]), Err(Refusal::MayNotWrite));
    let mut first = vec!["grant"];
    first.extend(&rest[..63]);
    h.document("with", "carl", &first).unwrap();
    assert!(h.counts("with"), "carl wins: rule commits are named first");
    let rules = &mut h.replica.rules;
    let document = ParentFrontier::Document(FrontierId::GENESIS);
    assert_eq!(rules.frontier_of_parents([document; 64]), Ok(FrontierId::GENESIS));
    let both = rules.frontier_of_parents([document, ParentFrontier::Rule(RuleIndex(1))]).unwrap();
    assert_eq!(rules.heads_of(both), Some(&[RuleIndex(1)][..]), "genesis is below the grant");
}

#[test]
fn a_proof_is_for_one_key_and_a_removed_key_does_not_return_by_an_old_ticket() {
    let mut h = space(&[]);
    h.rule("ticket", "ann", &["genesis"], vec![invite(write(6), None)]).unwrap();
    let stolen = redeem("ticket", "kim");
    assert_eq!(h.rule("thief", "eve", &["ticket"], stolen), Err(Refusal::ProofWrong));
    assert_eq!(h.rule("early", "eve", &["genesis"], redeem("ticket", "eve")), Err(Refusal::NoInvite));
    h.rule("kim", "kim", &["ticket"], redeem("ticket", "kim")).unwrap();
    h.rule("out", "ann", &["kim"], vec![cut("kim", None, &[])]).unwrap();
    assert_eq!(h.rule("back", "kim", &["out"], redeem("ticket", "kim")), Err(Refusal::KeyNamedBefore));
    assert_eq!(h.rule("again", "kim", &["kim"], redeem("ticket", "kim")), Err(Refusal::KeyNamedBefore));
    assert!(!h.counts("kim") && h.replica.rules.member(&author("kim")).is_none());
    // A redemption that did not know of the removal does not help either.
    h.rule("fork", "kim", &["ticket"], redeem("ticket", "kim")).unwrap();
    assert!(!h.counts("fork"), "ann wins");
    let mixed = [redeem("ticket", "lee"), vec![RuleOperator::Name("mine".into())]].concat();
    assert_eq!(h.rule("mixed", "ann", &["out"], mixed), Err(Refusal::RedeemNotAlone));
    h.check();
}

#[test]
fn the_end_of_an_invite_holds_also_if_it_was_void_for_a_while() {
    let mut h = space(&[("bob", admin(1)), ("mallory", admin(1)), ("carl", admin(2))]);
    h.rule("ticket", "ann", &["genesis"], vec![invite(write(6), None)]).unwrap();
    h.rule("end", "carl", &["ticket"], end("ticket", &[])).unwrap();
    // Mallory voids carl's end without having seen it; eve slips in; ann removes mallory.
    h.rule("against", "mallory", &["ticket"], vec![cut("carl", None, &[])]).unwrap();
    h.rule("eve", "eve", &["end", "against"], redeem("ticket", "eve")).unwrap();
    assert!(h.counts("eve") && !h.counts("end"));
    h.rule("ann", "ann", &["ticket"], vec![cut("mallory", None, &[])]).unwrap();
    assert!(h.counts("end") && !h.counts("eve"), "carl's end wins: what opened the gap has fallen");
    assert_eq!(h.rule("late", "lee", &["end"], redeem("ticket", "lee")), Err(Refusal::InviteEnded));
    h.check();
}

#[test]
fn anyone_may_be_granted_and_a_statement_about_a_key_beats_it() {
    let mut h = space(&[("bob", admin(1)), ("mute", None)]);
    h.rule("open", "ann", &["genesis"], vec![grant("*", write(20))]).unwrap();
    h.document("s1", "stranger", &["open"]).unwrap();
    h.document("s2", "stranger", &["s1"]).unwrap();
    assert_eq!(h.document("no", "mute", &["open"]), Err(Refusal::MayNotWrite));
    assert_eq!(
        h.rule("shut", "bob", &["s2"], vec![grant("*", Some(Permission::Read))]),
        Err(Refusal::KeepMissing { operator: 0 })
    );
    let shut = vec![cut("*", Some(Permission::Read), &["s1"])];
    assert_eq!(h.rule("close", "bob", &["s2"], shut), Ok(Change::All));
    assert!(h.counts("s1") && !h.counts("s2"), "bob wins: strangers keep what he kept");
    assert_eq!(h.document("late", "stranger", &["close"]), Err(Refusal::MayNotWrite));
    let reader = h.replica.rules.member(&author("stranger")).unwrap();
    assert_eq!((reader.permission, reader.via), (Permission::Read, Via::Anyone));
    h.check();
}

#[test]
fn concurrent_statements_leave_the_weakest_and_a_later_one_decides() {
    let mut h = space(&[("bob", admin(1)), ("carl", admin(2))]);
    h.rule("b", "bob", &["genesis"], vec![grant("kim", admin(5))]).unwrap();
    h.rule("c", "carl", &["genesis"], vec![grant("kim", write(3))]).unwrap();
    let members = h.replica.rules.members();
    assert_eq!(members.get(&Subject::Key(author("kim"))), write(5).as_ref(), "each admin's limit holds");
    h.rule("later", "ann", &["b", "c"], vec![grant("kim", admin(4)), grant("kim", admin(3))]).unwrap();
    assert_eq!(h.replica.rules.members().get(&Subject::Key(author("kim"))), admin(3).as_ref());
    h.check();
}

#[test]
fn every_refusal_names_what_is_wrong() {
    let mut h = space(&[("bob", admin(3)), ("will", write(5))]);
    h.document("w1", "will", &["genesis"]).unwrap();
    h.document("w2", "will", &["w1"]).unwrap();
    let mut refusal = |by, parents: &[&str], operators| h.rule("no", by, parents, operators).unwrap_err();
    assert_eq!(refusal("will", &["w1"], vec![RuleOperator::Name("w".into())]), Refusal::NotAdmin);
    assert_eq!(refusal("nobody", &["w1"], vec![]), Refusal::NotAdmin);
    let operator = 1;
    let first = || RuleOperator::Name("fine".into());
    for (by, bad, why) in [
        ("bob", grant("kim", admin(3)), Refusal::PermissionNotWeaker { operator }),
        ("bob", invite(write(2), None), Refusal::PermissionNotWeaker { operator }),
        ("bob", grant("bob", admin(4)), Refusal::SubjectNotWeaker { operator }),
        ("bob", grant("will", write(6)), Refusal::KeepMissing { operator }),
        ("bob", grant("will", Some(Permission::Read)), Refusal::KeepMissing { operator }),
        ("bob", grant("will", None), Refusal::KeepMissing { operator }),
        ("bob", cut("will", None, &["w2"]), Refusal::KeptElsewhere { operator, kept: id("w2") }),
        ("bob", cut("will", None, &["genesis"]), Refusal::KeptElsewhere { operator, kept: id("genesis") }),
        ("bob", cut("*", None, &["w1"]), Refusal::KeptElsewhere { operator, kept: id("w1") }),
        ("bob", end("genesis", &[]).remove(0), Refusal::NoInvite),
    ] {
        assert_eq!(refusal(by, &["w1"], vec![first(), bad]), why);
    }
    let unsorted = RuleOperator::Grant {
        subject: subject_of("will"),
        permission: None,
        keep: Some(ids(&["w1", "w2"]).into_iter().rev().collect()),
    };
    assert!(matches!(refusal("ann", &["w2"], vec![unsorted]), Refusal::Malformed(_)));
    assert!(h.rule("fine", "bob", &["w1"], vec![grant("will", write(4))]).is_ok(), "no keep to strengthen");
}

#[test]
fn a_genesis_makes_its_author_an_admin_and_refers_to_nothing_before() {
    let genesis = |operators| RuleCommit {
        id: id("g"),
        author: author("ann"),
        time: Timestamp::from_ms(1),
        place: Place { branch: 0, seq: 1 },
        frontier: FrontierId::GENESIS,
        operators,
    };
    assert!(Rules::new(genesis(vec![grant("ann", admin(0)), grant("*", Some(Permission::Read))])).is_ok());
    for bad in [
        vec![],
        vec![grant("bob", admin(0))],
        vec![grant("ann", admin(1))],
        vec![grant("ann", admin(0)), grant("ann", None)],
        vec![grant("ann", admin(0)), cut("bob", None, &["x"])],
        [vec![grant("ann", admin(0))], end("x", &[])].concat(),
    ] {
        assert_eq!(Rules::new(genesis(bad)).unwrap_err(), Refusal::BadGenesis);
    }
}

#[test]
fn the_name_and_settings_are_the_last_that_count() {
    let mut h = space(&[("bob", admin(1))]);
    let set = |key: &str, value: u8| RuleOperator::Setting { key: key.into(), value: vec![value] };
    let name = |name: &str| RuleOperator::Name(name.into());
    h.rule_at("a", "ann", &["genesis"], 10, vec![name("first"), set("k", 1), set("l", 2)]).unwrap();
    h.rule_at(
        "b",
        "bob",
        &["a"],
        30,
        vec![name("bob's"), set("k", 3), RuleOperator::Unknown { raw: vec![0x81, 9] }],
    )
    .unwrap();
    assert_eq!(h.replica.rules.name(), Some("bob's"));
    assert_eq!(h.replica.rules.settings().into_iter().collect::<Vec<_>>(), [("k", &[3][..]), ("l", &[2])]);
    h.rule_at("out", "ann", &["a"], 20, vec![cut("bob", None, &[])]).unwrap();
    assert_eq!(h.replica.rules.name(), Some("first"), "a void name is not the name");
    assert_eq!(h.replica.rules.settings().get("k"), Some(&&[1][..]));
    h.check();
}

#[test]
fn a_grant_never_triggers_a_refold_and_a_cut_names_whose() {
    let mut h = space(&[("bob", admin(1)), ("will", write(5))]);
    h.document("w1", "will", &["genesis"]).unwrap();
    assert_eq!(h.rule("g", "bob", &["w1"], vec![grant("kim", write(7))]), Ok(Change::Nothing));
    assert_eq!(h.rule("i", "bob", &["g"], vec![invite(write(7), None)]), Ok(Change::Nothing));
    assert_eq!(h.rule("r", "lee", &["i"], redeem("i", "lee")), Ok(Change::Nothing));
    let will = Change::Authors(BTreeSet::from([author("will")]));
    assert_eq!(h.rule("c", "ann", &["w1"], vec![cut("will", write(6), &["w1"])]), Ok(will));
    let all = Change::Authors(["bob", "kim", "lee"].map(author).into_iter().collect());
    assert_eq!(h.rule("d", "ann", &["c"], vec![cut("bob", None, &[])]), Ok(all), "and what falls with bob");
    h.check();
}

#[test]
fn what_was_not_interned_here_is_refused_and_a_repeated_commit_too() {
    let mut h = space(&[]);
    let rules = &mut h.replica.rules;
    let lost = FrontierId(9);
    assert_eq!(rules.intern(&[RuleIndex(9)]), Err(Refusal::UnknownFrontier));
    assert_eq!(rules.strength_at(lost, &author("ann")), Err(Refusal::UnknownFrontier));
    assert_eq!(rules.frontier_of_parents([ParentFrontier::Document(lost)]), Err(Refusal::UnknownFrontier));
    h.rule("once", "ann", &["genesis"], vec![]).unwrap();
    assert_eq!(h.rule("once", "ann", &["genesis"], vec![]), Err(Refusal::Repeated));
}

/// A long history by two admins who meet now and then.
#[derive(Debug)]
struct Long {
    rules: Rules,
    heads: [RuleIndex; 2],
    count: u32,
}

impl Long {
    fn begin() -> Self {
        let everyone = vec![grant("ann", admin(0)), grant("bob", admin(1))];
        let rules = Rules::new(Self::commit(0, "ann", FrontierId::GENESIS, everyone)).unwrap();
        Self { rules, heads: [RuleIndex(0); 2], count: 1 }
    }

    fn commit(n: u32, by: &str, frontier: FrontierId, operators: Vec<RuleOperator>) -> RuleCommit {
        let place = Place { branch: 0, seq: u64::from(n) + 1 };
        let time = Timestamp::from_ms(u64::from(n));
        RuleCommit { id: id(&format!("rule {n}")), author: author(by), time, place, frontier, operators }
    }

    /// Ann's turn, then Bob's; each sees the own commits, and every fifth time the other's too.
    fn add(&mut self, operators: Vec<RuleOperator>) -> Change {
        let side = self.count as usize % 2;
        let parents = if self.count.is_multiple_of(5) { &self.heads[..] } else { &self.heads[side..=side] };
        let parents = parents.iter().copied().map(ParentFrontier::Rule);
        let frontier = self.rules.frontier_of_parents(parents).unwrap();
        let commit = Self::commit(self.count, ["ann", "bob"][side], frontier, operators);
        let (index, change) = self.rules.admit_rule(commit, &Chains::new(), &|_| None).unwrap();
        self.heads[side] = index;
        self.count += 1;
        change
    }
}

fn many() -> u32 {
    if cfg!(debug_assertions) { 1_500 } else { 10_000 }
}

#[test]
fn a_space_of_many_grants_stays_usable() {
    let (mut long, begun) = (Long::begin(), Instant::now());
    while long.count < many() {
        let member = format!("member {}", long.count);
        assert_eq!(long.add(vec![grant(&member, write(9))]), Change::Nothing);
    }
    let each = begun.elapsed() / long.count;
    if long.count % 2 == 1 {
        long.add(vec![grant("one more", write(9))]);
    }
    let begun = Instant::now();
    let change = long.add(vec![cut("bob", None, &[])]);
    println!("{} grants: {each:?} each; a cut of half of them: {:?}", long.count, begun.elapsed());
    let Change::Authors(authors) = change else { panic!("authors are named") };
    assert!(authors.len() as u32 >= many() / 2 - 5, "bob and all whom bob let in");
}

#[test]
fn a_space_of_many_removals_stays_usable() {
    let (mut long, begun) = (Long::begin(), Instant::now());
    while long.count < many() {
        // Each admin removes what he granted two turns before.
        let (member, before) =
            (format!("member {}", long.count), format!("member {}", long.count.max(4) - 4));
        let removed = cut(&before, None, &[]);
        let change = long.add(vec![grant(&member, write(9)), removed]);
        assert_eq!(change, Change::Authors(BTreeSet::from([author(&before)])));
    }
    println!("{} removals: {:?} each", long.count, begun.elapsed() / long.count);
}
