//! The corekv server.

fn main() {}
