//! Samples for calibration, judged by Pillow and NumPy, and files that are no samples.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use modelconverter::calibration::feed::{FeedError, FeedOptions};
use modelconverter::calibration::random::Seed;
use modelconverter::calibration::{CalibrationPlan, DecodeError, Element, Feed, NpyError, Size, Tensor, decode, npy};
use modelconverter::config::{
    Calibration, Color, DataType, Encoding, FileReference, Named, ResizeMethod, ResolvedInput,
};
use modelconverter::hint::Hint;
use modelconverter::nn_archive::Layout;
use modelconverter::pipeline::samples::{self, CalibrationSet, Sample, SampleError};
use proptest::prelude::*;
use serde_json::Value;
use support::{fail, folder, peer, program, root, succeed};

/// The value of this name.
fn named<T: Named>(value: &Value) -> T {
    *T::ALL.iter().find(|one| Some(one.as_str()) == value.as_str()).unwrap()
}

fn feed(case: &Value) -> Feed {
    Feed::new(FeedOptions {
        shape: case["shape"].as_array().unwrap().iter().map(|size| size.as_u64().unwrap()).collect(),
        layout: case["layout"].as_str().unwrap().parse().unwrap(),
        data_type: named::<DataType>(&case["data_type"]),
        color: named::<Color>(&case["encoding"]),
        resize_method: named::<ResizeMethod>(&case["resize"]),
    })
    .unwrap()
}

/// Runs a script of the peers with their Python.
fn python(script: &str, arguments: &[&Path]) -> String {
    let mut command = Command::new(peer("MODELCONVERTER_TEST_PYTHON"));
    succeed(command.arg("-c").arg(script).args(arguments))
}

/// How far two tensors are from each other, for people.
fn difference(ours: &Tensor, theirs: &Tensor) -> String {
    if (&ours.shape, ours.element) != (&theirs.shape, theirs.element) {
        return format!("{ours:?} is not {theirs:?}");
    }
    let pairs = ours.element.values(&ours.bytes).zip(theirs.element.values(&theirs.bytes));
    let differences: Vec<f64> = pairs.map(|(ours, theirs)| (ours - theirs).abs()).collect();
    let (most, sum) = differences.iter().fold((0.0_f64, 0.0), |(most, sum), one| (most.max(*one), sum + one));
    format!("at most {most}, mean {:.4}", sum / differences.len() as f64)
}

#[test]
fn pictures_become_what_pillow_makes_of_them() {
    let folder = folder();
    let mut command = Command::new(peer("MODELCONVERTER_TEST_PYTHON"));
    succeed(command.arg(root().join("tests/readers/pillow_peer.py")).arg(folder.path()));
    let cases: Vec<Value> = serde_json::from_slice(&fs::read(folder.path().join("cases.json")).unwrap()).unwrap();
    assert!(cases.len() > 450);
    let mut wrong = Vec::new();
    for case in &cases {
        let path = Path::new(case["file"].as_str().unwrap());
        let expected = fs::read(case["expected"].as_str().unwrap()).unwrap();
        let theirs = npy::read(&expected).unwrap();
        // Where NumPy makes a bright pixel negative, there is no such pixel.
        let wraps = theirs.element == Element::Int8 && theirs.element.statistics(&theirs.bytes).min < 0.0;
        let sample = match samples::read(&feed(case), path) {
            Err(SampleError::Feed { source: FeedError::Pixel { value: 128.., .. }, .. }) if wraps => continue,
            Ok(sample) => sample,
            Err(error) => {
                wrong.push(format!("{error:?}"));
                continue;
            }
        };
        // The file that NumPy wrote: header, shape, type and every pixel.
        if npy::write(&sample) != expected {
            wrong.push(format!("{}: {case}", difference(&sample, &theirs)));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn arrays_are_read_as_numpy_wrote_them() {
    let folder = folder();
    let count = python(
        r#"
import sys, warnings
import numpy as np
from numpy.lib import format
from pathlib import Path
warnings.simplefilter("ignore")
folder = Path(sys.argv[1])
random = np.random.default_rng(1)
count = 0
for code in ["b1", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]:
    for shape in [(), (1,), (7,), (2, 3), (1, 3, 4, 5), (2, 0, 3), (2, 3, 1, 2, 2, 1)]:
        array = (random.random(shape) * 100).astype(code)
        for variant, version in [(array, None), (np.asfortranarray(array), None), (array.astype(">" + code), (2, 0)),
                                 (np.asfortranarray(array).astype("=" + code, order="F"), (3, 0))]:
            with (folder / f"{count}.npy").open("wb") as file:
                format.write_array(file, np.asanyarray(variant), version)
            with (folder / f"{count}.expected").open("wb") as file:
                np.save(file, np.array(variant, code, order="C"))
            count += 1
print(count)
"#,
        &[folder.path()],
    );
    let count: usize = count.trim().parse().unwrap();
    assert!(count > 300);
    for number in 0..count {
        let read = |suffix: &str| fs::read(folder.path().join(format!("{number}.{suffix}"))).unwrap();
        let array = npy::read(&read("npy")).unwrap();
        assert!(npy::write(&array) == read("expected"), "array {number}");
    }
}

/// Picture files by name.
fn pictures(folder: &Path) {
    python(
        r#"
import sys, zlib, struct
from pathlib import Path
import numpy as np
from PIL import Image
folder = Path(sys.argv[1])
picture = np.zeros((20, 30, 3), np.uint8)
picture[:, :15] = (250, 20, 10)
picture[:, 15:] = (0, 90, 200)
picture = Image.fromarray(picture)
picture.save(folder / "progressive.jpg", progressive=True, restart_marker_blocks=1)
for name in ["good.png", "good.jpg", "good.bmp", "good.webp", "good.tiff", "good.gif", "schön bunt.PNG"]:
    picture.save(folder / name)
good = (folder / "good.png").read_bytes()
(folder / "short.png").write_bytes(good[:len(good) // 2])
jpeg = (folder / "good.jpg").read_bytes()
(folder / "short.jpg").write_bytes(jpeg[:len(jpeg) * 3 // 4])
(folder / "empty.png").write_bytes(b"")
(folder / "text.png").write_text("not a picture")
(folder / "notes.txt").write_text("nothing")
# Four gigapixels of black in four megabytes.
def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
header = struct.pack(">IIBBBBB", 65000, 65000, 8, 2, 0, 0, 0)
(folder / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b""))
np.save(folder / "floats.npy", np.linspace(0, 1, 2 * 3).reshape(1, 2, 3))
np.save(folder / "objects.npy", np.array([{}, []], dtype=object), allow_pickle=True)
(folder / "six.raw").write_bytes(bytes(range(6)))
Image.fromarray(np.random.default_rng(0).random((4, 4)).astype(np.float32)).save(folder / "floats.tiff")
"#,
        &[folder],
    );
}

fn prepare(folder: &Path) -> Command {
    let mut command = program(folder, &folder.join("store"));
    command.args(["calibration", "prepare"]);
    command
}

#[test]
fn a_prepared_sample_is_what_the_network_is_fed() {
    let folder = folder();
    pictures(folder.path());
    let text = succeed(prepare(folder.path()).args([
        "schön bunt.PNG",
        "--shape",
        "1,3,10,10",
        "--layout",
        "NCHW",
        "--encoding",
        "bgr",
        "--resize",
        "PAD",
        "--data-type",
        "float32",
        "--out",
        "sample.npy",
        "--json",
    ]));
    let report: Value = serde_json::from_str(&text).unwrap();
    let sample = fs::read(folder.path().join("sample.npy")).unwrap();
    let tensor = npy::read(&sample).unwrap();
    assert_eq!(report["sha256"], modelconverter::digest::Digest::of(&tensor.bytes).to_string());
    assert_eq!(report["shape"], serde_json::json!([1, 3, 10, 10]));
    assert_eq!((report["layout"].as_str(), report["data_type"].as_str()), (Some("NCHW"), Some("float32")));
    // The filter overshoots the picture's own 250.
    assert_eq!((report["min"].as_f64(), report["max"].as_f64()), (Some(0.0), Some(253.0)));

    // The other forms hold the same: the bytes, and a picture for people that Pillow reads with red on the left.
    for name in ["sample.raw", "sample.png"] {
        succeed(prepare(folder.path()).args(["good.png", "--shape", "1,3,10,10", "--resize", "pad", "--out", name]));
    }
    let said = python(
        r#"
import sys
from pathlib import Path
import numpy as np
from PIL import Image
folder = Path(sys.argv[1])
sample = np.load(folder / "sample.npy")
assert sample.shape == (1, 3, 10, 10) and sample.dtype == np.float32
raw = np.fromfile(folder / "sample.raw", np.uint8).reshape(sample.shape)
assert (raw == sample).all()
picture = np.asarray(Image.open(folder / "sample.png"))
assert (picture == sample[0, ::-1].transpose(1, 2, 0)).all()
assert tuple(picture[5, 1]) == (250, 20, 10), picture[5, 1]
assert tuple(picture[0, 0]) == (0, 0, 0)
print("alike")
"#,
        &[folder.path()],
    );
    assert_eq!(said, "alike\n");

    // Arrays and raw bytes.
    succeed(prepare(folder.path()).args(["floats.npy", "--shape", "2,3", "--data-type", "float32", "--out", "a.npy"]));
    let text = succeed(prepare(folder.path()).args(["six.raw", "--shape", "1,6", "--out", "b.npy", "--json"]));
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((report["max"].as_f64(), report["mean"].as_f64()), (Some(5.0), Some(2.5)));
}

#[test]
fn bad_samples_and_words_are_told_with_advice() {
    let folder = folder();
    pictures(folder.path());
    let colour = ["--shape", "1,3,8,8", "--out", "x.npy"];
    for (words, code, messages) in [
        (&["short.png"][..], 1, &["cannot read the picture short.png", "Png picture is damaged"][..]),
        (&["short.jpg"], 1, &["cannot read the picture short.jpg", "it ends too soon", "copy the file again"]),
        (&["empty.png"], 1, &["the file is empty"]),
        (&["text.png"], 1, &["no picture of a known format", "save the picture as PNG or JPEG"]),
        (&["bomb.png"], 1, &["65000x65000 pixels", "make the picture smaller"]),
        (&["floats.tiff"], 1, &["damaged or of a kind that is not read"]),
        (&["notes.txt"], 1, &["none of the suffixes of samples", "jpg, jpeg, png"]),
        (&["none.png"], 1, &["none.png: it does not exist"]),
        (&["objects.npy"], 1, &["elements of type `|O`", "astype"]),
        (&["floats.npy"], 1, &["array has shape [1, 2, 3], the input [1, 3, 8, 8]"]),
        (&["six.raw"], 1, &["there are 6 bytes", "takes 192"]),
        (&["floats.npy", "--shape", "2,3"], 1, &["value 0.2 (float64) does not exist in the input's type uint8"]),
        (&["good.png", "--shape", "1,10"], 1, &["layout NC has no height and width", ".npy"]),
        (&["good.png", "--shape", "1,3,2,2"], 1, &["layout NCDE has no height and width", "`NCHW`"]),
        (
            &["good.png", "--encoding", "GRAY"],
            1,
            &["encoding GRAY does not fit an input with 3 channel(s)", "`RGB` or `BGR`"],
        ),
        (&["good.png", "--encoding", "RBG"], 2, &["RBG", "RGB"]),
        (&["good.png", "--resize", "PADD"], 2, &["PADD", "PAD"]),
        (&["good.png", "--data-type", "uint9"], 2, &["uint9", "uint8"]),
        (&["good.png", "--shape", "1,0,8,8"], 2, &["0"]),
        (&["good.png", "--layout", "NHW"], 2, &["layout NHW has another number of dimensions", "`NCHW`"]),
        (&["good.png", "--out", "x.npz"], 2, &["does not end in .npy, .raw or .png", "did you mean `.npy`?"]),
        (&["good.png", "--out", "none/x.npy"], 3, &["none/x.npy"]),
        (&["."], 2, &["x.npy is named like a file", "name a folder"]),
    ] {
        let mut command = prepare(folder.path());
        command.args(words);
        for pair in colour.chunks(2).filter(|pair| !words.contains(&pair[0])) {
            command.args(pair);
        }
        let said = fail(&mut command, code);
        for message in messages {
            assert!(said.contains(message), "{words:?}: {message:?} is not said in\n{said}");
        }
        assert!(!folder.path().join("x.npy").exists(), "{words:?} left a file");
    }
}

fn zip(path: &Path, members: &[(&str, &[u8])]) {
    let mut zip = zip::ZipWriter::new(fs::File::create(path).unwrap());
    for (name, bytes) in members {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

#[test]
fn folders_and_zip_files_are_prepared_in_the_order_of_their_names() {
    let folder = folder();
    pictures(folder.path());
    let good = fs::read(folder.path().join("good.png")).unwrap();
    let members = [
        ("set/ä.png", good.as_slice()),
        ("set/b.raw", &[7; 48]),
        ("set/notes.txt", b"x"),
        ("__MACOSX/set/._b.png", b"x"),
    ];
    zip(&folder.path().join("set.ZIP"), &members);
    let words = ["--shape", "1,3,4,4", "--out", "out put", "--json"];
    let text = succeed(prepare(folder.path()).arg("set.ZIP").args(words));
    let report: Value = serde_json::from_str(&text).unwrap();
    let paths: Vec<&str> = report.as_array().unwrap().iter().map(|one| one["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["out put/b.raw.npy", "out put/ä.png.npy"]);
    let mut names: Vec<_> =
        fs::read_dir(folder.path().join("out put")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["b.raw.npy", "ä.png.npy"]);
    // Not over what is there.
    assert!(fail(prepare(folder.path()).arg("set.ZIP").args(words), 2).contains("exists already"));

    for (name, members, message) in [
        ("climbs.zip", &[("../../x.png", good.as_slice())][..], "cannot unpack climbs.zip"),
        ("empty.zip", &[("readme.md", b"x")], "empty.zip has no calibration data"),
        (
            "broken.zip",
            &[("set/a.png", good.as_slice()), ("set/b.png", b"x")],
            "cannot read the picture broken.zip/set/b.png",
        ),
    ] {
        zip(&folder.path().join(name), members);
        let said = fail(prepare(folder.path()).args([name, "--shape", "1,3,4,4", "--out", "none"]), 1);
        assert!(said.contains(message), "{name}: {said}");
        assert!(!folder.path().join("none").exists());
    }
    let left: Vec<PathBuf> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let is_hidden = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with('.');
    assert!(!left.iter().any(is_hidden), "nothing is left of what failed: {left:?}");
}

/// One file of each format, to be damaged.
fn seeds() -> &'static Vec<Vec<u8>> {
    static SEEDS: std::sync::OnceLock<Vec<Vec<u8>>> = std::sync::OnceLock::new();
    SEEDS.get_or_init(|| {
        let folder = folder();
        pictures(folder.path());
        let names =
            ["good.png", "good.jpg", "progressive.jpg", "good.bmp", "good.webp", "good.tiff", "good.gif", "floats.npy"];
        names.iter().map(|name| fs::read(folder.path().join(name)).unwrap()).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_are_refused_or_read_and_nothing_worse(
        seed in 0..8_usize,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        end in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut bytes = seeds()[seed].clone();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if is_cut {
            bytes.truncate(end.index(bytes.len()));
        }
        if let Ok(picture) = decode::decode(&bytes) {
            let Size { width, height } = picture.size();
            prop_assert_eq!(picture.samples().len(), width * height * picture.channels().count());
        }
        let _ = npy::read(&bytes);
    }
}

/// An input of a resolved configuration.
fn input(name: &str, shape: &[u64], data_type: DataType, calibration: Calibration) -> ResolvedInput {
    let color = if shape.get(1) == Some(&3) { Encoding::RGB_TO_BGR } else { Encoding::same(Color::None) };
    ResolvedInput {
        name: name.to_owned(),
        shape: shape.to_vec(),
        layout: Layout::default_for(shape).unwrap(),
        data_type,
        encoding: color,
        mean_values: None,
        scale_values: None,
        calibration,
        frozen_value: None,
    }
}

fn images(path: &Path) -> Calibration {
    let path = FileReference::new(path.to_str().unwrap());
    Calibration::Images { path, max_images: Some(3), resize_method: ResizeMethod::Pad }
}

fn random(data_type: DataType) -> Calibration {
    let (mean, standard_deviation) = (127.5, 35.0);
    Calibration::Random { max_images: 20, min_value: 0.0, max_value: 255.0, mean, standard_deviation, data_type }
}

#[test]
fn samples_of_several_inputs_are_paired_and_the_same_again() {
    let folder = folder();
    let scratch = folder.path().join("scratch");
    let (left, right) = (folder.path().join("pic tures"), folder.path().join("ärrays"));
    for path in [&left, &right] {
        fs::create_dir(path).unwrap();
    }
    pictures(folder.path());
    for (number, name) in ["good.png", "good.jpg", "progressive.jpg", "good.gif"].iter().enumerate() {
        fs::copy(folder.path().join(name), left.join(format!("{number} {name}"))).unwrap();
        fs::write(right.join(format!("{number}.raw")), [number as u8; 10]).unwrap();
    }
    let inputs = [
        input("picture", &[1, 3, 24, 32], DataType::Float32, images(&left)),
        input("vector", &[1, 10], DataType::Uint8, images(&right)),
        input("channels", &[1, 8, 16, 16], DataType::Float16, random(DataType::Float32)),
        input("tokens", &[2, 1, 3, 1, 5], DataType::Int64, random(DataType::Int32)),
        input("scalar", &[], DataType::Float32, random(DataType::Uint8)),
    ];
    let run = || {
        let listings = samples::listings(&inputs, &scratch).unwrap();
        let set = CalibrationSet::new(CalibrationPlan::new(&inputs, &listings, Seed(7)).unwrap());
        set.samples().unwrap().map(Result::unwrap).collect::<Vec<Sample>>()
    };
    let all = run();
    assert_eq!(all, run());
    assert_eq!(all.len(), 3);
    for (number, sample) in all.iter().enumerate() {
        assert_eq!(sample.number, number);
        assert_eq!(sample.tensors["vector"].bytes, [number as u8; 10]);
        for input in &inputs {
            let tensor = &sample.tensors[&input.name];
            assert_eq!((&tensor.shape, Some(tensor.element)), (&input.shape, Element::of(input.data_type)));
            let count: u64 = tensor.shape.iter().product();
            assert_eq!(tensor.bytes.len(), count as usize * tensor.element.size());
        }
        let noise = &sample.tensors["channels"];
        assert!(noise.element.values(&noise.bytes).all(|value| (0.0..=255.0).contains(&value)));
    }
    assert_ne!(all[0].tensors["channels"], all[1].tensors["channels"]);

    fs::remove_file(right.join("3.raw")).unwrap();
    fs::remove_file(right.join("2.raw")).unwrap();
    let listings = samples::listings(&inputs, &scratch).unwrap();
    let error = CalibrationPlan::new(&inputs, &listings, Seed(7)).unwrap_err().to_string();
    for part in ["`vector` has 2 samples in", "ärrays", "`picture` has 3 in", "pic tures"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn half_a_jpeg_is_no_picture() {
    let folder = folder();
    python(
        r#"
import sys
import numpy as np
from PIL import Image
photo = Image.fromarray(np.random.default_rng(3).integers(0, 256, (40, 50, 3), dtype=np.uint8))
photo.save(sys.argv[1] + "/plain.jpg", quality=40)
photo.save(sys.argv[1] + "/progressive.jpg", quality=40, progressive=True)
"#,
        &[folder.path()],
    );
    for name in ["plain.jpg", "progressive.jpg"] {
        let bytes = fs::read(folder.path().join(name)).unwrap();
        assert!(decode::decode(&bytes).is_ok());
        for length in 0..bytes.len() - 8 {
            let cut = decode::decode(&bytes[..length]);
            assert!(cut.is_err(), "{name} of {} bytes, cut to {length}: {cut:?}", bytes.len());
        }
    }
}

#[test]
fn pipes_are_not_waited_for_and_samples_not_overwritten() {
    let folder = folder();
    let pipe = folder.path().join("pipe.png");
    succeed(Command::new("mkfifo").arg(&pipe));
    let said = fail(prepare(folder.path()).args(["pipe.png", "--shape", "1,3,4,4", "--out", "x.npy"]), 3);
    assert!(said.contains("pipe.png") && said.contains("it is no regular file"), "{said}");
    pictures(folder.path());
    let before = fs::read(folder.path().join("good.png")).unwrap();
    let said = fail(prepare(folder.path()).args(["good.png", "--shape", "1,3,4,4", "--out", "./good.png"]), 2);
    assert!(said.contains("./good.png is the sample itself"), "{said}");
    assert_eq!(fs::read(folder.path().join("good.png")).unwrap(), before);
}

#[test]
fn errors_say_which_kind_they_are() {
    assert!(matches!(decode::decode(b""), Err(DecodeError::Empty)));
    let pointer = decode::decode(b"version https://git-lfs.github.com/spec/v1\n").unwrap_err();
    assert!(pointer.to_string().contains("no picture but a Git LFS pointer"), "{pointer}");
    assert!(pointer.hints()[0].contains("git lfs pull"), "{:?}", pointer.hints());
    let cut = decode::decode(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR").unwrap_err();
    assert!(cut.hints()[0].starts_with("copy the file again"), "{cut}: {:?}", cut.hints());
    assert!(matches!(npy::read(b"x"), Err(NpyError::Magic)));
    let missing = samples::list(Path::new("none"), Path::new("none"));
    assert!(matches!(missing, Err(SampleError::Disk(_))));
}
