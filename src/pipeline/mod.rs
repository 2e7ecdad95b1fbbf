//! Inside the container: an order becomes a report.
//!
//! Owns the sequence of stages; each makes a new value and nothing is changed on the way: `Order` to [`LoadedModel`] to
//! `ResolvedConfig` to [`OperatedModel`] to [`CompiledModel`] to the NN Archive to `Report`. Needs nothing of the host
//! but the exchange folder, and never the network.

pub mod capacity;
pub mod compile;
mod failure;
pub mod ir;
pub mod journal;
pub mod links;
pub mod load;
pub mod operate;
pub mod pack;
pub mod proof;
pub mod samples;
mod stages;
pub mod subject;
pub mod superblob;
pub mod supported;
pub mod tflite;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use self::capacity::Beside;
use self::compile::{CompiledModel, Ir, Job};
use self::journal::Journal;
use self::links::Links;
use self::load::{Content, LoadedModel};
use self::operate::OperatedModel;
use self::proof::{Claim, ProofError};
use self::samples::{CalibrationSet, SampleError};
use self::stages::Produced;
use self::subject::Subject;
use self::superblob::Foretold;
use crate::config::{
    Calibration, ConversionConfig, FileReference, FrontEnd, Resolution, ResolvedConfig, ResolvedInput, ResolvedStage,
    StageName,
};
use crate::disk::{self, DiskError, TemporaryFolder};
use crate::exchange::{
    Artifact, Failure, FrontEndReport, Order, Outcome, OutputForm, PreprocessingPlace, Proof, Report, Rewriting,
    ToolFailure,
};
use crate::invocation::compile_arguments;
use crate::invocation::tools::Tools;
use crate::name::{Target, ToolchainName};
use crate::nn_archive::Haste;
use crate::nn_archive::pack::{BUILD_INFO_NAME, FIRST_CONTENT};
use crate::process::Bounds;
use crate::progress::Progress;

pub use self::failure::PipelineError;

/// The folder for everything between model and result.
pub const INTERMEDIATES: &str = "intermediate_outputs";

/// Where and with what a conversion is done.
pub struct Workshop<'run> {
    /// The tools of the image.
    pub tools: Tools,
    /// The folder for results.
    pub output: PathBuf,
    /// A folder for what nobody keeps.
    pub scratch: PathBuf,
    /// What may end a tool before it ends by itself.
    pub bounds: Bounds,
    /// Who listens to the progress.
    pub progress: &'run dyn Progress,
    /// Who listens to the log.
    pub log: &'run (dyn Fn(&str) + Sync),
}

/// Carries out an order. Whatever happens is told in the report.
pub fn run(order: &Order, workshop: &Workshop<'_>) -> Report {
    let journal = match disk::create_folder(&workshop.output)
        .and_then(|()| Journal::open(&workshop.output, &workshop.scratch, workshop.progress, workshop.log))
    {
        Ok(journal) => journal,
        Err(error) => return Report::new(Outcome::Failure(PipelineError::from(error).told())),
    };
    let mut told = Told::default();
    let result = convert(order, workshop, &journal, &mut told);
    if let Err(error) = &result {
        let failure = error.told();
        failure.messages.iter().for_each(|message| journal.line(&format!("error: {message}")));
    }
    let outcome = match result {
        Ok(artifacts) => Outcome::Success { artifacts },
        Err(error) => Outcome::Failure(with_host_paths(error.told(), order)),
    };
    let record = journal.record();
    let named = |text: &str| order.with_host_paths(text);
    Report {
        tools: record.tools,
        steps: record.steps,
        warnings: record.warnings.iter().map(|warning| named(warning)).collect(),
        rewritings: told.rewritings,
        front_end: told.front_end,
        proofs: told.proofs.into_iter().map(|proof| proof.with_reasons(named)).collect(),
        ..Report::new(outcome)
    }
}

/// Names files as the host does, where a failure names them as the container sees them.
fn with_host_paths(failure: Failure, order: &Order) -> Failure {
    let all = |texts: &[String]| texts.iter().map(|text| order.with_host_paths(text)).collect();
    let tool = failure.tool.map(|tool| ToolFailure { last_lines: all(&tool.last_lines), ..tool });
    Failure { messages: all(&failure.messages), hints: all(&failure.hints), tool, ..failure }
}

/// What the report says of the way, also of one that ended early.
#[derive(Default)]
struct Told {
    rewritings: Vec<Rewriting>,
    front_end: Option<FrontEndReport>,
    proofs: Vec<Proof>,
}

fn convert(
    order: &Order,
    workshop: &Workshop<'_>,
    journal: &Journal<'_>,
    told: &mut Told,
) -> Result<Vec<Artifact>, PipelineError> {
    accept(order, &workshop.tools)?;
    let models = journal.step("load", || {
        let load = |stage: &crate::config::Stage| Ok((stage.name.clone(), load::load(stage)?));
        order.configuration.stages.iter().map(load).collect::<Result<BTreeMap<StageName, LoadedModel>, PipelineError>>()
    })?;
    let Resolution { config, notes, .. } = load::resolved(&order.configuration, &models)?;
    let own = notes.iter().map(ToString::to_string).filter(|note| !order.notes.contains(note));
    order.notes.iter().cloned().chain(own).for_each(|note| journal.warn(note));

    let proven = |stage: &ResolvedStage| proven_samples(stage, &models, &workshop.tools);
    let mut links = Links::new(&config, proven, &workshop.output);
    links.check(workshop, journal).map_err(|(stage, source)| PipelineError::Link { stage, source })?;
    let single = config.stages.len() == 1;
    for stage in &config.stages {
        let model = stage.model.path.file_name().to_owned();
        compile::accept(&stage.settings.rvc2.compile_tool_args, &workshop.tools)
            .map_err(|source| PipelineError::Compile { model, source })?;
    }
    // One stage reads its samples before anything is compiled.
    for stage in config.stages.iter().filter(|_| !single) {
        check_samples(stage, proven(stage), &links, workshop)?;
    }
    let mut produced = Vec::with_capacity(config.stages.len());
    for stage in &config.stages {
        // Every stage of the configuration was loaded.
        let Some(loaded) = models.get(&stage.name) else { continue };
        let folder = if single { workshop.output.clone() } else { workshop.output.join(stage.name.as_str()) };
        let place = Stage { stage, loaded, folder: &folder };
        produced.push(one_stage(order, workshop, journal, place, &mut links, told)?);
    }
    let mut results = stages::Results::new(order, &config, produced, &workshop.output);
    if !single {
        results.record_stages(&models)?;
    }
    if order.form == OutputForm::NnArchive {
        journal.step("archive", || results.pack())?;
    }
    let record = workshop.output.join(stages::CONFIGURATION);
    let heads = order
        .source_archive
        .as_ref()
        .is_some_and(|source| source.document.model.heads.iter().flatten().next().is_some());
    let mut comment = String::new();
    if heads {
        comment.push_str("# Without the heads of the NN Archive: convert that again for an archive with heads.\n");
    }
    if order.preprocessing == PreprocessingPlace::Archive {
        comment.push_str(stages::ON_DEVICE);
    }
    let yaml = repeatable(&config, &models, single, order).to_yaml();
    disk::write(&record, format!("{comment}{yaml}").as_bytes())?;
    results.artifacts()
}

/// Returns how many calibration samples of a stage are used: nothing but the proof of equality looks at them.
fn proven_samples(stage: &ResolvedStage, models: &BTreeMap<StageName, LoadedModel>, tools: &Tools) -> usize {
    let verification = &stage.settings.verification;
    let is_ir = models.get(&stage.name).is_some_and(|loaded| matches!(loaded.content, Content::Ir));
    if !verification.enabled || stage.settings.rvc2.disable_calibration || tools.prover.is_none() || is_ir {
        return 0;
    }
    usize::try_from(verification.samples).unwrap_or(usize::MAX)
}

/// Reads the samples of a stage that will be used, but those that other stages make, and refuses what is no sample.
fn check_samples(
    stage: &ResolvedStage,
    proven: usize,
    links: &Links,
    workshop: &Workshop<'_>,
) -> Result<(), PipelineError> {
    let own = |input: &&ResolvedInput| !matches!(input.calibration, Calibration::Link { .. });
    let inputs: Vec<ResolvedInput> = stage.inputs.iter().filter(own).cloned().collect();
    let unpacked = TemporaryFolder::create_in(&workshop.output)?;
    let read = |set: Result<CalibrationSet, SampleError>| set?.samples()?.try_for_each(|sample| sample.map(drop));
    let unlinked = BTreeMap::new();
    let first = samples::first_of_files(&inputs, &unlinked, proven, &unpacked.path().join("proof"));
    let model = stage.model.path.file_name().to_owned();
    read(first).map_err(|error| PipelineError::Calibration { model, source: Box::new(error).into() })?;
    match links.samples_of(&stage.name) {
        0 => Ok(()),
        most => read(samples::first(&inputs, &unlinked, most, &unpacked.path().join("links")))
            .map_err(|error| PipelineError::Link { stage: stage.name.clone(), source: Box::new(error).into() }),
    }
}

/// Refuses early what would fail late.
fn accept(order: &Order, tools: &Tools) -> Result<(), PipelineError> {
    if order.target != Target::Rvc2 {
        return Err(PipelineError::Target { target: order.target });
    }
    let image = ToolchainName { target: tools.target, version: tools.version.clone() };
    if image != order.toolchain() {
        return Err(PipelineError::OtherImage { image, order: order.toolchain() });
    }
    Ok(())
}

/// One stage and where its results go.
struct Stage<'run> {
    stage: &'run ResolvedStage,
    loaded: &'run LoadedModel,
    folder: &'run Path,
}

fn one_stage(
    order: &Order,
    workshop: &Workshop<'_>,
    journal: &Journal<'_>,
    place: Stage<'_>,
    links: &mut Links,
    told: &mut Told,
) -> Result<Produced, PipelineError> {
    let Stage { stage, loaded, folder } = place;
    let intermediates = folder.join(INTERMEDIATES);
    disk::create_folder(&intermediates)?;
    let preprocessing = order.preprocessing_of(&stage.name);
    let toolchain = order.toolchain();
    let wanted = operate::Wanted { stage, preprocessing, toolchain: &toolchain };
    let operated = std::thread::scope(|scope| {
        let copies = scope.spawn(|| keep_model(loaded, folder, &intermediates));
        let operated = journal.step("rewrite", || operate::operate(loaded, wanted, &intermediates));
        copies.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        operated.map_err(PipelineError::from)
    })?;
    operated.warnings.iter().for_each(|warning| journal.warn(warning.clone()));
    empty_folders(stage, order).into_iter().for_each(|warning| journal.warn(warning));
    tell_rewritings(&operated.rewritings, journal, told);
    let (mut rewritings, restatements) = (operated.rewritings.clone(), operated.restatements.clone());
    let (given, stage) = (stage, &operated.stage.clone());
    let used = |input: &ResolvedInput| !operated.unused.contains(&input.name);
    let inputs = stage.inputs.iter().filter(|input| used(input)).cloned().collect();
    // What of it the compiled model has.
    let compiled_stage = &ResolvedStage { inputs, ..stage.clone() };
    let unproven = |source| {
        let model = loaded.file_name.clone();
        match source {
            ProofError::Sample(_) => PipelineError::Calibration { model, source },
            source => PipelineError::Proof { model, source },
        }
    };
    let subject = Subject { stage, given, loaded, preprocessing, folder: &intermediates };
    let unlinked = |source| PipelineError::Link { stage: stage.name.clone(), source };
    let runnable = links.runnable(&subject, &operated).map_err(unlinked)?;
    let linked = links.made_for(&stage.name);
    let claim = Claim::new(subject, &operated, &linked, &workshop.tools).map_err(unproven)?;
    let haste = Haste::on_all_cores();
    let is_packed_first = stages::is_packed_first(order, &stage.name);
    let foretell = |Foretold { place, bytes, is_over }: Foretold<'_>| {
        // What cannot be made early fails when its turn comes.
        if is_packed_first {
            let _ = haste.early.make(FIRST_CONTENT + place, bytes, is_over);
        }
    };
    let beside = if claim.is_run_beside() { Beside::Proof } else { Beside::Nothing };
    let job = Job { foretell: &foretell, beside, ..job(compiled_stage, loaded, operated, folder, &intermediates) };
    let ((compiled, transcript), digests) = std::thread::scope(|scope| {
        let digests = scope.spawn(|| loaded.digests());
        let compiled = claim.beside(workshop, journal, || compile::compile(&job, workshop, journal));
        (compiled, digests.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let compiled = compiled.map_err(|source| PipelineError::Compile { model: loaded.file_name.clone(), source })?;
    if compiled.front_end.as_ref().is_some_and(|report| report.front_end == FrontEnd::Mo) {
        tell_rewritings(&restatements, journal, told);
        rewritings.extend(restatements);
    }
    let proof = transcript
        .and_then(|transcript| claim.conclude(&transcript, &compiled, workshop, journal))
        .map_err(unproven)?
        .with_reasons(|reason| journal.placeless(reason));
    proof.lines().iter().for_each(|line| journal.line(line));
    proof::doubts(&proof).into_iter().for_each(|doubt| journal.warn(doubt));
    told.proofs.push(proof.clone());
    claim.judge(&proof).map_err(unproven)?;
    if let Some(runnable) = runnable {
        links.follow(given, &runnable, &intermediates, workshop, journal).map_err(unlinked)?;
    }
    told.front_end = compiled.front_end.clone().or(told.front_end.take());
    let document = match stages::path_in_archive(order, &stage.name, &compiled.artifact)? {
        None => None,
        Some(path) => Some(pack::describe(order, compiled_stage, &compiled, &path)?),
    };
    let build_info = pack::BuildInfo::new((order, preprocessing), digests, &compiled, &rewritings, journal.record());
    let archived_info = build_info.render(&proof.attestation());
    let build_info = build_info.render(&proof);
    disk::write(&folder.join(BUILD_INFO_NAME), build_info.as_bytes())?;
    if !stage.settings.keep_intermediate_outputs {
        disk::remove_all(&intermediates)?;
    }
    let CompiledModel { artifact, kind, file, .. } = compiled;
    let (stage, folder) = (stage.name.clone(), folder.to_owned());
    Ok(Produced { stage, folder, artifact, kind, file, build_info, archived_info, document, haste })
}

/// Copies a model into the folder of its results, beside the configuration that repeats the conversion, and to where tools
/// read it.
fn keep_model(loaded: &LoadedModel, folder: &Path, intermediates: &Path) -> Result<(), DiskError> {
    let main = (Path::new(&loaded.file_name), &loaded.bytes);
    let beside = loaded.beside.iter().map(|(path, bytes)| (path.as_path(), bytes));
    for (path, bytes) in std::iter::once(main).chain(beside) {
        let (kept, given) = (folder.join(path), intermediates.join(path));
        for parent in [kept.parent(), given.parent()].into_iter().flatten() {
            disk::create_folder(parent)?;
        }
        disk::put(&kept, bytes)?;
        // The same bytes in two places; some file systems have no links.
        disk::remove_file(&given)?;
        if disk::hard_link(&kept, &given).is_err() {
            disk::put(&given, bytes)?;
        }
    }
    Ok(())
}

/// Warns of folders for calibration that have no samples: perhaps another one was meant.
fn empty_folders(stage: &ResolvedStage, order: &Order) -> Vec<String> {
    if stage.settings.rvc2.disable_calibration {
        return Vec::new();
    }
    let warning = |input: &ResolvedInput| {
        let Calibration::Images { path, .. } = &input.calibration else { return None };
        let folder = Path::new(path.as_str());
        let is_folder = samples::is_folder(folder).unwrap_or(false);
        let listing = samples::list(folder, folder).ok().filter(|_| is_folder)?;
        let shown = order.host_paths.get(path.as_str()).map_or(path.as_str(), String::as_str);
        let input = &input.name;
        listing
            .files()
            .is_empty()
            .then(|| format!("input `{input}` is calibrated with nothing: {shown} has no samples"))
    };
    stage.inputs.iter().filter_map(warning).collect()
}

/// Paths inside the container are ours and always text.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn tell_rewritings(rewritings: &[Rewriting], journal: &Journal<'_>, told: &mut Told) {
    for rewriting in rewritings {
        let Rewriting { pass, reason, nodes } = rewriting;
        let named = if nodes.is_empty() { String::new() } else { format!(" ({})", nodes.join(", ")) };
        journal.line(&format!("{pass}: {reason}{named}"));
    }
    told.rewritings.extend(rewritings.iter().cloned());
}

fn job<'run>(
    stage: &'run ResolvedStage,
    loaded: &'run LoadedModel,
    operated: OperatedModel,
    output: &'run Path,
    intermediates: &'run Path,
) -> Job<'run> {
    let live = |input: &&ResolvedInput| input.frozen_value.is_none();
    let inputs = stage.inputs.iter().filter(live).map(|input| (input.name.clone(), input.shape.clone())).collect();
    Job {
        name: &loaded.name,
        ir_name: loaded.free_stem(loaded.name.clone(), &[".xml", ".bin", ".mapping"]),
        network: operated.network,
        for_optimizer: operated.for_optimizer,
        size: loaded.size(),
        options: &stage.settings.rvc2,
        arguments: compile_arguments::with_precisions(&stage.settings.rvc2.compile_tool_args, &stage.inputs),
        inputs,
        outputs: operated.outputs,
        nodes: operated.nodes,
        output,
        intermediates,
        ir: if stage.settings.keep_intermediate_outputs { Ir::Written } else { Ir::Unwritten },
        beside: Beside::Nothing,
        foretell: &|_| {},
    }
}

/// Returns the configuration that repeats the conversion, with the models' copies beside it and all other files where
/// they are on the host.
fn repeatable(
    config: &ResolvedConfig,
    models: &BTreeMap<StageName, LoadedModel>,
    single: bool,
    order: &Order,
) -> ConversionConfig {
    let mut config = config.clone();
    for stage in &mut config.stages {
        if let Some(model) = models.get(&stage.name) {
            let folder = if single { String::new() } else { format!("{}/", stage.name) };
            stage.model.path = FileReference::new(format!("{folder}{}", model.file_name));
            if stage.model.weights.is_some() {
                stage.model.weights = Some(FileReference::new(format!("{folder}{}.bin", model.name)));
            }
        }
    }
    config.to_config().with_files(&mut |_, file| match order.host_paths.get(file.as_str()) {
        Some(path) => FileReference::new(path.as_str()),
        None => file.clone(),
    })
}
