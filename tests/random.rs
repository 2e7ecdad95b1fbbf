//! Random networks: what a string of operators computes is the same after rewriting and as OpenVINO imports it, and the
//! compiler takes it. What fails is made as simple as it fails still.
//!
//! `MODELCONVERTER_RANDOM_NETWORKS=FROM-TO` tries the networks of other seeds.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod support;

#[path = "support/onnx_builder.rs"]
mod builder;
#[path = "random/draft.rs"]
mod draft;
#[path = "surgery/network.rs"]
#[allow(dead_code, reason = "networks that are written by hand")]
mod network;
#[path = "random/operators/mod.rs"]
mod operators;
#[path = "surgery/pairs.rs"]
#[allow(dead_code, reason = "the passes of single tests")]
mod pairs;

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use modelconverter::onnx::Model;
use modelconverter::surgery::support::{FrontEnd, unsupported};
use modelconverter::surgery::{DeadCode, Pass, UnusedDomains, myriad_passes, plain_passes};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::Value;

use draft::{Plan, plans};
use pairs::{Pair, judged, rewritten};
use support::{folder, program, said, shared_store};

/// How often a network that fails is made simpler.
const ATTEMPTS: usize = 60;

/// The plan of a seed, which can be made simpler.
fn tree(seed: u64) -> impl ValueTree<Value = Plan> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    plans().new_tree(&mut TestRunner::new_with_rng(Config::default(), random)).unwrap()
}

/// The seeds to try: so many as every run tries, or those that the environment names.
fn seeds(count: u64) -> Range<u64> {
    let Ok(named) = std::env::var("MODELCONVERTER_RANDOM_NETWORKS") else { return 0..count };
    let (from, to) = named.split_once('-').unwrap();
    from.parse().unwrap()..to.parse().unwrap()
}

#[test]
fn what_random_networks_compute_stays() {
    let passes: Vec<&dyn Pass> = [&plain_passes()[..], &myriad_passes(), &[&DeadCode, &UnusedDomains]].concat();
    let (mut pairs, mut wrong) = (Vec::new(), Vec::new());
    let seeds = seeds(400);
    let count = seeds.clone().count();
    for seed in seeds {
        let Some(bytes) = tree(seed).current().model() else { continue };
        let before = Model::parse(bytes.into()).unwrap();
        let (after, _) = rewritten(&before, &passes);
        wrong.extend(unsupported(&after, FrontEnd::Importer).into_iter().map(|it| format!("{seed}: {}", it.reason)));
        pairs.push(Pair { name: seed.to_string(), before, after, sizes: BTreeMap::new(), tolerance: 1e-4 });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(pairs.len() * 10 >= count * 9, "networks come of nearly all plans: {} of {count}", pairs.len());
    assert_eq!(judged(&pairs), pairs.len(), "ONNX Runtime computes all of them");
}

/// Makes a blob of a network and returns what is wrong with that.
fn failure(model: &[u8]) -> Option<String> {
    let folder = folder();
    fs::write(folder.path().join("m.onnx"), model).unwrap();
    let words = ["convert", "rvc2", "--to", "native", "--output-dir", "r", "--path", "m.onnx", "encoding", "NONE"];
    let single = ["rvc2.superblob", "false", "rvc2.number_of_shaves", "6"];
    let output = program(folder.path(), &shared_store()).args(words).args(single).output().unwrap();
    if !output.status.success() {
        return Some(said(&output));
    }
    let record = fs::read(folder.path().join("output/r/buildinfo.json")).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    let proven = |network: &Value| network == "untouched" || network["compared"].is_object();
    let proven = proven(&record["proof"]["rewritten"]) && proven(&record["proof"]["imported"]);
    (!proven).then(|| said(&output))
}

/// The simplest network that fails like that of a tree, and how.
fn simplest(mut tree: impl ValueTree<Value = Plan>, failed: String) -> (Plan, String) {
    let mut found = (tree.current(), failed);
    let mut moved = tree.simplify();
    for _ in 0..ATTEMPTS {
        if !moved {
            break;
        }
        let plan = tree.current();
        let failed = plan.model().and_then(|model| failure(&model));
        moved = match failed {
            Some(failed) => {
                found = (plan, failed);
                tree.simplify()
            }
            None => tree.complicate(),
        };
    }
    found
}

/// What is wrong with the network of a seed, which is kept as a file below the build folder.
fn complaint(seed: u64) -> Option<String> {
    let tree = tree(seed);
    let failed = tree.current().model().and_then(|model| failure(&model))?;
    let (plan, failed) = simplest(tree, failed);
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("random-{seed}.onnx"));
    fs::write(&kept, plan.model().unwrap()).unwrap();
    Some(format!("{seed}: {}\n{failed}", kept.display()))
}

#[test]
fn random_networks_become_blobs() {
    let next = AtomicU64::new(seeds(40).start);
    let work = || {
        let seeds = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&seed| seed < seeds(40).end);
        std::iter::from_fn(seeds).filter_map(complaint).collect::<Vec<_>>()
    };
    let wrong = std::thread::scope(|scope| {
        let workers = [0; 2].map(|_| scope.spawn(work));
        workers.map(|worker| worker.join().unwrap()).concat()
    });
    assert!(!seeds(40).is_empty(), "no seeds");
    assert!(wrong.is_empty(), "{} networks fail:\n{}", wrong.len(), wrong.join("\n"));
}
