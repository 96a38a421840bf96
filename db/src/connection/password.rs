//! Keeps passwords out of what is shown.

use super::parameters::value_length;

/// What stands in the place of a password.
const MASK: &str = "***";

/// A database URL, or a connection string of `key=value` pairs, with its password masked. What cannot be read for certain is masked rather
/// too much than too little, since people show each other what a program prints.
pub fn mask_password(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", mask_url(rest)),
        None => mask_pairs(url),
    }
}

/// Masks what stands behind the scheme of a URL.
fn mask_url(rest: &str) -> String {
    let Some(first_at) = rest.find('@') else { return mask_query(rest) };
    // The driver takes the first @ for the end of the password. If it is one of the password's own, the password goes on to a later one.
    let authority_end = rest[first_at..].find(['/', '?']).map_or(rest.len(), |length| first_at + length);
    let last_at = rest[..authority_end].rfind('@').unwrap_or(first_at);
    let (credentials, behind) = (&rest[..last_at], &rest[last_at + 1..]);
    // A second @ behind the host is no part of any valid URL: the password may have had a slash or a question mark in it.
    let (credentials, behind) = match behind.split('?').next().and_then(|place| place.rfind('@')) {
        Some(at) => (&rest[..=last_at + at], &behind[at + 1..]),
        None => (credentials, behind),
    };
    match credentials.split_once(':') {
        Some((user, _)) => format!("{user}:{MASK}@{}", mask_query(behind)),
        None => format!("{credentials}@{}", mask_query(behind)),
    }
}

/// Masks the parameter `password` of a URL.
fn mask_query(url: &str) -> String {
    let Some((place, query)) = url.split_once('?') else { return url.to_owned() };
    let pairs: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((key, _)) if key.trim() == "password" => format!("{key}={MASK}"),
            // What is no pair may be the rest of a password.
            None if !pair.is_empty() => MASK.to_owned(),
            _ => pair.to_owned(),
        })
        .collect();
    format!("{place}?{}", pairs.join("&"))
}

/// Masks the password among pairs as in `host=a user=b password='c d'`; a value ends at a blank unless it is quoted, and a backslash takes
/// away the meaning of what follows it.
fn mask_pairs(text: &str) -> String {
    let mut masked = String::new();
    let mut rest = text;
    while let Some((key, behind)) = rest.split_once('=') {
        let value = behind.trim_start();
        let length = value_length(value);
        masked.push_str(key);
        masked.push('=');
        masked.push_str(if key.trim() == "password" { MASK } else { &behind[..behind.len() - value.len() + length] });
        rest = &value[length..];
    }
    // What is no pair may be the rest of a password.
    if rest.trim().is_empty() { masked } else { format!("{masked} {MASK}").trim_start().to_owned() }
}

/// Any text with the passwords masked that it may hold, for what was given in a place where no database URL belongs: all between the first name
/// of a URL and the last `@`, and what follows `password=`. A text without a password stays as it is.
pub fn mask_passwords_in(text: &str) -> String {
    let masked = mask_credentials(text);
    // Its pairs begin at the first password, so that nothing before it is taken for the rest of one.
    let is_key = |at: usize| masked[at + "password".len()..].trim_start().starts_with('=');
    match masked.match_indices("password").map(|(at, _)| at).find(|&at| is_key(at)) {
        Some(at) => format!("{}{}", &masked[..at], mask_pairs(&masked[at..])),
        None => masked,
    }
}

/// Masks what stands as in `scheme://user:password@`. There may be several in a list, and a password may hold whatever separates them.
fn mask_credentials(text: &str) -> String {
    let Some(host) = text.find("://").map(|at| at + "://".len()) else { return text.to_owned() };
    match (text[host..].find(':'), text[host..].rfind('@')) {
        (Some(colon), Some(at)) if colon < at => format!("{}:{MASK}{}", &text[..host + colon], &text[host + at..]),
        _ => text.to_owned(),
    }
}

/// Whether a database URL, or a connection string, holds a password.
pub fn has_password(url: &str) -> bool {
    mask_password(url) != url
}

#[cfg(test)]
mod tests {
    use super::{has_password, mask_password, mask_passwords_in};

    #[test]
    fn a_password_is_masked_wherever_a_connection_string_may_have_it() {
        for (url, masked) in [
            ("postgres://ann:secret@h:5432/db", "postgres://ann:***@h:5432/db"),
            ("postgresql://ann:secret@h/db?connect_timeout=3", "postgresql://ann:***@h/db?connect_timeout=3"),
            ("postgres://:secret@h", "postgres://:***@h"),
            ("postgres://ann:@h", "postgres://ann:***@h"),
            (
                "postgres://ann@h/db?password=secret&application_name=x",
                "postgres://ann@h/db?password=***&application_name=x",
            ),
            ("host=h user=ann password=secret dbname=db", "host=h user=ann password=*** dbname=db"),
            ("password = 'se cret\\' more' host=h", "password =*** host=h"),
            ("host=h password=se\\ cret", "host=h password=***"),
        ] {
            assert_eq!(mask_password(url), masked, "{url}");
            assert!(has_password(url), "{url}");
        }
    }

    #[test]
    fn what_has_no_password_stays_as_it_is() {
        for url in [
            "postgres://h:5432/db",
            "postgres://ann@h:5432/db?host=/run/x",
            "postgres:///db?host=/run/x",
            "host='/run/a b' user=ann  dbname = db",
            "",
        ] {
            assert_eq!(mask_password(url), url);
            assert!(!has_password(url), "{url}");
        }
    }

    #[test]
    fn of_a_password_that_breaks_its_url_nothing_is_shown() {
        for url in [
            "postgres://ann:se@cret@h/db",
            "postgres://ann:se/cret@h/db",
            "postgres://ann:se?cret@h/db",
            "postgres://ann:s@e/cret@h/db",
            "postgres://ann:s@e?cret@h/db",
            "postgres://ann:#cret@h/db",
            "password='cret more",
            "password=a cret",
            "cret",
        ] {
            let masked = mask_password(url);
            assert!(!masked.contains("cret"), "{url} is shown as {masked}");
        }
    }

    #[test]
    fn passwords_are_masked_in_any_text_and_the_rest_is_left() {
        for (text, masked) in [
            ("postgres://ann:secret@h/db", "postgres://ann:***@h/db"),
            ("postgres://ann:se,cr/et?@h/db", "postgres://ann:***@h/db"),
            ("postgres://ann:se@cret@h/db", "postgres://ann:***@h/db"),
            ("'postgres://ann:secret@h/db' is wrong", "'postgres://ann:***@h/db' is wrong"),
            ("10.0.0.0/8,postgres://ann:secret@h/db", "10.0.0.0/8,postgres://ann:***@h/db"),
            ("https://a.example,postgres://ann:secret@h", "https://a.example,postgres:***@h"),
            ("postgres://a:secret@h/d?x=1,postgres://b:secret@i", "postgres://a:***@i"),
            ("postgres://ann@h/db?password=secret&x=y", "postgres://ann@h/db?password=***"),
            ("host=h password=secret user=ann", "host=h password=*** user=ann"),
            ("host=h password = 'secret more'", "host=h password =***"),
            ("a password, and password=a secret", "a password, and password=*** ***"),
        ] {
            assert_eq!(mask_passwords_in(text), masked, "{text}");
        }
        for text in [
            "127.0.0.1:8080",
            "https://shop.example:8443,http://localhost:3000",
            "https://ann@h/db",
            "/run/secrets/password",
            "a@b: c",
            "",
        ] {
            assert_eq!(mask_passwords_in(text), text);
        }
    }
}
