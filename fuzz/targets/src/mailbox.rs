//! A mailbox whose objects were made by hand, with fields changed before they were signed, bytes changed after that, and
//! other names than theirs. A database reads them; afterwards an honest writer puts everything there, and the reader
//! must have it. The format is written anew here, from docs/mailbox.md.

use std::sync::{Arc, LazyLock};

use driftless::{Mailbox, MailboxOptions, MailboxSynced, Map, PeerId};
use driftless_core::commit::Received;
use driftless_core::frame::{FrameBuilder, FrameCommit};
use driftless_core::id::base32;
use driftless_core::sign::{Domain, NodeKey};
use driftless_net::mailbox::{Mailbox as _, MemoryMailbox, ObjectName};
use tokio::runtime::{Builder, Runtime};

use crate::choices::Choices;
use crate::world::{self, Known, LEFT, WORLD, database, import};

/// Objects that one input puts, and readings of it.
const MOST: usize = 24;
const URL: &str = "memory:fuzz";
// Seeds of node keys that belong to nobody else here.
const DEVICES: [u8; 2] = [201, 202];

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    // One thread for the work on databases, so that inputs cost what they cost, and not what a thread does.
    Builder::new_current_thread().enable_time().max_blocking_threads(1).build().expect("a runtime")
});

// A device that writes whatever the input says: what it has put last, as others see it.
struct Device {
    key: NodeKey,
    number: u64,
    previous: [u8; 32],
}

pub(crate) fn mailbox(input: &[u8]) {
    let mut choices = Choices::new(input);
    let place = MemoryMailbox::new();
    let reader = database(60);
    let here = 1 + choices.below(WORLD.known.len());
    import(&reader, &WORLD.bundle(here));
    let reading = reader.mailbox(&WORLD.space, URL, Arc::new(place.clone()));
    let mut devices =
        DEVICES.map(|seed| Device { key: NodeKey::from_seed(&[seed; 32]), number: 0, previous: [0; 32] });
    let reader_id = reader.peer().expect("a database in memory has a key");
    for _ in 0..MOST {
        if choices.is_empty() {
            break;
        }
        match choices.below(8) {
            0 => drop(read(&reading)),
            1 => drop_one(&mut choices, &place),
            _ => put(&mut choices, &place, &mut devices, &reader_id),
        }
    }
    read(&reading);
    let before = world::digest(&reader);
    let again = read(&reading);
    // What was read is not read again, unless it is asked for because something is wrong with it.
    assert_eq!((again.sent, again.received), (0, 0), "a reading without news brought something: {again:?}");
    assert_eq!(world::digest(&reader), before, "a reading without news changed something");

    // Whatever lies there now keeps nobody from putting the rest: once the reader has said that it lacks something.
    let honest = database(LEFT);
    import(&honest, &WORLD.bundle(WORLD.known.len()));
    let space = honest.space(&WORLD.space.to_string()).expect("the space is here");
    let notes = space.collection("notes").expect("a collection");
    notes.insert(Map::default()).expect("its user may write");
    let writing = honest.mailbox(&WORLD.space, URL, Arc::new(place.clone()));
    for mailbox in [&writing, &reading, &reading, &writing, &reading] {
        read(mailbox);
    }
    let there = reader.space(&WORLD.space.to_string()).expect("the space is here");
    world::sound(&there).expect("memory does not fail");
    assert_eq!(there.digest().ok(), space.digest().ok(), "what an honest device has put was not read");
}

fn read(mailbox: &Mailbox) -> MailboxSynced {
    let done = RUNTIME.block_on(mailbox.sync(&MailboxOptions::default(), &mut |_| ()));
    done.expect("what lies in a mailbox ends no exchange")
}

// The operator takes one away, or changes its bytes.
fn drop_one(choices: &mut Choices<'_>, place: &MemoryMailbox) {
    let names = place.names();
    let Some(name) = choices.pick(&names) else { return };
    let bytes = place.bytes(name).filter(|_| choices.below(2) == 0).map(|mut bytes| {
        let at = choices.number() as usize % bytes.len().max(1);
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= choices.byte() | 1;
        }
        bytes
    });
    place.replace(name, bytes);
}

fn put(choices: &mut Choices<'_>, place: &MemoryMailbox, devices: &mut [Device], reader: &PeerId) {
    let names = place.names();
    let at = choices.below(devices.len());
    let other = devices[1 - at].key.id();
    let device = &mut devices[at];
    let number = match choices.below(8) {
        0 => device.number,
        1 => device.number + 2,
        2 => choices.number(),
        _ => device.number + 1,
    };
    let previous = match choices.below(6) {
        0 => [0; 32],
        1 => [choices.byte(); 32],
        _ => device.previous,
    };
    let space = if choices.below(12) == 1 { [8; 32] } else { WORLD.space.0 };
    let mut head = b"dlobject".to_vec();
    head.push(if choices.below(16) == 1 { choices.byte() } else { 1 });
    head.extend_from_slice(&space);
    head.extend_from_slice(&device.key.id().0);
    head.extend_from_slice(&[7; 16]);
    varint(&mut head, number);
    head.extend_from_slice(&previous);
    let instead = choices.below(3) * choices.below(3);
    varint(&mut head, instead as u64);
    (0..instead).for_each(|_| varint(&mut head, choices.number()));
    let heard = choices.below(3);
    varint(&mut head, heard as u64);
    for _ in 0..heard {
        let who = [*reader, other, PeerId([choices.byte(); 32])][choices.below(3)];
        head.extend_from_slice(&who.0);
        head.extend_from_slice(&[if choices.below(2) == 0 { 7 } else { choices.byte() }; 16]);
        varint(&mut head, choices.number());
        head.extend_from_slice(&[choices.byte(); 32]);
    }
    let lacks = choices.below(3);
    varint(&mut head, lacks as u64);
    for _ in 0..lacks {
        let who = [*reader, other][choices.below(2)];
        head.extend_from_slice(&who.0);
        head.extend_from_slice(&[if choices.below(2) == 0 { 7 } else { choices.byte() }; 16]);
        varint(&mut head, choices.number());
    }
    let seal: &[u8] = if choices.below(12) == 1 { choices.bytes() } else { b"" };
    blob(&mut head, seal);
    blob(&mut head, &content(choices));

    let mut bytes = head;
    let signature = device.key.sign_object(&[&Domain::MailboxObject.hash(&[&bytes])]);
    bytes.extend_from_slice(&signature.0);
    if choices.below(12) == 1 {
        bytes.truncate(choices.number() as usize % bytes.len());
    }
    if choices.below(12) == 1 {
        bytes.extend_from_slice(choices.bytes());
    }
    let hash = Domain::MailboxObject.hash(&[&bytes]);
    let named = if choices.below(12) == 1 { [choices.byte(); 32] } else { hash };
    let folder = format!("{}-{}", device.key.id(), base32(&[7; 16]));
    let name = format!("{}/{folder}/{number:016x}-{}", WORLD.space, base32(&named));
    let name = ObjectName::new(&name).expect("a name");
    if choices.below(12) == 1 && !names.is_empty() {
        // In the place of another.
        place.replace(choices.pick(&names).unwrap_or(&name), Some(bytes));
        return;
    }
    RUNTIME.block_on(place.put_if_absent(&name, bytes)).expect("memory takes it");
    (device.number, device.previous) = (number.min(1 << 40), hash);
}

// What an object holds: frames of commits of the world in any order, or not even that.
fn content(choices: &mut Choices<'_>) -> Vec<u8> {
    if choices.below(12) == 1 {
        return choices.bytes().to_vec();
    }
    let mut plain = vec![0];
    for _ in 0..choices.below(3) {
        let from = choices.below(WORLD.known.len());
        let some = WORLD.known.iter().skip(from).take(1 + choices.below(4));
        let bodies = choices.below(8) != 1;
        let mut frame = frame(some, bodies);
        if choices.below(8) == 1 {
            let at = choices.number() as usize % frame.len().max(1);
            if let Some(byte) = frame.get_mut(at) {
                *byte ^= choices.byte();
            }
        }
        blob(&mut plain, &frame);
    }
    plain
}

fn frame<'k>(known: impl Iterator<Item = &'k Known>, bodies: bool) -> Vec<u8> {
    let mut builder = FrameBuilder::new(WORLD.space);
    for Known { id, header, received: Received { signature, body, .. } } in known {
        let body = body.as_deref().filter(|_| bodies);
        let commit = FrameCommit { header, id: *id, signature: *signature, body };
        builder.push(commit).expect("a few commits fit");
    }
    builder.finish()
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn blob(out: &mut Vec<u8>, bytes: &[u8]) {
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Inputs that put good objects, one after the other, and some that do not.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    // here; then per object: put, device, number, previous, space, version, instead, heard, lacks, seal, content.
    let good = |device: u8, from: u8| {
        [&[2, device, 7, 5, 0, 0, 0, 0, 0, 0, 0, 0, 1, from, 3, 0, 0][..], &[0; 4]].concat()
    };
    let chain: Vec<u8> = [vec![0], good(0, 1), good(0, 4), good(1, 0), vec![0]].concat();
    let lost: Vec<u8> = [vec![3], good(0, 1), good(1, 2), vec![1, 0, 1], good(0, 5)].concat();
    vec![chain, lost, (0..=255).collect(), vec![2; 200]]
}
