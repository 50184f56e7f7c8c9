//! The way in: a live space gets commits that were changed field by field and then signed again by a member, so that the
//! signature hides nothing. And bundles, damaged as files.

use driftless::{Database, Timestamp};
use driftless_core::commit::{
    BodyEncoding, DocumentBody, Header, Kind, Received, RuleBody, body_hash, commit_id,
};
use driftless_core::id::{CommitId, SpaceId};
use driftless_core::operator::{Operator, operators_from_json};
use driftless_core::rules::invite::InviteKey;
use driftless_core::rules::{Permission, RuleOperator, Shown, Strength, Subject};
use driftless_core::value::Map;

use crate::choices::Choices;
use crate::signed::{bundle, key, sign};
use crate::world::{self, ACTORS, Known, SECRET, START, WORLD, World, authors, database, import};

/// Commits made by one input.
const MOST: usize = 8;

pub(crate) fn receive(input: &[u8]) {
    let mut choices = Choices::new(input);
    let database = database(60);
    let here = WORLD.known.len() - choices.below(3);
    import(&database, &WORLD.bundle(here));
    let mut world = WORLD.clone();
    let mut batches = 1 + choices.below(3);
    while batches > 0 && !choices.is_empty() {
        batches -= 1;
        let mut made = Vec::new();
        while made.len() < MOST && !choices.is_empty() {
            made.push(mutant(&mut choices, &mut world));
            if choices.below(4) == 0 {
                break;
            }
        }
        if choices.below(8) == 1 {
            made.reverse();
        }
        let ends = choices.byte();
        deliver(&database, &bundle(&made, |at| ends & (1 << (at % 8)) != 0));
    }
    let space = database.space(&WORLD.space.to_string()).expect("the space is here");
    world::sound(&space).expect("memory does not fail");
    world::passes_on(&space).expect("memory does not fail");
}

// What takes nothing in changes nothing.
fn deliver(database: &Database, bytes: &[u8]) {
    let before = world::digest(database);
    let done = import(database, bytes);
    if done.applied + done.held + done.void + done.wanted == 0 {
        assert_eq!(world::digest(database), before, "nothing was taken, and something changed: {done:?}");
    }
    // The same once more: nothing is new.
    let after = world::digest(database);
    import(database, bytes);
    assert_eq!(world::digest(database), after, "a repetition changed something");
}

fn mutant(choices: &mut Choices<'_>, world: &mut World) -> Received {
    let seed = *choices.pick(&ACTORS).unwrap_or(&1);
    let author = key(seed).id();
    let own: Vec<usize> =
        (0..world.known.len()).filter(|at| world.known[*at].header.author == author).collect();
    // Mostly the last one; else a fork.
    let previous = match choices.below(5) {
        0 => choices.pick(&own).copied(),
        1 if own.len() < 2 => None,
        _ => own.last().copied(),
    };
    let last = world.known.len() - 1;
    let parents: Vec<usize> = match choices.below(4) {
        0 => vec![last],
        1 => vec![last, last.saturating_sub(choices.below(last + 1))],
        2 => vec![choices.below(last + 1)],
        _ => vec![],
    };
    let parents = if parents.is_empty() && previous.is_none() { vec![0] } else { parents };
    let mut header = world.next(seed, previous, &parents);
    let body = match choices.below(8) {
        0..=3 => documents(choices, world),
        4 | 5 => {
            header.kind = Kind::Rules;
            rules(choices, world, &author)
        }
        6 => choices.bytes().to_vec(),
        _ => {
            // Somebody's body with a change in it.
            let mut body =
                choices.pick(&world.known).and_then(|known| known.received.body.clone()).unwrap_or_default();
            let at = choices.below(body.len());
            if let Some(byte) = body.get_mut(at) {
                *byte ^= choices.byte();
            }
            body
        }
    };
    header.body_hash = body_hash(&body);
    header.body_length = body.len() as u32;
    for _ in 0..choices.below(4) {
        change(choices, world, &mut header);
    }
    let mut bytes = header.encode();
    if choices.below(16) == 1 {
        let at = choices.below(bytes.len());
        bytes[at] ^= choices.byte();
    }
    let mut commit = sign(bytes, Some(body), &key(seed));
    match choices.below(16) {
        1 => commit.signature = None,
        2 => commit = sign(commit.header, commit.body, &key(ACTORS[choices.below(ACTORS.len())])),
        3 => commit.body = None,
        4 => commit.body = Some(choices.bytes().to_vec()),
        _ => {}
    }
    if let Ok(header) = Header::decode(&commit.header) {
        world.known.push(Known { id: commit_id(&commit.header), header, received: commit.clone() });
    }
    commit
}

// One field becomes another.
fn change(choices: &mut Choices<'_>, world: &World, header: &mut Header) {
    let any = |choices: &mut Choices<'_>| choices.pick(&world.known).map(|known| known.id);
    match choices.below(16) {
        0 => header.kind = if header.kind == Kind::Rules { Kind::Documents } else { Kind::Rules },
        1 => header.continues = !header.continues,
        2 => header.space = None,
        3 => header.space = Some(SpaceId([choices.byte(); 32])),
        4 => header.author = choices.pick(&authors()).copied().unwrap_or(header.author),
        5 => header.seq = choices.number(),
        6 => header.seq = header.seq.wrapping_add(choices.number()),
        7 => header.previous = any(choices),
        8 => header.previous = None,
        9 => header.previous = Some(CommitId([choices.byte(); 32])),
        10 => {
            header.parents.extend(any(choices));
            header.parents.sort();
            header.parents.dedup();
        }
        11 => header.parents.push(CommitId([choices.byte(); 32])),
        12 => header.time = Timestamp(choices.number()),
        13 => {
            // About ten minutes around the clock of the database.
            let ms = START + u64::from(choices.byte()) * 6000;
            header.time = Timestamp::from_ms(ms);
        }
        14 => header.body_encoding = BodyEncoding::Sealed,
        _ => match choices.below(3) {
            0 => header.body_length = choices.number() as u32,
            1 => header.body_hash = [choices.byte(); 32],
            _ => header.extensions = choices.bytes().to_vec(),
        },
    }
}

fn documents(choices: &mut Choices<'_>, world: &World) -> Vec<u8> {
    let mut body = DocumentBody::default();
    for _ in 0..1 + choices.below(3) {
        let n = i64::from(choices.byte());
        let text = match choices.below(8) {
            0 => format!(r#"{{"$set": {{"a": {n}}}}}"#),
            1 => format!(r#"{{"$inc": {{"n": {n}, "b.c": 1}}}}"#),
            2 => format!(r#"{{"$push": {{"log": {{"$each": [{n}, "x"]}}}}}}"#),
            3 => format!(r#"{{"$pull": {{"log": {n}}}, "$unset": {{"a": ""}}}}"#),
            4 => format!(r#"{{"$addToSet": {{"log": {n}}}, "$set": {{"b": {n}}}}}"#),
            _ => String::new(),
        };
        let operators = operators_from_json(&text).unwrap_or_else(|_| match choices.below(4) {
            0 => vec![Operator::Delete],
            1 => vec![Operator::Restore],
            2 => vec![Operator::Unknown(vec![0x82, 0x18, 0x63, 0x01])],
            _ => {
                let fields = Map::from_json(&format!(r#"{{"n": {n}}}"#)).expect("fields");
                vec![Operator::Insert { fields, parent: None }]
            }
        });
        body.edits.push(world::edit(choices.below(5) as i64, operators));
    }
    for _ in 0..choices.below(6).saturating_sub(3) {
        body.retracts.extend(choices.pick(&world.known).map(|known| known.id));
    }
    body.encode([choices.byte(); 16])
}

fn rules(choices: &mut Choices<'_>, world: &World, author: &driftless::AuthorId) -> Vec<u8> {
    let mut operators = Vec::new();
    for _ in 0..1 + choices.below(2) {
        operators.push(rule(choices, world, author));
    }
    RuleBody { operators }.encode([choices.byte(); 16])
}

fn rule(choices: &mut Choices<'_>, world: &World, author: &driftless::AuthorId) -> RuleOperator {
    let strength = Strength(choices.below(32) as u32);
    let permission = match choices.below(4) {
        0 => None,
        1 => Some(Permission::Read),
        2 => Some(Permission::Write(strength)),
        _ => Some(Permission::Admin(strength)),
    };
    let mut keep = Vec::new();
    for _ in 0..choices.below(4) {
        keep.extend(choices.pick(&world.known).map(|known| known.id));
    }
    keep.sort();
    keep.dedup();
    let invite = world.known[0].id;
    match choices.below(8) {
        // The space is another space to itself: its own beginning is the proof.
        1 if choices.below(3) == 1 => RuleOperator::Enrol {
            grant: choices.pick(&world.known).map_or(invite, |known| known.id),
            index: choices.below(2) as u32,
            proof: proof(choices, world),
        },
        1 if choices.below(2) == 1 => RuleOperator::Withdraw {
            space: WORLD.space,
            key: choices.pick(&authors()).copied().unwrap_or(*author),
            proof: proof(choices, world),
            keep,
        },
        0 => RuleOperator::Name("other".into()),
        1 => RuleOperator::Setting { key: "policy".into(), value: vec![0x81, 0x01] },
        2 => {
            let proof = InviteKey::from_secret(&SECRET).prove(&WORLD.space, &invite, author);
            RuleOperator::Redeem { invite, index: 8 + choices.below(4).saturating_sub(2) as u32, proof }
        }
        3 => RuleOperator::EndInvite { invite, index: 8, keep },
        4 => RuleOperator::Invite {
            key: InviteKey::from_secret(&SECRET).public(),
            permission: permission.unwrap_or(Permission::Read),
            uses: Some(choices.below(3) as u32),
            expires_ms: None,
        },
        _ => {
            let subject = match choices.pick(&authors()) {
                Some(author) if choices.below(8) != 1 => Subject::Key(*author),
                Some(_) if choices.below(4) == 1 => Subject::Space(WORLD.space),
                _ => Subject::Anyone,
            };
            RuleOperator::Grant { subject, permission, keep: (choices.below(3) != 0).then_some(keep) }
        }
    }
}

fn proof(choices: &mut Choices<'_>, world: &World) -> Vec<Shown> {
    let shown = |known: &Known| Shown {
        header: known.received.header.clone(),
        signature: known.received.signature,
        body: known.received.body.clone().filter(|body| RuleBody::decode(body).is_ok()),
    };
    world.known.iter().take(choices.below(world.known.len() + 1)).map(shown).collect()
}

/// A file that should be a bundle: a database takes of it what is whole, and the intact original afterwards.
pub(crate) fn bundle_file(input: &[u8]) {
    let database = database(60);
    // What is no bundle at all is an error; anything else is taken apart.
    let before = database.import(&mut &*input, &mut |_| {}).is_ok();
    let whole = WORLD.bundle(WORLD.known.len());
    import(&database, &whole);
    let space = database.space(&WORLD.space.to_string()).expect("the space is here");
    let here = world::sound(&space).expect("memory does not fail");
    assert!(WORLD.known.iter().all(|known| here.contains(&known.id)), "the original was refused ({before})");
}

pub(crate) fn bundle_seeds() -> Vec<Vec<u8>> {
    let commits: Vec<&Received> = WORLD.known.iter().map(|known| &known.received).collect();
    vec![
        WORLD.bundle(1),
        WORLD.bundle(3),
        bundle(commits.iter().copied().take(4), |_| true),
        bundle(commits.iter().copied().skip(7).chain(commits.iter().copied().take(2)), |at| at == 1),
    ]
}

// Programs for `Choices`: any bytes are one.
pub(crate) fn programs() -> Vec<Vec<u8>> {
    (0..48).map(|seed| crate::damage::noise(12 + 6 * seed, seed as u64)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutants_meet_every_fate() {
        let mut sum = driftless::Imported::default();
        let mut reasons = std::collections::BTreeSet::new();
        for program in programs() {
            for seed in 0..3 {
                let program = crate::damaged(&program, &program, seed);
                let (mut choices, mut world) = (Choices::new(&program), WORLD.clone());
                let database = database(60);
                import(&database, &WORLD.bundle(WORLD.known.len()));
                let made: Vec<Received> = (0..MOST).map(|_| mutant(&mut choices, &mut world)).collect();
                let done = import(&database, &bundle(&made, |_| true));
                sum.applied += done.applied;
                sum.held += done.held;
                sum.wanted += done.wanted;
                sum.refused += done.refused;
                let status = database.status().unwrap();
                // The world has one of its own, that was taken back.
                sum.void += status.spaces[0].counts.void - 1;
                reasons.extend(status.refused.into_iter().map(|line| line.code));
            }
        }
        assert!(sum.applied > 50 && sum.refused > 50, "{sum:?}");
        assert!(sum.held > 0 && sum.void > 0 && sum.wanted > 0, "{sum:?}");
        let often =
            ["bad_signature", "bad_header", "not_permitted", "missing_parent", "unknown_space", "bad_body"];
        assert!(often.iter().all(|code| reasons.iter().any(|reason| reason == code)), "{reasons:?}");
    }
}
