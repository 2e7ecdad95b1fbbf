//! `archive`: a model is wrapped in an NN Archive.

use std::path::Path;

use clap::Args;

use super::Status;
use super::context::Context;
use crate::config::FileReference;
use crate::disk::DiskError;
use crate::ops::wrap::{self, Place, WrapError, Wrapped};
use crate::pipeline::pack::PackError;
use crate::remote::Remote;
use crate::ui::{Failure, Kind};

/// Wrap an existing model in an NN Archive
///
/// The description follows from the model alone: names, shapes and types of its inputs and outputs. Files that belong to
/// the model go with it: the weights of an IR, the external data of an ONNX model. Nothing is converted.
#[derive(Debug, Args)]
pub(super) struct ArchiveArgs {
    /// The model (.onnx, .xml, .tflite, .blob, .superblob): a path, or a URL (s3://, gs://, https://)
    path: String,
    /// Where the archive goes: a file that ends with .tar.xz, .tar.gz, .tar.bz2, .tar.zst or .tar, or a folder;
    /// also in a bucket (s3://, gs://)
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
    let remote = context.remote();
    let wrapped = wrap(&args, &context.working_folder()?, context.temporary(), &remote);
    let wrapped = wrapped.map_err(|error| Failure::of(kind(&error), &error).in_words(|text| remote.with_urls(text)))?;
    for note in &wrapped.notes {
        context.printer.warn(note);
    }
    context.printer.result(&wrapped, || format!("{} ({})", wrapped.archive.display(), wrapped.size));
    Ok(Status::Success)
}

fn wrap(args: &ArchiveArgs, working: &Path, temporary: &Path, remote: &Remote<'_>) -> Result<Wrapped, WrapError> {
    let model = FileReference::new(args.path.as_str());
    let path = if model.is_remote() { wrap::bring(&model, remote)? } else { working.join(&args.path) };
    let url = args.save_path.as_deref().map(FileReference::new).filter(FileReference::is_remote);
    match url {
        Some(url) => wrap::wrap_for(&url, &path, temporary, remote),
        None => wrap::wrap(&path, &Place::of(args.save_path.as_deref(), &path, working)?),
    }
}

fn kind(error: &WrapError) -> Kind {
    match error {
        WrapError::Remote(error) if error.is_about_the_machine() => Kind::Environment,
        WrapError::NoFolder { .. } => Kind::Usage,
        WrapError::Disk(DiskError::Missing { .. }) | WrapError::Pack(PackError::Disk(DiskError::Missing { .. })) => {
            Kind::Project
        }
        WrapError::Disk(_) | WrapError::Pack(_) => Kind::Environment,
        _ => Kind::Project,
    }
}
