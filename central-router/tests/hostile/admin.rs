//! The admin port against those who do not speak HTTP, or stop in the middle. Its times and bounds are under test in `service`.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::site::Site;

/// Noise, a head without end and requests that are never finished are refused or wait in places of their own: the next question is
/// answered, and data moves.
#[tokio::test(flavor = "multi_thread")]
async fn noise_and_half_requests_keep_nobody_out() {
    let site = Site::new("");
    let up = site.start().await;
    let mut open = Vec::new();
    for _ in 0..40 {
        let mut stream = TcpStream::connect(up.ready.admin).await.unwrap();
        stream.write_all(b"GET /metrics HT").await.unwrap();
        open.push(stream);
    }
    for bytes in [vec![0x16, 3, 1, 2, 0, 1], vec![0xff; 64 << 10], [b"GET / HTTP/1.1\r\nx: ".to_vec(), vec![b'y'; 40 << 10]].concat()] {
        let mut stream = TcpStream::connect(up.ready.admin).await.unwrap();
        // The router may have closed before all is written, and reset behind its answer.
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP/1.1 200"));
    }
    up.counted("tributary_service_admin_ended_total", &["reason=\"malformed\""]).await;
    assert_eq!(up.get("/readyz").await.0, 200);
    site.connect(&up, "eu").await.goes_on("eu", 0).await;
    drop(open);
    up.stop().await;
}
