//! Functions of angles and their inverses, and those of the hyperbola.
//!
//! Angles are brought near 0 with what is left of them after half turns, and a sum of powers does the rest. What the sums
//! leave out is less than single precision rounds.

use super::super::draft::{Draft, Site};
use super::comparisons::{COMPARISONS, magnitude};
use crate::onnx::ElementType;

/// Half a turn in two parts: the first has so few digits that its multiples are exact, also in halves.
const HALF_TURN: [f64; 2] = [3.140_625, std::f64::consts::PI - 3.140_625];

/// The sine of at most a quarter turn divided by its angle, by powers of the angle's square (Taylor's series).
const SINE: [f64; 6] = [1.0, -1.0 / 6.0, 1.0 / 120.0, -1.0 / 5_040.0, 1.0 / 362_880.0, -1.0 / 39_916_800.0];

/// The cosine of at most a quarter turn, by powers of the angle's square (Taylor's series).
const COSINE: [f64; 7] = [1.0, -0.5, 1.0 / 24.0, -1.0 / 720.0, 1.0 / 40_320.0, -1.0 / 3_628_800.0, 1.0 / 479_001_600.0];

/// The angle of a tangent up to 1 divided by it, by powers of its square (Abramowitz and Stegun, 4.4.49).
const ARC_TANGENT: [f64; 9] = [
    1.0,
    -0.333_331_452_8,
    0.199_935_508_5,
    -0.142_088_994_4,
    0.106_562_639_3,
    -0.075_289_640_0,
    0.042_909_613_8,
    -0.016_165_736_7,
    0.002_866_225_7,
];

/// The angle of a cosine of 0 to 1 divided by the root of what the cosine lacks to 1, by powers of the cosine (Abramowitz
/// and Stegun, 4.4.46).
const ARC_COSINE: [f64; 8] = [
    1.570_796_305_0,
    -0.214_598_801_6,
    0.088_978_987_4,
    -0.050_174_304_6,
    0.030_891_881_0,
    -0.017_088_125_6,
    0.006_670_090_1,
    -0.001_262_491_1,
];

const QUARTER_TURN: f64 = std::f64::consts::FRAC_PI_2;

/// The first operator set whose arithmetic broadcasts like NumPy, and whose comparisons take floating numbers.
const NUMPY_BROADCASTING: i64 = 7;

/// How one of two numbers is taken.
#[derive(Clone, Copy)]
struct Sides {
    element: ElementType,
    /// Whether there is `Where`; before, numbers, which have to have an end, are multiplied with 0 or 1.
    chooses: bool,
}

impl Sides {
    fn choice(self, draft: &mut Draft, condition: &str, yes: &str, no: &str) -> String {
        if self.chooses {
            return draft.apply("Where", &[condition, yes, no]);
        }
        let share = draft.cast(condition, self.element);
        let step = draft.binary("Sub", yes, no);
        let step = draft.binary("Mul", &share, &step);
        draft.binary("Add", no, &step)
    }
}

pub(super) fn rewrite(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let element = site.facts.element(input)?;
    if !element.is_float() || site.opset() < NUMPY_BROADCASTING {
        return None;
    }
    let sides = Sides { element, chooses: site.opset() >= COMPARISONS };
    let result = match site.node.op_type() {
        "Sin" => {
            let turns = half_turns(draft, input, 0.5);
            let rest = without_turns(draft, input, &turns);
            let size = odd_series(draft, &rest, &SINE);
            let sign = sign_after(draft, &turns, [1.0, -2.0]);
            draft.binary("Mul", &size, &sign)
        }
        "Cos" => {
            let turns = half_turns(draft, input, 0.0);
            let middle = draft.with_number("Add", &turns, 0.5);
            let rest = without_turns(draft, input, &middle);
            let size = odd_series(draft, &rest, &SINE);
            let sign = sign_after(draft, &turns, [-1.0, 2.0]);
            draft.binary("Mul", &size, &sign)
        }
        "Tan" => {
            let turns = half_turns(draft, input, 0.5);
            let rest = without_turns(draft, input, &turns);
            let sine = odd_series(draft, &rest, &SINE);
            let square = draft.binary("Mul", &rest, &rest);
            let cosine = draft.series(&square, &COSINE);
            draft.binary("Div", &sine, &cosine)
        }
        "Atan" => arc_tangent(draft, input, sides),
        "Acos" => {
            let size = arc_cosine_of_size(draft, input);
            let turned = draft.number(std::f64::consts::PI);
            let turned = draft.binary("Sub", &turned, &size);
            where_negative(draft, input, &turned, &size, sides)
        }
        "Asin" => {
            let complement = arc_cosine_of_size(draft, input);
            let quarter = draft.number(QUARTER_TURN);
            let size = draft.binary("Sub", &quarter, &complement);
            with_sign_of(draft, input, &size, sides)
        }
        "Cosh" => hyperbolic_cosine(draft, input),
        "Sinh" => {
            // The difference of the two powers would say little about numbers near 0.
            let (ratio, cosine) = (draft.unary("Tanh", input), hyperbolic_cosine(draft, input));
            draft.binary("Mul", &ratio, &cosine)
        }
        "Acosh" => {
            let (above, below) = (draft.with_number("Add", input, 1.0), draft.with_number("Sub", input, 1.0));
            let square = draft.binary("Mul", &above, &below);
            let root = draft.unary("Sqrt", &square);
            let sum = draft.binary("Add", input, &root);
            draft.unary("Log", &sum)
        }
        "Asinh" => {
            let size = magnitude(draft, input);
            let square = draft.binary("Mul", input, input);
            let raised = draft.with_number("Add", &square, 1.0);
            let root = draft.unary("Sqrt", &raised);
            let sum = draft.binary("Add", &size, &root);
            let logarithm = draft.unary("Log", &sum);
            with_sign_of(draft, input, &logarithm, sides)
        }
        "Atanh" => {
            let (one, above) = (draft.number(1.0), draft.with_number("Add", input, 1.0));
            let below = draft.binary("Sub", &one, input);
            let ratio = draft.binary("Div", &above, &below);
            let logarithm = draft.unary("Log", &ratio);
            draft.with_number("Mul", &logarithm, 0.5)
        }
        _ => return None,
    };
    draft.yields(&result, output);
    Some(())
}

/// The number of half turns in an angle, after some part of one is added to it.
fn half_turns(draft: &mut Draft, angle: &str, added: f64) -> String {
    let mut turns = draft.with_number("Mul", angle, std::f64::consts::FRAC_1_PI);
    if added != 0.0 {
        turns = draft.with_number("Add", &turns, added);
    }
    draft.unary("Floor", &turns)
}

/// What is left of an angle.
fn without_turns(draft: &mut Draft, angle: &str, turns: &str) -> String {
    HALF_TURN.iter().fold(angle.to_owned(), |angle, part| {
        let taken = draft.with_number("Mul", turns, *part);
        draft.binary("Sub", &angle, &taken)
    })
}

/// A number after an even number of half turns, plus a number for the last one of an odd number of them.
fn sign_after(draft: &mut Draft, turns: &str, [even, step]: [f64; 2]) -> String {
    let half = draft.with_number("Mul", turns, 0.5);
    let whole = draft.unary("Floor", &half);
    let pairs = draft.with_number("Mul", &whole, 2.0);
    let odd = draft.binary("Sub", turns, &pairs);
    let change = draft.with_number("Mul", &odd, step);
    draft.with_number("Add", &change, even)
}

/// A sum of odd powers, from the first on.
fn odd_series(draft: &mut Draft, value: &str, factors: &[f64]) -> String {
    let square = draft.binary("Mul", value, value);
    let sum = draft.series(&square, factors);
    draft.binary("Mul", value, &sum)
}

fn arc_tangent(draft: &mut Draft, input: &str, sides: Sides) -> String {
    let (size, one) = (magnitude(draft, input), draft.number(1.0));
    // The tangent of the angle or of what it lacks to a quarter turn, whichever is less: it is never divided by 0.
    let (less, more) = (draft.clip(&size, [0.0, 1.0]), draft.clip(&size, [1.0, f64::from(f32::MAX)]));
    let tangent = draft.binary("Div", &less, &more);
    let angle = odd_series(draft, &tangent, &ARC_TANGENT);
    let quarter = draft.number(QUARTER_TURN);
    let rest = draft.binary("Sub", &quarter, &angle);
    let is_steep = draft.binary("Greater", &size, &one);
    let angle = sides.choice(draft, &is_steep, &rest, &angle);
    with_sign_of(draft, input, &angle, sides)
}

/// The angle whose cosine is a number without its sign.
fn arc_cosine_of_size(draft: &mut Draft, input: &str) -> String {
    let (size, one) = (magnitude(draft, input), draft.number(1.0));
    let lacking = draft.binary("Sub", &one, &size);
    let root = draft.unary("Sqrt", &lacking);
    let sum = draft.series(&size, &ARC_COSINE);
    draft.binary("Mul", &root, &sum)
}

fn hyperbolic_cosine(draft: &mut Draft, input: &str) -> String {
    let turned = draft.unary("Neg", input);
    let (rising, falling) = (draft.unary("Exp", input), draft.unary("Exp", &turned));
    let sum = draft.binary("Add", &rising, &falling);
    draft.with_number("Mul", &sum, 0.5)
}

fn with_sign_of(draft: &mut Draft, input: &str, size: &str, sides: Sides) -> String {
    let turned = draft.unary("Neg", size);
    where_negative(draft, input, &turned, size, sides)
}

fn where_negative(draft: &mut Draft, input: &str, below: &str, otherwise: &str, sides: Sides) -> String {
    let zero = draft.number(0.0);
    let is_negative = draft.binary("Less", input, &zero);
    sides.choice(draft, &is_negative, below, otherwise)
}
