//! What is said to the prover of an image, and what it says.
//!
//! Owns the request, which decides what networks are fed ([`Feed`]), and what the prover's lines amount to
//! ([`Transcript`]). The prover is our own program around ONNX Runtime and, where the toolchain has one, the vendor's
//! CPU device; the files of the images have its source. Must not judge: how far apart is too far stands in `exchange`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::complaint::without_sources;
use crate::config::{PreprocessingPlace, ResolvedInput, Tolerance};
use crate::exchange::Distance;
use crate::nn_archive::Layout;
use crate::onnx::{ElementType, Versions};
use crate::surgery::Quantization;

/// The newest that the ONNX Runtime of all images reads, 1.19.2: the last for the Python of OpenVINO 2021.4.
pub const NEWEST: Versions = Versions { ir: 10, opset: 21 };

/// What the prover is asked to run and compare.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Request {
    /// What inputs are drawn from.
    pub seed: u32,
    /// How many sets of inputs are drawn.
    pub samples: u32,
    /// Further sets: calibration samples, each a file of NumPy by the name of its input. Inputs without one are drawn.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recorded: Vec<BTreeMap<String, String>>,
    /// What is fed.
    pub inputs: Vec<Feed>,
    /// How often the original is compared with itself, fed the same but for each floating number, which is moved to one
    /// of its neighbours. Nothing else is compared then.
    #[serde(skip_serializing_if = "is_zero")]
    pub shaken: u32,
    /// The outputs that are compared.
    pub outputs: Vec<String>,
    /// Outputs of integers that are compared as the numbers for which they stand.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub quantized: BTreeMap<String, Quantization>,
    /// The original, an ONNX model.
    pub original: String,
    /// What it was rewritten to, an ONNX model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewritten: Option<String>,
    /// The same, where all further outputs are numbers that tell how large values inside become.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watched: Option<String>,
    /// What the vendor's library reads, `.onnx` or `.xml`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imported: Option<String>,
}

/// What one input is fed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Feed {
    /// Its name.
    pub name: String,
    /// Its dimensions, outermost first.
    pub shape: Vec<u64>,
    /// What its elements are drawn from.
    pub values: Values,
    /// Where each of its axes is in calibration samples, unless all are in their places.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub axes: Option<Vec<usize>>,
    /// What is done to them before the original sees them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preprocessing: Option<Steps>,
}

/// What elements are drawn from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Values {
    /// Whole numbers, each as likely.
    Integers {
        /// The least.
        low: i64,
        /// The greatest.
        high: i64,
        /// The axes along which every other set has patches instead of noise: height and width of a picture.
        patches: Vec<usize>,
    },
    /// Any numbers of a range.
    Uniform {
        /// The least.
        low: f64,
        /// The greatest.
        high: f64,
    },
    /// The normal distribution around 0 with deviation 1.
    Normal,
    /// Always these: one for all elements, or one for each.
    Constant {
        /// The numbers.
        numbers: Vec<f64>,
    },
}

/// What is done to an input: channels reversed, mean subtracted, scale divided by, in this order.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Steps {
    /// The axis of channels.
    pub channels: Option<usize>,
    /// Whether their order is reversed.
    pub reverse: bool,
    /// One value for all channels, or one for each; nothing to do if empty.
    pub mean: Vec<f64>,
    /// One value for all channels, or one for each; nothing to do if empty.
    pub scale: Vec<f64>,
    /// Whether the steps are done before any network, so that all networks are fed their result.
    pub outside: bool,
}

impl Feed {
    /// Decides what `input` is fed; `element` is what the model says of its elements.
    pub fn new(input: &ResolvedInput, element: Option<ElementType>, place: PreprocessingPlace) -> Self {
        let axis = |letter| input.layout.position(letter);
        let mean = input.mean_values.clone().unwrap_or_default();
        let scale = input.scale_values.clone().unwrap_or_default();
        let reverse = input.encoding.reverses_channels();
        let steps = Steps { channels: axis('C'), reverse, mean, scale, outside: place == PreprocessingPlace::Archive };
        let does_something = reverse || !steps.mean.is_empty() || !steps.scale.is_empty();
        let values = match (&input.frozen_value, element) {
            (Some(value), _) => Values::Constant { numbers: value.numbers() },
            (None, Some(ElementType::Int8)) => whole(-128, 127),
            (None, Some(ElementType::Uint8)) => whole(0, 255),
            // Indices and masks: what is in range for every network that takes any.
            (None, Some(element)) if !element.is_float() => whole(0, 1),
            (None, _) if !input.encoding.is_raw() => {
                Values::Integers { low: 0, high: 255, patches: [axis('H'), axis('W')].into_iter().flatten().collect() }
            }
            // What the steps make of it lies around 0.
            (None, _) if does_something => {
                let (low, high) = within_two_deviations(&steps);
                Values::Uniform { low, high }
            }
            (None, _) => Values::Normal,
        };
        let preprocessing = (does_something && input.frozen_value.is_none()).then_some(steps);
        Self { name: input.name.clone(), shape: input.shape.clone(), values, axes: None, preprocessing }
    }

    /// Takes that calibration samples of `input` have the layout `samples`.
    #[must_use]
    pub fn with_samples_in(self, samples: &Layout, input: &ResolvedInput) -> Self {
        let axes = input.layout.as_str().chars().map(|letter| samples.position(letter)).collect();
        Self { axes: if *samples == input.layout { None } else { axes }, ..self }
    }
}

const fn whole(low: i64, high: i64) -> Values {
    Values::Integers { low, high, patches: Vec::new() }
}

fn within_two_deviations(steps: &Steps) -> (f64, f64) {
    let least = |values: &[f64], neutral: f64| values.iter().copied().reduce(f64::min).unwrap_or(neutral);
    let greatest = |values: &[f64], neutral: f64| values.iter().copied().reduce(f64::max).unwrap_or(neutral);
    let deviations: Vec<f64> = steps.scale.iter().map(|scale| scale.abs()).collect();
    let spread = 2.0 * greatest(&deviations, 1.0);
    (least(&steps.mean, 0.0) - spread, greatest(&steps.mean, 0.0) + spread)
}

/// For the field above: the form that serde wants.
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Request {
    /// How often the original is shaken to know what rounding does to it. Measured on a detector
    /// of text: the worst of three moves it at least a third as far as the worst of ten.
    pub const SHAKES: u32 = 3;

    /// Returns the same inputs for the original alone, shaken.
    #[must_use]
    pub fn of_rounding(&self) -> Self {
        Self { shaken: Self::SHAKES, rewritten: None, watched: None, imported: None, ..self.clone() }
    }

    /// Returns the line that the prover reads.
    pub fn line(&self) -> String {
        // Lists of names and finite numbers always have a JSON form.
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }
}

/// A network that the prover runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the request says what each is")]
pub enum Network {
    Original,
    Rewritten,
    Imported,
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Original => "original",
            Self::Rewritten => "rewritten",
            Self::Imported => "imported",
        })
    }
}

/// What the prover tells.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// A library is about to read a network.
    Runtime {
        /// The network.
        network: Network,
        /// The library.
        name: String,
        /// Its version, as it says it.
        version: String,
    },
    /// The toolchain has no device to run networks on.
    NoDevice {
        /// What the library says.
        message: String,
    },
    /// A network cannot be read or run.
    Refused {
        /// The network.
        network: Network,
        /// The kind of the library's error.
        kind: String,
        /// What the library says.
        message: String,
    },
    /// A network lacks an output.
    Missing {
        /// The network.
        network: Network,
        /// The output.
        output: String,
    },
    /// An output has another shape than the original's.
    Misshapen {
        /// The network.
        network: Network,
        /// The output.
        output: String,
        /// The original's shape.
        expected: Vec<u64>,
        /// This network's.
        found: Vec<u64>,
    },
    /// Values inside of the rewritten network are larger than half floats can be.
    Peaks {
        /// The largest over all sets of inputs, by the output that tells it.
        values: BTreeMap<String, f64>,
    },
    /// An output was compared.
    Compared {
        /// The network.
        network: Network,
        /// What was found.
        distance: Distance,
    },
}

/// What became of one network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    /// The library that ran it, with its version.
    pub runtime: Option<String>,
    /// Why it could not be run.
    pub refusal: Option<Refusal>,
    /// Outputs that it does not have.
    pub missing: Vec<String>,
    /// Outputs of another shape than the original's, each with both.
    pub misshapen: Vec<(String, String)>,
    /// Outputs that were compared, once for each set of inputs or once over all of them; of the original, with itself
    /// when each floating number that it is fed is moved to one of its neighbours.
    pub distances: Vec<Distance>,
}

impl Account {
    /// Returns the worst of each output over all sets of inputs, in the order in which outputs were told.
    pub fn worst(&self, allowed: &Tolerance) -> Vec<Distance> {
        let outputs = self.distances.iter().map(|distance| distance.output.as_str());
        let mut outputs: Vec<&str> = outputs.collect();
        let mut told = BTreeSet::new();
        outputs.retain(|output| told.insert(*output));
        let of = |output: &str| self.distances.iter().filter(|it| it.output == output).collect::<Vec<_>>();
        outputs.iter().filter_map(|output| Distance::worst(&of(output), allowed)).collect()
    }

    /// Leaves out what is further off than allowed in a set of inputs that is no measure: one for which rounding alone
    /// moves the original itself, as `original` tells (see [`Tolerance::for_rounding`]). Where no other set of an output
    /// is left, all stay. Returns what was left out, as the original differs from itself there.
    pub fn leave_noise_out(&mut self, original: &Self, allowed: &Tolerance) -> Vec<Distance> {
        let rounding = allowed.for_rounding();
        let noise = |distance: &Distance| {
            distance.excess(allowed)?;
            let own =
                original.distances.iter().find(|own| (&own.output, own.set) == (&distance.output, distance.set))?;
            own.excess(&rounding).is_some().then(|| own.clone())
        };
        let measured: BTreeSet<String> =
            self.distances.iter().filter(|it| noise(it).is_none()).map(|it| it.output.clone()).collect();
        let is_noise = |distance: &Distance| measured.contains(&distance.output) && noise(distance).is_some();
        let (left_out, kept): (Vec<Distance>, Vec<Distance>) = self.distances.drain(..).partition(is_noise);
        self.distances = kept;
        left_out.iter().filter_map(noise).collect()
    }
}

/// Why a network could not be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The library does not know an operator, a version or a type of the network.
    Unknown(String),
    /// Anything else, in the library's words.
    Failed(String),
    /// The toolchain has nothing to run it on.
    NoDevice,
}

/// Everything that the prover told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transcript {
    accounts: BTreeMap<Network, Account>,
    /// The network that is run at the moment, or was run last.
    running: Option<Network>,
    /// The values inside that are larger than half floats can be, by the output that tells them.
    pub peaks: BTreeMap<String, f64>,
}

impl Transcript {
    /// Takes one event.
    pub fn heed(&mut self, event: Event) {
        match event {
            Event::Runtime { network, name, version } => {
                // What follows says which build it is.
                let version = version.split('-').next().unwrap_or_default();
                self.entry(network).runtime = Some(format!("{name} {version}"));
                self.running = Some(network);
            }
            Event::NoDevice { .. } => self.entry(Network::Imported).refusal = Some(Refusal::NoDevice),
            Event::Refused { network, kind, message } => {
                let is_unknown = is_ignorance(&kind, &message.split_whitespace().collect::<Vec<_>>().join(" "));
                // A message of nothing else stays as it is.
                let message = Some(without_sources(&message)).filter(|short| !short.is_empty()).unwrap_or(message);
                let refusal = if is_unknown { Refusal::Unknown(message) } else { Refusal::Failed(message) };
                self.entry(network).refusal = Some(refusal);
            }
            Event::Missing { network, output } => self.entry(network).missing.push(output),
            Event::Misshapen { network, output, expected, found } => {
                self.entry(network).misshapen.push((output, format!("{found:?} instead of {expected:?}")));
            }
            Event::Peaks { values } => self.peaks = values,
            Event::Compared { network, distance } => self.entry(network).distances.push(distance),
        }
    }

    /// Takes that the prover was ended by a signal. If that was while the vendor's device ran a network, only that network
    /// is not compared; otherwise nothing can be said, and the network is returned that was run, if any was.
    ///
    /// # Errors
    /// ONNX Runtime crashed, or nothing was run yet.
    pub fn crashed(&mut self, signal: i32) -> Result<(), Option<Network>> {
        if self.running != Some(Network::Imported) {
            return Err(self.running);
        }
        let account = self.entry(Network::Imported);
        // Half of the outputs would look like all of them.
        account.distances.clear();
        account.refusal = Some(Refusal::Failed(format!("it crashed (signal {signal})")));
        Ok(())
    }

    /// Returns what became of a network.
    pub fn of(&self, network: Network) -> Account {
        self.accounts.get(&network).cloned().unwrap_or_default()
    }

    fn entry(&mut self, network: Network) -> &mut Account {
        self.accounts.entry(network).or_default()
    }
}

/// Returns whether ONNX Runtime says that it does not know something, rather than that the network is wrong.
fn is_ignorance(kind: &str, message: &str) -> bool {
    const WORDS: [&str; 7] = [
        "is not a registered function/op",
        "No Op registered for",
        "Could not find an implementation for",
        "Unsupported model IR version",
        "is under development and support for this is limited",
        "is till opset",
        "is not known",
    ];
    kind == "NotImplemented" || WORDS.iter().any(|words| message.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Calibration, Color, DataType, Encoding, FrozenValue, Number};

    fn input(layout: &str, shape: &[u64]) -> ResolvedInput {
        ResolvedInput {
            name: "x".to_owned(),
            shape: shape.to_vec(),
            layout: layout.parse().unwrap(),
            data_type: DataType::Float32,
            encoding: Encoding::same(Color::None),
            mean_values: None,
            scale_values: None,
            calibration: Calibration::Random {
                max_images: 1,
                min_value: 0.0,
                max_value: 1.0,
                mean: 0.0,
                standard_deviation: 1.0,
                data_type: DataType::Float32,
            },
            frozen_value: None,
        }
    }

    fn feed(input: &ResolvedInput, element: ElementType) -> Feed {
        Feed::new(input, Some(element), PreprocessingPlace::Model)
    }

    #[test]
    fn pictures_are_whole_numbers_with_patches_and_steps_in_the_original_order() {
        let picture = ResolvedInput {
            encoding: Encoding::RGB_TO_BGR,
            mean_values: Some(vec![1.0, 2.0, 3.0]),
            ..input("NHWC", &[1, 8, 8, 3])
        };
        let feed = feed(&picture, ElementType::Float32);
        assert_eq!(feed.values, Values::Integers { low: 0, high: 255, patches: vec![1, 2] });
        let steps = feed.preprocessing.unwrap();
        assert_eq!((steps.channels, steps.reverse, steps.outside), (Some(3), true, false));
        assert_eq!((steps.mean, steps.scale), (vec![1.0, 2.0, 3.0], vec![]));
        let outside = Feed::new(&picture, None, PreprocessingPlace::Archive);
        assert!(outside.preprocessing.unwrap().outside);
    }

    #[test]
    fn other_inputs_are_fed_what_networks_of_their_type_take() {
        let plain = input("NC", &[1, 4]);
        for (element, expected) in [
            (ElementType::Float32, Values::Normal),
            (ElementType::Int64, whole(0, 1)),
            (ElementType::Boolean, whole(0, 1)),
            (ElementType::Uint8, whole(0, 255)),
            (ElementType::Int8, whole(-128, 127)),
        ] {
            let feed = feed(&plain, element);
            assert_eq!((feed.values, feed.preprocessing), (expected, None), "{element:?}");
        }
        let scaled = ResolvedInput { mean_values: Some(vec![10.0]), scale_values: Some(vec![-4.0]), ..plain.clone() };
        assert_eq!(feed(&scaled, ElementType::Float32).values, Values::Uniform { low: 2.0, high: 18.0 });
        let frozen = ResolvedInput { frozen_value: Some(FrozenValue::Scalar(Number::Boolean(true))), ..scaled };
        let feed = feed(&frozen, ElementType::Float32);
        assert_eq!((feed.values, feed.preprocessing), (Values::Constant { numbers: vec![1.0] }, None));
    }

    #[test]
    fn a_request_is_one_line_without_what_is_not_asked_for() {
        let request = Request {
            seed: 1,
            samples: 2,
            recorded: Vec::new(),
            inputs: vec![feed(&input("NC", &[1, 4]), ElementType::Float32)],
            shaken: 0,
            watched: None,
            outputs: vec!["y".to_owned()],
            quantized: BTreeMap::new(),
            original: "/m.onnx".to_owned(),
            rewritten: None,
            imported: None,
        };
        let expected = r#"{"seed":1,"samples":2,"inputs":[{"name":"x","shape":[1,4],"values":{"kind":"normal"}}],"outputs":["y"],"original":"/m.onnx"}"#;
        assert_eq!(request.line(), format!("{expected}\n"));
        let recorded = vec![BTreeMap::from([("x".to_owned(), "/0.npy".to_owned())])];
        let line = Request { recorded, ..request.clone() }.line();
        assert!(line.contains(r#""samples":2,"recorded":[{"x":"/0.npy"}],"inputs":"#), "{line}");
        let steps = Quantization { scale: 0.5, zero: 128.0 };
        let line = Request { quantized: BTreeMap::from([("y".to_owned(), steps)]), ..request.clone() }.line();
        assert!(line.contains(r#""outputs":["y"],"quantized":{"y":{"scale":0.5,"zero":128.0}},"original""#), "{line}");
        let shaken = Request { rewritten: Some("/r.onnx".to_owned()), ..request }.of_rounding();
        assert_eq!(shaken.line(), format!("{}\n", expected.replace(r#""outputs""#, r#""shaken":3,"outputs""#)));
    }

    #[test]
    fn sets_in_which_the_original_differs_from_itself_are_no_measure() {
        let distance = |output: &str, set: u32, relative: f64| Distance {
            output: output.to_owned(),
            set: Some(set),
            elements: 10,
            differing: 0,
            absolute: relative,
            relative: Some(relative),
            cosine: Some(1.0),
            largest: 1.0,
            silent: 0,
        };
        let account = |distances: &[Distance]| Account { distances: distances.to_vec(), ..Account::default() };
        let allowed = Tolerance::SINGLE;
        // As a detector of text is, far outside of what it was trained on; the second set is a measure.
        let found = [distance("y", 0, 0.54), distance("y", 1, 0.037), distance("z", 0, 0.06), distance("z", 1, 0.0)];
        let original = account(&[distance("y", 0, 0.74), distance("y", 1, 0.02), distance("z", 0, 0.011)]);
        let mut left = account(&found);
        assert_eq!(left.leave_noise_out(&original, &allowed), [distance("y", 0, 0.74)]);
        assert_eq!(left.distances, found[1..]);
        let judged = left.worst(&allowed).iter().map(|it| it.excess(&allowed).is_some()).collect::<Vec<_>>();
        assert_eq!(judged, [false, true], "what rounding does not explain stays");
        // Where no set is a measure, nothing is shown.
        let mut left = account(&[distance("y", 0, 0.54)]);
        assert_eq!(left.leave_noise_out(&original, &allowed), []);
        assert_eq!(left.distances.len(), 1);
        // What is within the tolerance counts, however the original is shaken.
        let original = account(&[distance("y", 0, 0.74), distance("y", 1, 0.001)]);
        let mut left = account(&[distance("y", 0, 0.01), distance("y", 1, 0.3)]);
        assert_eq!(left.leave_noise_out(&original, &allowed), []);
        assert_eq!(left.distances.len(), 2);
        assert!(left.worst(&allowed)[0].excess(&allowed).is_some());
    }

    #[test]
    fn samples_in_another_layout_are_turned() {
        let input = input("NCHW", &[1, 3, 8, 9]);
        let axes =
            |samples: &str| feed(&input, ElementType::Float32).with_samples_in(&samples.parse().unwrap(), &input).axes;
        assert_eq!(axes("NCHW"), None);
        assert_eq!(axes("NHWC"), Some(vec![0, 3, 1, 2]));
    }

    #[test]
    fn the_prover_is_understood() {
        let mut transcript = Transcript::default();
        for line in [
            r#"{"event":"runtime","network":"original","name":"ONNX Runtime","version":"1.19.2"}"#,
            r#"{"event":"compared","network":"rewritten","distance":{"output":"y","elements":4,"differing":0,"absolute":0.5,"relative":null,"cosine":0.25,"largest":2.0}}"#,
            r#"{"event":"misshapen","network":"rewritten","output":"z","expected":[1,2],"found":[2]}"#,
            r#"{"event":"missing","network":"rewritten","output":"w"}"#,
            r#"{"event":"no-device","message":"none"}"#,
        ] {
            transcript.heed(serde_json::from_str(line).unwrap());
        }
        assert_eq!(transcript.of(Network::Original).runtime.as_deref(), Some("ONNX Runtime 1.19.2"));
        let rewritten = transcript.of(Network::Rewritten);
        assert_eq!((rewritten.distances[0].cosine, rewritten.distances[0].relative), (Some(0.25), None));
        assert_eq!(rewritten.misshapen, [("z".to_owned(), "[2] instead of [1, 2]".to_owned())]);
        assert_eq!(rewritten.missing, ["w"]);
        assert_eq!(transcript.of(Network::Imported).refusal, Some(Refusal::NoDevice));
        for wrong in [r#"{"event":"new"}"#, "noise", r#"{"event":"missing","network":"other","output":"w"}"#] {
            assert!(serde_json::from_str::<Event>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn not_knowing_is_told_from_failing() {
        let unknown = [
            ("NotImplemented", "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : anything"),
            ("Fail", "Load model from /m.onnx failed:Fatal error: custom:Foo(-1) is not a registered function/op"),
            ("InvalidGraph", "This is an invalid model. Error: No Op registered for Foo with domain_version of 12"),
            ("Fail", "Unsupported model IR version: 13, max supported IR version: 10"),
            ("Fail", "Current official support for domain ai.onnx is till opset 21."),
            ("Refused", "the type tensor(bfloat16) of its input `x` is not known"),
        ];
        let failed = [
            ("InvalidGraph", "This is an invalid model. Type Error: Type 'tensor(int64)' of input parameter (x)"),
            ("RuntimeException", "Non-zero status code returned while running Reshape node"),
        ];
        for (kind, message) in unknown {
            assert!(is_ignorance(kind, message), "{message}");
        }
        for (kind, message) in failed {
            assert!(!is_ignorance(kind, message), "{message}");
        }
    }

    #[test]
    fn a_crash_of_the_device_leaves_what_was_found_before_it() {
        let runtime = |network| Event::Runtime { network, name: "a library".to_owned(), version: "1".to_owned() };
        let told = |network| Event::Compared {
            network,
            distance: Distance {
                output: "y".to_owned(),
                set: Some(0),
                elements: 1,
                differing: 0,
                absolute: 0.0,
                relative: None,
                cosine: None,
                largest: 0.0,
                silent: 0,
            },
        };
        let mut transcript = Transcript::default();
        assert_eq!(transcript.crashed(6), Err(None));
        transcript.heed(runtime(Network::Original));
        assert_eq!(transcript.crashed(11), Err(Some(Network::Original)));
        for network in [Network::Rewritten, Network::Imported] {
            transcript.heed(runtime(network));
            transcript.heed(told(network));
        }
        assert_eq!(transcript.crashed(6), Ok(()));
        assert_eq!(transcript.of(Network::Rewritten).distances.len(), 1);
        let imported = transcript.of(Network::Imported);
        assert_eq!((imported.distances.len(), imported.refusal.is_some()), (0, true), "{imported:?}");
    }
}
