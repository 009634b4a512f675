// The same server on tokio's multi-threaded runtime: a task for each client, a thread for each CPU.
// "tokio_echo PORT" listens on 127.0.0.1 and ends by SIGTERM. bench/compare.py builds it from
// Debian's packages, and runs it beside echopool.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

// As large as echopool's limits.buffer_bytes by default; peer.h has the same backlog.
const BUFFER_BYTES: usize = 65536;
const BACKLOG: u32 = 4096;

async fn echo(mut stream: TcpStream) {
    let mut buffer = vec![0u8; BUFFER_BYTES];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => {
                if stream.write_all(&buffer[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn serve(port: u16) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
    let listener = socket.listen(BACKLOG)?;
    println!("ready");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true); // one that is gone already ends by itself
                tokio::spawn(echo(stream));
            }
            // Descriptors are short, or the client is gone already. The others are served on.
            Err(error) => {
                eprintln!("tokio_echo: {error}");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

fn main() {
    let port = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or_else(|| {
        eprintln!("usage: tokio_echo PORT");
        std::process::exit(2)
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_io().build();
    let result = runtime.and_then(|runtime| runtime.block_on(serve(port)));
    if let Err(error) = result {
        eprintln!("tokio_echo: {error}");
        std::process::exit(1);
    }
}
