//! Inference, constant folding and rewriting, judged by others: by what the node tests of the onnx package record, and by
//! ONNX Runtime, which runs networks before and after.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "surgery/corpus.rs"]
mod corpus;
#[path = "surgery/coverage.rs"]
mod coverage;
#[path = "surgery/pairs.rs"]
mod pairs;
#[path = "surgery/control.rs"]
mod control;
#[path = "surgery/sequences.rs"]
mod sequences;
#[path = "surgery/networks.rs"]
mod networks;
#[path = "surgery/network.rs"]
mod network;
#[path = "surgery/lowering.rs"]
mod lowering;
#[path = "surgery/parts.rs"]
mod parts;
#[path = "surgery/places.rs"]
mod places;
#[path = "surgery/forms.rs"]
mod forms;
#[path = "surgery/updates.rs"]
mod updates;
#[path = "surgery/windows.rs"]
mod windows;
#[path = "surgery/integers.rs"]
mod integers;
#[path = "surgery/runtime.rs"]
mod runtime;
#[path = "surgery/unsigned.rs"]
mod unsigned;
#[path = "surgery/optimizations.rs"]
mod optimizations;
#[path = "support/onnx_builder.rs"]
mod builder;
