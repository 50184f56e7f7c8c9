//! What the rules let each key do now, which statement decided that, and why a commit does not count: in words.
//!
//! It judges nothing itself: it asks the rules, which keep what they decided by.

use std::collections::BTreeSet;

use driftless_core::clock::{Timestamp, utc};
use driftless_core::commit::Kind;
use driftless_core::id::{AuthorId, CommitId, SpaceId};
use driftless_core::rules::{Permission, Subject};
use driftless_core::verdict::{FrontierId, RuleIndex, Rules, Source, Statement, Verdict};
use driftless_store::Storage;

use crate::error::Error;
use crate::peers;
use crate::space::Space;
use crate::state::replica::{self, Facts, Replica};
use crate::tables::layout::{LogKey, Row};

// Void commits that rest on void commits: so many are told of.
const DEEP: usize = 8;

/// What a key, or anyone, may do now, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Effective {
    /// A key, or anyone.
    pub subject: Subject,
    /// What it may do; `None` is nothing.
    pub permission: Option<Permission>,
    /// Whether it is what anyone may: no statement that counts names the key.
    pub as_anyone: bool,
    /// Whether this database signs with that key.
    pub you: bool,
    /// The statements that decided, the newest first. Several are concurrent: the weakest of them holds.
    pub decided_by: Vec<Ruling>,
    /// Statements about it that do not count.
    pub void: Vec<Ruling>,
}

/// One statement of a rule commit about a subject.
#[derive(Debug, Clone, PartialEq)]
pub struct Ruling {
    /// The rule commit.
    pub commit: CommitId,
    /// Who made it.
    pub author: AuthorId,
    /// When, by its author's clock.
    pub time: Timestamp,
    /// What it gives; `None` takes everything away.
    pub permission: Option<Permission>,
    /// Whom it names: the key, or anyone.
    pub about: Subject,
    /// `genesis`, `grant`, `invite` or `enrolment`.
    pub kind: &'static str,
    /// Of an enrolment, the space that lets the key in.
    pub through: Option<SpaceId>,
    /// Why it does not count, if it does not.
    pub void: Option<String>,
}

impl Space {
    /// What each key may do now and why: those that statements name, also removed ones, those that wrote here, and anyone;
    /// the strongest first. With a key only that one.
    pub fn effective(&self, key: Option<AuthorId>) -> Result<Vec<Effective>, Error> {
        self.database().read(|engine| {
            let own = engine.author();
            engine.present(&self.id())?;
            let (storage, replica) = engine.parts(&self.id())?;
            let mut subjects = BTreeSet::new();
            match key {
                Some(key) => drop(subjects.insert(Subject::Key(key))),
                None => {
                    subjects = replica.rules.subjects();
                    subjects.insert(Subject::Anyone);
                    let numbers: BTreeSet<u32> = replica.tips.keys().map(|(author, _)| *author).collect();
                    for number in numbers {
                        subjects.insert(Subject::Key(replica.author(storage, number)?));
                    }
                }
            }
            let mut effective = Vec::new();
            for subject in subjects {
                effective.push(effective_of(replica, subject, &own));
            }
            let strength = |permission: Option<Permission>| permission.map(Permission::strength);
            effective.retain(|one| {
                one.subject != Subject::Anyone || one.permission.is_some() || !one.decided_by.is_empty()
            });
            effective.sort_by_key(|one| {
                (one.permission.is_none(), strength(one.permission), one.as_anyone, one.subject)
            });
            Ok(effective)
        })
    }
}

impl Space {
    /// Whom a word names: `*` is anyone, a space id those that this space lets in; else an author id, the name of a user of
    /// this database (all devices of the user, where there is an identity), or the first 8 or more characters of a key
    /// that the space, its log or a peer knows.
    pub fn find_subject(&self, word: &str) -> Result<Subject, Error> {
        if word == "*" {
            return Ok(Subject::Anyone);
        }
        if let Ok(space) = word.parse::<SpaceId>() {
            return Ok(Subject::Space(space));
        }
        let identity = self.database().read(|engine| {
            let Some(user) = engine.users.get(word) else { return Ok(None) };
            let (key, identity) = (user.default_key(), user.identity);
            let rules = &engine.present(&self.id())?.rules;
            // Who was granted something as a key is found as one, so that the same word takes it away.
            let as_key =
                |space| rules.is_named(&key) && !rules.members().contains_key(&Subject::Space(space));
            Ok(identity.filter(|space| !as_key(*space)))
        })?;
        match identity {
            Some(identity) => Ok(Subject::Space(identity)),
            None => self.find_key(word).map(Subject::Key),
        }
    }

    /// The key that a word names: an author id, the name of a user of this database, or the first 8 or more characters
    /// of a key that the space, its log or a peer knows.
    pub fn find_key(&self, word: &str) -> Result<AuthorId, Error> {
        if let Ok(author) = word.parse::<AuthorId>() {
            return Ok(author);
        }
        self.database().read(|engine| {
            if let Some(user) = engine.users.get(word) {
                return Ok(user.default_key());
            }
            engine.present(&self.id())?;
            let met = engine.met.values().flat_map(|met| met.authors.iter().copied());
            let mut known: BTreeSet<AuthorId> = met.collect();
            known.extend(peers::list(engine.storage.as_ref())?.into_iter().flat_map(|peer| peer.authors));
            let (storage, replica) = engine.parts(&self.id())?;
            known.extend(replica.rules.subjects().into_iter().filter_map(|subject| match subject {
                Subject::Key(author) => Some(author),
                Subject::Anyone | Subject::Space(_) => None,
            }));
            let numbers: BTreeSet<u32> = replica.tips.keys().map(|(author, _)| *author).collect();
            for number in numbers {
                known.insert(replica.author(storage, number)?);
            }
            let mut fits = known.into_iter().filter(|author| author.has_prefix(word));
            match (fits.next(), fits.next()) {
                (Some(author), None) => Ok(author),
                (Some(_), Some(_)) => Err(Error::Ambiguous { what: "key", name: word.to_owned() }),
                (None, _) => Err(Error::not_found("key", word)),
            }
        })
    }
}

fn effective_of(replica: &mut Replica, subject: Subject, own: &AuthorId) -> Effective {
    let rules = &replica.rules;
    let (permission, decided) = match &subject {
        Subject::Key(key) => (rules.member(key).map(|standing| standing.permission), rules.deciding(key)),
        Subject::Anyone | Subject::Space(_) => {
            (rules.members().get(&subject).copied(), rules.deciding_about(subject))
        }
    };
    let void: Vec<Statement> = rules
        .statements(&subject)
        .filter(|statement| rules.rule_verdict(statement.rule) != Some(Verdict::Counts))
        .collect();
    let as_anyone =
        matches!(subject, Subject::Key(_)) && decided.iter().all(|one| one.subject == Subject::Anyone);
    let rules = &mut replica.rules;
    let decided_by = decided.iter().map(|statement| ruling(rules, statement)).collect();
    let void = void.iter().map(|statement| ruling(rules, statement)).collect();
    Effective { subject, permission, as_anyone, you: subject == Subject::Key(*own), decided_by, void }
}

/// A statement for people.
pub(crate) fn ruling(rules: &mut Rules, statement: &Statement) -> Ruling {
    let Statement { commit, author, time, permission, subject, .. } = *statement;
    let void = why_rule_void(rules, statement.rule);
    let through = match statement.source {
        Source::Enrolment(_, space) => Some(space),
        _ => None,
    };
    let kind = match statement.source {
        Source::Genesis => "genesis",
        Source::Grant => "grant",
        Source::Invite(_) => "invite",
        Source::Enrolment(..) => "enrolment",
    };
    Ruling { commit, author, time, permission, about: subject, kind, through, void }
}

impl Ruling {
    /// One line: what it says, in which commit, by whom, when.
    pub fn text(&self) -> String {
        let Self { commit, author, time, permission, about, kind, through, void } = self;
        let word = permission.map_or_else(|| "none".to_owned(), |permission| permission.to_string());
        let whom = match about {
            Subject::Key(_) => String::new(),
            Subject::Anyone => " for anyone".to_owned(),
            Subject::Space(space) => format!(" for those of space {space}"),
        };
        let what = match (*kind, permission) {
            (_, _) if through.is_some() => {
                let by = through.map(|space| format!(" by space {space}")).unwrap_or_default();
                format!("{word}, enrolled{by}")
            }
            ("genesis", _) => format!("{word}{whom} from the beginning"),
            ("invite", _) => format!("{word} by an invite"),
            (_, None) => format!("removed{whom}"),
            _ => format!("{word}{whom}"),
        };
        let why = void.as_ref().map(|why| format!(" (void: {why})")).unwrap_or_default();
        format!("{what}, by {commit} of {author} at {} UTC{why}", utc(time.ms()))
    }
}

/// What decided, behind a sentence.
pub(crate) fn decision(rules: &mut Rules, decided: &[Statement]) -> String {
    let told: Vec<String> = decided.iter().map(|statement| ruling(rules, statement).text()).collect();
    let together = if told.len() > 1 { "; of concurrent statements the weakest holds: " } else { ": " };
    if told.is_empty() { String::new() } else { format!("{together}{}", told.join("; ")) }
}

/// Why a commit of the log has no effect by the rules; `None` if they let it count.
pub(crate) fn why_void(
    storage: &dyn Storage,
    replica: &mut Replica,
    at: LogKey,
    row: &Row,
) -> Result<Option<String>, Error> {
    let author = replica.author(storage, row.author)?;
    let rule = replica.rule_at.get(&at.seq()).copied();
    let rules = &mut replica.rules;
    if row.kind == Kind::Rules {
        return Ok(rule.and_then(|rule| why_rule_void(rules, rule)));
    }
    let place = Replica::place(&Facts::of(at, row));
    let frontier = FrontierId(row.frontier);
    let (strength, via) = replica::strength(row);
    let verdict = rules.verdict(&author, frontier, strength, via, place);
    Ok(why(rules, verdict, &author, frontier))
}

/// Why a rule commit does not count, if it does not.
pub(crate) fn why_rule_void(rules: &mut Rules, rule: RuleIndex) -> Option<String> {
    rule_void(rules, rule, DEEP)
}

/// Why a document commit that its author wrote on a frontier does not count, if it does not.
pub(crate) fn why(
    rules: &mut Rules,
    verdict: Verdict,
    author: &AuthorId,
    frontier: FrontierId,
) -> Option<String> {
    void(rules, verdict, author, Some(frontier), DEEP)
}

fn rule_void(rules: &mut Rules, rule: RuleIndex, deep: usize) -> Option<String> {
    let verdict = rules.rule_verdict(rule)?;
    let (_, author, _) = rules.made_by(rule)?;
    if let (Verdict::PermissionLost, Some((invite, _))) = (verdict, rules.redeemed_by(rule)) {
        let below = deeper(rules, invite, deep);
        return Some(format!("its invite, {}, does not count{below}", rule_text(rules, invite)));
    }
    let frontier = rules.frontier_of(rule);
    void(rules, verdict, &author, frontier, deep)
}

fn void(
    rules: &mut Rules,
    verdict: Verdict,
    author: &AuthorId,
    frontier: Option<FrontierId>,
    deep: usize,
) -> Option<String> {
    match verdict {
        Verdict::Counts => None,
        Verdict::CutBy(rule) => Some(format!("{} does not keep it", rule_text(rules, rule))),
        Verdict::PermissionLost => {
            let decided = frontier.and_then(|frontier| rules.decided_at(frontier, author).ok());
            let fallen = decided
                .into_iter()
                .flatten()
                .find(|statement| rules.rule_verdict(statement.rule) != Some(Verdict::Counts));
            Some(match fallen {
                Some(Statement { rule, .. }) => {
                    let below = deeper(rules, rule, deep);
                    let on = rule_text(rules, rule);
                    format!("its author's permission rested on {on}, which does not count{below}")
                }
                None => "what its author's permission rested on does not hold any more".to_owned(),
            })
        }
    }
}

fn deeper(rules: &mut Rules, rule: RuleIndex, deep: usize) -> String {
    let why = deep.checked_sub(1).and_then(|deep| rule_void(rules, rule, deep));
    why.map(|why| format!(": {why}")).unwrap_or_default()
}

// A rule commit: its id, its author and its time.
fn rule_text(rules: &Rules, rule: RuleIndex) -> String {
    let told = rules.made_by(rule);
    let told = told.map(|(id, author, time)| format!("{id} of {author} at {} UTC", utc(time.ms())));
    told.unwrap_or_else(|| "a rule commit".to_owned())
}
