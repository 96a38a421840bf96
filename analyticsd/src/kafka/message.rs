use model::ContentCheck;
use rdkafka::{Message as _, message::BorrowedMessage};
use sha2::{Digest, Sha256};

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
}

impl Message {
    /// About what a message takes in memory besides its content.
    const OVERHEAD: usize = 128;

    pub(super) fn of(message: &BorrowedMessage<'_>) -> Self {
        Self {
            offset: u64::try_from(message.offset()).unwrap_or_default(),
            timestamp: message.timestamp().to_millis(),
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
        }
    }

    #[cfg(test)]
    pub(super) fn new(offset: u64, payload: &str) -> Self {
        Self { offset, timestamp: None, key: None, payload: Some(payload.into()) }
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
        let mut sum = Sha256::new();
        sum.update(self.offset.to_be_bytes());
        sum.update(self.timestamp.unwrap_or(-1).to_be_bytes());
        for part in [&self.key, &self.payload] {
            // The length tells an absent part from an empty one, and where the first ends.
            sum.update(part.as_ref().map_or(u64::MAX, |part| part.len() as u64).to_be_bytes());
            sum.update(part.as_deref().unwrap_or_default());
        }
        ContentCheck::new(&sum.finalize()[..16]).expect("16 bytes are a check")
    }
}
