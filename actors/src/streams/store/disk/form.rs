//! How keys and what is known of a store lie in its keyspace.

use std::borrow::Cow;

use bytes::Bytes;
use fjall::Slice;

use super::Checkpoint;

/// The longest key of a store on disk; the database has 16 bits for its length.
pub(super) const MAX_KEY_BYTES: usize = 60_000;

/// Below the place of every key.
pub(super) const STATE_KEY: [u8; 2] = [0, 0];

/// Before keys that are empty or begin with 0, so that none is the one above, in the order of the keys.
const ESCAPE: [u8; 2] = [0, 2];

/// Where a key lies.
pub(super) fn placed(key: &[u8]) -> Cow<'_, [u8]> {
    match key.first() {
        None | Some(0) => Cow::Owned([&ESCAPE, key].concat()),
        Some(_) => Cow::Borrowed(key),
    }
}

/// The key that lies here.
pub(super) fn unplaced(place: Slice) -> Bytes {
    let place = Bytes::from(place);
    match place.starts_with(&ESCAPE) {
        true => place.slice(ESCAPE.len()..),
        false => place,
    }
}

/// What is known of a store as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) checkpoint: Option<Checkpoint>,
    /// Keys below are gone.
    pub(super) floor: Bytes,
    /// From where on entries below the floor are not taken out yet; the floor where all are. Kept, as looking for them anew
    /// would wade through all that were taken out.
    pub(super) purged: Bytes,
}

const VERSION: u8 = 1;

impl State {
    /// The version; the checkpoint (8 bytes), the length of the floor (4), both big-endian; the floor; how far it is purged. A
    /// state without a checkpoint is not written.
    pub(super) fn encode(&self) -> Vec<u8> {
        let checkpoint = self.checkpoint.map_or(0, |checkpoint| checkpoint.0);
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&checkpoint.to_be_bytes());
        // No key is longer than 16 bits tell.
        bytes.extend_from_slice(&u32::try_from(self.floor.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(&self.floor);
        bytes.extend_from_slice(&self.purged);
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let Some((version, rest)) = bytes.split_first() else { return Err("its state is empty".to_owned()) };
        if *version != VERSION {
            return Err(format!("its state is of version {version}, known is {VERSION}"));
        }
        let parts = rest.split_first_chunk().and_then(|(checkpoint, rest)| {
            let (length, rest) = rest.split_first_chunk()?;
            let (floor, purged) =
                rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
            let checkpoint = Some(Checkpoint(i64::from_be_bytes(*checkpoint)));
            let (floor, purged) = (Bytes::copy_from_slice(floor), Bytes::copy_from_slice(purged));
            Some(Self { checkpoint, floor, purged })
        });
        parts.ok_or_else(|| "its state is cut off".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lie_in_their_order_and_none_where_the_state_is() {
        let keys: [&[u8]; 8] = [b"", b"\0", b"\0\0", b"\0\x02", b"\0\x02a", b"\x01", b"\x02", b"\xff\xff"];
        let places: Vec<Vec<u8>> = keys.iter().map(|key| placed(key).into_owned()).collect();
        assert!(places.is_sorted() && places.iter().all(|place| place.as_slice() > STATE_KEY.as_slice()));
        for (key, place) in keys.iter().zip(&places) {
            assert_eq!(unplaced(Slice::from(place.as_slice())).as_ref(), *key);
        }
    }

    #[test]
    fn the_state_is_written_so() {
        let (floor, purged) = (Bytes::from_static(b"fl"), Bytes::from_static(b"a"));
        let state = State { checkpoint: Some(Checkpoint(258)), floor, purged };
        assert_eq!(state.encode(), [1, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 2, b'f', b'l', b'a']);
        assert_eq!(State::decode(&state.encode()), Ok(state));
        assert!(State::decode(&[2, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap_err().contains("version 2"));
        for cut in [0, 1, 2, 12, 14] {
            assert!(State::decode(&[1, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 2, b'f', b'l'][..cut]).is_err());
        }
    }
}
