//! Requests as JSON objects: the logs of Caddy and Traefik, and what people make nginx and Apache write.

use std::{borrow::Cow, collections::HashMap};

use model::address;
use serde_json::Value;

use super::{
    escapes::without_x,
    request::{Request, request_line},
    time::TimeFormat,
};
use crate::record::Unreadable;

/// The names of members in lower case; a dot leads into an object. Of several, the first that is there counts. They are
/// compared as they are written, since a client chooses the names of its headers.
const CLIENT: &[&str] = &[
    "request.client_ip",
    "request.remote_ip",
    "request.remote_addr",
    "clienthost",
    "clientaddr",
    "remote_addr",
    "remoteaddr",
    "remote-addr",
    "remote_ip",
    "remoteip",
    "client_ip",
    "clientip",
    "client-ip",
    "client_addr",
    "client.ip",
    "source.ip",
    "client.address",
    "source.address",
    "remote_host",
    "remotehost",
    "client",
    "ip",
];
const FORWARDED: &[&str] = &[
    "http_x_forwarded_for",
    "x_forwarded_for",
    "x-forwarded-for",
    "xforwardedfor",
    "xff",
    "request_x-forwarded-for",
    "request.headers.x-forwarded-for",
    "headers.x-forwarded-for",
    "http.request.headers.x-forwarded-for",
    "proxy_add_x_forwarded_for",
    "forwarded_for",
    "http_x_real_ip",
    "x_real_ip",
    "x-real-ip",
    "request_x-real-ip",
    "request.headers.x-real-ip",
    "http_cf_connecting_ip",
    "cf_connecting_ip",
    "request_cf-connecting-ip",
    "request.headers.cf-connecting-ip",
    "http_true_client_ip",
    "http_forwarded",
    "forwarded",
];
const TIME: &[&str] = &[
    "ts",
    "startutc",
    "time_iso8601",
    "time_local",
    "@timestamp",
    "timestamp",
    "msec",
    "time",
    "datetime",
    "startlocal",
];
const METHOD: &[&str] =
    &["request.method", "requestmethod", "request_method", "http.request.method", "http_method", "method", "verb"];
const TARGET: &[&str] = &[
    "request.uri",
    "requestpath",
    "request_uri",
    "requesturi",
    "request_path",
    "url.original",
    "url.path",
    "uri",
    "path",
    "url",
];
/// Method, target and protocol in one, or the target alone beside a method.
const REQUEST_LINE: &[&str] = &["request", "request_line"];
const STATUS: &[&str] =
    &["status", "downstreamstatus", "http.response.status_code", "status_code", "statuscode", "response_status"];
const REFERER: &[&str] = &[
    "request.headers.referer",
    "request_referer",
    "http_referer",
    "http_referrer",
    "referer",
    "referrer",
    "http.request.referrer",
];
const AGENT: &[&str] = &[
    "request.headers.user-agent",
    "request_user-agent",
    "http_user_agent",
    "user_agent",
    "useragent",
    "user-agent",
    "user_agent.original",
    "agent",
];

/// Caddy writes all that a client sent.
const HEADERS: &str = "request.headers.";

/// The request of a line; none if it is a message about something else.
pub(super) fn read(line: &[u8]) -> Result<Option<Request<'static>>, Unreadable> {
    let value = parse(line).ok_or(Unreadable::LogLine("it is not a JSON object"))?;
    let members = Members::of(&value);
    let (method, target) = match (members.text(METHOD), members.text(TARGET), members.text(REQUEST_LINE)) {
        (Some(method), Some(target), _) => (method, target),
        (Some(method), None, Some(target)) if target.starts_with('/') => (method, target),
        (_, _, Some(line)) => {
            let (method, target) = request_line(line.as_bytes());
            (String::from_utf8_lossy(method).into_owned(), String::from_utf8_lossy(target).into_owned())
        }
        _ => return Ok(None),
    };
    // These names are also those of other things than an address.
    let client = CLIENT.iter().find_map(|name| {
        let may_be_host = !["client", "ip"].contains(name);
        members.text(&[name]).filter(|text| may_be_host || address::parse(text).is_some())
    });
    let client = client.ok_or(Unreadable::LogLine("no member names the client, as remote_addr or client_ip"))?;
    let needed = |names: &[&str], lack| members.text(names).ok_or(Unreadable::LogLine(lack));
    let bytes = |text: Option<String>| Cow::Owned(text.unwrap_or_default().into_bytes());
    Ok(Some(Request {
        client: bytes(Some(client)),
        forwarded: bytes(members.text(FORWARDED)),
        at: TimeFormat::Any.read(needed(TIME, "no member names the time, as time_iso8601 or ts")?.as_bytes())?,
        method: bytes(Some(method)),
        target: bytes(Some(target)),
        status: status(&needed(STATUS, "no member names the status")?)?,
        referer: bytes(members.text(REFERER)),
        agent: members
            .text(AGENT)
            .or_else(|| members.has_headers().then(String::new))
            .map(|it| Cow::Owned(it.into_bytes())),
        has_unknown_addresses: false,
    }))
}

/// A server has no answer's status for a request that ended early, and writes 0. What a collector took for a number may
/// have a fraction.
fn status(text: &str) -> Result<u16, Unreadable> {
    let whole = text.split_once('.').filter(|(_, fraction)| fraction.bytes().all(|byte| byte == b'0'));
    whole
        .map_or(text, |(whole, _)| whole)
        .trim()
        .parse()
        .map_err(|_| Unreadable::LogLine("the status is not a number of up to three digits"))
}

fn parse(line: &[u8]) -> Option<Value> {
    let value = serde_json::from_slice(line)
        // nginx escapes bytes as `\xHH` unless the format says `escape=json`. A client may send any in a header.
        .or_else(|_| serde_json::from_str(&String::from_utf8_lossy(&without_x(line))));
    value.ok().filter(Value::is_object)
}

/// The values of an object by their names.
struct Members<'a>(HashMap<String, &'a Value>);

impl<'a> Members<'a> {
    fn of(object: &'a Value) -> Self {
        let mut members = HashMap::new();
        collect(object, "", 0, &mut members);
        Self(members)
    }

    /// Whether the agent would be there if the client had sent one.
    fn has_headers(&self) -> bool {
        AGENT.iter().any(|name| self.0.contains_key(*name)) || self.0.keys().any(|name| name.starts_with(HEADERS))
    }

    fn text(&self, names: &[&str]) -> Option<String> {
        names.iter().filter_map(|name| text_of(self.0.get(*name)?)).find(|text| !matches!(text.trim(), "" | "-"))
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        // Several lines of a header mean the same as one with all their parts.
        Value::Array(lines) => {
            let lines: Vec<String> = lines.iter().filter_map(text_of).collect();
            (!lines.is_empty()).then(|| lines.join(", "))
        }
        _ => None,
    }
}

/// The deepest that a member that counts may lie.
const DEEPEST: usize = 4;

fn collect<'a>(value: &'a Value, name: &str, depth: usize, members: &mut HashMap<String, &'a Value>) {
    match value {
        Value::Object(object) if depth < DEEPEST => {
            for (key, value) in object {
                let key = key.to_ascii_lowercase();
                let name = if name.is_empty() { key } else { format!("{name}.{key}") };
                collect(value, &name, depth + 1, members);
            }
        }
        value => {
            members.entry(name.to_owned()).or_insert(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::read;

    fn seen(line: &str) -> String {
        match read(line.as_bytes()) {
            Ok(Some(request)) => format!(
                "{} {} {} {} {} {} {}",
                String::from_utf8_lossy(&request.client),
                request.at.millis(),
                String::from_utf8_lossy(&request.method),
                String::from_utf8_lossy(&request.target),
                request.status,
                String::from_utf8_lossy(&request.referer),
                String::from_utf8_lossy(request.agent.as_deref().unwrap_or_default())
            ),
            Ok(None) => "no request".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn each_server_s_own_names_are_known() {
        for (line, expected) in [
            (
                r#"{"level":"info","ts":1706796001.25,"logger":"http.log.access","msg":"handled request","request":{"remote_ip":"10.0.0.1","client_ip":"192.0.2.1","proto":"HTTP/2.0","method":"GET","host":"shop.example","uri":"/a?b","headers":{"User-Agent":["Firefox"],"Referer":["https://shop.example/"]}},"duration":0.1,"status":200}"#,
                "192.0.2.1 1706796001250 GET /a?b 200 https://shop.example/ Firefox",
            ),
            (
                r#"{"ClientAddr":"192.0.2.1:50718","ClientHost":"192.0.2.1","DownstreamStatus":304,"RequestMethod":"GET","RequestPath":"/a","StartUTC":"2024-02-01T14:00:01.25Z","time":"2024-02-01T14:00:09Z","request_Referer":"https://shop.example/","request_User-Agent":"Firefox"}"#,
                "192.0.2.1 1706796001250 GET /a 304 https://shop.example/ Firefox",
            ),
            (
                r#"{"time_local":"01/Feb/2024:14:00:01 +0000","remote_addr":"192.0.2.1","request":"GET /a HTTP/1.1","status":"200","http_referer":"-","http_user_agent":"a\x22b"}"#,
                "192.0.2.1 1706796001000 GET /a 200  a\"b",
            ),
            (
                r#"{"time_iso8601":"2024-02-01T14:00:01Z","remote_addr":"192.0.2.1","request":"GET /a HTTP/1.1","status":200.0,"http_referer":"https://b\xC3\xBCcher.example/","http_user_agent":"a\\b\x5c"}"#,
                "192.0.2.1 1706796001000 GET /a 200 https://bücher.example/ a\\b\\",
            ),
            (
                r#"{"time_iso8601":"2024-02-01T14:00:01Z","remote_addr":"192.0.2.1","request":"GET /a HTTP/1.1","status":"304.0"}"#,
                "192.0.2.1 1706796001000 GET /a 304  ",
            ),
            (
                r#"{"time_iso8601":"2024-02-01T14:00:01Z","remote_addr":"192.0.2.1","request":"GET /a HTTP/1.1","status":"200.5"}"#,
                "is not a line of this access log: the status is not a number of up to three digits",
            ),
            (
                r#"{"@timestamp":"2024-02-01T14:00:01Z","client.ip":"192.0.2.1","http":{"request":{"method":"GET"},"response":{"status_code":200}},"url":{"path":"/a"},"user_agent":{"original":"Firefox"}}"#,
                "192.0.2.1 1706796001000 GET /a 200  Firefox",
            ),
            (
                r#"{"time":"[01/Feb/2024:14:00:01 +0000]","remote_ip":"192.0.2.1","request":"/a","query":"?b","method":"GET","status":"200"}"#,
                "192.0.2.1 1706796001000 GET /a 200  ",
            ),
            (
                r#"{"ts":1706796001,"request":{"client_ip":"192.0.2.1","method":"GET","uri":"/a"},"status":0}"#,
                "192.0.2.1 1706796001000 GET /a 0  ",
            ),
            (r#"{"level":"info","ts":1706796001.25,"logger":"tls","msg":"renewed"}"#, "no request"),
        ] {
            assert_eq!(seen(line), expected);
        }
    }

    #[test]
    fn a_client_cannot_write_in_the_place_of_its_proxies() {
        let forwarded = |headers: &str| {
            let line = format!(
                r#"{{"ts":1,"request":{{"client_ip":"10.0.0.1","method":"GET","uri":"/","headers":{{{headers}}}}},"status":200}}"#
            );
            String::from_utf8(read(line.as_bytes()).unwrap().unwrap().forwarded.into_owned()).unwrap()
        };
        assert_eq!(forwarded(r#""X-Forwarded-For":["203.0.113.66","192.0.2.1"]"#), "203.0.113.66, 192.0.2.1");
        let other = r#""X--Forwarded-For":["203.0.113.66"],"X_Forwarded_For":["203.0.113.66"]"#;
        assert_eq!(forwarded(other), "");
        assert_eq!(forwarded(&format!(r#"{other},"X-Forwarded-For":["192.0.2.1"]"#)), "192.0.2.1");
    }

    #[test]
    fn bytes_that_are_no_text_spoil_no_line() {
        let line =
            b"{\"ts\":1,\"ip\":\"192.0.2.1\",\"method\":\"GET\",\"uri\":\"/\",\"status\":200,\"user_agent\":\"\xe4\"}";
        assert!(read(line).unwrap().is_some());
    }

    #[test]
    fn a_request_without_its_client_time_or_status_is_refused() {
        for (line, fault) in [
            ("[1]", "not a JSON object"),
            ("{", "not a JSON object"),
            (r#"{"method":"GET","uri":"/","ts":1,"status":200}"#, "names the client"),
            (r#"{"method":"GET","uri":"/","ip":"192.0.2.1","status":200}"#, "names the time"),
            (r#"{"method":"GET","uri":"/","ip":"192.0.2.1","ts":1}"#, "names the status"),
            (r#"{"method":"GET","uri":"/","ip":"192.0.2.1","ts":1,"status":"x"}"#, "three digits"),
        ] {
            assert!(seen(line).contains(fault), "{line} gave {}", seen(line));
        }
    }
}
