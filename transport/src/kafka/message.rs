//! What all messages can do.

use super::{ApiKey, DecodeError, DecodeFault, EncodeError, EncodeFault, Reader, RewriteError, Writer};

/// A read or a write was refused; the [`Reader`] or [`Writer`] knows why.
///
/// It is empty so that the results of the many small reads of a message fit into registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// What can be an element of an array, or a message: it knows how it is read and written.
pub trait Element<'a>: Sized {
    /// Bytes that each one takes, if they all take the same in all versions.
    const BYTES: Option<usize> = None;

    /// Reads one in the version of the reader; `field` is for the error.
    fn read(r: &mut Reader<'a>, field: &'static str) -> Result<Self, Refused>;

    /// Writes it in the version of the writer; `field` is for the error.
    fn write(&self, w: &mut Writer, field: &'static str) -> Result<(), Refused>;
}

/// Versions from first to last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The first.
    pub first: i16,
    /// The last.
    pub last: i16,
}

impl Versions {
    /// Whether `version` is one of them.
    #[must_use]
    pub const fn contain(self, version: i16) -> bool {
        self.first <= version && version <= self.last
    }
}

/// A whole message.
pub trait Message<'a>: Element<'a> {
    /// Its name.
    const NAME: &'static str;
    /// Versions that can be read and written.
    const VERSIONS: Versions;
    /// The first version with compact lengths and tagged fields.
    const FLEXIBLE: Option<i16>;

    /// Reads `bytes`, all of them, as a message of this version. Allocates nothing; strings, bytes and arrays of the
    /// message are slices of `bytes`.
    ///
    /// An error if the version is not known, if the bytes are not such a message, or if some are left over.
    fn decode(bytes: &'a [u8], version: i16) -> Result<Self, DecodeError> {
        let (message, rest) = Self::decode_first(bytes, version)?;
        if rest.is_empty() {
            return Ok(message);
        }
        let (at, fault) = (bytes.len() - rest.len(), DecodeFault::Left(rest.len()));
        Err(DecodeError { message: Self::NAME, version, field: "", at, fault })
    }

    /// As [`Message::decode`], but bytes may follow: they are given back.
    fn decode_first(bytes: &'a [u8], version: i16) -> Result<(Self, &'a [u8]), DecodeError> {
        let mut reader = Reader::new(bytes, version, is_flexible::<Self>(version));
        let found = if Self::VERSIONS.contain(version) {
            Self::read(&mut reader, "")
        } else {
            Err(reader.refuse("", DecodeFault::Version))
        };
        found.map(|message| (message, reader.rest())).map_err(|Refused| reader.error(Self::NAME))
    }

    /// Reads a message with its version, two bytes, before it: the form of the records of internal topics and of what
    /// members of a group tell each other.
    ///
    /// The error of a version that is not known has that version in it.
    fn decode_versioned(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (version, rest) = split_version(bytes, Self::NAME)?;
        Self::decode(rest, version)
    }

    /// As [`Message::decode_versioned`], but a version above those known is read as the last one known, and what
    /// follows then is ignored. Consumers read each other's subscriptions and assignments like that, so that a group
    /// can be upgraded member by member.
    fn decode_versioned_or_newer(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (version, rest) = split_version(bytes, Self::NAME)?;
        if version > Self::VERSIONS.last {
            return Self::decode_first(rest, Self::VERSIONS.last).map(|(message, _)| message);
        }
        Self::decode(rest, version)
    }

    /// Writes it in this version behind what `writer` holds already.
    ///
    /// An error if the version is not known, or if the message holds what the version cannot tell. The writer is of no
    /// use then.
    fn write_to(&self, version: i16, writer: &mut Writer) -> Result<(), EncodeError> {
        writer.begin(version, is_flexible::<Self>(version));
        let written = if Self::VERSIONS.contain(version) {
            self.write(writer, "")
        } else {
            Err(writer.refuse("", EncodeFault::Version))
        };
        written.map_err(|Refused| writer.error(Self::NAME))
    }

    /// It in this version, with the version before it. Errors as of [`Message::write_to`].
    fn encode_versioned(&self, version: i16) -> Result<Vec<u8>, EncodeError> {
        let mut writer = Writer::new();
        writer.i16(version);
        self.write_to(version, &mut writer)?;
        Ok(writer.into_vec())
    }
}

/// What a client sends.
pub trait Request<'a>: Message<'a> {
    /// The API it is for.
    const KEY: ApiKey;
    /// What the client gets back for it, in the same version.
    type Response<'r>: Response<'r>;
}

/// What a client gets back.
pub trait Response<'a>: Message<'a> {
    /// The API it is from.
    const KEY: ApiKey;
}

/// A message for those who need no type of it.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// Its versions.
    pub versions: Versions,
    /// Reads it and tells whether it was one.
    pub check: fn(&[u8], i16) -> Result<(), DecodeError>,
    /// Reads it in the first version and writes it in the second.
    pub rewrite: fn(&[u8], i16, i16, &mut Writer) -> Result<(), RewriteError>,
}

fn is_flexible<'a, M: Message<'a>>(version: i16) -> bool {
    M::FLEXIBLE.is_some_and(|first| version >= first)
}

fn split_version<'a>(bytes: &'a [u8], message: &'static str) -> Result<(i16, &'a [u8]), DecodeError> {
    let mut reader = Reader::new(bytes, 0, false);
    let version = reader.i16("version").map_err(|Refused| reader.error(message))?;
    Ok((version, reader.rest()))
}
