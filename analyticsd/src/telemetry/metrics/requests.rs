use std::{array, fmt, time::Instant};

use warp::http::{Method, StatusCode};

use super::{Counter, Gauge, Histogram, Sink, broken::BrokenConnections, label::label};

label! {
    /// The method of a request. All unknown methods count as one.
    pub(crate) enum MethodName {
        Get = "GET",
        Head = "HEAD",
        Post = "POST",
        Options = "OPTIONS",
        Other = "other",
    }
}

impl MethodName {
    pub(crate) fn of(method: &Method) -> Self {
        match *method {
            Method::GET => Self::Get,
            Method::HEAD => Self::Head,
            Method::POST => Self::Post,
            Method::OPTIONS => Self::Options,
            _ => Self::Other,
        }
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With an answer.
    Answered(StatusCode),
    /// The connection was closed without an answer, because it is not known whether the events are stored.
    Closed,
    /// The client was gone before there was an answer.
    Abandoned,
}

/// The status codes that have a label of their own.
const STATUSES: [(u16, &str); 21] = [
    (200, "200"),
    (202, "202"),
    (204, "204"),
    (206, "206"),
    (304, "304"),
    (308, "308"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (408, "408"),
    (409, "409"),
    (411, "411"),
    (413, "413"),
    (414, "414"),
    (415, "415"),
    (429, "429"),
    (431, "431"),
    (500, "500"),
    (503, "503"),
];
label! {
    /// Other status codes, and requests without an answer.
    pub(crate) enum Ending {
        Other = "other",
        Closed = "closed",
        Abandoned = "abandoned",
    }
}
const OUTCOMES: usize = STATUSES.len() + Ending::ALL.len();

impl Outcome {
    fn place(self) -> usize {
        let ending = match self {
            Self::Answered(status) => match STATUSES.iter().position(|(code, _)| *code == status.as_u16()) {
                Some(place) => return place,
                None => Ending::Other,
            },
            Self::Closed => Ending::Closed,
            Self::Abandoned => Ending::Abandoned,
        };
        STATUSES.len() + ending as usize
    }

    /// Its label: the status, or how the request ended without one.
    pub(crate) fn name(self) -> &'static str {
        Self::name_at(self.place())
    }

    /// Whether the daemon or its database failed, rather than the client.
    pub(crate) fn is_failure(self) -> bool {
        match self {
            Self::Answered(status) => status.is_server_error(),
            Self::Closed => true,
            Self::Abandoned => false,
        }
    }

    fn name_at(place: usize) -> &'static str {
        STATUSES.get(place).map_or_else(|| Ending::ALL[place - STATUSES.len()].name(), |(_, name)| name)
    }
}

struct OfRoute {
    /// By method.
    seconds: [Histogram; MethodName::ALL.len()],
    /// By method and outcome.
    requests: [[Counter; OUTCOMES]; MethodName::ALL.len()],
}

/// Requests that were read: their numbers, times and outcomes.
pub(crate) struct Requests {
    /// With their names.
    routes: Vec<(&'static str, OfRoute)>,
    under_way: Gauge,
}

impl Requests {
    pub(super) fn new(routes: impl IntoIterator<Item = &'static str>) -> Self {
        let of_route = || OfRoute {
            seconds: array::from_fn(|_| Histogram::of_seconds()),
            requests: array::from_fn(|_| array::from_fn(|_| Counter::default())),
        };
        Self { routes: routes.into_iter().map(|name| (name, of_route())).collect(), under_way: Gauge::default() }
    }

    /// Counts a request as under way, until it [ends](Self::end).
    pub(crate) fn begin(&self) {
        self.under_way.add(1);
    }

    /// `route` is the index of the route's name in [`Self::new`].
    pub(crate) fn end(&self, route: usize, method: MethodName, outcome: Outcome, began: Instant) {
        self.under_way.add(-1);
        let (_, route) = &self.routes[route];
        route.requests[method as usize][outcome.place()].add(1);
        route.seconds[method as usize].observe_since(began);
    }

    pub(super) fn encode(&self, sink: &mut Sink<'_>) -> fmt::Result {
        // Series without a request are left out: there are far more combinations than any client uses.
        let of_methods = || {
            self.routes.iter().flat_map(|(route, of_route)| {
                let methods =
                    of_route.seconds.iter().zip(&of_route.requests).zip(MethodName::ALL.map(MethodName::name));
                methods.map(move |((seconds, requests), method)| (*route, method, seconds, requests))
            })
        };
        sink.counter(
            "analyticsd_http_requests",
            "Requests by route, method and status; closed: the connection was closed because it is not known whether \
             the events are stored; abandoned: the client was gone first",
            of_methods().flat_map(|(route, method, _, requests)| {
                let seen = requests.iter().enumerate().filter(|(_, count)| count.get() > 0.0);
                seen.map(move |(place, count)| {
                    (vec![("route", route), ("method", method), ("status", Outcome::name_at(place))], count.get())
                })
            }),
        )?;
        sink.histogram(
            "analyticsd_http_request_duration_seconds",
            "Time from the head of a request to its answer; for the stream, to its beginning",
            of_methods()
                .filter(|(_, _, seconds, _)| seconds.read().1 > 0)
                .map(|(route, method, seconds, _)| (vec![("route", route), ("method", method)], seconds)),
        )?;
        sink.gauge(
            "analyticsd_http_requests_under_way",
            "Requests that have no answer yet",
            [(vec![], self.under_way.get())],
        )
    }
}

label! {
    /// Which of the two listeners.
    pub(crate) enum Listener {
        /// The one that clients use.
        Public = "public",
        /// The one that serves the metrics.
        Admin = "admin",
    }
}

/// Connections of clients to one listener.
#[derive(Default)]
pub(crate) struct OfListener {
    pub(crate) open: Gauge,
    pub(crate) limit: Gauge,
    pub(crate) accepted: Counter,
    /// Refused with 503, because all connections were taken.
    pub(crate) refused: Counter,
    /// Refused with 503, because the address had reached its limit.
    pub(crate) refused_of_one: Counter,
    /// Closed without an answer, because too many were being refused already.
    pub(crate) dropped: Counter,
    /// Failures of the system to accept a connection, for example for lack of file descriptors.
    pub(crate) failed: Counter,
    /// Ended without an answer to a request.
    pub(crate) broken: BrokenConnections,
}

/// Connections of clients.
#[derive(Default)]
pub(crate) struct Connections([OfListener; Listener::ALL.len()]);

impl Connections {
    pub(crate) fn of(&self, listener: Listener) -> &OfListener {
        &self.0[listener as usize]
    }

    pub(super) fn encode(&self, sink: &mut Sink<'_>) -> fmt::Result {
        let of = |value: fn(&OfListener) -> f64| {
            let listeners = self.0.iter().zip(Listener::ALL.map(Listener::name));
            listeners.map(move |(of_listener, name)| (vec![("listener", name)], value(of_listener)))
        };
        sink.gauge("analyticsd_connections_open", "Connections of clients", of(|listener| listener.open.get()))?;
        sink.gauge(
            "analyticsd_connections_limit",
            "The most connections of clients at a time",
            of(|listener| listener.limit.get()),
        )?;
        sink.counter(
            "analyticsd_connections_accepted",
            "Connections of clients that were served",
            of(|listener| listener.accepted.get()),
        )?;
        let refused = |value: fn(&OfListener) -> f64, limit, answer| {
            let labels = vec![("limit", limit), ("answer", answer)];
            of(value).map(move |(listener, value)| ([listener, labels.clone()].concat(), value))
        };
        sink.counter(
            "analyticsd_connections_refused",
            "Connections beyond the limit, of all or of one address: answered with 503, or closed without an answer if \
             too many were being refused",
            refused(|listener| listener.refused.get(), "all", "503")
                .chain(refused(|listener| listener.refused_of_one.get(), "address", "503"))
                .chain(refused(|listener| listener.dropped.get(), "any", "none")),
        )?;
        sink.counter(
            "analyticsd_connections_failed",
            "Connections that the system could not accept, for example for lack of file descriptors",
            of(|listener| listener.failed.get()),
        )?;
        let broken = self.0.iter().zip(Listener::ALL.map(Listener::name)).flat_map(|(of_listener, listener)| {
            let each = of_listener.broken.each();
            each.map(move |(reason, count)| (vec![("listener", listener), ("reason", reason)], count))
        });
        sink.counter(
            "analyticsd_connections_broken",
            "Connections that ended without an answer to a request, by reason",
            broken,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{MethodName, Outcome, STATUSES};
    use warp::http::{Method, StatusCode};

    #[test]
    fn unknown_methods_share_one_label_and_so_do_unknown_statuses() {
        assert_eq!(MethodName::of(&Method::from_bytes(b"BREW").unwrap()).name(), "other");
        assert_eq!(MethodName::of(&Method::HEAD).name(), "HEAD");
        let named = Outcome::name;
        assert_eq!(named(Outcome::Answered(StatusCode::IM_A_TEAPOT)), "other");
        assert_eq!(named(Outcome::Answered(StatusCode::NO_CONTENT)), "204");
        assert_eq!(named(Outcome::Closed), "closed");
        assert_eq!(named(Outcome::Abandoned), "abandoned");
        assert!(STATUSES.iter().all(|(code, name)| code.to_string() == *name));
    }
}
