//! Puts the built-in lock and recipes into the binary: `toolchains.toml` and everything below `images/`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    println!("cargo::rerun-if-changed=toolchains.toml");
    println!("cargo::rerun-if-changed=images");
    let mut files = Vec::new();
    for name in ["images", "toolchains.toml"] {
        collect(root.join(name), &mut files)?;
    }
    files.sort();
    let mut text = String::from("/// Path below the project's folder, and bytes.\n");
    text.push_str("pub(super) static FILES: &[(&str, &[u8])] = &[\n");
    for file in files {
        let name = file.strip_prefix(&root).unwrap_or(&file);
        let _ = writeln!(text, "    ({name:?}, include_bytes!({file:?})),");
    }
    text.push_str("];\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("built_in.rs"), text)
}

fn collect(path: PathBuf, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(&path)? {
            collect(entry?.path(), files)?;
        }
    } else if path.exists() {
        files.push(path);
    }
    Ok(())
}
