use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};
use thiserror::Error;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Post,
    Get,
    Batch,
    /// A batch of a source.
    Source,
    /// An event by the image for pages without scripts.
    Pixel,
    /// An event as the script for web pages sends it.
    Script,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    Current,
    Past,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) method: Method,
    pub(crate) age: Age,
}

impl Method {
    /// In the order of reports.
    const ALL: [Self; 6] = [Self::Post, Self::Get, Self::Batch, Self::Source, Self::Pixel, Self::Script];

    fn as_str(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Get => "GET",
            Self::Batch => "BATCH",
            Self::Source => "SOURCE",
            Self::Pixel => "PIXEL",
            Self::Script => "SCRIPT",
        }
    }
}

impl Age {
    fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Past => "past",
        }
    }
}

impl Kind {
    /// Every kind, in the order of reports.
    pub(crate) const ALL: [Self; 2 * Method::ALL.len()] = {
        let mut all = [Self { method: Method::Post, age: Age::Current }; 2 * Method::ALL.len()];
        let mut place = 0;
        while place < all.len() {
            let age = if place.is_multiple_of(2) { Age::Current } else { Age::Past };
            all[place] = Self { method: Method::ALL[place / 2], age };
            place += 1;
        }
        all
    };

    /// Its place in [`Kind::ALL`].
    pub(crate) fn index(self) -> usize {
        2 * self.method as usize + self.age as usize
    }

    /// For goose's report, which puts the HTTP method before it.
    pub(crate) fn goose_name(self) -> &'static str {
        match (self.method, self.age) {
            (Method::Post | Method::Get, age) => age.as_str(),
            (Method::Batch, Age::Current) => "batch current",
            (Method::Batch, Age::Past) => "batch past",
            (Method::Source, Age::Current) => "source current",
            (Method::Source, Age::Past) => "source past",
            (Method::Pixel, Age::Current) => "pixel current",
            (Method::Pixel, Age::Past) => "pixel past",
            (Method::Script, Age::Current) => "script current",
            (Method::Script, Age::Past) => "script past",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method.as_str(), self.age.as_str())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The kinds with a method, an age, or both; or all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    method: Option<Method>,
    age: Option<Age>,
}

impl Selection {
    pub(crate) fn holds(self, kind: Kind) -> bool {
        self.method.is_none_or(|method| method == kind.method) && self.age.is_none_or(|age| age == kind.age)
    }
}

impl From<Kind> for Selection {
    fn from(kind: Kind) -> Self {
        Self { method: Some(kind.method), age: Some(kind.age) }
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.method, self.age) {
            (None, None) => f.write_str("all requests"),
            (Some(method), None) => f.write_str(method.as_str()),
            (None, Some(age)) => f.write_str(age.as_str()),
            (Some(method), Some(age)) => Kind { method, age }.fmt(f),
        }
    }
}

#[derive(Debug, PartialEq, Eq, Error)]
#[error(
    "{0:?} is not a kind of request; accepted is post, get, batch, source, pixel or script, current or past, or both as in post-past"
)]
pub(crate) struct InvalidSelection(String);

impl FromStr for Selection {
    type Err = InvalidSelection;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidSelection(text.to_owned());
        let mut selection = Self::default();
        for word in text.split([' ', '-']).filter(|word| !word.is_empty()) {
            let is_word = |name: &str| name.eq_ignore_ascii_case(word);
            let method = Method::ALL.into_iter().find(|method| is_word(method.as_str()));
            let age = [Age::Current, Age::Past].into_iter().find(|age| is_word(age.as_str()));
            let taken = match (method, age) {
                (Some(method), _) => selection.method.replace(method).is_some(),
                (None, Some(age)) => selection.age.replace(age).is_some(),
                (None, None) => return Err(invalid()),
            };
            if taken {
                return Err(invalid());
            }
        }
        if selection == Self::default() { Err(invalid()) } else { Ok(selection) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Selection};

    #[test]
    fn every_kind_knows_its_place() {
        for (place, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), place, "{kind}");
        }
    }

    #[test]
    fn a_selection_is_read_as_people_and_reports_write_it() {
        let table = [
            ("post", "POST current, POST past"),
            ("GET", "GET current, GET past"),
            ("past", "POST past, GET past, BATCH past, SOURCE past, PIXEL past, SCRIPT past"),
            ("POST past", "POST past"),
            ("post-past", "POST past"),
            ("past-post", "POST past"),
            ("batch", "BATCH current, BATCH past"),
            ("pixel-current", "PIXEL current"),
        ];
        for (text, expected) in table {
            let selection: Selection = text.parse().unwrap();
            let kinds: Vec<String> =
                Kind::ALL.into_iter().filter(|&kind| selection.holds(kind)).map(|k| k.to_string()).collect();
            assert_eq!(kinds.join(", "), expected, "{text:?}");
        }
        for text in ["", "-", "put", "post get", "post post", "past past", "post,past"] {
            assert!(text.parse::<Selection>().is_err(), "{text:?}");
        }
    }
}
