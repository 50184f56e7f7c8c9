//! Small spaces, all of them or a seeded sample: one result for every order of arrival, and what must hold in each.
//!
//! All shapes of up to 4 rule commits above genesis in all delivery orders; shapes of 5 and 6 with document commits.
//! `DRIFTLESS_MODEL=20` looks at twenty times as many samples.
#![allow(clippy::print_stdout)]

mod replica;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use driftless_core::clock::Timestamp;
use driftless_core::id::{AuthorId, CommitId, SpaceId};
use driftless_core::rules::invite::InviteKey;
use driftless_core::rules::{Permission, RuleOperator, Shown, Strength, Subject};
use driftless_core::verdict::naive::{self, Commit, Judgement};
use driftless_core::verdict::{RuleIndex, Verdict, Via};
use replica::{Other, Random, Replica, author, id, replay};

/// The creator (strength 0), admins of strength 1 and 5, a writer; then two who are nobody yet.
const PEOPLE: [&str; 6] = ["creator", "one", "five", "writer", "new", "other"];

/// What one commit tries to say. Some of it is not allowed where it stands, which is judged too.
#[derive(Debug, Clone, Copy)]
enum Label {
    /// `by`, `about`, what, and which of the subject's commits stay if it is a cut.
    Grant(usize, Option<usize>, Option<Permission>, Keep),
    /// `by` opens an invite.
    Invite(usize),
    /// `by` redeems the genesis's invite (true), or the newest other one.
    Redeem(usize, bool),
    /// `by` ends it and keeps all redemptions seen, or none.
    End(usize, bool, Keep),
    Name(usize),
    Document(usize),
    /// `by` says what those have whom the team lets in.
    Team(usize, Option<Permission>, Keep),
    /// `by` enrols by the genesis's grant (true), or the newest other one, with this proof.
    Enrol(usize, bool, usize),
    /// `by` withdraws what `about` has through the team, with this proof.
    Withdraw(usize, usize, usize, Keep),
}

/// A space whose keys may enrol: what the proofs show of it. It lets in all but the creator, and changes its mind.
struct Team {
    other: Other,
    proofs: Vec<Vec<Shown>>,
}

impl Team {
    fn new() -> Self {
        let key = |person: usize| Subject::Key(author(PEOPLE[person]));
        let grant = |subject, permission| RuleOperator::Grant { subject, permission, keep: None };
        let cut = |subject| RuleOperator::Grant { subject, permission: None, keep: Some(Vec::new()) };
        let ted = Subject::Key(Other::key("ted").id());
        let tina = grant(Subject::Key(Other::key("tina").id()), admin(0));
        let first = vec![tina, grant(ted, admin(1)), grant(key(4), admin(2)), grant(key(5), write(4))];
        let mut other = Other::begin("tina", first);
        other.rule("more", "ted", &["genesis"], vec![grant(key(3), admin(2)), grant(key(5), admin(3))]);
        other.document("text", "ted", &["more"]);
        other.rule(
            "less",
            "tina",
            &["text"],
            vec![RuleOperator::Grant { subject: key(4), permission: write(5), keep: Some(Vec::new()) }],
        );
        other.rule("out", "tina", &["less"], vec![cut(key(4)), cut(key(5))]);
        // Beside what ted said, and against it.
        other.rule("no ted", "tina", &["genesis"], vec![cut(ted)]);
        other.rule("again", "tina", &["out"], vec![grant(key(4), admin(1))]);
        let heads: [&[&str]; 7] =
            [&["genesis"], &["more"], &["less"], &["out"], &["no ted"], &["more", "no ted"], &["again"]];
        let mut proofs: Vec<_> = heads.iter().map(|heads| other.proof(heads)).collect();
        // Only for who was shown the rest before.
        proofs.push(other.proof_above(&["out"], &["less"]));
        Self { other, proofs }
    }
}

static TEAM: LazyLock<Team> = LazyLock::new(Team::new);

/// How many times the usual number of samples.
fn effort() -> usize {
    std::env::var("DRIFTLESS_MODEL").ok().and_then(|effort| effort.parse().ok()).unwrap_or(1)
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Keep {
    Absent,
    Nothing,
    Heads,
    /// The heads' predecessors: a cut inside the chain.
    Below,
}

fn admin(strength: u32) -> Option<Permission> {
    Some(Permission::Admin(Strength(strength)))
}

fn write(strength: u32) -> Option<Permission> {
    Some(Permission::Write(Strength(strength)))
}

/// All labels for the small shapes: grant, revoke, demote, grant again, invites, by everyone about everyone.
fn alphabet() -> Vec<Label> {
    let mut labels = Vec::new();
    for by in 0..4 {
        for about in 1..6 {
            if by == about {
                continue;
            }
            labels.push(Label::Grant(by, Some(about), None, Keep::Heads));
            labels.push(Label::Grant(by, Some(about), None, Keep::Nothing));
            labels.push(Label::Grant(by, Some(about), write(9), Keep::Heads));
            labels.push(Label::Grant(by, Some(about), admin(2), Keep::Absent));
            labels.push(Label::Grant(by, Some(about), admin(6), Keep::Absent));
        }
        labels.extend([
            Label::Invite(by),
            Label::End(by, true, Keep::Nothing),
            Label::End(by, true, Keep::Heads),
        ]);
    }
    // Whoever was let in goes on: sock puppets.
    labels.push(Label::Grant(4, Some(5), write(12), Keep::Absent));
    labels.push(Label::Grant(4, Some(3), None, Keep::Nothing));
    labels.extend([4, 5].into_iter().flat_map(|by| [Label::Redeem(by, true), Label::Redeem(by, false)]));
    labels.extend([Label::Name(0), Label::Name(1)]);
    labels
}

/// What delegation is made of, by those who may and those who may not.
fn team_alphabet() -> Vec<Label> {
    let mut labels = Vec::new();
    for by in 0..3 {
        labels.push(Label::Team(by, None, Keep::Nothing));
        labels.push(Label::Team(by, None, Keep::Heads));
        labels.push(Label::Team(by, write(9), Keep::Heads));
        labels.push(Label::Team(by, admin(2), Keep::Absent));
        labels.push(Label::Team(by, admin(6), Keep::Absent));
    }
    for proof in 0..TEAM.proofs.len() {
        labels.extend([3, 4, 5].map(|by| Label::Enrol(by, true, proof)));
        labels.push(Label::Enrol(4, false, proof));
        labels.push(Label::Withdraw(0, 4, proof, Keep::Nothing));
        labels.push(Label::Withdraw(4, 5, proof, Keep::Heads));
        labels.push(Label::Withdraw(5, 4, proof, Keep::Nothing));
    }
    labels.extend([
        Label::Grant(1, Some(4), None, Keep::Nothing),
        Label::Grant(1, Some(4), write(9), Keep::Heads),
        Label::Grant(0, Some(5), admin(3), Keep::Absent),
        Label::Grant(4, Some(3), None, Keep::Nothing),
        Label::Grant(5, Some(2), write(30), Keep::Nothing),
        Label::Grant(1, Some(2), None, Keep::Nothing),
        Label::Team(4, None, Keep::Nothing),
        Label::Redeem(4, true),
        Label::Redeem(3, true),
        Label::Invite(5),
        Label::End(1, true, Keep::Nothing),
        Label::End(4, true, Keep::Heads),
        Label::Grant(1, None, None, Keep::Nothing),
        Label::Grant(0, None, Some(Permission::Read), Keep::Heads),
        Label::Grant(4, None, write(11), Keep::Absent),
        Label::Document(3),
        Label::Document(4),
        Label::Name(4),
    ]);
    labels
}

/// For the larger shapes also documents, anyone, and keeps of every kind.
fn any_label(random: &mut Random) -> Label {
    let by = random.below(PEOPLE.len());
    let keep = [Keep::Absent, Keep::Nothing, Keep::Heads, Keep::Below][random.below(4)];
    let permissions = [
        None,
        None,
        Some(Permission::Read),
        write(3),
        write(6),
        write(9),
        admin(1),
        admin(2),
        admin(4),
        admin(7),
    ];
    let permission = permissions[random.below(permissions.len())];
    let proof = random.below(TEAM.proofs.len());
    match random.below(18) {
        12 => Label::Team(by.min(2), permission, keep),
        13 | 14 => Label::Enrol(3 + random.below(3), random.below(4) > 0, proof),
        15 => Label::Withdraw(by, 3 + random.below(3), proof, keep),
        16 => Label::Document(4 + random.below(2)),
        0..=3 => Label::Grant(by.min(2), Some(1 + random.below(5)), permission, keep),
        4 => Label::Grant(by, Some(1 + random.below(5)), permission, keep),
        5 => Label::Grant(by.min(2), None, permission, keep),
        6 => Label::Invite(by.min(2)),
        7 => Label::Redeem(3 + random.below(3), random.below(2) == 0),
        8 => Label::End(by.min(2), random.below(2) == 0, keep),
        _ => Label::Document(by),
    }
}

fn ticket() -> InviteKey {
    InviteKey::from_secret(&[42; 32])
}

fn invite(strength: u32, uses: Option<u32>) -> RuleOperator {
    let permission = Permission::Write(Strength(strength));
    RuleOperator::Invite { key: ticket().public(), permission, uses, expires_ms: None }
}

fn genesis(anyone: bool, team: bool) -> Commit {
    let grant = |subject, permission| RuleOperator::Grant { subject, permission, keep: None };
    let key = |person: usize| Subject::Key(author(PEOPLE[person]));
    let mut operators = vec![
        invite(7, Some(1)),
        grant(key(0), admin(0)),
        grant(key(1), admin(1)),
        grant(key(2), admin(5)),
        grant(key(3), write(9)),
    ];
    if team {
        // Whoever comes through the team is not named by the genesis.
        operators.truncate(4);
        operators.push(grant(Subject::Space(TEAM.other.space()), admin(3)));
    }
    if anyone {
        operators.push(grant(Subject::Anyone, write(20)));
    }
    Commit {
        id: id("genesis"),
        author: author(PEOPLE[0]),
        time: Timestamp::from_ms(1),
        previous: None,
        parents: Vec::new(),
        operators: Some(operators),
    }
}

/// The labelled commit number `number` on top of `parents`, as its author would write it who sees only these.
fn commit(replica: &Replica, number: usize, salt: u64, parents: &[CommitId], label: Label) -> Commit {
    let ancestors = replica.ancestors(parents);
    let own = |author: &AuthorId| replica.own_heads(author, &ancestors);
    let (by, operators) = match label {
        Label::Document(by) => (by, None),
        Label::Name(by) => (by, Some(vec![RuleOperator::Name(format!("by {by}"))])),
        Label::Team(by, permission, keep) => {
            let subject = Subject::Space(TEAM.other.space());
            let keep = kept(replica, &[3, 4, 5], &ancestors, keep);
            (by, Some(vec![RuleOperator::Grant { subject, permission, keep }]))
        }
        Label::Enrol(by, first, proof) => {
            let newest =
                replica.rules.delegations().into_iter().rev().find(|it| ancestors.contains(&it.commit));
            let (grant, index) = match newest {
                Some(it) if !first => (it.commit, it.index),
                _ => (id("genesis"), 4),
            };
            let proof = TEAM.proofs[proof].clone();
            (by, Some(vec![RuleOperator::Enrol { grant, index, proof }]))
        }
        Label::Withdraw(by, about, proof, keep) => {
            let (space, key) = (TEAM.other.space(), author(PEOPLE[about]));
            let keep = kept(replica, &[about], &ancestors, keep).unwrap_or_default();
            let proof = TEAM.proofs[proof].clone();
            (by, Some(vec![RuleOperator::Withdraw { space, key, proof, keep }]))
        }
        Label::Invite(by) => (by, Some(vec![invite(10, None)])),
        Label::Redeem(by, first) => {
            let (space, invite) = (SpaceId::from(id("genesis")), invitation(replica, &ancestors, first));
            let proof = ticket().prove(&space, &invite, &author(PEOPLE[by]));
            (by, Some(vec![RuleOperator::Redeem { invite, index: 0, proof }]))
        }
        Label::End(by, first, keep) => {
            let invite = invitation(replica, &ancestors, first);
            let redeemed = |of: &CommitId| {
                let (from, _) = replica.rules.redeemed_by(replica.rules.index_of(of)?)?;
                (replica.rules.id_of(from)? == invite).then_some(*of)
            };
            let kept = ancestors.iter().filter_map(redeemed).filter(|_| keep != Keep::Nothing).collect();
            (by, Some(vec![RuleOperator::EndInvite { invite, index: 0, keep: kept }]))
        }
        Label::Grant(by, about, permission, keep) => {
            let subject = about.map_or(Subject::Anyone, |about| Subject::Key(author(PEOPLE[about])));
            let people = about.map_or(vec![4, 5], |about| vec![about]);
            let keep = kept(replica, &people, &ancestors, keep);
            (by, Some(vec![RuleOperator::Grant { subject, permission, keep }]))
        }
    };
    let author = author(PEOPLE[by]);
    let previous = own(&author).first().copied();
    // Times say nothing about the order, as if every clock were wrong.
    let time = Timestamp::from_ms(2 + (number as u64 * 7 + salt) % 5);
    Commit {
        id: id(&format!("{salt} {number}")),
        author,
        time,
        previous,
        parents: parents.to_vec(),
        operators,
    }
}

fn kept(
    replica: &Replica,
    people: &[usize],
    ancestors: &BTreeSet<CommitId>,
    keep: Keep,
) -> Option<Vec<CommitId>> {
    let authors: Vec<AuthorId> = people.iter().map(|person| author(PEOPLE[*person])).collect();
    let kept: BTreeSet<CommitId> = match keep {
        Keep::Absent => return None,
        Keep::Nothing => BTreeSet::new(),
        Keep::Heads => authors.iter().flat_map(|author| replica.own_heads(author, ancestors)).collect(),
        Keep::Below => authors.iter().flat_map(|author| below(replica, author, ancestors)).collect(),
    };
    Some(kept.into_iter().collect())
}

fn below(replica: &Replica, author: &AuthorId, ancestors: &BTreeSet<CommitId>) -> Vec<CommitId> {
    let heads = replica.own_heads(author, ancestors);
    replica.own_heads(author, &ancestors.iter().filter(|id| !heads.contains(id)).copied().collect())
}

fn invitation(replica: &Replica, ancestors: &BTreeSet<CommitId>, first: bool) -> CommitId {
    if first {
        return id("genesis");
    }
    let open = replica.rules.invitations().into_iter().rev();
    open.map(|invite| invite.commit).find(|id| ancestors.contains(id)).unwrap_or(id("genesis"))
}

/// All shapes of `count` commits above genesis (number 0): per commit its parents, which are heads of what it sees.
/// Numbered so that parents come first; every partial order is among them.
fn shapes(count: usize) -> Vec<Vec<Vec<usize>>> {
    let mut shapes = vec![Vec::<Vec<usize>>::new()];
    for next in 1..=count {
        shapes = shapes
            .iter()
            .flat_map(|shape| {
                antichains(shape, next).into_iter().map(|parents| [&shape[..], &[parents]].concat())
            })
            .collect();
    }
    shapes
}

fn antichains(shape: &[Vec<usize>], next: usize) -> Vec<Vec<usize>> {
    let mut below = vec![0u32];
    for parents in shape {
        below.push(parents.iter().fold(0, |all, parent| all | below[*parent] | 1 << parent));
    }
    let members = |set: u32| (0..next).filter(move |at| set >> at & 1 == 1);
    let is_antichain = |set: &u32| members(*set).all(|at| below[at] & set == 0);
    (1u32..1 << next).filter(is_antichain).map(|set| members(set).collect()).collect()
}

/// All orders of the commits, genesis left out, in which parents come first.
fn deliveries(shape: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let (mut done, mut open) = (Vec::new(), vec![Vec::new()]);
    while let Some(order) = open.pop() {
        if order.len() == shape.len() {
            done.push(order);
            continue;
        }
        for next in 1..=shape.len() {
            let ready = shape[next - 1].iter().all(|parent| *parent == 0 || order.contains(parent));
            if ready && !order.contains(&next) {
                open.push([&order[..], &[next]].concat());
            }
        }
    }
    done
}

#[derive(Debug, Default)]
struct Count {
    labelled: usize,
    orders: usize,
    commits: usize,
    refused: usize,
    void: usize,
    overshoot: usize,
    enrolled: usize,
    withdrawn: usize,
}

impl Count {
    /// Gives the commits of a shape their labels, from `choose`. A commit on a refused one is left out.
    fn build(
        &mut self,
        shape: &[Vec<usize>],
        (anyone, team): (bool, bool),
        mut choose: impl FnMut(usize, u32) -> Option<Label>,
    ) -> Vec<Commit> {
        self.labelled += 1;
        let salt = self.labelled as u64 % 97;
        let genesis = genesis(anyone, team);
        let mut replica = Replica::new(&genesis).unwrap();
        let mut commits: Vec<Option<Commit>> = vec![Some(genesis)];
        for (number, parents) in (1..).zip(shape) {
            let parents: Option<Vec<_>> =
                parents.iter().map(|parent| Some(commits[*parent].as_ref()?.id)).collect();
            let mut made = None;
            if let Some(parents) = parents.filter(|parents| parents.iter().all(|id| admitted(&replica, id))) {
                for attempt in 0.. {
                    let Some(label) = choose(number, attempt) else { break };
                    let commit = commit(&replica, number, salt, &parents, label);
                    let done = replica.deliver(&commit).is_ok();
                    made = Some(commit);
                    if done {
                        break;
                    }
                }
            }
            commits.push(made);
        }
        commits.into_iter().flatten().collect()
    }

    /// One result for every order, the same as the naive one; and the laws.
    fn check(&mut self, commits: &[Commit], orders: impl Iterator<Item = Vec<Commit>>) {
        let expected = naive::judge(commits);
        let mut members = None;
        for order in orders {
            let replica = replay(&order);
            assert_eq!(replica.judgement(), expected, "the twins or two orders disagree: {order:#?}");
            let result = (replica.rules.members(), replica.rules.name().map(str::to_owned));
            let first = members.get_or_insert_with(|| result.clone());
            assert_eq!(*first, result, "the order of arrival mattered: {order:#?}");
            if self.orders.is_multiple_of(16) {
                prefixes_agree(&order);
            }
            self.orders += 1;
        }
        let replica = replay(commits);
        let zero = replica.rules.members().get(&Subject::Key(author("creator"))).copied();
        assert_eq!(zero, admin(0), "the creator stays an admin: {commits:#?}");
        let over = |invite: &driftless_core::verdict::Invitation| {
            invite.uses.is_some_and(|uses| invite.redeemed > uses)
        };
        self.overshoot += usize::from(replica.rules.invitations().iter().any(over));
        for commit in commits.iter().filter(|commit| expected.admitted.contains(&commit.id)) {
            match commit.operators.as_deref() {
                Some([RuleOperator::Enrol { .. }]) => self.enrolled += 1,
                Some([RuleOperator::Withdraw { .. }]) => self.withdrawn += 1,
                _ => {}
            }
        }
        grounded(&replica, commits, &expected);
        self.commits += commits.len() - 1;
        self.refused += commits.len() - expected.admitted.len();
        self.void += expected.admitted.len() - expected.counting.len();
    }

    fn print(&self, what: &str, shapes: usize) {
        println!(
            "{what}: {shapes} shapes, {} labelled histories of {} commits ({} refused, {} void, {} with an overshoot, {} enrolled, {} withdrawn), {} deliveries",
            self.labelled,
            self.commits,
            self.refused,
            self.void,
            self.overshoot,
            self.enrolled,
            self.withdrawn,
            self.orders
        );
    }
}

fn admitted(replica: &Replica, id: &CommitId) -> bool {
    replica.judgement().admitted.contains(id)
}

fn prefixes_agree(order: &[Commit]) {
    for end in 1..order.len() {
        assert_eq!(replay(&order[..end]).judgement(), naive::judge(&order[..end]), "a part of {order:#?}");
    }
}

/// Every rule commit that counts rests on counting statements from genesis, each by a strictly stronger commit.
fn grounded(replica: &Replica, commits: &[Commit], judgement: &Judgement) {
    let strength = |id: &CommitId| {
        let index = replica.rules.index_of(id)?;
        let inside = match replica.rules.via_of(index) {
            Some(Via::Space(inside)) => i64::from(inside.0) + 1,
            _ => 0,
        };
        Some((replica.rules.strength_of(index).map_or(-1, |strength| i64::from(strength.0)), inside))
    };
    let counting: BTreeMap<CommitId, &Commit> = commits
        .iter()
        .filter(|commit| judgement.counting.contains(&commit.id) && commit.operators.is_some())
        .map(|commit| (commit.id, commit))
        .collect();
    let mut good: BTreeSet<CommitId> = BTreeSet::from([id("genesis")]);
    loop {
        let next = counting.values().find(|x| {
            let need = strength(&x.id).unwrap();
            !good.contains(&x.id)
                && replica.ancestors(&x.parents).iter().filter(|g| good.contains(*g)).any(|g| {
                    let by = strength(g).unwrap();
                    by < need && gives(counting[g], x).contains(&need)
                        || entered(counting[g], x) && by <= need && g != &x.id
                })
        });
        match next {
            Some(next) => good.insert(next.id),
            None => break,
        };
    }
    let without: Vec<_> =
        counting.keys().filter(|id| !good.contains(id)).map(|id| (id, strength(id))).collect();
    assert!(without.is_empty(), "{without:?} count without a ground: {commits:#?}");
    for index in 0..replica.rules.rule_count() {
        let index = RuleIndex(index);
        let counts = replica.rules.rule_verdict(index) == Some(Verdict::Counts);
        assert_eq!(counts, counting.contains_key(&replica.rules.id_of(index).unwrap()));
    }
}

/// Whether the author of `x` entered by `g`: what it has then may since have become weaker.
fn entered(g: &Commit, x: &Commit) -> bool {
    let entry = |operator: &RuleOperator| {
        matches!(operator, RuleOperator::Enrol { .. } | RuleOperator::Redeem { .. })
    };
    g.author == x.author && g.operators.iter().flatten().any(entry)
}

/// The strengths that `g` gives to the author of `x`, or to `x` as a redemption or an enrolment.
fn gives(g: &Commit, x: &Commit) -> Vec<(i64, i64)> {
    let redeems = |index: usize| {
        matches!(x.operators.as_deref(), Some([RuleOperator::Redeem { invite, index: at, .. }])
            if *invite == g.id && *at as usize == index)
    };
    let mut strengths = Vec::new();
    for (index, operator) in g.operators.iter().flatten().enumerate() {
        match operator {
            RuleOperator::Grant { subject, permission: Some(permission), .. }
                if *subject == Subject::Key(x.author) || *subject == Subject::Anyone =>
            {
                strengths.push((i64::from(permission.strength().0), 0));
            }
            RuleOperator::Grant { subject: Subject::Space(_), permission: Some(permission), .. } => {
                // The strength inside is one that the team gives to somebody.
                let enrols = |operator: &RuleOperator| {
                    matches!(operator, RuleOperator::Enrol { grant, index: at, .. }
                    if *grant == g.id && *at as usize == index)
                };
                if x.operators.iter().flatten().any(enrols) {
                    let given = [i64::from(permission.strength().0), i64::from(u32::MAX)];
                    strengths.extend(given.iter().flat_map(|p| (1..=5).map(|inside| (*p, inside + 1))));
                }
            }
            RuleOperator::Invite { permission, .. } if redeems(index) => {
                strengths.push((i64::from(permission.strength().0), 0));
            }
            _ => {}
        }
    }
    strengths
}

fn in_order(commits: &[Commit], order: &[usize], salt: u64) -> Vec<Commit> {
    let wanted = std::iter::once(id("genesis")).chain(order.iter().map(|n| id(&format!("{salt} {n}"))));
    wanted.filter_map(|id| commits.iter().find(|commit| commit.id == id).cloned()).collect()
}

#[test]
fn all_shapes_of_up_to_four_rule_commits_in_all_orders_of_arrival() {
    let labels = alphabet();
    let mut random = Random::new(1);
    for count in 1..=4 {
        let shapes = shapes(count);
        assert_eq!(shapes.len(), [1, 2, 7, 40][count - 1]);
        let mut counted = Count::default();
        for shape in &shapes {
            let orders = deliveries(shape);
            // One and two commits with every label; beyond that a sample for each shape.
            let all = labels.len().pow(count as u32);
            let samples = if count <= 2 { all } else { [600, 150][count - 3] * effort() };
            for sample in 0..samples {
                let choose = |number: usize, attempt: u32| {
                    if count <= 2 {
                        let at = sample / labels.len().pow(number as u32 - 1) % labels.len();
                        (attempt == 0).then(|| labels[at])
                    } else {
                        (attempt < 4).then(|| labels[random.below(labels.len())])
                    }
                };
                let commits = counted.build(shape, (false, false), choose);
                let salt = counted.labelled as u64 % 97;
                counted.check(&commits, orders.iter().map(|order| in_order(&commits, order, salt)));
            }
        }
        counted.print(&format!("{count} rule commits, all orders"), shapes.len());
    }
}

#[test]
fn samples_of_five_and_six_commits_with_documents() {
    let mut random = Random::new(2);
    for (count, samples) in [(5, 2_000), (6, 3_000)] {
        let mut counted = Count::default();
        let mut seen = BTreeSet::new();
        for sample in 0..samples * effort() {
            let mut shape: Vec<Vec<usize>> = Vec::new();
            for next in 1..=count {
                let choices = antichains(&shape, next);
                shape.push(choices[random.below(choices.len())].clone());
            }
            let mut labels = random.clone();
            let commits = counted.build(&shape, (sample % 4 == 0, sample % 2 == 0), |_, attempt| {
                (attempt < 6).then(|| any_label(&mut labels))
            });
            random = labels;
            seen.insert(shape);
            let orders: Vec<_> = (0..4).map(|_| random.delivery(&commits)).collect();
            counted.check(&commits, orders.into_iter());
        }
        counted.print(&format!("{count} commits, sampled"), seen.len());
    }
}

#[test]
fn delegation_in_all_shapes_of_up_to_four_rule_commits_in_all_orders_of_arrival() {
    let labels = team_alphabet();
    let mut random = Random::new(3);
    for count in 1..=4 {
        let shapes = shapes(count);
        let mut counted = Count::default();
        for shape in &shapes {
            let orders = deliveries(shape);
            let samples = if count == 1 { labels.len() } else { [1_200, 200, 60][count - 2] * effort() };
            for sample in 0..samples {
                let choose = |_: usize, attempt: u32| match count {
                    1 => (attempt == 0).then(|| labels[sample]),
                    _ => (attempt < 5).then(|| labels[random.below(labels.len())]),
                };
                let commits = counted.build(shape, (sample % 5 == 0, true), choose);
                let salt = counted.labelled as u64 % 97;
                counted.check(&commits, orders.iter().map(|order| in_order(&commits, order, salt)));
            }
        }
        counted.print(&format!("{count} rule commits with delegation, all orders"), shapes.len());
        assert!(counted.enrolled > 0);
    }
}
