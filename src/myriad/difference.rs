//! What a patch from one blob to another says.
//!
//! Owns [`Differ`]: blobs of one network for different numbers of shaves share their weights and differ in small places,
//! so long equal stretches are found through an index of fixed blocks instead of a sorted list of all suffixes. The
//! index of the old bytes is made once and serves all patches. Any valid patch is right; this one is about the size of
//! bsdiff's own.

use super::patch::{Control, write};

/// Stretches shorter than this are not looked for; weights are aligned to 64 bytes.
const BLOCK: usize = 32;
/// How far two alignments are compared before the better one is chosen; bounds the work on repetitive bytes.
const HORIZON: usize = 2048;
/// How much better another alignment must be; below this an instruction costs more than it saves.
const GAIN: usize = 8;

/// The old bytes and where their blocks are.
pub struct Differ<'old> {
    old: &'old [u8],
    /// Open addressing; position of a block divided by [`BLOCK`], plus one; zero is empty.
    slots: Vec<u32>,
    /// A bit for each of [`SPARSE`] times as many hashes as there are slots, set if some block has it: most of what is
    /// looked for is nowhere, and these few bytes stay in the caches.
    known: Vec<u64>,
}

/// How many bits there are for each slot, a power of two.
const SPARSE: usize = 8;

/// An alignment of new bytes with old ones.
#[derive(Clone, Copy)]
struct Aligned {
    new: usize,
    old: usize,
}

impl<'old> Differ<'old> {
    /// Makes the index of `old`.
    pub fn new(old: &'old [u8]) -> Self {
        let blocks = old.len() / BLOCK;
        let slots = (blocks * 2).next_power_of_two().max(64);
        let mut differ = Self { old, slots: vec![0; slots], known: vec![0; slots * SPARSE / 64] };
        for (index, block) in old.chunks_exact(BLOCK).enumerate() {
            let Ok(entry) = u32::try_from(index + 1) else { break };
            let hash = hash(block);
            let slot = differ.slot_of(hash, block);
            if let Some(slot @ 0) = differ.slots.get_mut(slot) {
                *slot = entry;
            }
            let (word, bit) = differ.known_at(hash);
            if let Some(word) = differ.known.get_mut(word) {
                *word |= bit;
            }
        }
        differ
    }

    /// Returns the word and the bit of a hash among the known ones.
    fn known_at(&self, hash: u64) -> (usize, u64) {
        let word = (hash >> 38) as usize & (self.known.len() - 1);
        (word, 1 << (hash >> 32 & 63))
    }

    /// Returns the patch that makes `new` of the old bytes.
    pub fn patch(&self, new: &[u8]) -> Vec<u8> {
        write(self.old, new, &self.controls(new))
    }

    /// Returns the instructions that make `new` of the old bytes.
    fn controls(&self, new: &[u8]) -> Vec<Control> {
        let mut controls = Vec::new();
        let mut current = Aligned { new: 0, old: 0 };
        let mut at = 0;
        while at < new.len() {
            let place = current.old + (at - current.new);
            let run = common_prefix(new.get(at..).unwrap_or_default(), self.old.get(place..).unwrap_or_default());
            if run >= BLOCK {
                at += run;
                continue;
            }
            match self.find(new, at).filter(|found| self.is_better(new, at, place, *found)) {
                Some(found) => {
                    let next = Aligned { new: at, old: found };
                    let (control, start) = self.join(new, current, next);
                    controls.push(control);
                    current = start;
                    at += BLOCK;
                }
                None => at += run.max(1),
            }
        }
        let left = new.len() - current.new;
        let add = self.worthwhile_prefix(new.get(current.new..).unwrap_or_default(), current.old);
        if left > 0 {
            controls.push(Control { add, copy: left - add, seek: 0 });
        }
        controls
    }

    /// Returns where the block that begins at `at` stands in the old bytes.
    fn find(&self, new: &[u8], at: usize) -> Option<usize> {
        let block = new.get(at..at + BLOCK)?;
        let hash = hash(block);
        let (word, bit) = self.known_at(hash);
        if self.known.get(word)? & bit == 0 {
            return None;
        }
        let entry = *self.slots.get(self.slot_of(hash, block))?;
        Some((entry.checked_sub(1)?) as usize * BLOCK)
    }

    /// Returns the slot that holds `block`, which has this hash, or the free one where it belongs.
    fn slot_of(&self, hash: u64, block: &[u8]) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while let Some(entry) = self.slots.get(slot).and_then(|entry| entry.checked_sub(1)) {
            let from = entry as usize * BLOCK;
            if self.old.get(from..from + BLOCK) == Some(block) {
                break;
            }
            slot = (slot + 1) & mask;
        }
        slot
    }

    /// Returns whether going on at `found` agrees with clearly more of the next bytes than going on at `place`.
    fn is_better(&self, new: &[u8], at: usize, place: usize, found: usize) -> bool {
        if found == place {
            return false;
        }
        let ahead = new.get(at..new.len().min(at + HORIZON)).unwrap_or_default();
        let length = common_prefix(ahead, self.old.get(found..).unwrap_or_default());
        let ahead = ahead.get(..length).unwrap_or_default();
        let kept = ahead.iter().zip(self.old.get(place..).unwrap_or_default()).filter(|(new, old)| new == old).count();
        length > kept + GAIN
    }

    /// Divides the bytes between two alignments: the first goes on as long as it pays, the second begins as early as it
    /// pays, and what neither covers is copied.
    fn join(&self, new: &[u8], current: Aligned, next: Aligned) -> (Control, Aligned) {
        let between = new.get(current.new..next.new).unwrap_or_default();
        let mut forward = self.worthwhile_prefix(between, current.old);
        let backward = self.worthwhile_suffix(between, next.old);
        let mut backward_start = between.len() - backward;
        if forward > backward_start {
            // Both cover the middle: cut where the sum of agreements is largest.
            let overlap = backward_start..forward;
            let agrees = |index: usize, old: usize| between.get(index) == self.old.get(old);
            let (mut score, mut best, mut cut) = (0_i64, 0, overlap.start);
            for index in overlap {
                score += i64::from(agrees(index, current.old + index));
                score -= i64::from(agrees(index, (next.old + index).wrapping_sub(between.len())));
                if score > best {
                    (best, cut) = (score, index + 1);
                }
            }
            (forward, backward_start) = (cut, cut);
        }
        let start = Aligned { new: current.new + backward_start, old: next.old - (between.len() - backward_start) };
        let seek = start.old as i64 - (current.old + forward) as i64;
        (Control { add: forward, copy: backward_start - forward, seek }, start)
    }

    /// Returns how many of the first bytes are better made from the old bytes at `old` than copied.
    fn worthwhile_prefix(&self, new: &[u8], old: usize) -> usize {
        let old = self.old.get(old..).unwrap_or_default();
        let length = new.len().min(old.len());
        let rest = |at| (new.get(at..).unwrap_or_default(), old.get(at..).unwrap_or_default());
        longest_worthwhile(length, &|at| new.get(at) == old.get(at), &|at| {
            let (new, old) = rest(at);
            common_prefix(new, old)
        })
    }

    /// Returns how many of the last bytes are better made from the old bytes before `old` than copied.
    fn worthwhile_suffix(&self, new: &[u8], old: usize) -> usize {
        let old = self.old.get(..old).unwrap_or_default();
        let length = new.len().min(old.len());
        let place = |bytes: &[u8], at| bytes.len().checked_sub(at + 1).and_then(|place| bytes.get(place).copied());
        let rest = |bytes: &[u8], at| bytes.len().saturating_sub(at);
        longest_worthwhile(length, &|at| place(new, at) == place(old, at), &|at| {
            let (new, old) =
                (new.get(..rest(new, at)).unwrap_or_default(), old.get(..rest(old, at)).unwrap_or_default());
            common_suffix(new, old)
        })
    }
}

/// Returns the length, at most `length`, where agreements most exceed half of the bytes. `agrees` tells it of one byte, and
/// `run` how many agree from a place on, faster than they are looked at one by one; within a run the score only rises.
fn longest_worthwhile(length: usize, agrees: &impl Fn(usize) -> bool, run: &impl Fn(usize) -> usize) -> usize {
    /// As many as agree before more are expected.
    const MANY: usize = 32;
    let (mut score, mut best, mut longest, mut at, mut agreeing) = (0_i64, 0, 0, 0, 0);
    while at < length {
        let is_equal = agrees(at);
        at += 1;
        agreeing = if is_equal { agreeing + 1 } else { 0 };
        score += if is_equal { 1 } else { -1 };
        if agreeing == MANY {
            let more = run(at);
            at += more;
            score += more as i64;
            agreeing = 0;
        }
        if score > best {
            (best, longest) = (score, at);
        }
    }
    longest
}

/// Equal bytes are counted by lines first: comparing slices is much faster than comparing bytes.
const LINE: usize = 256;

/// Returns how many bytes are equal from the start.
fn common_prefix(left: &[u8], right: &[u8]) -> usize {
    let lines = left.chunks_exact(LINE).zip(right.chunks_exact(LINE)).take_while(|(left, right)| left == right).count();
    let from = lines * LINE;
    let left = left.get(from..).unwrap_or_default();
    let right = right.get(from..).unwrap_or_default();
    from + left.iter().zip(right).take_while(|(left, right)| left == right).count()
}

/// Returns how many bytes are equal from the end.
fn common_suffix(left: &[u8], right: &[u8]) -> usize {
    let lines =
        left.rchunks_exact(LINE).zip(right.rchunks_exact(LINE)).take_while(|(left, right)| left == right).count();
    let from = lines * LINE;
    let left = left.get(..left.len().saturating_sub(from)).unwrap_or_default();
    let right = right.get(..right.len().saturating_sub(from)).unwrap_or_default();
    from + left.iter().rev().zip(right.iter().rev()).take_while(|(left, right)| left == right).count()
}

/// Mixes a block into a word; multiplication spreads low differences upward, the shift brings them back down.
fn hash(block: &[u8]) -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for word in block.chunks_exact(8) {
        let word = word.try_into().map_or(0, u64::from_le_bytes);
        state = (state ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd);
        state ^= state >> 32;
    }
    state
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::myriad::patch::apply;
    use crate::units::ByteSize;

    /// Returns reproducible bytes without structure.
    fn noise(length: usize, seed: u32) -> Vec<u8> {
        let mut state = seed;
        let step = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..length).map(step).collect()
    }

    fn check(old: &[u8], new: &[u8]) -> usize {
        let patch = Differ::new(old).patch(new);
        assert_eq!(apply(old, &patch, ByteSize::new(1 << 24)).unwrap(), new);
        patch.len()
    }

    #[test]
    fn moved_weights_cost_almost_nothing() {
        let weights = noise(400_000, 1);
        let (head, other) = (noise(3_000, 2), noise(5_000, 3));
        let old = [&head[..], &weights].concat();
        let new = [&other[..], &weights[..150_000], &head[..100], &weights[150_000..]].concat();
        let size = check(&old, &new);
        assert!(size < 7_000, "{size} bytes for 5,000 new ones");
    }

    #[test]
    fn scattered_changes_stay_differences() {
        let old = noise(200_000, 4);
        let mut new = old.clone();
        for at in (0..new.len()).step_by(24) {
            new[at] = new[at].wrapping_add(64);
        }
        let size = check(&old, &new);
        assert!(size < 4_000, "{size}");
    }

    #[test]
    fn degenerate_pairs_work() {
        let zeros = vec![0; 100_000];
        let some = noise(1_000, 5);
        let pairs: [(&[u8], &[u8]); 8] = [
            (b"", b""),
            (b"", &some),
            (&some, b""),
            (&some, &some),
            (&zeros, &some),
            (&some, &zeros),
            (&zeros, &zeros[1..]),
            (&some[1..], &some),
        ];
        for (old, new) in pairs {
            check(old, new);
        }
    }

    #[test]
    fn runs_are_skipped_without_another_result() {
        let old = noise(5000, 1);
        for (seed, stretch) in [(2, 1), (3, 20), (4, 40), (5, 700), (6, 3000)] {
            // Stretches of equal bytes between stretches of other ones, which agree here and there.
            let other = noise(5000, seed);
            let new: Vec<u8> = (0..5000).map(|at| if at / stretch % 2 == 0 { old[at] } else { other[at] }).collect();
            let naive = |agrees: &[bool]| {
                let sums = agrees.iter().scan(0_i64, |sum, agrees| {
                    *sum += if *agrees { 1 } else { -1 };
                    Some(*sum)
                });
                let best = sums.clone().max().filter(|best| *best > 0);
                best.map_or(0, |best| sums.clone().position(|sum| sum == best).unwrap_or(0) + 1)
            };
            let mut agrees: Vec<bool> = old.iter().zip(&new).map(|(old, new)| old == new).collect();
            let differ = Differ::new(&old);
            assert_eq!(differ.worthwhile_prefix(&new, 0), naive(&agrees), "{stretch}");
            agrees.reverse();
            assert_eq!(differ.worthwhile_suffix(&new, old.len()), naive(&agrees), "{stretch}");
        }
    }

    proptest! {
        #[test]
        fn any_edit_can_be_applied(seed in 1_u32..500, cuts in proptest::collection::vec((0_usize..4000, 0_usize..4000), 0..6)) {
            let old = noise(4000, seed);
            let mut new = Vec::new();
            for (from, to) in cuts {
                new.extend(&old[from.min(to)..from.max(to)]);
                new.push(7);
            }
            check(&old, &new);
        }
    }
}
