//! Assembles the packages and wheels of a folder into one image, as `benches/assembly` measures it.
//!
//! Usage: `assemble_folder FOLDER STORE [EXPORT]`. Every `.deb` of the folder becomes the layer `base`, every `.whl` the
//! layer `wheels`. With EXPORT, the compressed archive is written there.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it speaks to the script that runs it")]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::Path;
use std::time::Instant;

use modelconverter::digest::Digest;
use modelconverter::lock::{Pin, Platform};
use modelconverter::name::ToolchainName;
use modelconverter::ops::assemble::assemble;
use modelconverter::plan::image::{ImagePlan, LayerContent, LayerPlan, PlannedArtifact, Unpacking};
use modelconverter::progress::Silent;
use modelconverter::recipe::RecipeFiles;
use modelconverter::store::Store;
use modelconverter::units::ByteSize;

struct NoFiles;

impl RecipeFiles for NoFiles {
    fn read(&self, _: &str) -> std::io::Result<Vec<u8>> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}

fn layer(name: &str, folder: &Path, ending: &str, store: &Store, lowest: bool) -> Result<LayerPlan, Box<dyn Error>> {
    let mut paths: Vec<_> =
        std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    paths.retain(|path| path.to_string_lossy().ends_with(ending));
    paths.sort();
    let mut artifacts = Vec::new();
    for path in paths {
        let bytes = std::fs::read(&path)?;
        let pin = Pin { size: ByteSize::new(bytes.len() as u64), sha256: Digest::of(&bytes) };
        store.insert(&mut &bytes[..], pin)?;
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let id = file.trim_end_matches(ending).replace('%', "_");
        let unpacking = if ending == ".deb" {
            let control = modelconverter::debian::unpack(&mut &bytes[..], &mut Nobody)?;
            let scripts = control.scripts.iter().map(|(name, bytes)| (name.clone(), Digest::of(bytes))).collect();
            Unpacking::Debian { package: file.split('_').next().unwrap_or_default().to_owned(), scripts }
        } else {
            Unpacking::Wheel {
                site_packages: "usr/lib/python3/dist-packages".parse()?,
                scripts: "usr/bin".parse()?,
                interpreter: "usr/bin/python3.9".parse()?,
            }
        };
        let (id, file) = (id.parse()?, file.parse()?);
        artifacts.push(PlannedArtifact { id, file, size: pin.size, sha256: pin.sha256, unpacking });
    }
    let content = LayerContent {
        artifacts,
        files: Vec::new(),
        folders: BTreeSet::new(),
        links: BTreeMap::new(),
        exclude: Vec::new(),
        ca_bundle: false,
        lowest,
    };
    let allow_missing = std::env::var("ALLOW_MISSING").unwrap_or_default();
    let allow_missing = allow_missing.split_whitespace().map(|name| (name.to_owned(), "bench".to_owned())).collect();
    Ok(LayerPlan { name: name.parse()?, content, expected: None, allow_missing })
}

struct Nobody;

impl modelconverter::entry::Sink for Nobody {
    fn take(&mut self, _: modelconverter::entry::Entry<'_>) -> std::io::Result<()> {
        Ok(())
    }
}

/// Returns the seconds that this process has used, in user and in system mode (proc(5), ticks of 10 ms).
fn processor_time() -> [f64; 2] {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    [11, 12].map(|index| fields.get(index).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or_default() / 100.0)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args_os().collect();
    let [_, folder, root, ..] = arguments.as_slice() else { return Err("usage: assemble_folder FOLDER STORE".into()) };
    let store = Store::open(Path::new(root))?;
    let folder = Path::new(folder);
    let layers = vec![layer("base", folder, ".deb", &store, true)?, layer("wheels", folder, ".whl", &store, false)?];
    let toolchain = ToolchainName { target: "rvc2".parse()?, version: "bench".parse()? };
    let env = BTreeMap::new();
    let plan = ImagePlan {
        toolchain,
        platform: Platform::LinuxAmd64,
        env,
        prepare: None,
        layers,
        library_folders: Vec::new(),
        restricted: Vec::new(),
    };
    let (start, before) = (Instant::now(), processor_time());
    let image = match assemble(&plan, &store, &NoFiles, &std::env::current_exe()?, &Silent) {
        Ok(image) => image,
        Err(error) => {
            let mut source = Some(&error as &dyn Error);
            while let Some(error) = source {
                eprintln!("{error}");
                source = error.source();
            }
            std::process::exit(1);
        }
    };
    let [user, system] = std::array::from_fn(|index| processor_time()[index] - before[index]);
    eprintln!("assembled in {:.2} s, processor {user:.2} s user {system:.2} s system", start.elapsed().as_secs_f64());
    for layer in &image.layers {
        println!("{} {} {} {}", layer.name, layer.diff_id, layer.size.bytes(), layer.tree.display());
    }
    Ok(())
}
