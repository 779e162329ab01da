//! Arrays: a checked range of a frame, or elements to be written.

use std::borrow::Cow;
use std::{fmt, slice};

use super::{Element, Reader, Refused, Uuid, Writer};

/// An array of a message.
///
/// One that was read is a range of the frame in which each element was checked; its elements are read again when they
/// are iterated. One that is to be written holds its elements or borrows them: make it with `from` or `collect`.
#[derive(Clone)]
pub struct Array<'a, T>(Form<'a, T>);

#[derive(Clone)]
enum Form<'a, T> {
    Checked(Checked<'a>),
    Borrowed(&'a [T]),
    Owned(Vec<T>),
}

#[derive(Clone, Copy)]
struct Checked<'a> {
    bytes: &'a [u8],
    count: u32,
    version: i16,
    flexible: bool,
}

impl<'a> Checked<'a> {
    fn iter<'b, T>(self) -> Iter<'b, 'a, T> {
        Iter(Walk::Checked(Reader::new(self.bytes, self.version, self.flexible), self.count))
    }
}

impl<'a, T> Array<'a, T> {
    /// A range of a frame in which all elements were read once. Not more of them than bytes in the frame.
    pub(super) fn checked(bytes: &'a [u8], count: usize, version: i16, flexible: bool) -> Self {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        Self(Form::Checked(Checked { bytes, count, version, flexible }))
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Checked(checked) => usize::try_from(checked.count).unwrap_or(usize::MAX),
            Form::Borrowed(elements) => elements.len(),
            Form::Owned(elements) => elements.len(),
        }
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements as they are in memory; none if the array was read from a frame.
    fn as_slice(&self) -> &[T] {
        match &self.0 {
            Form::Checked(_) => &[],
            Form::Borrowed(elements) => elements,
            Form::Owned(elements) => elements,
        }
    }
}

impl<'a, T: Element<'a>> Array<'a, T> {
    /// The elements, one at a time: read from the frame, or cloned.
    #[must_use]
    pub fn iter(&self) -> Iter<'_, 'a, T>
    where
        T: Clone,
    {
        match &self.0 {
            Form::Checked(checked) => checked.iter(),
            _ => Iter(Walk::Held(self.as_slice().iter())),
        }
    }

    pub(super) fn write_elements(&self, w: &mut Writer, field: &'static str) -> Result<(), Refused> {
        if let Form::Checked(checked) = &self.0 {
            let mut reader = Reader::new(checked.bytes, checked.version, checked.flexible);
            for _ in 0..checked.count {
                T::read(&mut reader, field)?.write(w, field)?;
            }
            return Ok(());
        }
        self.as_slice().iter().try_for_each(|element| element.write(w, field))
    }
}

impl<T> Default for Array<'_, T> {
    fn default() -> Self {
        Self(Form::Borrowed(&[]))
    }
}

impl<T> From<Vec<T>> for Array<'_, T> {
    fn from(elements: Vec<T>) -> Self {
        Self(Form::Owned(elements))
    }
}

impl<'a, T> From<&'a [T]> for Array<'a, T> {
    fn from(elements: &'a [T]) -> Self {
        Self(Form::Borrowed(elements))
    }
}

impl<'a, T, const N: usize> From<&'a [T; N]> for Array<'a, T> {
    fn from(elements: &'a [T; N]) -> Self {
        Self(Form::Borrowed(elements))
    }
}

impl<T> FromIterator<T> for Array<'_, T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        Self(Form::Owned(elements.into_iter().collect()))
    }
}

impl<'a, T: Element<'a> + Clone + PartialEq> PartialEq for Array<'a, T> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<'a, T: Element<'a> + Clone + fmt::Debug> fmt::Debug for Array<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'b, 'a, T: Element<'a> + Clone> IntoIterator for &'b Array<'a, T> {
    type Item = T;
    type IntoIter = Iter<'b, 'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The elements of an [`Array`].
pub struct Iter<'b, 'a, T>(Walk<'b, 'a, T>);

enum Walk<'b, 'a, T> {
    /// What is left of the range, and the elements in it.
    Checked(Reader<'a>, u32),
    Held(slice::Iter<'b, T>),
}

impl<'a, T: Element<'a> + Clone> Iterator for Iter<'_, 'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match &mut self.0 {
            Walk::Checked(reader, left) => {
                *left = left.checked_sub(1)?;
                // It was read once without an error, and reading has no other input than these bytes.
                T::read(reader, "").ok()
            }
            Walk::Held(elements) => elements.next().cloned(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match &self.0 {
            Walk::Checked(_, left) => usize::try_from(*left).unwrap_or(usize::MAX),
            Walk::Held(elements) => elements.len(),
        };
        (left, Some(left))
    }
}

impl<'a, T: Element<'a> + Clone> ExactSizeIterator for Iter<'_, 'a, T> {}

impl<T> fmt::Debug for Iter<'_, '_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").finish_non_exhaustive()
    }
}

/// Elements that are no structs.
macro_rules! element {
    ($type:ty, $method:ident) => {
        impl Element<'_> for $type {
            const BYTES: Option<usize> = Some(size_of::<Self>());

            #[inline]
            fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, Refused> {
                r.$method(field)
            }

            #[inline]
            fn write(&self, w: &mut Writer, _: &'static str) -> Result<(), Refused> {
                w.$method(*self);
                Ok(())
            }
        }
    };
}

element!(bool, bool);
element!(i8, i8);
element!(i16, i16);
element!(u16, u16);
element!(i32, i32);
element!(u32, u32);
element!(i64, i64);
element!(f64, f64);
element!(Uuid, uuid);

impl<'a> Element<'a> for Cow<'a, str> {
    fn read(r: &mut Reader<'a>, field: &'static str) -> Result<Self, Refused> {
        r.string(field)
    }

    fn write(&self, w: &mut Writer, field: &'static str) -> Result<(), Refused> {
        w.string(field, self)
    }
}
