//! `image`: assembles images and looks at them.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::Status;
use super::context::{Context, ready_failure};
use super::toolchain::Which;
use crate::disk::NewFile;
use crate::name::{FileName, Target, ToolchainVersion};
use crate::ops::assemble::{AssembledImage, Converter, Effort};
use crate::ops::image::{self, ArchiveForm, Exported, ImageError, Side};
use crate::ops::ready::{self, Workshop};
use crate::project::Project;
use crate::store::Store;
use crate::ui::{Failure, Kind};

/// Assemble images and look at them
#[derive(Debug, Args)]
pub(super) struct ImageArgs {
    #[command(subcommand)]
    command: ImageCommand,
}

#[derive(Debug, Subcommand)]
enum ImageCommand {
    /// Assemble the image of a toolchain, and check it against the lock
    Build {
        #[command(flatten)]
        which: Which,
        /// Assemble it twice from nothing, in different ways, and compare every byte
        #[arg(long)]
        twice: bool,
    },
    /// List the images of the lock and whether they are in the store
    List,
    /// Show the layers, packages, digests and environment of an image
    Show(Which),
    /// Write an image as one file, or as an OCI image layout, for other tools
    ///
    /// The file is read by `docker load`, `podman load`, skopeo and umoci.
    Export {
        #[command(flatten)]
        which: Which,
        /// The file or folder to write; `-` is standard output
        #[arg(long, short)]
        output: PathBuf,
        /// Whether to write one file or a folder
        #[arg(long, value_enum, default_value_t = Format::Archive)]
        format: Format,
        /// Leave the layers uncompressed
        #[arg(long)]
        uncompressed: bool,
    },
    /// Compare two images: packages, and files by path
    ///
    /// Exit code 1 if they differ. Each is a toolchain of the lock (`rvc2`, `rvc2:2021.4.2`), or the path of an exported
    /// image, which has this program in it too: `usr/bin/modelconverter`.
    Diff {
        /// The one
        before: String,
        /// The other
        after: String,
    },
}

/// Forms of an exported image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One tar file that OCI tools and `docker load` read
    Archive,
    /// A folder that holds an OCI image layout
    Layout,
}

pub(super) fn run(args: ImageArgs, context: &mut Context) -> Result<Status, Failure> {
    match args.command {
        ImageCommand::Build { which, twice: false } => build(&which, context),
        ImageCommand::Build { which, twice: true } => build_twice(&which, context),
        ImageCommand::List => list(context),
        ImageCommand::Show(which) => show(&which, context),
        ImageCommand::Export { which, output, format, uncompressed } => {
            let form = if uncompressed { ArchiveForm::Uncompressed } else { ArchiveForm::Compressed };
            export(&which, &output, format, form, context)
        }
        ImageCommand::Diff { before, after } => diff(&before, &after, context),
    }
}

fn failed(error: ImageError) -> Failure {
    Failure::of(Kind::Environment, &error)
}

fn build(which: &Which, context: &Context) -> Result<Status, Failure> {
    let (project, store) = (context.project()?, context.store()?);
    let name = which.name(&project)?;
    let image = context.image(&project, &store, &name)?;
    let plan = ready::plan(&project, &name).map_err(ready_failure)?;
    let facts = image::facts(&plan, Some(&image));
    context.printer.result(&facts, || format!("{} is ready: {}", facts.reference, image.id));
    Ok(Status::Success)
}

fn build_twice(which: &Which, context: &Context) -> Result<Status, Failure> {
    let (project, store) = (context.project()?, context.store()?);
    let name = which.name(&project)?;
    // Once in the ordinary way, so that everything that is needed is there.
    context.image(&project, &store, &name)?;
    let plan = ready::plan(&project, &name).map_err(ready_failure)?;
    let recipe = project.recipe(name.target).map_err(|error| Failure::of(Kind::Project, &error))?;
    let layers = image::assemble_twice(&plan, &store, recipe, context.progress()).map_err(failed)?;
    context.printer.result(&layers, || {
        let line = |layer: &image::Reproduced| format!("{:<12} {}", layer.layer.as_str(), layer.diff_id);
        let lines: Vec<String> = layers.iter().map(line).collect();
        format!("both assemblies made the same bytes\n{}", lines.join("\n"))
    });
    Ok(Status::Success)
}

fn list(context: &Context) -> Result<Status, Failure> {
    let (project, store) = (context.project()?, context.store()?);
    let images = image::list(project.lock(), &store).map_err(failed)?;
    context.printer.result(&images, || {
        let size = |size: Option<crate::units::ByteSize>| size.map_or_else(String::new, |size| size.to_string());
        let line = |image: &image::ListedImage| {
            let (size, small) = (size(image.size), size(image.compressed_size));
            format!("{:<30} {:<12} {size:>10} {small:>10}  {}\n", image.reference, image.platform, image.presence)
        };
        images.iter().map(line).collect()
    });
    Ok(Status::Success)
}

fn show(which: &Which, context: &Context) -> Result<Status, Failure> {
    let project = context.project()?;
    let plan = ready::plan(&project, &which.name(&project)?).map_err(ready_failure)?;
    let facts = image::facts(&plan, None);
    context.printer.result(&facts, || facts.to_string());
    Ok(Status::Success)
}

fn export(
    which: &Which,
    output: &Path,
    format: Format,
    form: ArchiveForm,
    context: &Context,
) -> Result<Status, Failure> {
    let (project, store) = (context.project()?, context.store()?);
    let name = which.name(&project)?;
    let image = context.image(&project, &store, &name)?;
    if !image.restricted.is_empty() {
        let files: Vec<&str> = image.restricted.iter().map(FileName::as_str).collect();
        context.printer.warn(format!(
            "the licences of these files in the image do not let you pass it on to others: {}",
            files.join(", ")
        ));
    }
    let progress = context.progress();
    let exported: Exported = match format {
        Format::Layout => image::write_layout(&image, &store, form, output, progress).map_err(failed)?,
        Format::Archive if output == Path::new("-") => {
            let mut out = std::io::stdout().lock();
            let exported = image::write_archive(&image, &store, form, &mut out, progress).map_err(failed)?;
            out.flush().map_err(|error| {
                Failure::new(Kind::Environment, "failed to write the image").caused([error.to_string()])
            })?;
            context.printer.say(format!("{} {}", exported.reference, exported.manifest));
            return Ok(Status::Success);
        }
        Format::Archive => {
            let refused = |error| Failure::of(Kind::Environment, &error);
            let mut file = NewFile::create(output).map_err(refused)?;
            let exported = image::write_archive(&image, &store, form, &mut file, progress).map_err(failed)?;
            file.commit().map_err(refused)?;
            exported
        }
    };
    let value = serde_json::json!({
        "output": output, "reference": exported.reference.to_string(), "manifest": exported.manifest, "id": exported.id,
        "redistributable": image.restricted.is_empty(), "not_redistributable": image.restricted,
    });
    context.printer.result(&value, || format!("{} as {} {}", output.display(), exported.reference, exported.manifest));
    Ok(Status::Success)
}

fn diff(before: &str, after: &str, context: &Context) -> Result<Status, Failure> {
    let (project, store) = (context.project()?, context.store()?);
    let before = Named::find(before, &project, &store, context)?;
    let after = Named::find(after, &project, &store, context)?;
    let difference = image::compare(before.side(), after.side()).map_err(failed)?;
    context.printer.result(&difference, || match difference.is_empty() {
        true => "the images are alike".to_owned(),
        false => difference.to_string(),
    });
    Ok(if difference.is_empty() { Status::Success } else { Status::Code(1) })
}

/// An image that a person named.
enum Named {
    Assembled(Box<AssembledImage>),
    Exported(PathBuf),
}

impl Named {
    fn find(text: &str, project: &Project, store: &Store, context: &Context) -> Result<Self, Failure> {
        let path = Path::new(text);
        if path.exists() {
            return Ok(Self::Exported(path.to_owned()));
        }
        let (target, version) = text.split_once(':').map_or((text, None), |(target, version)| (target, Some(version)));
        let unknown = |error: crate::name::NameError| {
            Failure::of(Kind::Usage, &error)
                .hinted(["name a toolchain as `rvc2:2021.4.2`, or the path of an exported image".to_owned()])
        };
        let target: Target = target.parse().map_err(unknown)?;
        let version = version.map(str::parse::<ToolchainVersion>).transpose().map_err(unknown)?;
        let name = project.toolchain(target, version.as_ref()).map_err(|error| Failure::of(Kind::Project, &error))?;
        let fetcher = context.fetcher(project)?;
        let workshop = Workshop { project, store, fetcher: &fetcher };
        let plan = ready::plan(project, &name).map_err(ready_failure)?;
        // The converter's own layer says nothing about the toolchain.
        let image = ready::image(workshop, &plan, Converter::None, Effort::default(), context.progress());
        Ok(Self::Assembled(Box::new(image.map_err(ready_failure)?)))
    }

    fn side(&self) -> Side<'_> {
        match self {
            Self::Assembled(image) => Side::Assembled(image),
            Self::Exported(path) => Side::Exported(path),
        }
    }
}
