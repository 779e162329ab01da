//! Zig-zag variable-length integers, as records use them.

use bytes::BufMut;

/// Writes a 64-bit number; 32-bit ones are written alike.
pub(super) fn put(out: &mut impl BufMut, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        out.put_u8(low_bits(rest) | 0x80);
        rest >>= 7;
    }
    out.put_u8(low_bits(rest));
}

/// Bytes that [`put`] writes.
pub(super) const fn length(value: i64) -> usize {
    let bits = (64 - (zigzag(value) | 1).leading_zeros()) as usize;
    bits.div_ceil(7)
}

/// Reads a number from the start of `bytes`; returns it and the bytes it took. `None` if it is cut off or longer than
/// 64 bits.
pub(super) fn read(bytes: &[u8]) -> Option<(i64, usize)> {
    let mut digits = Digits::default();
    for (index, byte) in bytes.iter().take(MAX_BYTES).enumerate() {
        if let Some(number) = digits.push(*byte).ok()? {
            return Some((number, index.saturating_add(1)));
        }
    }
    None
}

/// Bytes of a number, at most.
pub(super) const MAX_BYTES: usize = 10;

/// A number that comes byte by byte.
#[derive(Debug, Default)]
pub(super) struct Digits {
    value: u64,
    count: usize,
}

/// The number is longer than 64 bits.
#[derive(Debug)]
pub(super) struct TooLong;

impl Digits {
    /// The next byte; the number, if it was the last.
    pub(super) fn push(&mut self, byte: u8) -> Result<Option<i64>, TooLong> {
        if self.count >= MAX_BYTES || (self.count == MAX_BYTES - 1 && byte > 1) {
            return Err(TooLong);
        }
        self.value |= u64::from(byte & 0x7f) << (7 * self.count);
        self.count += 1;
        Ok((byte & 0x80 == 0).then(|| unzigzag(self.value)))
    }
}

const fn zigzag(value: i64) -> u64 {
    (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned()
}

const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

const fn low_bits(value: u64) -> u8 {
    (value & 0x7f) as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(value: i64) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, value);
        out
    }

    #[test]
    fn numbers_are_written_as_kafka_writes_them() {
        assert_eq!(bytes(0), [0]);
        assert_eq!(bytes(-1), [1]);
        assert_eq!(bytes(63), [126]);
        assert_eq!(bytes(-64), [127]);
        assert_eq!(bytes(64), [128, 1]);
        assert_eq!(bytes(i64::from(i32::MAX)), [0xfe, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(bytes(i64::MIN), [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
    }

    #[test]
    fn what_is_cut_off_or_too_long_is_refused() {
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[0x80]), None);
        assert_eq!(read(&[0xff; 9]), None);
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]), None);
        assert_eq!(read(&[0xff; 20]), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value: i64, rest: Vec<u8>) {
            let mut written = bytes(value);
            let taken = written.len();
            prop_assert_eq!(taken, length(value));
            written.extend(rest);
            prop_assert_eq!(read(&written), Some((value, taken)));
        }
    }
}
