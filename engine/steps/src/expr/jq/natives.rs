//! What we define ourselves in jq: the bounds that keep a program from eating memory.

use jaq_core::native::{Fun, bome, run, v};
use jaq_core::{Cv, Error, Exn, ValXs, data::JustLut, ops::Math};
use jaq_json::{Num, Val};

type Data = JustLut<Val>;

/// Numbers that one `range` may yield.
const MAX_RANGE: f64 = 1_000_000.0;
/// Longest string that `*` may make, in bytes.
const MAX_REPEATED: usize = 16 << 20;

/// Multiplication with bounds; `*` in programs is turned into this.
pub(super) const MULTIPLY: &str = "!multiply";

/// Natives of the library that read clock, zone or environment, or write somewhere.
pub(super) const OFF: &[&str] = &[
    "env",
    "now",
    "localtime",
    "strflocaltime",
    "halt",
    "debug_empty",
    "stderr_empty",
    "input",
    "inputs",
    "input_filename",
    "input_line_number",
    "range",
];

/// Definitions of the library that are made of those.
pub(super) const OFF_DEFINITIONS: &[&str] = &["debug", "stderr", "halt", "halt_error"];

pub(super) fn all() -> impl Iterator<Item = Fun<Data>> {
    let library = jaq_core::funs::<Data>().chain(jaq_std::funs()).chain(jaq_json::funs());
    library.filter(|(name, ..)| !OFF.contains(name)).chain([
        run::<Data>(("range", v(3), |cv| range(cv))),
        run::<Data>((MULTIPLY, v(2), |cv| multiply(cv))),
    ])
}

/// `range($from; $to; $by)`: as the library's, but refused where it would go on for very long.
fn range<'a>(mut cv: Cv<'a, Data>) -> ValXs<'a, Val> {
    let (by, to, from) = (cv.0.pop_var(), cv.0.pop_var(), cv.0.pop_var());
    let number = |value: &Val| match value {
        Val::Num(number) => number.to_string().parse::<f64>().ok(),
        _ => None,
    };
    let Some(((start, end), step)) = number(&from).zip(number(&to)).zip(number(&by)) else {
        return bome(Err(Error::str("range takes numbers")));
    };
    let steps = ((end - start) / step).ceil();
    if steps > MAX_RANGE || (step == 0.0 && start != end) || !(steps.is_finite() || start == end) {
        return bome(Err(Error::str(format_args!("range would yield more than {MAX_RANGE} numbers"))));
    }
    let count = if steps > 0.0 { steps as u64 } else { 0 };
    let mut next = Ok(from);
    Box::new((0..count).map(move |_| {
        let current = std::mem::replace(&mut next, Ok(Val::Null))?;
        next = (current.clone() + by.clone()).map_err(Exn::from);
        Ok(current)
    }))
}

/// As `*`, but strings stay bounded and integers stay within 64 bits (beyond, they become floats, as in jq).
fn multiply<'a>(mut cv: Cv<'a, Data>) -> ValXs<'a, Val> {
    let (right, left) = (cv.0.pop_var(), cv.0.pop_var());
    bome(match (&left, &right) {
        (Val::Num(left), Val::Num(right)) => Ok(Val::Num(product(left, right))),
        (Val::TStr(text), Val::Num(times)) | (Val::Num(times), Val::TStr(text))
            if !fits(text.len(), times) =>
        {
            Err(Error::str(format_args!(
                "a string times {times} would be longer than {} MiB",
                MAX_REPEATED >> 20
            )))
        }
        (Val::BStr(_), _) | (_, Val::BStr(_)) => Err(Error::math(left, Math::Mul, right)),
        _ => left * right,
    })
}

fn fits(length: usize, times: &Num) -> bool {
    match times {
        Num::Int(times) => usize::try_from(*times)
            .unwrap_or(0)
            .checked_mul(length)
            .is_some_and(|total| total <= MAX_REPEATED),
        _ => false,
    }
}

fn product(left: &Num, right: &Num) -> Num {
    let integer = |number: &Num| match number {
        Num::Int(_) | Num::BigInt(_) => number.to_string().parse::<i128>().ok(),
        _ => None,
    };
    if let (Num::Int(left), Num::Int(right)) = (left, right)
        && let Some(product) = left.checked_mul(*right)
    {
        return Num::Int(product);
    }
    let exact = integer(left).zip(integer(right)).and_then(|(left, right)| left.checked_mul(right));
    match exact.map(u64::try_from) {
        Some(Ok(product)) => Num::from_integral(product),
        _ => {
            let float = |number: &Num| number.to_string().parse::<f64>().unwrap_or(f64::NAN);
            Num::Float(float(left) * float(right))
        }
    }
}
