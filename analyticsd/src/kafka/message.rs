use model::{ContentCheck, wire::MAX_BATCH_BYTES};
use rdkafka::{Message as _, message::BorrowedMessage};
use sha2::{Digest, Sha256};

/// What is kept of a value that no batch could hold.
pub(super) const CUT_TO: usize = 64 * 1024;

/// A message of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// Its place in the partition. Some places may be empty.
    pub(super) offset: u64,
    /// In milliseconds since 1970, as the broker keeps it; none in old formats.
    timestamp: Option<i64>,
    pub(super) key: Option<Vec<u8>>,
    /// None in a tombstone.
    pub(super) payload: Option<Vec<u8>>,
    /// Of a message whose payload is only the beginning of what it had.
    pub(super) cut: Option<Cut>,
}

/// What a payload was before it was cut. A small message may hold gigabytes once it is decompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) bytes: usize,
    check: ContentCheck,
}

impl Message {
    /// About what a message takes in memory besides its content.
    const OVERHEAD: usize = 160;

    pub(super) fn of(message: &BorrowedMessage<'_>) -> Self {
        let offset = u64::try_from(message.offset()).unwrap_or_default();
        Self::new(offset, message.timestamp().to_millis(), message.key(), message.payload())
    }

    pub(super) fn new(offset: u64, timestamp: Option<i64>, key: Option<&[u8]>, payload: Option<&[u8]>) -> Self {
        let cut = payload.filter(|payload| payload.len() > MAX_BATCH_BYTES);
        let cut = cut.map(|payload| Cut { bytes: payload.len(), check: check(offset, timestamp, key, Some(payload)) });
        let kept = payload.map(|payload| if cut.is_some() { &payload[..CUT_TO] } else { payload });
        Self { offset, timestamp, key: key.map(<[u8]>::to_vec), payload: kept.map(<[u8]>::to_vec), cut }
    }

    pub(super) fn bytes(&self) -> usize {
        let lengths = [&self.key, &self.payload].map(|part| part.as_ref().map_or(0, Vec::len));
        Self::OVERHEAD + lengths.iter().sum::<usize>()
    }

    /// The position behind it.
    pub(super) fn end(&self) -> u64 {
        self.offset + 1
    }

    /// By which the same message is known again at its offset. A topic that was deleted and made anew has others there.
    pub(super) fn check(&self) -> ContentCheck {
        match &self.cut {
            Some(cut) => cut.check.clone(),
            None => check(self.offset, self.timestamp, self.key.as_deref(), self.payload.as_deref()),
        }
    }
}

fn check(offset: u64, timestamp: Option<i64>, key: Option<&[u8]>, payload: Option<&[u8]>) -> ContentCheck {
    let mut sum = Sha256::new();
    sum.update(offset.to_be_bytes());
    sum.update(timestamp.unwrap_or(-1).to_be_bytes());
    for part in [key, payload] {
        // The length tells an absent part from an empty one, and where the first ends.
        sum.update(part.map_or(u64::MAX, |part| part.len() as u64).to_be_bytes());
        sum.update(part.unwrap_or_default());
    }
    ContentCheck::new(&sum.finalize()[..16]).expect("16 bytes are a check")
}

#[cfg(test)]
mod tests {
    use model::wire::MAX_BATCH_BYTES;

    use super::{CUT_TO, Message};

    #[test]
    fn of_what_no_batch_can_hold_only_the_beginning_is_kept() {
        let of = |payload: &[u8]| Message::new(7, Some(1), None, Some(payload));
        let mut payload = vec![b'x'; MAX_BATCH_BYTES];
        let whole = of(&payload);
        assert_eq!((whole.payload.as_ref().map(Vec::len), &whole.cut), (Some(MAX_BATCH_BYTES), &None));
        payload.push(b'y');
        let cut = of(&payload);
        assert_eq!(cut.payload.as_ref().map(Vec::len), Some(CUT_TO));
        assert_eq!(cut.cut.as_ref().map(|cut| cut.bytes), Some(MAX_BATCH_BYTES + 1));
        *payload.last_mut().unwrap() = b'z';
        assert_ne!(of(&payload).check(), cut.check(), "the check is of all of it");
    }
}
