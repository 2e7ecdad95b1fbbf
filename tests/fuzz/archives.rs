//! NN Archives, their descriptions, blobs and superblobs.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use modelconverter::config::archive::from_archive;
use modelconverter::config::read::read as read_config;
use modelconverter::myriad::difference::Differ;
use modelconverter::myriad::{Blob, Superblob, patch, superblob};
use modelconverter::nn_archive::{ArchiveForm, Contents, Document, Haste, LIMITS, Member, read, write};
use modelconverter::units::{ByteSize, ShaveCount};

use crate::harness::{Allowance, fuzz};
use crate::tiny_blob::blob;

const CONFIG_JSON: &str = r#"{"config_version": "1.0", "model": {"metadata": {"name": "m", "path": "m.blob",
    "precision": "float16", "more": {"deep": [[1, 2.50e-3], null, "\u00e9\\"]}},
    "inputs": [{"name": "x", "dtype": "uint8", "input_type": "image", "shape": [1, 3, 4, 5], "layout": "NCHW",
        "preprocessing": {"mean": [0, 1.5, 0], "scale": null, "dai_type": "BGR888p", "reverse_channels": true,
            "interleaved_to_planar": false, "resize_mode": "CROP"}},
        {"name": "z", "dtype": "int64", "input_type": "raw", "shape": [0], "preprocessing": {}}],
    "outputs": [{"name": "y", "dtype": "float16", "shape": [1, 2], "layout": "NC"}],
    "heads": [{"parser": "P", "outputs": ["y"], "metadata": {"classes": ["a"], "n_classes": 1, "threshold": 0.10,
        "postprocessor_path": "second.onnx"}}]}}"#;

fn archive(form: ArchiveForm) -> Vec<u8> {
    let document = Document::parse(CONFIG_JSON.as_bytes()).unwrap();
    let blob = blob(8);
    let (mut model, mut second, mut nothing) = (blob.as_slice(), &[7_u8; 700][..], io::empty());
    let long = format!("a/{}/b", "long".repeat(40));
    let size = |bytes: &[u8]| ByteSize::new(bytes.len() as u64);
    let mut members = [
        Member { path: "m.blob".parse().unwrap(), size: size(model), content: &mut model },
        Member { path: "second.onnx".parse().unwrap(), size: size(second), content: &mut second },
        Member { path: long.parse().unwrap(), size: ByteSize::new(0), content: &mut nothing },
    ];
    let contents = Contents { document: &document, build_info: Some(b"{}"), members: &mut members };
    write(contents, form, &Haste::on_all_cores(), Vec::new()).unwrap()
}

const WORDS: [&str; 9] = ["ustar", "../", "/", "path=", "config.json", "\"heads\"", "null", "1e999", "\0\0\0\0"];

fn take(bytes: &[u8]) -> bool {
    let mut take = |_: &_, _, content: &mut dyn Read| io::copy(content, &mut io::sink()).map(|_| ());
    read(bytes, LIMITS, &mut take).is_ok()
}

#[test]
fn nn_archives() {
    use ArchiveForm::{Bzip2, Gzip, Plain, Xz, Zstandard};
    // Mostly plain ones, in which changes reach the tar; the others reach the decoders.
    let corpus = [Plain, Plain, Plain, Plain, Gzip, Zstandard, Bzip2, Xz].map(archive);
    fuzz("nn_archive", &corpus, &WORDS, Allowance { base: 80 << 20, factor: 200 }, take);
}

#[test]
fn nn_archives_behind_sound_compression() {
    let packed = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let allowance = Allowance { base: 8 << 20, factor: 200 };
    fuzz("nn_archive_gz", &[archive(ArchiveForm::Plain)], &WORDS, allowance, |bytes| take(&packed(bytes)));
}

#[test]
fn documents_of_nn_archives() {
    let words = ["null", "\"extra\": 1,", "[", "{", "NCHW", "1e999", "-1", "\\ud800", "float16", "image", "RGB888i"];
    let corpus = [CONFIG_JSON.as_bytes().to_vec(), Document::parse(CONFIG_JSON.as_bytes()).unwrap().render().into()];
    fuzz("nn_archive_config", &corpus, &words, Allowance { base: 4 << 20, factor: 200 }, |bytes| {
        let Ok(document) = Document::parse(bytes) else { return false };
        // What is taken is written so that it reads back, and is a configuration or says why not.
        assert_eq!(Document::parse(document.render().as_bytes()).unwrap(), document);
        if let Ok((tree, _)) = from_archive(&document, None) {
            let _ = read_config(&tree);
        }
        true
    });
}

#[test]
fn superblobs_and_blobs() {
    let base = blob(8);
    let patches: BTreeMap<ShaveCount, Vec<u8>> = ShaveCount::all()
        .filter(|shaves| *shaves != ShaveCount::EIGHT)
        .map(|shaves| (shaves, Differ::new(&base).patch(&blob(shaves.get().into()))))
        .collect();
    let header = superblob::header(&base, &patches).unwrap();
    let corpus = [[&header, &base].into_iter().chain(patches.values()).flatten().copied().collect::<Vec<u8>>()];
    fuzz("superblob", &corpus, &["BSDIFF40", "BZh9"], Allowance { base: 80 << 20, factor: 100 }, |bytes| {
        let Ok(superblob) = Superblob::parse(bytes) else { return false };
        // The first, the last and the base: the others are read by the same code.
        for shaves in ShaveCount::all().filter(|shaves| matches!(shaves.get(), 1 | 8 | 16)) {
            let _ = superblob.blob(shaves).map(|blob| Blob::parse(&blob).is_ok());
        }
        true
    });
    fuzz("blob", &[base], &[], Allowance { base: 4 << 20, factor: 100 }, |bytes| Blob::parse(bytes).is_ok());
}

#[test]
fn patches_of_superblobs() {
    let base = blob(8);
    let corpus = [1, 3, 16].map(|shaves| Differ::new(&base).patch(&blob(shaves)));
    let limit = ByteSize::new(64 << 20);
    fuzz("patch", &corpus, &["BSDIFF40", "BZh9"], Allowance { base: 144 << 20, factor: 100 }, |bytes| {
        patch::apply(&base, bytes, limit).map(|blob| Blob::parse(&blob).is_ok()).is_ok()
    });
}
