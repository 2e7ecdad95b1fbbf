//! Loads a TFLite model, translates it to ONNX and saves that, as a conversion does: `translate FROM TO`. Pictures have
//! channels first. Prints what each part took. The benchmark `benches/tflite` measures with it.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use modelconverter::disk::{self, NewFile};
use modelconverter::onnx::MAX_MODEL_BYTES;
use modelconverter::tflite::{Model, Tensor};
use modelconverter::translation::{Order, Wanted, WantedInput, translate};
use modelconverter::units::ByteSize;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// All outputs, and all inputs; 1 stands where a dimension is open.
fn everything(model: &Model) -> Wanted {
    let input = |tensor: &Tensor| WantedInput {
        name: tensor.name.clone(),
        shape: tensor.shape.iter().map(|size| u64::try_from(*size).unwrap_or(1)).collect(),
        order: Order::ChannelsFirst,
    };
    Wanted {
        inputs: model.inputs().iter().filter_map(|id| model.tensor(*id)).map(input).collect(),
        outputs: model.outputs().iter().filter_map(|id| model.tensor(*id)).map(|tensor| tensor.name.clone()).collect(),
    }
}

#[expect(clippy::print_stdout, reason = "an example speaks for itself")]
fn run(from: &Path, to: &Path) -> Outcome {
    let begun = Instant::now();
    let model = Model::parse(&disk::map(from, ByteSize::new(MAX_MODEL_BYTES))?)?;
    let loaded = Instant::now();
    let translation = translate(&model, &everything(&model))?;
    let translated = Instant::now();
    let mut file = NewFile::create(to)?;
    translation.model.write_to(&mut file)?;
    file.commit()?;
    let (load, translate) = (loaded - begun, translated - loaded);
    println!(
        "load {:.3} s, translate {:.3} s, save {:.3} s; {} operators became {} nodes",
        load.as_secs_f64(),
        translate.as_secs_f64(),
        translated.elapsed().as_secs_f64(),
        model.operators().len(),
        translation.model.graph().node.len()
    );
    Ok(())
}

#[expect(clippy::print_stderr, reason = "an example speaks for itself")]
fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [from, to] = arguments.as_slice() else {
        eprintln!("usage: translate FROM TO");
        return ExitCode::from(2);
    };
    match run(Path::new(from), Path::new(to)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("translate: {error}");
            ExitCode::FAILURE
        }
    }
}
