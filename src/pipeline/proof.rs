//! Whether the networks of a stage still compute what the original does: shown by running all of them.
//!
//! Owns [`Claim`]. The original and what the vendor's tools are given are run by the image's prover on the same inputs,
//! drawn ones and the first calibration samples, beside the compile. A difference beyond the tolerance is an error; so is
//! a proof that cannot be made, unless ONNX Runtime does not know the network's operators or the toolchain cannot run it.
//! What is fed and what the prover says is decided in `invocation::proof`, how far apart is too far in `exchange`.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::Path;
use std::thread;

use signal_hook::consts::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV};
use thiserror::Error;

use super::compile::{CompiledModel, Network as Given};
use super::journal::{Journal, ToolError};
use super::operate::{self, OperateError, OperatedModel, Original};
use super::samples::{self, SampleError};
use super::subject::Subject;
use super::{Workshop, text};
use crate::calibration::Listing;
use crate::config::{FrontEnd, Tolerance, WeightType};
use crate::disk::{self, DiskError, TemporaryFolder};
use crate::exchange::{Comparison, Distance, Finding, Proof};
use crate::hint::Hint;
use crate::invocation::driver::WORKERS_VARIABLE;
use crate::invocation::front_end;
use crate::invocation::proof::{Account, Network, Refusal, Request, Transcript};
use crate::invocation::tools::{Program, Tools};
use crate::onnx::{self, Model, Watched};
use crate::process::{Bounds, ProcessError};
use crate::surgery;
use crate::units::ByteSize;

/// What ends a process that did something wrong itself; by other signals it is ended by somebody.
const CRASHES: [i32; 5] = [SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV];

/// The folder for calibration samples that networks are fed, beside those networks.
const SAMPLES: &str = "samples";

/// The rewritten network while it is watched.
const WATCHED: &str = "watched.onnx";

/// Larger networks are not watched: they would be written once more.
const WATCHED_LIMIT: ByteSize = ByteSize::new(256 << 20);

/// A network that is compared with the original.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// The network after our rewriting.
    Rewritten,
    /// The network as the vendor's library reads it.
    Imported,
}

impl std::fmt::Display for Compared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Rewritten => "rewritten",
            Self::Imported => "imported",
        })
    }
}

/// A proof that failed, or could not be made.
#[derive(Debug, Error)]
pub enum ProofError {
    /// The file system refuses.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A model cannot be cut to the inputs and outputs that are compared.
    #[error(transparent)]
    Cut(#[from] Box<OperateError>),
    /// A calibration sample cannot be read.
    #[error(transparent)]
    Sample(#[from] Box<SampleError>),
    /// The prover did not end well.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The prover crashed while ONNX Runtime ran a network.
    #[error("ONNX Runtime crashed while it ran the {network} network")]
    Crash {
        /// Which network.
        network: Network,
        /// How the prover ended.
        source: ToolError,
    },
    /// The prover says something that this program does not understand.
    #[error("the prover says something unknown: `{line}`")]
    Language {
        /// The line.
        line: String,
    },
    /// The original cannot be run, so there is no measure.
    #[error("ONNX Runtime cannot run the original: {message}")]
    Original {
        /// In its words.
        message: String,
    },
    /// Our rewriting made something that cannot be run.
    #[error("ONNX Runtime runs the original, but not the rewritten network: {message}")]
    Rewritten {
        /// In its words.
        message: String,
    },
    /// An output is not of the original's shape.
    #[error("output `{output}` of the {network} network has the shape {shapes}")]
    Shape {
        /// Which network.
        network: Compared,
        /// The output.
        output: String,
        /// Its shape, and the original's.
        shapes: String,
    },
    /// An output of the original has none to be compared with.
    #[error("the {network} network has no output `{output}` that could be compared")]
    Missing {
        /// Which network.
        network: Compared,
        /// The output.
        output: String,
    },
    /// An output of a quantized network makes more of it than is allowed that values are not rounded.
    #[error(
        "output `{output}` of the network, which is computed without the rounding of its quantization, is not the \
         original's: {excess}"
    )]
    Unrounded {
        /// The output.
        output: String,
        /// What is further off than allowed.
        excess: String,
    },
    /// An output is too far from the original's.
    #[error("output `{output}` of the {network} network is not the original's: {excess}")]
    Different {
        /// Which network.
        network: Compared,
        /// The output.
        output: String,
        /// What is further off than allowed.
        excess: String,
    },
}

impl Hint for ProofError {
    fn hints(&self) -> Vec<String> {
        let without = || "or convert without proof: `verification.enabled False`".to_owned();
        let without_device = || "or leave the vendor's CPU device out: `verification.device False`".to_owned();
        match self {
            Self::Disk(error) => error.hints(),
            Self::Cut(error) => error.hints().into_iter().chain([without()]).collect(),
            Self::Sample(error) => {
                let without =
                    "or convert without calibration data, which only the proof uses: `rvc2.disable_calibration True`";
                error.hints().into_iter().chain([without.to_owned()]).collect()
            }
            Self::Rewritten { .. } | Self::Shape { .. } | Self::Missing { .. } | Self::Crash { .. } => vec![without()],
            Self::Tool(error) => error.hints().into_iter().chain([without_device(), without()]).collect(),
            Self::Language { .. } => {
                vec!["use the converter that the image was built with, or build the image again".to_owned()]
            }
            Self::Original { .. } => {
                vec!["check the model, and the shapes of its inputs, with ONNX Runtime".to_owned(), without()]
            }
            Self::Unrounded { .. } => {
                let other = "convert the model from before its quantization, as MyriadX computes in FP16 anyway, or \
                             quantize it with more representative samples";
                let fine = "if so much is fine for this network, lower `verification.cosine` and raise \
                            `verification.relative`";
                vec![other.to_owned(), fine.to_owned(), without()]
            }
            Self::Different { network, .. } => {
                let fine = "if so much is fine for this network, lower `verification.cosine` and raise \
                            `verification.relative`, or `verification.differing` for whole numbers";
                let usual = "say `mean_values` and `scale_values` if the network was trained on other numbers than it is \
                             fed, or give samples with `calibration.path`: far off, networks make much of rounding";
                let device = (*network == Compared::Imported).then(without_device);
                [usual.to_owned(), fine.to_owned()].into_iter().chain(device).chain([without()]).collect()
            }
        }
    }
}

/// What is claimed of the networks of one stage, and how it is shown.
pub struct Claim<'run> {
    subject: Subject<'run>,
    way: Way,
    /// What is allowed of the rewritten network.
    tolerance: Tolerance,
    /// Whether the original rounds values to integers and the networks that are compared with it do not.
    is_unrounded: bool,
    /// The rewritten network, if it is watched for values that half floats do not have.
    watched: Option<Model>,
}

/// How a claim is shown.
enum Way {
    /// Not at all.
    Unproven(&'static str),
    /// By running networks.
    Run {
        prover: Program,
        /// What is compared before or while the network is compiled.
        request: Box<Request>,
        /// The original, to be written in another way if ONNX Runtime does not run it as it is.
        original: Box<Original>,
        /// Whether it computes averages by the standard.
        averages_by_the_standard: bool,
        /// What is known of the imported network before that.
        imported: Imported,
    },
}

/// What is known of the imported network before the compile.
#[derive(Clone, Copy)]
enum Imported {
    /// The vendor's library imports the very file that it is given.
    Directly,
    /// It reads what the Model Optimizer will write.
    Afterwards,
    /// It is not run.
    Unproven(&'static str),
}

impl<'run> Claim<'run> {
    /// Decides how it is shown that the network which the tools are given computes what the original does; `linked` has
    /// the calibration data that other stages made for its inputs.
    ///
    /// # Errors
    /// The original cannot be cut to its outputs, a calibration sample cannot be read, or either cannot be written.
    pub fn new(
        subject: Subject<'run>,
        operated: &OperatedModel,
        linked: &BTreeMap<String, Listing>,
        tools: &Tools,
    ) -> Result<Self, ProofError> {
        let unproven = |reason| Way::Unproven(reason);
        let is_unrounded = operated.rewritings.iter().any(|rewriting| surgery::leaves_rounding_out(&rewriting.pass));
        let way = match (&operated.original, &operated.network, &tools.prover) {
            _ if !subject.stage.settings.verification.enabled => unproven("`verification.enabled` is false"),
            (None, ..) | (_, Given::Ir(_), _) => unproven("an IR is compiled as it is, whatever it was made of"),
            (.., None) => unproven("this toolchain has nothing that runs networks"),
            (Some(original), Given::Onnx(given), Some(prover)) => {
                let imported = subject.imported(tools);
                let (request, averages_by_the_standard) = subject.request(original, given, imported, linked)?;
                let mut request = Box::new(request);
                if is_unrounded {
                    // Their steps are those of values that are not rounded.
                    request.quantized = surgery::quantized_outputs(&original.model, &request.outputs);
                }
                let original = Box::new(original.clone());
                Way::Run { prover: prover.clone(), request, original, averages_by_the_standard, imported }
            }
        };
        let tolerance = subject.stage.settings.verification.tolerance;
        let tolerance = if is_unrounded { tolerance.for_unrounded() } else { tolerance };
        let is_small = |model: &&Model| model.saved_len() as u64 <= WATCHED_LIMIT.bytes();
        let watched = operated.rewritten.as_ref().filter(is_small).cloned();
        Ok(Self { subject, way, tolerance, is_unrounded, watched })
    }

    /// Returns whether networks are run while the network is compiled.
    pub fn is_run_beside(&self) -> bool {
        self.run_beside().is_some()
    }

    fn run_beside(&self) -> Option<(&Program, &Request)> {
        match &self.way {
            Way::Run { prover, request, .. } if request.rewritten.is_some() || request.imported.is_some() => {
                Some((prover, request))
            }
            Way::Run { .. } | Way::Unproven(_) => None,
        }
    }

    /// Runs the networks while `compile` compiles; when that fails, running them ends too.
    pub fn beside<T, E>(
        &self,
        workshop: &Workshop<'_>,
        journal: &Journal<'_>,
        compile: impl FnOnce() -> Result<T, E>,
    ) -> (Result<T, E>, Result<Transcript, ProofError>) {
        let Some((prover, request)) = self.run_beside() else { return (compile(), Ok(Transcript::default())) };
        let bounds = Bounds { interruption: workshop.bounds.interruption.branch(), ..workshop.bounds.clone() };
        thread::scope(|scope| {
            let running = scope.spawn(|| self.run_watched("proof", prover, request, &bounds, journal));
            let compiled = compile();
            if compiled.is_err() {
                bounds.interruption.interrupt();
            }
            (compiled, running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    }

    /// Returns what was found, once the network is compiled, and whether that is enough.
    ///
    /// # Errors
    /// The proof could not be made.
    pub fn conclude(
        &self,
        transcript: &Transcript,
        compiled: &CompiledModel,
        workshop: &Workshop<'_>,
        journal: &Journal<'_>,
    ) -> Result<Proof, ProofError> {
        let Subject { stage, loaded, folder, .. } = &self.subject;
        let none = |reason: &str| Ok(Proof::none(stage.name.clone(), reason));
        let (prover, request, original, averages_by_the_standard, imported) = match &self.way {
            Way::Unproven(reason) => return none(reason),
            Way::Run { prover, request, original, averages_by_the_standard, imported } => {
                (prover, request.as_ref(), original, *averages_by_the_standard, *imported)
            }
        };
        let mut in_single_precision = false;
        let other = match transcript.of(Network::Original).refusal {
            // ONNX Runtime infers less, and sometimes wrongly, where sizes have names only.
            Some(Refusal::Failed(_)) if !onnx::dynamic_inputs(&original.model).is_empty() => {
                Some(("proof_of_bound", self.subject.bound(original)?))
            }
            Some(Refusal::Unknown(_)) => {
                let single = self.subject.in_single_precision(original)?;
                in_single_precision = single.is_some();
                single.map(|single| ("proof_in_single_precision", single))
            }
            _ => None,
        };
        let (changed, again);
        let (transcript, request) = match other {
            Some((step, other)) => {
                changed = Request { original: text(&other), ..request.clone() };
                again = self.run_watched(step, prover, &changed, &workshop.bounds, journal)?;
                if in_single_precision && again.of(Network::Original).refusal.is_some() {
                    // What ONNX Runtime says of the original itself is what people can look into.
                    (transcript, request)
                } else {
                    (&again, &changed)
                }
            }
            None => (transcript, request),
        };
        if let Some(reason) = unknown_original(transcript)? {
            return none(&reason);
        }
        let mut rounding =
            Rounding { claim: self, prover, request, workshop, journal, original: None, noise: Vec::new() };
        let rewritten = match request.rewritten {
            None => Finding::Untouched,
            Some(_) => rounding.found(transcript.of(Network::Rewritten), Compared::Rewritten, self.tolerance)?,
        };
        let optimized = compiled.front_end.as_ref().is_some_and(|report| report.front_end == FrontEnd::Mo);
        let half = optimized && stage.settings.rvc2.weights == WeightType::Float16;
        let tolerance = if half { self.tolerance.for_half_precision() } else { self.tolerance };
        let imported = match imported {
            Imported::Unproven(reason) => Finding::Unproven { reason: reason.to_owned() },
            Imported::Directly if !optimized => {
                rounding.found(transcript.of(Network::Imported), Compared::Imported, tolerance)?
            }
            Imported::Directly | Imported::Afterwards => {
                let ir = folder.join(format!("{}.xml", loaded.name));
                let request = Request { rewritten: None, imported: Some(text(&ir)), ..request.clone() };
                let transcript = self.run("proof_of_ir", prover, &request, &workshop.bounds, journal)?;
                match unknown_original(&transcript)? {
                    Some(reason) => Finding::Unproven { reason },
                    None => rounding.found(transcript.of(Network::Imported), Compared::Imported, tolerance)?,
                }
            }
        };
        let (samples, seed) = (request.samples, request.seed);
        // As many as are drawn, at most.
        let calibration_samples = u32::try_from(request.recorded.len()).unwrap_or(samples);
        let noise = rounding.noise;
        let stage = stage.name.clone();
        Ok(Proof {
            stage,
            samples,
            calibration_samples,
            seed,
            in_single_precision,
            averages_by_the_standard,
            rewritten,
            imported,
            noise,
        })
    }

    /// Checks that what was found is within its tolerance.
    ///
    /// # Errors
    /// An output is further off than allowed.
    pub fn judge(&self, proof: &Proof) -> Result<(), ProofError> {
        for (network, finding) in [(Compared::Rewritten, &proof.rewritten), (Compared::Imported, &proof.imported)] {
            let Finding::Compared(comparison) = finding else { continue };
            for distance in &comparison.outputs {
                let Some(excess) = distance.excess(&comparison.tolerance) else { continue };
                let output = distance.output.clone();
                return Err(match network {
                    Compared::Rewritten if self.is_unrounded => ProofError::Unrounded { output, excess },
                    _ => ProofError::Different { network, output, excess },
                });
            }
        }
        Ok(())
    }

    /// Runs the networks, the rewritten one with outputs that tell how large its values become, and warns of those that
    /// half floats do not have.
    fn run_watched(
        &self,
        step: &str,
        prover: &Program,
        request: &Request,
        bounds: &Bounds,
        journal: &Journal<'_>,
    ) -> Result<Transcript, ProofError> {
        let Some(model) = self.watched.as_ref().filter(|_| request.rewritten.is_some()) else {
            return self.run(step, prover, request, bounds, journal);
        };
        let Watched { model, peaks } = onnx::watched(model);
        let path = self.subject.folder.join(WATCHED);
        operate::save(&model, &path, onnx::MAX_MODEL_BYTES).map_err(Box::new)?;
        drop(model);
        let request = Request { watched: Some(text(&path)), ..request.clone() };
        let transcript = self.run(step, prover, &request, bounds, journal);
        disk::remove_file(&path)?;
        let transcript = transcript?;
        let mut beyond = peaks.iter().filter_map(|peak| Some((peak, *transcript.peaks.get(&peak.output)?)));
        if let Some((first, height)) = beyond.next() {
            let more = match beyond.count() {
                0 => String::new(),
                more => format!(" (and {more} more)"),
            };
            let (value, operator) = (&first.value, &first.node.operator);
            journal.warn(format!(
                "the value `{value}` ({operator}){more} reaches {height:.0e} with the inputs of the proof: half floats, \
                 with which MyriadX computes, end at 65504, and are infinite beyond"
            ));
        }
        Ok(transcript)
    }

    fn run(
        &self,
        step: &str,
        prover: &Program,
        request: &Request,
        bounds: &Bounds,
        journal: &Journal<'_>,
    ) -> Result<Transcript, ProofError> {
        let mut invocation = prover.invocation("the prover", Vec::new(), self.subject.folder);
        invocation.input = request.line();
        // Half of the cores: the compile beside it is what people wait for.
        let threads = thread::available_parallelism().map_or(1, NonZero::get).div_ceil(2);
        invocation.environment.insert(WORKERS_VARIABLE.to_owned(), threads.to_string());
        let mut transcript = Transcript::default();
        match journal.ask(step, &invocation, bounds, &mut |event| transcript.heed(event)) {
            Ok(None) => Ok(transcript),
            Ok(Some(line)) => Err(ProofError::Language { line }),
            Err(source) => after_crash(transcript, source),
        }
    }
}

/// Returns what was told before the prover crashed, if that was because of the vendor's device: it crashes with networks
/// that the compiler takes.
fn after_crash(mut transcript: Transcript, source: ToolError) -> Result<Transcript, ProofError> {
    let signal = match source.failure {
        ProcessError::Signal { signal, .. } if CRASHES.contains(&signal) => signal,
        _ => return Err(source.into()),
    };
    match transcript.crashed(signal) {
        Ok(()) => Ok(transcript),
        Err(Some(network)) => Err(ProofError::Crash { network, source }),
        Err(None) => Err(source.into()),
    }
}

/// What rounding alone does to the original of a claim, found out where a network is further off than allowed.
struct Rounding<'run, 'claim> {
    claim: &'run Claim<'claim>,
    prover: &'run Program,
    request: &'run Request,
    workshop: &'run Workshop<'run>,
    journal: &'run Journal<'run>,
    /// How far the original is from itself, once it is known.
    original: Option<Account>,
    /// What was left out.
    noise: Vec<Distance>,
}

impl Rounding<'_, '_> {
    /// Makes a finding of what the prover told about one network, without the sets of inputs that are no measure.
    fn found(&mut self, mut account: Account, network: Compared, tolerance: Tolerance) -> Result<Finding, ProofError> {
        if account.distances.iter().any(|distance| distance.excess(&tolerance).is_some()) {
            if self.original.is_none() {
                let request = self.request.of_rounding();
                let Self { claim, prover, workshop, journal, .. } = self;
                let transcript = claim.run("proof_of_rounding", prover, &request, &workshop.bounds, journal)?;
                self.original = Some(transcript.of(Network::Original));
            }
            let original = self.original.clone().unwrap_or_default();
            for noise in account.leave_noise_out(&original, &tolerance) {
                if !self.noise.contains(&noise) {
                    self.noise.push(noise);
                }
            }
        }
        found(account, network, &self.request.outputs, tolerance)
    }
}

impl Subject<'_> {
    fn imported(&self, tools: &Tools) -> Imported {
        let settings = &self.stage.settings;
        if !settings.verification.device {
            return Imported::Unproven("`verification.device` is false");
        }
        if !settings.rvc2.mo_args.is_empty() {
            return Imported::Unproven("`rvc2.mo_args` may change what the network computes");
        }
        match front_end::choose(&settings.rvc2, &tools.compiler) {
            Ok(chosen) if chosen.front_end == FrontEnd::Importer => Imported::Directly,
            // A choice that cannot be made ends the compile.
            Ok(_) | Err(_) => Imported::Afterwards,
        }
    }

    /// Returns what is asked of the prover, and whether the original computes averages by the standard in it.
    fn request(
        &self,
        original: &Original,
        given: &Path,
        imported: Imported,
        linked: &BTreeMap<String, Listing>,
    ) -> Result<(Request, bool), ProofError> {
        let verification = &self.stage.settings.verification;
        let measure = self.measure(original)?;
        let request = Request {
            seed: verification.seed,
            samples: verification.samples,
            recorded: self.recorded(usize::try_from(verification.samples).unwrap_or(usize::MAX), linked)?,
            inputs: self.feeds(Some(&original.model)),
            shaken: 0,
            watched: None,
            outputs: measure.outputs,
            quantized: BTreeMap::new(),
            original: text(&measure.path),
            rewritten: (given != original.path).then(|| text(given)),
            imported: matches!(imported, Imported::Directly).then(|| text(given)),
        };
        Ok((request, measure.averages_by_the_standard))
    }

    /// Writes the first calibration samples, at most `most`, beside the networks, and returns the files of each by the
    /// inputs' names. Random calibration data says no more than what is drawn anyway, and is left out, and so is all data of a user who wants no calibration.
    fn recorded(
        &self,
        most: usize,
        linked: &BTreeMap<String, Listing>,
    ) -> Result<Vec<BTreeMap<String, String>>, ProofError> {
        if self.stage.settings.rvc2.disable_calibration {
            return Ok(Vec::new());
        }
        let unpacked = TemporaryFolder::create_in(self.folder)?;
        let set = samples::first_of_files(&self.given.inputs, linked, most, unpacked.path()).map_err(Box::new)?;
        let folder = self.folder.join(SAMPLES);
        let mut recorded = Vec::with_capacity(set.plan().samples());
        for sample in set.samples().map_err(Box::new)? {
            disk::create_folder(&folder)?;
            recorded.push(samples::write(&sample.map_err(Box::new)?, &folder)?);
        }
        Ok(recorded)
    }
}

/// Why there is nothing to compare with.
const UNKNOWN_ORIGINAL: &str = "ONNX Runtime does not know the original";

/// Why the imported network is not compared.
const CANNOT_RUN: &str = "the CPU device cannot run it";

/// Returns why ONNX Runtime cannot run the original, if that is because it does not know something in it.
fn unknown_original(transcript: &Transcript) -> Result<Option<String>, ProofError> {
    match transcript.of(Network::Original).refusal {
        Some(Refusal::Unknown(message)) => Ok(Some(format!("{UNKNOWN_ORIGINAL}: {message}"))),
        Some(Refusal::Failed(message)) => Err(ProofError::Original { message }),
        Some(Refusal::NoDevice) | None => Ok(None),
    }
}

/// Makes a finding of what the prover told about one network.
fn found(account: Account, network: Compared, outputs: &[String], tolerance: Tolerance) -> Result<Finding, ProofError> {
    let unproven = |reason: String| Ok(Finding::Unproven { reason });
    match account.refusal {
        Some(Refusal::NoDevice) => return unproven("this toolchain has no CPU device".to_owned()),
        Some(Refusal::Unknown(message) | Refusal::Failed(message)) if network == Compared::Imported => {
            return unproven(format!("{CANNOT_RUN}: {message}"));
        }
        Some(Refusal::Unknown(message) | Refusal::Failed(message)) => return Err(ProofError::Rewritten { message }),
        None => {}
    }
    let distances = account.worst(&tolerance);
    if let Some((output, shapes)) = account.misshapen.into_iter().next() {
        return Err(ProofError::Shape { network, output, shapes });
    }
    let is_compared = |output: &&String| distances.iter().any(|distance| distance.output == **output);
    if let Some(output) = outputs.iter().find(|output| !is_compared(output)) {
        return Err(ProofError::Missing { network, output: output.clone() });
    }
    let runtime = account.runtime.unwrap_or_default();
    Ok(Finding::Compared(Comparison { runtime, tolerance, outputs: distances }))
}

/// Returns what people should be warned of although nothing is wrong. What is not proven is told in the proof's own words.
pub fn doubts(proof: &Proof) -> Vec<String> {
    // What was wished otherwise is no doubt.
    let is_doubt = |line: &String| [UNKNOWN_ORIGINAL, CANNOT_RUN].iter().any(|reason| line.contains(reason));
    let mut doubts: Vec<String> = proof.lines().into_iter().filter(is_doubt).collect();
    for comparison in [&proof.rewritten, &proof.imported].into_iter().filter_map(|finding| finding.comparison()) {
        for distance in comparison.outputs.iter().filter(|distance| distance.says_little(&comparison.tolerance)) {
            let (output, largest) = (&distance.output, distance.largest);
            let size = if largest == 0.0 { "zero".to_owned() } else { format!("at most {largest:.0e}") };
            let doubt = format!("output `{output}` is {size} for the inputs of the proof, which shows little");
            if !doubts.contains(&doubt) {
                doubts.push(doubt);
            }
        }
    }
    doubts
}
