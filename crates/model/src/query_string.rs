//! How a parameter is read from a query string: the same way for every parameter, and never by guessing.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::InvalidInput;

/// The decoded value of a parameter that must be there exactly once and not be empty. Others are not looked at.
pub fn required<'a>(
    query: &'a str,
    parameter: &'static str,
    accepted: &'static str,
) -> Result<Cow<'a, str>, InvalidInput> {
    optional(query, parameter, accepted)?.ok_or_else(|| InvalidInput {
        parameter,
        fault: "is missing".to_owned(),
        accepted,
    })
}

pub fn given_twice(parameter: &'static str, accepted: &'static str) -> InvalidInput {
    InvalidInput { parameter, fault: "is given more than once".to_owned(), accepted }
}

/// The decoded value of a parameter that must be there at most once and not be empty.
pub fn optional<'a>(
    query: &'a str,
    parameter: &'static str,
    accepted: &'static str,
) -> Result<Option<Cow<'a, str>>, InvalidInput> {
    let invalid = |fault: &str| InvalidInput { parameter, fault: fault.to_owned(), accepted };
    let mut found = None;
    for pair in query.split('&') {
        // Most pairs are another parameter's, which their first byte says, unless it is encoded.
        if !pair.starts_with('%') && pair.as_bytes().first() != parameter.as_bytes().first() {
            continue;
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if name != parameter && decode(name).as_deref() != Some(parameter) {
            continue;
        }
        if found.replace(value).is_some() {
            return Err(given_twice(parameter, accepted));
        }
    }
    let Some(value) = found else { return Ok(None) };
    match decode(value) {
        None => Err(invalid("is not UTF-8 after percent-decoding")),
        Some(value) if value.is_empty() => Err(invalid("is empty")),
        Some(value) => Ok(Some(value)),
    }
}

/// Undoes percent-encoding, and `+` for a space, as forms and browsers write them. None if the bytes are not UTF-8: two names
/// that differ must never become one.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(Cow::Borrowed(text));
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().ok()?.into_owned();
    Some(Cow::Owned(decoded))
}
