//! What all operations share: the answers of the connection, the gate and the service, and the headers of all answers.
//! Handlers do not describe them.

use utoipa::openapi::{
    self, Components, Content, HeaderBuilder, Object, Ref, RefOr, Response, ResponseBuilder, Type, path::Operation,
};
use warp::http::{Method, StatusCode};

use crate::auth::Policy;

/// Adds the components that operations refer to.
pub(super) fn add_to(components: &mut Components) {
    for header in HEADERS {
        let schema = Object::with_type(header.of.clone());
        let described = HeaderBuilder::new().schema(Some(schema)).description(Some(header.description)).build();
        components.headers.insert(header.name.to_owned(), described.into());
    }
    for (name, status, description) in [
        ("NotFound", StatusCode::NOT_FOUND, "The path is unknown."),
        ("MethodNotAllowed", StatusCode::METHOD_NOT_ALLOWED, "The path does not accept this method."),
    ] {
        let mut response = problem(description);
        name_headers(&mut response, Answer { method: &Method::GET, policy: Policy::Open, status });
        components.responses.insert(name.to_owned(), response.into());
    }
}

/// An answer that the document names.
#[derive(Clone, Copy)]
struct Answer<'a> {
    method: &'a Method,
    policy: Policy,
    status: StatusCode,
}

impl Answer<'_> {
    fn is_error(self) -> bool {
        self.status.is_client_error() || self.status.is_server_error()
    }

    fn is_one_of(self, statuses: &[u16]) -> bool {
        statuses.contains(&self.status.as_u16())
    }
}

/// A header that several operations share, and the rule for the answers that may have it.
struct Header {
    name: &'static str,
    of: Type,
    description: &'static str,
    may_have: fn(Answer<'_>) -> bool,
}

const HEADERS: &[Header] = &[
    Header {
        name: "X-Request-Id",
        of: Type::String,
        description: "The id of the request: the client's if it has 1 to 64 letters, digits, dots, underscores and hyphens, otherwise a new one. A request that was not read, because all connections are taken, has none",
        may_have: |_| true,
    },
    Header {
        name: "Analytics-Repeated",
        of: Type::String,
        description: "How many of the events were stored before and are not stored again, as `clicks=1, impressions=2`; with `position=N` for a part of a source that stands behind its end",
        may_have: |answer| *answer.method == Method::POST && answer.is_one_of(&[204]),
    },
    Header {
        name: "RateLimit-Limit",
        of: Type::Integer,
        description: "How many requests may come at once, by the limit that leaves the fewest",
        may_have: is_limited,
    },
    Header {
        name: "RateLimit-Remaining",
        of: Type::Integer,
        description: "How many of them are left",
        may_have: is_limited,
    },
    Header {
        name: "RateLimit-Reset",
        of: Type::Integer,
        description: "In how many seconds all of them are available again",
        may_have: is_limited,
    },
    Header {
        name: "RateLimit-Policy",
        of: Type::String,
        description: "How many requests are accepted (`w`: in how many seconds; `burst`: at once)",
        may_have: |answer| answer.is_one_of(&[429]),
    },
    Header {
        name: "Retry-After",
        of: Type::Integer,
        description: "After how many seconds to try again",
        may_have: |answer| answer.is_one_of(&[429, 503]),
    },
    Header {
        name: "WWW-Authenticate",
        of: Type::String,
        description: "A challenge as in RFC 6750, if the token is missing or not accepted",
        may_have: |answer| answer.policy.scope().is_some() && answer.is_one_of(&[400, 401, 403]),
    },
    Header {
        name: "Allow",
        of: Type::String,
        description: "The methods that the path accepts",
        may_have: |answer| answer.is_one_of(&[405]),
    },
    Header {
        name: "Cache-Control",
        of: Type::String,
        description: "`no-cache` for an answer that may be stored and must be revalidated, `no-store` for one that is true only now, such as every error",
        may_have: |answer| *answer.method == Method::GET || answer.is_error(),
    },
    Header {
        name: "X-Content-Type-Options",
        of: Type::String,
        description: "`nosniff`: a problem document may repeat a part of the request",
        may_have: |answer| answer.is_error(),
    },
    Header {
        name: "Vary",
        of: Type::String,
        description: "`accept` if there are several formats, `Origin` if pages of other origins may read answers",
        may_have: |_| true,
    },
    Header {
        name: "Access-Control-Allow-Origin",
        of: Type::String,
        description: "The origin of the request, if its pages may read the answer",
        may_have: |_| true,
    },
    Header {
        name: "Access-Control-Expose-Headers",
        of: Type::String,
        description: "The headers that those pages may read",
        may_have: |_| true,
    },
];

fn is_limited(answer: Answer<'_>) -> bool {
    answer.policy != Policy::Unlimited
}

/// Adds the shared answers and headers to an operation. A description at the handler takes precedence.
pub(super) fn complete(operation: &mut Operation, method: &Method, policy: Policy) {
    let shows_tokens = policy.scope().is_some();
    let answers = &mut operation.responses.responses;
    let mut add = |status: StatusCode, response: Response| {
        answers.entry(status.as_str().to_owned()).or_insert_with(|| response.into());
    };
    let tokens = if shows_tokens { ", or sends a token in a way that is not accepted" } else { "" };
    add(StatusCode::BAD_REQUEST, problem(&format!("The request does not name one host{tokens}.")));
    add(StatusCode::PAYLOAD_TOO_LARGE, problem("The body, which is not used, has more than 64 KiB."));
    if policy != Policy::Unlimited {
        add(StatusCode::TOO_MANY_REQUESTS, problem("This address sends more requests than a limit accepts."));
    }

    for (status, response) in answers.iter_mut() {
        let status = status.parse().expect("every answer is named by its status");
        if let RefOr::T(response) = response {
            name_headers(response, Answer { method, policy, status });
        }
    }
    // Answers to requests that were not read have none of the other headers.
    let too_long = Response::new("The head of the request is too long (16 KiB, if nothing else is set).");
    answers.insert(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.as_str().to_owned(), too_long.into());
    answers.entry(StatusCode::SERVICE_UNAVAILABLE.as_str().to_owned()).or_insert_with(|| {
        let mut busy = problem("All connections are taken. Try again after `Retry-After` seconds.");
        for name in ["Retry-After", "Cache-Control", "X-Content-Type-Options"] {
            busy.headers.insert(name.to_owned(), header(name));
        }
        busy.into()
    });
}

fn problem(description: &str) -> Response {
    let document = Content::new(Some(Ref::from_schema_name("Problem")));
    ResponseBuilder::new().description(description).content(model::Problem::MEDIA_TYPE, document).build()
}

fn name_headers(response: &mut Response, answer: Answer<'_>) {
    for Header { name, .. } in HEADERS.iter().filter(|header| (header.may_have)(answer)) {
        response.headers.entry((*name).to_owned()).or_insert_with(|| header(name));
    }
}

fn header(name: &str) -> RefOr<openapi::Header> {
    RefOr::Ref(Ref::new(format!("#/components/headers/{name}")))
}
