//! What a server's replies look like, learned from one of each kind.

use std::io::{Read, Write};

use super::connection::Socket;
use super::requests::{Kind, value};
use super::wire::Wire;

/// Longest beginning of a reply that is compared, in bytes: `HTTP/1.1 200`.
const PREFIX_BYTES_MAX: usize = 12;

/// A key that no workload has.
const PROBE_KEY: u64 = 999_999_999_999;

/// What all replies of a kind have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Length of the whole reply, in bytes.
    pub bytes: usize,
    /// How it begins.
    pub prefix: Vec<u8>,
}

/// What the replies of a server look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replies {
    read: Reply,
    replace: Reply,
    create: Reply,
}

impl Replies {
    /// Stores a value and reads it back, and keeps what the replies look like. Of a server that
    /// stores nothing only the length of the value is checked.
    ///
    /// # Errors
    /// If the server is not there, or a reply is not the one that was expected.
    pub fn learn(
        wire: &Wire,
        socket: &Socket,
        value_bytes: usize,
        stores: bool,
    ) -> Result<Self, String> {
        let (mut request, stored) = (Vec::new(), value(value_bytes));
        let exchange = |request: &mut Vec<u8>| {
            let reply = exchange(wire, socket, request);
            request.clear();
            reply
        };
        wire.write(&mut request, PROBE_KEY, &stored, None);
        let (create, _) = exchange(&mut request)?;
        wire.write(&mut request, PROBE_KEY, &stored, None);
        let (replace, _) = exchange(&mut request)?;
        wire.read(&mut request, PROBE_KEY, None);
        let (read, payload) = exchange(&mut request)?;
        if payload.len() != value_bytes || (stores && payload != stored) {
            return Err(format!(
                "a value of {value_bytes} bytes was read back as {}",
                payload.len()
            ));
        }
        Ok(Self { read, replace, create })
    }

    #[inline]
    pub(super) fn of(&self, kind: Kind) -> &Reply {
        match kind {
            Kind::Read => &self.read,
            Kind::Replace => &self.replace,
            Kind::Create => &self.create,
        }
    }
}

/// Sends a request; what its reply looks like, and its payload.
fn exchange(wire: &Wire, mut socket: &Socket, request: &[u8]) -> Result<(Reply, Vec<u8>), String> {
    let failed = |error: std::io::Error| format!("no reply: {error}");
    socket.write_all(request).map_err(failed)?;
    let (mut received, mut piece) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let length = socket.read(&mut piece).map_err(failed)?;
        if length == 0 {
            return Err("the server closed the connection".to_owned());
        }
        received.extend_from_slice(&piece[..length]);
        if let Some((payload, bytes)) = wire.parse_reply(&received)? {
            if bytes != received.len() {
                return Err("there are bytes behind the reply".to_owned());
            }
            let prefix = received[..bytes.min(PREFIX_BYTES_MAX)].to_vec();
            return Ok((Reply { bytes, prefix }, received[payload].to_vec()));
        }
    }
}
