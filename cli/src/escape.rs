//! Paths as text: names are bytes, terminals and JSON want characters.
//!
//! One lossless scheme everywhere: printable UTF-8 stays as it is, a backslash is doubled, and every other byte
//! (not UTF-8, or a control character, so that no name can command a terminal) becomes `\xHH`.

use std::fmt::Write as _;

/// The text for these bytes.
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                c if c.is_control() || is_directing(c) => {
                    push_bytes(&mut out, c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                c => out.push(c),
            }
        }
        push_bytes(&mut out, chunk.invalid());
    }
    out
}

/// Text that is already meant for people (a volume's name, a label), made harmless for a terminal.
#[must_use]
pub fn tame(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_directing(c) { '\u{fffd}' } else { c }).collect()
}

/// The bytes of such a text; `None` if a backslash is followed by anything but `\` or `xHH`.
#[must_use]
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = match (first, tail) {
            (b'\\', [b'\\', more @ ..]) => {
                out.push(b'\\');
                more
            }
            (b'\\', [b'x', high, low, more @ ..]) => {
                let digit = |c: u8| char::from(c).to_digit(16);
                out.push(u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?);
                more
            }
            (b'\\', _) => return None,
            _ => {
                out.push(first);
                tail
            }
        };
    }
    Some(out)
}

/// Invisible characters that reorder what follows: a name must not be able to look like another one.
fn is_directing(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn push_bytes(out: &mut String, bytes: &[u8]) {
    for b in bytes {
        // Writing to a String does not fail.
        let _ = write!(out, "\\x{b:02x}");
    }
}

#[cfg(test)]
mod tests;
