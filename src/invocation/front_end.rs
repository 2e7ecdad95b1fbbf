//! Who reads an ONNX model: the importer inside the Inference Engine, or the Model Optimizer.
//!
//! Owns the choice and its reason. The importer is faster and knows newer operators; the Model Optimizer takes the user's
//! own arguments and knows some recurrent layers that the importer does not.

use thiserror::Error;

use super::tools::Compiler;
use crate::config::{FrontEnd, FrontEndChoice, Rvc2Options};
use crate::hint::Hint;

/// Who reads the model, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The reader.
    pub front_end: FrontEnd,
    /// Why this one.
    pub reason: String,
    /// The reader to try when this one cannot read the model.
    pub otherwise: Option<FrontEnd>,
}

/// A choice that this toolchain does not have.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FrontEndError {
    /// The compile step reads IR only.
    #[error("`rvc2.front_end` is `importer`, but the compile tool of this version reads no ONNX")]
    NoImporter,
    /// The importer takes no arguments.
    #[error("`rvc2.front_end` is `importer`, but {what} only the model optimizer can do")]
    Contradiction {
        /// What cannot be done.
        what: &'static str,
    },
}

impl Hint for FrontEndError {
    fn hints(&self) -> Vec<String> {
        vec!["leave `rvc2.front_end` out, or set it to `mo`".to_owned()]
    }
}

/// Chooses the reader of an ONNX model.
///
/// # Errors
/// The user asks for the importer where it cannot be used.
pub fn choose(options: &Rvc2Options, compiler: &Compiler) -> Result<Chosen, FrontEndError> {
    let importer_reads = matches!(compiler, Compiler::Driver(_));
    let needs_optimizer = (!options.mo_args.is_empty()).then_some("what `rvc2.mo_args` asks for");
    let chosen = |front_end, reason: &str| Chosen { front_end, reason: reason.to_owned(), otherwise: None };
    match (options.front_end, needs_optimizer) {
        (FrontEndChoice::Only(FrontEnd::Mo), _) => Ok(chosen(FrontEnd::Mo, "`rvc2.front_end` is `mo`")),
        (FrontEndChoice::Only(FrontEnd::Importer), _) if !importer_reads => Err(FrontEndError::NoImporter),
        (FrontEndChoice::Only(FrontEnd::Importer), Some(what)) => Err(FrontEndError::Contradiction { what }),
        (FrontEndChoice::Only(FrontEnd::Importer), None) => {
            Ok(chosen(FrontEnd::Importer, "`rvc2.front_end` is `importer`"))
        }
        (FrontEndChoice::Auto, _) if !importer_reads => {
            Ok(chosen(FrontEnd::Mo, "the compile tool of this version reads no ONNX"))
        }
        (FrontEndChoice::Auto, Some(what)) => {
            Ok(chosen(FrontEnd::Mo, &format!("{what} only the model optimizer can do")))
        }
        (FrontEndChoice::Auto, None) => Ok(Chosen {
            front_end: FrontEnd::Importer,
            reason: "the default for ONNX models".to_owned(),
            otherwise: Some(FrontEnd::Mo),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invocation::tools::Program;

    fn program() -> Program {
        Program { program: "/x".into(), arguments: Vec::new(), env: Default::default() }
    }

    fn options(front_end: FrontEndChoice, mo_args: &[&str]) -> Rvc2Options {
        let mo_args = mo_args.iter().map(|word| (*word).to_owned()).collect();
        Rvc2Options { front_end, mo_args, ..Rvc2Options::default() }
    }

    #[test]
    fn the_choice_follows_the_order_of_reasons() {
        let importer = FrontEndChoice::Only(FrontEnd::Importer);
        let mo = FrontEndChoice::Only(FrontEnd::Mo);
        let (driver, tool) = (Compiler::Driver(program()), Compiler::CompileTool(program()));
        let cases = [
            (FrontEndChoice::Auto, &[][..], &driver, Ok(FrontEnd::Importer)),
            (FrontEndChoice::Auto, &["--scale", "2"], &driver, Ok(FrontEnd::Mo)),
            (FrontEndChoice::Auto, &[], &tool, Ok(FrontEnd::Mo)),
            (mo, &[], &driver, Ok(FrontEnd::Mo)),
            (importer, &[], &driver, Ok(FrontEnd::Importer)),
            (importer, &[], &tool, Err(FrontEndError::NoImporter)),
            (
                importer,
                &["--scale"],
                &driver,
                Err(FrontEndError::Contradiction { what: "what `rvc2.mo_args` asks for" }),
            ),
        ];
        for (choice, mo_args, compiler, expected) in cases {
            let found = choose(&options(choice, mo_args), compiler);
            assert_eq!(found.map(|chosen| chosen.front_end), expected, "{choice:?} {mo_args:?}");
        }
    }
}
