//! Whole networks, and the node tests whose models can be rewritten.

use std::collections::BTreeMap;

use crate::corpus::cases;
use crate::pairs::{PASSES, Pair, judged, rewritten};

/// What is random differs from run to run.
const RANDOM: [&str; 3] = ["bernoulli", "training", "random"];

/// Every node test with all inputs but the first as constants.
#[test]
fn node_tests_compute_the_same_after_rewriting() {
    let mut pairs = Vec::new();
    for case in cases() {
        if RANDOM.iter().any(|part| case.name.contains(part)) {
            continue;
        }
        let Some(before) = case.with_constants() else { continue };
        let (after, operations) = rewritten(&before, &PASSES);
        if !operations.is_empty() {
            pairs.push(Pair { name: case.name, before, after, sizes: BTreeMap::new(), tolerance: 3e-6 });
        }
    }
    let count = judged(&pairs);
    println!("{count} of {}", pairs.len());
    assert!(count > 300, "{count}");
}
