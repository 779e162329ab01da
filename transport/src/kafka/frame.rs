//! Frames: length, header, message.

use bytes::Bytes;

use super::messages::header::{RequestHeader, ResponseHeader};
use super::{
    ApiKey, DecodeError, EncodeError, EncodeFault, Message, Reader, Refused, Request, Response, Writer,
    request_header_version, response_header_version,
};

/// Slices to be sent one behind the other.
#[derive(Clone, Debug, Default)]
pub struct Encoded {
    /// What to write, in order. No slice is empty.
    pub chunks: Vec<Bytes>,
    /// Their length together.
    pub bytes: usize,
}

/// What each request begins with, whatever its key and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prelude {
    /// Key of the API; it need not be one that is known.
    pub key: i16,
    /// Version of the request; it need not be one that is known.
    pub version: i16,
    /// Ties the response to the request.
    pub correlation_id: i32,
}

impl Prelude {
    /// Reads it from the first eight bytes behind the frame's length; an error if there are fewer.
    pub fn parse(frame: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(frame, 0, false);
        Self::read(&mut reader).map_err(|Refused| reader.error("RequestHeader"))
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Refused> {
        Ok(Self {
            key: reader.i16("request_api_key")?,
            version: reader.i16("request_api_version")?,
            correlation_id: reader.i32("correlation_id")?,
        })
    }
}

/// A request whose header was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Opened<'a> {
    /// Its header.
    pub header: RequestHeader<'a>,
    /// What follows it: the message, to be decoded in the header's version.
    pub body: &'a [u8],
}

/// Reads the header of a request of the API that its [`Prelude`] tells.
///
/// `frame` is what follows the frame's length. An error if it is no header; a version that is not known is none.
pub fn open_request(frame: &[u8], key: ApiKey) -> Result<Opened<'_>, DecodeError> {
    let version = Prelude::parse(frame)?.version;
    let (header, body) = RequestHeader::decode_first(frame, request_header_version(key, version))?;
    Ok(Opened { header, body })
}

/// Reads the response to a request of this version: its correlation id, and the message.
///
/// `frame` is what follows the frame's length.
pub fn open_response<'a, R: Response<'a>>(frame: &'a [u8], version: i16) -> Result<(i32, R), DecodeError> {
    let (header, body) = ResponseHeader::decode_first(frame, response_header_version(R::KEY, version))?;
    Ok((header.correlation_id, R::decode(body, version)?))
}

/// Writes a whole frame with a response: length, header, message.
///
/// An error if the version cannot tell what the message holds, or if the frame would be longer than 2 GiB.
pub fn encode_response<'a, R: Response<'a>>(
    correlation_id: i32,
    version: i16,
    response: &R,
) -> Result<Encoded, EncodeError> {
    let header = ResponseHeader { correlation_id };
    encode(&header, response_header_version(R::KEY, version), response, version)
}

/// Writes a whole frame with a request. Errors as of [`encode_response`].
pub fn encode_request<'a, R: Request<'a>>(
    client_id: Option<&str>,
    correlation_id: i32,
    version: i16,
    request: &R,
) -> Result<Encoded, EncodeError> {
    let header = RequestHeader {
        request_api_key: R::KEY.code(),
        request_api_version: version,
        correlation_id,
        client_id: client_id.map(Into::into),
    };
    encode(&header, request_header_version(R::KEY, version), request, version)
}

fn encode<'h, 'm, H: Message<'h>, M: Message<'m>>(
    header: &H,
    header_version: i16,
    message: &M,
    version: i16,
) -> Result<Encoded, EncodeError> {
    let mut writer = Writer::new();
    // The length comes last.
    writer.i32(0);
    header.write_to(header_version, &mut writer)?;
    message.write_to(version, &mut writer)?;
    let length = writer.len() - size_of::<i32>();
    let Ok(told) = i32::try_from(length) else {
        let fault = EncodeFault::Length(length);
        return Err(EncodeError { message: M::NAME, version, field: "", fault });
    };
    writer.patch_first(told);
    Ok(writer.finish())
}
