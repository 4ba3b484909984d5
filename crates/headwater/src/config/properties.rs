//! Java's properties files, as `java.util.Properties.load` reads them and `store` writes them.
//!
//! A logical line is a key, then `=`, `:` or white space, then the value. A line that ends in an odd number of backslashes
//! goes on in the next one, whose leading white space does not count; `#` and `!` begin a comment only where a logical
//! line would begin. A backslash makes an ordinary character of what follows it, `\t`, `\n`, `\r` and `\f` name a
//! character, `\uXXXX` is a UTF-16 unit.
//!
//! Java reads bytes as ISO 8859-1. Here a file that is valid UTF-8 is read as such, as whoever wrote it meant; only a file
//! that is not is read as Java reads it. For plain ASCII, all that Java's own `store` writes, both are the same.

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// The line, from 1, on which it begins.
    pub line: usize,
    pub key: String,
    /// Without the white space before it; what follows it belongs to it, as in Java.
    pub value: String,
}

/// A file that Java refuses too, or one that does not spell text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("line {line}: \\u takes four hexadecimal digits; a plain backslash is written twice")]
    Escape { line: usize },
    #[error("line {line}: a \\u escape names half of a character, and the other half is missing")]
    Surrogate { line: usize },
}

const BACKSLASH: u16 = b'\\' as u16;

/// Reads a file, every key in the order in which it stands there.
pub fn parse(file: &[u8]) -> Result<Vec<Property>, Malformed> {
    let text = match std::str::from_utf8(file) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text).to_owned(),
        Err(_) => file.iter().copied().map(char::from).collect(),
    };
    let properties = logical_lines(&text).into_iter().map(|(line, text)| {
        let (key, value) = split(&text);
        Ok(Property { line, key: unescape(key, line)?, value: unescape(value, line)? })
    });
    properties.collect()
}

/// The logical lines that are no comments, with their numbers. Lines are in UTF-16, of which `\uXXXX` spells one unit.
fn logical_lines(text: &str) -> Vec<(usize, Vec<u16>)> {
    let natural = text.replace("\r\n", "\n");
    let (mut lines, mut logical, mut first) = (Vec::new(), Vec::new(), 0);
    for (natural, number) in natural.split(['\n', '\r']).zip(1..) {
        let part = natural.trim_start_matches([' ', '\t', '\u{c}']);
        if logical.is_empty() {
            if part.is_empty() || part.starts_with(['#', '!']) {
                continue;
            }
            first = number;
        }
        let backslashes = part.len() - part.trim_end_matches('\\').len();
        let goes_on = backslashes % 2 == 1;
        logical.extend(part[..part.len() - usize::from(goes_on)].encode_utf16());
        if !goes_on {
            lines.push((first, std::mem::take(&mut logical)));
        }
    }
    if !logical.is_empty() {
        lines.push((first, logical));
    }
    lines
}

/// Key and value, as they are written.
fn split(line: &[u16]) -> (&[u16], &[u16]) {
    let is_blank = |unit: u16| matches!(u8::try_from(unit), Ok(b' ' | b'\t' | 0x0c));
    let is_separator = |unit: u16| matches!(u8::try_from(unit), Ok(b'=' | b':'));
    let mut escaped = false;
    let key_ends = |unit: &u16| {
        let ends = !escaped && (is_blank(*unit) || is_separator(*unit));
        escaped = !escaped && *unit == BACKSLASH;
        ends
    };
    let (key, rest) = line.split_at(line.iter().position(key_ends).unwrap_or(line.len()));
    let skip_blanks = |units: &[u16]| units.iter().take_while(|unit| is_blank(**unit)).count();
    let rest = &rest[skip_blanks(rest)..];
    let rest = rest.split_first().filter(|(unit, _)| is_separator(**unit)).map_or(rest, |(_, rest)| rest);
    (key, &rest[skip_blanks(rest)..])
}

fn unescape(written: &[u16], line: usize) -> Result<String, Malformed> {
    let (mut units, mut text) = (written.iter().copied(), Vec::with_capacity(written.len()));
    while let Some(unit) = units.next() {
        if unit != BACKSLASH {
            text.push(unit);
            continue;
        }
        let Some(escaped) = units.next() else { break };
        text.push(match u8::try_from(escaped) {
            Ok(b't') => u16::from(b'\t'),
            Ok(b'n') => u16::from(b'\n'),
            Ok(b'r') => u16::from(b'\r'),
            Ok(b'f') => 0x0c,
            Ok(b'u') => {
                let digit = |unit: u16| char::from_u32(unit.into()).and_then(|c| c.to_digit(16));
                let digits = (0..4).map(|_| units.next().and_then(digit));
                let number = digits.reduce(|number, digit| Some(number? * 16 + digit?)).flatten();
                number.and_then(|number| u16::try_from(number).ok()).ok_or(Malformed::Escape { line })?
            }
            _ => escaped,
        });
    }
    String::from_utf16(&text).map_err(|_| Malformed::Surrogate { line })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// What `java.util.Properties` of JDK 17 reads: made by `java tests/golden/PropertiesCases.java`.
    const CASES: &str = include_str!("../../tests/golden/properties.txt");

    /// A field of [`CASES`], whose escapes are a part of ours.
    fn field(text: &str) -> String {
        unescape(&text.encode_utf16().collect::<Vec<_>>(), 0).unwrap()
    }

    #[test]
    fn files_are_read_as_java_reads_them() {
        for case in CASES.lines() {
            let mut fields = case.split('|').map(field);
            let (file, rest): (String, Vec<String>) = (fields.next().unwrap(), fields.collect());
            let read = parse(file.as_bytes());
            if rest == ["malformed"] {
                assert!(matches!(read, Err(Malformed::Escape { .. })), "{case}: {read:?}");
                continue;
            }
            let expected: BTreeMap<String, String> = rest.chunks(2).map(|p| (p[0].clone(), p[1].clone())).collect();
            let read = read.unwrap_or_else(|error| panic!("{case}: {error}"));
            let read: BTreeMap<String, String> = read.into_iter().map(|p| (p.key, p.value)).collect();
            assert_eq!(read, expected, "{case}");
        }
        assert!(CASES.lines().count() > 600);
    }

    #[test]
    fn a_property_knows_the_line_on_which_it_begins() {
        let read = parse(b"# c\r\n\r\na=1\\\r\n  2\rb=3\n").unwrap();
        let lines: Vec<(usize, &str)> = read.iter().map(|p| (p.line, p.value.as_str())).collect();
        assert_eq!(lines, [(3, "12"), (5, "3")]);
        assert_eq!(parse(b"\n a=\\u00").unwrap_err(), Malformed::Escape { line: 2 });
        assert_eq!(parse(b"a=\\ud83d").unwrap_err(), Malformed::Surrogate { line: 1 });
    }

    #[test]
    fn text_beyond_ascii_is_utf_8_or_else_iso_8859_1() {
        let value = |file: &[u8]| parse(file).unwrap().remove(0).value;
        assert_eq!(value("r=Zürich 😀".as_bytes()), "Zürich 😀");
        assert_eq!(value(b"r=Z\xfcrich"), "Zürich");
        assert_eq!(parse(b"\xef\xbb\xbfr=1").unwrap()[0].key, "r");
    }
}
