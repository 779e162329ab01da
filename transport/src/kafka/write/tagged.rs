//! The tagged fields at the end of a struct.

use super::Writer;

/// A tagged field that was begun.
#[derive(Debug)]
pub struct OpenTag {
    /// Where its content begins in the buffer.
    content: usize,
}

impl Writer {
    /// No tagged fields: nothing in versions that are not flexible.
    #[inline]
    pub fn no_tags(&mut self) {
        self.tag_count(0);
    }

    /// So many tagged fields follow: nothing in versions that are not flexible.
    pub fn tag_count(&mut self, count: u32) {
        if self.flexible {
            self.varint(count);
        }
    }

    /// Begins a tagged field. [`Writer::close_tag`] must follow.
    pub fn open_tag(&mut self, number: u32) -> OpenTag {
        self.varint(number);
        OpenTag { content: self.buffer.len() }
    }

    /// Ends a tagged field: its length is only known now, and goes before it.
    pub fn close_tag(&mut self, tag: OpenTag) {
        let end = self.buffer.len();
        // A field longer than this is longer than a frame, which the frame's own length will refuse.
        self.varint(u32::try_from(end - tag.content).unwrap_or(u32::MAX));
        let length = self.buffer.len() - end;
        if let Some(field) = self.buffer.get_mut(tag.content..) {
            field.rotate_right(length);
        }
    }
}
