//! The pipeline against scripted vendor tools: what it makes of tools that work, fail, hang, die, lie or say nothing.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

#[path = "support/tiny_blob.rs"]
mod tiny_blob;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use modelconverter::config::{self, BlobForm, FrontEnd, FrontEndChoice, Rvc2Options};
use modelconverter::exchange::{
    self, ArtifactKind, Failure, FailureKind, Finding, Order, Outcome, OutputForm, PreprocessingPlace, Report, ToolEnd,
};
use modelconverter::hint::Hint;
use modelconverter::invocation::tools::{Compiler, Dialect, Program, Tools};
use modelconverter::myriad::{Blob, Superblob};
use modelconverter::name::Target;
use modelconverter::pipeline::Workshop;
use modelconverter::pipeline::capacity::Beside;
use modelconverter::pipeline::compile::{CompileError, CompiledModel, Ir, Job, Network, Node, compile};
use modelconverter::pipeline::journal::{Journal, Record};
use modelconverter::pipeline::superblob::ResultError;
use modelconverter::process::{Bounds, Interruption, ProcessError};
use modelconverter::progress::Silent;
use modelconverter::units::{ByteSize, ShaveCount};
use tempfile::TempDir;
use tiny_blob::blob;

/// The start of every fake driver: reads the request, offers `blobs` (all that are wanted) and `tell`.
const DRIVER: &str = r#"
read -r request
pattern=$(printf '%s' "$request" | sed 's/.*"blob":"\([^"]*\)".*/\1/')
wanted=$(printf '%s' "$request" | sed 's/.*"shaves":\[\([^]]*\)\].*/\1/' | tr , ' ')
place() { printf '%s' "$pattern" | sed "s/{shaves}/$1/"; }
tell() { printf '{"event":"compiled","shaves":%s,"path":"%s","peak_memory":1}\n' "$1" "$(place $1)"; }
blobs() { for n in $wanted; do cp "$BLOBS/$n.blob" "$(place $n)"; tell $n; done; }
echo '{"event":"version","inference_engine":"2021.4.2-3976-fake"}'
"#;

/// A fake Model Optimizer that writes an IR where it is told to.
const OPTIMIZER: &str = r#"
while [ $# -gt 0 ]; do
  case "$1" in --output_dir) dir=$2;; --model_name) name=$2;; esac
  shift
done
echo "Model Optimizer version: 	2021.4.2-fake"
echo ir > "$dir/$name.xml"; echo weights > "$dir/$name.bin"
"#;

/// A fake compile tool that writes the blob for the number of shaves in its configuration.
const COMPILE_TOOL: &str = r#"
while [ $# -gt 0 ]; do
  case "$1" in -o) to=$2;; -c) conf=$2;; esac
  shift
done
echo "Inference Engine: IE version ......... 2021.4.0"
echo "Build ........... 2021.4.0-3839-fake"
n=$(sed -n 's/MYRIAD_NUMBER_OF_SHAVES //p' "$conf")
cp "$BLOBS/$n.blob" "$to"
"#;

struct Bench {
    folder: TempDir,
    time: Duration,
    options: Rvc2Options,
    inputs: Vec<(String, Vec<u64>)>,
    tools: Tools,
}

impl Bench {
    /// Sets up a driver and an optimizer that do what these scripts say.
    fn new(driver: &str, optimizer: &str) -> Self {
        let folder = TempDir::new().unwrap();
        for name in ["output", "intermediates", "scratch", "blobs"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        for shaves in 1..=16 {
            fs::write(folder.path().join(format!("blobs/{shaves}.blob")), blob(shaves)).unwrap();
        }
        fs::write(folder.path().join("model.onnx"), b"model").unwrap();
        let tools = Tools {
            format: 1,
            target: Target::Rvc2,
            version: "2021.4.2".parse().unwrap(),
            dialect: Dialect::OpenVino2021,
            model_optimizer: program(folder.path(), "mo", optimizer),
            compiler: Compiler::Driver(program(folder.path(), "driver", &format!("{DRIVER}\n{driver}"))),
            prover: None,
            recorder: None,
        };
        Self {
            folder,
            time: Duration::from_secs(60),
            options: Rvc2Options::default(),
            inputs: vec![("image".to_owned(), vec![1, 3, 4, 5])],
            tools,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self) -> (Result<CompiledModel, CompileError>, Record) {
        let workshop = Workshop {
            tools: self.tools.clone(),
            output: self.path("output"),
            scratch: self.path("scratch"),
            bounds: Bounds { time: self.time, interruption: Interruption::default() },
            progress: &Silent,
            log: &|_| {},
        };
        let journal = Journal::open(&self.path("output"), &self.path("scratch"), &Silent, &|_| {}).unwrap();
        let node = |operator: &str, name: &str, output: &str| Node {
            operator: operator.to_owned(),
            name: name.to_owned(),
            outputs: vec![output.to_owned()],
        };
        let (output, intermediates) = (self.path("output"), self.path("intermediates"));
        let job = Job {
            name: "model",
            ir_name: "model".to_owned(),
            network: Network::Onnx(self.path("model.onnx")),
            for_optimizer: None,
            size: ByteSize::new(5),
            options: &self.options,
            arguments: self.options.compile_tool_args.clone(),
            inputs: self.inputs.clone(),
            outputs: vec![("score".to_owned(), Some(vec![2]))],
            nodes: vec![node("HardSigmoid", "hs_3", "y"), node("IsInf", "test_4", "z"), node("IsInf", "test_9", "w")],
            output: &output,
            intermediates: &intermediates,
            ir: Ir::Written,
            beside: Beside::Nothing,
            foretell: &|_| {},
        };
        let result = compile(&job, &workshop, &journal);
        (result, journal.record())
    }

    fn fails(&self) -> CompileError {
        let (result, _) = self.run();
        result.unwrap_err()
    }
}

fn program(folder: &Path, name: &str, script: &str) -> Program {
    // Started through the shell: a script that was just written may still be open in another test's fork.
    let path = folder.join(name);
    fs::write(&path, script).unwrap();
    let blobs = folder.join("blobs").to_str().unwrap().to_owned();
    let arguments = vec![path.to_str().unwrap().to_owned()];
    Program { program: "/bin/sh".into(), arguments, env: BTreeMap::from([("BLOBS".to_owned(), blobs)]) }
}

fn importer_only(bench: &mut Bench) {
    bench.options.front_end = FrontEndChoice::Only(FrontEnd::Importer);
}

#[test]
fn a_superblob_is_made_checked_and_recorded() {
    let bench = Bench::new("blobs", "exit 9");
    let (result, record) = bench.run();
    let compiled = result.unwrap();
    assert_eq!((compiled.kind, compiled.blob.shaves), (ArtifactKind::Superblob, 8));
    assert_eq!(compiled.front_end.unwrap().front_end, FrontEnd::Importer);
    let bytes = fs::read(bench.path("output/model.superblob")).unwrap();
    let superblob = Superblob::parse(&bytes).unwrap();
    for shaves in ShaveCount::all() {
        assert_eq!(superblob.blob(shaves).unwrap(), blob(u32::from(shaves.get())));
        assert!(bench.path(&format!("intermediates/blobs/model_{shaves}shave.blob")).exists());
        assert_eq!(bench.path(&format!("intermediates/blobs/model_{shaves}shave.patch")).exists(), shaves.get() != 8);
    }
    assert_eq!(record.tools["compile_tool"], "2021.4.2");
    assert_eq!(record.commands["compile_tool"], ["/bin/sh", bench.path("driver").to_str().unwrap()]);
    let request = &record.commands["compile_tool_input"][0];
    assert!(request.contains("\"input_precision\":\"U8\"") && !request.contains("workers"), "{request}");
    let steps: Vec<&str> = record.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(steps, ["compile_tool", "superblob"]);
    assert!(fs::read_to_string(bench.path("output/modelconverter.log")).unwrap().contains("front end: importer"));
    assert_eq!(fs::read_dir(bench.path("scratch")).unwrap().count(), 0);
}

#[test]
fn a_single_blob_is_made() {
    let mut bench = Bench::new("blobs", "exit 9");
    bench.options.blob = BlobForm::Blob(ShaveCount::try_from(6).unwrap());
    let compiled = bench.run().0.unwrap();
    assert_eq!((compiled.kind, compiled.blob.shaves), (ArtifactKind::Blob, 6));
    assert_eq!(Blob::parse(&fs::read(bench.path("output/model.blob")).unwrap()).unwrap(), compiled.blob);
}

#[test]
fn a_compiled_network_of_other_sizes_is_warned_of() {
    let mut bench = Bench::new("blobs", "exit 9");
    assert_eq!(bench.run().1.warnings, [""; 0]);
    bench.inputs = vec![("image".to_owned(), vec![2, 3, 4, 5]), ("mask".to_owned(), vec![1])];
    let expected = [
        "the compiled network takes [1, 3, 4, 5] for input `image`, and not [2, 3, 4, 5]",
        "the compiled network has no input `mask`",
    ];
    assert_eq!(bench.run().1.warnings, expected);
}

#[test]
fn the_compile_tool_of_an_archive_makes_the_same() {
    for form in [BlobForm::Superblob, BlobForm::Blob(ShaveCount::EIGHT)] {
        let mut bench = Bench::new("exit 9", OPTIMIZER);
        bench.options.blob = form;
        bench.tools.compiler = Compiler::CompileTool(program(bench.folder.path(), "compile_tool", COMPILE_TOOL));
        let (result, record) = bench.run();
        let compiled = result.unwrap();
        assert_eq!((compiled.front_end.unwrap().front_end, compiled.blob.shaves), (FrontEnd::Mo, 8));
        assert_eq!(record.tools["compile_tool"], "2021.4.0");
        assert_eq!(record.tools["compile_tool_build"], "2021.4.0-3839-fake");
        assert_eq!(record.tools["model_optimizer"], "2021.4.2-fake");
        let compiles = record.commands.keys().filter(|step| step.starts_with("compile_tool")).count();
        assert_eq!(compiles, if form == BlobForm::Superblob { 16 } else { 1 });
    }
}

#[test]
fn a_failing_driver_is_reported_with_its_last_lines() {
    let mut bench = Bench::new("echo 'Segmentation something' >&2; exit 5", "exit 9");
    importer_only(&mut bench);
    let error = bench.fails();
    let CompileError::Tool(tool) = &error else { panic!("{error:?}") };
    assert!(matches!(tool.failure, ProcessError::Failed { code: 5, .. }));
    assert!(tool.failure.last_lines().iter().any(|line| line == "Segmentation something"));
    assert_eq!(tool.command, ["/bin/sh", bench.path("driver").to_str().unwrap()]);
    assert_eq!(error.to_string(), "the compile driver failed with exit code 5");
}

#[test]
fn a_hanging_driver_is_ended() {
    let mut bench = Bench::new("sleep 1000 & sleep 1000", "exit 9");
    bench.time = Duration::from_millis(200);
    assert!(
        matches!(bench.fails(), CompileError::Tool(tool) if matches!(tool.failure, ProcessError::TimeLimit { .. }))
    );
}

#[test]
fn a_killed_driver_or_compile_speaks_of_memory() {
    for script in ["kill -KILL $$", "echo '{\"event\":\"killed\",\"shaves\":3,\"signal\":9}'; exit 3"] {
        let error = Bench::new(script, "exit 9").fails();
        assert!(error.to_string().contains("killed, probably for memory"), "{error}");
        assert!(error.hints()[0].contains("rvc2.n_workers"));
    }
}

#[test]
fn a_driver_that_makes_nothing_or_too_little_is_caught() {
    let nothing = Bench::new("exit 0", "exit 9").fails();
    assert!(matches!(nothing, CompileError::Result(ResultError::Missing { .. })), "{nothing:?}");
    let mut single = Bench::new("exit 0", "exit 9");
    single.options.blob = BlobForm::Blob(ShaveCount::EIGHT);
    assert!(matches!(single.fails(), CompileError::Result(ResultError::Disk(_))));
    let promised = Bench::new("tell 8", "exit 9").fails();
    assert!(matches!(promised, CompileError::Result(ResultError::Disk(_))), "{promised:?}");
    let one_less = Bench::new("wanted=$(printf '%s' \"$wanted\" | sed 's/ 13//'); blobs", "exit 9").fails();
    assert!(one_less.to_string().contains("no patch for 13 shaves"), "{one_less}");
}

#[test]
fn garbage_and_mistaken_blobs_are_caught() {
    let garbage = Bench::new("for n in $wanted; do echo garbage > \"$(place $n)\"; tell $n; done", "exit 9").fails();
    assert!(matches!(garbage, CompileError::Result(ResultError::Blob { .. })), "{garbage:?}");
    let mistaken = Bench::new("cp \"$BLOBS/8.blob\" \"$BLOBS/7.blob\"; blobs", "exit 9").fails();
    let CompileError::Result(ResultError::Shaves { ordered, found: 8 }) = mistaken else { panic!("{mistaken:?}") };
    assert_eq!(ordered.get(), 7);
    let chatter = Bench::new("echo 'hello there'; blobs", "exit 9").fails();
    assert!(matches!(chatter, CompileError::Language { .. }));
}

#[test]
fn an_unsupported_operator_is_named_with_its_nodes() {
    let layer = r#"printf '%s\n' '{"event":"failed","shaves":8,"message":"x Failed to compile layer \"y\": unsupported layer type \"HardSigmoid\""}'; exit 3"#;
    let mut bench = Bench::new(layer, "exit 9");
    importer_only(&mut bench);
    assert_eq!(
        bench.fails().to_string(),
        "the MYRIAD compiler does not support the operator HardSigmoid (node `hs_3`)"
    );
    let operators = r#"printf '%s\n' '{"event":"unreadable","message":"nGraph does not support the following ONNX operations: IsInf\n"}'; exit 4"#;
    let mut bench = Bench::new(operators, "exit 9");
    importer_only(&mut bench);
    assert_eq!(
        bench.fails().to_string(),
        "the importer does not support the operator IsInf (nodes `test_4`, `test_9`)"
    );
}

#[test]
fn the_optimizer_takes_over_what_the_importer_cannot_read() {
    let script = r#"
case "$request" in
  *'"network":"'*.onnx*) printf '%s\n' '{"event":"unreadable","message":"cannot read this"}'; exit 4;;
  *) blobs;;
esac"#;
    let (result, record) = Bench::new(script, OPTIMIZER).run();
    let front_end = result.unwrap().front_end.unwrap();
    assert_eq!(front_end.front_end, FrontEnd::Mo);
    assert_eq!(front_end.reason, "the importer refuses the network: cannot read this");
    assert!(record.commands.contains_key("model_optimizer"));

    let both = Bench::new(script, "echo '[ ERROR ]  no' ; exit 1").fails();
    assert!(matches!(both, CompileError::Neither { .. }));
    assert!(both.hints().iter().any(|hint| hint.contains("the model optimizer failed with exit code 1")), "{both:?}");
    assert!(matches!(Bench::new(script, "exit 0").fails(), CompileError::Neither { .. }));
}

#[test]
fn a_tool_that_is_missing_is_named() {
    let mut bench = Bench::new("blobs", "exit 9");
    bench.tools.compiler =
        Compiler::Driver(Program { program: "/nonexistent/python".into(), ..program(bench.folder.path(), "x", "") });
    importer_only(&mut bench);
    let error = bench.fails();
    assert!(error.to_string().starts_with("cannot start the compile driver"), "{error}");
}

/// Returns an order to convert the sample with these further lines of configuration.
fn order(form: OutputForm, model: &Path, more: &str) -> Order {
    let text = format!("name: sample\ninput_model: {}\n{more}", model.display());
    let tree = config::yaml::parse(&text, "sample.yaml").unwrap();
    Order {
        version: exchange::VERSION,
        target: Target::Rvc2,
        tool_version: "2021.4.2".parse().unwrap(),
        image: None,
        configuration: config::read::read(&tree).unwrap().config,
        host_paths: BTreeMap::new(),
        source_archive: None,
        main_stage: None,
        notes: vec!["`a` is deprecated".to_owned()],
        form,
        preprocessing: PreprocessingPlace::Model,
        output_folder: "out".parse().unwrap(),
    }
}

fn carry_out(bench: &Bench, order: &Order) -> Report {
    let workshop = Workshop {
        tools: bench.tools.clone(),
        output: bench.path("output"),
        scratch: bench.path("scratch"),
        bounds: Bounds { time: bench.time, interruption: Interruption::default() },
        progress: &Silent,
        log: &|_| {},
    };
    modelconverter::pipeline::run(order, &workshop)
}

fn failure(report: Report) -> Failure {
    match report.outcome {
        Outcome::Failure(failure) => failure,
        Outcome::Success { artifacts } => panic!("{artifacts:?}"),
    }
}

fn sample() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("shared_with_container/models/text_direction");
    folder.join("ch_ppocr_mobile_v2.0_cls_infer.onnx")
}

const SHAPE: &str = "shape: [1, 3, 48, 192]\nmean_values: 127.5\nscale_values: 127.5\n";

#[test]
fn an_order_becomes_a_report_with_everything_in_its_place() {
    let bench = Bench::new("blobs", "exit 9");
    let report = carry_out(&bench, &order(OutputForm::Native, &sample(), SHAPE));
    let Outcome::Success { artifacts } = &report.outcome else { panic!("{report:?}") };
    let kinds: Vec<ArtifactKind> = artifacts.iter().map(|artifact| artifact.kind).collect();
    assert_eq!(kinds, [ArtifactKind::Superblob, ArtifactKind::BuildInfo, ArtifactKind::Configuration]);
    assert_eq!(artifacts[0].path, "ch_ppocr_mobile_v2_0_cls_infer.superblob");
    for file in ["modelconverter.log", "config.yaml", "buildinfo.json", "ch_ppocr_mobile_v2_0_cls_infer.onnx"] {
        assert!(bench.path("output").join(file).exists(), "{file}");
    }
    let intermediates = bench.path("output/intermediate_outputs");
    assert!(intermediates.join("ch_ppocr_mobile_v2_0_cls_infer-modified.onnx").exists());
    let passes: Vec<&str> = report.rewritings.iter().map(|rewriting| rewriting.pass.as_str()).collect();
    assert!(passes.contains(&"input-preprocessing") && passes.contains(&"hard-sigmoid-to-clip"), "{passes:?}");
    let text = fs::read_to_string(bench.path("output/config.yaml")).unwrap();
    let again = config::yaml::parse(&text, "config.yaml").unwrap();
    let again = config::read::read(&again).unwrap().config;
    assert!(bench.path("output").join(again.stages[0].model.path.as_str()).exists());
}

#[test]
fn a_blob_with_other_inputs_is_not_packed() {
    let bench = Bench::new("blobs", "exit 9");
    let failure = failure(carry_out(&bench, &order(OutputForm::NnArchive, &sample(), SHAPE)));
    assert!(failure.messages[0].contains("[\"image\"], but [\"x\"] were ordered"), "{failure:?}");
}

#[test]
fn failures_say_who_can_do_something() {
    let bench = Bench::new("blobs", "exit 9");
    let garbage = bench.path("garbage.onnx");
    fs::write(&garbage, "this is no model").unwrap();
    let cases = [
        (order(OutputForm::Native, &garbage, ""), FailureKind::Project, "cannot read the model"),
        (order(OutputForm::Native, &bench.path("absent.onnx"), ""), FailureKind::Environment, "absent.onnx"),
        (order(OutputForm::Native, &sample(), ""), FailureKind::Project, "x"),
        (
            order(OutputForm::Native, &sample(), "inputs: [{name: picture, shape: [1, 3, 48, 192]}]"),
            FailureKind::Project,
            "`picture`",
        ),
        (
            Order { tool_version: "2022.3.1".parse().unwrap(), ..order(OutputForm::Native, &sample(), SHAPE) },
            FailureKind::Environment,
            "2022.3.1",
        ),
        (Order { target: Target::Rvc4, ..order(OutputForm::Native, &sample(), SHAPE) }, FailureKind::Usage, "rvc4"),
    ];
    for (order, kind, words) in cases {
        let failure = failure(carry_out(&bench, &order));
        assert_eq!(failure.kind, kind, "{failure:?}");
        assert!(failure.messages[0].contains(words), "{failure:?}");
    }
}

#[test]
fn a_failed_tool_stands_in_the_report() {
    let mut bench = Bench::new("echo 'the last line of /inputs/1/a' >&2; exit 5", "exit 9");
    bench.time = Duration::from_secs(60);
    let host_paths = BTreeMap::from([("/inputs/1".to_owned(), "/home/u".to_owned())]);
    let order = Order { host_paths, ..order(OutputForm::Native, &sample(), SHAPE) };
    let failure = failure(carry_out(&bench, &order));
    let tool = failure.tool.unwrap();
    assert_eq!((failure.kind, tool.end), (FailureKind::Environment, ToolEnd::Code(5)));
    assert!(tool.last_lines.contains(&"the last line of /home/u/a".to_owned()));
    assert_eq!(failure.log.as_deref(), Some("modelconverter.log"));
    assert!(!bench.path("output/ch_ppocr_mobile_v2_0_cls_infer.superblob").exists());
}

/// The start of every fake prover: reads the request, offers `compared NETWORK ABSOLUTE RELATIVE COSINE` and `refused
/// NETWORK MESSAGE`.
const PROVER: &str = r#"
read -r request
compared() {
  printf '{"event":"runtime","network":"%s","name":"Fake","version":"1"}\n' "$1"
  printf '{"event":"compared","network":"%s","distance":{"output":"save_infer_model/scale_0.tmp_1",' "$1"
  printf '"elements":4,"differing":0,"absolute":%s,"relative":%s,"cosine":%s,"largest":1.0}}\n' "$2" "$3" "$4"
}
refused() { printf '{"event":"refused","network":"%s","kind":"Fail","message":"%s"}\n' "$1" "$2"; }
"#;

const ALIKE: &str = "compared rewritten 1e-7 1e-6 1.0; compared imported 1e-6 1e-5 0.9999999";

/// Converts the sample with a prover that does what this script says, and this in its configuration.
fn prove(script: &str, more: &str) -> (Bench, Report) {
    prove_in(60, script, more)
}

fn prove_in(seconds: u64, script: &str, more: &str) -> (Bench, Report) {
    let mut bench = Bench::new("blobs", "exit 9");
    bench.tools.prover = Some(program(bench.folder.path(), "prover", &format!("{PROVER}\n{script}")));
    bench.time = Duration::from_secs(seconds);
    let report = carry_out(&bench, &order(OutputForm::Native, &sample(), &format!("{SHAPE}{more}")));
    (bench, report)
}

fn unproven(reason: &str) -> Finding {
    Finding::Unproven { reason: reason.to_owned() }
}

#[test]
fn a_proof_stands_in_report_record_and_log() {
    let (bench, report) = prove(ALIKE, "");
    let Outcome::Success { .. } = &report.outcome else { panic!("{report:?}") };
    let [proof] = &report.proofs[..] else { panic!("{report:?}") };
    assert_eq!((proof.stage.as_str(), proof.samples, proof.seed), ("sample", 2, 0));
    let Finding::Compared(imported) = &proof.imported else { panic!("{proof:?}") };
    assert_eq!((imported.runtime.as_str(), imported.outputs[0].cosine), ("Fake 1", Some(0.9999999)));
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(bench.path("output/buildinfo.json")).unwrap()).unwrap();
    assert_eq!(record["proof"]["rewritten"]["compared"]["outputs"][0]["absolute"], 1e-7, "{record}");
    let request = record["cmd_info"]["proof_input"][0].as_str().unwrap();
    for part in [
        r#""original":"intermediate_outputs/ch_ppocr_mobile_v2_0_cls_infer.onnx""#,
        r#""rewritten":"intermediate_outputs/ch_ppocr_mobile_v2_0_cls_infer-modified.onnx""#,
        r#""reverse":true,"mean":[127.5,127.5,127.5]"#,
    ] {
        assert!(request.contains(part), "{part}: {request}");
    }
    let log = fs::read_to_string(bench.path("output/modelconverter.log")).unwrap();
    assert!(log.contains("is as in the original: cosine 1, largest error 1.0e-7"), "{log}");
}

/// Makes a folder of samples for the sample's input, whose values are all 0, 1, and so on; the one called `2` is broken.
fn samples() -> TempDir {
    let folder = TempDir::new().unwrap();
    for number in [0_u8, 1, 2, 3] {
        let bytes = f32::from(number).to_le_bytes().repeat(if number == 2 { 5 } else { 3 * 48 * 192 });
        fs::write(folder.path().join(format!("{number}.raw")), bytes).unwrap();
    }
    folder
}

#[test]
fn the_first_calibration_samples_are_fed_to_the_networks_too() {
    let samples = samples();
    let path = samples.path().display();
    for (more, expected, words) in [
        (format!("calibration: {{path: {path}}}"), 2, "2 seeded sets of inputs and 2 calibration samples"),
        (
            format!("calibration: {{path: {path}, max_images: 1}}"),
            1,
            "2 seeded sets of inputs and 1 calibration sample",
        ),
        ("calibration: random".to_owned(), 0, "2 seeded sets of inputs"),
    ] {
        let (bench, report) = prove(ALIKE, &more);
        let Outcome::Success { .. } = &report.outcome else { panic!("{report:?}") };
        let proof = &report.proofs[0];
        assert_eq!((proof.samples, proof.calibration_samples), (2, expected), "{more}");
        let record: serde_json::Value =
            serde_json::from_slice(&fs::read(bench.path("output/buildinfo.json")).unwrap()).unwrap();
        assert_eq!(record["proof"]["calibration-samples"], expected, "{record}");
        let request = record["cmd_info"]["proof_input"][0].as_str().unwrap();
        let request: serde_json::Value = serde_json::from_str(request).unwrap();
        let files = |number| serde_json::json!({ "x": format!("intermediate_outputs/samples/{number}-0.npy") });
        let sets: Vec<serde_json::Value> = (0..expected).map(files).collect();
        assert_eq!(request["recorded"].as_array().cloned().unwrap_or_default(), sets);
        for number in 0..expected {
            let made = bench.path(&format!("output/intermediate_outputs/samples/{number}-0.npy"));
            let given = fs::read(samples.path().join(format!("{number}.raw"))).unwrap();
            assert!(fs::read(made).unwrap().ends_with(&given), "{number}");
        }
        let log = fs::read_to_string(bench.path("output/modelconverter.log")).unwrap();
        assert!(log.contains(&format!("compared on {words}\n")), "{log}");
    }
}

#[test]
fn a_folder_without_samples_is_told() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("notes.txt"), "no sample").unwrap();
    let (_, report) = prove(ALIKE, &format!("calibration: {{path: {}}}", folder.path().display()));
    let Outcome::Success { .. } = &report.outcome else { panic!("{report:?}") };
    let warning = format!("input `x` is calibrated with nothing: {} has no samples", folder.path().display());
    assert!(report.warnings.contains(&warning), "{:?}", report.warnings);
}

#[test]
fn a_calibration_sample_that_does_not_fit_ends_the_conversion_before_the_compile() {
    let samples = samples();
    let with = |verification: &str| {
        let path = samples.path().display();
        format!("calibration: {{path: {path}}}\nverification: {{{verification}}}")
    };
    let (bench, report) = prove(ALIKE, &with("samples: 3"));
    let steps: Vec<&str> = report.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(steps, ["load", "rewrite"]);
    let failure = failure(report);
    assert_eq!(failure.kind, FailureKind::Project);
    assert!(failure.messages[1].ends_with("2.raw does not fit the input"), "{failure:?}");
    assert!(failure.messages[2].contains("there are 20 bytes"), "{failure:?}");
    assert!(failure.hints.iter().any(|hint| hint.contains("rvc2.disable_calibration True")), "{failure:?}");
    assert!(!bench.path("output/ch_ppocr_mobile_v2_0_cls_infer.superblob").exists());
    let (_, report) = prove(ALIKE, &(with("samples: 3") + "\nrvc2: {disable_calibration: true}"));
    assert!(matches!(report.outcome, Outcome::Success { .. }), "{report:?}");
    // Whoever wants no proof needs no samples.
    let (_, report) = prove("exit 9", &with("samples: 3, enabled: no"));
    assert!(matches!(report.outcome, Outcome::Success { .. }), "{report:?}");
}

#[test]
fn a_network_that_computes_something_else_is_not_converted() {
    for (script, kind, network, excess) in [
        (
            "compared rewritten 0.5 0.85 0.9964; compared imported 0 0 1",
            FailureKind::Internal,
            "rewritten",
            "cosine 0.9964000 (at least 0.999), relative error 8.50e-1 (at most 0.05)",
        ),
        (
            "compared rewritten 0 0 1; compared imported 0.5 0.06 1",
            FailureKind::Environment,
            "imported",
            "relative error 6.00e-2 (at most 0.05)",
        ),
    ] {
        let (bench, report) = prove(script, "");
        assert_eq!(report.proofs.len(), 1, "what was found is told");
        let failure = failure(report);
        assert_eq!(failure.kind, kind);
        let expected =
            format!("output `save_infer_model/scale_0.tmp_1` of the {network} network is not the original's: {excess}");
        assert_eq!(failure.messages[1], expected);
        assert!(failure.hints.iter().any(|hint| hint.contains("verification.enabled False")), "{failure:?}");
        assert!(!bench.path("output/buildinfo.json").exists());
    }
    let (_, report) = prove(
        "compared rewritten 0.5 0.85 0.9964; compared imported 0 0 1",
        "verification: {cosine: 0.9, relative: 1}",
    );
    assert!(matches!(report.outcome, Outcome::Success { .. }), "so much is allowed: {report:?}");
}

#[test]
fn a_proof_that_cannot_be_made_fails_and_says_why() {
    let misshapen =
        r#"printf '%s\n' '{"event":"misshapen","network":"rewritten","output":"y","expected":[1,2],"found":[2]}'"#;
    for (script, kind, words) in [
        ("exit 7", FailureKind::Environment, "the prover failed with exit code 7"),
        ("kill -SEGV $$", FailureKind::Environment, "the prover was ended by signal 11"),
        ("kill -KILL $$", FailureKind::Environment, "the prover was killed, probably for memory"),
        ("echo noise", FailureKind::Environment, "the prover says something unknown: `noise`"),
        ("compared rewritten 0 0 1", FailureKind::Environment, "the imported network has no output `save_infer_model"),
        ("compared imported 0 0 1", FailureKind::Internal, "the rewritten network has no output `save_infer_model"),
        (misshapen, FailureKind::Internal, "output `y` of the rewritten network has the shape [2] instead of [1, 2]"),
        (
            "refused original 'a wrong shape'",
            FailureKind::Project,
            "ONNX Runtime cannot run the original: a wrong shape",
        ),
        ("refused rewritten 'a wrong shape'", FailureKind::Internal, "but not the rewritten network: a wrong shape"),
    ] {
        let failure = failure(prove(script, "").1);
        assert_eq!(failure.kind, kind, "{script}: {failure:?}");
        assert!(failure.messages[1].contains(words), "{script}: {failure:?}");
    }
}

#[test]
fn a_hanging_prover_is_ended() {
    // Long enough for the compile on the slowest machine.
    let failure = failure(prove_in(6, "sleep 1000 & sleep 1000", "rvc2: {superblob: false}").1);
    assert_eq!(failure.messages[1], "the prover was ended after 6 s, its time limit");
    assert_eq!(failure.tool.unwrap().end, ToolEnd::TimedOut(6000));
    assert!(failure.hints.iter().any(|hint| hint.contains("verification.enabled False")), "{:?}", failure.hints);
}

#[test]
fn what_cannot_be_known_is_stated_instead() {
    let unknown = "ONNX Runtime does not know the original: X is not a registered function/op";
    let (_, report) = prove("refused original 'X is not a registered function/op'", "");
    assert!(matches!(report.outcome, Outcome::Success { .. }), "{report:?}");
    assert_eq!((&report.proofs[0].rewritten, &report.proofs[0].imported), (&unproven(unknown), &unproven(unknown)));
    assert!(report.warnings.iter().any(|warning| warning.contains(unknown)), "{report:?}");

    let (_, report) = prove("compared rewritten 0 0 1; refused imported 'no such layer'", "");
    let reason = "the CPU device cannot run it: no such layer";
    assert_eq!(report.proofs[0].imported, unproven(reason));
    assert!(report.warnings.iter().any(|warning| warning.contains(reason)), "{report:?}");

    // In the words of the vendor's library, less what is about its sources and about this run.
    let script = "compared rewritten 0 0 1; refused imported \"[ X ] /src/graph.cpp:12 cannot load $PWD/a.onnx\"";
    let (bench, report) = prove(script, "");
    let reason = "the CPU device cannot run it: [ X ] cannot load intermediate_outputs/a.onnx";
    assert_eq!(report.proofs[0].imported, unproven(reason));
    let record = fs::read_to_string(bench.path("output/buildinfo.json")).unwrap();
    assert!(record.contains(reason), "{record}");
    let log = fs::read_to_string(bench.path("output/modelconverter.log")).unwrap();
    assert!(log.contains("/src/graph.cpp:12 cannot load"), "the log has all of it: {log}");

    let (_, report) = prove("compared rewritten 0 0 1; echo '{\"event\":\"no-device\",\"message\":\"\"}'", "");
    assert_eq!(report.proofs[0].imported, unproven("this toolchain has no CPU device"));
    let (_, report) = prove("compared rewritten 0 0 1", "verification: {device: false}");
    assert_eq!(report.proofs[0].imported, unproven("`verification.device` is false"));
    let (_, report) = prove("exit 9", "verification: {enabled: no}");
    assert_eq!(report.proofs[0].rewritten, unproven("`verification.enabled` is false"));
    let others = ["input `x`", "output `save_infer_model/scale_0.tmp_1`"];
    let others = others.map(|other| format!("the compiled network has no {other}"));
    assert_eq!(report.warnings, [&["`a` is deprecated".to_owned()][..], &others].concat());

    let bench = Bench::new("blobs", "exit 9");
    let report = carry_out(&bench, &order(OutputForm::Native, &sample(), SHAPE));
    assert_eq!(report.proofs[0].rewritten, unproven("this toolchain has nothing that runs networks"));
}

#[test]
fn an_ir_of_the_optimizer_is_proven_after_it_is_written_with_what_half_precision_allows() {
    let mut bench = Bench::new("blobs", OPTIMIZER);
    // Off by more than single precision allows.
    let script = r#"
case "$request" in
  *'"imported":'*.xml*) compared imported 0.5 0.3 0.995;;
  *) compared rewritten 0 0 1;;
esac"#;
    bench.tools.prover = Some(program(bench.folder.path(), "prover", &format!("{PROVER}\n{script}")));
    let more = format!("{SHAPE}rvc2: {{front_end: mo}}");
    let report = carry_out(&bench, &order(OutputForm::Native, &sample(), &more));
    assert!(matches!(report.outcome, Outcome::Success { .. }), "{report:?}");
    let Finding::Compared(imported) = &report.proofs[0].imported else { panic!("{report:?}") };
    assert_eq!((imported.tolerance.cosine, imported.tolerance.relative), (0.99, 0.5));
    let single = format!("{SHAPE}rvc2: {{front_end: mo, compress_to_fp16: false}}");
    let failure = failure(carry_out(&bench, &order(OutputForm::Native, &sample(), &single)));
    assert!(failure.messages[1].contains("cosine 0.9950000 (at least 0.999)"), "{failure:?}");
}

#[test]
fn a_failed_compile_does_not_wait_for_its_proof() {
    let mut bench = Bench::new("exit 5", "exit 9");
    importer_only(&mut bench);
    bench.tools.prover = Some(program(bench.folder.path(), "prover", "sleep 1000"));
    let failure = failure(carry_out(&bench, &order(OutputForm::Native, &sample(), SHAPE)));
    assert_eq!(failure.tool.unwrap().end, ToolEnd::Code(5));
}
