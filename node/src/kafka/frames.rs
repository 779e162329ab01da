//! Frames off a byte stream: four bytes of length, then so many.

use bytes::{Bytes, BytesMut};
use millstream_transport::intake::{Held, Intake, SHORT_BYTES, patience};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

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
    /// It came too slowly for the place that it takes.
    #[error("a request came too slowly: {1} of {0} bytes")]
    Slow(usize, usize),
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
    intake: Intake,
    /// The place of the frame that begins the buffer, since when, and how much of it had come then.
    held: Option<(Held, Instant, usize)>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// A reader of frames of up to `most_bytes`, each of which takes its place among those of all clients.
    pub(super) fn new(from: R, most_bytes: usize, intake: Intake) -> Self {
        Self { from, buffer: BytesMut::new(), most_bytes, intake, held: None }
    }

    /// From now on frames may have so many bytes, and take their places here.
    pub(super) fn take_up_to(&mut self, most_bytes: usize, intake: Intake) {
        self.most_bytes = most_bytes;
        self.intake = intake;
    }

    /// The next frame without its length, and its place; `None` where the stream ended between two.
    pub(super) async fn next(&mut self) -> Result<Option<(Bytes, Held)>, FrameFailure> {
        loop {
            let announced = self.announced()?;
            let came = self.buffer.len();
            if let (Some(length), None) = (announced, &self.held)
                && came >= (4 + length).min(SHORT_BYTES)
            {
                let held = self.intake.take(length).await;
                self.held = Some((held, Instant::now(), came));
            }
            let wanted = match announced {
                Some(length) if self.buffer.len() >= 4 + length => {
                    let mut frame = self.buffer.split_to(4 + length);
                    let frame = frame.split_off(4).freeze();
                    return Ok(self.held.take().map(|(held, ..)| (frame, held)));
                }
                Some(length) => {
                    let missing = 4 + length - self.buffer.len();
                    missing.min(BELIEVED_BYTES.max(self.buffer.len()))
                }
                None => IDLE_BYTES,
            };
            self.buffer.reserve(wanted);
            if self.read_piece().await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(FrameFailure::CutShort) };
            }
        }
    }

    /// Bytes come. A frame that has its place must go on coming.
    async fn read_piece(&mut self) -> Result<usize, FrameFailure> {
        let came = self.buffer.len();
        let read = self.from.read_buf(&mut self.buffer);
        let Some((_, since, had)) = &self.held else { return Ok(read.await?) };
        match timeout_at(*since + patience(came.saturating_sub(*had)), read).await {
            Ok(read) => Ok(read?),
            Err(_) => Err(FrameFailure::Slow(self.announced()?.unwrap_or(0), came)),
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
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;

    use super::*;

    fn frame(body: &[u8]) -> Vec<u8> {
        let length = i32::try_from(body.len()).unwrap();
        [&length.to_be_bytes(), body].concat()
    }

    async fn read(bytes: &[u8], most: usize) -> (Vec<Bytes>, Option<String>) {
        let mut reader = FrameReader::new(bytes, most, Intake::new(1 << 20));
        let mut frames = Vec::new();
        loop {
            match reader.next().await {
                Ok(Some((frame, _))) => frames.push(frame),
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
            let mut reader = FrameReader::new(to, 4 << 20, Intake::new(1 << 20));
            let reading = async {
                for body in &bodies {
                    assert_eq!(reader.next().await.unwrap().unwrap().0, body);
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

    const LONG: usize = 100 << 10;

    #[tokio::test(start_paused = true)]
    async fn a_frame_that_does_not_come_gives_its_place_back_in_time() {
        let intake = Intake::new(1 << 20);
        let (mut from, to) = tokio::io::duplex(1 << 20);
        from.write_all(&frame(&vec![1; LONG])[..SHORT_BYTES]).await.unwrap();
        let mut slow = FrameReader::new(to, 1 << 20, intake.clone());
        let failure = slow.next().await.unwrap_err();
        assert_eq!(failure.to_string(), format!("a request came too slowly: {SHORT_BYTES} of {LONG} bytes"));
        drop(slow);
        assert_eq!(intake.used_bytes(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_held_for_what_was_only_announced() {
        let intake = Intake::new(1 << 20);
        let (mut from, to) = tokio::io::duplex(1 << 20);
        from.write_all(&frame(&vec![1; LONG])[..100]).await.unwrap();
        let mut reader = FrameReader::new(to, 1 << 20, intake.clone());
        assert!(tokio::time::timeout(Duration::from_secs(60), reader.next()).await.is_err());
        assert_eq!(intake.used_bytes(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_frame_waits_for_its_place_before_the_rest_of_it_is_read() {
        let intake = Intake::new(1 << 18);
        let others = intake.take(3 * LONG / 2).await;
        let body = frame(&vec![1; LONG]);
        let mut reader = FrameReader::new(body.as_slice(), 1 << 20, intake.clone());
        {
            let mut next = std::pin::pin!(reader.next());
            let waited = tokio::time::timeout(Duration::from_secs(3_600), &mut next).await;
            assert!(waited.is_err(), "there is no room for it");
            drop(others);
            let (frame, held) = next.await.unwrap().unwrap();
            assert_eq!((frame.len(), intake.used_bytes()), (LONG, LONG));
            drop(held);
        }
        assert_eq!(intake.used_bytes(), 0);
    }

    #[tokio::test]
    async fn memory_grows_with_what_has_come_and_not_with_what_was_said() {
        let mut bytes = i32::MAX.to_be_bytes().to_vec();
        bytes.extend([0; 100]);
        let mut reader = FrameReader::new(bytes.as_slice(), usize::MAX, Intake::new(1 << 20));
        assert!(reader.next().await.is_err());
        assert!(reader.buffer.capacity() <= 2 * BELIEVED_BYTES, "{}", reader.buffer.capacity());
    }
}
