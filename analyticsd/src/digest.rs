//! SHA-256 sums as short texts.

use sha2::{Sha256, digest::Digest};

/// The first 16 bytes of the sum as 32 hexadecimal digits: enough to rule out collisions, also intended ones.
pub(crate) fn short(sum: Sha256) -> String {
    let first = sum.finalize().iter().take(16).fold(0, |number: u128, &byte| (number << 8) | u128::from(byte));
    format!("{first:032x}")
}
