//! Calibration data that stages make for later ones.
//!
//! Owns [`Links`]: which stages are run for which inputs of others, and the files that came out. A stage is run once,
//! after it is converted, on the first of its own calibration samples, as many as later stages need. What runs is its
//! original network with its preprocessing in ONNX Runtime, or its IR on the toolchain's CPU device; scripts run there
//! too, inside the container and without the network.

use std::collections::{BTreeMap, HashSet};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;

use thiserror::Error;

use super::compile::Network;
use super::journal::{Journal, ToolError};
use super::operate::{OperateError, OperatedModel};
use super::samples::{self, SampleError};
use super::subject::{Measure, Subject};
use super::{INTERMEDIATES, Workshop, text};
use crate::calibration::random::Seed;
use crate::calibration::{Listing, Supply};
use crate::config::files::names_script;
use crate::config::{Calibration, LinkSource, ResolvedConfig, ResolvedStage, StageName, sanitised};
use crate::disk::{self, DiskError, TemporaryFolder};
use crate::hint::Hint;
use crate::invocation::complaint::without_sources;
use crate::invocation::driver::WORKERS_VARIABLE;
use crate::invocation::proof::Feed;
use crate::invocation::recording::{Account, Content, Request, Run, Runtime, Trouble, Wanted};
use crate::invocation::tools::{Program, Tools};
use crate::units::ByteSize;

/// The folder among the intermediates of a stage for what others made for it, by their names.
const MADE: &str = "inference_output";
/// The folder among the intermediates of a stage for what it is fed for others, while it is.
const PART_FOLDER: &str = "inference_input";
/// The text of a script, beside what it made.
const SCRIPT: &str = "script.py";
/// Samples are handed over in parts of about this size, so that folders of any size need little room.
const PART: u64 = 64 << 20;
/// No script is longer.
const SCRIPT_LIMIT: ByteSize = ByteSize::new(16 << 20);

/// Calibration data that a stage cannot make.
#[derive(Debug, Error)]
pub enum LinkError {
    /// The file system refuses.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The stage's own calibration data cannot be read.
    #[error(transparent)]
    Sample(#[from] Box<SampleError>),
    /// The stage's model cannot be cut to its inputs and outputs.
    #[error(transparent)]
    Cut(#[from] Box<OperateError>),
    /// The recorder did not end well.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The recorder says something that this program does not understand.
    #[error("the recorder says something unknown: `{line}`")]
    Language {
        /// The line.
        line: String,
    },
    /// The image is too old.
    #[error("this image has nothing that runs networks for others")]
    NoRecorder,
    /// An IR runs on the vendor's device alone.
    #[error("this toolchain has no CPU device to run an IR on")]
    NoDevice,
    /// The network cannot be run.
    #[error("its network cannot be run: {message}")]
    Refused {
        /// Why not, in the library's words.
        message: String,
    },
    /// The network has no such output.
    #[error("its network has no output `{output}`")]
    Missing {
        /// The output.
        output: String,
    },
    /// A script cannot be used.
    #[error("the script for input `{input}` of stage `{stage}` fails: {message}")]
    Script {
        /// The stage whose input is calibrated with what the script makes.
        stage: StageName,
        /// The input.
        input: String,
        /// Why, in one line.
        message: String,
    },
    /// The recorder stopped early without a reason.
    #[error("the recorder made {made} of {wanted} samples")]
    Short {
        /// How many there are.
        made: usize,
        /// How many there should be.
        wanted: usize,
    },
}

impl Hint for LinkError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Disk(error) => error.hints(),
            Self::Sample(error) => error.hints(),
            Self::Cut(error) => error.hints(),
            Self::Tool(error) => error.hints(),
            Self::NoRecorder | Self::Language { .. } => {
                vec!["use the converter that the image was built with, or build the image again".to_owned()]
            }
            Self::NoDevice => {
                vec!["give the stage's ONNX model, or calibrate with files or `random`".to_owned()]
            }
            Self::Refused { .. } => {
                vec!["check the model, and the shapes of its inputs, with ONNX Runtime".to_owned()]
            }
            Self::Script { .. } => {
                vec![
                    "a script defines `run_script(outputs)`, which takes the stage's outputs by name, as NumPy arrays, \
                     and returns one array for the input; it has Python and NumPy, and what it prints is in the log"
                        .to_owned(),
                ]
            }
            Self::Missing { .. } | Self::Short { .. } => Vec::new(),
        }
    }
}

impl LinkError {
    /// Returns whether the machine or the image is to blame, and neither models nor scripts.
    pub const fn is_about_the_machine(&self) -> bool {
        match self {
            Self::Sample(error) => error.is_about_the_machine(),
            Self::Disk(_) | Self::Tool(_) | Self::Language { .. } | Self::NoRecorder | Self::Short { .. } => true,
            Self::Cut(_) | Self::NoDevice | Self::Refused { .. } | Self::Missing { .. } | Self::Script { .. } => false,
        }
    }
}

/// An input that is calibrated with what an earlier stage computes.
#[derive(Clone, Debug)]
struct Link {
    /// The stage of the input.
    stage: StageName,
    /// The input.
    input: String,
    /// The folder for all that is made for it.
    folder: PathBuf,
    /// What is taken of the earlier stage's results.
    source: LinkSource,
}

impl Link {
    /// Returns where its script stands, if it has one.
    fn script(&self) -> Option<PathBuf> {
        matches!(self.source, LinkSource::Script(_)).then(|| self.folder.join(SCRIPT))
    }

    /// Returns where the samples for the input go.
    fn samples(&self) -> PathBuf {
        match &self.source {
            LinkSource::Output(_) => self.folder.clone(),
            LinkSource::Script(_) => self.folder.join("script"),
        }
    }

    fn wanted(&self) -> Wanted {
        let content = match (&self.source, self.script()) {
            (LinkSource::Script(_), Some(script)) => Content::Script(text(&script)),
            (LinkSource::Output(output) | LinkSource::Script(output), _) => Content::Output(output.clone()),
        };
        Wanted { folder: text(&self.samples()), content }
    }
}

/// What one stage makes for others.
#[derive(Clone, Debug)]
struct Errand {
    /// How many samples are needed.
    samples: usize,
    /// For what they are needed.
    links: Vec<Link>,
}

/// Which stages make calibration data for others, and what is made already.
#[derive(Debug, Default)]
pub struct Links {
    /// By the stage that is run.
    errands: BTreeMap<StageName, Errand>,
    /// By the stage that is calibrated, then by input.
    made: BTreeMap<StageName, BTreeMap<String, Listing>>,
}

impl Links {
    /// Decides which stages are run: those that a stage needs for its own samples, of which it takes as many as `needed`
    /// says. Results go into folders below `output`.
    pub fn new(config: &ResolvedConfig, needed: impl Fn(&ResolvedStage) -> usize, output: &Path) -> Self {
        let mut errands: BTreeMap<StageName, Errand> = BTreeMap::new();
        // Links lead to earlier stages, so from the last on it is known how many samples each has to make.
        for stage in config.stages.iter().rev() {
            let samples = needed(stage).max(errands.get(&stage.name).map_or(0, |errand| errand.samples));
            if samples == 0 {
                continue;
            }
            let mut taken = HashSet::new();
            for input in stage.inputs.iter().filter(|input| input.frozen_value.is_none()) {
                let Calibration::Link { stage: from, source } = &input.calibration else { continue };
                let mut name = sanitised(&input.name);
                while !taken.insert(name.clone()) {
                    name.push('-');
                }
                let intermediates = output.join(stage.name.as_str()).join(INTERMEDIATES);
                let folder = intermediates.join(MADE).join(from.as_str()).join(name);
                let (stage, input) = (stage.name.clone(), input.name.clone());
                let link = Link { stage, input, folder, source: source.clone() };
                let errand = errands.entry(from.clone()).or_insert_with(|| Errand { samples: 0, links: Vec::new() });
                errand.samples = errand.samples.max(samples);
                errand.links.push(link);
            }
        }
        Self { errands, made: BTreeMap::new() }
    }

    /// Returns what was made for the inputs of a stage.
    pub fn made_for(&self, stage: &StageName) -> BTreeMap<String, Listing> {
        self.made.get(stage).cloned().unwrap_or_default()
    }

    /// Returns how many of its own samples a stage is run on for others.
    pub fn samples_of(&self, stage: &StageName) -> usize {
        self.errands.get(stage).map_or(0, |errand| errand.samples)
    }

    /// Refuses before the first conversion what could not be done after it; scripts are put in place and read.
    ///
    /// # Errors
    /// With the stage that could not be run: the image cannot run it, or a script is wrong.
    pub fn check(&self, workshop: &Workshop<'_>, journal: &Journal<'_>) -> Result<(), (StageName, LinkError)> {
        for (stage, errand) in &self.errands {
            self.check_errand(errand, workshop, journal).map_err(|error| (stage.clone(), error))?;
        }
        Ok(())
    }

    fn check_errand(&self, errand: &Errand, workshop: &Workshop<'_>, journal: &Journal<'_>) -> Result<(), LinkError> {
        let recorder = recorder(&workshop.tools)?;
        let mut scripts = Vec::new();
        for link in &errand.links {
            disk::create_folder(&link.samples())?;
            if let (LinkSource::Script(source), Some(path)) = (&link.source, link.script()) {
                let source = if names_script(source) {
                    disk::read(Path::new(source), SCRIPT_LIMIT)?
                } else {
                    source.as_bytes().to_vec()
                };
                disk::write(&path, &source)?;
                scripts.push(text(&path));
            }
        }
        if scripts.is_empty() {
            return Ok(());
        }
        let account = ask(recorder, &Request { scripts, run: None }, "scripts", workshop, journal)?;
        account.trouble.map_or(Ok(()), |trouble| Err(errand.told(trouble)))
    }

    /// Decides how the stage of `subject` is run for others, if any need it.
    ///
    /// # Errors
    /// Its model cannot be cut to its inputs and outputs.
    pub fn runnable(&self, subject: &Subject<'_>, operated: &OperatedModel) -> Result<Option<Runnable>, LinkError> {
        if !self.errands.contains_key(&subject.stage.name) {
            return Ok(None);
        }
        let (network, runtime, outputs) = match (&operated.original, &operated.network) {
            (Some(original), _) => {
                let Measure { path, outputs, .. } = subject.measure(original)?;
                (path, Runtime::Onnx, outputs)
            }
            (None, Network::Ir(path) | Network::Onnx(path)) => (path.clone(), Runtime::Device, subject.outputs()),
        };
        let feeds = subject.feeds(operated.original.as_ref().map(|original| &original.model));
        Ok(Some(Runnable { network, runtime, feeds, outputs }))
    }

    /// Runs a stage on its own calibration samples and keeps what others are calibrated with. `folder` is for what is
    /// not kept.
    ///
    /// # Errors
    /// Its samples cannot be read, its network cannot be run, or a script fails.
    pub fn follow(
        &mut self,
        given: &ResolvedStage,
        runnable: &Runnable,
        folder: &Path,
        workshop: &Workshop<'_>,
        journal: &Journal<'_>,
    ) -> Result<(), LinkError> {
        let Some(errand) = self.errands.get(&given.name) else { return Ok(()) };
        let recorder = recorder(&workshop.tools)?;
        let unpacked = TemporaryFolder::create_in(folder)?;
        let linked = self.made_for(&given.name);
        let set = samples::first(&given.inputs, &linked, errand.samples, unpacked.path()).map_err(Box::new)?;
        for input in set.plan().inputs().iter().filter(|input| matches!(input.supply, Supply::Random(_))) {
            let Seed(seed) = set.plan().seed();
            journal.drawn(given.name.as_str(), &input.name, seed);
        }
        let mut remaining = set.samples().map_err(Box::new)?.peekable();
        let mut made = 0;
        while remaining.peek().is_some() {
            // Its name is recorded, and what is recorded is the same every time.
            let part = folder.join(PART_FOLDER);
            disk::create_folder(&part)?;
            let mut recorded = Vec::new();
            let mut size = 0;
            while size < PART
                && let Some(sample) = remaining.next()
            {
                let sample = sample.map_err(Box::new)?;
                size += sample.tensors.values().map(|tensor| tensor.bytes.len() as u64).sum::<u64>();
                recorded.push(samples::write(&sample, &part)?);
            }
            let wanted = recorded.len();
            let request = errand.request(runnable, recorded, made);
            let account = ask(recorder, &request, "inference", workshop, journal)?;
            disk::remove_all(&part)?;
            match account.trouble {
                Some(trouble) => return Err(errand.told(trouble)),
                None if account.recorded < wanted => {
                    return Err(LinkError::Short { made: made + account.recorded, wanted: made + wanted });
                }
                None => made += wanted,
            }
        }
        for Link { stage, input, .. } in &errand.links {
            journal.line(&format!(
                "input `{input}` of stage `{stage}` is calibrated with {made} samples of stage `{}`",
                given.name
            ));
        }
        for link in errand.links.clone() {
            let folder = link.samples();
            let listing = Listing::new(folder.clone(), disk::list(&folder)?);
            self.made.entry(link.stage).or_default().insert(link.input, listing);
        }
        Ok(())
    }
}

/// A stage that can be run for others.
#[derive(Debug)]
pub struct Runnable {
    network: PathBuf,
    runtime: Runtime,
    feeds: Vec<Feed>,
    outputs: Vec<String>,
}

impl Errand {
    fn request(&self, runnable: &Runnable, recorded: Vec<BTreeMap<String, String>>, first: usize) -> Request {
        let scripts: Vec<String> = self.links.iter().filter_map(Link::script).map(|path| text(&path)).collect();
        let of_links = |output: &String| {
            self.links.iter().any(|link| matches!(&link.source, LinkSource::Output(wanted) if wanted == output))
        };
        let outputs = runnable.outputs.iter().filter(|output| !scripts.is_empty() || of_links(output));
        let run = Run {
            network: text(&runnable.network),
            runtime: runnable.runtime,
            inputs: runnable.feeds.clone(),
            outputs: outputs.cloned().collect(),
            recorded,
            first,
            results: self.links.iter().map(Link::wanted).collect(),
        };
        Request { scripts, run: Some(run) }
    }

    /// Tells what stopped the recorder in the terms of the configuration.
    fn told(&self, trouble: Trouble) -> LinkError {
        match trouble {
            Trouble::NoDevice => LinkError::NoDevice,
            Trouble::Refused(message) => LinkError::Refused { message: without_sources(&message) },
            Trouble::Missing(output) => LinkError::Missing { output },
            Trouble::Script { file, message } => {
                let link = self.links.iter().find(|link| link.script().is_some_and(|path| text(&path) == file));
                match link {
                    Some(Link { stage, input, .. }) => {
                        LinkError::Script { stage: stage.clone(), input: input.clone(), message }
                    }
                    None => LinkError::Refused { message },
                }
            }
        }
    }
}

fn recorder(tools: &Tools) -> Result<&Program, LinkError> {
    tools.recorder.as_ref().ok_or(LinkError::NoRecorder)
}

fn ask(
    recorder: &Program,
    request: &Request,
    step: &str,
    workshop: &Workshop<'_>,
    journal: &Journal<'_>,
) -> Result<Account, LinkError> {
    let mut invocation = recorder.invocation("the recorder", Vec::new(), &workshop.output);
    invocation.input = request.line();
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    invocation.environment.insert(WORKERS_VARIABLE.to_owned(), threads.to_string());
    let mut account = Account::default();
    match journal.ask(step, &invocation, &workshop.bounds, &mut |event| account.heed(event))? {
        Some(line) => Err(LinkError::Language { line }),
        None => Ok(account),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::resolve::resolve;
    use crate::config::{DataType, Dimension, ModelFacts, TensorFacts};

    fn resolved(yaml: &str) -> ResolvedConfig {
        let config = crate::config::read::read(&crate::config::yaml::parse(yaml, "f.yaml").unwrap()).unwrap().config;
        let tensor = |name: &str| TensorFacts {
            name: name.to_owned(),
            shape: Some(vec![Dimension::Fixed(1), Dimension::Fixed(4)]),
            data_type: Some(DataType::Float32),
            foreign_type: None,
        };
        let facts = ModelFacts {
            inputs: vec![tensor("x/1"), tensor("x:1")],
            outputs: vec![tensor("y")],
            ..ModelFacts::default()
        };
        resolve(&config, &|_| Some(facts.clone())).unwrap().config
    }

    #[test]
    fn a_stage_makes_as_many_samples_as_the_last_that_depends_on_it_needs() {
        let link = |stage: &str| format!("calibration: {{stage: {stage}, output: y}}");
        let config = resolved(&format!(
            "stages:\n  a: {{input_model: a.onnx}}\n  b: {{input_model: b.onnx, {}}}\n  c: {{input_model: c.onnx, {}}}\n\
             \x20 d: {{input_model: d.onnx, {}}}\n",
            link("a"),
            link("b"),
            link("a")
        ));
        let errands = |needed: &[(&str, usize)]| -> Vec<(String, usize, Vec<PathBuf>)> {
            let of = |stage: &ResolvedStage| {
                needed.iter().find(|(name, _)| *name == stage.name.as_str()).map_or(0, |(_, samples)| *samples)
            };
            let links = Links::new(&config, of, Path::new("/out"));
            let folders = |errand: Errand| errand.links.into_iter().map(|link| link.folder).collect();
            links
                .errands
                .into_iter()
                .map(|(name, errand)| (name.to_string(), errand.samples, folders(errand)))
                .collect()
        };
        let made = |stage: &str, from: &str| {
            let made = format!("/out/{stage}/intermediate_outputs/inference_output/{from}");
            // Two names of inputs that are alike as file names.
            ["x_1", "x_1-"].map(|input| PathBuf::from(format!("{made}/{input}"))).to_vec()
        };
        assert_eq!(errands(&[("a", 9)]), []);
        let (b, c, d) = (made("b", "a"), made("c", "b"), made("d", "a"));
        assert_eq!(errands(&[("b", 1), ("d", 2)]), [("a".to_owned(), 2, [d, b.clone()].concat())]);
        assert_eq!(errands(&[("b", 1), ("c", 3)]), [("a".to_owned(), 3, b.clone()), ("b".to_owned(), 3, c.clone())]);
        assert_eq!(errands(&[("c", 3)]), [("a".to_owned(), 3, b), ("b".to_owned(), 3, c)]);
    }
}
