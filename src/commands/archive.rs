//! `archive`: a model is wrapped in an NN Archive.

use std::path::PathBuf;

use clap::Args;

use super::Status;
use super::context::Context;
use crate::config::FileReference;
use crate::disk::DiskError;
use crate::ops::wrap::{self, Place, WrapError};
use crate::pipeline::pack::PackError;
use crate::ui::{Failure, Kind};

/// Wrap an existing model in an NN Archive
///
/// The description follows from the model alone: names, shapes and types of its inputs and outputs. Files that belong to
/// the model go with it: the weights of an IR, the external data of an ONNX model. Nothing is converted.
#[derive(Debug, Args)]
pub(super) struct ArchiveArgs {
    /// The model (.onnx, .xml, .tflite, .blob, .superblob)
    path: String,
    /// Where the archive goes: a file that ends with .tar.xz, .tar.gz, .tar.bz2, .tar.zst or .tar, or a folder
    #[arg(long, alias = "save_path", value_name = "PATH")]
    save_path: Option<String>,
    /// Refused: uploaders that were Python code of the earlier tool
    #[arg(long, alias = "put_file_plugin", value_name = "NAME", hide = true)]
    put_file_plugin: Option<String>,
}

pub(super) fn run(args: ArchiveArgs, context: &mut Context) -> Result<Status, Failure> {
    if let Some(plugin) = &args.put_file_plugin {
        let message =
            format!("`--put-file-plugin {plugin}` cannot be used: this program runs no Python code of others");
        let advice = "leave it away, and upload the archive with a tool of your own".to_owned();
        return Err(Failure::new(Kind::Usage, message).hinted([advice]));
    }
    let reference = FileReference::new(args.path.as_str());
    if reference.is_remote() {
        return Err(Failure::of(Kind::Usage, &WrapError::Remote { reference }));
    }
    let working = context.working_folder()?;
    let path = working.join(PathBuf::from(&args.path));
    let wrapped = Place::of(args.save_path.as_deref(), &path, &working).and_then(|place| wrap::wrap(&path, &place));
    let wrapped = wrapped.map_err(|error| Failure::of(kind(&error), &error))?;
    for note in &wrapped.notes {
        context.printer.warn(note);
    }
    context.printer.result(&wrapped, || format!("{} ({})", wrapped.archive.display(), wrapped.size));
    Ok(Status::Success)
}

const fn kind(error: &WrapError) -> Kind {
    match error {
        WrapError::Remote { .. } | WrapError::NoFolder { .. } => Kind::Usage,
        WrapError::Disk(DiskError::Missing { .. }) | WrapError::Pack(PackError::Disk(DiskError::Missing { .. })) => {
            Kind::Project
        }
        WrapError::Disk(_) | WrapError::Pack(_) => Kind::Environment,
        _ => Kind::Project,
    }
}
