//! The tagged fields at the end of a struct: number, length, content.

use super::Reader;
use crate::kafka::{DecodeFault, Refused};

/// The field in errors about the frame of tagged fields.
const FIELD: &str = "(tagged fields)";

/// A tagged field that was begun: the reader ends where the field does.
#[derive(Debug)]
pub struct OpenTag<'a> {
    /// Its number.
    pub number: u32,
    behind: &'a [u8],
    end: usize,
}

impl<'a> Reader<'a> {
    /// How many tagged fields follow; none in versions that are not flexible.
    #[inline]
    pub fn tag_count(&mut self) -> Result<u32, Refused> {
        if !self.flexible {
            return Ok(0);
        }
        if let Some((0, rest)) = self.rest.split_first() {
            self.rest = rest;
            return Ok(0);
        }
        self.some_tag_count()
    }

    fn some_tag_count(&mut self) -> Result<u32, Refused> {
        let count = self.varint(FIELD)?;
        let claimed = usize::try_from(count).unwrap_or(usize::MAX);
        // Number and length of each are a byte at least.
        self.check_count(FIELD, claimed, 2)?;
        Ok(count)
    }

    /// Begins the next tagged field. [`Reader::close_tag`] must follow.
    pub fn open_tag(&mut self) -> Result<OpenTag<'a>, Refused> {
        let number = self.varint(FIELD)?;
        let length = self.varint(FIELD)?;
        let content = self.slice(FIELD, usize::try_from(length).unwrap_or(usize::MAX))?;
        let tag = OpenTag { number, behind: self.rest, end: self.end };
        self.end -= self.rest.len();
        self.rest = content;
        Ok(tag)
    }

    /// Ends a tagged field; an error if not all of it was read.
    pub fn close_tag(&mut self, tag: OpenTag<'a>) -> Result<(), Refused> {
        if !self.rest.is_empty() {
            return Err(self.refuse(FIELD, DecodeFault::Left(self.rest.len())));
        }
        self.rest = tag.behind;
        self.end = tag.end;
        Ok(())
    }

    /// Passes over the rest of a tagged field.
    pub fn skip_rest(&mut self) {
        self.rest = &[];
    }

    /// Passes over tagged fields, of which none is known.
    #[inline]
    pub fn skip_tags(&mut self) -> Result<(), Refused> {
        let count = self.tag_count()?;
        if count == 0 { Ok(()) } else { self.skip_some_tags(count) }
    }

    fn skip_some_tags(&mut self, count: u32) -> Result<(), Refused> {
        for _ in 0..count {
            self.varint(FIELD)?;
            let length = self.varint(FIELD)?;
            self.slice(FIELD, usize::try_from(length).unwrap_or(usize::MAX))?;
        }
        Ok(())
    }
}
