//! Keys with windows as bytes, in the two forms that Kafka Streams has: `TimeWindowedSerde` and `SessionWindowedSerde`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::super::codec::{Codec, CodecError, Coded, SharedCodec, there};
use super::super::event::Data;
use super::{Window, Windowed};

/// The form of Kafka's `TimeWindowedSerde`: the key, and 8 bytes of where its window begins (big-endian). Windows are of this
/// size, which is not in the bytes; a window of another is refused.
#[must_use]
pub fn time_windowed<K: Data>(key: SharedCodec<K>, size: Duration) -> SharedCodec<Windowed<K>> {
    Arc::new(TimeForm { key, size_ms: i64::try_from(size.as_millis()).unwrap_or(i64::MAX) })
}

/// The form of Kafka's `SessionWindowedSerde`: the key, 8 bytes of where its window ends, and 8 of where it begins
/// (big-endian). It has both bounds, so it is what keys with windows are written in where nothing else is said.
#[must_use]
pub fn session_windowed<K: Data>(key: SharedCodec<K>) -> SharedCodec<Windowed<K>> {
    Arc::new(SessionForm(key))
}

impl<K: Coded> Coded for Windowed<K> {
    fn codec() -> SharedCodec<Self> {
        session_windowed(K::codec())
    }
}

struct TimeForm<K> {
    key: SharedCodec<K>,
    size_ms: i64,
}

impl<K> Codec<Windowed<K>> for TimeForm<K> {
    fn encode(&self, value: &Windowed<K>) -> Result<Option<Bytes>, CodecError> {
        let Window { start_ms, end_ms } = value.window;
        if end_ms.checked_sub(start_ms) != Some(self.size_ms) {
            let text = format!("the window from {start_ms} to {end_ms} is not {} ms long", self.size_ms);
            return Err(CodecError::new(text));
        }
        with_tail(&self.key, &value.key, &start_ms.to_be_bytes())
    }

    fn decode(&self, bytes: Option<&Bytes>) -> Result<Windowed<K>, CodecError> {
        let (key, tail) = parted::<8>(bytes)?;
        let start_ms = i64::from_be_bytes(tail);
        // Kafka lets a window that would end after time end with it.
        let window = Window { start_ms, end_ms: start_ms.saturating_add(self.size_ms) };
        Ok(Windowed { key: self.key.decode(Some(&key))?, window })
    }
}

struct SessionForm<K>(SharedCodec<K>);

impl<K> Codec<Windowed<K>> for SessionForm<K> {
    fn encode(&self, value: &Windowed<K>) -> Result<Option<Bytes>, CodecError> {
        let (end, start) = (value.window.end_ms.to_be_bytes(), value.window.start_ms.to_be_bytes());
        with_tail(&self.0, &value.key, [end, start].as_flattened())
    }

    fn decode(&self, bytes: Option<&Bytes>) -> Result<Windowed<K>, CodecError> {
        let (key, start) = parted::<8>(bytes)?;
        let (key, end) = parted::<8>(Some(&key))?;
        let window = Window { start_ms: i64::from_be_bytes(start), end_ms: i64::from_be_bytes(end) };
        Ok(Windowed { key: self.0.decode(Some(&key))?, window })
    }
}

fn with_tail<K>(codec: &SharedCodec<K>, key: &K, tail: &[u8]) -> Result<Option<Bytes>, CodecError> {
    let key = codec.encode(key)?.ok_or_else(|| CodecError::new("a key in a window is none"))?;
    Ok(Some([&key, tail].concat().into()))
}

fn parted<const N: usize>(bytes: Option<&Bytes>) -> Result<(Bytes, [u8; N]), CodecError> {
    let bytes = there(bytes)?;
    let (key, tail) = bytes
        .split_last_chunk::<N>()
        .ok_or_else(|| CodecError::new(format!("{} bytes are no key with a window", bytes.len())))?;
    Ok((bytes.slice(..key.len()), *tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windowed(key: &str, start_ms: i64, end_ms: i64) -> Windowed<String> {
        Windowed { key: key.to_owned(), window: Window { start_ms, end_ms } }
    }

    #[test]
    fn windowed_keys_have_the_bytes_that_kafkas_serdes_write() {
        let time = time_windowed(String::codec(), Duration::from_millis(16));
        let bytes = time.encode(&windowed("ab", 258, 274)).unwrap().unwrap();
        assert_eq!(bytes.as_ref(), [b'a', b'b', 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(time.decode(Some(&bytes)).unwrap(), windowed("ab", 258, 274));
        let session = session_windowed(String::codec());
        let bytes = session.encode(&windowed("ab", -1, 258)).unwrap().unwrap();
        let ends = [0, 0, 0, 0, 0, 0, 1, 2, 255, 255, 255, 255, 255, 255, 255, 255];
        assert_eq!(bytes.as_ref(), [&b"ab"[..], &ends].concat());
        assert_eq!(session.decode(Some(&bytes)).unwrap(), windowed("ab", -1, 258));
    }

    #[test]
    fn a_window_of_another_size_and_bytes_without_a_window_are_refused() {
        let time = time_windowed(String::codec(), Duration::from_millis(16));
        let error = time.encode(&windowed("ab", 0, 17)).unwrap_err().to_string();
        assert_eq!(error, "the window from 0 to 17 is not 16 ms long");
        assert!(time.encode(&windowed("ab", i64::MIN, i64::MAX)).is_err());
        assert!(time.decode(Some(&Bytes::from_static(b"short"))).is_err());
        assert!(Windowed::<String>::codec().decode(Some(&Bytes::from_static(b"12345678abc"))).is_err());
        assert!(
            Windowed::<Option<String>>::codec()
                .encode(&Windowed { key: None, window: Window { start_ms: 0, end_ms: 1 } })
                .is_err()
        );
    }
}
