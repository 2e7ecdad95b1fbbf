//! Activation functions.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use super::super::build::float;
use super::super::draft::{Draft, Site};

pub(super) fn rewrite(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let result = match site.node.op_type() {
        "HardSwish" => {
            // The compiler knows this chain and makes one layer of it.
            let shifted = draft.with_number("Add", input, 3.0);
            let gate = draft.clip(&shifted, [0.0, 6.0]);
            let product = draft.binary("Mul", input, &gate);
            draft.with_number("Mul", &product, 1.0 / 6.0)
        }
        "Mish" => {
            let soft = draft.unary("Softplus", input);
            let gate = draft.unary("Tanh", &soft);
            draft.binary("Mul", input, &gate)
        }
        "Swish" => {
            let alpha = site.float("alpha", 1.0);
            let scaled = if alpha == 1.0 { input.to_owned() } else { draft.with_number("Mul", input, alpha) };
            let gate = draft.unary("Sigmoid", &scaled);
            draft.binary("Mul", input, &gate)
        }
        "SwiGLU" => {
            let gate = draft.apply_with("Swish", &[input], site.node.attribute.clone());
            draft.binary("Mul", &gate, site.input(1)?)
        }
        "LeakyRelu" => {
            let slope = site.float("alpha", 0.01);
            if (0.0..=1.0).contains(&slope) {
                return None;
            }
            let slope = draft.floats(&[1], &[slope]);
            draft.apply("PRelu", &[input, &slope])
        }
        "Gelu" => {
            let inner = if site.text("approximate", "none") == "tanh" {
                let square = draft.binary("Mul", input, input);
                let cube = draft.binary("Mul", &square, input);
                let bent = draft.with_number("Mul", &cube, 0.044_715);
                let sum = draft.binary("Add", input, &bent);
                let scaled = draft.with_number("Mul", &sum, (2.0 / PI).sqrt());
                draft.unary("Tanh", &scaled)
            } else {
                let scaled = draft.with_number("Mul", input, FRAC_1_SQRT_2);
                draft.unary("Erf", &scaled)
            };
            let raised = draft.with_number("Add", &inner, 1.0);
            let product = draft.binary("Mul", input, &raised);
            draft.with_number("Mul", &product, 0.5)
        }
        "Selu" => {
            let alpha = site.float("alpha", 1.673_263_2) as f32;
            let bent = draft.apply_with("Elu", &[input], vec![float("alpha", alpha)]);
            draft.with_number("Mul", &bent, site.float("gamma", 1.050_701))
        }
        "Celu" => {
            let alpha = site.float("alpha", 1.0);
            let scaled = draft.with_number("Mul", input, 1.0 / alpha);
            let bent = draft.apply_with("Elu", &[&scaled], vec![float("alpha", 1.0)]);
            draft.with_number("Mul", &bent, alpha)
        }
        _ => return None,
    };
    draft.yields(&result, output);
    Some(())
}
