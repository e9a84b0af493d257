//! The covers of many ways that have their beginnings in common.

use std::num::NonZeroU32;

use super::ByteCover;

/// A cover in half the memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cover {
    pub(super) new: u32,
    pub(super) old: u32,
    pub(super) length: u32,
}

/// The last cover of a way; its number from 1 on.
#[derive(Debug, Clone, Copy)]
pub(super) struct NodeId(NonZeroU32);

impl NodeId {
    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

struct Node {
    cover: Cover,
    before: Option<NodeId>,
}

/// So many covers are kept before those that no way goes through are forgotten.
const MIN_LIMIT: usize = 8 << 10;

/// Covers, each with the one before it on its way.
pub(super) struct CoverTree {
    nodes: Vec<Node>,
    limit: usize,
}

impl CoverTree {
    pub(super) fn new() -> Self {
        Self { nodes: Vec::new(), limit: MIN_LIMIT }
    }

    pub(super) fn add(&mut self, cover: Cover, before: Option<NodeId>) -> Option<NodeId> {
        self.nodes.push(Node { cover, before });
        u32::try_from(self.nodes.len()).ok().and_then(NonZeroU32::new).map(NodeId)
    }

    /// Whether it is time to forget.
    pub(super) fn is_full(&self) -> bool {
        self.nodes.len() >= self.limit
    }

    /// Forgets what is not on a way to one of `ends`, which change their numbers.
    pub(super) fn retain(&mut self, ends: &mut [&mut Option<NodeId>]) {
        let mut is_used = vec![false; self.nodes.len()];
        for end in &*ends {
            let mut next = **end;
            while let Some(id) = next.filter(|id| !is_used[id.index()]) {
                is_used[id.index()] = true;
                next = self.nodes[id.index()].before;
            }
        }
        let mut places = Vec::with_capacity(self.nodes.len());
        let mut kept = 0;
        for is_used in &is_used {
            kept += u32::from(*is_used);
            places.push(NonZeroU32::new(kept).map(NodeId));
        }
        let place = |id: NodeId| places[id.index()];
        let mut used = is_used.into_iter();
        self.nodes.retain(|_| used.next().unwrap_or(false));
        self.nodes.iter_mut().for_each(|node| node.before = node.before.and_then(place));
        ends.iter_mut().for_each(|end| **end = end.and_then(place));
        self.limit = (self.nodes.len() / 2 * 3).max(MIN_LIMIT);
        self.nodes.reserve_exact(self.limit - self.nodes.len());
    }

    /// All covers of a way, in order.
    pub(super) fn up_to(&self, end: Option<NodeId>) -> Vec<ByteCover> {
        let before = |node: &&Node| node.before.map(|id| &self.nodes[id.index()]);
        let last = end.map(|id| &self.nodes[id.index()]);
        let mut covers: Vec<ByteCover> = std::iter::successors(last, before)
            .map(|Node { cover, .. }| ByteCover {
                new: cover.new as usize,
                old: cover.old as usize,
                length: cover.length as usize,
            })
            .collect();
        covers.reverse();
        covers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cover(new: u32) -> Cover {
        Cover { new, old: new + 7, length: 3 }
    }

    #[test]
    fn ways_keep_their_covers_when_others_are_forgotten() {
        let mut tree = CoverTree::new();
        let first = tree.add(cover(1), None);
        let dead = tree.add(cover(2), first);
        tree.add(cover(3), dead);
        let mut long = tree.add(cover(4), first);
        let mut short = tree.add(cover(5), None);
        let mut none = None;
        tree.retain(&mut [&mut long, &mut none, &mut short]);

        assert_eq!(tree.nodes.len(), 3);
        let places = |end| tree.up_to(end).iter().map(|cover| cover.new).collect::<Vec<_>>();
        assert_eq!(places(long), [1, 4]);
        assert_eq!(places(short), [5]);
        assert_eq!(places(none), [0usize; 0]);
    }
}
