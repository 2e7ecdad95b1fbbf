//! Tar streams (ustar, GNU, PAX; POSIX.1-2017 "pax", section "ustar Interchange Format") as entries.
//!
//! Stricter than other readers where readers are known to disagree: a size in a PAX record must repeat the header's,
//! global PAX records must not name or size members, and the end-of-archive blocks must be there with nothing after.

use std::io::{self, BufReader, Read};

use tar::{Archive, EntryType, PaxExtensions};

use super::guard::{Exact, Guard, IntakeError, Limits, Shape, check_link};
use crate::entry::{Entry, EntryKind};
use crate::image_path::ImagePath;
use crate::units::ByteSize;

/// How much plain input is read at once; headers of 512 bytes then cost no calls into the decoder.
const BUFFER: usize = 128 << 10;

/// The longest header in front of a member: names have at most 4 KiB, the rest is for other people's records.
const LONGEST_RECORD: u64 = 1 << 20;

/// What stands in front of a member.
#[derive(Default)]
struct Described {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

/// Reads a tar stream to its end and hands every member to `take`, in the stream's order.
///
/// `what` names the stream in messages. The archive's own root (`./`) is left out.
///
/// # Errors
/// A damaged or cut stream, a member that no image may have (devices, paths or links that leave the root, doubles), a
/// limit that is passed, and whatever `take` fails with.
pub fn read<E: From<IntakeError>>(
    what: &str,
    stream: impl Read,
    limits: Limits,
    mut take: impl FnMut(Entry<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let damaged = |source| IntakeError::Damaged { what: what.to_owned(), source };
    let malformed = |rule: &str| IntakeError::Malformed { what: what.to_owned(), rule: rule.to_owned() };
    let mut guard = Guard::new(limits);
    let mut described = Described::default();
    let mut ended = EndWatcher { inner: BufReader::with_capacity(BUFFER, stream), at_end: false };
    let mut archive = Archive::new(&mut ended);
    // Raw entries: the extension headers in front of a member are read below, with a limit on their length.
    for entry in archive.entries().map_err(damaged)?.raw(true) {
        let mut entry = entry.map_err(damaged)?;
        let kind = entry.header().entry_type();
        let size = entry.size();
        if kind.is_gnu_longname()
            || kind.is_gnu_longlink()
            || kind.is_pax_local_extensions()
            || kind.is_pax_global_extensions()
        {
            guard.count(ByteSize::new(0))?;
            if size > LONGEST_RECORD {
                return Err(malformed("a header in front of a member is too long").into());
            }
            let mut record = Vec::new();
            Exact::new(&mut entry, ByteSize::new(size), None).read_to_end(&mut record).map_err(damaged)?;
            describe(&mut described, kind, record).map_err(malformed)?;
            continue;
        }
        let described = std::mem::take(&mut described);
        guard.count(ByteSize::new(size))?;
        if described.size.is_some_and(|stated| stated != size) {
            return Err(malformed("a PAX record and a header state different sizes").into());
        }
        let name = described.name.unwrap_or_else(|| entry.header().path_bytes().into_owned());
        let Some(path) = member_path(&name)? else { continue };
        let link = match described.link {
            Some(link) => Some(link),
            None => entry.header().link_name_bytes().map(std::borrow::Cow::into_owned),
        };
        let link = link.map(|bytes| text(bytes, &path)).transpose()?;
        let refused = |reason: &str| IntakeError::Refused { path: path.to_string(), reason: reason.to_owned() };
        let executable = entry.header().mode().map_err(damaged)? & 0o100 != 0;
        let mut content;
        let kind = match kind {
            EntryType::Directory => {
                guard.admit(&path, Shape::Folder)?;
                EntryKind::Directory
            }
            // A name with a trailing slash is a folder in tars older than ustar.
            EntryType::Regular if name.ends_with(b"/") && size == 0 => {
                guard.admit(&path, Shape::Folder)?;
                EntryKind::Directory
            }
            EntryType::Regular | EntryType::Continuous => {
                guard.admit(&path, Shape::File)?;
                content = Exact::new(&mut entry, ByteSize::new(size), None);
                EntryKind::File { executable, size: ByteSize::new(size), content: &mut content }
            }
            EntryType::Symlink => {
                let target = link.ok_or_else(|| refused("it is a link to nothing"))?;
                check_link(&path, &target)?;
                guard.admit(&path, Shape::Link)?;
                EntryKind::Symlink { target }
            }
            EntryType::Link => {
                let original = member_path(link.ok_or_else(|| refused("it is a link to nothing"))?.as_bytes())?
                    .ok_or_else(|| refused("it is a hard link to the root"))?;
                if guard.shape(&original) != Some(Shape::File) {
                    return Err(refused(&format!("it is a hard link to `{original}`, no earlier file")).into());
                }
                guard.admit(&path, Shape::File)?;
                EntryKind::Hardlink { original }
            }
            EntryType::Char | EntryType::Block => return Err(refused("it is a device").into()),
            EntryType::Fifo => return Err(refused("it is a named pipe").into()),
            EntryType::GNUSparse => return Err(refused("it is a sparse file").into()),
            other => return Err(refused(&format!("it is of the unknown kind {:#04x}", other.as_byte())).into()),
        };
        take(Entry { path, kind })?;
    }
    if described.name.is_some() || described.link.is_some() || ended.at_end {
        return Err(malformed("it ends too soon").into());
    }
    drain(&mut ended.inner, limits.total).map_err(damaged)?.map_err(malformed)?;
    Ok(())
}

fn describe(described: &mut Described, kind: EntryType, mut record: Vec<u8>) -> Result<(), &'static str> {
    if kind.is_gnu_longname() || kind.is_gnu_longlink() {
        // GNU ends the text with a NUL, which is no part of it.
        if record.last() == Some(&0) {
            record.pop();
        }
        let slot = if kind.is_gnu_longname() { &mut described.name } else { &mut described.link };
        return if slot.replace(record).is_some() { Err("a member has two long names") } else { Ok(()) };
    }
    for extension in PaxExtensions::new(&record) {
        let extension = extension.map_err(|_| "a PAX record cannot be read")?;
        let value = extension.value_bytes();
        match extension.key_bytes() {
            b"path" | b"linkpath" | b"size" if kind.is_pax_global_extensions() => {
                return Err("a global PAX record names or sizes members");
            }
            b"path" => described.name = Some(value.to_vec()),
            b"linkpath" => described.link = Some(value.to_vec()),
            b"size" => {
                let size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                described.size = Some(size.ok_or("a PAX record has a size that is no number")?);
            }
            key if key.starts_with(b"GNU.sparse.") => return Err("a member is a sparse file"),
            b"SCHILY.xattr.security.capability" => return Err("a member has file capabilities"),
            _ => {}
        }
    }
    Ok(())
}

fn text(bytes: Vec<u8>, path: &ImagePath) -> Result<String, IntakeError> {
    String::from_utf8(bytes)
        .map_err(|_| IntakeError::Refused { path: path.to_string(), reason: "its link target is not UTF-8".to_owned() })
}

/// Returns the path of a member, or nothing for the archive's own root.
pub(super) fn member_path(name: &[u8]) -> Result<Option<ImagePath>, IntakeError> {
    let refused = |reason: &str| IntakeError::Refused {
        path: String::from_utf8_lossy(name).into_owned(),
        reason: reason.to_owned(),
    };
    let text = std::str::from_utf8(name).map_err(|_| refused("its name is not UTF-8"))?;
    if text.starts_with('/') {
        return Err(refused("its name is an absolute path"));
    }
    if !text.is_empty() && text.split('/').all(|component| matches!(component, "" | ".")) {
        return Ok(None);
    }
    Ok(Some(text.parse()?))
}

/// Reads what stands after the end-of-archive block: padding alone. Decoders check their sums on the way.
fn drain(rest: &mut impl Read, most: ByteSize) -> io::Result<Result<(), &'static str>> {
    let mut buffer = vec![0; BUFFER];
    let mut total = 0_u64;
    loop {
        let count = rest.read(&mut buffer)?;
        if count == 0 {
            return Ok(Ok(()));
        }
        total += count as u64;
        if buffer.get(..count).is_some_and(|bytes| bytes.iter().any(|byte| *byte != 0)) {
            return Ok(Err("bytes stand after its end"));
        }
        if total > most.bytes() {
            return Ok(Err("its padding has no end"));
        }
    }
}

/// Notices whether the end of the input was met, which a whole tar never shows before its end-of-archive block.
struct EndWatcher<R> {
    inner: R,
    at_end: bool,
}

impl<R: Read> Read for EndWatcher<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.at_end |= count == 0 && !buffer.is_empty();
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hint::Hint as _;

    type Taken = Vec<(String, String)>;

    fn header(name: &str, kind: EntryType, size: u64, link: &str) -> tar::Header {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o755);
        header.set_cksum();
        header
    }

    fn member(name: &str, kind: EntryType, content: &[u8], link: &str) -> Vec<u8> {
        let mut bytes = header(name, kind, content.len() as u64, link).as_bytes().to_vec();
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().div_ceil(512) * 512, 0);
        bytes
    }

    fn file(name: &str) -> Vec<u8> {
        member(name, EntryType::Regular, b"abc", "")
    }

    fn pax(records: &[(&str, &str)]) -> Vec<u8> {
        let mut content = String::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let digits = (rest + 2).to_string().len();
            content += &format!("{} {key}={value}\n", rest + digits);
        }
        member("pax", EntryType::XHeader, content.as_bytes(), "")
    }

    fn tar(members: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = members.concat();
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    }

    fn taken(bytes: &[u8], limits: Limits) -> Result<Taken, IntakeError> {
        let mut taken = Vec::new();
        read("test.tar", bytes, limits, |entry| {
            let text = match entry.kind {
                EntryKind::Directory => "folder".to_owned(),
                EntryKind::Symlink { target } => format!("-> {target}"),
                EntryKind::Hardlink { original } => format!("= {original}"),
                EntryKind::File { executable, content, .. } => {
                    let mut text = String::new();
                    let path = entry.path.clone();
                    content.read_to_string(&mut text).map_err(|source| IntakeError::Taking { path, source })?;
                    format!("{text} {executable}")
                }
            };
            taken.push((entry.path.to_string(), text));
            Ok(())
        })
        .map(|()| taken)
    }

    #[test]
    fn members_of_every_kind_are_read() {
        let long = "l/".repeat(120) + "end";
        let bytes = tar(&[
            member("./", EntryType::Directory, b"", ""),
            member("./d/", EntryType::Directory, b"", ""),
            file("./d/f"),
            member("./d/s", EntryType::Symlink, b"", "../d/f"),
            member("./d/h", EntryType::Link, b"", "./d/f"),
            member("././@LongLink", EntryType::GNULongName, format!("{long}\0").as_bytes(), ""),
            file("cut"),
            pax(&[("path", "pax/ü"), ("mtime", "1.5"), ("size", "3")]),
            file("other"),
        ]);
        let expected = [
            ("d", "folder"),
            ("d/f", "abc true"),
            ("d/s", "-> ../d/f"),
            ("d/h", "= d/f"),
            (long.as_str(), "abc true"),
            ("pax/ü", "abc true"),
        ];
        let expected: Taken = expected.map(|(path, text)| (path.to_owned(), text.to_owned())).to_vec();
        assert_eq!(taken(&bytes, Limits::PACKAGE).unwrap(), expected);
    }

    #[test]
    fn hostile_members_are_refused() {
        for (members, part) in [
            (vec![file("../x")], "cannot be used"),
            (vec![file("/etc/passwd")], "absolute"),
            (vec![file("a/../../x")], "cannot be used"),
            (vec![file("a\u{1}"), file("a\u{1}")], "twice"),
            (vec![member("dev", EntryType::Char, b"", "")], "device"),
            (vec![member("dev", EntryType::Block, b"", "")], "device"),
            (vec![member("pipe", EntryType::Fifo, b"", "")], "pipe"),
            (vec![member("s", EntryType::Symlink, b"", "../x")], "leaves the root"),
            (vec![member("s", EntryType::Symlink, b"", "/etc"), file("s/passwd")], "no folder"),
            (vec![member("h", EntryType::Link, b"", "../../etc/passwd")], "cannot be used"),
            (vec![member("h", EntryType::Link, b"", "later"), file("later")], "no earlier file"),
            (vec![pax(&[("size", "600")]), file("a"), file("b")], "different sizes"),
            (vec![pax(&[("path", "a\0b")]), file("a")], "cannot be used"),
            (vec![pax(&[("SCHILY.xattr.security.capability", "x")]), file("a")], "capabilities"),
            (vec![pax(&[("GNU.sparse.major", "1")]), file("a")], "sparse"),
            (vec![pax(&[("path", "a")])], "too soon"),
            (vec![member("g", EntryType::XGlobalHeader, b"10 path=a\n", "")], "global"),
            (vec![member("x", EntryType::new(b'Q'), b"", "")], "unknown kind"),
            (vec![header("x", EntryType::XHeader, 1 << 40, "").as_bytes().to_vec()], "too long"),
        ] {
            let error = taken(&tar(&members), Limits::PACKAGE).unwrap_err();
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn cut_streams_and_trailing_bytes_are_refused() {
        let bytes = tar(&[file("a"), file("b")]);
        for end in [0, 100, 512, 514, 1024, 1500, 2048] {
            let error = taken(&bytes[..end], Limits::PACKAGE).unwrap_err();
            assert!(!error.hints().is_empty() || matches!(error, IntakeError::Taking { .. }), "{end}: {error}");
        }
        let mut longer = bytes.clone();
        longer.extend_from_slice(&file("c"));
        assert!(taken(&longer, Limits::PACKAGE).unwrap_err().to_string().contains("after its end"));
        let mut changed = bytes;
        changed[3] ^= 1;
        assert!(taken(&changed, Limits::PACKAGE).is_err());
    }

    #[test]
    fn bombs_meet_a_limit() {
        let limits = Limits { members: 2, member: ByteSize::new(10), total: ByteSize::new(5) };
        assert!(taken(&tar(&[file("a"), file("b")]), limits).unwrap_err().to_string().contains("unpacks to more"));
        let claims = tar(&[header("x", EntryType::Regular, 1 << 40, "").as_bytes().to_vec()]);
        assert!(taken(&claims, Limits::PACKAGE).unwrap_err().to_string().contains("a member has"));
    }
}
