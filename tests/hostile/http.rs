//! Bad HTTP.

use millstream_tests::process::http::exchange;
use tokio::net::TcpStream;

use crate::{says, survives};

#[tokio::test]
async fn garbage_over_http_is_answered_or_cut() {
    survives(async |cluster| {
        let address = cluster.http(1);
        // Connections that say nothing stay open meanwhile.
        let mut silent = Vec::new();
        for _ in 0..50 {
            silent.push(TcpStream::connect(address).await?);
        }
        says(&exchange(address, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await?, &["400"])?;
        says(&exchange(address, b"GET /metrics\r\n\r\n").await?, &["400"])?;
        let unknown = b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        says(&exchange(address, unknown).await?, &["404"])?;
        let method = b"DELETE /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        says(&exchange(address, method).await?, &["405"])?;
        let endless = [b"GET /metrics HTTP/1.1\r\nX: ".as_slice(), &vec![b'a'; 1 << 20]].concat();
        // Refused with an answer, or cut before all was sent.
        if let Ok(answer) = exchange(address, &endless).await {
            says(&answer, &["HTTP/1.1 431"])?;
        }
        drop(silent);
        Ok(())
    })
    .await;
}
