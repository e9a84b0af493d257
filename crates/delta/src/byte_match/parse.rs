//! The cheapest way through the new bytes: along which alignments, from where to where, and where none.
//!
//! This is Viterbi's algorithm over alignments. At each byte the cheapest way is known that ends in a
//! literal, and for each alignment that is in sight the cheapest that ends on it.

use super::ByteCover;
use super::candidates::Candidate;
use super::common_prefix;
use super::cover_tree::{Cover, CoverTree, NodeId};
use super::literal_cost::LiteralCosts;

/// What a cover costs before its offset, in 256ths of a byte: its length, and the distance to it.
const COVER_COST: u64 = 700;
/// What each bit of an offset costs, counted from the end of the cover before, and the most that count. It is more than a
/// bit: where covers are short and far, literals in their place have repeats in other files, which are not known here.
const OFFSET_BIT_COST: u64 = 60;
const MAX_OFFSET_BITS: u32 = 24;
/// What differences cost, in 256ths of a byte.
#[derive(Debug, Clone, Copy)]
pub(super) struct DifferenceCosts {
    /// After an equal byte …
    first: u64,
    /// … and after another.
    next: u64,
}

/// What is coded as it is.
pub(super) const DIFFERENCES: DifferenceCosts = DifferenceCosts { first: 290, next: 200 };

/// In executables most of them are references that moved, which are predicted.
pub(super) const MOVED_REFERENCES: DifferenceCosts = DifferenceCosts { first: 270, next: 170 };

/// What is coded beside covers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coded<'a> {
    /// What literals are taken from, byte by byte beside those that are matched.
    pub(super) literals: &'a [u8],
    pub(super) differences: DifferenceCosts,
}

/// No way ends there.
const NEVER: u64 = u64::MAX / 2;

/// Which alignments are in sight.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sight {
    /// At most so many are at a time.
    pub(super) most: usize,
    /// They come in sight so many bytes before they begin: differences may be cheaper there than literals.
    pub(super) lead_bytes: usize,
}

/// How well an alignment has agreed lately, of 256: in the beginning, and the least to stay in sight.
const FIRST_AGREEMENT: u32 = 128;
const MIN_AGREEMENT: u32 = 60;

/// The cheapest covers of `new` on alignments that are candidates.
pub(super) fn cheapest_covers(
    old: &[u8],
    new: &[u8],
    candidates: impl Iterator<Item = Candidate>,
    coded: Coded<'_>,
    sight: Sight,
) -> Vec<ByteCover> {
    let mut parse = Parse::new(old, new, coded, sight.most);
    parse.see(Candidate::FIRST);
    let mut candidates = candidates.peekable();
    while parse.at < new.len() {
        let in_sight = parse.at + sight.lead_bytes;
        while let Some(candidate) = candidates.next_if(|candidate| candidate.start <= in_sight) {
            parse.see(candidate);
        }
        let next = candidates.peek().map(|candidate| candidate.start - sight.lead_bytes);
        parse.advance(next.unwrap_or(new.len()));
    }
    parse.finish()
}

struct Parse<'a> {
    old: &'a [u8],
    new: &'a [u8],
    literals: LiteralCosts<'a>,
    differences: DifferenceCosts,
    most_in_sight: usize,
    /// Bytes of new that all ways have behind them.
    at: usize,
    /// The cheapest way that ends in a literal.
    literal: Way,
    diagonals: Vec<Diagonal>,
    covers: CoverTree,
    /// Empty between steps.
    entries: Vec<Entry>,
}

/// A way up to some byte of new.
#[derive(Clone, Copy)]
struct Way {
    cost: u64,
    /// Its last cover, if it has any …
    last: Option<Cover>,
    /// … and those before.
    before: Option<NodeId>,
}

impl Way {
    /// Where in old its last cover ends.
    fn end(&self) -> usize {
        self.last.map_or(0, |last| last.old as usize + last.length as usize)
    }

    /// Writes down its last cover: it goes on from there.
    fn put_into(self, covers: &mut CoverTree) -> Option<NodeId> {
        self.last.map_or(self.before, |last| covers.add(last, self.before))
    }
}

/// A way that comes to an alignment.
struct Entry {
    diagonal: usize,
    cost: u64,
    way: Way,
}

/// An alignment that is in sight, and the cheapest way that ends on it.
struct Diagonal {
    shift: usize,
    cost: u64,
    /// Where the way came to the alignment, and its covers before.
    start: u32,
    before: Option<NodeId>,
    /// Before its match it is not judged.
    judged_from: u32,
    agreement: u32,
    /// Whether it agreed in the byte before …
    has_agreed: bool,
    /// … and does in that of the step at hand, …
    agrees: bool,
    /// … beside which it may have none.
    is_over: bool,
    /// Whether ways may come to it where it agrees: within a run that does it is not cheaper than at its start, but
    /// where a run ends that was followed they come late.
    is_open: bool,
}

impl Diagonal {
    /// The way, with a cover that ends at `end`.
    fn way(&self, end: usize) -> Way {
        let Self { shift, cost, start, before, .. } = *self;
        let last = Cover {
            new: start,
            old: narrow((start as usize).wrapping_add(shift)),
            length: narrow(end - start as usize),
        };
        Way { cost, last: Some(last), before }
    }

    /// Comes to the alignment at `at`.
    fn enter(&mut self, at: usize, cost: u64, before: Option<NodeId>) {
        (self.start, self.cost, self.before) = (narrow(at), cost, before);
    }

    /// Looks at the next byte of new, and at that of old beside it.
    fn look_at(&mut self, new: u8, old: Option<&u8>) {
        self.agrees = old == Some(&new);
        self.is_over = old.is_none();
    }

    /// Whether a way may come to it here.
    fn may_be_entered(&self) -> bool {
        self.agrees & self.is_open
    }

    /// Goes on by the byte at `at`. What agrees is as good as random: this has no branches for it.
    fn go_on(&mut self, at: u32, costs: DifferenceCosts) {
        let of_difference = if self.has_agreed { costs.first } else { costs.next };
        self.cost += u64::from(!self.agrees) * of_difference;
        if self.is_over {
            self.cost = NEVER;
        }
        (self.has_agreed, self.is_open) = (self.agrees, !self.agrees);
        let agreement = agreement_after(self.agreement, self.agrees);
        self.agreement = if at < self.judged_from { self.agreement } else { agreement };
    }
}

impl<'a> Parse<'a> {
    fn new(old: &'a [u8], new: &'a [u8], coded: Coded<'a>, most_in_sight: usize) -> Self {
        Self {
            old,
            new,
            literals: LiteralCosts::of(coded.literals),
            differences: coded.differences,
            most_in_sight,
            at: 0,
            literal: Way { cost: 0, last: None, before: None },
            diagonals: Vec::with_capacity(most_in_sight),
            covers: CoverTree::new(),
            entries: Vec::new(),
        }
    }

    /// Brings an alignment in sight, in place of that which agrees the least.
    fn see(&mut self, Candidate { new, shift, .. }: Candidate) {
        let known = self.diagonals.iter_mut().find(|diagonal| diagonal.shift == shift);
        if let Some(diagonal) = known {
            diagonal.agreement = diagonal.agreement.max(FIRST_AGREEMENT);
            diagonal.judged_from = narrow(new);
            return;
        }
        if self.diagonals.len() == self.most_in_sight {
            let agreement = |i: &usize| self.diagonals[*i].agreement;
            let worst = (0..self.diagonals.len()).min_by_key(agreement);
            worst.map(|worst| self.diagonals.swap_remove(worst));
        }
        self.diagonals.push(Diagonal {
            shift,
            cost: NEVER,
            start: 0,
            before: None,
            judged_from: narrow(new),
            agreement: FIRST_AGREEMENT,
            has_agreed: false,
            agrees: false,
            is_over: true,
            is_open: true,
        });
    }

    /// Goes on by a byte at least, and not beyond `end`.
    fn advance(&mut self, end: usize) {
        let cheapest = self.cheapest();
        let followed = cheapest.map(|cheapest| (cheapest, self.agreeing_run(cheapest, end)));
        match followed {
            Some((cheapest, run)) if run > 0 => self.follow(cheapest, run),
            _ => self.step(cheapest),
        }
    }

    /// For how many bytes the cheapest alignment agrees, where that is the cheapest way too.
    fn agreeing_run(&self, cheapest: usize, end: usize) -> usize {
        let diagonal = &self.diagonals[cheapest];
        if !diagonal.has_agreed || diagonal.cost > self.literal.cost {
            return 0;
        }
        let old = self.old.get(self.at.wrapping_add(diagonal.shift)..).unwrap_or_default();
        common_prefix(old, &self.new[self.at..end])
    }

    /// Goes on by `run` bytes, in which the cheapest alignment agrees: to leave it before their end is not cheaper, and
    /// covers that end where they no longer agree have more in common.
    fn follow(&mut self, cheapest: usize, run: usize) {
        let end = self.at + run;
        for (i, diagonal) in self.diagonals.iter_mut().enumerate() {
            if i == cheapest {
                // After so many bytes it changes no more.
                for _ in 0..run.min(256) {
                    diagonal.agreement = agreement_after(diagonal.agreement, true);
                }
                self.literal = diagonal.way(end - 1);
                continue;
            }
            for at in self.at..end {
                diagonal.look_at(self.new[at], self.old.get(at.wrapping_add(diagonal.shift)));
                diagonal.go_on(narrow(at), self.differences);
                if diagonal.agreement < MIN_AGREEMENT {
                    break;
                }
            }
            diagonal.is_open = true;
        }
        self.diagonals.retain(|diagonal| diagonal.agreement >= MIN_AGREEMENT);
        self.literal.cost += self.literals.at(end - 1);
        self.at = end;
    }

    /// Goes on by a byte.
    fn step(&mut self, cheapest: Option<usize>) {
        let at = self.at;
        let best = cheapest.and_then(|i| self.cheap_way(i));
        let mut may_be_entered = false;
        for diagonal in &mut self.diagonals {
            diagonal.look_at(self.new[at], self.old.get(at.wrapping_add(diagonal.shift)));
            may_be_entered |= diagonal.may_be_entered();
        }
        if may_be_entered {
            self.change_alignments(best.map_or(self.literal.cost, |best| best.cost) + COVER_COST);
        }
        let mut least_agreement = u32::MAX;
        for diagonal in &mut self.diagonals {
            diagonal.go_on(narrow(at), self.differences);
            least_agreement = least_agreement.min(diagonal.agreement);
        }
        if least_agreement < MIN_AGREEMENT {
            self.diagonals.retain(|diagonal| diagonal.agreement >= MIN_AGREEMENT);
        }
        if let Some(best) = best {
            self.literal = best;
        }
        self.literal.cost += self.literals.at(at);
        self.at += 1;
        if self.covers.is_full() {
            self.forget();
        }
    }

    /// Comes to alignments from others, where that is cheaper than the way that is on them. No way to one costs less
    /// than `least`.
    fn change_alignments(&mut self, least: u64) {
        let mut entries = std::mem::take(&mut self.entries);
        for (i, diagonal) in self.diagonals.iter().enumerate() {
            if diagonal.may_be_entered() && least < diagonal.cost {
                entries.extend(self.cheapest_entry(i));
            }
        }
        for Entry { diagonal, cost, way } in entries.drain(..) {
            let before = way.put_into(&mut self.covers);
            self.diagonals[diagonal].enter(self.at, cost, before);
        }
        self.entries = entries;
    }

    /// The cheapest way to an alignment, if it is cheaper than that which is on it.
    fn cheapest_entry(&self, diagonal: usize) -> Option<Entry> {
        let Diagonal { shift, cost: before, .. } = self.diagonals[diagonal];
        let place = self.at.wrapping_add(shift);
        let mut least = before;
        let mut cheapest = None;
        for other in &self.diagonals {
            // Most are too dear without their distance.
            if other.cost + COVER_COST < least {
                let cost = other.cost + cost_of_cover(self.at.wrapping_add(other.shift), place);
                if cost < least {
                    (least, cheapest) = (cost, Some(other));
                }
            }
        }
        let from_literal = self.literal.cost + cost_of_cover(self.literal.end(), place);
        let way = match cheapest {
            _ if from_literal < least => self.literal,
            other => other?.way(self.at),
        };
        Some(Entry { diagonal, cost: least.min(from_literal), way })
    }

    /// The alignment whose way is the cheapest.
    fn cheapest(&self) -> Option<usize> {
        let numbered = (0..).zip(&self.diagonals);
        let (_, cheapest) = numbered.map(|(i, diagonal)| (diagonal.cost, i)).reduce(lesser)?;
        Some(cheapest)
    }

    /// The way on an alignment, if it is cheaper than that which ends in a literal.
    fn cheap_way(&self, diagonal: usize) -> Option<Way> {
        let diagonal = &self.diagonals[diagonal];
        (diagonal.cost < self.literal.cost).then(|| diagonal.way(self.at))
    }

    /// The cheapest way of all.
    fn best(&self) -> Way {
        self.cheapest().and_then(|i| self.cheap_way(i)).unwrap_or(self.literal)
    }

    /// Forgets covers that no way goes through.
    fn forget(&mut self) {
        let ends = self.diagonals.iter_mut().map(|diagonal| &mut diagonal.before);
        let mut ends: Vec<_> = ends.chain([&mut self.literal.before]).collect();
        self.covers.retain(&mut ends);
    }

    fn finish(mut self) -> Vec<ByteCover> {
        let last = self.best().put_into(&mut self.covers);
        self.covers.up_to(last)
    }
}

/// What a cover from `old` on costs, without its differences, where the one before ended at `expected`.
fn cost_of_cover(expected: usize, old: usize) -> u64 {
    let bits = usize::BITS - old.abs_diff(expected).leading_zeros();
    COVER_COST + u64::from(bits.min(MAX_OFFSET_BITS)) * OFFSET_BIT_COST
}

/// The one that costs less, or the first, without a branch.
fn lesser(a: (u64, usize), b: (u64, usize)) -> (u64, usize) {
    let is_less = b.0 < a.0;
    (a.0.min(b.0), std::hint::select_unpredictable(is_less, b.1, a.1))
}

/// Of the last bytes, each counts a 32nd less than the next.
fn agreement_after(agreement: u32, agrees: bool) -> u32 {
    agreement - agreement / 32 + if agrees { 8 } else { 0 }
}

/// Neither file is longer.
fn narrow(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What `covers` come to: the model of costs, not the search.
    fn cost_of(old: &[u8], new: &[u8], covers: &[ByteCover]) -> u64 {
        let literals = LiteralCosts::of(new);
        let cost_of_literals =
            |range: std::ops::Range<usize>| -> u64 { range.map(|at| literals.at(at)).sum() };
        let (mut new_end, mut old_end, mut cost) = (0, 0, 0);
        for cover in covers {
            cost += cost_of_literals(new_end..cover.new);
            cost += cost_of_offset(cover.old, old_end) + COVER_COST;
            (new_end, old_end) = (cover.new + cover.length, cover.old + cover.length);
            let pairs = old[cover.old..old_end].iter().zip(&new[cover.new..new_end]);
            let differs: Vec<bool> = pairs.map(|(old, new)| old != new).collect();
            cost += differs.iter().filter(|differs| **differs).count() as u64 * DIFFERENCES.first;
            let again = differs.windows(2).filter(|pair| pair[0] && pair[1]).count() as u64;
            cost -= again * (DIFFERENCES.first - DIFFERENCES.next);
        }
        cost + cost_of_literals(new_end..new.len())
    }

    fn cost_of_offset(old: usize, expected: usize) -> u64 {
        let bits = (0..MAX_OFFSET_BITS).take_while(|bit| old.abs_diff(expected) >> bit > 0).count();
        bits as u64 * OFFSET_BIT_COST
    }

    /// The least that any covers come to: all of them are tried, from each place in new and each end in old.
    fn least_cost(old: &[u8], new: &[u8]) -> u64 {
        let literals = LiteralCosts::of(new);
        let mut least = vec![vec![NEVER; old.len() + 1]; new.len() + 1];
        least[0][0] = 0;
        for at in 0..new.len() {
            for end in 0..=old.len() {
                let here = least[at][end];
                if here == NEVER {
                    continue;
                }
                let mut reach = |at: usize, end: usize, cost: u64| {
                    least[at][end] = least[at][end].min(cost);
                };
                reach(at + 1, end, here + literals.at(at));
                for from in (0..old.len()).filter(|from| old[*from] == new[at]) {
                    let mut cost = here + COVER_COST + cost_of_offset(from, end);
                    let mut agreed = true;
                    for (i, (old, new)) in old[from..].iter().zip(&new[at..]).enumerate() {
                        let differs = if agreed { DIFFERENCES.first } else { DIFFERENCES.next };
                        cost += if old == new { 0 } else { differs };
                        agreed = old == new;
                        reach(at + i + 1, from + i + 1, cost);
                    }
                }
            }
        }
        least[new.len()].iter().copied().min().unwrap()
    }

    /// Bytes made of pieces of 40 others, with a few that differ and a few between.
    fn pieces() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
        let piece = (0usize..40, 1usize..30, any::<u8>(), prop::collection::vec(any::<u8>(), 0..4));
        let old = prop::collection::vec(any::<u8>(), 40);
        (old, prop::collection::vec(piece, 1..4)).prop_map(|(old, pieces)| {
            let mut new = Vec::new();
            for (start, length, changed, between) in pieces {
                let mut piece = old[start..(start + length).min(old.len())].to_vec();
                let at = usize::from(changed) % piece.len();
                piece[at] ^= changed & 3;
                new.extend(piece);
                new.extend(between);
            }
            (old, new)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn with_all_alignments_in_sight_hardly_any_covers_are_cheaper((old, new) in pieces()) {
            let coded = Coded { literals: &new, differences: DIFFERENCES };
            let mut parse = Parse::new(&old, &new, coded, old.len() + new.len());
            for shift in 0..old.len() + new.len() {
                let shift = shift.wrapping_sub(new.len());
                // Never judged.
                parse.see(Candidate { new: usize::MAX, start: 0, shift });
            }
            while parse.at < new.len() {
                parse.advance(new.len());
            }
            let promised = parse.best().cost;
            let covers = parse.finish();

            prop_assert_eq!(promised, cost_of(&old, &new, &covers));
            let least = least_cost(&old, &new);
            // Of ways that end in a literal the cheapest is kept, though another's last cover may be nearer to the next.
            let allowed = (covers.len() as u64 + 1) * 3 * OFFSET_BIT_COST;
            prop_assert!(least <= promised, "{promised} {least} {covers:?}");
            prop_assert!(promised <= least + allowed, "{promised} {least} {covers:?}");
        }
    }
}
