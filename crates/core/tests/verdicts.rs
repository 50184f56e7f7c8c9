//! Which commits count: the attacks of the design review by name, each saying who wins, and what people do every day.
#![allow(clippy::print_stdout)]

mod replica;

use std::collections::BTreeSet;
use std::time::Instant;

use driftless_core::clock::Timestamp;
use driftless_core::id::{CommitId, SpaceId};
use driftless_core::rules::invite::InviteKey;
use driftless_core::rules::{Permission, RuleOperator, Strength, Subject};
use driftless_core::verdict::{
    Chains, Change, FrontierId, ParentFrontier, Place, Refusal, RuleCommit, RuleIndex, Rules, Verdict, Via,
};
use replica::{History, author, id};

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
    if name == "*" { Subject::Anyone } else { Subject::Key(author(name)) }
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
