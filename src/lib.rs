//! Reproducible edge-AI compiler toolchains as OCI images, and model conversion inside them.
//!
//! A lock decides the bytes, the bytes decide the image, the image and the order decide the result.
//!
//! The modules stand in dependency order, from the ground up: a module may use only modules declared above it. The
//! lower three layers (values, formats, decisions) perform no effects. `tests/layers.rs` checks both.

// Values: quantities and strings with rules.
pub mod hint;
pub mod units;
pub mod digest;
pub mod name;
pub mod image_path;
pub mod entry;
pub mod progress;
pub mod tarball;

// Formats: documents and containers of bytes, read and written.
pub mod block_gzip;
pub mod oci;
pub mod intake;
pub mod debian;
pub mod python;
pub mod archive;
pub mod elf;
pub mod lock;
pub mod recipe;
pub mod sources;
pub mod onnx;
pub mod tflite;
pub mod myriad;
pub mod nn_archive;
pub mod config;
pub mod exchange;

// Decisions: what is to be done, as values.
pub mod translation;
pub mod surgery;
pub mod calibration;
pub mod invocation;
pub mod resolve;
pub mod plan;

// Effects: files, processes, network, containers.
pub mod disk;
pub mod process;
pub mod defaults;
pub mod store;
pub mod fetch;
pub mod remote;
pub mod engine;
pub mod project;

// Operations: decisions carried out.
pub mod pipeline;
pub mod ops;

// Surface: words in, words out.
pub mod ui;
pub mod commands;

use std::env;
use std::process::ExitCode;

/// Runs the program with the arguments of this process.
///
/// The first thing, while there is one thread: if this process was started to become a container, it does.
pub fn run() -> ExitCode {
    engine::embedded::maybe_enter(env::args_os());
    process::keep_freed_memory();
    commands::run(env::args_os())
}
