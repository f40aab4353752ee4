//! Merkle trees as RFC 6962 hashes them, and pieces of such trees.

use aws_lc_rs::digest::{Context, SHA256, digest};

pub type Hash = [u8; 32];

/// Of a record's bytes.
pub fn leaf(bytes: &[u8]) -> Hash {
    // Most are short, and a context costs more than their sum.
    let mut whole = [0; SHORT];
    if let Some((_, to)) = whole.split_first_mut()
        && let Some(to) = to.get_mut(..bytes.len())
    {
        to.copy_from_slice(bytes);
        return taken(digest(&SHA256, whole.get(..=bytes.len()).unwrap_or_default()).as_ref());
    }
    let mut context = Context::new(&SHA256);
    context.update(&[0]);
    context.update(bytes);
    taken(context.finish().as_ref())
}

pub fn node(left: &Hash, right: &Hash) -> Hash {
    let mut whole = [1; 65];
    let [_, hashes @ ..] = &mut whole;
    let (one, other) = hashes.split_at_mut(left.len());
    one.copy_from_slice(left);
    other.copy_from_slice(right);
    taken(digest(&SHA256, &whole).as_ref())
}

/// The root of a tree without leaves.
pub fn nothing() -> Hash {
    taken(digest(&SHA256, &[]).as_ref())
}

fn taken(bytes: &[u8]) -> Hash {
    bytes.first_chunk().copied().unwrap_or_default()
}

/// The leaves from `begin` to before `end`, as the roots of the largest whole
/// subtrees that they make up: at most two of every height. With `begin` 0 it
/// is all that must be kept of a tree to go on appending to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    begin: u64,
    end: u64,
    blocks: Vec<(u8, Hash)>,
}

impl Range {
    pub fn empty(at: u64) -> Self {
        Self { begin: at, end: at, blocks: Vec::new() }
    }

    /// From the subtrees' roots, left to right. `None`: that many hashes don't
    /// make up this range.
    pub fn from_hashes(begin: u64, end: u64, hashes: &[Hash]) -> Option<Self> {
        let heights = heights(begin, end)?;
        (heights.len() == hashes.len()).then(|| Self {
            begin,
            end,
            blocks: heights.into_iter().zip(hashes.iter().copied()).collect(),
        })
    }

    pub fn begin(&self) -> u64 {
        self.begin
    }

    pub fn end(&self) -> u64 {
        self.end
    }

    pub fn hashes(&self) -> Vec<Hash> {
        self.blocks.iter().map(|(_, hash)| *hash).collect()
    }

    /// The root of one of the subtrees, if there is one with these ends.
    pub fn block(&self, begin: u64, end: u64) -> Option<Hash> {
        let mut at = self.begin;
        for (height, hash) in &self.blocks {
            let next = at + (1 << height);
            if (at, next) == (begin, end) {
                return Some(*hash);
            }
            at = next;
        }
        None
    }

    pub fn push(&mut self, leaf: Hash) {
        self.push_block(0, leaf);
    }

    /// Puts a range behind this one. False, and nothing is changed: it doesn't
    /// begin where this one ends.
    pub fn extend(&mut self, right: &Self) -> bool {
        if right.begin != self.end {
            return false;
        }
        for (height, hash) in &right.blocks {
            self.push_block(*height, *hash);
        }
        true
    }

    /// The root of the tree, for a range from 0.
    pub fn root(&self) -> Option<Hash> {
        if self.begin != 0 {
            return None;
        }
        let mut from_right = self.blocks.iter().rev();
        let Some((_, last)) = from_right.next() else { return Some(nothing()) };
        Some(from_right.fold(*last, |right, (_, left)| node(left, &right)))
    }

    /// A whole subtree at the end. INVARIANT: the callers' blocks are aligned.
    fn push_block(&mut self, mut height: u8, mut hash: Hash) {
        let mut start = self.end;
        self.end += 1 << height;
        while let Some((left_height, left)) = self.blocks.last().copied() {
            // A left sibling stands where the bit of its height isn't set.
            if left_height != height || start >> height & 1 == 0 {
                break;
            }
            hash = node(&left, &hash);
            start -= 1 << height;
            height += 1;
            self.blocks.pop();
        }
        self.blocks.push((height, hash));
    }
}

/// The heights of the largest whole subtrees from `begin` to `end`.
fn heights(begin: u64, end: u64) -> Option<Vec<u8>> {
    let mut heights = Vec::new();
    let mut at = begin;
    while at < end {
        let aligned = if at == 0 { 63 } else { at.trailing_zeros().min(63) };
        let fits = 63 - (end - at).leading_zeros();
        let height = aligned.min(fits);
        heights.push(u8::try_from(height).ok()?);
        at = at.checked_add(1 << height)?;
    }
    (at == end).then_some(heights)
}

/// The root of the leaves from `begin` to before `end`, both known.
type Subtree<'a> = &'a mut dyn FnMut(u64, u64) -> Option<Hash>;

/// The hashes that lead from a leaf to the root of the first `size` leaves.
pub fn inclusion(index: u64, size: u64, subtree: Subtree<'_>) -> Option<Vec<Hash>> {
    let mut path = Vec::new();
    let (mut begin, mut end) = (0, size);
    if index >= size {
        return None;
    }
    while end - begin > 1 {
        let split = begin + largest_below(end - begin);
        if index < split {
            path.push(subtree(split, end)?);
            end = split;
        } else {
            path.push(subtree(begin, split)?);
            begin = split;
        }
    }
    path.reverse();
    Some(path)
}

/// The root that a leaf and its path lead to. `None`: the path has the wrong
/// length for this place in a tree of this size.
pub fn root_of(index: u64, size: u64, leaf: Hash, path: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut place, mut last) = (index, size - 1);
    let mut hash = leaf;
    for sibling in path {
        if last == 0 {
            return None;
        }
        if place & 1 == 1 || place == last {
            hash = node(sibling, &hash);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            hash = node(&hash, sibling);
        }
        place >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

/// The largest power of two that is smaller.
fn largest_below(count: u64) -> u64 {
    1 << (63 - (count - 1).leading_zeros())
}

/// The longest record that is hashed in one go.
const SHORT: usize = 256;

#[cfg(test)]
mod tests;
