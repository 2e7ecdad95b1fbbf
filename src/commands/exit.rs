//! Exit codes, documented in the README: kind of failure to code.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use crate::ui::Kind;

/// Returns the exit code of a kind of failure.
pub fn code(kind: Kind) -> ExitCode {
    ExitCode::from(number(kind))
}

/// Does the work of the program. A panic is a fault of the program itself; what it has to say is said already.
pub(super) fn guarded(work: impl FnOnce() -> ExitCode) -> ExitCode {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| code(Kind::Internal))
}

/// Returns the exit code of a kind of failure as a number.
pub(super) const fn number(kind: Kind) -> u8 {
    match kind {
        Kind::Project => 1,
        Kind::Usage => 2,
        Kind::Environment => 3,
        // EX_SOFTWARE of sysexits.h.
        Kind::Internal => 70,
        // 128 + SIGINT, as a shell reports it.
        Kind::Interrupted => 130,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_fault_of_the_program() {
        assert_eq!(guarded(|| panic!("a panic for the test")), ExitCode::from(70));
        assert_eq!(guarded(|| ExitCode::from(3)), ExitCode::from(3));
    }

    #[test]
    fn every_kind_has_its_code() {
        let kinds = [Kind::Project, Kind::Usage, Kind::Environment, Kind::Internal, Kind::Interrupted];
        assert_eq!(kinds.map(number), [1, 2, 3, 70, 130]);
    }
}
