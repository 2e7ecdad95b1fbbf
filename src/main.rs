//! The `modelconverter` program: call the library, return its status.

fn main() -> std::process::ExitCode {
    modelconverter::run()
}
