//! A binary package: three members of an `ar` file (deb(5)).

use std::collections::BTreeMap;
use std::io::{self, Read};

use thiserror::Error;

use super::ar::Ar;
use crate::entry::{Entry, EntryKind, Sink};
use crate::hint::Hint;
use crate::intake::{Compression, IntakeError, Limits, tar};

/// The members of the control data that package managers run, or act on, as programs do.
pub const SCRIPTS: [&str; 6] = ["config", "postinst", "postrm", "preinst", "prerm", "triggers"];

/// A package that cannot be unpacked.
#[derive(Debug, Error)]
pub enum DebianError {
    /// The container around control data and files is damaged.
    #[error("package is damaged")]
    Container(#[source] io::Error),
    /// Something that the format demands or forbids.
    #[error("package is damaged: {0}")]
    Format(String),
    /// Control data or files are damaged or refused.
    #[error("package cannot be unpacked")]
    Intake(#[from] IntakeError),
}

impl Hint for DebianError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Intake(error) => error.hints(),
            Self::Container(_) | Self::Format(_) => {
                vec!["compare the package's SHA-256 with the one in its archive's index, and fetch it again".to_owned()]
            }
        }
    }
}

/// The control data of a package (deb-control(5)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// The stanza that describes the package, as written.
    pub stanza: String,
    /// The MD5 sums of its files, as written, where it has them.
    pub md5sums: Option<String>,
    /// The names of its configuration files, one a line, where it has any.
    pub conffiles: Option<String>,
    /// What a package manager would run: some of [`SCRIPTS`], by name.
    pub scripts: BTreeMap<String, Vec<u8>>,
}

/// Reads a package, hands its files to `sink` in the package's order, and returns its control data.
///
/// # Errors
/// A damaged or cut package, members that no image may have, a limit that is passed, and what the sink fails with.
pub fn unpack(deb: &mut dyn Read, sink: &mut dyn Sink) -> Result<Control, DebianError> {
    let mut ar = Ar::new(deb).map_err(DebianError::Container)?;
    let refused = |text: &str| Err(DebianError::Format(text.to_owned()));
    let first = ar.next().map_err(DebianError::Container)?;
    if first.is_none_or(|member| member.name != "debian-binary" || member.size > 64) {
        return refused("it does not begin with `debian-binary`");
    }
    let mut version = String::new();
    ar.content().read_to_string(&mut version).map_err(DebianError::Container)?;
    if !version.starts_with("2.") {
        return Err(DebianError::Format(format!("it has format `{}`, not 2", version.trim())));
    }
    let mut control = None;
    let mut unpacked = false;
    while let Some(member) = ar.next().map_err(DebianError::Container)? {
        let compression = |prefix| member.name.strip_prefix(prefix).and_then(Compression::of_suffix);
        if let Some(compression) = compression("control.tar") {
            if control.is_some() {
                return refused("it has control data twice");
            }
            let plain = compression.reader(ar.content()).map_err(DebianError::Container)?;
            control = Some(read_control(plain)?);
        } else if let Some(compression) = compression("data.tar") {
            if control.is_none() || unpacked {
                return refused("its files stand twice, or before its control data");
            }
            unpacked = true;
            let plain = compression.reader(ar.content()).map_err(DebianError::Container)?;
            tar::read("data.tar", plain, Limits::PACKAGE, |entry| {
                let path = entry.path.clone();
                sink.take(entry).map_err(|source| IntakeError::Taking { path, source })
            })?;
            // What the decoder left of the member: nothing, in a sound package.
            if io::copy(&mut ar.content(), &mut io::sink()).map_err(DebianError::Container)? != 0 {
                return refused("bytes stand after its files");
            }
        } else if !member.name.starts_with('_') {
            // Members that begin with `_` are private and may be skipped; others are of a later format.
            return Err(DebianError::Format(format!("it has an unknown member `{}`", member.name)));
        }
    }
    match control {
        Some(control) if unpacked => Ok(control),
        _ => refused("it ends before its files"),
    }
}

fn read_control(plain: Box<dyn Read + '_>) -> Result<Control, DebianError> {
    let mut stanza = None;
    let mut control = Control::default();
    tar::read("control.tar", plain, Limits::DOCUMENTS, |entry: Entry<'_>| {
        let EntryKind::File { content, .. } = entry.kind else { return Ok(()) };
        let mut bytes = Vec::new();
        let path = entry.path;
        let reading = content.read_to_end(&mut bytes);
        reading.map_err(|source| IntakeError::Taking { path: path.clone(), source })?;
        let text = |bytes: Vec<u8>| {
            String::from_utf8(bytes).map_err(|_| DebianError::Format(format!("`{path}` of it is not UTF-8")))
        };
        match path.as_str() {
            "control" => stanza = Some(text(bytes)?),
            "md5sums" => control.md5sums = Some(text(bytes)?),
            "conffiles" => control.conffiles = Some(text(bytes)?),
            script if SCRIPTS.contains(&script) => {
                control.scripts.insert(script.to_owned(), bytes);
            }
            _ => {}
        }
        Ok::<(), DebianError>(())
    })?;
    control.stanza = stanza.ok_or_else(|| DebianError::Format("it has no control stanza".to_owned()))?;
    Ok(control)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Paths(Vec<String>);

    impl Sink for Paths {
        fn take(&mut self, entry: Entry<'_>) -> io::Result<()> {
            if entry.path.file_name() == "full-disk" {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0.push(entry.path.to_string());
            Ok(())
        }
    }

    fn tar(files: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = ::tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = ::tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, content.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for (name, content) in members {
            bytes.extend(format!("{name:<16}0           0     0     100644  {:<10}`\n", content.len()).bytes());
            bytes.extend_from_slice(content);
            if content.len() % 2 == 1 {
                bytes.push(b'\n');
            }
        }
        bytes
    }

    const MAGIC: &[u8] = b"!<arch>\n";
    const VERSION: (&str, &[u8]) = ("debian-binary", b"2.0\n");

    fn control() -> Vec<u8> {
        tar(&[("control", "Package: x\n"), ("postinst", "#!/bin/sh\n"), ("md5sums", "00  a\n"), ("shlibs", "x")])
    }

    fn read(bytes: &[u8]) -> Result<(Control, Vec<String>), DebianError> {
        let mut sink = Paths(Vec::new());
        unpack(&mut &bytes[..], &mut sink).map(|control| (control, sink.0))
    }

    #[test]
    fn a_package_gives_its_files_and_its_control_data() {
        let data = tar(&[("usr/a", "a"), ("usr/b", "b")]);
        for (name, data) in
            [("data.tar", data.clone()), ("data.tar.zst", zstd::stream::encode_all(&data[..], 1).unwrap())]
        {
            let deb = ar(&[VERSION, ("control.tar/", &control()), ("_private", b"odd"), (name, &data)]);
            let (control, paths) = read(&deb).unwrap();
            assert_eq!(paths, ["usr/a", "usr/b"]);
            assert_eq!(control.stanza, "Package: x\n");
            assert_eq!(control.md5sums.as_deref(), Some("00  a\n"));
            assert_eq!(control.scripts.keys().collect::<Vec<_>>(), ["postinst"]);
        }
    }

    #[test]
    fn broken_packages_are_refused() {
        let (control, data) = (control(), tar(&[("usr/a", "a")]));
        let (control, data) = (("control.tar", &control[..]), ("data.tar", &data[..]));
        for (members, part) in [
            (vec![control, data], "debian-binary"),
            (vec![("debian-binary", &b"3.0\n"[..]), control, data], "format `3.0`"),
            (vec![VERSION, data, control], "before its control data"),
            (vec![VERSION, control, data, data], "twice"),
            (vec![VERSION, control, control, data], "twice"),
            (vec![VERSION, control], "ends before"),
            (vec![VERSION, ("control.tar", data.1), data], "no control stanza"),
            (vec![VERSION, control, ("data.tar.rar", b"")], "unknown member"),
        ] {
            let error = read(&ar(&members)).unwrap_err();
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
        let whole = ar(&[VERSION, control, data]);
        for end in (0..whole.len()).step_by(97) {
            assert!(read(&whole[..end]).is_err(), "{end}");
        }
        let full = tar(&[("full-disk", "")]);
        assert!(matches!(read(&ar(&[VERSION, control, ("data.tar", &full)])), Err(DebianError::Intake(_))));
    }
}
