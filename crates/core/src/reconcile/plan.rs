//! What the other side lacks, in the order of arrival, while the graph goes on growing.
//!
//! What arrives after the plan was made is lacking too, unless it came from the other side.

use std::collections::BTreeSet;

use super::bits::Bits;
use crate::hash_graph::Position;

/// Which positions are to be sent next.
#[derive(Debug, Clone)]
pub struct Plan {
    next: Position,
    // Up to here `lacking` knows; beyond it everything is lacking.
    end: Position,
    lacking: Bits,
    theirs: BTreeSet<Position>,
}

impl Plan {
    /// The other side has nothing.
    pub fn everything() -> Self {
        Self { next: 1, end: 0, lacking: Bits::default(), theirs: BTreeSet::new() }
    }

    /// The other side has everything up to `len`.
    pub fn nothing(len: Position) -> Self {
        Self { next: len + 1, end: len, ..Self::everything() }
    }

    /// The other side has everything up to `len` but these.
    pub(super) fn only(lacking: Bits, len: Position) -> Self {
        Self { end: len, lacking, ..Self::everything() }
    }

    // Takes over another plan. What came from the other side stays known, also what came while that one was made.
    pub(super) fn renew(&mut self, mut plan: Plan) {
        plan.theirs = self.theirs.split_off(&plan.end.saturating_add(1));
        self.theirs.iter().for_each(|at| plan.lacking.remove(*at));
        *self = plan;
    }

    /// The first position to send in a graph with `len` nodes.
    pub fn peek(&mut self, len: Position) -> Option<Position> {
        if self.next <= self.end {
            match self.lacking.next(self.next).filter(|at| *at <= self.end) {
                Some(at) => {
                    self.next = at;
                    return (at <= len).then_some(at);
                }
                None => self.next = self.end + 1,
            }
        }
        while self.theirs.first().is_some_and(|at| *at <= self.next) {
            if self.theirs.pop_first() == Some(self.next) {
                self.next += 1;
            }
        }
        (self.next <= len).then_some(self.next)
    }

    /// The position that `peek` gave is sent.
    pub fn sent(&mut self) {
        self.next += 1;
    }

    /// The other side has what stands at `at`: it came from there.
    pub fn has(&mut self, at: Position) {
        if at <= self.end {
            self.lacking.remove(at);
        } else if at >= self.next {
            self.theirs.insert(at);
        }
    }

    /// Whether what stands at `at` went over in this session, to the other side or from there. Of what came from there
    /// before it was its turn, this may say no.
    pub fn passed(&self, at: Position) -> bool {
        at < self.next && (at > self.end || self.lacking.contains(at))
    }

    /// What stands before this and after the plan was made is sent, or came from the other side.
    pub(super) fn next(&self) -> Position {
        self.next
    }

    /// Whether everything up to `len` is sent, or known to be there.
    pub fn is_done(&mut self, len: Position) -> bool {
        self.peek(len).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(plan: &mut Plan, len: Position) -> Vec<Position> {
        std::iter::from_fn(|| {
            let at = plan.peek(len)?;
            plan.sent();
            Some(at)
        })
        .collect()
    }

    #[test]
    fn what_came_from_the_other_side_is_not_sent_back() {
        let mut plan = Plan::nothing(3);
        plan.has(5);
        assert_eq!(all(&mut plan, 6), vec![4, 6]);
        plan.has(7);
        assert_eq!(all(&mut plan, 7), Vec::<Position>::new());
        assert_eq!(all(&mut plan, 9), vec![8, 9]);
        assert_eq!(all(&mut Plan::everything(), 3), vec![1, 2, 3]);
    }

    #[test]
    fn what_came_while_another_plan_was_made_is_not_sent_back() {
        let mut plan = Plan::nothing(3);
        [5, 6, 8].into_iter().for_each(|at| plan.has(at));
        let mut bits = Bits::above(0);
        for at in [2, 4, 5, 6] {
            bits.insert(at);
        }
        // It was made when the graph had six nodes, of which two came meanwhile.
        plan.renew(Plan::only(bits, 6));
        assert_eq!(all(&mut plan, 9), vec![2, 4, 7, 9]);
    }

    #[test]
    fn only_what_is_lacking_is_sent_and_then_all_that_is_new() {
        let mut bits = Bits::above(0);
        bits.insert(2);
        bits.insert(5);
        let mut plan = Plan::only(bits, 6);
        plan.has(5);
        assert_eq!(all(&mut plan, 6), vec![2]);
        assert!(plan.is_done(6));
        assert_eq!(all(&mut plan, 8), vec![7, 8]);
        let passed: Vec<_> = (0..=9).filter(|at| plan.passed(*at)).collect();
        assert_eq!(passed, vec![2, 7, 8]);
    }
}
