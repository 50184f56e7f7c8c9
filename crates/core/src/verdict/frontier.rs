//! Frontiers: the maximal rule commits among the ancestors of a commit, interned, so that a document commit stores
//! one small number instead of a walk through the graph. It does not judge.

use std::collections::HashMap;
use std::sync::Arc;

use super::bits::Bits;

/// A rule commit of one space: its position among the rule commits in the order they were admitted here. Genesis is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleIndex(pub u32);

/// An interned frontier of one space, numbered in the order of first use here. 0 is the genesis alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrontierId(pub u32);

impl FrontierId {
    /// Genesis alone: what the first commits of a space stand on.
    pub const GENESIS: Self = Self(0);
}

/// What one parent of a commit contributes to its frontier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParentFrontier {
    /// The parent is this rule commit.
    Rule(RuleIndex),
    /// The parent is a document commit that was stored with this frontier.
    Document(FrontierId),
}

#[derive(Debug, Clone)]
pub(super) struct Frontier {
    pub(super) heads: Vec<RuleIndex>,
    /// The heads and all rule commits below them.
    pub(super) closure: Arc<Bits>,
    /// Those of the closure that do not count in it; computed when first asked for.
    pub(super) void: Option<Arc<Bits>>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Frontiers {
    list: Vec<Frontier>,
    ids: HashMap<Vec<RuleIndex>, FrontierId>,
}

impl Frontiers {
    pub(super) fn get(&self, id: FrontierId) -> Option<&Frontier> {
        self.list.get(id.0 as usize)
    }

    pub(super) fn get_mut(&mut self, id: FrontierId) -> Option<&mut Frontier> {
        self.list.get_mut(id.0 as usize)
    }

    pub(super) fn len(&self) -> u32 {
        self.list.len() as u32
    }

    pub(super) fn find(&self, heads: &[RuleIndex]) -> Option<FrontierId> {
        self.ids.get(heads).copied()
    }

    /// The id of these heads, which must be maximal, sorted and unique.
    pub(super) fn put(&mut self, heads: Vec<RuleIndex>, closure: impl FnOnce() -> Arc<Bits>) -> FrontierId {
        if let Some(id) = self.find(&heads) {
            return id;
        }
        let id = FrontierId(self.len());
        self.ids.insert(heads.clone(), id);
        self.list.push(Frontier { heads, closure: closure(), void: None });
        id
    }
}
