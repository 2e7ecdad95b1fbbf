//! Which libraries native programs need, and whether an image has them.
//!
//! Owns reading the dynamic section of ELF files (System V ABI, chapter 5) and a model of how the dynamic loader of the
//! GNU C library searches (ld.so(8)): a process begins with one file; its libraries are found breadth first, and a
//! library that the process has loaded serves everybody in it by name. Must not touch files, nor know layers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{Read, Seek};

use object::elf::{DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_SONAME, DT_STRSZ, DT_STRTAB, EM_X86_64, FileHeader64, PT_LOAD};
use object::read::ReadCache;
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::{Endianness, ReadRef};
use thiserror::Error;

use crate::hint::Hint;
use crate::image_path::ImagePath;
use crate::name::Platform;

/// The first bytes of every ELF file.
pub const MAGIC: [u8; 4] = *b"\x7fELF";

/// The longest table of names that is read; the largest libraries have a tenth of it.
const LONGEST_NAMES: u64 = 256 << 20;

/// An ELF file that breaks the rules of the format.
#[derive(Debug, Error)]
#[error("ELF file is damaged")]
pub struct ElfError(#[from] object::read::Error);

impl Hint for ElfError {}

/// What the dynamic loader reads of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dynamic {
    /// The name under which the file serves others.
    pub soname: Option<String>,
    /// The libraries it needs, in its order.
    pub needed: Vec<String>,
    /// Where it, and only it, searches.
    pub runpath: Vec<String>,
    /// Where it and whatever it loads searches; without effect beside a run path.
    pub rpath: Vec<String>,
    /// The dynamic loader it asks for; programs have one.
    pub interpreter: Option<String>,
}

/// Reads a file, or returns nothing if the loader of `platform` would pass it over: another processor or word size, or
/// no dynamic section.
///
/// # Errors
/// The file claims to be for the platform and is damaged.
pub fn read<R: Read + Seek>(platform: Platform, file: R) -> Result<Option<Dynamic>, ElfError> {
    let machine = match platform {
        Platform::LinuxAmd64 => EM_X86_64,
    };
    let cache = ReadCache::new(file);
    let data = &cache;
    // Class, byte order and machine; what is shorter or other is none of ours.
    match data.read_bytes_at(0, 20) {
        Ok(start) if start.starts_with(&MAGIC) && start.get(4..6) == Some(&[2, 1]) => {}
        _ => return Ok(None),
    }
    let header = FileHeader64::<Endianness>::parse(data)?;
    let endian = header.endian()?;
    if header.e_machine(endian) != machine {
        return Ok(None);
    }
    let segments = header.program_headers(endian, data)?;
    let mut dynamic = None;
    let mut found = Dynamic::default();
    for segment in segments {
        if let Some(entries) = segment.dynamic(endian, data)? {
            dynamic = Some(entries);
        }
        if let Some(interpreter) = segment.interpreter(endian, data)? {
            found.interpreter = Some(String::from_utf8_lossy(interpreter).into_owned());
        }
    }
    let Some(entries) = dynamic else { return Ok(None) };
    let value = |tag| entries.iter().find(|entry| entry.tag(endian) == tag).map(|entry| entry.val(endian));
    let (Some(address), Some(length)) = (value(DT_STRTAB), value(DT_STRSZ)) else { return Ok(Some(found)) };
    let offset = segments.iter().filter(|segment| segment.p_type(endian) == PT_LOAD).find_map(|segment| {
        let within = address.checked_sub(segment.p_vaddr(endian))?;
        (within < segment.p_filesz(endian)).then(|| segment.p_offset(endian).checked_add(within)).flatten()
    });
    // Files whose string table is not in the file (separate debug information) load nothing.
    let Some(offset) = offset else { return Ok(Some(found)) };
    let names = data.read_bytes_at(offset, length.min(LONGEST_NAMES)).unwrap_or_default();
    let name = |at: u64| {
        let rest = usize::try_from(at).ok().and_then(|at| names.get(at..)).unwrap_or_default();
        String::from_utf8_lossy(rest.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
    };
    for entry in entries {
        let text = || name(entry.val(endian));
        let folders = || text().split(':').filter(|folder| !folder.is_empty()).map(str::to_owned).collect();
        match entry.tag(endian) {
            DT_NEEDED => found.needed.push(text()),
            DT_SONAME => found.soname = Some(text()),
            DT_RUNPATH => found.runpath = folders(),
            DT_RPATH => found.rpath = folders(),
            _ => {}
        }
    }
    Ok(Some(found))
}

/// An image as the dynamic loader sees it.
pub trait Tree {
    /// Returns the path that `path` leads to, all links followed, if it leads to anything.
    fn resolve(&self, path: &str) -> Option<ImagePath>;
}

/// A library that a file needs and no process that loads the file would find.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unresolved {
    /// The file.
    pub file: ImagePath,
    /// The library, or the dynamic loader.
    pub library: String,
}

/// Returns what is missing, sorted.
///
/// `files` are all dynamic files of the image by their real paths; `library_path` is the value of `LD_LIBRARY_PATH` in
/// every process of the image.
pub fn unresolved(
    platform: Platform,
    files: &BTreeMap<ImagePath, Dynamic>,
    tree: &dyn Tree,
    library_path: &str,
) -> Vec<Unresolved> {
    let search = Search {
        platform,
        files,
        tree,
        library_path: library_path.split(':').filter(|folder| folder.starts_with('/')).map(str::to_owned).collect(),
    };
    let processes: BTreeMap<_, _> = files.keys().map(|path| (path, search.process(path))).collect();
    let loaded: BTreeSet<_> =
        processes.iter().flat_map(|(root, process)| process.found.iter().filter(move |path| path != root)).collect();
    // Whoever is loaded by nobody begins a process, or is loaded into one at run time.
    let roots = processes.iter().filter(|(root, _)| !loaded.contains(**root)).map(|(_, process)| process);
    let covered: BTreeSet<_> = roots.clone().flat_map(|process| &process.found).collect();
    // Whoever is in none of these processes is in a circle, each of which may come first.
    let circles = processes.iter().filter(|(root, _)| !covered.contains(**root)).map(|(_, process)| process);
    let counted: Vec<_> = roots.chain(circles).collect();
    let found: BTreeSet<_> = counted.iter().flat_map(|process| &process.satisfied).collect();
    let missing = counted.iter().flat_map(|process| &process.missing).filter(|need| !found.contains(need)).cloned();
    let programs = files.iter().filter_map(|(file, dynamic)| {
        let interpreter = dynamic.interpreter.clone()?;
        tree.resolve(&interpreter).is_none().then(|| Unresolved { file: file.clone(), library: interpreter })
    });
    let missing: BTreeSet<_> = missing.chain(programs).collect();
    missing.into_iter().collect()
}

/// What the loader knows.
struct Search<'a> {
    platform: Platform,
    files: &'a BTreeMap<ImagePath, Dynamic>,
    tree: &'a dyn Tree,
    library_path: Vec<String>,
}

/// What became of one process.
#[derive(Default)]
struct Process {
    found: BTreeSet<ImagePath>,
    satisfied: BTreeSet<Unresolved>,
    missing: BTreeSet<Unresolved>,
}

/// A file of a process, and the `rpath` folders of those through which it came.
struct Loaded {
    path: ImagePath,
    inherited: Vec<String>,
}

impl Search<'_> {
    /// Loads a file with everything it needs.
    fn process(&self, root: &ImagePath) -> Process {
        let mut process = Process::default();
        let mut names = BTreeSet::new();
        let mut queue = VecDeque::from([Loaded { path: root.clone(), inherited: Vec::new() }]);
        process.found.insert(root.clone());
        while let Some(loaded) = queue.pop_front() {
            let Some(dynamic) = self.files.get(&loaded.path) else { continue };
            names.extend(dynamic.soname.clone());
            let folders = self.folders(&loaded, dynamic);
            for library in &dynamic.needed {
                let need = Unresolved { file: loaded.path.clone(), library: library.clone() };
                if names.contains(library) {
                    process.satisfied.insert(need);
                    continue;
                }
                let Some(path) = self.find(library, folders.iter().flatten()) else {
                    process.missing.insert(need);
                    continue;
                };
                process.satisfied.insert(need);
                names.insert(library.clone());
                if process.found.insert(path.clone()) {
                    let inherited = [self.rpath(&loaded.path, dynamic), loaded.inherited.clone()].concat();
                    queue.push_back(Loaded { path, inherited });
                }
            }
        }
        process
    }

    /// Returns the folders that a file searches, in the loader's order.
    fn folders(&self, loaded: &Loaded, dynamic: &Dynamic) -> [Vec<String>; 4] {
        let rpath = if dynamic.runpath.is_empty() {
            [self.rpath(&loaded.path, dynamic), loaded.inherited.clone()].concat()
        } else {
            Vec::new()
        };
        let runpath = dynamic.runpath.iter().map(|folder| expand(folder, &loaded.path)).collect();
        let defaults = match self.platform {
            Platform::LinuxAmd64 => {
                ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"]
            }
        };
        [rpath, self.library_path.clone(), runpath, defaults.map(str::to_owned).to_vec()]
    }

    fn rpath(&self, path: &ImagePath, dynamic: &Dynamic) -> Vec<String> {
        match dynamic.runpath.is_empty() {
            true => dynamic.rpath.iter().map(|folder| expand(folder, path)).collect(),
            false => Vec::new(),
        }
    }

    /// Returns the first file of that name for this processor.
    fn find<'f>(&self, library: &str, folders: impl IntoIterator<Item = &'f String>) -> Option<ImagePath> {
        let usable = |path: &str| self.tree.resolve(path).filter(|path| self.files.contains_key(path));
        if library.contains('/') {
            return usable(library);
        }
        folders.into_iter().find_map(|folder| usable(&format!("{folder}/{library}")))
    }
}

/// Puts the folder of the file in place of `$ORIGIN`.
fn expand(folder: &str, path: &ImagePath) -> String {
    let origin = path.parent().map_or_else(String::new, |parent| format!("/{parent}"));
    folder.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    struct Image {
        files: BTreeMap<ImagePath, Dynamic>,
        links: BTreeMap<String, String>,
    }

    impl Tree for Image {
        fn resolve(&self, path: &str) -> Option<ImagePath> {
            let path: ImagePath = path.parse().ok()?;
            let path = match self.links.get(path.as_str()) {
                Some(target) => target.parse().ok()?,
                None => path,
            };
            self.files.contains_key(&path).then_some(path)
        }
    }

    fn needs(needed: &[&str]) -> Dynamic {
        Dynamic { needed: needed.iter().map(ToString::to_string).collect(), ..Dynamic::default() }
    }

    fn missing(library_path: &str, files: &[(&str, Dynamic)], links: &[(&str, &str)]) -> Vec<String> {
        let image = Image {
            files: files.iter().map(|(path, dynamic)| (path.parse().unwrap(), dynamic.clone())).collect(),
            links: links.iter().map(|(path, target)| (path.to_string(), target.to_string())).collect(),
        };
        unresolved(Platform::LinuxAmd64, &image.files, &image, library_path)
            .into_iter()
            .map(|unresolved| format!("{}: {}", unresolved.file, unresolved.library))
            .collect()
    }

    #[test]
    fn libraries_are_found_where_the_loader_looks() {
        let rpath = |needed: &[&str]| Dynamic { rpath: vec!["${ORIGIN}".to_owned()], ..needs(needed) };
        let library = || needs(&[]);
        /// A name, the library path of the environment, the files, and the needs left open.
        type Case<'a> = (&'a str, &'a str, Vec<(&'a str, Dynamic)>, &'a [&'a str]);
        let cases: [Case<'_>; 8] = [
            (
                "default folder",
                "",
                vec![("usr/bin/a", needs(&["libz.so.1"])), ("usr/lib/x86_64-linux-gnu/libz.so.1", library())],
                &[],
            ),
            ("nowhere", "", vec![("usr/bin/a", needs(&["libz.so.1"]))], &["usr/bin/a: libz.so.1"]),
            ("environment", "/opt/x:relative", vec![("usr/bin/a", needs(&["b.so"])), ("opt/x/b.so", library())], &[]),
            (
                "elsewhere",
                "relative",
                vec![("usr/bin/a", needs(&["b.so"])), ("opt/x/b.so", library())],
                &["usr/bin/a: b.so"],
            ),
            (
                "rpath is inherited",
                "",
                vec![("o/a", rpath(&["b.so"])), ("o/b.so", needs(&["c.so"])), ("o/c.so", library())],
                &[],
            ),
            (
                "run path is not",
                "",
                vec![
                    ("o/a", Dynamic { runpath: vec!["/o".to_owned()], ..needs(&["b.so"]) }),
                    ("o/b.so", needs(&["c.so"])),
                    ("o/c.so", library()),
                ],
                &["o/b.so: c.so"],
            ),
            (
                "what is loaded serves all",
                "",
                vec![
                    ("o/a", Dynamic { runpath: vec!["/o".to_owned()], ..needs(&["b.so", "c.so"]) }),
                    ("o/b.so", needs(&["c.so"])),
                    ("o/c.so", library()),
                ],
                &[],
            ),
            (
                "circle",
                "/o",
                vec![("o/a.so", needs(&["b.so"])), ("o/b.so", needs(&["a.so", "c.so"]))],
                &["o/b.so: c.so"],
            ),
        ];
        for (case, library_path, files, expected) in cases {
            assert_eq!(missing(library_path, &files, &[]), expected, "{case}");
        }
    }

    #[test]
    fn a_missing_dynamic_loader_is_named() {
        let program = Dynamic { interpreter: Some("/lib64/ld.so".to_owned()), ..Dynamic::default() };
        assert_eq!(missing("", &[("usr/bin/a", program.clone())], &[]), ["usr/bin/a: /lib64/ld.so"]);
        let loader = ("usr/lib/ld.so", Dynamic::default());
        assert!(missing("", &[("usr/bin/a", program), loader], &[("lib64/ld.so", "usr/lib/ld.so")]).is_empty());
    }

    /// Puts a 64-bit file together: header, two program headers, dynamic section, names.
    fn elf(machine: u16, entries: &[(u64, u64)], names: &[u8]) -> Vec<u8> {
        let dynamic_at = 64 + 2 * 56;
        let names_at = dynamic_at + 16 * (entries.len() + 3);
        let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend(3_u16.to_le_bytes());
        bytes.extend(machine.to_le_bytes());
        bytes.extend(1_u32.to_le_bytes());
        [0_u64, 64, 0].iter().for_each(|field| bytes.extend(field.to_le_bytes()));
        bytes.extend(0_u32.to_le_bytes());
        [64_u16, 56, 2, 64, 0, 0].iter().for_each(|field| bytes.extend(field.to_le_bytes()));
        let length = (names_at + names.len()) as u64;
        let dynamic_size = (names_at - dynamic_at) as u64;
        for (kind, at, size) in [(1_u32, 0, length), (2, dynamic_at as u64, dynamic_size)] {
            bytes.extend(kind.to_le_bytes());
            bytes.extend(4_u32.to_le_bytes());
            [at, at, at, size, size, 8].iter().for_each(|field| bytes.extend(field.to_le_bytes()));
        }
        let own = [(5, names_at as u64), (10, names.len() as u64), (0, 0)];
        entries.iter().chain(&own).for_each(|(tag, value)| {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(value.to_le_bytes());
        });
        bytes.extend(names);
        bytes
    }

    #[test]
    fn the_dynamic_section_is_read() {
        let file = elf(62, &[(1, 1), (1, 8), (14, 1), (29, 13)], b"\0liba.1\0libb\0$ORIGIN:/x\0");
        let found = read(Platform::LinuxAmd64, Cursor::new(file)).unwrap().unwrap();
        let expected = Dynamic {
            soname: Some("liba.1".to_owned()),
            runpath: vec!["$ORIGIN".to_owned(), "/x".to_owned()],
            ..needs(&["liba.1", "libb"])
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn other_files_are_passed_over_and_broken_ones_do_no_harm() {
        for other in [Vec::new(), b"\x7fELF".to_vec(), b"#!/bin/sh\n".repeat(9), elf(183, &[], b"\0")] {
            assert_eq!(read(Platform::LinuxAmd64, Cursor::new(other)).unwrap(), None);
        }
        let whole = elf(62, &[(1, 1), (29, u64::MAX)], b"\0liba.1\0");
        for length in 20..whole.len() {
            let _ = read(Platform::LinuxAmd64, Cursor::new(&whole[..length]));
        }
        for at in 16..whole.len() {
            let mut broken = whole.clone();
            broken[at] = 0xff;
            let _ = read(Platform::LinuxAmd64, Cursor::new(broken));
        }
    }
}
