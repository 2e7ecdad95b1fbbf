//! `calibration`: what networks are fed when they are calibrated.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};

use super::Status;
use super::context::Context;
use crate::calibration::Feed;
use crate::calibration::feed::FeedOptions;
use crate::config::{Color, DataType, Named, ResizeMethod, Shape};
use crate::nn_archive::Layout;
use crate::ops;
use crate::ops::prepare::{PrepareError, Prepared, Written};
use crate::ui::{Failure, Kind};

/// Look at calibration data
#[derive(Debug, Args)]
pub(super) struct CalibrationArgs {
    #[command(subcommand)]
    command: CalibrationCommand,
}

#[derive(Debug, Subcommand)]
enum CalibrationCommand {
    Prepare(PrepareArgs),
}

/// Write what a network is fed for a picture, an array (.npy) or raw bytes (.raw)
///
/// Pictures are JPEG, PNG, BMP, WebP, TIFF or GIF. They are taken as they are stored: a note in them that they should be
/// turned (EXIF orientation) is not followed. Mean and scale are part of the network and not applied.
#[derive(Debug, Args)]
struct PrepareArgs {
    /// A sample, or a folder or zip file of samples: a path, or a URL (s3://, gs://, https://)
    file: PathBuf,
    /// The input's dimensions, for example 1,3,224,224
    #[arg(long, value_delimiter = ',', required = true, value_name = "SIZES", value_parser = clap::value_parser!(u64).range(1..))]
    shape: Vec<u64>,
    /// The letters of the dimensions; guessed from the shape unless given
    #[arg(long)]
    layout: Option<Layout>,
    /// The colours that the network is fed: BGR for three channels, GRAY for one, NONE for others, unless given
    #[arg(long, value_parser = named::<Color>(), ignore_case = true)]
    encoding: Option<Color>,
    /// How pictures of another size become the input's
    #[arg(long, value_parser = named::<ResizeMethod>(), ignore_case = true, default_value = "RESIZE")]
    resize: ResizeMethod,
    /// The type of the input's elements
    #[arg(long, value_parser = named::<DataType>(), hide_possible_values = true, default_value = "uint8", value_name = "TYPE")]
    data_type: DataType,
    /// The result: .npy (with shape and type), .raw (bytes alone) or .png (for people, in true colours); a new folder for
    /// a folder of samples
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
}

/// Reads one of the names of an enumeration; others get the nearest one as advice.
fn named<T: Named + Send + Sync>() -> impl TypedValueParser<Value = T> {
    let names = PossibleValuesParser::new(T::ALL.iter().map(|value| value.as_str()));
    names.try_map(|name| {
        let value = T::ALL.iter().find(|value| value.as_str().eq_ignore_ascii_case(&name));
        value.copied().ok_or_else(|| format!("`{name}` is none of the values"))
    })
}

pub(super) fn run(args: CalibrationArgs, context: &mut Context) -> Result<Status, Failure> {
    let CalibrationCommand::Prepare(args) = args.command;
    let feed = feed(args.shape, args.layout, args.encoding, args.data_type, args.resize)?;
    let remote = context.remote();
    let from = ops::prepare::bring(&args.file, &remote).map_err(|error| {
        let kind = if error.is_about_the_machine() { Kind::Environment } else { Kind::Project };
        Failure::of(kind, &error)
    })?;
    let failure = |error| failure(error).in_words(|text| remote.with_urls(text));
    match ops::prepare::prepare(&feed, &from, &args.out).map_err(failure)? {
        Written::File(prepared) => context.printer.result(&prepared, || text(&prepared)),
        Written::Folder(all) => {
            context.printer.result(&all, || format!("{}: {} samples", args.out.display(), all.len()));
        }
    }
    Ok(Status::Success)
}

fn feed(
    shape: Shape,
    layout: Option<Layout>,
    encoding: Option<Color>,
    data_type: DataType,
    resize_method: ResizeMethod,
) -> Result<Feed, Failure> {
    let layout = match layout {
        Some(layout) => layout,
        None => Layout::default_for(&shape).map_err(|error| Failure::of(Kind::Usage, &error))?,
    };
    let channels = layout.position('C').and_then(|at| shape.get(at));
    let color = encoding.unwrap_or(match channels {
        Some(3) => Color::Bgr,
        Some(1) => Color::Gray,
        _ => Color::None,
    });
    Feed::new(FeedOptions { shape, layout, data_type, color, resize_method })
        .map_err(|error| Failure::of(Kind::Usage, &error))
}

fn failure(error: PrepareError) -> Failure {
    let kind = match &error {
        PrepareError::Suffix { .. } | PrepareError::Exists { .. } => Kind::Usage,
        PrepareError::LikeFile { .. } | PrepareError::Same { .. } => Kind::Usage,
        PrepareError::Sample(source) if source.is_about_the_machine() => Kind::Environment,
        PrepareError::Sample(_) | PrepareError::Plan(_) | PrepareError::NoPicture(_) => Kind::Project,
        PrepareError::Encode { .. } | PrepareError::Disk(_) => Kind::Environment,
    };
    Failure::of(kind, &error)
}

fn text(prepared: &Prepared) -> String {
    let Prepared { path, shape, layout, data_type, min, max, mean, sha256 } = prepared;
    let shape: Vec<String> = shape.iter().map(u64::to_string).collect();
    format!("{}: {data_type} {} {layout}, {min} to {max}, mean {mean:.3}\n{sha256}", path.display(), shape.join("x"))
}
