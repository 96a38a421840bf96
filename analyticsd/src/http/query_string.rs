//! Parses query strings strictly: an error names the parameter and what it accepts.

use std::ops::RangeInclusive;

use chrono::NaiveDate;
use model::{
    Calendar, ContentCheck, Event, EventKind, Hour, IdempotencyKey, InvalidInput, PeriodsPage, SiteName, SourceName,
    SourcePosition, Step, TimeUnit, Timestamp, UserName,
    query_string::{Parameters, given_twice},
};
use warp::http::{HeaderMap, HeaderName, HeaderValue};

use super::{
    accept::{CSV, JSON, prefers},
    error::ApiError,
};

/// The longest query string, in bytes. A user of 256 bytes takes 768 when every byte is percent-encoded; the rest is
/// for parameters that are ignored.
const MAX_BYTES: usize = 8 * 1024;

/// The query string of a request, not parsed yet.
pub(crate) struct QueryString(String);

impl QueryString {
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    /// Handlers take what they want from it and drop it before they wait for anything: a hostile one has thousands of
    /// parameters.
    pub(crate) fn parse(&self) -> Result<Query<'_>, ApiError> {
        if self.0.len() > MAX_BYTES {
            return Err(ApiError::QueryTooLong { limit: MAX_BYTES });
        }
        Ok(Query(Parameters::of(&self.0)))
    }
}

/// The parameters of a request.
pub(crate) struct Query<'a>(Parameters<'a>);

impl Query<'_> {
    /// The site that a request names.
    pub(crate) fn site(&self) -> Result<Option<SiteName>, InvalidInput> {
        self.0.optional(SiteName::PARAMETER, SiteName::ACCEPTED)?.map(SiteName::new).transpose()
    }

    /// The event of a `POST /analytics`.
    pub(crate) fn event(&self) -> Result<Event, InvalidInput> {
        Ok(Event {
            at: self.timestamp()?,
            user: UserName::new(self.0.required(UserName::PARAMETER, UserName::ACCEPTED)?)?,
            kind: EventKind::parse(&self.0.required(EventKind::PARAMETER, EventKind::ACCEPTED)?)?,
        })
    }

    /// The hour of a `GET /analytics`.
    pub(crate) fn hour(&self) -> Result<Hour, InvalidInput> {
        Ok(Hour::containing(self.timestamp()?))
    }

    /// How the timestamps of a batch are written.
    pub(crate) fn time_unit(&self) -> Result<TimeUnit, InvalidInput> {
        let name = self.0.optional(TimeUnit::PARAMETER, TimeUnit::ACCEPTED)?;
        name.map_or(Ok(TimeUnit::default()), |name| name.parse())
    }

    /// The part of a source that a batch is: its source, where it begins, and where it ends.
    pub(crate) fn step(&self) -> Result<Option<(SourceName, SourcePosition, SourcePosition)>, InvalidInput> {
        let Some(source) = self.0.optional(SourceName::PARAMETER, SourceName::ACCEPTED)? else {
            // Without their source the events would be stored as often as they are sent.
            for parameter in ["from", "to", "from_check", "check"] {
                if self.0.optional(parameter, SourcePosition::ACCEPTED)?.is_some() {
                    let fault = "is given without source".to_owned();
                    return Err(InvalidInput {
                        parameter,
                        fault,
                        accepted: "a part of a source, with its name in source",
                    });
                }
            }
            return Ok(None);
        };
        let source = SourceName::new(source)?;
        let from = SourcePosition { position: self.position("from")?, check: self.check("from_check")? };
        let to = SourcePosition { position: self.position("to")?, check: self.check("check")? };
        let fault = if to.position <= from.position {
            ("to", "is not behind from", "an integer that is greater than from")
        } else if from.position == 0 && from.check.is_some() {
            ("from_check", "is of no content, since from is 0", "no check for the beginning of a source")
        } else if from.check.is_some() && to.check.is_none() {
            ("check", "is missing", "the check of the content before to, since from_check is given")
        } else {
            return Ok(Some((source, from, to)));
        };
        let (parameter, fault, accepted) = fault;
        Err(InvalidInput { parameter, fault: fault.to_owned(), accepted })
    }

    fn position(&self, parameter: &'static str) -> Result<u64, InvalidInput> {
        const ACCEPTED: &str = SourcePosition::ACCEPTED;
        let text = self.0.required(parameter, ACCEPTED)?;
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        let position = text.parse().ok().filter(|&position| is_number && position <= SourcePosition::MAX);
        position.ok_or_else(|| InvalidInput { parameter, fault: "is no such number".to_owned(), accepted: ACCEPTED })
    }

    fn check(&self, parameter: &'static str) -> Result<Option<ContentCheck>, InvalidInput> {
        const ACCEPTED: &str = ContentCheck::ACCEPTED;
        let Some(text) = self.0.optional(parameter, ACCEPTED)? else { return Ok(None) };
        let check =
            text.parse().map_err(|fault: &str| InvalidInput { parameter, fault: fault.to_owned(), accepted: ACCEPTED });
        check.map(Some)
    }

    /// With what the names of the sources begin that a request asks for.
    pub(crate) fn source_prefix(&self) -> Result<String, InvalidInput> {
        let prefix = self.0.required("prefix", SourceName::ACCEPTED)?;
        let prefix = SourceName::new(prefix).map_err(|invalid| InvalidInput { parameter: "prefix", ..invalid })?;
        Ok(prefix.as_str().to_owned())
    }

    fn timestamp(&self) -> Result<Timestamp, InvalidInput> {
        Timestamp::parse(&self.0.required(Timestamp::PARAMETER, Timestamp::ACCEPTED)?)
    }

    /// The event that a `GET /analytics.gif` asks to record.
    pub(crate) fn pixel_event(&self, source: Option<&KeySource>) -> Result<PixelEvent, InvalidInput> {
        let user = self.0.optional(UserName::PARAMETER, UserName::ACCEPTED)?.map(UserName::new).transpose()?;
        let kind = self.0.optional(EventKind::PARAMETER, EventKind::ACCEPTED)?;
        let kind = kind.map_or(Ok(EventKind::Impression), |kind| EventKind::parse(&kind))?;
        let key = self.idempotency_key(source)?;
        let at = self.0.optional(Timestamp::PARAMETER, Timestamp::ACCEPTED)?;
        let at = at.map(|at| Timestamp::parse(&at)).transpose()?;
        // A request that is sent again would have another time, and so be another event.
        if key.is_some() && at.is_none() {
            return Err(InvalidInput {
                parameter: Timestamp::PARAMETER,
                fault: "is missing".to_owned(),
                accepted: "with an idempotency key, the time of the event in milliseconds since 1970, the same in each repetition",
            });
        }
        Ok(PixelEvent { at, user, kind, key })
    }

    /// The idempotency key of a request, if any: from its header, or from the parameter `id`.
    pub(crate) fn idempotency_key(&self, source: Option<&KeySource>) -> Result<Option<IdempotencyKey>, InvalidInput> {
        let in_header = match source.and_then(|source| source.header.as_ref()) {
            Some(KeyHeader::Once(value)) => Some(IdempotencyKey::from_header(value.as_bytes())?),
            Some(KeyHeader::Repeated) => return Err(given_twice(IdempotencyKey::HEADER, IdempotencyKey::ACCEPTED)),
            None => None,
        };
        let in_query = self.0.optional(IdempotencyKey::PARAMETER, IdempotencyKey::ACCEPTED)?;
        let in_query = in_query.map(IdempotencyKey::new).transpose()?;
        let key = match (in_header, in_query) {
            (Some(header), Some(parameter)) if header != parameter => Err(InvalidInput {
                parameter: IdempotencyKey::PARAMETER,
                fault: "is another key than the header Idempotency-Key".to_owned(),
                accepted: "one of the two, or the same key in both",
            }),
            (header, parameter) => Ok(header.or(parameter)),
        }?;
        Ok(match source.and_then(|source| source.public_key.as_deref()) {
            Some(id) => key.map(|key| key.of_public_key(id)),
            None => key,
        })
    }

    /// The periods of a `GET /analytics/periods`.
    pub(crate) fn periods(&self) -> Result<PeriodsQuery, InvalidInput> {
        let parsed = |name, accepted| self.0.optional(name, accepted);
        let step = parsed(Step::PARAMETER, Step::ACCEPTED)?.map_or(Ok(Step::Day), |name| name.parse())?;
        let zone = parsed(Calendar::PARAMETER, Calendar::ACCEPTED)?;
        let calendar = zone.map_or(Ok(Calendar::UTC), |name| name.parse::<Calendar>())?;
        let range = self.range(step, calendar)?;
        let is_cut = match self.0.optional("cut", "true or false")?.as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(unknown("cut", "true or false")),
        };
        let mut periods = calendar.periods(step, &range, PeriodsPage::MAX_PERIODS)?;
        if is_cut {
            let cut =
                |period: RangeInclusive<Hour>| *period.start().max(range.start())..=*period.end().min(range.end());
            periods = periods.into_iter().map(cut).collect();
        }
        Ok(PeriodsQuery { periods, step, calendar, is_cut, to: *range.end() })
    }

    /// From `from` to `to`. A date is its whole day. Without `from` it is the last 24 hours, 30 days, 12 weeks or 12 months.
    fn range(&self, step: Step, calendar: Calendar) -> Result<RangeInclusive<Hour>, InvalidInput> {
        let end = |parameter| self.end_of_range(parameter, calendar);
        let last = end("to")?.map_or_else(|| Hour::containing(Timestamp::now()), |hours| *hours.end());
        let usual = match step {
            Step::Hour => 24,
            Step::Day => 30,
            Step::Week | Step::Month => 12,
        };
        let first = match end("from")? {
            Some(hours) => *hours.start(),
            None => calendar.earlier(step, last, usual - 1)?,
        };
        if first > last {
            return Err(InvalidInput {
                parameter: "from",
                fault: "is later than to".to_owned(),
                accepted: "an instant in the same hour as to, or before it",
            });
        }
        Ok(first..=last)
    }

    /// The range of a `GET /analytics/hours`. The parameter `format` decides, otherwise the header `Accept`.
    pub(crate) fn hours(&self, headers: &HeaderMap) -> Result<HoursQuery, InvalidInput> {
        let range = self.range(Step::Hour, Calendar::UTC)?;
        let format = match self.0.optional("format", "json or csv")?.as_deref() {
            Some("json") => HoursFormat::Json,
            Some("csv") => HoursFormat::Csv,
            Some(_) => return Err(unknown("format", "json or csv")),
            None if prefers(headers, CSV, JSON) => HoursFormat::Csv,
            None => HoursFormat::Json,
        };
        Ok(HoursQuery { range, format })
    }

    /// An hour by any of its instants, or the hours of a day.
    fn end_of_range(
        &self,
        parameter: &'static str,
        calendar: Calendar,
    ) -> Result<Option<RangeInclusive<Hour>>, InvalidInput> {
        const ACCEPTED: &str = "a date like 2015-05-17, or an instant from 1970 to 9999, as RFC 3339 like \
                                2015-05-17T10:00:00Z or as milliseconds since 1970";
        let Some(text) = self.0.optional(parameter, ACCEPTED)? else { return Ok(None) };
        if is_date(&text) {
            let none = || InvalidInput {
                parameter,
                accepted: ACCEPTED,
                fault: "is no day of the time zone from 1970 to 9999".to_owned(),
            };
            let day = NaiveDate::parse_from_str(&text, "%Y-%m-%d").map_err(|_| none())?;
            return calendar.day(day)?.map(Some).ok_or_else(none);
        }
        match Timestamp::parse_either(&text).map(Hour::containing) {
            Ok(hour) => Ok(Some(hour..=hour)),
            Err(invalid) => Err(InvalidInput { parameter, accepted: ACCEPTED, fault: invalid.fault }),
        }
    }
}

/// What the query of a pixel says. Without a time it is now, and without a user the visitor gets a name.
pub(crate) struct PixelEvent {
    pub(crate) at: Option<Timestamp>,
    pub(crate) user: Option<UserName>,
    pub(crate) kind: EventKind,
    pub(crate) key: Option<IdempotencyKey>,
}

/// The parts of an idempotency key that are known before the query is parsed.
#[derive(Debug, Clone)]
pub(crate) struct KeySource {
    header: Option<KeyHeader>,
    /// The id of the request's public key. The key can be read in a page, and a client that copies it must not be able
    /// to use up the idempotency keys of others.
    public_key: Option<Box<str>>,
}

impl KeySource {
    /// `None` if the request has neither.
    pub(crate) fn of(headers: &HeaderMap, public_key: Option<Box<str>>) -> Option<Self> {
        let header = KeyHeader::of(headers);
        (header.is_some() || public_key.is_some()).then_some(Self { header, public_key })
    }
}

/// The header `Idempotency-Key`.
#[derive(Debug, Clone)]
enum KeyHeader {
    /// One value.
    Once(HeaderValue),
    /// Several values; none can be preferred.
    Repeated,
}

impl KeyHeader {
    /// `None` without this header.
    fn of(headers: &HeaderMap) -> Option<Self> {
        // As a text it would be parsed for each request.
        const NAME: HeaderName = HeaderName::from_static(IdempotencyKey::HEADER);
        let mut values = headers.get_all(&NAME).iter();
        let first = values.next()?;
        Some(if values.next().is_none() { Self::Once(first.clone()) } else { Self::Repeated })
    }
}

/// What a `GET /analytics/hours` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HoursQuery {
    pub(crate) range: RangeInclusive<Hour>,
    pub(crate) format: HoursFormat,
}

/// What a `GET /analytics/periods` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PeriodsQuery {
    /// At least one, and at most those of a page.
    pub(crate) periods: Vec<RangeInclusive<Hour>>,
    pub(crate) step: Step,
    pub(crate) calendar: Calendar,
    /// Whether the first and the last period are cut at the ends of the range.
    pub(crate) is_cut: bool,
    /// The last hour of the range, which has further pages where it lies behind the periods.
    pub(crate) to: Hour,
}

impl PeriodsQuery {
    pub(crate) fn first(&self) -> &RangeInclusive<Hour> {
        &self.periods[0]
    }

    pub(crate) fn last(&self) -> &RangeInclusive<Hour> {
        &self.periods[self.periods.len() - 1]
    }
}

/// How hours are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HoursFormat {
    Json,
    Csv,
}

/// Whether a text has the form of a date.
fn is_date(text: &str) -> bool {
    text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(at, byte)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() })
}

fn unknown(parameter: &'static str, accepted: &'static str) -> InvalidInput {
    InvalidInput { parameter, fault: "is unknown".to_owned(), accepted }
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::{Parameters, Query};

    fn query(text: &str) -> Query<'_> {
        Query(Parameters::of(text))
    }

    #[test]
    fn every_fault_is_named_with_its_parameter() {
        let table = [
            ("", "timestamp is missing"),
            ("timestamp=", "timestamp is empty"),
            ("timestamp", "timestamp is empty"),
            ("timestamp=1&timestamp=1", "timestamp is given more than once"),
            ("timestamp=1&time%73tamp=2", "timestamp is given more than once"),
            ("timestamp=1&%74imestamp=2", "timestamp is given more than once"),
            ("timestamp=x", "timestamp is not an integer"),
            ("timestamp=-1", "timestamp is negative"),
            ("timestamp=99999999999999999999", "timestamp is later than the year 9999"),
            ("timestamp=1", "user is missing"),
            ("timestamp=1&user=&event=click", "user is empty"),
            ("timestamp=1&user=a&user=b&event=click", "user is given more than once"),
            ("timestamp=1&user=%00&event=click", "user holds a NUL"),
            ("timestamp=1&user=%ff&event=click", "user is not UTF-8 after percent-decoding"),
            ("timestamp=1&user=a", "event is missing"),
            ("timestamp=1&user=a&event=", "event is empty"),
            ("timestamp=1&user=a&event=Click", "event is unknown"),
            ("timestamp=1&user=a&event=click&event=click", "event is given more than once"),
        ];
        for (text, expected) in table {
            let invalid = query(text).event().unwrap_err();
            assert_eq!(format!("{} {}", invalid.parameter, invalid.fault), expected, "{text:?}");
        }
    }

    #[test]
    fn unknown_parameters_are_ignored_also_if_repeated() {
        assert!(query("x=1&x=2&&=&timestamp=1&user=a&event=click&%ff=%ff").event().is_ok());
        assert!(query("timestamp=1&user=&user=&event=nonsense").hour().is_ok());
    }

    #[test]
    fn a_plus_is_a_space_and_an_encoded_plus_is_a_plus() {
        assert_eq!(query("timestamp=1&event=click&user=a+b%2Bc").event().unwrap().user.as_str(), "a b+c");
    }

    proptest! {
        #[test]
        fn every_name_survives_percent_encoding(name in "[^\0]{1,60}") {
            let text = format!("timestamp=1&event=click&user={}", utf8_percent_encode(&name, NON_ALPHANUMERIC));
            let seen = query(&text).event().unwrap();
            prop_assert_eq!(seen.user.as_str(), name);
        }

        #[test]
        fn no_query_string_makes_it_panic(text: String) {
            let _ = query(&text).event();
        }
    }
}
