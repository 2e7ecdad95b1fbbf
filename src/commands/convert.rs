//! `convert`: a model becomes what a device runs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::Status;
use super::context::Context;
use crate::config::StageName;
use crate::disk::TemporaryFolder;
use crate::engine::Limits;
use crate::exchange::{FailureKind, OutputForm, PreprocessingPlace};
use crate::hint::Hint;
use crate::name::{Target, ToolchainName, ToolchainVersion};
use crate::ops;
use crate::ops::assemble::AssembledImage;
use crate::ops::collect::CollectError;
use crate::ops::convert::{ConvertError, Output};
use crate::ops::dispatch::{DispatchError, Session, SessionImage};
use crate::ops::gather::{Folders, GatherError, Gathered, Words};
use crate::ops::upload::{UploadError, Uploads};
use crate::plan::convert::{self, ConversionPlan, ConversionRequest, EngineChoice, ImageChoice};
use crate::project::Project;
use crate::remote::Remote;
use crate::ui::{Failure, Kind};
use crate::units::ByteSize;

/// Convert a model for a target
///
/// The model, or the configuration or NN Archive that names it, is given with --path or as `input_model PATH` among the
/// overrides. Overrides are pairs of a key of the configuration and a value, for example
/// `shape [1,3,224,224] rvc2.superblob False`.
// `--version` was the tools' version once.
#[derive(Debug, Args)]
#[command(disable_version_flag = true)]
pub(super) struct ConvertArgs {
    /// What to convert for: rvc2; rvc3, rvc4 and hailo have no toolchain yet
    target: Target,
    /// Pairs of configuration key and value; they win over the configuration file
    #[arg(value_name = "KEY VALUE", allow_negative_numbers = true)]
    overrides: Vec<String>,
    /// A configuration (YAML), an NN Archive, or a bare model (.onnx, .xml, .bin, .tflite): a path, or a URL (s3://, gs://,
    /// https://)
    #[arg(long)]
    path: Option<String>,
    /// The version of the vendor's tools; see `toolchain list`
    #[arg(long, alias = "tool_version", alias = "version", value_name = "VERSION")]
    tool_version: Option<ToolchainVersion>,
    /// An image that exists in the container engine, instead of the locked one; without a tag, `<version>-latest`
    #[arg(long, alias = "docker-image", alias = "docker_image", value_name = "NAME[:TAG]")]
    image: Option<String>,
    /// What to write
    #[arg(long, value_enum, default_value_t = To::NnArchive)]
    to: To,
    /// Where the result goes: a name below `output/`, or a path
    #[arg(long, alias = "output_dir", value_name = "FOLDER")]
    output_dir: Option<String>,
    /// The stage that holds the main model, where there are several: the NN Archive's own, else the first whose name has
    /// `yolo` and `seg`, else the first
    #[arg(long, alias = "main_stage", value_name = "STAGE")]
    main_stage: Option<StageName>,
    /// Leave mean, scale and colours to the device, as the NN Archive then says, instead of putting them into the model
    #[arg(long, alias = "archive_preprocess", overrides_with = "no_archive_preprocess")]
    archive_preprocess: bool,
    /// Put mean, scale and colours into the model; the default
    #[arg(long, alias = "no_archive_preprocess", overrides_with = "archive_preprocess", hide = true)]
    no_archive_preprocess: bool,
    #[command(flatten)]
    run: RunArgs,
    /// Print the plan and do nothing
    #[arg(long, alias = "dry_run")]
    dry_run: bool,
}

/// How containers are run.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// What runs the image
    #[arg(long, value_enum, env = "MODELCONVERTER_ENGINE")]
    pub(super) engine: Option<EngineName>,
    /// Memory the tools may use, for example 4GiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(super) memory: Option<ByteSize>,
    /// Processors the tools may use, for example 1.5
    #[arg(long, value_name = "NUMBER", value_parser = positive)]
    pub(super) cpus: Option<f64>,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum To {
    /// The compiled model alone
    Native,
    /// The compiled model and its NN Archive
    NnArchive,
}

/// What runs images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum EngineName {
    /// This program itself, without a daemon
    Embedded,
    /// Docker or Podman, through its socket
    Docker,
}

fn size(text: &str) -> Result<ByteSize, String> {
    match text.parse::<ByteSize>() {
        Ok(size) if size.bytes() == 0 => Err("must be a positive size".to_owned()),
        other => other.map_err(|error| error.to_string()),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("expected a number above zero".to_owned()),
    }
}

pub(super) fn run(mut args: ConvertArgs, context: &mut Context) -> Result<Status, Failure> {
    args.run.complete(context);
    let working = context.working_folder()?;
    let remote = context.remote();
    let words = Words { target: args.target, path: args.path.as_deref(), overrides: &args.overrides };
    let gathered = gather(&words, &working, context, &remote)?;
    // These files are there until the conversion ends.
    let _archive = gathered.archive.clone();
    let _followed = gathered.followed.clone();
    let uploads = uploads(&gathered, &working, context, &remote)?;
    let told: Vec<String> = gathered.notes.iter().map(ToString::to_string).collect();
    told.iter().for_each(|note| context.printer.warn(note));
    if let Some(toolchain) = context.inside() {
        return in_image(&args, gathered, toolchain, (&uploads, &told), context);
    }
    let project = context.project()?;
    let toolchain = toolchain(&args, &project)?;
    // With one stage and its image at hand the container says the same, as early.
    if args.image.is_none() && (args.is_checked_first(&gathered) || !context.has_image(&project, &toolchain)?) {
        check_operators(&gathered, &toolchain, &args)?;
    }
    let place = place(&args, &gathered, &working)?;
    let request = request(&args, gathered, toolchain, place);
    let plan = convert::plan(request).map_err(|error| Failure::of(Kind::Usage, &error))?;
    if args.dry_run {
        context.printer.result(&plan, || plan.to_string());
        return Ok(Status::Success);
    }
    ops::collect::check_place(&plan.output).map_err(|error| failure(error.into()))?;
    uploads.check().map_err(upload_failure)?;
    let tool_time = context.tool_time()?;
    let store = context.store()?;
    let engine = context.engine(Some(plan.engine), &store)?;
    let image = match &plan.image {
        ImageChoice::Locked => {
            let name = project.toolchain(args.target, args.tool_version.as_ref());
            let name = name.map_err(|error| Failure::of(Kind::Project, &error))?;
            ChosenImage::Assembled(Box::new(context.image(&project, &store, &name)?))
        }
        ImageChoice::Named(names) => ChosenImage::Named(context.named_image(names)?),
    };
    let session = Session {
        image: image.as_session(),
        store: &store,
        engine: engine.as_ref(),
        limits: args.run.limits(),
        tool_time,
    };
    let output = ops::convert::convert(&plan, &session, context.bars.as_ref()).map_err(failure)?;
    finish(uploads.carry_out(&plan, output).map_err(upload_failure)?, &plan, &told, context);
    Ok(Status::Success)
}

fn check_operators(gathered: &Gathered, toolchain: &ToolchainName, args: &ConvertArgs) -> Result<(), Failure> {
    gathered.check_operators(toolchain, args.preprocessing()).map_err(|error| Failure::of(Kind::Project, &error))
}

/// Makes a configuration of words.
pub(super) fn gather(
    words: &Words<'_>,
    working: &Path,
    context: &Context,
    remote: &Remote<'_>,
) -> Result<Gathered, Failure> {
    let home = context.variable("HOME").map(PathBuf::from);
    let temporary = context.temporary();
    let folders = Folders { working, home: home.as_deref(), temporary, remote };
    ops::gather::gather(words, &folders).map_err(|error| {
        let kind = match &error {
            GatherError::Words(_) => Kind::Usage,
            GatherError::Find(error) if error.is_about_the_machine() => Kind::Environment,
            _ => Kind::Project,
        };
        Failure::of(kind, &error).in_words(|text| remote.with_urls(&with_members(text, temporary)))
    })
}

/// Names files of an unpacked NN Archive as they are in the archive: the folder where they are now goes away.
fn with_members(text: &str, temporary: &Path) -> String {
    let folder = format!("{}/{}", temporary.display(), TemporaryFolder::PREFIX);
    let mut parts = text.split(&folder);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('/').map_or(part, |(_, member)| member))
}

/// Inside an image the conversion is done here and now, by the tools around this process.
fn in_image(
    args: &ConvertArgs,
    gathered: Gathered,
    toolchain: ToolchainName,
    (uploads, told): (&Uploads<'_>, &[String]),
    context: &Context,
) -> Result<Status, Failure> {
    if args.is_checked_first(&gathered) {
        check_operators(&gathered, &toolchain, args)?;
    }
    let asked = ToolchainName {
        target: args.target,
        version: args.tool_version.clone().unwrap_or_else(|| toolchain.version.clone()),
    };
    if asked != toolchain {
        let message = format!("this image converts with {toolchain}, not with {asked}");
        return Err(Failure::new(Kind::Usage, message).hinted(["use the image of the other toolchain".to_owned()]));
    }
    let place = place(args, &gathered, &context.working_folder()?)?;
    let plan = convert::plan_in_image(request(args, gathered, toolchain, place))
        .map_err(|error| Failure::of(Kind::Usage, &error))?;
    if args.dry_run {
        context.printer.result(&plan, || plan.to_string());
        return Ok(Status::Success);
    }
    uploads.check().map_err(upload_failure)?;
    let output = ops::inside::convert(&plan, context.image_id(), context.tool_time()?, context.bars.as_ref())
        .map_err(failure)?;
    finish(uploads.carry_out(&plan, output).map_err(upload_failure)?, &plan, told, context);
    Ok(Status::Success)
}

/// Returns the toolchain. With an image of somebody else, the version need not be in the lock.
fn toolchain(args: &ConvertArgs, project: &Project) -> Result<ToolchainName, Failure> {
    match (&args.image, &args.tool_version) {
        (Some(_), Some(version)) => Ok(ToolchainName { target: args.target, version: version.clone() }),
        _ => project
            .toolchain(args.target, args.tool_version.as_ref())
            .map_err(|error| Failure::of(Kind::Project, &error)),
    }
}

fn request(args: &ConvertArgs, gathered: Gathered, toolchain: ToolchainName, place: PathBuf) -> ConversionRequest {
    ConversionRequest {
        image: convert::choose_image(args.image.as_deref(), &toolchain),
        toolchain,
        engine: args.run.engine.map(EngineName::choice),
        configuration: gathered.configuration,
        files: gathered.files,
        source_archive: gathered.archive.map(|archive| archive.source.clone()),
        form: match args.to {
            To::Native => OutputForm::Native,
            To::NnArchive => OutputForm::NnArchive,
        },
        preprocessing: args.preprocessing(),
        main_stage: args.main_stage.clone(),
        notes: gathered.notes.iter().map(ToString::to_string).collect(),
        place,
        is_place_free: args.output_dir.is_none(),
    }
}

/// Returns where the result goes: a bare name below `output/`, a path as it is, else a name made of model and time.
fn place(args: &ConvertArgs, gathered: &Gathered, working: &Path) -> Result<PathBuf, Failure> {
    let is_nameless =
        |path: &String| matches!(path.trim_end_matches('/').rsplit('/').next(), None | Some("" | "." | ".."));
    if let Some(path) = args.output_dir.as_ref().filter(|path| is_nameless(path)) {
        let message = format!("`--output-dir {path:?}` names no folder for the result");
        return Err(Failure::new(Kind::Usage, message)
            .hinted(["give a name, for a folder below `output/`, or a path that ends with one".to_owned()]));
    }
    let place = match &args.output_dir {
        Some(path) if path.contains('/') => working.join(path.trim_end_matches('/')),
        Some(name) => working.join("output").join(name),
        None => {
            let now = jiff::Timestamp::now().strftime("%Y_%m_%d_%H_%M_%S").to_string();
            working.join("output").join(convert::output_name(&gathered.configuration, args.target, &now))
        }
    };
    ops::collect::settled(&place).map_err(|error| failure(error.into()))
}

impl ConvertArgs {
    /// Returns whether what tools lack is to be told before anything is converted: a plan must tell it, and what is
    /// wrong with a later stage is wanted before the first one is compiled.
    fn is_checked_first(&self, gathered: &Gathered) -> bool {
        self.dry_run || gathered.configuration.stages.len() > 1
    }

    /// Returns where mean, scale and colours are applied.
    fn preprocessing(&self) -> PreprocessingPlace {
        if self.archive_preprocess { PreprocessingPlace::Archive } else { PreprocessingPlace::Model }
    }
}

/// Returns what goes elsewhere when the conversion is done.
pub(super) fn uploads<'a>(
    gathered: &Gathered,
    working: &Path,
    context: &Context,
    remote: &'a Remote<'a>,
) -> Result<Uploads<'a>, Failure> {
    let home = context.variable("HOME").map(Path::new);
    Uploads::new(&gathered.configuration, (working, home), remote).map_err(upload_failure)
}

fn upload_failure(error: UploadError) -> Failure {
    Failure::of(if error.is_about_the_machine() { Kind::Environment } else { Kind::Project }, &error)
}

/// Tells what came of it, nothing twice, and without the warnings that were `told` before.
fn finish(output: Output, plan: &ConversionPlan, told: &[String], context: &Context) {
    let (proofs, warnings) = (&output.report.proofs, &output.report.warnings);
    for proof in proofs {
        let stage = if proofs.len() > 1 { format!("{}: ", proof.stage) } else { String::new() };
        let said = proof.lines().into_iter().filter(|line| !warnings.contains(line));
        said.for_each(|line| context.printer.say(format!("{stage}{line}")));
    }
    for warning in warnings.iter().filter(|warning| !told.contains(warning)) {
        context.printer.warn(warning);
    }
    if !plan.is_output_free && output.folder != plan.output {
        let (taken, folder) = (plan.output.display(), output.folder.display());
        context.printer.warn(format!("{taken} was changed by somebody else meanwhile; the result is in {folder}"));
    }
    context.printer.result(&output, || {
        let mut text = String::new();
        for artifact in &output.artifacts {
            let path = output.folder.join(&artifact.path);
            let _ = writeln!(text, "{} ({})", path.display(), artifact.size);
        }
        for url in &output.uploads {
            let _ = writeln!(text, "{url}");
        }
        text
    });
}

fn failure(error: ConvertError) -> Failure {
    match &error {
        ConvertError::Collect(CollectError::Taken { .. }) => Failure::of(Kind::Project, &error),
        ConvertError::Dispatch(DispatchError::Interrupted(signal)) => interrupted(*signal),
        ConvertError::Dispatch(dispatch) => {
            Failure::of(Kind::Environment, &error).with_last_lines(dispatch.last_lines().iter().cloned())
        }
        ConvertError::Reported { failure, .. } => {
            let kind = match failure.kind {
                FailureKind::Usage => Kind::Usage,
                FailureKind::Project => Kind::Project,
                FailureKind::Environment => Kind::Environment,
                FailureKind::Internal => Kind::Internal,
            };
            let (first, rest) =
                failure.messages.split_first().map_or(("", [].as_slice()), |(first, rest)| (first.as_str(), rest));
            Failure::new(kind, first)
                .caused(rest.iter().cloned())
                .hinted(error.hints())
                .with_last_lines(failure.tool.iter().flat_map(|tool| tool.last_lines.clone()))
        }
        _ => Failure::of(Kind::Environment, &error),
    }
}

/// Returns the failure of being stopped.
pub(super) fn interrupted(signal: i32) -> Failure {
    Failure::new(Kind::Interrupted, format!("interrupted by signal {signal}"))
}

/// An image, wherever it is.
pub(super) enum ChosenImage {
    Assembled(Box<AssembledImage>),
    Named(String),
}

impl ChosenImage {
    /// Returns it for a session.
    pub(super) fn as_session(&self) -> SessionImage<'_> {
        match self {
            Self::Assembled(image) => SessionImage::Assembled(image),
            Self::Named(reference) => SessionImage::Named(reference),
        }
    }
}

impl RunArgs {
    /// Takes over what the file `.env` says, which clap does not know.
    fn complete(&mut self, context: &Context) {
        let kept = || EngineName::from_str(context.variable("MODELCONVERTER_ENGINE")?, false).ok();
        self.engine = self.engine.or_else(kept);
    }

    /// Returns what the tools may use up.
    pub(super) fn limits(&self) -> Limits {
        Limits { memory: self.memory, cpus: self.cpus }
    }
}

impl EngineName {
    /// Returns the choice that the name stands for.
    pub(super) fn choice(self) -> EngineChoice {
        match self {
            Self::Embedded => EngineChoice::Embedded,
            Self::Docker => EngineChoice::Docker,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_an_archive_are_named_as_they_are_in_it() {
        let named = |text| with_members(text, Path::new("/tmp"));
        assert_eq!(named("no `x` in `/tmp/.modelconverter-a1/m/net.onnx`"), "no `x` in `m/net.onnx`");
        assert_eq!(named("/tmp/net.onnx and /tmp/.modelconverter-b/y"), "/tmp/net.onnx and y");
    }
}
