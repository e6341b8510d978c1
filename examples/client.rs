//! A tiny pipelining client: stores ten keys in one write and reads them back in another.
//!
//! ```sh
//! cargo run --release &
//! cargo run --release --example client -- 127.0.0.1:8080
//! ```

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

/// Reads one response; its status line and its body.
fn response(reader: &mut impl BufRead) -> std::io::Result<(String, Vec<u8>)> {
    let mut status = String::new();
    reader.read_line(&mut status)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        if name == "Content-Length" {
            length = value.parse().map_err(std::io::Error::other)?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((status.trim_end().to_owned(), body))
}

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let mut stream = TcpStream::connect(&address)?;
    let mut reader = BufReader::new(stream.try_clone()?);

    let mut writes = Vec::new();
    for key in 0..10 {
        let value = format!("value {key}");
        let length = value.len();
        write!(
            writes,
            "PUT /key{key} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{value}"
        )?;
    }
    stream.write_all(&writes)?;
    for key in 0..10 {
        println!("PUT /key{key}: {}", response(&mut reader)?.0);
    }

    let mut reads = Vec::new();
    for key in 0..10 {
        write!(reads, "GET /key{key} HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
    }
    stream.write_all(&reads)?;
    for key in 0..10 {
        let (status, body) = response(&mut reader)?;
        println!("GET /key{key}: {status}: {}", String::from_utf8_lossy(&body));
    }
    Ok(())
}
