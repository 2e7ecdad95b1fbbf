//! Files of this machine into buckets.

use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};

use super::location::Location;
use super::problem::{Problem, RemoteError};
use super::{Network, Remote};
use crate::disk::{self, DiskError, File};
use crate::progress::Subject;
use crate::units::ByteSize;

/// Files up to this length go in one request; longer ones in parts of this length, so that a failure costs one part.
const PART: usize = 8 << 20;

/// The name that is tried; an upload that is begun and given up leaves nothing under it.
const PROBE: &str = ".modelconverter-probe";

enum Failed {
    Problem(Problem),
    Disk(DiskError),
}

impl From<object_store::Error> for Failed {
    fn from(error: object_store::Error) -> Self {
        Self::Problem(error.into())
    }
}

impl From<DiskError> for Failed {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

impl Remote<'_> {
    /// Checks that files can be written below `folder`, by beginning an upload and giving it up: that needs the very
    /// right that is needed later, and leaves nothing behind.
    ///
    /// # Errors
    /// Nothing can be written there, or the network may not be used.
    pub fn check_target(&self, folder: &Location) -> Result<(), RemoteError> {
        if self.options.network == Network::Offline {
            return Err(RemoteError::OfflineTarget { location: folder.clone() });
        }
        let failed = |source| RemoteError::Write { location: folder.clone(), source };
        let probe = folder.below(PROBE).ok_or_else(|| failed(Problem::NoListing))?;
        let (store, path) = self.object(&probe)?;
        let result = self.sockets()?.runtime.block_on(async {
            let mut upload = store.put_multipart(&path).await?;
            // Some accounts may write and not give up; the rules of the bucket remove what was begun.
            let _ = upload.abort().await;
            Ok(())
        });
        result.map_err(|error: object_store::Error| failed(Problem::from(error)))
    }

    /// Writes a file to `location`, and checks that it is there.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn upload(&self, file: &Path, location: &Location) -> Result<ByteSize, RemoteError> {
        if self.options.network == Network::Offline {
            return Err(RemoteError::OfflineTarget { location: location.clone() });
        }
        let (store, path) = self.object(location)?;
        let mut content = disk::open(file)?;
        let size = disk::metadata(file)?.map_or(0, |metadata| metadata.len());
        let subject = Subject::Step(format!("upload {}", location.name()));
        self.progress.started(&subject, Some(ByteSize::new(size)));
        let told = |by: usize| self.progress.advanced(&subject, ByteSize::new(by as u64));
        let result = self.sockets()?.runtime.block_on(async {
            send(store.as_ref(), &path, &mut content, file, &told).await?;
            match store.head(&path).await.map_err(Problem::from) {
                Ok(found) if found.size == size => Ok(()),
                Ok(found) => Err(Failed::Problem(Problem::Length {
                    expected: ByteSize::new(size),
                    found: ByteSize::new(found.size),
                })),
                // An account may write and not read; that the bytes came whole, the server checked by their digest.
                Err(Problem::Denied { .. }) => Ok(()),
                Err(problem) => Err(Failed::Problem(problem)),
            }
        });
        self.progress.ended(&subject, &result);
        match result {
            Ok(()) => Ok(ByteSize::new(size)),
            Err(Failed::Disk(error)) => Err(error.into()),
            Err(Failed::Problem(source)) => Err(RemoteError::Write { location: location.clone(), source }),
        }
    }
}

async fn send(
    store: &dyn ObjectStore,
    path: &object_store::path::Path,
    content: &mut File,
    file: &Path,
    told: &dyn Fn(usize),
) -> Result<(), Failed> {
    let first = part(content, file)?;
    if first.len() < PART {
        let length = first.len();
        store.put(path, PutPayload::from_bytes(first)).await?;
        told(length);
        return Ok(());
    }
    let mut upload = store.put_multipart(path).await?;
    let result = send_parts(upload.as_mut(), first, content, file, told).await;
    if result.is_err() {
        // Best effort: the error that led here is the one to tell.
        let _ = upload.abort().await;
    }
    result
}

async fn send_parts(
    upload: &mut dyn MultipartUpload,
    first: Bytes,
    content: &mut File,
    file: &Path,
    told: &dyn Fn(usize),
) -> Result<(), Failed> {
    let mut next = first;
    while !next.is_empty() {
        let length = next.len();
        upload.put_part(PutPayload::from_bytes(next)).await?;
        told(length);
        next = part(content, file)?;
    }
    upload.complete().await?;
    Ok(())
}

/// Reads the next part; an empty one is the end.
fn part(content: &mut File, file: &Path) -> Result<Bytes, DiskError> {
    let mut bytes = Vec::new();
    content.take(PART as u64).read_to_end(&mut bytes).map_err(|source| DiskError::new("read", file, source))?;
    Ok(bytes.into())
}
