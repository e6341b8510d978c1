//! What a socket is ready for, as far as events and transfers have told.
//!
//! Events come when readiness begins, and not again while it lasts (epoll's edge trigger). So a
//! connection remembers it until a transfer shows that it is over.

use mio::event::Event;

use super::output::Room;

#[derive(Debug)]
pub(super) struct Readiness {
    /// The socket may have bytes that were not received.
    pub(super) readable: bool,
    /// Something ends reads early (the peer's end, an urgent byte, descriptors), so that a short one
    /// does not prove the socket drained: it is read until it says so.
    pub(super) cut: bool,
    pub(super) writable: bool,
    /// The kernel had no memory for a transfer, so that no event will come for it.
    starved: bool,
}

impl Readiness {
    /// That of a new connection, which may have sent something already.
    pub(super) fn new() -> Self {
        Self { readable: true, cut: false, writable: true, starved: false }
    }

    pub(super) fn note(&mut self, event: &Event) {
        self.readable |= event.is_readable() || event.is_error();
        self.cut |= event.is_read_closed() || event.is_error() || event.is_priority();
        self.writable |= event.is_writable() || event.is_error();
    }

    /// So many bytes were received, with room for `share`. A short read proves that the socket was
    /// drained, and saves the read that would say so, unless something else may have ended it.
    pub(super) fn received(&mut self, bytes: usize, share: usize) {
        self.readable = bytes == share || self.cut;
    }

    /// There was nothing to receive.
    pub(super) fn drained(&mut self) {
        (self.readable, self.cut) = (false, false);
    }

    /// The kernel had no memory to receive with.
    pub(super) fn starved(&mut self) {
        (self.readable, self.starved) = (false, true);
    }

    /// There is so much room for sending.
    pub(super) fn sent(&mut self, room: Room) {
        self.writable = room == Room::Left;
        self.starved |= room == Room::Starved;
    }

    /// Has tried again what the kernel had no memory for. Whether there is anything.
    pub(super) fn retry(&mut self) -> bool {
        let starved = std::mem::take(&mut self.starved);
        self.readable |= starved;
        self.writable |= starved;
        starved
    }
}
