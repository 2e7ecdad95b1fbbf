//! From an operated model to blobs: the vendor's tools, run in the order that the front end needs.
//!
//! Owns [`compile`]. Arguments are decided in `invocation`; what comes out is checked in [`super::superblob`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{self, Sender};

use signal_hook::consts::SIGKILL;
use thiserror::Error;

use super::capacity::{self, Beside};
use super::ir;
use super::journal::{Journal, ToolError};
use super::superblob::{self, Foretold, Made, ResultError};
use super::{Workshop, text};
use crate::config::{BlobForm, FrontEnd, Rvc2Options};
use crate::digest::Fingerprint;
use crate::disk::{self, DiskError};
use crate::exchange::{ArtifactKind, FrontEndReport};
use crate::hint::Hint;
use crate::invocation::compile_arguments::{self, CompileArgumentError, CompileArguments};
use crate::invocation::complaint::{Complaint, without_sources};
use crate::invocation::driver::{Event, Places, Request, WORKERS_VARIABLE};
use crate::invocation::front_end::{self, FrontEndError};
use crate::invocation::openvino::{self, Optimization};
use crate::invocation::tools::{Compiler, Program, Tools};
use crate::myriad::Blob;
use crate::process::ProcessError;
use crate::units::{ByteSize, ShaveCount};

/// The order in which shave counts are compiled: the base of all patches first, then the slowest.
const SHAVE_ORDER: [i64; 16] = [8, 1, 16, 2, 15, 3, 14, 4, 13, 5, 12, 6, 11, 7, 10, 9];
/// No description of a network without its weights is longer.
const IR_LIMIT: ByteSize = ByteSize::new(1 << 30);
const OPTIONS_LIMIT: ByteSize = ByteSize::new(1 << 20);

/// What is to be compiled.
pub struct Job<'run> {
    /// The stem of all file names.
    pub name: &'run str,
    /// That of an IR that is made of it.
    pub ir_name: String,
    /// The network.
    pub network: Network,
    /// The file that the Model Optimizer reads instead, if it is another one.
    pub for_optimizer: Option<PathBuf>,
    /// Its size on disk, weights included.
    pub size: ByteSize,
    /// The user's options.
    pub options: &'run Rvc2Options,
    /// The arguments of the compile: the user's, and what we say of the inputs.
    pub arguments: Vec<String>,
    /// Inputs with their shapes.
    pub inputs: Vec<(String, Vec<u64>)>,
    /// Outputs with their shapes, where those are known; of an IR, none.
    pub outputs: Vec<(String, Option<Vec<u64>>)>,
    /// The nodes of the model, for messages.
    pub nodes: Vec<Node>,
    /// Where results go.
    pub output: &'run Path,
    /// Where everything in between goes.
    pub intermediates: &'run Path,
    /// Whether the IR is written for looking at.
    pub ir: Ir,
    /// What runs at the same time.
    pub beside: Beside,
    /// Who is told what is known of the result while the compile goes on.
    pub foretell: &'run (dyn Fn(Foretold<'_>) + Sync),
}

/// A network that a tool can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// An ONNX model.
    Onnx(PathBuf),
    /// The `.xml` of an IR.
    Ir(PathBuf),
}

/// Whether the importer's IR is written for looking at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name says all there is")]
pub enum Ir {
    Written,
    Unwritten,
}

/// A node of the model, as far as messages need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its operator, `domain.name` outside the standard domain.
    pub operator: String,
    /// How people find it: its name, or its first output.
    pub name: String,
    /// Its outputs.
    pub outputs: Vec<String>,
}

/// What was compiled.
#[derive(Clone, Debug)]
pub struct CompiledModel {
    /// The blob or superblob.
    pub artifact: PathBuf,
    /// Which of the two.
    pub kind: ArtifactKind,
    /// What its file is.
    pub file: Fingerprint,
    /// What it says of itself; of a superblob, what its blob for 8 shaves says.
    pub blob: Blob,
    /// The numbers of shaves.
    pub shaves: Vec<ShaveCount>,
    /// Who read the model, if it was ONNX.
    pub front_end: Option<FrontEndReport>,
}

/// A network that was not compiled.
#[derive(Debug, Error)]
pub enum CompileError {
    /// The file system refuses.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The user's arguments cannot be done.
    #[error(transparent)]
    Argument(#[from] CompileArgumentError),
    /// The user's front end cannot be used.
    #[error(transparent)]
    FrontEnd(#[from] FrontEndError),
    /// A tool failed without words that are understood.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The network has an operator that the vendor's tools do not support.
    #[error("{who} does not support the operator {operator} ({})", nodes_in_words(nodes))]
    Unsupported {
        /// Which tool says so.
        who: &'static str,
        /// The operator.
        operator: String,
        /// The nodes that have it, by name.
        nodes: Vec<String>,
    },
    /// A tool refuses the network in its own words.
    #[error("{who} refuses the network: {message}")]
    Refused {
        /// Which tool.
        who: &'static str,
        /// Its words, on one line.
        message: String,
    },
    /// A compile was killed by somebody else, and that is the kernel when memory runs out.
    #[error("the compile for {shaves} shaves was killed, probably for memory")]
    Killed {
        /// For how many shaves.
        shaves: ShaveCount,
    },
    /// A compile was ended by another signal.
    #[error("the compile for {shaves} shaves was ended by signal {signal}")]
    Signal {
        /// For how many shaves.
        shaves: ShaveCount,
        /// The signal's number.
        signal: i32,
    },
    /// The driver says something that this program does not understand.
    #[error("the compile driver says something unknown: `{line}`")]
    Language {
        /// The line.
        line: String,
    },
    /// The Model Optimizer ended well and wrote nothing.
    #[error("the model optimizer ended well but did not write {}", path.display())]
    NoIr {
        /// What should be there.
        path: PathBuf,
    },
    /// What was compiled is not what was ordered.
    #[error(transparent)]
    Result(#[from] ResultError),
    /// Both front ends were tried.
    #[error("neither the importer nor the model optimizer gets the network compiled")]
    Neither {
        /// What the importer's way ended in.
        #[source]
        importer: Box<CompileError>,
        /// What the model optimizer's way ended in.
        optimizer: Box<CompileError>,
    },
}

impl Hint for CompileError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Disk(error) => error.hints(),
            Self::Argument(error) => error.hints(),
            Self::FrontEnd(error) => error.hints(),
            Self::Tool(error) => error.hints(),
            Self::Result(error) => error.hints(),
            Self::Killed { .. } => {
                vec!["raise `--memory`, or lower `rvc2.n_workers`, so that fewer compiles run at once".to_owned()]
            }
            Self::Unsupported { .. } => vec![
                "replace the operator in the model before it is exported, or cut the model with `outputs` before it"
                    .to_owned(),
            ],
            Self::Neither { importer, optimizer } => {
                let mut hints = importer.hints();
                hints.push(format!("the model optimizer's way ended in: {optimizer}"));
                hints
            }
            Self::Language { .. } => {
                vec!["use the converter that the image was built with, or build the image again".to_owned()]
            }
            Self::Refused { .. } | Self::Signal { .. } | Self::NoIr { .. } => Vec::new(),
        }
    }
}

impl CompileError {
    /// Returns the tool that failed, if one did by itself.
    pub fn tool(&self) -> Option<&ToolError> {
        match self {
            Self::Tool(error) => Some(error),
            Self::Neither { importer, .. } => importer.tool(),
            _ => None,
        }
    }

    /// Returns whether the network is the cause, so that another reader may succeed.
    const fn is_about_the_network(&self) -> bool {
        matches!(self, Self::Unsupported { .. } | Self::Refused { .. })
    }
}

fn nodes_in_words(nodes: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = nodes.iter().take(SHOWN).map(|node| format!("`{node}`")).collect::<Vec<_>>().join(", ");
    match nodes.len() {
        0 => "in no node that has a name".to_owned(),
        1 => format!("node {shown}"),
        count if count > SHOWN => format!("nodes {shown} and {} more", count - SHOWN),
        _ => format!("nodes {shown}"),
    }
}

/// Compiles a network.
///
/// # Errors
/// A tool fails, or what it makes is not what was ordered.
pub fn compile(job: &Job<'_>, workshop: &Workshop<'_>, journal: &Journal<'_>) -> Result<CompiledModel, CompileError> {
    let way = Way { job, workshop, journal };
    let Network::Onnx(model) = &job.network else {
        let Network::Ir(network) = &job.network else { return way.blobs(Path::new(""), None) };
        return way.blobs(network, None);
    };
    let chosen = front_end::choose(job.options, &workshop.tools.compiler)?;
    journal.line(&format!("front end: {} ({})", name_of(chosen.front_end), chosen.reason));
    let report = FrontEndReport { front_end: chosen.front_end, reason: chosen.reason };
    let error = match way.through(model, report) {
        Err(error) if error.is_about_the_network() => error,
        other => return other,
    };
    let Some(front_end) = chosen.otherwise else { return Err(error) };
    let reason = error.to_string();
    journal.line(&format!("front end: {} ({reason})", name_of(front_end)));
    way.through(model, FrontEndReport { front_end, reason })
        .map_err(|other| CompileError::Neither { importer: Box::new(error), optimizer: Box::new(other) })
}

const fn name_of(front_end: FrontEnd) -> &'static str {
    match front_end {
        FrontEnd::Importer => "importer",
        FrontEnd::Mo => "model optimizer",
    }
}

/// One way from the network to blobs.
struct Way<'run> {
    job: &'run Job<'run>,
    workshop: &'run Workshop<'run>,
    journal: &'run Journal<'run>,
}

impl Way<'_> {
    fn through(&self, model: &Path, report: FrontEndReport) -> Result<CompiledModel, CompileError> {
        match report.front_end {
            FrontEnd::Importer => self.blobs(model, Some(report)),
            FrontEnd::Mo => {
                let model = self.job.for_optimizer.as_deref().unwrap_or(model);
                self.blobs(&self.optimize(model)?, Some(report))
            }
        }
    }

    /// Runs the Model Optimizer and returns the `.xml` of its IR.
    fn optimize(&self, model: &Path) -> Result<PathBuf, CompileError> {
        let job = self.job;
        let wanted = Optimization {
            model: text(model),
            folder: text(job.intermediates),
            name: job.ir_name.clone(),
            inputs: job.inputs.clone(),
            // The model was cut to its outputs before.
            outputs: None,
            weights: job.options.weights,
        };
        let tools = &self.workshop.tools;
        let arguments = openvino::model_optimizer(tools.dialect, &job.options.mo_args, &wanted);
        let invocation = tools.model_optimizer.invocation("the model optimizer", arguments, job.intermediates);
        let mut version = None;
        let mut listen = |line: &str| {
            if let Some((_, said)) = line.split_once("Model Optimizer version:") {
                version = Some(said.trim().to_owned());
            }
        };
        let ran = self.journal.run("model_optimizer", &invocation, &self.workshop.bounds, &mut listen);
        ran.map_err(|error| {
            self.in_context("the model optimizer", &error.failure.last_lines().join("\n")).unwrap_or(error.into())
        })?;
        let network = job.intermediates.join(format!("{}.xml", job.ir_name));
        for path in [network.clone(), network.with_extension("bin")] {
            if disk::metadata(&path)?.is_none() {
                return Err(CompileError::NoIr { path });
            }
        }
        // Releases from 2022 on write it into the IR only.
        if version.is_none() {
            version = ir::optimizer_version(&disk::read(&network, IR_LIMIT)?);
        }
        if let Some(version) = version {
            self.journal.tool("model_optimizer", &version);
        }
        Ok(network)
    }

    /// Compiles `network` to what the options want.
    fn blobs(&self, network: &Path, front_end: Option<FrontEndReport>) -> Result<CompiledModel, CompileError> {
        let job = self.job;
        match job.options.blob {
            BlobForm::Blob(shaves) => {
                let artifact = job.output.join(format!("{}.blob", job.name));
                let finished = mpsc::channel();
                self.compile_all(network, &[shaves], &artifact, &finished.0)?;
                let (bytes, blob) = superblob::read_blob(&artifact, shaves)?;
                let file = Fingerprint::of([&*bytes]);
                self.look_at(&blob);
                let kind = ArtifactKind::Blob;
                Ok(CompiledModel { artifact, kind, file, blob, shaves: vec![shaves], front_end })
            }
            BlobForm::Superblob => {
                let folder = job.intermediates.join("blobs");
                disk::create_folder(&folder)?;
                let pattern = folder.join(format!("{}_{{shaves}}shave.blob", job.name));
                let order: Vec<ShaveCount> =
                    SHAVE_ORDER.into_iter().filter_map(|shaves| ShaveCount::try_from(shaves).ok()).collect();
                let artifact = job.output.join(format!("{}.superblob", job.name));
                let (sender, finished) = mpsc::channel();
                let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
                let Made { blob, file } = std::thread::scope(|scope| {
                    let making = scope.spawn(|| superblob::make(&artifact, finished, cores, job.foretell));
                    let compiled = self.compile_all(network, &order, &pattern, &sender);
                    drop(sender);
                    let made = || making.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                    // A failed compile is the cause of a missing blob, so it is told first.
                    compiled?;
                    Ok::<_, CompileError>(self.journal.step("superblob", made)?)
                })?;
                self.look_at(&blob);
                let shaves = ShaveCount::all().collect();
                Ok(CompiledModel { artifact, kind: ArtifactKind::Superblob, file, blob, shaves, front_end })
            }
        }
    }

    /// Warns of inputs and outputs that the compiled network does not have, or with another number of elements:
    /// arguments of the user can do that, and so could the compiler.
    fn look_at(&self, blob: &Blob) {
        let inputs = self.job.inputs.iter().map(|(name, shape)| ("takes", "input", name, Some(shape)));
        let outputs = self.job.outputs.iter().map(|(name, shape)| ("gives", "output", name, shape.as_ref()));
        for (verb, side, name, shape) in inputs.chain(outputs) {
            let tensors = if side == "input" { &blob.inputs } else { &blob.outputs };
            let Some(tensor) = tensors.iter().find(|tensor| tensor.name == *name) else {
                self.journal.warn(format!("the compiled network has no {side} `{name}`"));
                continue;
            };
            let Some(shape) = shape else { continue };
            let count = shape.iter().fold(1_u64, |count, size| count.saturating_mul(*size));
            let found = &tensor.shape;
            if count != found.iter().fold(1_u64, |count, size| count.saturating_mul(u64::from(*size))) {
                self.journal
                    .warn(format!("the compiled network {verb} {found:?} for {side} `{name}`, and not {shape:?}"));
            }
        }
    }

    /// Makes one blob for each number of shaves at `pattern` and sends each as soon as it is there.
    fn compile_all(
        &self,
        network: &Path,
        shaves: &[ShaveCount],
        pattern: &Path,
        finished: &Sender<(ShaveCount, PathBuf)>,
    ) -> Result<(), CompileError> {
        let fitting = capacity::workers(shaves.len(), self.job.size, self.job.beside);
        let workers = self.job.options.workers.map_or(fitting, |workers| {
            let wanted = usize::try_from(workers.get()).unwrap_or(fitting);
            if wanted > fitting && shaves.len() > 1 {
                self.journal.warn(format!(
                    "rvc2.n_workers is {wanted}, more than the {fitting} that fit the cores and the memory of this machine"
                ));
            }
            wanted.min(shaves.len())
        });
        let scratch = self.workshop.scratch.join("compile");
        disk::remove_all(&scratch)?;
        disk::create_folder(&scratch)?;
        let errand = Errand { network, shaves, pattern, finished, workers, scratch: &scratch };
        let result = match &self.workshop.tools.compiler {
            Compiler::Driver(program) => self.drive(program, &errand),
            Compiler::CompileTool(program) => self.compile_each(program, &errand),
        };
        disk::remove_all(&scratch)?;
        result
    }

    /// Lets our driver of the Inference Engine make all blobs.
    fn drive(&self, program: &Program, errand: &Errand<'_>) -> Result<(), CompileError> {
        let job = self.job;
        let arguments = CompileArguments::parse(&job.arguments)?;
        if !job.outputs.is_empty() {
            let ends = job.inputs.iter().map(|(name, _)| name).chain(job.outputs.iter().map(|(name, _)| name));
            arguments.check_names(&ends.map(String::as_str).collect::<Vec<_>>())?;
        }
        let mut options = arguments.plugin_options.clone();
        options.extend(user_options(arguments.config_file.as_deref())?);
        let from_onnx = errand.network.extension().is_some_and(|extension| extension == "onnx");
        let places = Places {
            network: text(errand.network),
            serialize: (from_onnx && job.ir == Ir::Written).then(|| text(&job.intermediates.join(&job.ir_name))),
            scratch: text(errand.scratch),
            blob: text(errand.pattern),
        };
        let request = Request::new(places, errand.shaves.to_vec(), &arguments, &options);
        let mut invocation = program.invocation("the compile driver", Vec::new(), job.intermediates);
        invocation.input = request.line();
        invocation.environment.insert(WORKERS_VARIABLE.to_owned(), errand.workers.to_string());

        let mut trouble = None;
        let mut listen = |line: &str| match self.heed(line, errand) {
            Ok(()) => {}
            // Later ones follow from the first.
            Err(error) => trouble = trouble.take().or(Some(error)),
        };
        let ran = self.journal.run("compile_tool", &invocation, &self.workshop.bounds, &mut listen);
        match (ran, trouble) {
            (Err(error), Some(_)) if !matches!(error.failure, ProcessError::Failed { .. }) => Err(error.into()),
            (_, Some(trouble)) => Err(trouble),
            (ran, None) => ran.map(drop).map_err(CompileError::from),
        }
    }

    /// Takes one line of the driver.
    fn heed(&self, line: &str, errand: &Errand<'_>) -> Result<(), CompileError> {
        let event = serde_json::from_str(line).map_err(|_| CompileError::Language { line: line.to_owned() })?;
        match event {
            Event::Version { inference_engine } => {
                self.journal.tool("compile_tool_build", &inference_engine);
                let version = inference_engine.split('-').next().unwrap_or_default();
                self.journal.tool("compile_tool", version);
                Ok(())
            }
            Event::Network { .. } => Ok(()),
            Event::Compiled { shaves, .. } => {
                // Nobody listens for a single blob.
                let _ = errand.finished.send((shaves, numbered(errand.pattern, shaves)));
                Ok(())
            }
            Event::Unreadable { message } => Err(self.refusal("the importer", &message)),
            Event::Failed { message, .. } => Err(self.refusal("the MYRIAD compiler", &message)),
            Event::Killed { shaves, signal: SIGKILL } => Err(CompileError::Killed { shaves }),
            Event::Killed { shaves, signal } => Err(CompileError::Signal { shaves, signal }),
        }
    }

    /// Runs the vendor's compile tool once for each blob, several at once.
    fn compile_each(&self, program: &Program, errand: &Errand<'_>) -> Result<(), CompileError> {
        let user = &self.job.arguments;
        let users = user_options(compile_arguments::config_file(user)?)?;
        let waiting = Mutex::new(errand.shaves.iter().copied());
        let trouble = Mutex::new(None);
        std::thread::scope(|scope| {
            for _ in 0..errand.workers.max(1) {
                scope.spawn(|| {
                    loop {
                        let failed = trouble.lock().is_ok_and(|trouble| trouble.is_some());
                        let next = waiting.lock().ok().and_then(|mut waiting| waiting.next());
                        let (false, Some(shaves)) = (failed, next) else { return };
                        if let Err(error) = self.compile_one(program, errand, shaves, &users)
                            && let Ok(mut trouble) = trouble.lock()
                        {
                            trouble.get_or_insert(error);
                        }
                    }
                });
            }
        });
        match trouble.into_inner() {
            Ok(Some(error)) => Err(error),
            _ => Ok(()),
        }
    }

    fn compile_one(
        &self,
        program: &Program,
        errand: &Errand<'_>,
        shaves: ShaveCount,
        users: &BTreeMap<String, String>,
    ) -> Result<(), CompileError> {
        let dialect = self.workshop.tools.dialect;
        let mut options = openvino::plugin_options(&shaves.to_string(), dialect);
        options.extend(users.iter().map(|(key, value)| (key.clone(), value.clone())));
        let config = errand.scratch.join(format!("{shaves}.conf"));
        disk::write(&config, openvino::plugin_options_file(&options).as_bytes())?;
        let path = numbered(errand.pattern, shaves);
        let user = &self.job.arguments;
        let arguments = openvino::compile_tool(user, &text(errand.network), &text(&path), &text(&config));
        let invocation = program.invocation("the compile tool", arguments, self.job.intermediates);
        let step = if errand.shaves.len() == 1 || shaves == ShaveCount::EIGHT {
            "compile_tool".to_owned()
        } else {
            format!("compile_tool_{shaves}")
        };
        let mut listen = |line: &str| {
            if let Some((head, word)) = line.rsplit_once(' ') {
                match head.trim_end_matches([' ', '.']).rsplit(' ').next() {
                    Some("version") => self.journal.tool("compile_tool", word),
                    Some("Build") => self.journal.tool("compile_tool_build", word),
                    _ => {}
                }
            }
        };
        let ran = self.journal.run(&step, &invocation, &self.workshop.bounds, &mut listen);
        ran.map_err(|error| {
            self.in_context("the MYRIAD compiler", &error.failure.last_lines().join("\n")).unwrap_or(error.into())
        })?;
        if disk::metadata(&path)?.is_none() {
            return Err(ResultError::Missing { shaves }.into());
        }
        let _ = errand.finished.send((shaves, path));
        Ok(())
    }

    /// Returns the error for a tool's message.
    fn refusal(&self, who: &'static str, message: &str) -> CompileError {
        let refused = || CompileError::Refused { who, message: without_sources(message) };
        self.in_context(who, message).unwrap_or_else(refused)
    }

    /// Finds operator and nodes of the model in a tool's message.
    fn in_context(&self, who: &'static str, message: &str) -> Option<CompileError> {
        let nodes = &self.job.nodes;
        let having = |operator: &str| -> Vec<String> {
            nodes.iter().filter(|node| node.operator == operator).map(|node| node.name.clone()).collect()
        };
        let (operator, nodes) = match Complaint::find(message)? {
            Complaint::Layer { layer, operator } => {
                let node = nodes.iter().find(|node| node.name == layer || node.outputs.contains(&layer));
                (operator, vec![node.map_or(layer, |node| node.name.clone())])
            }
            Complaint::Node { node, operator } => (operator, vec![node]),
            Complaint::Operators { operators } => {
                let nodes = operators.iter().flat_map(|operator| having(operator)).collect();
                (operators.join(", "), nodes)
            }
        };
        Some(CompileError::Unsupported { who, operator, nodes })
    }
}

/// What one compile step is about.
struct Errand<'run> {
    network: &'run Path,
    shaves: &'run [ShaveCount],
    /// Where blobs go; `{shaves}` stands for the number.
    pattern: &'run Path,
    finished: &'run Sender<(ShaveCount, PathBuf)>,
    workers: usize,
    scratch: &'run Path,
}

/// Refuses arguments of the user that surely cannot be done.
///
/// # Errors
/// There is one, or the file that one of them names cannot be used.
pub fn accept(arguments: &[String], tools: &Tools) -> Result<(), CompileError> {
    match tools.compiler {
        Compiler::Driver(_) => user_options(CompileArguments::parse(arguments)?.config_file.as_deref()),
        Compiler::CompileTool(_) => user_options(compile_arguments::config_file(arguments)?),
    }
    .map(drop)
}

/// Reads the user's file of plugin options, if there is one.
///
/// # Errors
/// It cannot be read, or sets what is the converter's.
fn user_options(file: Option<&str>) -> Result<BTreeMap<String, String>, CompileError> {
    let Some(file) = file else { return Ok(BTreeMap::new()) };
    let bytes = disk::read(Path::new(file), OPTIONS_LIMIT)?;
    let options = compile_arguments::plugin_options(&String::from_utf8_lossy(&bytes));
    compile_arguments::accept_options(&options)?;
    Ok(options)
}

fn numbered(pattern: &Path, shaves: ShaveCount) -> PathBuf {
    PathBuf::from(text(pattern).replace("{shaves}", &shaves.to_string()))
}
