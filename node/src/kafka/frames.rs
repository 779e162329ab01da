//! Frames off a byte stream: four bytes of length, then so many.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// What a connection holds while it waits for a request; small requests that come together share it.
const IDLE_BYTES: usize = 4 << 10;

/// How much of a long frame is believed before it is there: memory grows with what has come, not with what was said.
const BELIEVED_BYTES: usize = 1 << 20;

/// Why no more frames come.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameFailure {
    /// The stream ended inside of a frame.
    #[error("the connection ended inside of a request")]
    CutShort,
    /// A length that no frame has.
    #[error("a request of {0} bytes was announced, and {1} are the most (socket.request.max.bytes)")]
    Length(i64, usize),
    /// The stream failed.
    #[error("{0}")]
    Stream(#[from] std::io::Error),
}

/// Reads frames.
#[derive(Debug)]
pub(super) struct FrameReader<R> {
    from: R,
    buffer: BytesMut,
    most_bytes: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// A reader of frames of up to `most_bytes`.
    pub(super) fn new(from: R, most_bytes: usize) -> Self {
        Self { from, buffer: BytesMut::new(), most_bytes }
    }

    /// The next frame without its length; `None` where the stream ended between two.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, FrameFailure> {
        loop {
            let wanted = match self.announced()? {
                Some(length) if self.buffer.len() >= 4 + length => {
                    let mut frame = self.buffer.split_to(4 + length);
                    return Ok(Some(frame.split_off(4).freeze()));
                }
                Some(length) => {
                    let missing = 4 + length - self.buffer.len();
                    missing.min(BELIEVED_BYTES.max(self.buffer.len()))
                }
                None => IDLE_BYTES,
            };
            self.buffer.reserve(wanted);
            if self.from.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(FrameFailure::CutShort) };
            }
        }
    }

    /// The length of the frame that begins the buffer, once it is there.
    fn announced(&self) -> Result<Option<usize>, FrameFailure> {
        let Some(length) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let length = i32::from_be_bytes(*length);
        match usize::try_from(length) {
            Ok(length) if length <= self.most_bytes => Ok(Some(length)),
            _ => Err(FrameFailure::Length(length.into(), self.most_bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    fn frame(body: &[u8]) -> Vec<u8> {
        let length = i32::try_from(body.len()).unwrap();
        [&length.to_be_bytes(), body].concat()
    }

    async fn read(bytes: &[u8], most: usize) -> (Vec<Bytes>, Option<String>) {
        let mut reader = FrameReader::new(bytes, most);
        let mut frames = Vec::new();
        loop {
            match reader.next().await {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => return (frames, None),
                Err(failure) => return (frames, Some(failure.to_string())),
            }
        }
    }

    #[tokio::test]
    async fn frames_come_whole_and_in_order_however_they_arrive() {
        let bodies = [vec![1; 10], Vec::new(), vec![2; 200_000], vec![3; 3_000_000], vec![4; 1]];
        let sent: Vec<u8> = bodies.iter().flat_map(|body| frame(body)).collect();
        for piece in [500_usize, 777, 5_000, sent.len()] {
            let (mut from, to) = tokio::io::duplex(piece);
            let sending = async {
                from.write_all(&sent).await.unwrap();
                drop(from);
            };
            let mut reader = FrameReader::new(to, 4 << 20);
            let reading = async {
                for body in &bodies {
                    assert_eq!(reader.next().await.unwrap().unwrap(), body);
                }
                assert!(reader.next().await.unwrap().is_none());
            };
            tokio::join!(sending, reading);
        }
    }

    #[tokio::test]
    async fn a_length_that_no_frame_has_is_refused_before_anything_is_read() {
        for length in [-1, i32::MIN, i32::MAX, 1_001] {
            let (frames, failure) = read(&length.to_be_bytes(), 1_000).await;
            assert!(frames.is_empty());
            assert!(failure.unwrap().contains("1000 are the most"));
        }
    }

    #[tokio::test]
    async fn a_frame_cut_short_is_told_from_an_end_between_frames() {
        assert_eq!(read(&frame(b"whole"), 100).await, (vec![Bytes::from("whole")], None));
        for cut in [1, 4, 8] {
            let (frames, failure) = read(&frame(b"whole")[..cut], 100).await;
            assert!(frames.is_empty() && failure.unwrap().contains("inside"));
        }
    }

    #[tokio::test]
    async fn memory_grows_with_what_has_come_and_not_with_what_was_said() {
        let mut bytes = i32::MAX.to_be_bytes().to_vec();
        bytes.extend([0; 100]);
        let mut reader = FrameReader::new(bytes.as_slice(), usize::MAX);
        assert!(reader.next().await.is_err());
        assert!(reader.buffer.capacity() <= 2 * BELIEVED_BYTES, "{}", reader.buffer.capacity());
    }
}
