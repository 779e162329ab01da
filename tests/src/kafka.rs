//! A client of Kafka's protocol, as simple as it can be: a connection, requests, and the frames that come back.

use std::net::SocketAddr;

use bytes::Bytes;
use millstream_transport::kafka::{Request, encode_request};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Outcome;

/// What a connection runs over.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection.
pub struct KafkaConnection {
    stream: Box<dyn Stream>,
    correlation_id: i32,
}

impl std::fmt::Debug for KafkaConnection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("KafkaConnection").field("sent", &self.correlation_id).finish_non_exhaustive()
    }
}

impl KafkaConnection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Outcome<Self> {
        Ok(Self::over(TcpStream::connect(address).await?))
    }

    /// Over a stream that is there.
    pub fn over(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), correlation_id: 0 }
    }

    /// Sends a request and gives the frame of its answer, to be opened by the caller.
    pub async fn ask<'a, R: Request<'a>>(&mut self, version: i16, request: &R) -> Outcome<Bytes> {
        self.send(version, request).await?;
        self.frame().await?.ok_or_else(|| "the connection was ended instead of an answer".into())
    }

    /// Sends a request.
    pub async fn send<'a, R: Request<'a>>(&mut self, version: i16, request: &R) -> Outcome {
        self.correlation_id += 1;
        let encoded = encode_request(Some("tests"), self.correlation_id, version, request)?;
        self.send_bytes(&encoded.chunks.concat()).await
    }

    /// Sends these bytes, whatever they are.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> Outcome {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }

    /// The next frame without its length; `None` if the node ended the connection.
    pub async fn frame(&mut self) -> Outcome<Option<Bytes>> {
        let mut length = [0; 4];
        match self.stream.read_exact(&mut length).await {
            Ok(_) => {}
            Err(_) => return Ok(None),
        }
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length))?];
        self.stream.read_exact(&mut frame).await?;
        Ok(Some(frame.into()))
    }
}
