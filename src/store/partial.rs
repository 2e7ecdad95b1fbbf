//! Downloads that may break off: their bytes so far, and what it takes to go on where they stopped.

use std::io::Read;
use std::path::PathBuf;

use super::{BUFFER, Store, StoreError, StoreLock};
use crate::digest::{Digest, Hasher, Mismatch};
use crate::disk::{self, DiskError, File};
use crate::lock::Pin;
use crate::units::ByteSize;

/// A validator is one short line; a longer one is not ours.
const VALIDATOR_LIMIT: ByteSize = ByteSize::new(4096);

/// The place of one blob: filled, or to be filled by whoever holds this value.
pub enum Slot {
    /// The blob is there.
    Present(PathBuf),
    /// The blob is missing, and nobody else is bringing it.
    Missing(Partial),
}

/// The bytes of a blob so far. Only one process holds a blob's partial; death or drop lets it go and keeps the bytes.
pub struct Partial {
    store: Store,
    pin: Pin,
    path: PathBuf,
    file: File,
    hasher: Hasher,
    validator: Option<String>,
    _lock: StoreLock,
}

impl Store {
    /// Waits until nobody else is bringing the blob, then returns its place.
    pub fn slot(&self, pin: Pin) -> Result<Slot, StoreError> {
        if let Some(path) = self.blob(&pin.sha256)? {
            return Ok(Slot::Present(path));
        }
        let lock = self.lock(&key(&pin.sha256))?;
        self.slot_under(pin, lock)
    }

    /// Returns the place of a blob, or nothing if somebody else is bringing it just now.
    pub fn try_slot(&self, pin: Pin) -> Result<Option<Slot>, StoreError> {
        if let Some(path) = self.blob(&pin.sha256)? {
            return Ok(Some(Slot::Present(path)));
        }
        self.try_lock(&key(&pin.sha256))?.map(|lock| self.slot_under(pin, lock)).transpose()
    }

    fn slot_under(&self, pin: Pin, lock: StoreLock) -> Result<Slot, StoreError> {
        if let Some(path) = self.blob(&pin.sha256)? {
            return Ok(Slot::Present(path));
        }
        let path = self.folder("partial").join(pin.sha256.hex());
        if self.disk(disk::metadata(&path))?.is_some() {
            // A process that died just before the last rename left it read-only.
            self.disk(disk::set_mode(&path, 0o644))?;
        }
        let file = self.disk(disk::append(&path))?;
        let validator = self.disk(disk::read_if_exists(&path.with_extension("from"), VALIDATOR_LIMIT))?;
        let validator = validator.and_then(|bytes| String::from_utf8(bytes).ok()).filter(|text| !text.is_empty());
        let mut partial =
            Partial { store: self.clone(), pin, path, file, hasher: Hasher::default(), validator, _lock: lock };
        partial.take_up()?;
        Ok(Slot::Missing(partial))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Nothing is worth keeping where nothing came. Best effort: an empty file is in nobody's way.
        if self.length() == ByteSize::default() {
            let _ = disk::remove_file(&self.path.with_extension("from"));
            let _ = disk::remove_file(&self.path);
        }
    }
}

/// Returns the key of the lock that the one who brings a blob holds.
pub(super) fn key(digest: &Digest) -> String {
    format!("fetch {}", digest.hex())
}

impl Partial {
    /// Hashes what is there already; too many bytes, or all of them but wrong ones, are thrown away.
    fn take_up(&mut self) -> Result<(), StoreError> {
        let mut file = self.store.disk(disk::open(&self.path))?;
        let mut buffer = vec![0; BUFFER];
        while self.hasher.length() <= self.pin.size {
            let read = file.read(&mut buffer).map_err(|source| DiskError::new("read", &self.path, source));
            let count = self.store.disk(read)?;
            if count == 0 {
                break;
            }
            self.hasher.update(buffer.get(..count).unwrap_or_default());
        }
        if self.length() < self.pin.size || self.check().is_ok() { Ok(()) } else { self.restart(None) }
    }

    /// Returns how many bytes there are.
    pub fn length(&self) -> ByteSize {
        self.hasher.length()
    }

    /// Returns whether all bytes are there.
    pub fn is_whole(&self) -> bool {
        self.length() == self.pin.size
    }

    /// Returns what [`Partial::restart`] was given when these bytes began.
    pub fn validator(&self) -> Option<&str> {
        self.validator.as_deref()
    }

    /// Throws the bytes away and begins again; `validator` is one line that says which bytes are coming.
    pub fn restart(&mut self, validator: Option<&str>) -> Result<(), StoreError> {
        let store = self.store.clone();
        let from = self.path.with_extension("from");
        store.disk(disk::remove_file(&from))?;
        store.disk(disk::truncate(&self.file, ByteSize::default(), &self.path))?;
        self.hasher = Hasher::default();
        self.validator = validator.map(str::to_owned);
        if let Some(validator) = validator {
            let mut file = store.disk(disk::create_new(&from, 0o644))?;
            store.disk(disk::write_all(&mut file, validator.as_bytes(), &from))?;
        }
        Ok(())
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// They are too many: then all bytes so far are thrown away. The disk refuses them.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let found = self.length() + ByteSize::new(bytes.len() as u64);
        if found > self.pin.size {
            self.restart(None)?;
            return Err(self.mismatch(Mismatch::Size { expected: self.pin.size, found }));
        }
        self.hasher.update(bytes);
        let store = self.store.clone();
        store.disk(disk::write_all(&mut self.file, bytes, &self.path))
    }

    /// Checks that the bytes are the promised ones.
    ///
    /// # Errors
    /// They are not: then they are thrown away.
    pub fn verify(&mut self) -> Result<(), StoreError> {
        let checked = self.check();
        if checked.is_err() {
            self.restart(None)?;
        }
        checked
    }

    /// Makes the bytes a blob.
    ///
    /// # Errors
    /// They are not the promised ones: then they are thrown away.
    pub fn commit(mut self) -> Result<PathBuf, StoreError> {
        self.verify()?;
        let store = &self.store;
        store.disk(disk::sync(&self.file, &self.path))?;
        store.disk(disk::set_mode(&self.path, 0o444))?;
        let _gate = store.hold(&format!("blob {}", self.pin.sha256.hex()))?;
        let blob = store.blob_path(&self.pin.sha256);
        store.disk(disk::rename(&self.path, &blob))?;
        store.disk(disk::remove_file(&self.path.with_extension("from")))?;
        Ok(blob)
    }

    fn check(&self) -> Result<(), StoreError> {
        let (found, digest) = self.hasher.clone().finish();
        if found != self.pin.size {
            return Err(self.mismatch(Mismatch::Size { expected: self.pin.size, found }));
        }
        if digest != self.pin.sha256 {
            return Err(self.mismatch(Mismatch::Digest { expected: self.pin.sha256, found: digest }));
        }
        Ok(())
    }

    fn mismatch(&self, source: Mismatch) -> StoreError {
        StoreError::Mismatch { expected: self.pin.sha256, source }
    }
}
