//! Comma-separated lists of field values (RFC 9110 §5.6.1) and the quoted strings in them (§5.6.4).

/// The elements of a list without the white space around them, empty ones skipped. A comma within
/// a quoted string divides nothing; a string without an end goes on to the end of the value.
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let divides = move |&byte: &u8| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match byte {
            b'\\' if is_quoted && !was_escaped => is_escaped = true,
            b'"' if !was_escaped => is_quoted = !is_quoted,
            _ => {}
        }
        byte == b',' && !is_quoted
    };
    value.split(divides).map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// A number that stands alone or in a quoted string; one that a `u32` does not hold is cut to what
/// it holds. `None` for anything else.
pub(super) fn number(argument: &[u8]) -> Option<u32> {
    let (digits, is_quoted) = match argument {
        [b'"', digits @ .., b'"'] => (digits, true),
        digits => (digits, false),
    };
    let (mut number, mut is_escaped) = (None, false);
    for &byte in digits {
        if byte == b'\\' && is_quoted && !is_escaped {
            is_escaped = true;
            continue;
        }
        is_escaped = false;
        let digit = byte.is_ascii_digit().then(|| u32::from(byte - b'0'))?;
        number = Some(number.unwrap_or(0u32).saturating_mul(10).saturating_add(digit));
    }
    // What is escaped last is the closing quote, and the string has no end.
    number.filter(|_| !is_escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_divide_outside_of_quoted_strings() {
        for (value, expected) in [
            ("", &[][..]),
            (" , ,", &[]),
            ("a,b , c", &["a", "b", "c"]),
            ("a=\"b, c\", d", &["a=\"b, c\"", "d"]),
            (r#"a="b\", c", d"#, &[r#"a="b\", c""#, "d"]),
            (r#"a="b\\", c"#, &[r#"a="b\\""#, "c"]),
            (r"a\, b", &[r"a\", "b"]),
            ("a=\"b, c", &["a=\"b, c"]),
            ("\"\",a", &["\"\"", "a"]),
        ] {
            let elements: Vec<_> = elements(value.as_bytes()).collect();
            let expected: Vec<_> = expected.iter().map(|element| element.as_bytes()).collect();
            assert_eq!(elements, expected, "{value}");
        }
    }

    #[test]
    fn numbers_may_be_quoted() {
        for (text, expected) in [
            ("0", 0),
            ("007", 7),
            ("4294967295", u32::MAX),
            ("4294967296", u32::MAX),
            ("99999999999999999999999", u32::MAX),
            ("\"60\"", 60),
            (r#""\6\0""#, 60),
        ] {
            assert_eq!(number(text.as_bytes()), Some(expected), "{text}");
        }
        for text in [
            "", "\"", "\"\"", "x", "-1", "1.5", "1\"", "\"1", r"\1", r#""1\""#, r#""\\1""#,
            "\"1\"1",
        ] {
            assert_eq!(number(text.as_bytes()), None, "{text}");
        }
    }
}
