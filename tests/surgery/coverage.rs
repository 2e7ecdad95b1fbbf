//! What of ONNX reaches a MyriadX blob: every node test of the onnx package, with all inputs but the first as constants,
//! rewritten as in a conversion.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use modelconverter::surgery::support::{FrontEnd, unsupported};
use modelconverter::surgery::{DeadCode, Pass, UnusedDomains, myriad_passes, plain_passes};

use crate::pairs::rewritten;

/// The record: a line for each test that is refused, with what it is refused for. `MODELCONVERTER_BLESS=1` writes it anew.
const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/surgery/refused.txt");

/// What this is not about: training, and values that are no tensors of numbers.
fn is_elsewhere(case: &str, operators: &[&str]) -> bool {
    let words =
        ["StringNormalizer", "StringConcat", "StringSplit", "RegexFullMatch", "TfIdfVectorizer", "LabelEncoder"];
    case.contains("training") || operators.iter().any(|it| words.contains(it))
}

#[test]
fn what_is_refused_is_on_record() {
    let (mut refused, mut taken) = (BTreeMap::new(), 0);
    let passes: Vec<&dyn Pass> = [&plain_passes()[..], &myriad_passes(), &[&DeadCode, &UnusedDomains]].concat();
    for case in crate::corpus::cases() {
        let Some(before) = case.with_constants(1) else { continue };
        let operators: Vec<&str> = before.graph().node.iter().map(|node| node.op_type()).collect();
        if is_elsewhere(&case.name, &operators) {
            continue;
        }
        let (after, _) = rewritten(&before, &passes);
        match unsupported(&after, FrontEnd::Importer).first() {
            Some(refusal) => drop(refused.insert(case.name, format!("{}: {}", refusal.node, refusal.reason))),
            None => taken += 1,
        }
    }
    let mut record = String::new();
    for (name, reason) in &refused {
        let _ = writeln!(record, "{name}: {reason}");
    }
    println!("{taken} are taken, {} refused", refused.len());
    if std::env::var_os("MODELCONVERTER_BLESS").is_some() {
        std::fs::write(RECORD, &record).unwrap();
    }
    let recorded = std::fs::read_to_string(Path::new(RECORD)).unwrap_or_default();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
    let (recorded, found) = (lines(&recorded), lines(&record));
    let lost: Vec<_> = found.difference(&recorded).collect();
    let won: Vec<_> = recorded.difference(&found).collect();
    assert!(lost.is_empty() && won.is_empty(), "refused now: {lost:#?}\nnot any more: {won:#?}");
}
