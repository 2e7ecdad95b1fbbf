//! Bad input and bad days, through the program: each ends with words that help, the documented exit code, the same as a
//! document under `--json`, and nothing left behind.
//!
//! The vendor's tools are made up (see `bad_days/toolchain.rs`), so that they can fail on demand; lock, download,
//! assembly, containers and pipeline are the product's own. What is tested elsewhere is not repeated here:
//!
//! | bad day | test |
//! | --- | --- |
//! | server that ignores ranges, changes the file, lies about a part | `tests/fetch.rs`: `a_server_that_ignores_ranges_begins_again` and after |
//! | 429, 500, 503, `Retry-After` | `tests/fetch.rs`: `a_server_in_trouble_is_asked_again`, `a_server_that_asks_for_too_much_patience_is_left` |
//! | timeout, silence | `tests/fetch.rs`: `a_server_that_falls_silent_is_asked_for_the_rest` |
//! | secrets in errors | `tests/fetch.rs`: `no_secret_is_in_an_error_or_an_event` |
//! | kill -9 while downloading, a rival that is killed | `tests/crash.rs`: `a_download_killed_in_the_middle_goes_on`, `a_process_whose_rival_is_killed_takes_over` |
//! | a store whose users die at any moment | `tests/crash.rs`: `a_store_whose_users_are_killed_at_any_moment_stays_whole` |
//! | more bytes than any archive may hold, member by member | `src/intake/tar.rs`, `src/python/wheel.rs` |
//! | every kind of broken ONNX | `src/onnx/tests.rs` |
//! | every problem of a configuration | `tests/config.rs` and `tests/data/config/invalid` |
//! | a compile that is killed alone, a driver that lies | `tests/pipeline.rs` |
//! | containers whose engine dies | `tests/engine.rs`: `nothing_survives_the_death_of_the_engine` |
//! | a kernel that forbids user namespaces, no daemon | `tests/engine.rs` |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

#[path = "support/onnx_builder.rs"]
mod onnx_builder;
#[path = "support/server.rs"]
mod server;
#[path = "support/tiny_blob.rs"]
mod tiny_blob;

#[path = "bad_days/check.rs"]
mod check;
#[path = "bad_days/toolchain.rs"]
mod toolchain;

#[path = "bad_days/ends.rs"]
mod ends;
#[path = "bad_days/inputs.rs"]
mod inputs;
#[path = "bad_days/machine.rs"]
mod machine;
#[path = "bad_days/packages.rs"]
mod packages;
#[path = "bad_days/tools.rs"]
mod tools;
