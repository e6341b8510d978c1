//! corekv: an in-memory key-value cache that speaks HTTP/1.1.
//!
//! ```text
//!              acceptor: listeners, signals; deals sockets to the cores evenly
//!                  |            |            |
//!               core 0       core 1  ...  core N-1   one event loop each, on a pinned thread
//!                  |            |            |
//!            partition 0  partition 1  partition N-1  one table per core, which every core
//!                                                     reads and writes directly
//! ```
//!
//! # The way of a request
//!
//! The modules are layers. Each calls the next one and none the other way round:
//!
//! | module | knows | does not know |
//! |---|---|---|
//! | [`net`] | sockets, readiness, backpressure, timeouts | HTTP, keys |
//! | [`http`] | bytes to requests, responses to bytes | sockets, keys |
//! | [`cache`] | what requests mean to the store | sockets |
//! | [`store`] | keys, values, expiry, eviction | HTTP, sockets |
//!
//! [`snapshot`] writes what a store holds to a file, and reads it back; it knows the store alone. [`handover`] has
//! another process go on in a server's place.
//!
//! A request goes down through them three times, so that memory has time to arrive: a loop parses
//! what a group of connections has sent, then prefetches for all of them, then answers each.
//!
//! ```text
//!               net                     http                 cache             store
//! once each:    EventLoop::serve_group
//!                 Connection::receive
//! 1. parse          Service::parse ----> Handler::look_up --> Route ----------> prefetch_index
//! 2. prefetch     Service::prefetch ---> Handler::prefetch ------------------> prefetch_entry
//!                 Connection::step
//! 3. answer         Service::answer ---> Handler::answer ---> Keys, Pages ----> get, put, remove
//!                   one send      <----- Responses: bytes of the Output
//! ```
//!
//! The stages are types ([`net::Received`], [`net::Parsed`], [`net::Prefetched`]): each is made of the
//! one before, and used up by the next. A request whose body is long, chunked or still on its way
//! leaves the way after the first stage: it is answered by [`http::Handler::begin`],
//! [`append`](http::Handler::append) and [`finish`](http::Handler::finish) as its bytes arrive.
//!
//! To follow a request through the source, read `net/event_loop.rs`, `net/connection.rs`,
//! `net/stage.rs`, `http/protocol.rs`, `http/batch.rs`, `http/exchange.rs`, `cache/handler.rs` and
//! `cache/keys.rs`.
//!
//! # Examples
//!
//! [`Server`] puts the layers together from a [`Config`]:
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//! use std::thread;
//!
//! use corekv::net::Address;
//! use corekv::{Config, Cores, Server};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config {
//!     listen: vec!["127.0.0.1:0".parse()?],
//!     cores: Cores::List(vec![0]),
//!     pin: false,
//!     memory_bytes_max: 16 << 20,
//!     ..Config::default()
//! };
//! let server = Server::bind(&config)?;
//! let (stopper, metrics) = (server.stopper(), server.metrics());
//! let Address::Tcp(address) = server.local_addrs().remove(0) else { unreachable!() };
//! let thread = thread::spawn(|| server.run());
//!
//! let mut client = TcpStream::connect(address)?;
//! client.write_all(
//!     b"PUT /name HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nAda\
//!       GET /name HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
//! )?;
//! let mut responses = String::new();
//! client.read_to_string(&mut responses)?;
//! assert!(responses.starts_with("HTTP/1.1 201 Created\r\n"));
//! assert!(responses.ends_with("\r\n\r\nAda"));
//! assert_eq!((metrics.requests(), metrics.store.keys()), (vec![2], 1));
//!
//! stopper.stop();
//! thread.join().unwrap()?;
//! # Ok(())
//! # }
//! ```
//!
//! The layers can be used without the cache. HTTP is generic over an [`http::Handler`]:
//!
//! ```
//! use std::sync::Arc;
//!
//! use corekv::http::{Handler, Protocol, Request, Requests, Responses, Settings};
//! use corekv::net;
//!
//! struct Hello;
//!
//! impl Handler for Hello {
//!     type Lookup = ();
//!     type Pending = ();
//!
//!     fn look_up(&mut self, _request: &Request<'_>) {}
//!
//!     fn answer(&mut self, requests: Requests<'_, ()>, responses: &mut Responses<'_>) {
//!         for (request, ()) in requests.iter() {
//!             responses.body(&request, "text/plain", &[b"Hello, ", request.path].concat());
//!         }
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let settings = net::Settings { pin: false, signals: false, ..Default::default() };
//! let server = net::Server::bind(&["127.0.0.1:0".parse()?], None, settings)?;
//! # server.stopper().stop();
//! server.run(|_| Protocol::new(Hello, Settings::default(), Arc::default()))?;
//! # Ok(())
//! # }
//! ```
//!
//! An event loop is generic over a [`net::Service`], which answers bytes with bytes, and the store
//! is a library of its own:
//!
//! ```
//! use corekv::store::{Clock, Expiry, Settings, Store, Value};
//!
//! # fn main() -> std::io::Result<()> {
//! let store = Store::new(Settings { partitions: 1, memory_bytes_max: 16 << 20 })?;
//! let now = Clock::start().tick(std::time::Instant::now());
//! let key = store.key(b"name");
//! store.put(key, b"Ada", Expiry::NEVER, now).unwrap();
//! let length = store.get(key, now, |value| match value {
//!     Value::Small(value) | Value::SmallWithMeta(_, value) => value.len(),
//!     Value::Large(value) => value.len(),
//! });
//! assert_eq!(length, Some(3));
//! # Ok(())
//! # }
//! ```
//!
//! Linux is the platform.

pub mod cache;
mod cgroup;
#[cfg(feature = "cli")]
pub mod cli;
mod config;
mod explain;
pub mod handover;
pub mod http;
mod invalid;
mod line_log;
mod loading;
pub mod logging;
pub mod net;
mod passed_socket;
mod process;
mod server;
pub mod snapshot;
pub mod store;
pub mod systemd;
mod vector;

pub use config::{Config, memory_bytes_default, value_bytes_default};
pub use invalid::Invalid;
pub use net::Cores;
pub use server::{Server, check};
