//! corekv: an in-memory key-value cache that speaks HTTP/1.1.

#[cfg(feature = "bench")]
pub mod bench;
pub mod net;
pub mod store;
