//! Walks over a history: heads, ancestors, what is missing, an order in which parents come first.
//!
//! Generic over what stands in the history and how its parents are found; it knows no commit. Every walk is a loop
//! that sees each member once, so a hostile history costs its size and never the stack.

use std::collections::{BTreeMap, BTreeSet};

/// Everything reachable from `from` by one or more steps to parents.
pub fn ancestors<N, P>(from: impl IntoIterator<Item = N>, parents: impl Fn(&N) -> P) -> BTreeSet<N>
where
    N: Ord + Clone,
    P: IntoIterator<Item = N>,
{
    let mut seen = BTreeSet::new();
    let mut waiting: Vec<N> = from.into_iter().flat_map(|start| parents(&start)).collect();
    while let Some(next) = waiting.pop() {
        if seen.insert(next.clone()) {
            waiting.extend(parents(&next));
        }
    }
    seen
}

/// Whether `ancestor` is reachable from `of` by one or more steps. Nothing is its own ancestor.
pub fn is_ancestor<N, P>(ancestor: &N, of: &N, parents: impl Fn(&N) -> P) -> bool
where
    N: Ord + Clone,
    P: IntoIterator<Item = N>,
{
    let mut seen = BTreeSet::new();
    let mut waiting: Vec<N> = parents(of).into_iter().collect();
    while let Some(next) = waiting.pop() {
        if next == *ancestor {
            return true;
        }
        if seen.insert(next.clone()) {
            waiting.extend(parents(&next));
        }
    }
    false
}

/// The members of `set` that are an ancestor of no other member. The set need not be closed under parents.
pub fn heads<N, P>(set: &BTreeSet<N>, parents: impl Fn(&N) -> P) -> BTreeSet<N>
where
    N: Ord + Clone,
    P: IntoIterator<Item = N>,
{
    let below = ancestors(set.iter().cloned(), parents);
    set.difference(&below).cloned().collect()
}

/// What is reachable from `wanted` (itself included) and not from `had` (itself included), parents first.
pub fn missing<N, P>(
    wanted: impl IntoIterator<Item = N>,
    had: impl IntoIterator<Item = N>,
    parents: impl Fn(&N) -> P,
) -> Vec<N>
where
    N: Ord + Clone,
    P: IntoIterator<Item = N>,
{
    let reach = |from: Vec<N>| {
        let mut reached = ancestors(from.iter().cloned(), &parents);
        reached.extend(from);
        reached
    };
    let had = reach(had.into_iter().collect());
    let wanted = reach(wanted.into_iter().collect());
    topological(&wanted.difference(&had).cloned().collect(), &parents)
}

/// The members of `set`, each after its parents in the set; of those that may come next, the smallest comes first.
/// A set with a cycle, which hashes exclude, gives only what stands below the cycle.
pub fn topological<N, P>(set: &BTreeSet<N>, parents: impl Fn(&N) -> P) -> Vec<N>
where
    N: Ord + Clone,
    P: IntoIterator<Item = N>,
{
    let mut open: BTreeMap<N, usize> = BTreeMap::new();
    let mut children: BTreeMap<N, Vec<N>> = BTreeMap::new();
    let mut ready = BTreeSet::new();
    for member in set {
        let inside: BTreeSet<N> = parents(member).into_iter().filter(|parent| set.contains(parent)).collect();
        if inside.is_empty() {
            ready.insert(member.clone());
        }
        open.insert(member.clone(), inside.len());
        for parent in inside {
            children.entry(parent).or_default().push(member.clone());
        }
    }
    let mut order = Vec::with_capacity(set.len());
    while let Some(next) = ready.pop_first() {
        for child in children.remove(&next).unwrap_or_default() {
            if let Some(count) = open.get_mut(&child) {
                *count -= 1;
                if *count == 0 {
                    ready.insert(child);
                }
            }
        }
        order.push(next);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    // 1 below 2 and 3, both below 4; 5 on 3.
    fn parents(of: &u32) -> Vec<u32> {
        match of {
            2 | 3 => vec![1],
            4 => vec![2, 3],
            5 => vec![3],
            _ => Vec::new(),
        }
    }

    #[test]
    fn heads_ancestors_and_what_is_missing() {
        assert_eq!(ancestors([4], parents), BTreeSet::from([1, 2, 3]));
        assert_eq!(heads(&BTreeSet::from([1, 2, 3, 4, 5]), parents), BTreeSet::from([4, 5]));
        assert_eq!(heads(&BTreeSet::from([1, 4]), parents), BTreeSet::from([4]));
        assert!(
            is_ancestor(&1, &5, parents) && !is_ancestor(&2, &5, parents) && !is_ancestor(&4, &4, parents)
        );
        assert_eq!(missing([4], [5], parents), vec![2, 4]);
        assert_eq!(missing([3], [4], parents), Vec::<u32>::new());
    }

    #[test]
    fn parents_come_first_and_the_order_is_one() {
        assert_eq!(topological(&BTreeSet::from([5, 4, 3, 2, 1]), parents), vec![1, 2, 3, 4, 5]);
        assert_eq!(topological(&BTreeSet::from([4, 3]), parents), vec![3, 4]);
    }

    #[test]
    fn a_long_history_does_not_use_the_stack() {
        let below = |of: &u32| of.checked_sub(1);
        assert_eq!(ancestors([200_000], below).len(), 200_000);
        assert!(is_ancestor(&0, &200_000, below));
    }
}
