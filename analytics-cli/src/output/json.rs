use serde::Serialize;

/// An object for programs, readable for people, with a line break at its end.
pub(crate) fn pretty_json(value: &impl Serialize) -> String {
    let json = serde_json::to_string_pretty(value).expect("texts, numbers and times can be written as JSON");
    format!("{json}\n")
}
