//! Runs a program in a container made of folders: `container SCRATCH TREE... -- PROGRAM ARGUMENT...`, lowest tree
//! first. The benchmark `benches/engine` measures with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use modelconverter::digest::Digest;
use modelconverter::engine::embedded::{Embedded, maybe_enter};
use modelconverter::engine::{
    ContainerRun, Engine, Limits, Network, OutputLines, OutputStream, RunnableImage, Status, Terminal,
};

struct Printed;

impl OutputLines for Printed {
    #[expect(clippy::print_stdout, clippy::print_stderr, reason = "an example speaks for itself")]
    fn line(&self, stream: OutputStream, line: &str) {
        match stream {
            OutputStream::Stdout => println!("{line}"),
            OutputStream::Stderr => eprintln!("{line}"),
        }
    }
}

#[expect(clippy::print_stderr, reason = "an example speaks for itself")]
fn main() -> ExitCode {
    maybe_enter(std::env::args_os());
    let mut arguments = std::env::args().skip(1);
    let Some(scratch) = arguments.next() else {
        eprintln!("usage: container SCRATCH TREE... -- PROGRAM ARGUMENT...");
        return ExitCode::from(2);
    };
    let trees = arguments.by_ref().take_while(|argument| argument != "--").map(PathBuf::from).collect();
    let Ok(working_folder) = "tmp".parse() else { return ExitCode::from(2) };
    let run = ContainerRun {
        image: RunnableImage {
            id: Digest::of(b"an example"),
            reference: "example:latest".to_owned(),
            trees,
            env: BTreeMap::new(),
            archive: None,
        },
        program: arguments.collect(),
        env: BTreeMap::new(),
        working_folder,
        mounts: Vec::new(),
        limits: Limits::default(),
        network: Network::None,
        terminal: Terminal::Piped,
    };
    match Embedded::new(Path::new(&scratch)).run(&run, &Printed) {
        Ok(outcome) => match outcome.status {
            Status::Code(code) => ExitCode::from(code as u8),
            Status::Signal(signal) | Status::Interrupted(signal) => ExitCode::from(128 + signal as u8),
            Status::KilledForMemory => ExitCode::from(137),
        },
        Err(error) => {
            eprintln!("{error}: {:?}", std::error::Error::source(&error));
            ExitCode::from(error.exit_code().unwrap_or(1))
        }
    }
}
