//! Enough of HTTP to ask a node how it is.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Outcome;

/// The whole answer to a GET, status line first.
pub async fn get(address: SocketAddr, path: &str) -> Outcome<String> {
    exchange(address, format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await
}

/// Sends these bytes, and returns what comes back until the other side ends the connection, for at most a few seconds.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> Outcome<String> {
    let asking = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(bytes).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    tokio::time::timeout(Duration::from_secs(5), asking).await?
}
