//! What networks look up at computed places, angles, windows and sequences, before and after it is rewritten.

use crate::builder::Node;
use crate::lowering::{Case, case, check};
use crate::network::Network;

const IMAGE: [i64; 4] = [1, 4, 6, 8];

#[test]
fn angles_and_hyperbolas() {
    // Widened, so that some numbers are several turns or far outside, and limited where the function is.
    let of = |operator: &str, factor: f32, limited: bool| {
        let network = Network::new(13, &IMAGE).floats("factor", &[], &[factor]).floats("one", &[], &[1.0]);
        let network = network.apply("Mul", &["x", "factor"], &["a"]);
        let network =
            if limited { network.apply("Tanh", &["a"], &["b"]) } else { network.apply("Identity", &["a"], &["b"]) };
        network.apply(operator, &["b"], &["y"]).bytes(&IMAGE)
    };
    let distant = Network::new(13, &IMAGE)
        .floats("one", &[], &[1.0])
        .apply("Mul", &["x", "x"], &["a"])
        .apply("Add", &["a", "one"], &["b"])
        .apply("Acosh", &["b"], &["y"])
        .bytes(&IMAGE);
    let curve = |name, operator, factor, limited| Case {
        tolerance: 2e-6,
        ..case(name, "curves-to-series", &["Sin", "Cos", "Atan"], of(operator, factor, limited))
    };
    check(&[
        curve("sine", "Sin", 1.0, false),
        curve("sine_of_turns", "Sin", 20.0, false),
        curve("cosine", "Cos", 1.0, false),
        curve("cosine_of_turns", "Cos", 20.0, false),
        curve("tangent", "Tan", 1.0, true),
        curve("arc_sine", "Asin", 1.0, true),
        curve("arc_cosine", "Acos", 1.0, true),
        curve("arc_tangent", "Atan", 5.0, false),
        curve("arc_tangent_near_zero", "Atan", 0.01, false),
        curve("hyperbolic_sine", "Sinh", 1.0, false),
        curve("hyperbolic_sine_near_zero", "Sinh", 0.01, false),
        curve("hyperbolic_cosine", "Cosh", 1.0, false),
        curve("area_sine", "Asinh", 5.0, false),
        curve("area_tangent", "Atanh", 0.9, true),
        Case { tolerance: 2e-6, ..case("area_cosine", "curves-to-series", &["Acosh"], distant) },
    ]);
}
