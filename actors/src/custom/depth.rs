//! Reads a value of a user's from bytes of strangers, nested at most so deep.
//!
//! A type that holds itself (`enum Term { Not(Box<Term>), … }`) is read by recursion, a level of nesting from one byte: a
//! message of a megabyte would overflow any stack, which ends the process. Here each level is counted, and the reading
//! ends with an error where there are too many; so does the drop of what was read by then. The bound is that of
//! `serde_json`.

use std::cell::Cell;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor};

/// Values inside of each other, at most.
pub(super) const LEVELS_MAX: u32 = 128;

/// How many levels may still be entered. Shared by all that is read of one message.
#[derive(Debug)]
pub(super) struct Levels {
    left: Cell<u32>,
    were_too_few: Cell<bool>,
}

impl Levels {
    pub(super) const fn new() -> Self {
        Self { left: Cell::new(LEVELS_MAX), were_too_few: Cell::new(false) }
    }

    /// Whether the reading ended for that: errors of formats do not say what is said to them.
    pub(super) const fn were_too_few(&self) -> bool {
        self.were_too_few.get()
    }

    fn enter<E: Error>(&self) -> Result<Level<'_>, E> {
        let Some(left) = self.left.get().checked_sub(1) else {
            self.were_too_few.set(true);
            return Err(E::custom("nested too deep"));
        };
        self.left.set(left);
        Ok(Level(self))
    }
}

/// One level; left when dropped.
struct Level<'l>(&'l Levels);

impl Drop for Level<'_> {
    fn drop(&mut self) {
        self.0.left.set(self.0.left.get().saturating_add(1));
    }
}

/// A deserializer, visitor, seed or access of serde's, with everything that comes out of it bounded.
pub(super) struct Bounded<'l, T> {
    pub(super) inner: T,
    pub(super) levels: &'l Levels,
}

impl<'l, T> Bounded<'l, T> {
    const fn new(inner: T, levels: &'l Levels) -> Self {
        Self { inner, levels }
    }
}

/// Values without values in them: nothing to count.
macro_rules! plain {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
            self.inner.$method(visitor)
        })*
    };
}

/// Values with values in them.
macro_rules! nested {
    ($($method:ident($($argument:ident: $type:ty),*))*) => {
        $(fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, Self::Error> {
            let _level = self.levels.enter()?;
            self.inner.$method($($argument,)* Bounded::new(visitor, self.levels))
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Bounded<'_, D> {
    type Error = D::Error;

    plain! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_string
        deserialize_bytes deserialize_byte_buf deserialize_unit deserialize_identifier
    }

    nested! {
        deserialize_any()
        deserialize_ignored_any()
        deserialize_option()
        deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str)
        deserialize_seq()
        deserialize_tuple(len: usize)
        deserialize_tuple_struct(name: &'static str, len: usize)
        deserialize_map()
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// What a visitor is given as it is.
macro_rules! given {
    ($($method:ident($type:ty))*) => {
        $(fn $method<E: Error>(self, value: $type) -> Result<Self::Value, E> {
            self.inner.$method(value)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Bounded<'_, V> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(formatter)
    }

    given! {
        visit_bool(bool) visit_i8(i8) visit_i16(i16) visit_i32(i32) visit_i64(i64) visit_i128(i128)
        visit_u8(u8) visit_u16(u16) visit_u32(u32) visit_u64(u64) visit_u128(u128)
        visit_f32(f32) visit_f64(f64) visit_char(char)
        visit_str(&str) visit_borrowed_str(&'de str) visit_string(String)
        visit_bytes(&[u8]) visit_borrowed_bytes(&'de [u8]) visit_byte_buf(Vec<u8>)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(Bounded::new(deserializer, self.levels))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(Bounded::new(deserializer, self.levels))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(Bounded::new(access, self.levels))
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(Bounded::new(access, self.levels))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(Bounded::new(access, self.levels))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Bounded<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Bounded::new(deserializer, self.levels))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.inner.next_element_seed(Bounded::new(seed, self.levels))
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.inner.next_key_seed(Bounded::new(seed, self.levels))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.next_value_seed(Bounded::new(seed, self.levels))
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, 'l, A: EnumAccess<'de>> EnumAccess<'de> for Bounded<'l, A> {
    type Error = A::Error;
    type Variant = Bounded<'l, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let (value, variant) = self.inner.variant_seed(Bounded::new(seed, self.levels))?;
        Ok((value, Bounded::new(variant, self.levels)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.newtype_variant_seed(Bounded::new(seed, self.levels))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.inner.tuple_variant(len, Bounded::new(visitor, self.levels))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.inner.struct_variant(fields, Bounded::new(visitor, self.levels))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::de::DeserializeOwned;
    use serde::{Deserialize, Serialize};

    use super::*;

    fn read<T: DeserializeOwned>(bytes: &[u8]) -> postcard::Result<T> {
        let levels = Levels::new();
        T::deserialize(Bounded { inner: &mut postcard::Deserializer::from_bytes(bytes), levels: &levels })
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Term {
        True,
        Not(Box<Self>),
        And { left: Box<Self>, right: Box<Self> },
        List(Vec<Self>),
        Pair(Option<Box<Self>>, (u8, BTreeMap<String, Self>)),
    }

    /// As many levels as may be, less what is inside of `Not`.
    fn nots(levels: u32) -> Vec<u8> {
        let mut bytes = vec![1; usize::try_from(levels).unwrap() - 1];
        bytes.push(0);
        bytes
    }

    #[test]
    fn what_is_nested_within_the_bound_is_read_whatever_it_consists_of() {
        let pair = Term::Pair(
            Some(Box::new(Term::True)),
            (7, BTreeMap::from([("a".to_owned(), Term::Not(Box::new(Term::True)))])),
        );
        let list = Term::List(vec![Term::True, pair, Term::List(Vec::new())]);
        let all = Term::And { left: Box::new(list), right: Box::new(Term::True) };
        assert_eq!(read::<Term>(&postcard::to_stdvec(&all).unwrap()).unwrap(), all);
        assert!(read::<Term>(&nots(LEVELS_MAX)).is_ok());
        // A level that is left may be entered again.
        let wide: Vec<Vec<u8>> = vec![vec![1]; 1_000];
        assert_eq!(read::<Vec<Vec<u8>>>(&postcard::to_stdvec(&wide).unwrap()).unwrap(), wide);
    }

    #[test]
    fn what_is_nested_deeper_is_an_error_however_deep_and_needs_no_more_stack_than_there_is() {
        // As much as users' threads have.
        let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(|| {
            assert!(read::<Term>(&nots(LEVELS_MAX + 1)).is_err());
            for first in [1, 2] {
                assert!(read::<Term>(&vec![first; 8 << 20]).is_err());
            }
            // Lists of one list, and pairs of some pair.
            assert!(read::<Term>(&[3, 1].repeat(1 << 20)).is_err());
            assert!(read::<Term>(&[4, 1].repeat(1 << 20)).is_err());
        });
        thread.unwrap().join().unwrap();
    }
}
