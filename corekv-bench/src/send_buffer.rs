//! What is rendered and waits for the socket.

use std::io;

use super::stream::Stream;

/// Bytes that wait for the socket; beyond this no further request is rendered.
const SEND_BYTES_MAX: usize = 256 * 1024;

/// Rendered requests on their way to the socket.
#[derive(Debug, Default)]
pub(super) struct SendBuffer {
    bytes: Vec<u8>,
    sent: usize,
    /// Whether a write found out that the connection was reset, which no read says again.
    was_reset: bool,
}

impl SendBuffer {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether no further request has room.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= SEND_BYTES_MAX
    }

    /// Whether a write found out that the connection was reset.
    pub(super) fn was_reset(&self) -> bool {
        self.was_reset
    }

    /// Where requests are appended.
    pub(super) fn end(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Forgets what waits.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.sent = 0;
        self.was_reset = false;
    }

    /// Writes as much as the socket takes.
    pub(super) fn send(&mut self, stream: &mut Stream) {
        loop {
            match stream.write(&self.bytes[self.sent..]) {
                Ok(length) => self.sent += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Either the socket is full and will become writable, or the connection is broken
                // and reading will say so, after the answers that arrived before it broke. Why
                // it broke the kernel says but once.
                Err(error) => {
                    self.was_reset |= error.kind() == io::ErrorKind::ConnectionReset;
                    return;
                }
            }
            if self.sent == self.bytes.len() {
                break;
            }
        }
        self.bytes.clear();
        self.sent = 0;
    }
}
