//! The format strings of Apache (`mod_log_config`) and nginx (`ngx_http_log_module`), as patterns.

use std::str::FromStr;

use thiserror::Error;

use super::{
    directive::format_string,
    pattern::{Field, Part, Pattern},
    time::TimeFormat,
};

#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "the pattern {0}; accepted is a format string of Apache, as in '%h %l %u %t \"%r\" %>s %b', or of nginx, as in \
     '$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent'"
)]
pub struct InvalidPattern(String);

impl InvalidPattern {
    pub(super) fn new(fault: impl Into<String>) -> Self {
        Self(fault.into())
    }
}

impl FromStr for Pattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = &format_string(text)?;
        let mut parts = Parts::default();
        if text.contains('$') {
            nginx(text, &mut parts)?;
        } else {
            apache(text, &mut parts)?;
        }
        parts.pattern()
    }
}

/// The query belongs to the target that it follows.
const QUERIES: [&str; 4] = ["%q", "$is_args", "$args", "$query_string"];

/// The parts so far.
#[derive(Default)]
struct Parts(Vec<Part>);

impl Parts {
    fn text(&mut self, more: &[u8]) {
        match self.0.last_mut() {
            Some(Part::Text(text)) => text.extend_from_slice(more),
            _ => self.0.push(Part::Text(more.to_vec())),
        }
    }

    fn field(&mut self, field: Field, name: &str) -> Result<(), InvalidPattern> {
        if QUERIES.contains(&name) && matches!(self.0.last(), Some(Part::Field(Field::Target))) {
            return Ok(());
        }
        if matches!(self.0.last(), Some(Part::Field(_))) {
            return Err(InvalidPattern::new(format!(
                "has nothing between {name} and the field before it, so they cannot be told apart"
            )));
        }
        let is_same = |part: &Part| matches!(part, Part::Field(there) if std::mem::discriminant(there) == std::mem::discriminant(&field));
        if field != Field::Other && self.0.iter().any(is_same) {
            return Err(InvalidPattern::new(format!(
                "has with {name} a second field for the same; leave only the one that counts, and write %X or $other for the other"
            )));
        }
        self.0.push(Part::Field(field));
        Ok(())
    }

    fn pattern(self) -> Result<Pattern, InvalidPattern> {
        let has =
            |is_it: fn(&Field) -> bool| self.0.iter().any(|part| matches!(part, Part::Field(field) if is_it(field)));
        let has_request = has(|field| matches!(field, Field::RequestLine))
            || has(|field| matches!(field, Field::Method)) && has(|field| matches!(field, Field::Target));
        for (is_there, lack) in [
            (has(|field| matches!(field, Field::Client | Field::Forwarded)), "client address (%h or $remote_addr)"),
            (has(|field| matches!(field, Field::Time(_))), "time (%t or $time_local)"),
            (has_request, "request (%r or $request)"),
            (has(|field| matches!(field, Field::Status)), "status (%>s or $status)"),
        ] {
            if !is_there {
                return Err(InvalidPattern::new(format!("lacks the {lack}")));
            }
        }
        Ok(Pattern { parts: self.0, is_open: false })
    }
}

fn nginx(text: &str, parts: &mut Parts) -> Result<(), InvalidPattern> {
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        if at > 0 {
            parts.text(&rest.as_bytes()[..at]);
        }
        let behind = &rest[at + 1..];
        let (name, after) = if let Some(behind) = behind.strip_prefix('{') {
            behind.split_once('}').ok_or_else(|| InvalidPattern::new("has a ${ that is not closed"))?
        } else {
            let end = behind.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(behind.len());
            behind.split_at(end)
        };
        let field = match name {
            "" => return Err(InvalidPattern::new("has a $ without a name")),
            "remote_addr" | "realip_remote_addr" | "proxy_protocol_addr" => Field::Client,
            "http_x_forwarded_for"
            | "proxy_add_x_forwarded_for"
            | "http_x_real_ip"
            | "http_cf_connecting_ip"
            | "http_true_client_ip"
            | "http_forwarded" => Field::Forwarded,
            "time_local" => Field::Time(TimeFormat::Common),
            "time_iso8601" => Field::Time(TimeFormat::Iso),
            "msec" => Field::Time(TimeFormat::Seconds),
            "request" => Field::RequestLine,
            "request_method" => Field::Method,
            "request_uri" | "uri" | "document_uri" => Field::Target,
            "status" => Field::Status,
            "http_referer" => Field::Referer,
            "http_user_agent" => Field::Agent,
            _ => Field::Other,
        };
        parts.field(field, &format!("${name}"))?;
        rest = after;
    }
    if !rest.is_empty() {
        parts.text(rest.as_bytes());
    }
    Ok(())
}

fn apache(text: &str, parts: &mut Parts) -> Result<(), InvalidPattern> {
    let mut rest = text;
    while let Some(at) = rest.find(['%', '\\']) {
        if at > 0 {
            parts.text(&rest.as_bytes()[..at]);
        }
        let behind = &rest[at + 1..];
        rest = if rest[at..].starts_with('\\') { escape(behind, parts) } else { directive(behind, parts)? };
    }
    if !rest.is_empty() {
        parts.text(rest.as_bytes());
    }
    Ok(())
}

/// Takes the character after a backslash, and returns what follows it.
fn escape<'a>(behind: &'a str, parts: &mut Parts) -> &'a str {
    let mut characters = behind.chars();
    match characters.next() {
        Some('t') => parts.text(b"\t"),
        Some('n') => parts.text(b"\n"),
        Some(other) => parts.text(other.encode_utf8(&mut [0; 4]).as_bytes()),
        None => parts.text(b"\\"),
    }
    characters.as_str()
}

/// Takes a directive without its `%`: `[!STATUS,…][<|>][{ARGUMENT}]LETTER`. Returns what follows it.
fn directive<'a>(behind: &'a str, parts: &mut Parts) -> Result<&'a str, InvalidPattern> {
    if let Some(after) = behind.strip_prefix('%') {
        parts.text(b"%");
        return Ok(after);
    }
    let rest = behind.trim_start_matches(|c: char| c.is_ascii_digit() || "!,".contains(c));
    let rest = rest.trim_start_matches(['<', '>']);
    let (argument, rest) = match rest.strip_prefix('{') {
        Some(rest) => {
            let (argument, rest) =
                rest.split_once('}').ok_or_else(|| InvalidPattern::new("has a %{ that is not closed"))?;
            (Some(argument), rest)
        }
        None => (None, rest),
    };
    // The letters of trailers and of two lookups come in pairs.
    let length = if rest.starts_with('^') { 3 } else { rest.chars().next().map_or(0, char::len_utf8) };
    let (letter, after) = rest
        .split_at_checked(length)
        .filter(|(letter, _)| !letter.is_empty())
        .ok_or_else(|| InvalidPattern::new("ends within a %"))?;
    let name = format!("%{}", &behind[..behind.len() - after.len()]);
    let field = match (letter, argument) {
        ("h" | "a", _) => Field::Client,
        ("t", None) => {
            parts.text(b"[");
            parts.field(Field::Time(TimeFormat::Common), &name)?;
            parts.text(b"]");
            return Ok(after);
        }
        ("t", Some(format)) => time(format)?,
        ("r", None) => Field::RequestLine,
        ("m", None) => Field::Method,
        ("U", None) => Field::Target,
        ("s", None) => Field::Status,
        ("i", Some(header)) => match header.to_ascii_lowercase().as_str() {
            "referer" => Field::Referer,
            "user-agent" => Field::Agent,
            "x-forwarded-for" | "x-real-ip" | "cf-connecting-ip" | "true-client-ip" | "forwarded" => Field::Forwarded,
            _ => Field::Other,
        },
        _ => Field::Other,
    };
    parts.field(field, &name)?;
    Ok(after)
}

/// The argument of a `%{…}t`.
fn time(format: &str) -> Result<Field, InvalidPattern> {
    let format = format.strip_prefix("begin:").or_else(|| format.strip_prefix("end:")).unwrap_or(format);
    Ok(Field::Time(match format {
        "sec" => TimeFormat::Seconds,
        "msec" => TimeFormat::Millis,
        "usec" => TimeFormat::Micros,
        "msec_frac" | "usec_frac" => return Ok(Field::Other),
        own if ["%z", "%:z", "%s"].iter().any(|zone| own.contains(zone)) => TimeFormat::Own(own.to_owned()),
        own => return Err(InvalidPattern::new(format!("has a time %{{{own}}}t without its zone (%z)"))),
    }))
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    fn read(pattern: &str, line: &str) -> String {
        let pattern: Pattern = match pattern.parse() {
            Ok(pattern) => pattern,
            Err(error) => return format!("invalid: {error}"),
        };
        match pattern.read(line.as_bytes()) {
            Ok(request) => format!(
                "{}|{} {} {} {} {} {} {}",
                String::from_utf8_lossy(&request.client),
                String::from_utf8_lossy(&request.forwarded),
                request.at.millis(),
                String::from_utf8_lossy(&request.method),
                String::from_utf8_lossy(&request.target),
                request.status,
                String::from_utf8_lossy(&request.referer),
                String::from_utf8_lossy(request.agent.as_deref().unwrap_or_default()),
            ),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_line_is_read_by_the_format_string_of_its_server() {
        for (pattern, line, expected) in [
            (
                r#"%h %l %u %t "%r" %>s %b"#,
                r#"192.0.2.1 - ann smith [17/May/2015:10:05:03 +0000] "GET /a?b=1 HTTP/1.1" 200 5"#,
                "192.0.2.1| 1431857103000 GET /a?b=1 200  ",
            ),
            (
                r#"%v:%p %a %{X-Forwarded-For}i %{%Y-%m-%dT%H:%M:%S%z}t \"%m %U%q %H\" %>s %O \"%{Referer}i\" \"%{User-Agent}i\" %D%%"#,
                r#"shop:443 10.0.0.1 192.0.2.1, 10.0.0.2 2015-05-17T10:05:03+0000 "GET /a HTTP/1.1" 304 - "-" "a \"b\"" 12%"#,
                r#"10.0.0.1|192.0.2.1, 10.0.0.2 1431857103000 GET /a 304 - a "b""#,
            ),
            (
                "%{X-Forwarded-For}i\t%{msec}t\t%!200,304{Host}i\t%r\t%s",
                "192.0.2.1, 10.0.0.1\t1431857103250\tshop\tGET /a b HTTP/1.0\t200",
                "|192.0.2.1, 10.0.0.1 1431857103250 GET /a b 200  ",
            ),
            (
                r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" "$http_x_forwarded_for""#,
                r#"10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/2.0" 200 5 "https://e.example/" "x" "192.0.2.1""#,
                "10.0.0.1|192.0.2.1 1431857103000 GET / 200 https://e.example/ x",
            ),
            (
                "${msec}|$remote_addr|$request_method|$host$request_uri|$status",
                "1431857103.250|192.0.2.1|GET|shop/a|200",
                "invalid: the pattern has nothing between $request_uri",
            ),
            (
                "${msec}|$remote_addr|$request_method|$request_uri|$status|$other",
                "1431857103.250|192.0.2.1|GET|/a|200|",
                "192.0.2.1| 1431857103250 GET /a 200  ",
            ),
            (
                "$time_local $remote_addr $request $status",
                "17/May/2015:10:05:03 +0000 192.0.2.1 GET /a HTTP/1.1 200",
                "192.0.2.1| 1431857103000 GET /a 200  ",
            ),
            (
                r#"%{%Y-%m-%d %H:%M:%S %:z}t %h "%r" %>s"#,
                r#"2015-05-17 10:05:03 +00:00 192.0.2.1 "GET /a HTTP/1.1" 200"#,
                "192.0.2.1| 1431857103000 GET /a 200  ",
            ),
            (
                r#"$remote_addr:$remote_port [$time_local] "$request" $status"#,
                r#"2001:db8::1:8080 [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200"#,
                "2001:db8::1| 1431857103000 GET /a 200  ",
            ),
            (
                r#"'$remote_addr - $remote_user [$time_local] ' '"$request" $status'"#,
                r#"192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200"#,
                "192.0.2.1| 1431857103000 GET /a 200  ",
            ),
            (
                r#""%h %l %u %t \"%r\" %>s""#,
                r#"192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200"#,
                "192.0.2.1| 1431857103000 GET /a 200  ",
            ),
            (
                r#"[$time_local] $http_x_forwarded_for $remote_user "$request" $status"#,
                r#"[17/May/2015:10:05:03 +0000] 203.0.113.66 x, 192.0.2.7 "GET / HTTP/1.1" 200"#,
                "does not say for certain who its client is: a comma stands behind it",
            ),
            (
                r#"%{X-Forwarded-For}i %l %u %t "%r" %>s"#,
                r#"203.0.113.66 x, 192.0.2.1, 10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200"#,
                "does not say for certain who its client is: a comma stands behind it",
            ),
            ("$remote_addr $time_local $request $status", "192.0.2.1", "is not a line of this access log"),
        ] {
            assert!(read(pattern, line).starts_with(expected), "{pattern} gave {}", read(pattern, line));
        }
    }

    #[test]
    fn a_pattern_that_cannot_tell_who_when_or_what_is_refused_with_its_fault() {
        for (pattern, fault) in [
            ("", "lacks the client address"),
            ("combined", "paste the line log_format"),
            (r#"%l %t "%r" %>s"#, "lacks the client address"),
            (r#"%h "%r" %>s"#, "lacks the time"),
            ("%h %t %>s", "lacks the request"),
            (r#"%h %t "%r""#, "lacks the status"),
            (r#"%h %a %t "%r" %>s"#, "with %a a second field for the same"),
            (r#"%h%t "%r" %>s"#, ""),
            (r#"%h%l %t "%r" %>s"#, "nothing between %l"),
            (r#"%h %{%d/%b/%Y}t "%r" %>s"#, "without its zone"),
            (r"%h %{%d/%b/%Y", "not closed"),
            ("%h %", "ends within a %"),
            ("$", "a $ without a name"),
            ("${a", "not closed"),
        ] {
            match pattern.parse::<Pattern>() {
                Ok(_) => assert_eq!(fault, "", "{pattern}"),
                Err(error) => assert!(!fault.is_empty() && error.to_string().contains(fault), "{pattern} gave {error}"),
            }
        }
    }
}
