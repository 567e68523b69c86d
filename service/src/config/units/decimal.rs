//! Exact decimal numbers with a unit behind them: `1.5GiB` is 1610612736, nothing is rounded.

/// Why a number with a unit has no value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Problem {
    /// Not digits, or not with a known unit.
    Form,
    /// A fraction of what the type counts.
    NotWhole,
    /// More than the type holds.
    TooLarge,
}

/// How much one of the unit is: `numerator / denominator` of what the type counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Factor {
    pub(super) numerator: u64,
    pub(super) denominator: u64,
}

impl Factor {
    pub(super) const fn whole(numerator: u64) -> Self {
        Self { numerator, denominator: 1 }
    }
}

/// Splits `text` where its number ends: digits, and a fraction if it has one. Spaces between the
/// number and the rest are dropped.
pub(super) fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    (number, rest.trim_start_matches(' '))
}

/// `number` times `factor`, exactly.
pub(super) fn scale(number: &str, factor: Factor) -> Result<u64, Problem> {
    /// Digits behind the point beyond these cannot make a whole number of anything we count.
    const MAX_FRACTION_DIGITS: usize = 15;
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return Err(Problem::Form),
        None => (number, ""),
    };
    let fraction = fraction.trim_end_matches('0');
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return Err(Problem::Form);
    }
    if fraction.len() > MAX_FRACTION_DIGITS {
        return Err(Problem::NotWhole);
    }
    // Digits only, so a failure to parse is an overflow of u64.
    let whole: u64 = whole.parse().map_err(|_| Problem::TooLarge)?;
    let tens = 10u128.pow(fraction.len() as u32);
    let part: u128 = if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| Problem::TooLarge)? };
    let scaled = (u128::from(whole) * tens + part).checked_mul(u128::from(factor.numerator)).ok_or(Problem::TooLarge)?;
    let divisor = tens * u128::from(factor.denominator);
    if !scaled.is_multiple_of(divisor) {
        return Err(Problem::NotWhole);
    }
    u64::try_from(scaled / divisor).map_err(|_| Problem::TooLarge)
}

/// The shortest of `value` in each of `units` that expresses it exactly; the first one wins a tie.
pub(super) fn shortest(value: u64, units: &[(&'static str, Factor)]) -> (u128, &'static str) {
    let mut best = (u128::MAX, "");
    for &(name, factor) in units {
        let parts = u128::from(value) * u128::from(factor.denominator);
        let unit = u128::from(factor.numerator);
        if parts.is_multiple_of(unit) && parts / unit < best.0 {
            best = (parts / unit, name);
        }
    }
    best
}
