//! The parameters of a connection string, in both of its forms: a URL, and `key=value` pairs.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

/// Splits the named parameters off a connection string, and returns what is left with their values. Of a parameter that is given twice the last counts,
/// as with libpq.
pub(super) fn take(text: &str, names: &[&'static str]) -> (String, BTreeMap<&'static str, String>) {
    match query_start(text) {
        Some(at) => take_from_query(text, at, names),
        None if text.contains("://") => (text.to_owned(), BTreeMap::new()),
        None => take_from_pairs(text, names),
    }
}

/// Where the `?` of a URL stands. The driver takes the first `@` for the end of the password, which may hold a `?`.
fn query_start(text: &str) -> Option<usize> {
    let authority = text.find("://")? + "://".len();
    let host = text[authority..].find('@').map_or(authority, |at| authority + at + 1);
    text[host..].find('?').map(|at| host + at)
}

fn take_from_query(url: &str, start: usize, names: &[&'static str]) -> (String, BTreeMap<&'static str, String>) {
    let mut taken = BTreeMap::new();
    let mut others = Vec::new();
    for pair in url[start + 1..].split('&') {
        let known = pair.split_once('=').and_then(|(key, value)| Some((named(names, key)?, value)));
        match known {
            Some((name, value)) => {
                taken.insert(name, percent_decode_str(value).decode_utf8_lossy().into_owned());
            }
            None => others.push(pair),
        }
    }
    let rest =
        if others.is_empty() { url[..start].to_owned() } else { format!("{}?{}", &url[..start], others.join("&")) };
    (rest, taken)
}

fn take_from_pairs(text: &str, names: &[&'static str]) -> (String, BTreeMap<&'static str, String>) {
    let mut taken = BTreeMap::new();
    let mut others = String::new();
    let mut rest = text;
    while let Some((key, behind)) = rest.split_once('=') {
        let behind = behind.trim_start();
        let (value, next) = behind.split_at(value_length(behind));
        match named(names, key.trim()) {
            Some(name) => {
                taken.insert(name, unquoted(value));
            }
            None => others.extend([key, "=", value]),
        }
        rest = next;
    }
    others.push_str(rest);
    (others, taken)
}

fn named(names: &[&'static str], key: &str) -> Option<&'static str> {
    names.iter().copied().find(|name| *name == key)
}

/// How long the value is that a text of pairs begins with: up to a blank, or to the end of its quotes. A backslash takes away the meaning of what
/// follows it.
pub(super) fn value_length(value: &str) -> usize {
    let is_quoted = value.starts_with('\'');
    let mut is_escaped = false;
    for (place, character) in value.char_indices().skip(usize::from(is_quoted)) {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '\'' if is_quoted => return place + 1,
            _ if !is_quoted && character.is_whitespace() => return place,
            _ => {}
        }
    }
    value.len()
}

fn unquoted(value: &str) -> String {
    let inner = value.strip_prefix('\'').map_or(value, |inner| inner.strip_suffix('\'').unwrap_or(inner));
    let mut characters = inner.chars();
    let mut text = String::new();
    while let Some(character) = characters.next() {
        text.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::take;

    #[test]
    fn parameters_are_taken_from_both_forms_and_the_rest_stays() {
        for (text, rest, value) in [
            ("postgres://ann:a?b@h/db?sslcert=%2Fa%20b&x=y", "postgres://ann:a?b@h/db?x=y", Some("/a b")),
            ("postgres://h/db?sslcert=/a&sslcert=/b", "postgres://h/db", Some("/b")),
            ("postgres://ann:sslcert=x@h/db", "postgres://ann:sslcert=x@h/db", None),
            ("postgres://h/db?sslcertificate=/a", "postgres://h/db?sslcertificate=/a", None),
            ("host=h sslcert = '/it\\'s here' user=ann", "host=h user=ann", Some("/it's here")),
            ("password='sslcert=x' host=h", "password='sslcert=x' host=h", None),
            ("sslcert=/a\\ b", "", Some("/a b")),
        ] {
            let (left, taken) = take(text, &["sslcert"]);
            assert_eq!((left.trim(), taken.get("sslcert").map(String::as_str)), (rest, value), "{text}");
        }
    }
}
