//! Writes an NN Archive of one file and nothing else: what `benches/archive` measures beside the whole program.
//!
//! usage: pack CONFIG MODEL ARCHIVE

#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made has failed")]

use std::fs::File;
use std::path::Path;

use modelconverter::nn_archive::{ArchiveForm, Contents, Document, Haste, Member, write};
use modelconverter::units::ByteSize;

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let [_, config, model, archive] = words.as_slice() else { return };
    let document = Document::parse(&std::fs::read(config).unwrap()).unwrap();
    let mut content = File::open(model).unwrap();
    let size = ByteSize::new(content.metadata().unwrap().len());
    let name = Path::new(model).file_name().unwrap().to_str().unwrap();
    let mut members = [Member { path: name.parse().unwrap(), size, content: &mut content }];
    let contents = Contents { document: &document, build_info: None, members: &mut members };
    write(contents, ArchiveForm::Xz, &Haste::on_all_cores(), File::create(archive).unwrap()).unwrap();
}
