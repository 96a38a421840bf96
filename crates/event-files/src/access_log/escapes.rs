//! What servers write behind a backslash, so that a client cannot end a quoted field: quotes, and bytes that are not
//! printable.

use std::borrow::Cow;

/// The text as the client sent it.
pub(super) fn unescaped(text: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    if !text.contains(&b'\\') {
        return text;
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = &*text;
    while let Some(at) = rest.iter().position(|&byte| byte == b'\\') {
        plain.extend_from_slice(&rest[..at]);
        let behind = &rest[at + 1..];
        let (byte, length) = match behind {
            [b'x', high, low, ..] if let Some(byte) = byte_of(*high, *low) => (byte, 3),
            [quoted @ (b'"' | b'\'' | b'\\'), ..] => (*quoted, 1),
            [b'n', ..] => (b'\n', 1),
            [b't', ..] => (b'\t', 1),
            [b'r', ..] => (b'\r', 1),
            [b'b', ..] => (0x08, 1),
            [b'v', ..] => (0x0b, 1),
            _ => (b'\\', 0),
        };
        plain.push(byte);
        rest = &behind[length..];
    }
    plain.extend_from_slice(rest);
    Cow::Owned(plain)
}

/// JSON whose texts have bytes as `\xHH`, which is no JSON, with these bytes themselves.
pub(super) fn without_x(json: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.iter().position(|&byte| byte == b'\\') {
        plain.extend_from_slice(&rest[..at]);
        let behind = &rest[at + 1..];
        rest = match behind {
            [b'x', high, low, after @ ..] if let Some(byte) = byte_of(*high, *low) => {
                match byte {
                    b'"' | b'\\' => plain.extend([b'\\', byte]),
                    0..0x20 => plain.extend(format!("\\u{byte:04x}").bytes()),
                    _ => plain.push(byte),
                }
                after
            }
            [escaped, after @ ..] => {
                plain.extend([b'\\', *escaped]);
                after
            }
            [] => {
                plain.push(b'\\');
                behind
            }
        };
    }
    plain.extend_from_slice(rest);
    plain
}

/// The byte of two hexadecimal digits.
fn byte_of(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::{unescaped, without_x};

    #[test]
    fn a_text_is_what_the_client_sent() {
        for (written, sent) in [
            (&b"Firefox"[..], &b"Firefox"[..]),
            (br#"say \"hello\""#, br#"say "hello""#),
            (br"a backslash \\", br"a backslash \"),
            (br"\\x41", br"\x41"),
            (br"b\xC3\xBCcher \x22a\x5cb\x22", "bücher \"a\\b\"".as_bytes()),
            (br"\xff", b"\xff"),
            (br"a\tb\nc", b"a\tb\nc"),
            (br"\xg0 \x4", br"\xg0 \x4"),
            (br"\d \", br"\d \"),
        ] {
            let seen = unescaped(written.into());
            assert_eq!(*seen, *sent, "{}", String::from_utf8_lossy(written));
        }
    }

    #[test]
    fn bytes_within_json_are_what_the_client_sent() {
        for (written, json) in [
            (&br#"{"a":"b\xC3\xBC\"c\\x41"}"#[..], "{\"a\":\"bü\\\"c\\\\x41\"}".as_bytes()),
            (br#"{"a":"\x22\x5C\x0A\xff"}"#, b"{\"a\":\"\\\"\\\\\\u000a\xff\"}"),
            (br"\", br"\"),
        ] {
            assert_eq!(without_x(written), json, "{}", String::from_utf8_lossy(written));
        }
    }
}
