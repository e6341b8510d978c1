//! The reference: a key-value server on hyper 1, tokio and dashmap, as fast as this stack gets without
//! leaving it. GET and POST of `/KEY`, values in memory without a limit.
//!
//! Each core has a thread with a runtime of its own, so that no task ever moves. Pipelined responses leave
//! together (`pipeline_flush`) unless they are long, hashing is ahash's, values are shared and not copied (`Bytes`), and
//! memory comes from mimalloc.
//!
//! ```sh
//! cargo run --release -p measure --bin reference -- 127.0.0.1:8083 0
//! ```
//! The address may be `unix:PATH`. The second argument lists the cores, with commas; the third is the length of
//! values, which decides whether pipelined responses leave together: hyper copies them into one buffer for
//! that, and moves what is left in it, which costs long ones many times what it saves.

use std::convert::Infallible;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use corekv::net::{Address, pin};
use dashmap::DashMap;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Values shorter than this are copied out of the connection's buffer.
const COPY_BYTES_MAX: usize = 4 << 10;

/// Values from this length on are not sent together.
const LONG_BYTES: usize = 16 << 10;

type Map = DashMap<Box<[u8]>, Bytes, ahash::RandomState>;
type Answer = Response<Full<Bytes>>;

/// An accepted connection, on its way to the thread that serves it.
enum Accepted {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

fn empty(status: StatusCode) -> Answer {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

async fn answer(map: Arc<Map>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    Ok(match *request.method() {
        Method::GET => match map.get(&request.uri().path().as_bytes()[1..]) {
            Some(value) => Response::new(Full::new(value.clone())),
            None => empty(StatusCode::NOT_FOUND),
        },
        Method::POST => {
            let key = request.uri().path().as_bytes()[1..].into();
            match request.into_body().collect().await {
                Ok(body) => {
                    let mut value = body.to_bytes();
                    // A short one is a part of the connection's buffer, which it would keep.
                    if value.len() < COPY_BYTES_MAX {
                        value = Bytes::copy_from_slice(&value);
                    }
                    match map.insert(key, value) {
                        Some(_) => empty(StatusCode::NO_CONTENT),
                        None => empty(StatusCode::CREATED),
                    }
                }
                Err(_) => empty(StatusCode::BAD_REQUEST),
            }
        }
        _ => empty(StatusCode::METHOD_NOT_ALLOWED),
    })
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, map: Arc<Map>, together: bool) {
    let service = service_fn(move |request| answer(Arc::clone(&map), request));
    // A peer that goes away is no event here.
    let _ = http1::Builder::new()
        .pipeline_flush(together)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// The thread of a core.
fn run(
    core: usize,
    mut accepted: UnboundedReceiver<Accepted>,
    map: &Arc<Map>,
    together: bool,
) -> std::io::Result<()> {
    pin(core)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        while let Some(accepted) = accepted.recv().await {
            let map = Arc::clone(map);
            match accepted {
                Accepted::Tcp(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_nonblocking(true)?;
                    tokio::spawn(serve(tokio::net::TcpStream::from_std(stream)?, map, together));
                }
                Accepted::Unix(stream) => {
                    stream.set_nonblocking(true)?;
                    tokio::spawn(serve(tokio::net::UnixStream::from_std(stream)?, map, together));
                }
            }
        }
        Ok(())
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8083".to_owned()).parse()?;
    let cores = arguments.next().unwrap_or_else(|| "0".to_owned());
    let value_bytes: usize = arguments.next().unwrap_or_else(|| "8".to_owned()).parse()?;
    let together = value_bytes < LONG_BYTES;
    let map = Arc::new(Map::default());
    let mut loops: Vec<UnboundedSender<Accepted>> = Vec::new();
    for core in cores.split(',') {
        let (core, map) = (core.parse()?, Arc::clone(&map));
        let (sender, accepted) = mpsc::unbounded_channel();
        loops.push(sender);
        thread::spawn(move || run(core, accepted, &map, together).expect("the runtime runs"));
    }
    // Connections are dealt in turn.
    let mut deal = |accepted| {
        loops.rotate_left(1);
        loops[0].send(accepted).map_err(std::io::Error::other)
    };
    match address {
        Address::Tcp(address) => {
            let listener = TcpListener::bind(address)?;
            println!("listening on http://{}", listener.local_addr()?);
            listener.incoming().try_for_each(|stream| deal(Accepted::Tcp(stream?)))?;
        }
        Address::Unix(path) => {
            let listener = UnixListener::bind(&path)?;
            println!("listening on unix:{}", path.display());
            listener.incoming().try_for_each(|stream| deal(Accepted::Unix(stream?)))?;
        }
    }
    Ok(())
}
