//! The exponential function as a fixed sequence of f64 operations: libraries of mathematics differ
//! in its last bit, this does not.

const LOG2_E: f64 = std::f64::consts::LOG2_E;
/// ln 2 in two parts; the first has zeros at its end, so that its small multiples are exact.
const LN2: [f64; 2] = [6.931_471_803_691_238e-1, 1.908_214_929_270_587_7e-10];
/// 1/k!, from the last term of the series to the first.
const SERIES: [f64; 14] = [
    1.0 / 6_227_020_800.0,
    1.0 / 479_001_600.0,
    1.0 / 39_916_800.0,
    1.0 / 3_628_800.0,
    1.0 / 362_880.0,
    1.0 / 40_320.0,
    1.0 / 5_040.0,
    1.0 / 720.0,
    1.0 / 120.0,
    1.0 / 24.0,
    1.0 / 6.0,
    0.5,
    1.0,
    1.0,
];

/// e^x for `x <= 0`, within 4e-16 of it; 0 below −700 and for what is no number.
pub fn exp_of_negative(x: f64) -> f64 {
    if x.is_nan() || x < -700.0 {
        return 0.0;
    }
    let x = x.min(0.0);
    let k = (x * LOG2_E + 0.5).floor();
    let r = (x - k * LN2[0]) - k * LN2[1];
    let sum = SERIES.iter().fold(0.0, |sum, term| sum * r + term);
    sum * f64::from_bits(((k as i64 + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_exponential_function() {
        for k in 0..7000 {
            let x = -f64::from(k) * 0.1;
            let error = exp_of_negative(x) / x.exp() - 1.0;
            assert!(error.abs() < 4e-16, "{x}: {error}");
        }
        assert_eq!(exp_of_negative(0.0), 1.0);
        assert_eq!(exp_of_negative(f64::NEG_INFINITY), 0.0);
        assert_eq!(exp_of_negative(f64::NAN), 0.0);
    }
}
