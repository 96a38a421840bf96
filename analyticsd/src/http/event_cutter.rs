//! Cuts the content of a batch into events as it arrives: its lines, or the elements of one JSON array.

use std::fmt;

use model::wire::MAX_BATCH_EVENTS;
use serde::{
    Deserializer as _,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// The content that is not cut yet.
#[derive(Default)]
pub(crate) struct EventCutter {
    content: Vec<u8>,
    /// What comes before is cut.
    begin: usize,
    /// Between the beginning and here is no end of a line.
    searched: usize,
    is_array: bool,
    /// Whether something is there that is not blank.
    has_content: bool,
}

impl EventCutter {
    pub(crate) fn add(&mut self, piece: &[u8]) {
        self.content.drain(..self.begin);
        self.searched -= self.begin;
        self.begin = 0;
        self.content.extend_from_slice(piece);
    }

    /// The next line that is whole. An array, which the first line that is not blank begins, has none before its end.
    pub(crate) fn next_line(&mut self) -> Option<&[u8]> {
        if self.is_array {
            return None;
        }
        let more = &self.content[self.searched..];
        let end = more.iter().position(|&byte| byte == b'\n');
        let line = &more[..end.unwrap_or(more.len())];
        if !self.has_content
            && let Some(first) = line.trim_ascii_start().first()
        {
            self.has_content = true;
            self.is_array = *first == b'[';
            if self.is_array {
                return None;
            }
        }
        let Some(end) = end else {
            self.searched = self.content.len();
            return None;
        };
        let line = self.begin..self.searched + end;
        self.begin = line.end + 1;
        self.searched = self.begin;
        Some(&self.content[line])
    }

    /// What is left at the end: a line without its end, or the elements of the array. They may be one more than a
    /// batch may have.
    pub(crate) fn rest(&mut self) -> Result<Vec<&[u8]>, serde_json::Error> {
        if self.next_line().is_none() && self.is_array {
            let mut array = serde_json::Deserializer::from_slice(&self.content[self.begin..]);
            let elements = array.deserialize_seq(Elements)?;
            array.end()?;
            return Ok(elements.into_iter().map(|element| element.get().as_bytes()).collect());
        }
        Ok(vec![&self.content[self.begin..]])
    }
}

/// The elements of an array as they are written.
struct Elements;

impl<'de> Visitor<'de> for Elements {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while elements.len() <= MAX_BATCH_EVENTS
            && let Some(element) = array.next_element()?
        {
            elements.push(element);
        }
        // One too many is enough to know.
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(elements)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::EventCutter;

    fn cut(content: &[u8], piece: usize) -> Result<Vec<String>, String> {
        let mut cutter = EventCutter::default();
        let mut events = Vec::new();
        let text = |event: &[u8]| String::from_utf8_lossy(event).into_owned();
        for piece in content.chunks(piece) {
            cutter.add(piece);
            while let Some(line) = cutter.next_line() {
                events.push(text(line));
            }
        }
        let rest = cutter.rest().map_err(|error| error.to_string())?;
        events.extend(rest.into_iter().map(text));
        Ok(events)
    }

    #[test]
    fn events_are_lines_or_elements_however_they_arrive() {
        for piece in [1, 2, 3, 1_000] {
            let cut = |content: &str| cut(content.as_bytes(), piece);
            assert_eq!(cut("a\nb\n\nc").unwrap(), ["a", "b", "", "c"]);
            assert_eq!(cut("").unwrap(), [""]);
            assert_eq!(cut(" [ {\"a\": [1]} ,\n2]\n").unwrap(), ["{\"a\": [1]}", "2"]);
            assert_eq!(cut("\n[1]").unwrap(), ["", "1"]);
            assert!(cut("[]").unwrap().is_empty());
            assert_eq!(cut("{}\n[1]").unwrap(), ["{}", "[1]"]);
            for broken in ["[", "[1,]", "[1] 2", "[1\n2]"] {
                assert!(cut(broken).is_err(), "{broken}");
            }
        }
        assert_eq!(cut(format!("[{}1]", "1,".repeat(20_000)).as_bytes(), 1_000).unwrap().len(), 10_001);
    }

    proptest! {
        #[test]
        fn no_content_makes_it_panic(content: Vec<u8>, piece in 1..9_usize) {
            let _ = cut(&content, piece);
        }
    }
}
