//! corekv: an in-memory key-value cache that speaks HTTP/1.1.

pub mod net;
pub mod store;
