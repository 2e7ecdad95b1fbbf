//! Loads, rewrites and saves an ONNX model as a conversion does before the vendor's tools: `rewrite FROM TO`. Prints what
//! each part took. The benchmark `benches/rewrite` measures with it.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use modelconverter::disk;
use modelconverter::onnx::{MAX_MODEL_BYTES, Model, restate_shapes};
use modelconverter::surgery::{
    DeadCode, FoldConstants, FreeInitializers, InlineBranches, InlineFunctions, Pass, PlainDomain, RemoveNoOps,
    UnrollLoops, UnusedDomains, operate,
};
use modelconverter::units::ByteSize;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[expect(clippy::print_stdout, reason = "an example speaks for itself")]
fn rewrite(from: &Path, to: &Path) -> Outcome {
    let passes: [&dyn Pass; 9] = [
        &FreeInitializers,
        &PlainDomain,
        &InlineFunctions,
        &InlineBranches,
        &UnrollLoops,
        &FoldConstants,
        &RemoveNoOps,
        &DeadCode,
        &UnusedDomains,
    ];
    let begun = Instant::now();
    let model = Model::parse(disk::map(from, ByteSize::new(MAX_MODEL_BYTES))?)?;
    let loaded = Instant::now();
    let before = model.graph().node.len();
    let (model, operations) = operate(model, &passes)?;
    let (model, _) = restate_shapes(model);
    let rewritten = Instant::now();
    // As a conversion does, and the peers: nobody waits for the disk.
    model.write_to(&mut disk::create_anew(to)?)?;
    let (load, rewriting) = (loaded - begun, rewritten - loaded);
    println!(
        "load {:.3} s, rewrite {:.3} s, save {:.3} s; {before} nodes became {}, in {} steps",
        load.as_secs_f64(),
        rewriting.as_secs_f64(),
        rewritten.elapsed().as_secs_f64(),
        model.graph().node.len(),
        operations.len()
    );
    Ok(())
}

#[expect(clippy::print_stderr, reason = "an example speaks for itself")]
fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [from, to] = arguments.as_slice() else {
        eprintln!("usage: rewrite FROM TO");
        return ExitCode::from(2);
    };
    match rewrite(Path::new(from), Path::new(to)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
