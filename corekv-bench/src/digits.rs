//! Decimal digits of numbers, appended to what is rendered.

/// Numbers below this one, which keys and lengths are as a rule, have at most eight digits.
const SHORT_END: u64 = 100_000_000;

/// Appends a number.
#[inline]
pub(super) fn push_digits(out: &mut Vec<u8>, value: u64) {
    if value >= SHORT_END {
        return push_long(out, value);
    }
    let digits = eight_digits(value);
    // The last digit stays, also of 0.
    let zeros = (digits | 1 << 56).trailing_zeros() / 8;
    let ascii = (digits | 0x3030_3030_3030_3030) >> (8 * zeros);
    let end = out.len() + 8 - zeros as usize;
    out.extend_from_slice(&ascii.to_le_bytes());
    out.truncate(end);
}

#[cold]
fn push_long(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// The digits of a number below [`SHORT_END`], a byte each, the first one in the lowest byte. They are
/// split in halves three times; each time all parts are divided at once, by a multiplication and a shift
/// that are exact for as many digits.
#[inline]
fn eight_digits(value: u64) -> u64 {
    let (high, low) = (value / 10_000, value % 10_000);
    let fours = low << 32 | high;
    let high = ((fours * 10_486) >> 20) & 0x7f_0000_007f;
    let twos = (fours - 100 * high) << 16 | high;
    let high = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    (twos - 10 * high) << 8 | high
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits(value: u64) -> String {
        let mut out = Vec::new();
        push_digits(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn all_parts_of_four_digits_are_exact() {
        for value in 0..10_000 {
            let expected = format!("{value:04}");
            let bytes = (eight_digits(value * 10_000 + 9_999 - value)).to_le_bytes();
            let text: String = bytes.iter().map(|digit| (b'0' + digit) as char).collect();
            assert_eq!(text, format!("{expected}{:04}", 9_999 - value));
        }
    }

    #[test]
    fn numbers_of_every_length_are_whole() {
        let powers = (0..20).map(|power| 10_u64.pow(power));
        for value in powers.flat_map(|power| [power - 1, power, power + 1]).chain([u64::MAX]) {
            assert_eq!(digits(value), value.to_string());
        }
    }
}
