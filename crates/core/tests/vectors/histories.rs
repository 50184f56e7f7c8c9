//! Histories of rules: which commits are admitted, and which of them count. The examples b1 to b6 of docs/rules.md.

use std::collections::BTreeSet;

use driftless_core::cbor::{Reader, Writer, check};
use driftless_core::clock::Timestamp;
use driftless_core::id::CommitId;
use driftless_core::rules::invite::InviteKey;
use driftless_core::rules::{Permission, RuleOperator, Strength, Subject, decode, encode};
use driftless_core::verdict::naive::{self, Commit};
use serde::{Deserialize, Serialize};

use crate::replica::{Other, Random, Replica, author, id, replay};
use crate::{Hex, hold};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    about: String,
    histories: Vec<History>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct History {
    name: String,
    commits: Vec<Line>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    name: String,
    id: String,
    by: String,
    author: String,
    time: String,
    #[serde(deserialize_with = "Option::deserialize")]
    previous: Option<String>,
    parents: Vec<String>,
    // Of rule commits only.
    #[serde(deserialize_with = "Option::deserialize")]
    operators: Option<Hex>,
    #[serde(deserialize_with = "Option::deserialize")]
    refused: Option<String>,
    counts: bool,
}

impl Line {
    fn commit(&self) -> Commit {
        let operators = self.operators.as_ref().map(|bytes| {
            check(&bytes.0, 72).unwrap();
            let operators = decode(&mut Reader::new(&bytes.0)).unwrap();
            assert_eq!(operator_bytes(&operators), bytes.0, "{}", self.name);
            operators
        });
        Commit {
            id: self.id.parse().unwrap(),
            author: self.author.parse().unwrap(),
            time: Timestamp(self.time.parse().unwrap()),
            previous: self.previous.as_ref().map(|text| text.parse().unwrap()),
            parents: self.parents.iter().map(|text| text.parse().unwrap()).collect(),
            operators,
        }
    }
}

fn operator_bytes(operators: &[RuleOperator]) -> Vec<u8> {
    let mut writer = Writer::default();
    encode(operators, &mut writer);
    writer.finish()
}

fn admin(strength: u32) -> Option<Permission> {
    Some(Permission::Admin(Strength(strength)))
}

fn write(strength: u32) -> Option<Permission> {
    Some(Permission::Write(Strength(strength)))
}

fn grant(subject: &str, permission: Option<Permission>) -> RuleOperator {
    let subject = if subject == "*" { Subject::Anyone } else { Subject::Key(author(subject)) };
    RuleOperator::Grant { subject, permission, keep: None }
}

fn cut(subject: &str, permission: Option<Permission>, keep: &[&str]) -> RuleOperator {
    let keep: BTreeSet<CommitId> = keep.iter().map(|name| id(name)).collect();
    RuleOperator::Grant {
        subject: Subject::Key(author(subject)),
        permission,
        keep: Some(keep.into_iter().collect()),
    }
}

// Writes a history down while a replica judges it.
struct Scribe {
    name: &'static str,
    replica: Replica,
    lines: Vec<Line>,
}

impl Scribe {
    fn begin(name: &'static str, others: &[(&str, Option<Permission>)]) -> Self {
        let mut operators = vec![grant("ann", admin(0))];
        operators.extend(others.iter().map(|(name, permission)| grant(name, *permission)));
        let genesis = Commit {
            id: id("genesis"),
            author: author("ann"),
            time: Timestamp::from_ms(1),
            previous: None,
            parents: Vec::new(),
            operators: Some(operators),
        };
        let replica = Replica::new(&genesis).unwrap();
        let mut scribe = Self { name, replica, lines: Vec::new() };
        scribe.note("genesis", "ann", &genesis, None);
        scribe
    }

    fn note(&mut self, name: &str, by: &str, commit: &Commit, refused: Option<String>) {
        self.lines.push(Line {
            name: name.into(),
            id: commit.id.to_string(),
            by: by.into(),
            author: commit.author.to_string(),
            time: commit.time.0.to_string(),
            previous: commit.previous.map(|id| id.to_string()),
            parents: commit.parents.iter().map(CommitId::to_string).collect(),
            operators: commit.operators.as_deref().map(|operators| Hex(operator_bytes(operators))),
            refused,
            counts: false,
        });
    }

    fn add(
        mut self,
        name: &str,
        by: &str,
        parents: &[&str],
        ms: u64,
        operators: Option<Vec<RuleOperator>>,
    ) -> Self {
        let (who, parents) = (author(by), parents.iter().map(|name| id(name)).collect::<Vec<_>>());
        let own = self.replica.own_heads(&who, &self.replica.ancestors(&parents));
        let (previous, time) = (own.first().copied(), Timestamp::from_ms(ms));
        let commit = Commit { id: id(name), author: who, time, previous, parents, operators };
        let refused = self.replica.deliver(&commit).err().map(|refusal| refusal.to_string());
        self.note(name, by, &commit, refused);
        self
    }

    fn rule(self, name: &str, by: &str, parents: &[&str], operator: RuleOperator) -> Self {
        self.add(name, by, parents, 100, Some(vec![operator]))
    }

    fn document(self, name: &str, by: &str, parents: &[&str]) -> Self {
        self.add(name, by, parents, 100, None)
    }

    fn end(mut self) -> History {
        let counting = self.replica.judgement().counting;
        for line in &mut self.lines {
            line.counts = counting.contains(&line.id.parse().unwrap());
        }
        History { name: self.name.into(), commits: self.lines }
    }
}

fn histories() -> Vec<History> {
    let ticket = InviteKey::from_secret(&[42; 32]);
    let invite = |uses| RuleOperator::Invite {
        key: ticket.public(),
        permission: Permission::Write(Strength(6)),
        uses,
        expires_ms: None,
    };
    let space = id("genesis").into();
    let redeem = |joiner: &str| RuleOperator::Redeem {
        invite: id("ticket"),
        index: 0,
        proof: ticket.prove(&space, &id("ticket"), &author(joiner)),
    };
    let begin = Scribe::begin;
    // The team: the laptop, the phone and lee are let in; the phone goes.
    let owner = RuleOperator::Grant {
        subject: Subject::Key(Other::key("tina").id()),
        permission: admin(0),
        keep: None,
    };
    let first = vec![owner, grant("laptop", admin(1)), grant("phone", admin(3)), grant("lee", write(7))];
    let mut team = Other::begin("tina", first);
    team.rule("no phone", "tina", &["genesis"], vec![cut("phone", None, &[])]);
    let to_team =
        |permission| RuleOperator::Grant { subject: Subject::Space(team.space()), permission, keep: None };
    let enrol = |grant: &str, proof| RuleOperator::Enrol { grant: id(grant), index: 0, proof };
    let (before, after) = (team.proof(&["genesis"]), team.proof(&["no phone"]));
    let withdraw = |keep: &[&str], proof| RuleOperator::Withdraw {
        space: team.space(),
        key: author("phone"),
        proof,
        keep: keep.iter().map(|name| id(name)).collect(),
    };
    vec![
        begin("b1, sock puppets", &[("mallory", admin(1))])
            .document("m5", "mallory", &["genesis"])
            .rule("cut", "ann", &["m5"], cut("mallory", None, &["m5"]))
            .rule("m6", "mallory", &["m5"], grant("x", admin(2)))
            .rule("x1", "x", &["m6"], grant("y", write(3)))
            .document("y1", "y", &["x1"])
            .end(),
        begin("b2, backdated takeover", &[("mallory", admin(1)), ("bob", admin(2))])
            .rule("cut", "ann", &["genesis"], cut("mallory", None, &[]))
            .add("takeover", "mallory", &["genesis"], 50, Some(vec![cut("ann", None, &[])]))
            .add("coup", "mallory", &["genesis"], 50, Some(vec![cut("bob", None, &[])]))
            .end(),
        begin("b3, which branch", &[("mallory", write(5)), ("honest", write(5))])
            .document("m1", "mallory", &["genesis"])
            .document("m2", "mallory", &["m1"])
            .document("m3", "mallory", &["m2"])
            .document("h1", "honest", &["genesis"])
            .document("h2", "honest", &["h1"])
            .document("h2b", "honest", &["h1"])
            .document("h3b", "honest", &["h2b"])
            .add("cut", "ann", &["m3", "h2", "h3b"], 100, {
                Some(vec![cut("mallory", None, &["m3"]), cut("honest", None, &["h2", "h3b"])])
            })
            .document("m2x", "mallory", &["m1"])
            .document("m3x", "mallory", &["m2x"])
            .document("h3", "honest", &["h2"])
            .end(),
        begin("b4, granted again", &[("mallory", write(5))])
            .document("m5", "mallory", &["genesis"])
            .document("m6", "mallory", &["m5"])
            .rule("cut", "ann", &["m5"], cut("mallory", None, &["m5"]))
            .document("late", "mallory", &["m6", "cut"])
            .rule("again", "ann", &["cut"], grant("mallory", write(5)))
            .document("m8", "mallory", &["m6", "again"])
            .end(),
        begin("b5, the past of a stronger one", &[("yann", admin(1)), ("bea", admin(5))])
            .rule("y1", "yann", &["genesis"], grant("kim", write(7)))
            .document("k1", "kim", &["y1"])
            .rule("demote", "ann", &["k1"], cut("yann", write(9), &["y1"]))
            .document("y2", "yann", &["demote"])
            .rule("bea", "bea", &["demote"], cut("yann", None, &[]))
            .end(),
        begin("b6, the last admins", &[("bob", admin(0))])
            .rule("a1", "ann", &["genesis"], cut("ann", None, &["genesis"]))
            .rule("b1", "bob", &["genesis"], cut("bob", None, &[]))
            .rule("a2", "ann", &["genesis"], cut("bob", None, &[]))
            .rule("b2", "bob", &["genesis"], cut("ann", None, &["genesis"]))
            .end(),
        begin("an invite is redeemed as often as it says, along one history", &[])
            .rule("ticket", "ann", &["genesis"], invite(Some(1)))
            .rule("kim", "kim", &["ticket"], redeem("kim"))
            .document("k1", "kim", &["kim"])
            .rule("lee", "lee", &["k1"], redeem("lee"))
            .rule("thief", "eve", &["ticket"], redeem("kim"))
            .rule("leak", "eve", &["ticket"], redeem("eve"))
            .rule("end", "ann", &["kim"], {
                RuleOperator::EndInvite { invite: id("ticket"), index: 0, keep: vec![id("kim")] }
            })
            .end(),
        begin("anyone may write, but not a key that was named", &[("mute", None)])
            .rule("open", "ann", &["genesis"], grant("*", write(20)))
            .document("s1", "stranger", &["open"])
            .document("no", "mute", &["open"])
            .end(),
        begin("of two concurrent statements the weakest holds", &[("bob", admin(1))])
            .rule("a", "ann", &["genesis"], grant("carl", admin(5)))
            .rule("b", "bob", &["genesis"], grant("carl", write(3)))
            .document("c1", "carl", &["a", "b"])
            .rule("c2", "carl", &["a", "b"], grant("dora", write(9)))
            .end(),
        begin("d1, an old proof", &[])
            .rule("team", "ann", &["genesis"], to_team(write(5)))
            .rule("laptop", "laptop", &["team"], enrol("team", before.clone()))
            .rule("out", "laptop", &["laptop"], withdraw(&[], team.proof_above(&["no phone"], &["genesis"])))
            .rule("on top", "phone", &["out"], enrol("team", before.clone()))
            .rule("beside", "phone", &["team"], enrol("team", before.clone()))
            .document("p1", "phone", &["beside"])
            .end(),
        begin("d2, a team widened and narrowed", &[])
            .rule("team", "ann", &["genesis"], to_team(write(5)))
            .rule("laptop", "laptop", &["team"], enrol("team", before.clone()))
            .rule("wider", "ann", &["laptop"], to_team(admin(3)))
            .rule("no", "laptop", &["wider"], RuleOperator::Name("mine".into()))
            .rule("again", "laptop", &["wider"], enrol("wider", vec![]))
            .rule("yes", "laptop", &["again"], RuleOperator::Name("mine".into()))
            .rule("narrower", "ann", &["wider"], {
                let subject = Subject::Space(team.space());
                RuleOperator::Grant { subject, permission: write(9), keep: Some(vec![id("laptop")]) }
            })
            .document("l1", "laptop", &["yes"])
            .document("l2", "laptop", &["yes", "narrower"])
            .end(),
        begin("d3, a team rolled back", &[])
            .rule("team", "ann", &["genesis"], to_team(write(5)))
            .rule("lee", "lee", &["team"], enrol("team", after.clone()))
            .rule("back", "phone", &["lee"], enrol("team", before.clone()))
            .rule("beside", "phone", &["team"], enrol("team", before))
            .document("p1", "phone", &["beside"])
            .rule("out", "ann", &["lee", "p1"], withdraw(&["p1"], vec![]))
            .document("p2", "phone", &["p1"])
            .rule("gap", "laptop", &["team"], enrol("team", after[1..].to_vec()))
            .end(),
    ]
}

#[test]
fn rule_histories_end_as_the_vectors_say_in_any_order_of_arrival() {
    let about = "Ids of commits stand for names: the hash of the name under driftless/commit-id/1; authors likewise \
                 under driftless/body/1. Parents hold previous too. operators: the payload of a rule body; null for \
                 document commits. refused: not admitted, a sentence of ours. counts: has effect once all are here.";
    let file = File { about: about.into(), histories: histories() };
    hold("histories", &file, |file: File| {
        let mut random = Random::new(1);
        for History { name, commits: lines } in &file.histories {
            let commits: Vec<Commit> = lines.iter().map(Line::commit).collect();
            let judgement = naive::judge(&commits);
            for line in lines {
                let id = line.id.parse().unwrap();
                assert_eq!(judgement.admitted.contains(&id), line.refused.is_none(), "{name}: {}", line.name);
                assert_eq!(judgement.counting.contains(&id), line.counts, "{name}: {}", line.name);
            }
            for _ in 0..10 {
                assert_eq!(replay(&random.delivery(&commits)).judgement(), judgement, "{name}");
            }
        }
    });
}
