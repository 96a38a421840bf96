//! Which of two media types a client prefers, by its header `Accept` (RFC 9110, section 12.5.1).

use warp::http::{HeaderMap, header::ACCEPT};

/// The media ranges of a type, the most specific first.
pub(crate) type MediaRanges = [&'static str; 3];

pub(crate) const CSV: MediaRanges = ["text/csv", "text/*", "*/*"];
pub(crate) const HTML: MediaRanges = ["text/html", "text/*", "*/*"];
pub(crate) const JSON: MediaRanges = ["application/json", "application/*", "*/*"];

/// Whether a client prefers a type to another, or accepts both alike and names that first. A client that accepts
/// everything gets the other.
pub(crate) fn prefers(headers: &HeaderMap, one: MediaRanges, other: MediaRanges) -> bool {
    let accept = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges: Vec<(String, f32)> = accept.flat_map(|value| value.split(',')).map(media_range).collect();
    // The most specific range decides the weight of a type.
    let wanted = |names: MediaRanges| {
        let place = names.iter().find_map(|name| ranges.iter().position(|(range, _)| range == name))?;
        Some((place, ranges[place].1)).filter(|(_, weight)| *weight > 0.0)
    };
    match (wanted(one), wanted(other)) {
        (Some((one, weight)), Some((other, weight_of_other))) => {
            weight.total_cmp(&weight_of_other).then(other.cmp(&one)).is_gt()
        }
        (one, _) => one.is_some(),
    }
}

/// One part of a header `Accept`: its media range in lower case, and its weight.
fn media_range(text: &str) -> (String, f32) {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next().unwrap_or_default().to_ascii_lowercase();
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    (range, weight.and_then(|weight| weight.parse().ok()).unwrap_or(1.0))
}

#[cfg(test)]
mod tests {
    use warp::http::{HeaderMap, HeaderValue, header::ACCEPT};

    use super::{CSV, HTML, JSON, prefers};

    #[test]
    fn csv_is_for_clients_that_prefer_it_to_json_or_name_it_first() {
        for (accept, is_csv) in [
            ("", false),
            ("*/*", false),
            ("text/csv", true),
            ("Text/CSV; charset=utf-8", true),
            ("text/csv, */*;q=0.1", true),
            ("text/csv, application/json", true),
            ("application/json, text/csv", false),
            ("text/csv;q=0.5, application/json", false),
            ("application/json;q=0.5, text/csv", true),
            ("application/json ; q=0.5 , text/csv ; q=0.9", true),
            ("text/csv;q=0, */*", false),
            ("text/csv;q=0", false),
            ("text/*", true),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(prefers(&headers, CSV, JSON), is_csv, "{accept:?}");
        }
        assert!(!prefers(&HeaderMap::new(), CSV, JSON));
    }

    #[test]
    fn html_is_for_browsers_that_open_an_address() {
        for (accept, is_html) in [
            ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", true),
            ("*/*", false),
            ("application/json, text/html;q=0.5", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(prefers(&headers, HTML, JSON), is_html, "{accept:?}");
        }
    }
}
