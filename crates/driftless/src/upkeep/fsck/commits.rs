//! The log of a space, commit by commit: hashes, signatures and who vouches, chains, times, rights, and the small tables
//! that are derived from it as commits arrive.

use std::collections::{BTreeMap, BTreeSet};

use driftless_core::commit::{Header, Kind, RuleBody, body_hash, commit_id};
use driftless_core::id::SpaceId;
use driftless_core::limits::MAX_RUN;
use driftless_core::rules::{Permission, Strength};
use driftless_core::sign::verify_commit;
use driftless_core::verdict::{FrontierId, RuleIndex, Via};
use driftless_store::Storage;

use super::{BODY, COMMIT, Checker, DERIVED, FoundSpace, count_at};
use crate::door::ingest::proof;
use crate::error::Error;
use crate::state::replica::{self, Facts, Head, Replica, Tip};
use crate::tables::layout::{self, LogKey, LogSeq, Row};
use crate::tables::log;
use crate::tables::pack;

// What the small tables of a space say, to be compared with what its log says.
struct Stored {
    tips: BTreeMap<(u32, u32), Tip>,
    heads: BTreeMap<LogSeq, Head>,
    held: BTreeSet<u64>,
    rule_at: BTreeMap<LogSeq, RuleIndex>,
    next: LogSeq,
    log_digest: [u8; 32],
    commits: u64,
    time: driftless_core::clock::Timestamp,
}

// What is carried from commit to commit.
struct Walk {
    replica: Option<Replica>,
    stored: Option<Stored>,
    // Commits that no signature vouches for yet.
    open: BTreeSet<LogSeq>,
    bodies: u64,
    rules: BTreeSet<LogSeq>,
    proofs: u64,
}

impl Checker<'_> {
    // Walks the log of a space; returns the space as its log makes it, if its small tables could be loaded.
    pub(super) fn commits(&mut self, found: &FoundSpace) -> Option<Replica> {
        self.stage("commits");
        let loaded = Replica::load(self.storage, found.number);
        let loaded = self.note(loaded, "space", DERIVED);
        let (replica, stored) = loaded.map(|loaded| split(loaded, found)).unzip();
        let (open, rules) = (BTreeSet::new(), BTreeSet::new());
        let mut walk = Walk { replica, stored, open, bodies: 0, rules, proofs: 0 };
        for at in 1..=found.last {
            self.step();
            self.report.commits += 1;
            let key = LogKey::new(found.number, at);
            let row = log::row(self.storage, key);
            match self.note(row, "log_row", COMMIT) {
                Some(row) => self.commit(found, key, &row, &mut walk),
                // What stands on it can be checked by itself, and not against what is before it.
                None => walk.replica = None,
            }
        }
        self.vouched(found, &mut walk);
        let counted = self.counted(found, &walk);
        self.note(counted, "log_row", COMMIT);
        let Walk { replica, stored, .. } = walk;
        let (replica, stored) = (replica?, stored?);
        self.compare(&replica, &stored);
        Some(replica)
    }

    fn commit(&mut self, found: &FoundSpace, key: LogKey, row: &Row, walk: &mut Walk) {
        let at = key.seq();
        let before = self.named();
        if row.previous.iter().chain(&row.parents).any(|parent| *parent == 0 || *parent >= at) {
            self.problem("log_row", format!("commit {at} stands on none that is before it"), COMMIT);
            walk.replica = None;
            return;
        }
        let body = log::body(self.storage, key);
        let body = self.note(body, "body", BODY).flatten();
        walk.bodies += u64::from(body.is_some());
        let header = log::header(self.storage, &found.id, key, row, body.as_deref());
        if let Some(header) = self.note(header, "log_row", COMMIT) {
            self.hashes(key, row, &header, body.as_deref());
            self.signature(key, row, &header, &mut walk.open);
            self.links(found, key, row);
        }
        if row.kind == Kind::Rules {
            walk.rules.insert(at);
            let decodes = body.as_deref().is_some_and(|body| RuleBody::decode(body).is_ok());
            if !decodes && self.named() == before {
                self.problem("body", format!("the rules of commit {} are not here", row.id), COMMIT);
            }
        }
        if self.named() > before {
            walk.replica = None;
        }
        if let (Some(replica), Some(stored)) = (&mut walk.replica, &walk.stored) {
            let replayed = self.replay(replica, stored, key, row);
            if self.note(replayed, "log_row", DERIVED).is_none() {
                walk.replica = None;
            }
        }
    }

    fn hashes(&mut self, key: LogKey, row: &Row, header: &Header, body: Option<&[u8]>) {
        let bytes = header.encode();
        if commit_id(&bytes) != row.id || Header::decode(&bytes).is_err() {
            let what = format!("commit {} at {} is not what its id says", row.id, key.seq());
            self.problem("commit", what, COMMIT);
            return;
        }
        let fits =
            |body: &[u8]| body.len() == row.body_length as usize && body_hash(body) == header.body_hash;
        if !body.is_none_or(fits) {
            self.problem(
                "body",
                format!("the body of commit {} is not the one that was signed", row.id),
                BODY,
            );
        }
        let found = log::find(self.storage, key.space(), &row.id);
        let found = self.note(found, "commit_id", DERIVED).flatten();
        self.expect(found.is_some_and(|(at, _)| at == key), "commit_id", || {
            format!("commit {} is not found by its id", row.id)
        });
        let author = log::known_author(self.storage, &header.author);
        let author = self.note(author, "author", DERIVED).flatten();
        self.expect(author == Some(row.author), "author", || {
            format!("author {} is not found by the key", header.author)
        });
    }

    // A signature vouches for its commit and for the run of `previous` before it.
    fn signature(&mut self, key: LogKey, row: &Row, header: &Header, open: &mut BTreeSet<LogSeq>) {
        let at = key.seq();
        if let Some((signature, true)) = row.signature {
            self.report.signatures += 1;
            if !verify_commit(&header.author, &row.id, &signature) {
                self.problem("signature", format!("the signature of commit {} is wrong", row.id), COMMIT);
            }
        } else {
            open.insert(at);
            return;
        }
        self.vouch_below(key.space(), row, open);
    }

    // Whatever vouches for a commit vouches for the run of `previous` before it.
    fn vouch_below(&self, space: u32, row: &Row, open: &mut BTreeSet<LogSeq>) {
        let (mut next, mut above) = (row.previous, (row.author, row.seq));
        while let Some(at) = next.filter(|at| open.contains(at)) {
            let Ok(row) = log::row(self.storage, LogKey::new(space, at)) else { return };
            if (row.author, row.seq.saturating_add(1)) != above {
                return;
            }
            open.remove(&at);
            (next, above) = (row.previous, (row.author, row.seq));
        }
    }

    // What of a commit its parents decide, rules aside.
    fn links(&mut self, found: &FoundSpace, key: LogKey, row: &Row) {
        let at = key.seq();
        let genesis = row.id.0 == found.id.0;
        let begins = row.previous.is_none() && row.parents.is_empty();
        if genesis != (at == 1) || begins != genesis {
            self.problem("log_row", format!("commit {} is not where its space begins", row.id), COMMIT);
        }
        let mut previous = None;
        for (nth, parent) in row.previous.iter().chain(&row.parents).enumerate() {
            // One that is damaged is named by itself.
            let Ok(parent) = log::row(self.storage, LogKey::new(key.space(), *parent)) else { continue };
            if parent.time >= row.time {
                self.problem("time", format!("commit {} is not later than one before it", row.id), COMMIT);
            }
            if nth == 0 && row.previous.is_some() {
                previous = Some(parent);
            }
        }
        let run = previous
            .as_ref()
            .filter(|previous| previous.continues)
            .map_or(0, |previous| previous.run.saturating_add(1));
        if let Some(previous) = &previous {
            let chain = previous.author == row.author && Some(row.seq) == previous.seq.checked_add(1);
            let whole = !previous.continues || row.kind == Kind::Documents && run < MAX_RUN;
            if !chain || !whole {
                let what = format!("commit {} does not follow the one that it names", row.id);
                self.problem("chain", what, COMMIT);
            }
        }
        self.expect(row.run == run, "run", || format!("commit {} is at another place of its run", row.id));
    }

    // What the door wrote beside a commit when it came: places, frontier, strength.
    fn replay(
        &mut self,
        replica: &mut Replica,
        stored: &Stored,
        key: LogKey,
        row: &Row,
    ) -> Result<(), Error> {
        let at = key.seq();
        let author = log::author(self.storage, row.author)?;
        let mut parents = Vec::new();
        for parent in row.previous.iter().chain(&row.parents) {
            parents.push(match replica.heads.get(parent) {
                Some(head) => head.facts,
                None => {
                    let key = replica.key(*parent);
                    Facts::of(key, &log::row(self.storage, key)?)
                }
            });
        }
        let previous = row.previous.and_then(|_| parents.first().copied());
        let place = replica.place_after(&author, Some(row.author), row.seq, previous.as_ref());
        self.expect(row.branch == place.branch, "branch", || {
            format!("commit {} is on another branch of its author", row.id)
        });
        let (frontier, standing) = if parents.is_empty() {
            (FrontierId::GENESIS, Ok((Strength(0), Via::Key)))
        } else {
            let refused =
                |refusal| Error::damaged(format!("commit {} was never admitted: {refusal}", row.id));
            let frontier = replica.frontier_of(&parents).map_err(refused)?;
            let standing = match row.kind {
                Kind::Documents => replica.rules.strength_at(frontier, &author).map_err(refused),
                Kind::Rules => {
                    replica.rules.standing_at(frontier, &author).map_err(refused).map(|standing| {
                        let via = Via::Key;
                        standing.unwrap_or(driftless_core::verdict::Standing {
                            permission: Permission::Read,
                            via,
                        })
                    })
                }
            };
            (frontier, standing.map(|standing| (standing.permission.strength(), standing.via)))
        };
        let standing = standing?;
        self.expect(row.frontier == frontier.0 && replica::strength(row) == standing, "rights", || {
            format!("commit {} does not say what its author was permitted", row.id)
        });
        let held = stored.held.contains(&at);
        let positions: Vec<u64> = parents.iter().map(|parent| parent.at).collect();
        replica.append(&author, Facts::of(key, row), previous.as_ref(), &positions, held);
        Ok(())
    }

    // What nobody in the log vouches for may have its proof beside it.
    fn vouched(&mut self, found: &FoundSpace, walk: &mut Walk) {
        // From the last to the first: what is proven vouches for what is below it.
        while let Some(at) = walk.open.pop_last() {
            let key = LogKey::new(found.number, at);
            let Ok(row) = log::row(self.storage, key) else { continue };
            let proven = proves(self.storage, key, &row, &found.id);
            match self.note(proven, "proof", COMMIT) {
                Some(true) => {
                    walk.proofs += 1;
                    self.vouch_below(found.number, &row, &mut walk.open);
                }
                Some(false) => {
                    self.problem("signature", format!("no signature vouches for commit {}", row.id), COMMIT);
                }
                None => {}
            }
        }
    }

    // Rows that belong to no commit.
    fn counted(&mut self, found: &FoundSpace, walk: &Walk) -> Result<(), Error> {
        let number = found.number;
        let bodies =
            count_at(self.storage, &layout::BODY, number)? + pack::commits(self.storage, Some(number))?;
        self.expect(bodies == walk.bodies, "body", || {
            format!("{bodies} bodies for {} commits that have one", walk.bodies)
        });
        let proofs = count_at(self.storage, &layout::PROOF, number)?;
        self.expect(proofs >= walk.proofs, "proof", || "a proof is missing".into());
        if let Some(stored) = &walk.stored {
            let said: BTreeSet<LogSeq> = stored.rule_at.keys().copied().collect();
            self.expect(said == walk.rules, "rule", || {
                "the list of rule commits is not that of the log".into()
            });
        }
        Ok(())
    }

    fn compare(&mut self, replica: &Replica, stored: &Stored) {
        let same_heads = replica.heads.len() == stored.heads.len()
            && replica.heads.iter().zip(&stored.heads).all(|((at, ours), (other, theirs))| {
                at == other && ours.sync == theirs.sync && ours.write == theirs.write
            });
        self.expect(same_heads, "head", || "the heads are not those of the log".into());
        self.expect(replica.tips == stored.tips, "tip", || {
            "the ends of the authors' chains are not those of the log".into()
        });
        let tallies = replica.next == stored.next
            && replica.counts.commits == stored.commits
            && replica.log_digest == stored.log_digest
            && replica.time == stored.time;
        self.expect(tallies, "space", || "the length, digest or time of the log is another".into());
        let digests = replica::range(self.storage, &layout::LOG_DIGEST, replica.number);
        if let Some(digests) = self.note(digests, "log_digest", DERIVED) {
            let said = digests.iter().map(|(key, digest)| (key.seq(), &digest[..]));
            let same = said.eq(replica.digests.iter().map(|(at, digest)| (*at, &digest[..])));
            self.expect(same, "log_digest", || "the digests along the log are not those of the log".into());
        }
        let counted = count_at(self.storage, &layout::HEAD, replica.number);
        if let Some(counted) = self.note(counted, "head", DERIVED) {
            self.expect(counted == replica.heads.len() as u64, "head", || "there are more heads".into());
        }
    }
}

// Takes a loaded space apart: its rules go on, everything else is made again and compared.
fn split(loaded: Replica, found: &FoundSpace) -> (Replica, Stored) {
    let Replica { tips, heads, held, rule_at, next, log_digest, counts, time, rules, .. } = loaded;
    let held = held.into_iter().map(|(_, at)| at).collect();
    let mut replica = Replica::new(found.number, found.id, rules);
    replica.rule_at = rule_at.clone();
    (replica, Stored { tips, heads, held, rule_at, next, log_digest, commits: counts.commits, time })
}

// Whether the refused commits beside a commit lead from it to a signature of its author.
fn proves(storage: &dyn Storage, at: LogKey, row: &Row, space: &SpaceId) -> Result<bool, Error> {
    let author = log::author(storage, row.author)?;
    let (mut last, mut seq) = (row.id, row.seq);
    for received in proof(storage, at)? {
        let Ok(header) = Header::decode(&received.header) else { return Ok(false) };
        let follows = header.previous == Some(last) && Some(header.seq) == seq.checked_add(1);
        if !follows || header.author != author || header.space != Some(*space) {
            return Ok(false);
        }
        (last, seq) = (commit_id(&received.header), header.seq);
        if let Some(signature) = received.signature {
            return Ok(verify_commit(&author, &last, &signature));
        }
    }
    Ok(false)
}
