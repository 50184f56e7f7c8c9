//! A whole run, and what must hold at its end: everybody has everything and shows what the reference computes.

use std::collections::{BTreeMap, BTreeSet};

use driftless_core::commit::commit_id;

use crate::mesh::{Mesh, Report};
use crate::peer::{Fault, Home, Peer, fault};
use crate::pieces;
use crate::reference::{self, Expected};
use crate::world::{World, agrees};

const TWO_DAYS: u64 = 2 * 24 * 60 * 60_000;
// Rounds after which everybody must have everything.
const ROUNDS: usize = 6;

/// Steps of a run with bundles, if nobody wants another number.
pub const STEPS: u64 = 150;
/// Things that happen to a mesh by themselves, if nobody wants another number of them.
pub const MESH_STEPS: u64 = 100;

/// Runs a seed. Returns a digest of what happened, or what must not be.
pub fn run(seed: u64, steps: u64) -> Result<String, Fault> {
    let mut world = World::new(seed)?;
    for step in 0..steps {
        world.step().map_err(|fault| format!("step {step}: {fault}"))?;
    }
    settle(&mut world)?;
    check(&mut world)?;
    Ok(world.trace())
}

/// Runs databases that sync by themselves over bad lines. Says what happened, or what must not be.
pub fn run_mesh(seed: u64, steps: u64) -> Result<Report, Fault> {
    let mut mesh = Mesh::new(seed)?;
    mesh.run(steps)?;
    mesh.rest()?;
    for (at, space) in mesh.spaces.into_iter().enumerate() {
        let members: Vec<&Peer> = mesh
            .members
            .iter()
            .filter(|member| at == 0 || member.inside)
            .map(|member| &member.peer)
            .collect();
        let Some(first) = members.first() else { continue };
        let mut bodies = BTreeMap::new();
        for member in &members {
            for commit in member.log(&space)? {
                let id = commit_id(&commit.header);
                bodies.extend(commit.body.map(|body| (id, body)));
            }
        }
        let admitted = first.ids(&space)?;
        let mut log = first.log(&space)?;
        log.retain(|commit| admitted.contains(&commit_id(&commit.header)));
        let expected = reference::expect(&log, &bodies, first.clock.now())?;
        if !expected.not_admitted.is_empty() {
            return Err(format!("in the log, and not admitted: {:?}", expected.not_admitted));
        }
        for (at, member) in members.iter().enumerate() {
            agrees(member, &space, &expected).map_err(|fault| format!("member {at}: {fault}"))?;
        }
    }
    let mut here = BTreeSet::new();
    for space in &mesh.spaces {
        here.extend(mesh.members.first().ok_or("nobody")?.peer.ids(space)?);
    }
    let mut lost = mesh.acknowledged.iter().filter(|commit| !here.contains(*commit));
    if let Some(lost) = lost.find(|commit| !mesh.forgiven.contains(*commit)) {
        return Err(format!("{lost} was acknowledged, and nobody has it"));
    }
    Ok(mesh.report())
}

/// All clocks agree, and everybody exchanges with everybody until nothing is new.
fn settle(world: &mut World) -> Result<(), Fault> {
    let last = world.peers.iter().map(|peer| peer.clock.now()).max().unwrap_or_default();
    for peer in &world.peers {
        peer.clock.set(last + TWO_DAYS);
    }
    for _ in 0..ROUNDS {
        let mut new = 0;
        for from in 1..world.peers.len() {
            let bundle = world.export(from)?;
            let done = world.peer(0)?.import(&bundle)?;
            new += done.commits - done.known - done.refused;
        }
        let bundle = world.export(0)?;
        for peer in world.peers.iter().skip(1) {
            let done = peer.import(&bundle)?;
            new += done.commits - done.known - done.refused;
        }
        if new == 0 {
            return Ok(());
        }
    }
    Err("there is always something new".into())
}

fn check(world: &mut World) -> Result<(), Fault> {
    let space = world.space;
    // A bundle also carries refused commits that prove others; they are in no log.
    let admitted = world.peer(0)?.ids(&space)?;
    let mut log = world.peer(0)?.log(&space)?;
    log.retain(|commit| admitted.contains(&commit_id(&commit.header)));
    let now = world.peer(0)?.clock.now();
    let expected = reference::expect(&log, &world.bodies, now)?;
    if !expected.not_admitted.is_empty() {
        return Err(format!("in the log, and not admitted: {:?}", expected.not_admitted));
    }
    let here: BTreeSet<_> = log.iter().map(|commit| commit_id(&commit.header)).collect();
    let digest = world.peer(0)?.digest(&space)?;
    world.note(&format!("{digest:?}"));
    for (at, peer) in world.peers.iter().enumerate() {
        if let Some(lost) = peer.written.iter().find(|commit| !here.contains(commit)) {
            return Err(format!("{lost} was acknowledged at {at} and is lost"));
        }
        agrees(peer, &space, &expected).map_err(|fault| format!("at {at}: {fault}"))?;
        if peer.digest(&space)? != digest {
            return Err(format!("{at} has another digest: {digest:?}, {:?}", peer.digest(&space)?));
        }
        if peer.space(&space)?.rebuild().map_err(fault("a rebuild"))? != digest {
            return Err(format!("{at} folded from its log is another"));
        }
        agrees(peer, &space, &expected).map_err(|fault| format!("at {at}, folded again: {fault}"))?;
    }
    let redundant = reference::redundant_parents(&log, &world.honest)?;
    if !redundant.is_empty() {
        return Err(format!("honest commits name an ancestor of another parent: {redundant:?}"));
    }
    newcomers(world, &expected)
}

/// Somebody who comes last and takes everything, whole or in any order, shows the same.
fn newcomers(world: &mut World, expected: &Expected) -> Result<(), Fault> {
    let space = world.space;
    let bundle = world.export(0)?;
    let mut commits = pieces::split(&bundle)?;
    let now = world.peer(0)?.clock.now();
    let folder = tempfile::tempdir().map_err(fault("a folder"))?;
    for home in [Home::Memory, Home::Folder(folder.path().join("new"))] {
        let newcomer = Peer::new(world.dice.bits(), home, now)?;
        let frame = 1 + world.dice.below(40);
        let (mut first, mut size) = (0, 0);
        while size < commits.len() {
            // Several bundles, the later ones with some of what came before.
            size += 1 + world.dice.below(commits.len());
            newcomer.import(&pieces::join(commits.iter().take(size).skip(first), frame))?;
            first = size.saturating_sub(world.dice.below(5));
        }
        // Refused so far is what would have waited beyond the limit, and what lost the signature that vouches for it,
        // since frames were cut apart. The bundle as it was written has all of it.
        newcomer.import(&bundle)?;
        agrees(&newcomer, &space, expected).map_err(|fault| format!("at a newcomer: {fault}"))?;
        if newcomer.digest(&space)? != world.peer(0)?.digest(&space)? {
            return Err("a newcomer has another digest".into());
        }
        if let Some((_, others)) = commits.split_first_mut() {
            world.dice.shuffle(others);
        }
    }
    Ok(())
}
