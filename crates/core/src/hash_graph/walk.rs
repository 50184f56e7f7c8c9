//! Walks over a `HashGraph`, down the order of arrival: what one part has that another has not, and the newest of a set.
//!
//! A parent stands below its children, so a walk that always takes the highest position has seen all children of a node
//! before the node itself. What it costs is what differs, and what arrived in between; never the whole history.

use std::collections::{BTreeSet, BinaryHeap};

use super::{HashGraph, NodeId, Position};

/// Where those of `ids` stand that are here, each once, ascending.
pub fn positions<'a, G: HashGraph + ?Sized>(
    graph: &G,
    ids: impl IntoIterator<Item = &'a NodeId>,
) -> Result<BTreeSet<Position>, G::Error> {
    let mut found = BTreeSet::new();
    for id in ids {
        found.extend(graph.position(id)?);
    }
    Ok(found)
}

/// The ids of what stands at `positions`, ascending.
pub fn ids<'a, G: HashGraph + ?Sized>(
    graph: &G,
    positions: impl IntoIterator<Item = &'a Position>,
) -> Result<Vec<NodeId>, G::Error> {
    let mut ids = Vec::new();
    for at in positions {
        ids.push(graph.node(*at)?.id);
    }
    ids.sort_unstable();
    Ok(ids)
}

/// What is `of` or in its past, and neither `but` nor in its past, in order of arrival.
pub fn difference<G: HashGraph + ?Sized>(
    graph: &G,
    of: &BTreeSet<Position>,
    but: &BTreeSet<Position>,
) -> Result<Vec<Position>, G::Error> {
    Ok(bounded_difference(graph, of, but, usize::MAX)?.unwrap_or_default())
}

/// The same; `None` if it takes more than `steps` nodes to look at.
pub fn bounded_difference<G: HashGraph + ?Sized>(
    graph: &G,
    of: &BTreeSet<Position>,
    but: &BTreeSet<Position>,
    steps: usize,
) -> Result<Option<Vec<Position>>, G::Error> {
    let mut waiting: BinaryHeap<(Position, bool)> = BinaryHeap::new();
    waiting.extend(but.iter().map(|at| (*at, false)));
    waiting.extend(of.difference(but).map(|at| (*at, true)));
    // Entries that may belong to the difference. Once there are none, whatever is left lies in both pasts.
    let mut open = of.difference(but).count();
    let (mut found, mut looked) = (Vec::new(), 0);
    while open > 0 {
        let Some((at, mut mine)) = waiting.pop() else { break };
        open -= usize::from(mine);
        while let Some((_, other)) = waiting.peek().copied().filter(|(same, _)| *same == at) {
            waiting.pop();
            open -= usize::from(other);
            mine &= other;
        }
        looked += 1;
        if looked > steps {
            return Ok(None);
        }
        if mine {
            found.push(at);
        }
        for parent in graph.node(at)?.parents {
            waiting.push((parent, mine));
            open += usize::from(mine);
        }
    }
    found.reverse();
    Ok(Some(found))
}

/// All that is neither `but` nor in its past, in order of arrival.
pub fn all_but<G: HashGraph + ?Sized>(
    graph: &G,
    but: &BTreeSet<Position>,
) -> Result<Vec<Position>, G::Error> {
    if but.is_empty() {
        return Ok((1..=graph.len()).collect());
    }
    difference(graph, &positions(graph, &graph.heads()?)?, but)
}

/// Shows `visit` what is `of` or in its past and does not stand below `floor`, the highest first.
pub fn down_to<G: HashGraph + ?Sized>(
    graph: &G,
    of: &BTreeSet<Position>,
    floor: Position,
    mut visit: impl FnMut(Position),
) -> Result<(), G::Error> {
    let mut waiting: BinaryHeap<Position> = of.iter().copied().filter(|at| *at >= floor).collect();
    while let Some(at) = waiting.pop() {
        while waiting.peek() == Some(&at) {
            waiting.pop();
        }
        visit(at);
        waiting.extend(graph.node(at)?.parents.into_iter().filter(|parent| *parent >= floor));
    }
    Ok(())
}

/// Those of `set` that are in the past of no other. After `steps` nodes the rest is left in, seen or not.
pub fn newest<G: HashGraph + ?Sized>(
    graph: &G,
    set: &BTreeSet<Position>,
    steps: usize,
) -> Result<BTreeSet<Position>, G::Error> {
    let mut newest = set.clone();
    // The lowest is a parent of none of them, and the walk need not go below it.
    let Some(floor) = set.first().copied() else { return Ok(newest) };
    let mut waiting: BinaryHeap<Position> = set.iter().copied().collect();
    let mut looked = 0;
    while let Some(at) = waiting.pop() {
        while waiting.peek() == Some(&at) {
            waiting.pop();
        }
        looked += 1;
        // Only one is left to reach, and it is reached.
        if looked > steps || newest.len() == 1 {
            break;
        }
        for parent in graph.node(at)?.parents {
            if parent >= floor {
                newest.remove(&parent);
                waiting.push(parent);
            }
        }
    }
    Ok(newest)
}
