//! Seeded mutations of valid documents, and a measure of the memory that reading one takes.
//!
//! An execution is named by its target and number, so that a finding can be had again; its bytes are kept in
//! `tests/data/fuzz/<target>/` and come first in every later run.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::env;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// How many executions each target gets where nobody says otherwise.
const EXECUTIONS: u64 = 3_000;

/// Says how many executions each target gets.
const VARIABLE: &str = "MODELCONVERTER_FUZZ_EXECUTIONS";

/// Bytes that mean something in one of the formats: small numbers, ends of ranges, signs, keys of protobuf fields.
const TELLING: [u8; 16] = [0, 1, 2, 7, 8, 0x0a, 0x12, 0x1a, 0x22, 0x2e, 0x3a, 0x7f, 0x80, 0xfe, 0xff, b'"'];

/// Lengths and offsets that readers trip over.
const NUMBERS: [u64; 8] =
    [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, 0x8000_0000_0000_0000, u64::MAX];

/// Counts what each thread has allocated.
struct Counting;

thread_local! {
    static NOW: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(bytes: isize) {
    let now = NOW.get() + bytes;
    NOW.set(now);
    if now > MOST.get() {
        MOST.set(now);
    }
}

// SAFETY: every call is passed on unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size.cast_signed() - layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// How much memory one execution may take.
#[derive(Clone, Copy)]
pub struct Allowance {
    /// Bytes in any case.
    pub base: usize,
    /// Bytes for each byte that is read.
    pub factor: usize,
}

/// Runs a reader on everything found earlier, on the corpus as it is, and on changed copies of it.
///
/// `read` returns whether the bytes were taken; a run in which none were, or all, tests nothing.
pub fn fuzz(target: &str, corpus: &[Vec<u8>], words: &[&str], allowance: Allowance, read: impl Fn(&[u8]) -> bool) {
    let known = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fuzz").join(target);
    let mut known: Vec<PathBuf> =
        fs::read_dir(known).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    known.sort();
    for path in known {
        execute(target, &path.display().to_string(), &fs::read(&path).unwrap(), allowance, &read);
    }
    for (index, bytes) in corpus.iter().enumerate() {
        let taken = execute(target, &format!("corpus {index}"), bytes, allowance, &read);
        assert!(taken, "{target}: document {index} of the corpus is not taken");
    }
    let executions = env::var(VARIABLE).map_or(EXECUTIONS, |text| text.parse().expect(VARIABLE));
    let (mut taken, mut refused) = (0_u64, 0_u64);
    for number in 0..executions {
        let bytes = mutated(corpus, words, &mut Random(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5151_7eed));
        match execute(target, &format!("execution {number}"), &bytes, allowance, &read) {
            true => taken += 1,
            false => refused += 1,
        }
    }
    assert!(taken > executions / 1000, "{target}: {taken} of {executions} changed documents are taken");
    assert!(refused > executions / 1000, "{target}: {refused} of {executions} changed documents are refused");
    println!("{target}: {executions} executions, {taken} taken, {refused} refused");
}

fn execute(target: &str, name: &str, bytes: &[u8], allowance: Allowance, read: &impl Fn(&[u8]) -> bool) -> bool {
    MOST.set(NOW.get());
    let before = NOW.get();
    let result = catch_unwind(AssertUnwindSafe(|| read(bytes)));
    let most = usize::try_from(MOST.get() - before).unwrap_or(0);
    let allowed = allowance.base + allowance.factor * bytes.len();
    let why = match result {
        Ok(taken) if most <= allowed => return taken,
        Ok(_) => format!("{} bytes took {most} bytes of memory, more than {allowed}", bytes.len()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            format!("panicked: {}", text.unwrap_or_default())
        }
    };
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{target}-{}", name.replace([' ', '/'], "-")));
    fs::write(&kept, bytes).unwrap();
    panic!("{target}, {name}: {why}\nthe bytes are in {}; keep them below tests/data/fuzz/{target}/", kept.display());
}

/// SplitMix64: the same numbers for the same seed, everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap()
    }
}

/// Makes a document by a few changes of one of the corpus.
fn mutated(corpus: &[Vec<u8>], words: &[&str], random: &mut Random) -> Vec<u8> {
    let mut bytes = corpus[random.below(corpus.len())].clone();
    // Mostly one change: what many break is refused at the first.
    for _ in 0..=random.below(4).saturating_sub(1) {
        let at = random.below(bytes.len() + 1);
        let length = random.below((bytes.len() - at).min(32) + 1);
        match random.below(if words.is_empty() { 9 } else { 11 }) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = TELLING[random.below(TELLING.len())],
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..at + length)),
            4 => {
                let copy = bytes[at..at + length].to_vec();
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
            5 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len() + 1);
                let piece = &other[from..(from + random.below(64)).min(other.len())];
                bytes.splice(at..(at + length).min(bytes.len()), piece.iter().copied());
            }
            6 => {
                let number = NUMBERS[random.below(NUMBERS.len())].wrapping_add(random.next() % 3);
                let wide = [number.to_le_bytes(), number.to_be_bytes()][random.below(2)];
                let wide = &wide[..[4, 8][random.below(2)]];
                let end = (at + wide.len()).min(bytes.len());
                bytes.splice(at..end, wide.iter().copied());
            }
            7 => {
                let varint = [&[0xff, 0xff, 0xff, 0xff, 0x0f][..], &[0xff; 10], &[0x80, 0x80, 0x80, 0x80, 0x08]];
                bytes.splice(at..at, varint[random.below(3)].iter().copied());
            }
            8 => bytes.insert(at, (random.next() & 0xff) as u8),
            9 | 10 => {
                let word = words[random.below(words.len())].as_bytes();
                let end = if random.below(2) == 0 { at } else { at + length };
                bytes.splice(at..end, word.iter().copied());
            }
            _ => {}
        }
    }
    bytes
}
