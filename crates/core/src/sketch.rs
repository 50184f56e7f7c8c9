//! A rateless sketch of a set: two sides learn what only one of them has from cells whose number grows with the
//! difference, not with the sets. Used for the set of spaces; histories have cheaper summaries.
//!
//! Rateless invertible Bloom lookup tables, after Yang, Gilad and Alizadeh, "Practical Rateless Set Reconciliation"
//! (SIGCOMM 2024). Every hash is keyed by a salt of the session, so nobody can prepare items that collide in it.

use crate::limits::MAX_CELLS;

/// What stands in a set: a salted name, and a salted digest of what the name holds.
pub type Item = [u8; 12];

/// One cell: of all items that fall into it, how many, their exclusive or, and that of their checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cell {
    /// How many items; after a subtraction it may be below zero.
    pub count: i64,
    /// The exclusive or of the items.
    pub sum: Item,
    /// The exclusive or of the items' checks.
    pub check: [u8; 4],
}

/// What each side has that the other has not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// Only in the set that was sketched by the other side.
    pub theirs: Vec<Item>,
    /// Only in our set.
    pub ours: Vec<Item>,
}

/// The cells of a set, as many as are asked for.
#[derive(Debug, Clone)]
pub struct Sketch {
    salt: [u8; 32],
    items: Vec<Item>,
}

impl Sketch {
    /// The sketch of a set without repetitions, keyed by `salt`.
    pub fn new(salt: [u8; 32], items: Vec<Item>) -> Self {
        Self { salt, items }
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The first `count` cells, at most `MAX_CELLS`. Costs the logarithm of `count` per item.
    pub fn cells(&self, count: usize) -> Vec<Cell> {
        let mut cells = vec![Cell::default(); count.min(MAX_CELLS)];
        for item in &self.items {
            Hashed::new(&self.salt, item).into_cells(&mut cells, 1);
        }
        cells
    }

    /// What differs from the set of these cells of the other side, which begin with its first; `None` if they are too few.
    pub fn difference(&self, theirs: &[Cell]) -> Option<Difference> {
        let mut cells = self.cells(theirs.len());
        if cells.len() != theirs.len() {
            return None;
        }
        for (cell, theirs) in cells.iter_mut().zip(theirs) {
            cell.subtract_from(theirs);
        }
        self.peel(cells)
    }

    // A cell with one item gives it away; without it, other cells have one item.
    fn peel(&self, mut cells: Vec<Cell>) -> Option<Difference> {
        let mut found = Difference::default();
        let mut waiting: Vec<usize> = (0..cells.len()).collect();
        // Honest cells give at most one item each; what gives more was made up.
        let mut left = cells.len();
        while let Some(at) = waiting.pop() {
            let Some(cell) = cells.get(at).filter(|cell| matches!(cell.count, 1 | -1)) else { continue };
            let (item, sign) = (cell.sum, cell.count);
            let hashed = Hashed::new(&self.salt, &item);
            if hashed.check != cell.check {
                continue;
            }
            left = left.checked_sub(1)?;
            if sign > 0 {
                found.theirs.push(item);
            } else {
                found.ours.push(item);
            }
            waiting.extend(hashed.into_cells(&mut cells, -sign));
        }
        cells.iter().all(|cell| *cell == Cell::default()).then_some(found)
    }
}

impl Cell {
    fn add(&mut self, item: &Hashed, count: i64) {
        self.count = self.count.wrapping_add(count);
        xor(&mut self.sum, &item.item);
        xor(&mut self.check, &item.check);
    }

    fn subtract_from(&mut self, theirs: &Self) {
        self.count = theirs.count.wrapping_sub(self.count);
        xor(&mut self.sum, &theirs.sum);
        xor(&mut self.check, &theirs.check);
    }
}

fn xor(into: &mut [u8], other: &[u8]) {
    for (byte, other) in into.iter_mut().zip(other) {
        *byte ^= other;
    }
}

// An item, its check, and the state of the generator that says into which cells it falls.
struct Hashed {
    item: Item,
    check: [u8; 4],
    state: u64,
}

impl Hashed {
    fn new(salt: &[u8; 32], item: &Item) -> Self {
        let hash = blake3::keyed_hash(salt, item);
        let (mut check, mut state) = ([0; 4], [0; 8]);
        check.copy_from_slice(&hash.as_bytes()[..4]);
        state.copy_from_slice(&hash.as_bytes()[4..12]);
        Self { item: *item, check, state: u64::from_le_bytes(state) }
    }

    // Every item falls into the first cell, and into later ones with a probability that falls like 1 / (1 + i / 2).
    fn into_cells(self, cells: &mut [Cell], count: i64) -> Vec<usize> {
        let mut fell = Vec::new();
        let (mut at, mut state) = (0, self.state);
        while let Some(cell) = cells.get_mut(at) {
            cell.add(&self, count);
            fell.push(at);
            state = state.wrapping_mul(0xda94_2042_e4dd_58b5);
            let jump = (at as f64 + 1.5) * ((1_u64 << 32) as f64 / (state as f64 + 1.0).sqrt() - 1.0);
            // Larger than any table is large enough; a cast of a float saturates.
            at = at.saturating_add((jump.ceil() as usize).max(1));
        }
        fell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(number: u64) -> Item {
        let mut item = [0; 12];
        item.copy_from_slice(&blake3::hash(&number.to_le_bytes()).as_bytes()[..12]);
        item
    }

    fn set(range: std::ops::Range<u64>) -> Vec<Item> {
        range.map(item).collect()
    }

    #[test]
    fn what_differs_is_found_from_cells_in_proportion() {
        for (shared, each, least) in
            [(0, 0, 1), (1000, 0, 1), (1000, 1, 8), (10_000, 10, 48), (10_000, 200, 720)]
        {
            let salt = [7; 32];
            let mut ours = set(0..shared);
            let mut theirs = ours.clone();
            ours.extend(set(1_000_000..1_000_000 + each));
            theirs.extend(set(2_000_000..2_000_000 + each));
            let (ours, theirs) = (Sketch::new(salt, ours), Sketch::new(salt, theirs));
            let mut found = ours.difference(&theirs.cells(least)).expect("enough cells");
            found.ours.sort();
            found.theirs.sort();
            let mut expected = (set(1_000_000..1_000_000 + each), set(2_000_000..2_000_000 + each));
            expected.0.sort();
            expected.1.sort();
            assert_eq!((found.ours, found.theirs), expected);
        }
    }

    #[test]
    fn too_few_cells_say_so() {
        let (ours, theirs) = (Sketch::new([1; 32], set(0..100)), Sketch::new([1; 32], set(50..150)));
        assert_eq!(ours.difference(&theirs.cells(20)), None);
        assert!(ours.difference(&theirs.cells(300)).is_some());
        assert_eq!(theirs.cells(usize::MAX).len(), MAX_CELLS);
    }

    #[test]
    fn made_up_cells_end_without_an_answer() {
        let ours = Sketch::new([1; 32], set(0..10));
        // A cell that looks like one item, in every place: taking it out of one puts it into others for ever.
        let hashed = Hashed::new(&[1; 32], &item(77));
        let cell = Cell { count: 1, sum: hashed.item, check: hashed.check };
        let mut cells = ours.cells(64);
        for made_up in &mut cells {
            made_up.count += 1;
            xor(&mut made_up.sum, &cell.sum);
            xor(&mut made_up.check, &cell.check);
        }
        assert_eq!(ours.difference(&cells), None);
        let wild = Cell { count: i64::MIN, sum: [255; 12], check: [9; 4] };
        assert_eq!(ours.difference(&[wild; 100]), None);
    }
}
