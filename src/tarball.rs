//! Layer format 1: a tar stream whose bytes follow from paths, kinds and contents alone.
//!
//! Owns every header field: POSIX ustar (IEEE Std 1003.1, "ustar Interchange Format"), with a pax extended header only
//! where a path, a link target or a size does not fit. Owner is 0 without names, time is [`MODIFIED`], modes come in
//! four forms. Must not decide the order of members, nor touch the file system. Other bytes mean another format number.

use std::io::{self, Read, Write};

use crate::image_path::ImagePath;
use crate::units::ByteSize;

/// The time of every member: 1980-01-02T00:00:00Z. Zip, which Python tools inside images use, knows nothing before 1980
/// in local time, so it is one day later than the first moment of that year.
pub const MODIFIED: u64 = 315_619_200;

/// The length of headers, and what contents are padded to.
const BLOCK: usize = 512;

/// Large enough that hashing dominates over calls, small enough to stay in the processor's cache.
const COPY_BUFFER: usize = 128 * 1024;

/// The largest number of eleven octal digits.
const LARGEST_OCTAL_SIZE: u64 = 0o777_7777_7777;

const NAME: usize = 100;
const PREFIX: usize = 155;

/// Whether a file may be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileMode {
    /// 0644.
    Plain,
    /// 0755.
    Executable,
}

impl FileMode {
    /// Returns the mode of a file that its owner may execute or not.
    pub const fn of(executable: bool) -> Self {
        if executable { Self::Executable } else { Self::Plain }
    }

    /// Returns the permission bits.
    pub const fn bits(self) -> u32 {
        match self {
            Self::Plain => 0o644,
            Self::Executable => 0o755,
        }
    }
}

/// Returns the permission bits of a folder: 0755, but 1777 for the two folders that everybody writes to.
pub fn directory_bits(path: &ImagePath) -> u32 {
    if matches!(path.as_str(), "tmp" | "var/tmp") { 0o1777 } else { 0o755 }
}

/// Which names stand in headers as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    /// Those of ASCII, as the standard has it.
    Ascii,
    /// All, in UTF-8, as GNU tar writes them.
    Utf8,
}

/// Writes members in the order they are given.
pub struct TarWriter<W: Write> {
    inner: W,
    names: Names,
    buffer: Box<[u8]>,
}

impl<W: Write> TarWriter<W> {
    /// Begins a stream.
    pub fn new(inner: W) -> Self {
        Self { inner, names: Names::Ascii, buffer: vec![0; COPY_BUFFER].into_boxed_slice() }
    }

    /// Begins a stream in which names of other letters than ASCII need no pax header. libarchive, with which DepthAI
    /// reads NN Archives, does not take such names out of pax headers in a process without a locale.
    pub fn with_utf8_names(inner: W) -> Self {
        Self { names: Names::Utf8, ..Self::new(inner) }
    }

    /// Writes a folder.
    ///
    /// # Errors
    /// The writer fails.
    pub fn directory(&mut self, path: &ImagePath) -> io::Result<()> {
        let kind = Kind::Directory { bits: directory_bits(path) };
        self.header(&format!("{path}/"), kind)
    }

    /// Writes a regular file with the bytes of `content`, which must be `size`.
    ///
    /// # Errors
    /// The reader or the writer fails, or `content` has another length.
    pub fn file(&mut self, path: &ImagePath, mode: FileMode, size: ByteSize, content: &mut dyn Read) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut member = self.begin_file(path, mode, size)?;
        let copied = member.copy(content, &mut buffer);
        let finished = copied.and_then(|()| member.finish());
        self.buffer = buffer;
        finished
    }

    /// Begins a regular file of `size` bytes, which are then written to the result.
    ///
    /// # Errors
    /// The writer fails.
    pub fn begin_file(&mut self, path: &ImagePath, mode: FileMode, size: ByteSize) -> io::Result<FileWriter<'_, W>> {
        self.header(path.as_str(), Kind::File { mode, size })?;
        Ok(FileWriter { tar: self, path: path.clone(), size, left: size.bytes() })
    }

    /// Writes a symbolic link.
    ///
    /// # Errors
    /// The writer fails, or the target is empty or has a NUL.
    pub fn symlink(&mut self, path: &ImagePath, target: &str) -> io::Result<()> {
        if target.is_empty() || target.contains('\0') {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("`{path}` links to no path")));
        }
        self.header(path.as_str(), Kind::Symlink { target })
    }

    /// Writes another name of a file that was written earlier with the same `mode`.
    ///
    /// # Errors
    /// The writer fails.
    pub fn hardlink(&mut self, path: &ImagePath, mode: FileMode, original: &ImagePath) -> io::Result<()> {
        self.header(path.as_str(), Kind::Hardlink { mode, original: original.as_str() })
    }

    /// Ends the stream with two empty blocks, and no more.
    ///
    /// # Errors
    /// The writer fails.
    pub fn finish(mut self) -> io::Result<W> {
        self.inner.write_all(&[0; 2 * BLOCK])?;
        Ok(self.inner)
    }

    /// Writes the header of a member, after a pax header where one is needed.
    fn header(&mut self, path: &str, kind: Kind<'_>) -> io::Result<()> {
        let names = self.names;
        let split = names.split(path);
        let target = kind.target();
        let size = kind.size();
        // Sorted by key, as format 1 wants it.
        let mut records = Vec::new();
        if !names.fit(target, NAME) {
            record(&mut records, "linkpath", target);
        }
        if split.is_none() {
            record(&mut records, "path", path);
        }
        if size > LARGEST_OCTAL_SIZE {
            record(&mut records, "size", &size.to_string());
        }
        if !records.is_empty() {
            let name = format!("PaxHeaders/{}", ascii(path, NAME - "PaxHeaders/".len()));
            self.inner.write_all(&header_block("", &name, "", b'x', 0o644, records.len() as u64))?;
            self.inner.write_all(&records)?;
            self.pad(records.len() as u64)?;
        }
        let shortened = ascii(path, NAME);
        let (prefix, name) = split.unwrap_or(("", &shortened));
        let target = if names.fit(target, NAME) { target.to_owned() } else { ascii(target, NAME) };
        let block = header_block(prefix, name, &target, kind.flag(), kind.bits(), size);
        self.inner.write_all(&block)
    }

    /// Fills the last block of `length` bytes up.
    fn pad(&mut self, length: u64) -> io::Result<()> {
        let over = (length % BLOCK as u64) as usize;
        match over {
            0 => Ok(()),
            over => self.inner.write_all([0; BLOCK].get(over..).unwrap_or_default()),
        }
    }
}

/// Takes the bytes of one file: exactly as many as were announced.
pub struct FileWriter<'a, W: Write> {
    tar: &'a mut TarWriter<W>,
    path: ImagePath,
    size: ByteSize,
    left: u64,
}

impl<W: Write> FileWriter<'_, W> {
    /// Ends the file.
    ///
    /// # Errors
    /// The writer fails, or fewer bytes were written than announced.
    pub fn finish(self) -> io::Result<()> {
        if self.left > 0 { Err(self.wrong_length()) } else { self.tar.pad(self.size.bytes()) }
    }

    fn copy(&mut self, content: &mut dyn Read, buffer: &mut [u8]) -> io::Result<()> {
        loop {
            match content.read(buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => self.write_all(buffer.get(..count).unwrap_or_default())?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn wrong_length(&self) -> io::Error {
        let text = format!("`{}` is not {} bytes long as announced", self.path, self.size.bytes());
        io::Error::new(io::ErrorKind::InvalidData, text)
    }
}

impl<W: Write> Write for FileWriter<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            return Err(self.wrong_length());
        }
        let count = self.tar.inner.write(bytes)?;
        self.left -= count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tar.inner.flush()
    }
}

/// What a member is.
#[derive(Clone, Copy)]
enum Kind<'a> {
    Directory { bits: u32 },
    File { mode: FileMode, size: ByteSize },
    Symlink { target: &'a str },
    Hardlink { mode: FileMode, original: &'a str },
}

impl<'a> Kind<'a> {
    const fn flag(self) -> u8 {
        match self {
            Self::File { .. } => b'0',
            Self::Hardlink { .. } => b'1',
            Self::Symlink { .. } => b'2',
            Self::Directory { .. } => b'5',
        }
    }

    const fn bits(self) -> u32 {
        match self {
            Self::Directory { bits } => bits,
            // Container engines set the mode of a hard link on the file it names, so it must be the file's own.
            Self::File { mode, .. } | Self::Hardlink { mode, .. } => mode.bits(),
            Self::Symlink { .. } => 0o777,
        }
    }

    const fn size(self) -> u64 {
        match self {
            Self::File { size, .. } => size.bytes(),
            _ => 0,
        }
    }

    const fn target(self) -> &'a str {
        match self {
            Self::Symlink { target } => target,
            Self::Hardlink { original, .. } => original,
            _ => "",
        }
    }
}

/// Sets every field of a ustar header. Nothing else in the program writes one.
fn header_block(prefix: &str, name: &str, target: &str, flag: u8, mode: u32, size: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    put(&mut block, 0, NAME, name.as_bytes());
    put(&mut block, 100, 8, format!("{mode:07o}").as_bytes());
    // Owner and group 0; their names (265, 297) stay empty.
    put(&mut block, 108, 8, b"0000000");
    put(&mut block, 116, 8, b"0000000");
    // A size that does not fit stands in the pax header; zero here, as the field is then without meaning.
    let octal_size = if size > LARGEST_OCTAL_SIZE { 0 } else { size };
    put(&mut block, 124, 12, format!("{octal_size:011o}").as_bytes());
    put(&mut block, 136, 12, format!("{MODIFIED:011o}").as_bytes());
    // The checksum is computed as if its own field held spaces.
    put(&mut block, 148, 8, b"        ");
    put(&mut block, 156, 1, &[flag]);
    put(&mut block, 157, NAME, target.as_bytes());
    put(&mut block, 257, 8, b"ustar\x0000");
    // No device numbers, as there are no devices (329, 337).
    put(&mut block, 329, 8, b"0000000");
    put(&mut block, 337, 8, b"0000000");
    put(&mut block, 345, PREFIX, prefix.as_bytes());
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    put(&mut block, 148, 8, format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Copies `value` into the field at `offset`, cut off at the field's length.
fn put(block: &mut [u8; BLOCK], offset: usize, length: usize, value: &[u8]) {
    for (to, from) in block.iter_mut().skip(offset).take(length).zip(value) {
        *to = *from;
    }
}

impl Names {
    /// Returns whether a text can stand in a ustar field of that length as it is.
    fn fit(self, text: &str, length: usize) -> bool {
        (self == Self::Utf8 || text.is_ascii()) && text.len() <= length
    }

    /// Splits a path into the fields `prefix` and `name` at the last possible slash, if it fits into them at all.
    fn split(self, path: &str) -> Option<(&str, &str)> {
        if self.fit(path, NAME) {
            return Some(("", path));
        }
        if !self.fit(path, PREFIX + 1 + NAME) {
            return None;
        }
        // The slash that ends a folder's path cannot be the one that is left out.
        path.trim_end_matches('/')
            .match_indices('/')
            .filter_map(|(at, _)| Some((path.get(..at)?, path.get(at + 1..)?)))
            .rfind(|(prefix, name)| !prefix.is_empty() && prefix.len() <= PREFIX && name.len() <= NAME)
    }
}

/// Returns a stand-in of at most `length` ASCII characters for readers that do not know pax headers.
fn ascii(text: &str, length: usize) -> String {
    text.chars().map(|letter| if letter.is_ascii() { letter } else { '_' }).take(length).collect()
}

/// Appends a pax record: its own length in decimal digits, a space, key, `=`, value, newline.
fn record(records: &mut Vec<u8>, key: &str, value: &str) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} {key}={value}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn path(text: &str) -> ImagePath {
        text.parse().unwrap()
    }

    fn long(length: usize) -> String {
        format!("usr/{}", "x".repeat(length - 4))
    }

    /// One of everything that has bytes of its own in format 1.
    fn sample() -> Vec<u8> {
        let mut tar = TarWriter::new(Vec::new());
        tar.directory(&path("tmp")).unwrap();
        tar.directory(&path("usr")).unwrap();
        tar.file(&path("usr/a"), FileMode::Plain, ByteSize::new(3), &mut &b"abc"[..]).unwrap();
        tar.file(&path("usr/b"), FileMode::Executable, ByteSize::new(512), &mut &[7; 512][..]).unwrap();
        tar.hardlink(&path("usr/c"), FileMode::Executable, &path("usr/b")).unwrap();
        tar.symlink(&path("usr/d"), "../lib/é").unwrap();
        tar.symlink(&path("usr/e"), &long(101)).unwrap();
        tar.file(&path(&long(100)), FileMode::Plain, ByteSize::new(0), &mut io::empty()).unwrap();
        tar.file(&path(&long(101)), FileMode::Plain, ByteSize::new(1), &mut &b"z"[..]).unwrap();
        let deep = format!("{}/{}", "d".repeat(155), "n".repeat(100));
        tar.file(&path(&deep), FileMode::Plain, ByteSize::new(0), &mut io::empty()).unwrap();
        tar.directory(&path(&format!("{}/{}", "d".repeat(150), "n".repeat(99)))).unwrap();
        tar.directory(&path(&format!("{}/{}", "d".repeat(150), "n".repeat(100)))).unwrap();
        tar.file(&path("usr/größe"), FileMode::Plain, ByteSize::new(0), &mut io::empty()).unwrap();
        tar.finish().unwrap()
    }

    #[test]
    fn the_bytes_of_format_1_never_change() {
        let digest = Digest::of(&sample()).to_string();
        assert_eq!(digest, "sha256:bf0b266fa081cd48563a3e510d77a662cdba8c3d57fb65a4ff6b1d897775d5e7");
    }

    #[test]
    fn another_reader_finds_what_was_written() {
        let bytes = sample();
        let mut found = Vec::new();
        let mut archive = tar::Archive::new(&bytes[..]);
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let header = entry.header().clone();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, MODIFIED));
            assert_eq!((header.username().unwrap(), header.groupname().unwrap()), (Some(""), Some("")));
            let name = entry.path().unwrap().to_str().unwrap().to_owned();
            let target = entry.link_name().unwrap().map(|target| target.to_str().unwrap().to_owned());
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            found.push((name, header.mode().unwrap(), target, content.len()));
        }
        let expected = [
            ("tmp/".to_owned(), 0o1777, None, 0),
            ("usr/".to_owned(), 0o755, None, 0),
            ("usr/a".to_owned(), 0o644, None, 3),
            ("usr/b".to_owned(), 0o755, None, 512),
            ("usr/c".to_owned(), 0o755, Some("usr/b".to_owned()), 0),
            ("usr/d".to_owned(), 0o777, Some("../lib/é".to_owned()), 0),
            ("usr/e".to_owned(), 0o777, Some(long(101)), 0),
            (long(100), 0o644, None, 0),
            (long(101), 0o644, None, 1),
            (format!("{}/{}", "d".repeat(155), "n".repeat(100)), 0o644, None, 0),
            (format!("{}/{}/", "d".repeat(150), "n".repeat(99)), 0o755, None, 0),
            (format!("{}/{}/", "d".repeat(150), "n".repeat(100)), 0o755, None, 0),
            ("usr/größe".to_owned(), 0o644, None, 0),
        ];
        assert_eq!(found, expected);
        assert_eq!(bytes.len() % BLOCK, 0);
    }

    #[test]
    fn a_pax_header_stands_only_where_it_is_needed() {
        let pax = |write: &dyn Fn(&mut TarWriter<Vec<u8>>)| {
            let mut tar = TarWriter::new(Vec::new());
            write(&mut tar);
            tar.finish().unwrap()[156] == b'x'
        };
        let file = |text: String| {
            pax(&|tar| tar.file(&path(&text), FileMode::Plain, ByteSize::new(0), &mut io::empty()).unwrap())
        };
        assert!(!file(long(100)));
        assert!(file(long(200)), "no slash to split at");
        assert!(!file(format!("{}/{}", "d".repeat(155), "n".repeat(100))));
        assert!(file(format!("{}/{}", "d".repeat(156), "n".repeat(100))));
        assert!(file("é".to_owned()));
        let mut tar = TarWriter::with_utf8_names(Vec::new());
        tar.file(&path("模型/größe"), FileMode::Plain, ByteSize::new(0), &mut io::empty()).unwrap();
        let bytes = tar.finish().unwrap();
        assert_eq!(&bytes[..18], "模型/größe\0\0\0\0".as_bytes());
        assert!(!pax(&|tar| tar.directory(&path(&"d".repeat(99))).unwrap()));
        assert!(pax(&|tar| tar.directory(&path(&"d".repeat(100))).unwrap()));
    }

    #[test]
    fn a_size_beyond_octal_stands_in_a_pax_header() {
        let mut tar = TarWriter::new(Vec::new());
        tar.header("big", Kind::File { mode: FileMode::Plain, size: ByteSize::new(LARGEST_OCTAL_SIZE + 1) }).unwrap();
        let text = String::from_utf8_lossy(&tar.inner).into_owned();
        assert!(text.contains("19 size=8589934592\n"), "{text}");
    }

    #[test]
    fn contents_of_another_length_and_empty_links_are_refused() {
        for size in [2, 4] {
            let mut tar = TarWriter::new(Vec::new());
            let result = tar.file(&path("a"), FileMode::Plain, ByteSize::new(size), &mut &b"abc"[..]);
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        for target in ["", "a\0b"] {
            assert!(TarWriter::new(Vec::new()).symlink(&path("a"), target).is_err());
        }
    }

    #[test]
    fn record_lengths_count_themselves() {
        for length in [1, 90, 91, 92, 93, 990, 991] {
            let mut records = Vec::new();
            record(&mut records, "path", &"p".repeat(length));
            let text = String::from_utf8(records).unwrap();
            assert_eq!(text.split_once(' ').unwrap().0.parse::<usize>().unwrap(), text.len());
        }
    }
}
