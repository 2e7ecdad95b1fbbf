//! `Packages`: what a suite of a Debian archive has (deb822(5); Debian policy 5.3, "Debian binary package control
//! files"; the repository format's "Packages Indices").
//!
//! A reader of our own: the index of one suite has 58,000 stanzas of twenty fields, of which nine are wanted. Reading
//! them line by line into one reused buffer takes a tenth of the memory and time of a general deb822 document.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};

use thiserror::Error;

use crate::digest::Digest;
use crate::hint::Hint;
use crate::units::ByteSize;

/// The longest line: package descriptions and dependencies have a few kilobytes.
const LONGEST_LINE: u64 = 1 << 20;

/// The most stanzas: ten times those of the largest suite.
const MOST_STANZAS: usize = 1_000_000;

/// One version of a package, as an index describes it. Relations are kept as written; see `relation`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// `amd64` or `all`.
    pub architecture: String,
    /// `Pre-Depends` and `Depends`.
    pub depends: String,
    /// `Provides`.
    pub provides: String,
    /// `Conflicts` and `Breaks`.
    pub conflicts: String,
    /// `Filename`: the path below the archive's root.
    pub path: String,
    /// `Size`.
    pub size: ByteSize,
    /// `SHA256`; nothing in the control stanza inside a package.
    pub sha256: Option<Digest>,
}

/// All packages of a suite, by name.
#[derive(Clone, Debug, Default)]
pub struct Index {
    packages: BTreeMap<String, Vec<Package>>,
    /// Packages by the names they provide.
    providers: BTreeMap<String, Vec<String>>,
}

/// An index that cannot be read.
#[derive(Debug, Error)]
pub enum IndexError {
    /// The bytes cannot be read or decompressed.
    #[error("package index cannot be read")]
    Read(#[from] io::Error),
    /// A line that breaks the format.
    #[error("line {line} of the package index is refused: {rule}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// Why.
        rule: String,
    },
}

impl Hint for IndexError {}

impl Index {
    /// Reads an index.
    ///
    /// # Errors
    /// Unreadable bytes, a stanza without name, version, path or digest, lines or numbers beyond all reason.
    pub fn read(text: impl BufRead) -> Result<Self, IndexError> {
        let mut index = Self::default();
        read_stanzas(text, &mut |package, line| {
            let refused = |rule: &str| Err(IndexError::Line { line, rule: rule.to_owned() });
            if package.path.is_empty() || package.sha256.is_none() || package.size == ByteSize::new(0) {
                return refused("the stanza before it has no Filename, Size or SHA256");
            }
            if package.path.starts_with('/') || package.path.split('/').any(|component| component == "..") {
                return refused("the stanza before it has a Filename that leaves the archive");
            }
            index.add(package);
            Ok(())
        })?;
        Ok(index)
    }

    /// Adds a package that is known from elsewhere: an earlier lock's, which the archive no longer lists.
    pub fn add(&mut self, package: Package) {
        for provided in package.provides.split(',') {
            let name = provided.split(['(', ':']).next().unwrap_or_default().trim();
            if !name.is_empty() {
                let providers = self.providers.entry(name.to_owned()).or_default();
                if !providers.contains(&package.name) {
                    providers.push(package.name.clone());
                }
            }
        }
        self.packages.entry(package.name.clone()).or_default().push(package);
    }

    /// Returns every version of the package of that name.
    pub fn versions(&self, name: &str) -> &[Package] {
        self.packages.get(name).map_or(&[], Vec::as_slice)
    }

    /// Returns the names of packages that provide `name`, in the index's order.
    pub fn providers(&self, name: &str) -> &[String] {
        self.providers.get(name).map_or(&[], Vec::as_slice)
    }

    /// Returns the names of all packages.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.packages.keys().map(String::as_str)
    }
}

/// Reads one control stanza, such as the one inside a package.
///
/// # Errors
/// It is none, or more than one.
pub fn read_stanza(text: &str) -> Result<Package, IndexError> {
    let mut found = Vec::new();
    read_stanzas(text.as_bytes(), &mut |package, _| {
        found.push(package);
        Ok(())
    })?;
    match found.pop() {
        Some(package) if found.is_empty() => Ok(package),
        _ => Err(IndexError::Line { line: 1, rule: "it is not one stanza".to_owned() }),
    }
}

fn read_stanzas(
    mut text: impl BufRead,
    take: &mut dyn FnMut(Package, usize) -> Result<(), IndexError>,
) -> Result<(), IndexError> {
    let mut package = Package::default();
    let mut begun = false;
    let mut line = Vec::new();
    let mut number = 0;
    let mut stanzas = 0;
    // Which field continuation lines belong to; relations may be folded over several lines.
    let mut folded: Option<&'static str> = None;
    loop {
        line.clear();
        let count = (&mut text).take(LONGEST_LINE).read_until(b'\n', &mut line)?;
        number += 1;
        let refused = |rule: String| IndexError::Line { line: number, rule };
        if count as u64 == LONGEST_LINE {
            return Err(refused("it is too long".to_owned()));
        }
        let content = line.trim_ascii_end();
        if content.is_empty() {
            if begun {
                if package.name.is_empty() || package.version.is_empty() || package.architecture.is_empty() {
                    return Err(refused("the stanza before it has no Package, Version or Architecture".to_owned()));
                }
                stanzas += 1;
                if stanzas > MOST_STANZAS {
                    return Err(refused(format!("there are more than {MOST_STANZAS} packages")));
                }
                take(std::mem::take(&mut package), number)?;
                (begun, folded) = (false, None);
            }
            if count == 0 {
                return Ok(());
            }
            continue;
        }
        begun = true;
        if content.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
            if let Some(name) = folded {
                let value = std::str::from_utf8(content).map_err(|_| refused("it is not UTF-8".to_owned()))?;
                set(&mut package, name, value).map_err(refused)?;
            }
            continue;
        }
        let Some(colon) = content.iter().position(|byte| *byte == b':') else {
            return Err(refused("it is no field".to_owned()));
        };
        let (name, value) = content.split_at(colon);
        folded = wanted(name);
        if let Some(name) = folded {
            let value = std::str::from_utf8(value).map_err(|_| refused("it is not UTF-8".to_owned()))?;
            set(&mut package, name, value.trim_start_matches(':')).map_err(refused)?;
        }
    }
}

/// Returns the field's usual spelling if it is one of those that are kept.
fn wanted(name: &[u8]) -> Option<&'static str> {
    const WANTED: [&str; 11] = [
        "Package",
        "Version",
        "Architecture",
        "Depends",
        "Pre-Depends",
        "Provides",
        "Conflicts",
        "Breaks",
        "Filename",
        "Size",
        "SHA256",
    ];
    WANTED.into_iter().find(|wanted| wanted.as_bytes().eq_ignore_ascii_case(name))
}

fn set(package: &mut Package, name: &str, value: &str) -> Result<(), String> {
    let value = value.trim();
    let append = |list: &mut String| {
        if !list.is_empty() && !list.ends_with(',') {
            list.push(',');
        }
        list.push_str(value);
    };
    match name {
        "Package" => value.clone_into(&mut package.name),
        "Version" => value.clone_into(&mut package.version),
        "Architecture" => value.clone_into(&mut package.architecture),
        "Depends" | "Pre-Depends" => append(&mut package.depends),
        "Provides" => append(&mut package.provides),
        "Conflicts" | "Breaks" => append(&mut package.conflicts),
        "Filename" => value.clone_into(&mut package.path),
        "Size" => package.size = ByteSize::new(value.parse().map_err(|_| "Size is no number".to_owned())?),
        _ => package.sha256 = Some(Digest::from_hex(value).map_err(|error| error.to_string())?),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANZA: &str = "Package: zlib1g\nVersion: 1:1.2\nArchitecture: amd64\nDescription: x\n more: of it\nPre-Depends: dpkg\n\
        Depends: libc6 (>= 2.14),\n libx\nProvides: libz1, other (= 1)\nFilename: pool/z.deb\nSize: 5\nSHA256: \
        e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n";

    #[test]
    fn wanted_fields_are_kept_and_others_skipped() {
        let index = Index::read(format!("{STANZA}\n\n{}", STANZA.replace("zlib1g", "second")).as_bytes()).unwrap();
        let package = &index.versions("zlib1g")[0];
        assert_eq!(package.depends, "dpkg,libc6 (>= 2.14),libx");
        assert_eq!((package.version.as_str(), package.size), ("1:1.2", ByteSize::new(5)));
        assert_eq!(index.providers("libz1"), ["zlib1g", "second"]);
        assert_eq!(index.providers("other"), ["zlib1g", "second"]);
        assert!(index.versions("third").is_empty());
        assert_eq!(read_stanza("Package: a\nVersion: 1\nArchitecture: all\n").unwrap().name, "a");
    }

    #[test]
    fn broken_indexes_are_refused() {
        for (from, to, part) in [
            ("Package: zlib1g\n", "", "no Package"),
            ("SHA256:", "SHA257:", "no Filename, Size or SHA256"),
            ("Size: 5", "Size: five", "no number"),
            ("Size: 5", "Size 5", "no field"),
            ("855\n", "85\n", "no digest"),
            ("pool/z.deb", "../z.deb", "leaves the archive"),
        ] {
            assert!(STANZA.contains(from));
            let error = Index::read(STANZA.replace(from, to).as_bytes()).unwrap_err();
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
        let long = format!("Package: {}", "x".repeat(2 << 20));
        assert!(Index::read(long.as_bytes()).is_err());
        assert!(Index::read(&b"Package: \xff\n"[..]).is_err());
    }
}
