//! Which keys of the table want to be told of a foreign key: a store beside the other table.
//!
//! ```text
//! key    length of the foreign key: u32   its bytes   the key of the table
//! value  form: u8 = 0   partition: i32   version: u64
//! ```

use std::ops::Bound;

use bytes::{Buf, BufMut, Bytes};

use super::super::super::codec::CodecError;
use super::super::super::frame;
use super::super::super::scope::{Scope, StreamError};
use super::message::Subscription;

const FORM: u8 = 0;

/// Subscriptions that are read at once.
const SCAN: usize = 1_000;

/// The subscriptions of a task.
pub(super) struct Subscriptions(pub(super) usize);

/// Who is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subscriber {
    pub(super) key: Bytes,
    pub(super) partition: i32,
    pub(super) version: u64,
}

impl Subscriptions {
    pub(super) fn put(
        &self,
        scope: &mut Scope,
        foreign: &[u8],
        of: &Subscription,
        is_on: bool,
    ) -> Result<(), StreamError> {
        let mut at = prefix(foreign, of.key.len())?;
        at.put_slice(&of.key);
        let value = is_on.then(|| {
            let mut value = Vec::with_capacity(13);
            value.put_u8(FORM);
            value.put_i32(of.partition);
            value.put_u64(of.version);
            value.into()
        });
        scope.store_mut(self.0)?.put(at.into(), value);
        Ok(())
    }

    /// Tells `to` of each subscriber of a foreign key.
    pub(super) fn each(
        &self,
        scope: &mut Scope,
        foreign: &[u8],
        mut to: impl FnMut(Subscriber, &mut Scope),
    ) -> Result<(), StreamError> {
        let first = prefix(foreign, 0)?;
        let end = behind(&first);
        let to_bound = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut last: Option<Bytes> = None;
        loop {
            let from = last.as_deref().map_or(Bound::Included(first.as_slice()), Bound::Excluded);
            let found = scope.store(self.0)?.scan(from, to_bound, SCAN)?;
            let is_all = found.len() < SCAN;
            last = found.last().map(|(key, _)| key.clone());
            for (key, value) in found {
                to(subscriber(key.slice(first.len()..), value)?, scope);
            }
            if is_all {
                return Ok(());
            }
        }
    }
}

fn subscriber(key: Bytes, mut value: Bytes) -> Result<Subscriber, CodecError> {
    frame::take_form(&mut value, FORM, "a subscription")?;
    let partition = value.try_get_i32().map_err(|_| frame::cut())?;
    let version = value.try_get_u64().map_err(|_| frame::cut())?;
    Ok(Subscriber { key, partition, version })
}

/// What all subscriptions of a foreign key begin with.
fn prefix(foreign: &[u8], room: usize) -> Result<Vec<u8>, CodecError> {
    let length = u32::try_from(foreign.len())
        .map_err(|_| CodecError::new("a foreign key of 4 GiB or more does not fit in a record"))?;
    let mut prefix = Vec::with_capacity(foreign.len().saturating_add(room).saturating_add(4));
    prefix.put_u32(length);
    prefix.put_slice(foreign);
    Ok(prefix)
}

/// The first key behind all that begin so; `None` where there is none.
fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let place = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix.get(..=place)?.to_vec();
    *end.last_mut()? += 1;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::super::super::super::store::MemoryStore;
    use super::super::super::super::store::layered::Layered;
    use super::super::message::Ask;
    use super::*;

    #[test]
    fn the_subscribers_of_a_foreign_key_are_its_own_and_all_of_them() {
        let mut scope = Scope::new(vec![Layered::new(Box::new(MemoryStore::default()))], 0);
        let store = Subscriptions(0);
        let key = |number: u32| Bytes::copy_from_slice(&number.to_be_bytes());
        for number in 0..2_500 {
            let of = Subscription { ask: Ask::Always, partition: 1, version: 2, key: key(number) };
            store.put(&mut scope, b"a", &of, true).unwrap();
            store.put(&mut scope, b"ab", &of, number % 2 == 0).unwrap();
        }
        for (foreign, wanted) in [(&b"a"[..], 2_500), (b"ab", 1_250), (b"", 0), (b"abc", 0)] {
            let mut found = 0;
            store.each(&mut scope, foreign, |_, _| found += 1).unwrap();
            assert_eq!(found, wanted, "{foreign:?}");
        }
    }

    #[test]
    fn a_subscription_is_kept_as_it_has_been_since_its_first_form() {
        let mut scope = Scope::new(vec![Layered::new(Box::new(MemoryStore::default()))], 0);
        let of =
            Subscription { ask: Ask::IfThere, partition: 3, version: 258, key: Bytes::from_static(b"k") };
        Subscriptions(0).put(&mut scope, b"f", &of, true).unwrap();
        let all = scope.store(0).unwrap().scan(Bound::Unbounded, Bound::Unbounded, 2).unwrap();
        let golden: &[u8] = &[0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 1, 2];
        assert_eq!(all, [(Bytes::from_static(b"\0\0\0\x01fk"), Bytes::from_static(golden))]);
    }

    #[test]
    fn a_prefix_of_the_greatest_bytes_has_nothing_behind_it() {
        assert_eq!(behind(&[1, 255]), Some(vec![2]));
        assert_eq!(behind(&[255, 255]), None);
    }
}
