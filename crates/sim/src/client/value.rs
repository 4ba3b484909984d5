//! Values that are recognised wherever they turn up: `hw:<value, hexadecimal>:<bytes of padding>:<hash>:<padding>`.
//!
//! The hash covers all the rest and the padding follows from the value, so that a byte which is another, is missing or
//! comes from another value shows.

use judge::Value;

const PREFIX: &[u8] = b"hw:";
/// Digits of the number and of the padding's length that are looked at.
const DIGITS_MAX: usize = 16;
const HASH_DIGITS: usize = 8;
const PADDING_BYTES_MAX: usize = 1 << 20;

/// The bytes of a value, `size` of them or, when that is not enough, as few as possible.
pub fn encode(value: Value, size: usize) -> Vec<u8> {
    // A longer length has more digits: it is looked for from above.
    let mut padding = size.min(PADDING_BYTES_MAX);
    let total = |padding: usize| head(value, padding).len() + HASH_DIGITS + 1 + padding;
    while padding > 0 && total(padding) > size {
        padding -= (total(padding) - size).min(padding);
    }
    let (head, tail) = (head(value, padding), padding_of(value, padding));
    let hash = hash(&head, &tail);
    [head.as_bytes(), format!("{hash:08x}:").as_bytes(), &tail].concat()
}

/// The value of these bytes.
///
/// # Errors
/// What is wrong, in words, when they are no value's.
pub fn decode(bytes: &[u8]) -> Result<Value, String> {
    let (value, used) = first(bytes).map_err(|why| format!("{why}: {}", shown(bytes)))?;
    if used != bytes.len() {
        return Err(format!("{} bytes follow value {}: {}", bytes.len() - used, value.0, shown(&bytes[used..])));
    }
    Ok(value)
}

/// All values that lie intact in these bytes, in order.
pub fn find_all(bytes: &[u8]) -> Vec<Value> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(next) = memchr::memmem::find(&bytes[at..], PREFIX) {
        at += next;
        match first(&bytes[at..]) {
            Ok((value, used)) => {
                found.push(value);
                at += used;
            }
            Err(_) => at += PREFIX.len(),
        }
    }
    found
}

/// The value that these bytes begin with, and how many are its.
fn first(bytes: &[u8]) -> Result<(Value, usize), &'static str> {
    let rest = bytes.strip_prefix(PREFIX).ok_or("no value begins here")?;
    let (value, rest) = number(rest, 16, DIGITS_MAX).ok_or("the number is damaged")?;
    let (padding, rest) = number(rest, 10, DIGITS_MAX).ok_or("the length is damaged")?;
    let (stored, rest) = number(rest, 16, HASH_DIGITS).ok_or("the hash is damaged")?;
    let padding = usize::try_from(padding).ok().filter(|padding| *padding <= PADDING_BYTES_MAX);
    let padding = padding.ok_or("the length is absurd")?;
    let tail = rest.get(..padding).ok_or("bytes are missing at the end")?;
    let value = Value(value);
    if u64::from(hash(&head(value, padding), tail)) != stored {
        return Err("the hash differs");
    }
    Ok((value, bytes.len() - rest.len() + padding))
}

fn number(bytes: &[u8], radix: u32, digits_max: usize) -> Option<(u64, &[u8])> {
    let end = bytes.iter().take(digits_max + 1).position(|byte| *byte == b':')?;
    let digits = str::from_utf8(&bytes[..end]).ok()?;
    Some((u64::from_str_radix(digits, radix).ok()?, &bytes[end + 1..]))
}

fn head(value: Value, padding: usize) -> String {
    format!("hw:{:x}:{padding}:", value.0)
}

fn padding_of(value: Value, length: usize) -> Vec<u8> {
    let mut state = value.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let letter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b'a' + (state >> 32) as u8 % 26
    };
    std::iter::repeat_with(letter).take(length).collect()
}

/// FNV-1a, folded.
fn hash(head: &str, tail: &[u8]) -> u32 {
    let hash = head
        .bytes()
        .chain(tail.iter().copied())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (hash ^ (hash >> 32)) as u32
}

fn shown(bytes: &[u8]) -> String {
    format!("{} bytes, \"{}\"", bytes.len(), bytes[..bytes.len().min(48)].escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_at_every_size_and_no_change_of_its_bytes_passes() {
        for size in (0..200).chain([2_000, 100_000]) {
            for value in [1, 0xdead_beef, u64::MAX].map(Value) {
                let bytes = encode(value, size);
                assert_eq!(decode(&bytes), Ok(value));
                let least = encode(value, 0).len();
                // One size in a few cannot be had: a digit more of length would be one byte too many.
                assert!(size < least || size - bytes.len() <= 1, "{size} became {}", bytes.len());
            }
        }
        let bytes = encode(Value(77), 60);
        for at in 0..bytes.len() {
            assert!(decode(&bytes[..at]).is_err() && decode(&bytes[at + 1..]).is_err());
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(decode(&changed).is_err(), "byte {at}");
        }
        assert!(decode(&[&bytes[..], b"x"].concat()).unwrap_err().contains("1 bytes follow value 77"));
    }

    #[test]
    fn values_are_found_among_other_bytes() {
        let (one, two) = (encode(Value(1), 50), encode(Value(2), 20));
        let cut = &encode(Value(3), 50)[..40];
        let bytes = [b"hw:".as_slice(), &one, b"\0hw:x:hw", cut, &two, &one, b"hw:"].concat();
        assert_eq!(find_all(&bytes), [Value(1), Value(2), Value(1)]);
    }
}
