//! Readers of strangers' bytes: NN Archives, their descriptions, blobs and superblobs. Whatever comes, they read or refuse;
//! they never panic, and never ask for much more memory than the bytes deserve.
//!
//! Seeds are valid documents, changed at random. `MODELCONVERTER_FUZZ_CASES` says how many changes are tried for each
//! reader (2000 unless said otherwise; a million takes a few minutes with `--release`). What once failed stays in
//! `tests/hostile.proptest-regressions` and is tried first.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "support/tiny_blob.rs"]
mod tiny_blob;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::num::NonZeroU32;
use std::sync::OnceLock;

use modelconverter::config::archive::from_archive;
use modelconverter::config::read::read as read_config;
use modelconverter::myriad::difference::Differ;
use modelconverter::myriad::{Blob, Superblob, superblob};
use modelconverter::nn_archive::{ArchiveForm, Contents, Document, LIMITS, Member, read, write};
use modelconverter::units::{ByteSize, ShaveCount};
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};
use tiny_blob::blob;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

/// Counts what each thread holds.
struct Counting;

fn count(change: isize) {
    // Threads that end have no counters any more.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + change);
        let _ = MOST.try_with(|most| most.set(most.get().max(held.get())));
    });
}

#[expect(clippy::cast_possible_wrap, reason = "no allocation is larger than isize::MAX")]
// SAFETY: everything is done by the system's allocator; the counters are plain cells without allocations of their own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Returns how many bytes `work` held at once beyond what was held before.
fn most_held(work: impl FnOnce()) -> isize {
    let before = HELD.get();
    MOST.set(before);
    work();
    MOST.get() - before
}

/// One change of bytes; places are taken modulo the length.
#[derive(Clone, Debug)]
enum Change {
    Flip(usize, u8),
    Word(usize, u32),
    Number(usize, u64),
    Cut(usize),
    Repeat(usize, usize),
    Remove(usize, usize),
    Insert(usize, Vec<u8>),
    Splice(usize, usize, usize),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let place = || any::<usize>();
    let words = prop_oneof![Just(0), Just(1), Just(0xff), Just(0x7fff_ffff), Just(u32::MAX), any::<u32>()];
    let numbers = prop_oneof![Just(0), Just(u64::MAX), Just(1 << 40), Just(i64::MAX as u64), any::<u64>()];
    let text = prop_oneof![
        "[0-9{}\\[\\]\",:a-z./~\\\\-]{1,12}".prop_map(String::into_bytes),
        any::<[u8; 4]>().prop_map(Vec::from)
    ];
    let change = prop_oneof![
        3 => (place(), any::<u8>()).prop_map(|(at, byte)| Change::Flip(at, byte)),
        2 => (place(), words).prop_map(|(at, word)| Change::Word(at, word)),
        1 => (place(), numbers).prop_map(|(at, number)| Change::Number(at, number)),
        1 => place().prop_map(Change::Cut),
        1 => (place(), 1..64_usize).prop_map(|(at, length)| Change::Repeat(at, length)),
        1 => (place(), 1..64_usize).prop_map(|(at, length)| Change::Remove(at, length)),
        2 => (place(), text).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        1 => (place(), place(), 1..600_usize).prop_map(|(to, from, length)| Change::Splice(to, from, length)),
    ];
    proptest::collection::vec(change, 1..6)
}

fn apply(seed: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for change in changes {
        let length = bytes.len().max(1);
        let range = |at: usize, count: usize, bytes: &[u8]| at % length..(at % length + count).min(bytes.len());
        let put = |bytes: &mut Vec<u8>, at: usize, new: &[u8]| {
            bytes.iter_mut().skip(at % length).zip(new).for_each(|(old, new)| *old = *new);
        };
        match change {
            Change::Flip(at, byte) => bytes.iter_mut().skip(at % length).take(1).for_each(|old| *old ^= byte),
            Change::Word(at, word) => put(&mut bytes, *at, &word.to_le_bytes()),
            Change::Number(at, number) => put(&mut bytes, *at, &number.to_be_bytes()),
            Change::Cut(at) => bytes.truncate(at % length),
            Change::Repeat(at, count) => {
                let range = range(*at, *count, &bytes);
                let part = bytes.get(range.clone()).unwrap_or_default().to_vec();
                bytes.splice(range.start.min(bytes.len())..range.start.min(bytes.len()), part);
            }
            Change::Remove(at, count) => {
                let range = range(*at, *count, &bytes);
                if range.start <= range.end {
                    bytes.drain(range);
                }
            }
            Change::Insert(at, new) => {
                let at = (at % length).min(bytes.len());
                bytes.splice(at..at, new.iter().copied());
            }
            Change::Splice(to, from, count) => {
                let part = bytes.get(range(*from, *count, &bytes)).unwrap_or_default().to_vec();
                put(&mut bytes, *to, &part);
            }
        }
    }
    bytes
}

/// Tries changes of `seeds` on `reader`, which may hold `limit` at once.
fn try_changes(seeds: &[Vec<u8>], limit: ByteSize, reader: impl Fn(&[u8])) {
    let cases = std::env::var("MODELCONVERTER_FUZZ_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2000);
    let persistence = FileFailurePersistence::Direct("tests/hostile.proptest-regressions");
    let config = Config { cases, failure_persistence: Some(Box::new(persistence)), ..Config::default() };
    let strategy = (0..seeds.len(), changes());
    let result = TestRunner::new(config).run(&strategy, |(seed, changes)| {
        let bytes = apply(&seeds[seed], &changes);
        let held = most_held(|| reader(&bytes));
        prop_assert!(held <= limit.bytes() as isize, "{held} bytes were held for {}", bytes.len());
        Ok(())
    });
    result.unwrap();
}

const CONFIG: &str = r#"{"config_version": "1.0", "model": {"metadata": {"name": "net", "path": "net.onnx",
    "precision": "float16", "more": {"deep": [[1, 2.50e-3], null, "\u00e9\\"]}}, "inputs": [{"name": "x", "dtype": "uint8",
    "input_type": "image", "shape": [1, 3, 8, 8], "layout": "NCHW", "preprocessing": {"mean": [0, 1.5, 2],
    "scale": null, "dai_type": "BGR888p", "reverse_channels": true, "interleaved_to_planar": false,
    "resize_mode": "CROP"}}, {"name": "y", "dtype": "int64", "input_type": "raw", "shape": [0], "preprocessing": {}}],
    "outputs": [{"name": "z", "dtype": "float32", "shape": [1, 4], "layout": "NC"}], "heads": [{"parser": "YOLO",
    "outputs": ["z"], "metadata": {"classes": ["a"], "conf_threshold": 0.10, "postprocessor_path": "second.onnx"}}]}}"#;

fn archive(form: ArchiveForm) -> Vec<u8> {
    let document = Document::parse(CONFIG.as_bytes()).unwrap();
    let (mut model, mut second) = (&b"model of some bytes"[..], &[7_u8; 700][..]);
    let (size, second_size) = (ByteSize::new(model.len() as u64), ByteSize::new(second.len() as u64));
    let long = format!("a/{}/b", "long".repeat(40));
    let mut nothing = io::empty();
    let mut members = [
        Member { path: "net.onnx".parse().unwrap(), size, content: &mut model },
        Member { path: "second.onnx".parse().unwrap(), size: second_size, content: &mut second },
        Member { path: long.parse().unwrap(), size: ByteSize::new(0), content: &mut nothing },
    ];
    let contents = Contents { document: &document, build_info: Some(b"{}\n"), members: &mut members };
    write(contents, form, NonZeroU32::MIN, Vec::new()).unwrap()
}

fn take(bytes: &[u8]) {
    let _ = read(bytes, LIMITS, &mut |_, _, content| io::copy(content, &mut io::sink()).map(drop));
}

#[test]
fn nn_archives_are_read_or_refused() {
    use ArchiveForm::{Bzip2, Gzip, Plain, Xz, Zstandard};
    // Mostly plain ones, in which changes reach the tar; the others reach the decoders.
    let seeds = [Plain, Plain, Plain, Plain, Gzip, Zstandard, Bzip2, Xz].map(archive);
    // bzip2 needs 4 MB, decoders of zstd as much as windows say.
    try_changes(&seeds, ByteSize::new(32 << 20), take);
}

#[test]
fn changed_tars_are_read_or_refused_behind_sound_compression() {
    let packed = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    try_changes(&[archive(ArchiveForm::Plain)], ByteSize::new(32 << 20), |bytes| take(&packed(bytes)));
}

#[test]
fn descriptions_are_read_or_refused_and_mean_something() {
    let seeds = [CONFIG.as_bytes().to_vec(), Document::parse(CONFIG.as_bytes()).unwrap().render().into_bytes()];
    try_changes(&seeds, ByteSize::new(4 << 20), |bytes| {
        let Ok(document) = Document::parse(bytes) else { return };
        // What is taken is written so that it reads back, and is a configuration or says why not.
        assert_eq!(Document::parse(document.render().as_bytes()).unwrap(), document);
        if let Ok((tree, _)) = from_archive(&document, None) {
            let _ = read_config(&tree);
        }
    });
}

fn small_superblob() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let base = blob(8);
        let differ = Differ::new(&base);
        let others = ShaveCount::all().filter(|shaves| *shaves != ShaveCount::EIGHT);
        let patches: BTreeMap<ShaveCount, Vec<u8>> =
            others.map(|shaves| (shaves, differ.patch(&blob(u32::from(shaves.get()))))).collect();
        superblob::write(&base, &patches).unwrap()
    })
}

#[test]
fn blobs_are_read_or_refused() {
    try_changes(&[blob(8)], ByteSize::new(1 << 20), |bytes| drop(Blob::parse(bytes)));
}

#[test]
fn superblobs_are_read_or_refused() {
    // A patch may make at most 64 MB more than four times its base; three decoders of bzip2 need 4 MB each.
    try_changes(&[small_superblob().to_vec()], ByteSize::new(96 << 20), |bytes| {
        let Ok(superblob) = Superblob::parse(bytes) else { return };
        for shaves in [1, 8, 16].map(|count| ShaveCount::try_from(count).unwrap()) {
            if let Ok(bytes) = superblob.blob(shaves) {
                let _ = Blob::parse(&bytes);
            }
        }
    });
}

/// Changes of a superblob mostly spoil its lengths; these change one patch and keep the rest sound.
#[test]
fn changed_patches_are_applied_or_refused() {
    let base = blob(8);
    let patch = Differ::new(&base).patch(&blob(3));
    try_changes(&[patch], ByteSize::new(96 << 20), |patch| {
        let limit = ByteSize::new(64 << 20);
        if let Ok(bytes) = modelconverter::myriad::patch::apply(&base, patch, limit) {
            let _ = Blob::parse(&bytes);
        }
    });
}
