//! Reads server-sent events as analyticsd sends them: an event has a name and one line of data.

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerEvent {
    pub(crate) name: String,
    pub(crate) data: String,
}

/// The longest event, in bytes; analyticsd's have about a hundred.
const MAX_BYTES: usize = 64 * 1024;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

#[derive(Debug, Default)]
pub(crate) struct ServerEvents {
    unread: Vec<u8>,
}

impl ServerEvents {
    /// Takes the next piece of the stream, and returns the events that are complete now, without comments.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<Vec<ServerEvent>, TooLong> {
        self.unread.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.unread.windows(2).position(|pair| pair == b"\n\n") {
            let whole: Vec<u8> = self.unread.drain(..end + 2).collect();
            events.extend(event(&String::from_utf8_lossy(&whole)));
        }
        if self.unread.len() > MAX_BYTES { Err(TooLong) } else { Ok(events) }
    }
}

fn event(text: &str) -> Option<ServerEvent> {
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(value.strip_prefix(' ').unwrap_or(value).to_owned())
    };
    Some(ServerEvent { name: field("event")?, data: field("data")? })
}

#[cfg(test)]
mod tests {
    use super::{MAX_BYTES, ServerEvent, ServerEvents, TooLong};

    #[test]
    fn events_are_read_however_the_stream_is_cut() {
        let stream =
            b"retry: 2000\n\n:\n\nevent:counts\ndata:{\"clicks\":1}\n\nevent: unavailable\ndata: {}\n\nevent:cou";
        let event = |name: &str, data: &str| ServerEvent { name: name.to_owned(), data: data.to_owned() };
        let expected = [event("counts", "{\"clicks\":1}"), event("unavailable", "{}")];
        for size in 1..stream.len() {
            let mut events = ServerEvents::default();
            let read: Vec<_> = stream.chunks(size).flat_map(|piece| events.take(piece).unwrap()).collect();
            assert_eq!(read, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_stream_that_never_ends_an_event_is_given_up() {
        let mut events = ServerEvents::default();
        assert_eq!(events.take(&vec![b'x'; MAX_BYTES]), Ok(Vec::new()));
        assert_eq!(events.take(b"x"), Err(TooLong));
    }
}
