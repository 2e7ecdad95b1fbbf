//! What a conversion found out about itself: whether the network still computes what the original does.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::{StageName, Tolerance};

/// How the networks of one stage compare with the original, run on the same inputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Proof {
    /// The stage.
    pub stage: StageName,
    /// How many sets of inputs were drawn.
    pub samples: u32,
    /// How many further sets were calibration samples.
    #[serde(default)]
    pub calibration_samples: u32,
    /// What inputs were drawn from.
    pub seed: u32,
    /// Whether the original was run in single precision, as ONNX Runtime does not know it in double precision.
    #[serde(default, skip_serializing_if = "is_false")]
    pub in_single_precision: bool,
    /// Whether the original was run with averages by the standard that ONNX Runtime computes otherwise.
    #[serde(default, skip_serializing_if = "is_false")]
    pub averages_by_the_standard: bool,
    /// The network after our rewriting.
    pub rewritten: Finding,
    /// The network as the vendor's library reads it, on the vendor's CPU device.
    pub imported: Finding,
    /// Outputs for single sets of inputs that were left out: how far rounding alone moves the original there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub noise: Vec<Distance>,
}

/// How one network compares with the original.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// It is the original: nothing was rewritten.
    Untouched,
    /// Both were run.
    Compared(Comparison),
    /// They were not compared.
    Unproven {
        /// Why not.
        reason: String,
    },
}

/// Two networks, run on the same inputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Comparison {
    /// What ran the network; the original is always run by ONNX Runtime.
    pub runtime: String,
    /// What was allowed.
    pub tolerance: Tolerance,
    /// What was found, by output.
    pub outputs: Vec<Distance>,
}

/// How far an output is from the original's, at worst, for one set of inputs or over all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Distance {
    /// The output.
    pub output: String,
    /// The set of inputs, from 0, if it is of one alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<u32>,
    /// How many elements were compared.
    pub elements: u64,
    /// How many whole numbers differ; of floating numbers, how many are infinite or no number on one side only.
    pub differing: u64,
    /// The largest error of an element.
    pub absolute: f64,
    /// The largest error as a part of the element's value; none if the original is all zeros, or whole numbers.
    #[serde(default)]
    pub relative: Option<f64>,
    /// The least cosine similarity; none where `relative` is none.
    #[serde(default)]
    pub cosine: Option<f64>,
    /// The largest value of the original, without its sign.
    pub largest: f64,
    /// Over several sets: in how many of them the original yields next to nothing, so that being alike says nothing.
    #[serde(default, skip_serializing_if = "is_none")]
    pub silent: usize,
}

/// For fields above: the form that serde wants.
const fn is_false(value: &bool) -> bool {
    !*value
}

/// For the field above: the form that serde wants.
const fn is_none(count: &usize) -> bool {
    *count == 0
}

impl Distance {
    /// Returns what is further off than allowed, with what is allowed, or nothing.
    pub fn excess(&self, allowed: &Tolerance) -> Option<String> {
        let mut excess = Vec::new();
        let part = self.differing as f64 / self.elements.max(1) as f64;
        if part > allowed.differing {
            let allowed = allowed.differing * 100.0;
            // Whole numbers have no cosine.
            let how = if self.cosine.is_some() { "are infinite or no number on one side only" } else { "differ" };
            excess.push(format!("{} of {} elements {how} (at most {allowed} %)", self.differing, self.elements));
        }
        // Without a cosine, elements are whole numbers, which were counted, or the original is all zeros.
        let is_off = self.absolute > allowed.absolute;
        if let Some(cosine) = self.cosine.filter(|cosine| is_off && *cosine < allowed.cosine) {
            excess.push(format!("cosine {} (at least {})", Cosine(cosine), allowed.cosine));
        }
        if let Some(relative) = self.relative.filter(|relative| is_off && *relative > allowed.relative) {
            excess.push(format!("relative error {relative:.2e} (at most {})", allowed.relative));
        }
        if self.largest == 0.0 && self.differing == 0 && is_off {
            excess
                .push(format!("error {:.2e} where the original is zero (at most {})", self.absolute, allowed.absolute));
        }
        (!excess.is_empty()).then(|| excess.join(", "))
    }

    /// Returns the worst of one output over several sets of inputs. A set is alike whatever its cosine if all its errors
    /// count as none: the cosine of one is not put beside the errors of another. Sets in which the original yields next to
    /// nothing are not judged beside others.
    pub fn worst(sets: &[&Self], allowed: &Tolerance) -> Option<Self> {
        let output = sets.first()?.output.clone();
        let largest = sets.iter().map(|set| set.largest).fold(0.0, f64::max);
        let absolute = sets.iter().map(|set| set.absolute).fold(0.0, f64::max);
        let is_off = |set: &&&Self| set.absolute > allowed.absolute;
        let is_silent = |set: &&&Self| set.says_little(allowed) && set.differing == 0 && !is_off(set);
        let off: Vec<&Self> = sets.iter().filter(is_off).copied().collect();
        let telling: Vec<&Self> = sets.iter().filter(|set| !is_silent(set)).copied().collect();
        let judged = [off, telling, sets.to_vec()].into_iter().find(|sets| !sets.is_empty()).unwrap_or_default();
        let silent = sets.iter().filter(is_silent).count();
        let cosine = |set: &&Self| match set.cosine {
            // What is off where the original is all zeros looks like it nowhere.
            None if is_off(&set) && set.largest == 0.0 && set.differing == 0 && largest > 0.0 => Some(0.0),
            cosine => cosine,
        };
        Some(Self {
            output,
            set: None,
            elements: sets.iter().map(|set| set.elements).sum(),
            differing: sets.iter().map(|set| set.differing).sum(),
            absolute,
            relative: judged.iter().filter_map(|set| set.relative).reduce(f64::max),
            cosine: judged.iter().filter_map(cosine).reduce(f64::min),
            largest,
            silent: if silent == sets.len() { 0 } else { silent },
        })
    }

    /// Returns whether the original hardly yields anything, so that being alike says little.
    pub fn says_little(&self, allowed: &Tolerance) -> bool {
        self.largest == 0.0 || self.cosine.is_some() && self.largest <= allowed.absolute
    }
}

/// Prints the figures that say something: `cosine 0.9999999, largest error 1.8e-7 of 9.3e-1`.
impl fmt::Display for Distance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cosine {
            Some(cosine) => {
                write!(
                    formatter,
                    "cosine {}, largest error {:.1e} of {:.1e}",
                    Cosine(cosine),
                    self.absolute,
                    self.largest
                )?;
                if self.differing > 0 {
                    write!(formatter, ", {} elements are infinite or no number on one side", self.differing)?;
                }
                match self.silent {
                    0 => Ok(()),
                    1 => formatter.write_str(", next to nothing in one set"),
                    count => write!(formatter, ", next to nothing in {count} sets"),
                }
            }
            None => write!(formatter, "{} of {} elements differ", self.differing, self.elements),
        }
    }
}

/// A cosine, never rounded up to 1.
struct Cosine(f64);

impl fmt::Display for Cosine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            cosine if cosine >= 1.0 => formatter.write_str("1"),
            cosine => write!(formatter, "{:.7}", (cosine * 1e7).floor() / 1e7),
        }
    }
}

impl Proof {
    /// Returns the proof of a stage whose networks were not compared.
    pub fn none(stage: StageName, reason: &str) -> Self {
        let unproven = || Finding::Unproven { reason: reason.to_owned() };
        let (rewritten, imported) = (unproven(), unproven());
        let noise = Vec::new();
        Self {
            stage,
            samples: 0,
            calibration_samples: 0,
            seed: 0,
            in_single_precision: false,
            averages_by_the_standard: false,
            rewritten,
            imported,
            noise,
        }
    }

    /// Returns the proof with its reasons as `named` has them.
    #[must_use]
    pub fn with_reasons(self, named: impl Fn(&str) -> String) -> Self {
        let all = |finding| match finding {
            Finding::Unproven { reason } => Finding::Unproven { reason: named(&reason) },
            finding => finding,
        };
        let (rewritten, imported) = (all(self.rewritten), all(self.imported));
        Self { rewritten, imported, ..self }
    }

    /// Returns what people should know of it: one line for each output, one for what the networks were fed, and one for
    /// each network that is not proven.
    pub fn lines(&self) -> Vec<String> {
        let networks = [("rewritten", &self.rewritten), ("imported", &self.imported)];
        let compared: Vec<&Comparison> = networks.iter().filter_map(|(_, finding)| finding.comparison()).collect();
        let mut outputs: Vec<&str> = Vec::new();
        for distance in compared.iter().flat_map(|comparison| &comparison.outputs) {
            if !outputs.contains(&distance.output.as_str()) {
                outputs.push(&distance.output);
            }
        }
        let mut lines: Vec<String> = outputs
            .into_iter()
            .map(|output| {
                let of_output = |comparison: &&Comparison| {
                    let distance = comparison.outputs.iter().find(|distance| distance.output == output)?;
                    Some(format!("{distance} ({})", comparison.runtime))
                };
                let figures: Vec<String> = compared.iter().filter_map(of_output).collect();
                format!("output `{output}` is as in the original: {}", figures.join("; "))
            })
            .collect();
        if !compared.is_empty() {
            let single = ", the original in single precision: ONNX Runtime does not know it in double precision";
            let averages =
                ", averages of the original by the standard: ONNX Runtime divides incomplete windows otherwise";
            let single = if self.in_single_precision { single } else { "" };
            let averages = if self.averages_by_the_standard { averages } else { "" };
            lines.push(format!("compared on {}{single}{averages}", self.sets()));
        }
        for noise in &self.noise {
            let (output, set) = (&noise.output, noise.set.map_or(0, |set| set + 1));
            lines
                .push(format!("set {set} says nothing of output `{output}`: the last bits of inputs alone do {noise}"));
        }
        if let (Finding::Unproven { reason }, true) = (&self.rewritten, self.rewritten == self.imported) {
            lines.push(format!("the conversion is not proven: {reason}"));
            return lines;
        }
        for (what, finding) in networks {
            if let Finding::Unproven { reason } = finding {
                lines.push(format!("the {what} network is not proven: {reason}"));
            }
        }
        lines
    }

    /// Returns what the networks were fed: `2 seeded sets of inputs and 1 calibration sample`.
    fn sets(&self) -> String {
        let counted = |count: u32, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
        let seeded = counted(self.samples, "seeded set of inputs", "seeded sets of inputs");
        if self.calibration_samples == 0 {
            return seeded;
        }
        format!("{seeded} and {}", counted(self.calibration_samples, "calibration sample", "calibration samples"))
    }
}

/// A proof without its figures. Their last digits depend on the processor, and what goes into an NN Archive must not.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Attestation {
    samples: u32,
    calibration_samples: u32,
    seed: u32,
    #[serde(skip_serializing_if = "is_false")]
    in_single_precision: bool,
    #[serde(skip_serializing_if = "is_false")]
    averages_by_the_standard: bool,
    rewritten: Attested,
    imported: Attested,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Attested {
    Untouched,
    Alike { tolerance: Tolerance, outputs: Vec<String> },
    Unproven { reason: String },
}

impl Proof {
    /// Returns the proof without its figures; all outputs are taken to be within their tolerance.
    pub fn attestation(&self) -> Attestation {
        let attested = |finding: &Finding| match finding {
            Finding::Untouched => Attested::Untouched,
            Finding::Compared(comparison) => Attested::Alike {
                tolerance: comparison.tolerance,
                outputs: comparison.outputs.iter().map(|distance| distance.output.clone()).collect(),
            },
            Finding::Unproven { reason } => Attested::Unproven { reason: reason.clone() },
        };
        let (rewritten, imported) = (attested(&self.rewritten), attested(&self.imported));
        let Self { samples, calibration_samples, seed, in_single_precision, averages_by_the_standard, .. } = *self;
        Attestation {
            samples,
            calibration_samples,
            seed,
            in_single_precision,
            averages_by_the_standard,
            rewritten,
            imported,
        }
    }
}

impl Finding {
    /// Returns the figures, if there are any.
    pub const fn comparison(&self) -> Option<&Comparison> {
        match self {
            Self::Compared(comparison) => Some(comparison),
            Self::Untouched | Self::Unproven { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distance(absolute: f64, relative: Option<f64>, cosine: Option<f64>) -> Distance {
        let output = "y".to_owned();
        Distance {
            output,
            set: None,
            elements: 1000,
            differing: 0,
            absolute,
            relative,
            cosine,
            largest: 1.0,
            silent: 0,
        }
    }

    #[test]
    fn sets_of_inputs_are_judged_each_by_itself() {
        let allowed = Tolerance::SINGLE;
        let excess = |sets: &[&Distance]| Distance::worst(sets, &allowed).unwrap().excess(&allowed);
        // What a sigmoid is next to zero, and what is well alike, as in the segmentation of MediaPipe.
        let nothing = Distance { largest: 2.7e-7, ..distance(1.2e-7, Some(1.0), Some(0.914)) };
        let alike = distance(9.0e-5, Some(1.4e-3), Some(0.999_999_9));
        let off = distance(0.1, Some(0.85), Some(0.9995));
        let zeros = |absolute| Distance { largest: 0.0, ..distance(absolute, None, None) };
        assert_eq!(excess(&[&nothing, &alike]), None);
        assert_eq!(excess(&[&alike, &nothing]), None);
        assert_eq!(excess(&[&nothing]), None);
        assert_eq!(excess(&[&nothing, &off]).as_deref(), Some("relative error 8.50e-1 (at most 0.05)"));
        assert_eq!(excess(&[&alike, &zeros(0.0)]), None);
        assert_eq!(excess(&[&alike, &zeros(0.5)]).as_deref(), Some("cosine 0.0000000 (at least 0.999)"));
        assert!(excess(&[&zeros(0.5), &zeros(0.0)]).unwrap().contains("where the original is zero"));
        let worst = Distance::worst(&[&alike, &nothing], &allowed).unwrap();
        assert_eq!((worst.elements, worst.absolute, worst.largest), (2000, 9.0e-5, 1.0));
        // Where nothing is off, the sets that say something are shown, and the others are counted.
        let faint = Distance { largest: 8.7e-5, ..distance(1.5e-7, Some(1.7e-3), Some(0.99999)) };
        let worst = Distance::worst(&[&nothing, &faint, &zeros(0.0)], &allowed).unwrap();
        assert_eq!((worst.cosine, worst.silent), (Some(0.99999), 2));
        assert!(worst.to_string().ends_with("of 8.7e-5, next to nothing in 2 sets"), "{worst}");
        let worst = Distance::worst(&[&nothing, &nothing], &allowed).unwrap();
        assert!(worst.silent == 0 && worst.says_little(&allowed), "a warning says so of all");
        assert!(zeros(0.0).says_little(&allowed) && !alike.says_little(&allowed));
        let whole = Distance { differing: 3, ..distance(1.0, None, None) };
        assert!(excess(&[&whole, &distance(0.0, None, None)]).unwrap().starts_with("3 of 2000 elements differ"));
        assert_eq!(Distance::worst(&[], &allowed), None);
    }

    #[test]
    fn what_is_further_off_than_allowed_is_named() {
        let allowed = Tolerance::SINGLE;
        let zeros = |absolute| Distance { largest: 0.0, ..distance(absolute, None, None) };
        let whole = |differing| Distance { differing, ..distance(3.0, None, None) };
        let cases = [
            (distance(0.0, Some(0.0), Some(1.0)), None),
            (distance(1e-4, Some(1e-3), Some(0.9999)), None),
            // Small beside single precision itself, whatever the other figures say.
            (distance(1e-7, Some(66.0), Some(0.7)), None),
            (distance(0.1, Some(0.01), Some(0.9)), Some("cosine 0.9000000 (at least 0.999)")),
            (distance(0.1, Some(0.85), Some(0.9995)), Some("relative error 8.50e-1 (at most 0.05)")),
            (zeros(0.0), None),
            (zeros(0.5), Some("error 5.00e-1 where the original is zero (at most 0.000001)")),
            (whole(1), None),
            (whole(2), Some("2 of 1000 elements differ (at most 0.1 %)")),
            (
                Distance { differing: 500, ..distance(0.0, Some(0.0), Some(1.0)) },
                Some("500 of 1000 elements are infinite or no number on one side only (at most 0.1 %)"),
            ),
        ];
        for (distance, expected) in cases {
            assert_eq!(distance.excess(&allowed).as_deref(), expected, "{distance:?}");
        }
    }

    #[test]
    fn half_precision_is_allowed_more_and_never_less() {
        let off = distance(0.02, Some(0.2), Some(0.995));
        assert!(off.excess(&Tolerance::SINGLE).is_some());
        assert_eq!(off.excess(&Tolerance::SINGLE.for_half_precision()), None);
        let loose = Tolerance { cosine: 0.5, relative: 9.0, absolute: 1.0, differing: 1.0 };
        assert_eq!((loose.for_half_precision(), loose.for_unrounded()), (loose, loose));
    }

    #[test]
    fn a_cosine_is_never_rounded_up() {
        assert_eq!(Cosine(0.999_999_999).to_string(), "0.9999999");
        assert_eq!(Cosine(1.0).to_string(), "1");
        assert_eq!(Cosine(-0.25).to_string(), "-0.2500000");
    }

    #[test]
    fn a_proof_is_told_in_a_line_for_each_output() {
        let compared = |runtime: &str, distances: Vec<Distance>| {
            let runtime = runtime.to_owned();
            Finding::Compared(Comparison { runtime, tolerance: Tolerance::SINGLE, outputs: distances })
        };
        let whole = Distance { output: "class".to_owned(), ..distance(0.0, None, None) };
        let mut proof = Proof {
            stage: "s".parse().unwrap(),
            samples: 2,
            calibration_samples: 1,
            seed: 0,
            in_single_precision: false,
            averages_by_the_standard: false,
            rewritten: compared("ONNX Runtime 1", vec![distance(1.8e-7, Some(1e-6), Some(0.999_999_9)), whole]),
            imported: compared("OpenVINO CPU 2", vec![distance(2e-6, Some(1e-5), Some(1.0))]),
            noise: vec![Distance { set: Some(1), ..distance(0.31, Some(0.74), Some(0.9966)) }],
        };
        assert_eq!(
            proof.lines(),
            [
                "output `y` is as in the original: cosine 0.9999999, largest error 1.8e-7 of 1.0e0 (ONNX Runtime 1); \
                 cosine 1, largest error 2.0e-6 of 1.0e0 (OpenVINO CPU 2)",
                "output `class` is as in the original: 0 of 1000 elements differ (ONNX Runtime 1)",
                "compared on 2 seeded sets of inputs and 1 calibration sample",
                "set 2 says nothing of output `y`: the last bits of inputs alone do cosine 0.9966000, largest error 3.1e-1 \
                 of 1.0e0",
            ]
        );
        let attestation = serde_json::to_value(proof.attestation()).unwrap();
        assert_eq!(attestation["rewritten"]["alike"]["outputs"], serde_json::json!(["y", "class"]));
        assert_eq!((&attestation["samples"], &attestation["calibration-samples"]), (&2.into(), &1.into()));
        assert!(!attestation.to_string().contains("largest"), "{attestation}");
        proof.in_single_precision = true;
        let sets = "compared on 2 seeded sets of inputs and 1 calibration sample, the original in single precision";
        assert!(proof.lines()[2].starts_with(sets), "{:?}", proof.lines());
        assert_eq!(serde_json::to_value(proof.attestation()).unwrap()["in-single-precision"], true);
        proof.noise.clear();
        proof.rewritten = Finding::Untouched;
        proof.imported = Finding::Unproven { reason: "there is no such device".to_owned() };
        assert_eq!(proof.lines(), ["the imported network is not proven: there is no such device"]);
        let none = Proof::none(proof.stage, "it was switched off");
        assert_eq!(none.lines(), ["the conversion is not proven: it was switched off"]);
        let named = none.with_reasons(|reason| reason.replace("switched", "turned"));
        assert_eq!(named.lines(), ["the conversion is not proven: it was turned off"]);
    }

    #[test]
    fn a_proof_from_before_calibration_samples_is_read() {
        let text = r#"{"stage":"s","samples":2,"seed":7,"rewritten":"untouched","imported":"untouched"}"#;
        let proof: Proof = serde_json::from_str(text).unwrap();
        assert_eq!((proof.samples, proof.calibration_samples, proof.seed), (2, 0, 7));
        let again = serde_json::to_string(&Proof { calibration_samples: 3, ..proof }).unwrap();
        assert!(again.contains(r#""samples":2,"calibration-samples":3,"seed":7"#), "{again}");
    }
}
