//! Record batches inside of a message.

use bytes::Bytes;

/// Record batches: slices of a frame, or shared memory to be sent. Never copied when they are shared.
#[derive(Clone, Debug)]
pub enum Records<'a> {
    /// A slice of the frame that was read. Written, it is copied: share it first if that matters.
    Borrowed(&'a [u8]),
    /// Memory that is shared with whoever sends it.
    Shared(Bytes),
    /// Several of them, one behind the other.
    Chunks(Vec<Bytes>),
}

impl Records<'_> {
    /// Bytes in all.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Borrowed(bytes) => bytes.len(),
            Self::Shared(bytes) => bytes.len(),
            Self::Chunks(chunks) => chunks.iter().map(Bytes::len).sum(),
        }
    }

    /// Whether there is no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, piece by piece.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let (one, chunks) = match self {
            Self::Borrowed(bytes) => (*bytes, &[][..]),
            Self::Shared(bytes) => (bytes.as_ref(), &[][..]),
            Self::Chunks(chunks) => (&[][..], chunks.as_slice()),
        };
        std::iter::once(one).chain(chunks.iter().map(Bytes::as_ref)).filter(|piece| !piece.is_empty())
    }

    /// The bytes as shared memory: a slice of `frame`, from which the message was read. Copied only if they are not of
    /// this frame, or in several chunks.
    #[must_use]
    pub fn to_shared(&self, frame: &Bytes) -> Bytes {
        match self {
            Self::Borrowed([]) => Bytes::new(),
            Self::Borrowed(bytes) if contains(frame, bytes) => frame.slice_ref(bytes),
            Self::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Self::Shared(bytes) => bytes.clone(),
            Self::Chunks(chunks) => chunks.concat().into(),
        }
    }
}

/// Whether `part` lies in the memory of `whole`.
fn contains(whole: &[u8], part: &[u8]) -> bool {
    let (whole, part) = (whole.as_ptr_range(), part.as_ptr_range());
    whole.start <= part.start && part.end <= whole.end
}

impl Default for Records<'_> {
    fn default() -> Self {
        Self::Borrowed(&[])
    }
}

impl From<Bytes> for Records<'_> {
    fn from(bytes: Bytes) -> Self {
        Self::Shared(bytes)
    }
}

impl<'a> From<&'a [u8]> for Records<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Borrowed(bytes)
    }
}

impl PartialEq for Records<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.pieces().flatten().eq(other.pieces().flatten())
    }
}
