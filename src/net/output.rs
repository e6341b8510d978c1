//! What a connection has still to send: bytes, and large payloads that are sent from where
//! they lie.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io::{self, IoSlice};

use super::sink::{Sink, Transfer};

/// What room a sink has after [`Output::send`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Some.
    Left,
    /// None; the event loop will be told when there is.
    Full,
    /// None, and nobody will be told when there is: the kernel is short of memory.
    Starved,
}

/// Slices handed to one `sendmsg`; the kernel's limit is 1024.
const SLICES_PER_SEND_MAX: usize = 64;

/// Bytes that are sent from where they lie, without a copy.
pub trait Payload: Debug {
    /// Calls `each` with the bytes from `from` on, in order and in as many pieces as they lie
    /// in memory, until it returns false. To give fewer bytes than were announced closes the
    /// connection; more are left out.
    fn pieces<'a>(&'a self, from: usize, each: &mut dyn FnMut(&'a [u8]) -> bool);

    /// Bytes that lie in memory of the payload's own.
    fn held_bytes(&self) -> usize {
        0
    }
}

#[derive(Debug)]
struct Insert {
    /// Stands before `bytes[at]`.
    at: usize,
    payload: Box<dyn Payload>,
    sent: usize,
    len: usize,
}

/// Responses on their way out, in order.
#[derive(Debug, Default)]
pub struct Output {
    bytes: Vec<u8>,
    sent: usize,
    inserts: VecDeque<Insert>,
    /// What is left to send of the payloads.
    payload_bytes: usize,
}

impl Output {
    /// The bytes, to be appended to.
    #[inline]
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Appends a payload that is sent from where it lies.
    pub fn insert(&mut self, payload: Box<dyn Payload>, len: usize) {
        if len > 0 {
            self.payload_bytes += len;
            self.inserts.push_back(Insert { at: self.bytes.len(), payload, sent: 0, len });
        }
    }

    /// Payloads that are waiting to be sent.
    #[must_use]
    #[inline]
    pub fn inserts(&self) -> usize {
        self.inserts.len()
    }

    /// Bytes of payloads that are waiting to be sent.
    #[must_use]
    #[inline]
    pub fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }

    /// Bytes held in memory of its own, payloads not counted.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Bytes of memory of its own, and of the payloads' own. Takes time for each payload.
    pub(super) fn held_bytes(&self) -> usize {
        let payloads = self.inserts.iter().map(|insert| insert.payload.held_bytes());
        self.bytes.capacity() + payloads.sum::<usize>()
    }

    /// Whether everything has been sent.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.sent == self.bytes.len() && self.inserts.is_empty()
    }

    /// Sends as much as the socket takes, up to `share` bytes, in one system call if that does.
    /// Returns how many bytes went and what room is left; if there is some and output remains,
    /// the share is used up.
    ///
    /// # Errors
    /// When the sink can't send any more, or a payload is too short.
    pub fn send(&mut self, sink: &impl Sink, share: usize) -> io::Result<(usize, Room)> {
        let mut total = 0;
        let mut room = Room::Left;
        while !self.is_empty() && room == Room::Left && total < share {
            let (wanted, result) = if self.inserts.is_empty() {
                let rest = &self.bytes[self.sent..];
                let part = &rest[..rest.len().min(share - total)];
                (part.len(), sink.send(part)?)
            } else {
                self.send_vectored(sink, share - total)?
            };
            let n = match result {
                Transfer::Done(n) => n,
                Transfer::NotReady => return Ok((total, Room::Full)),
                Transfer::Starved => return Ok((total, Room::Starved)),
            };
            self.advance(n);
            total += n;
            if n < wanted {
                room = Room::Full;
            }
        }
        if self.is_empty() {
            self.bytes.clear();
            self.sent = 0;
        }
        Ok((total, room))
    }

    fn send_vectored(&self, sink: &impl Sink, share: usize) -> io::Result<(usize, Transfer)> {
        let mut slices = [IoSlice::new(&[]); SLICES_PER_SEND_MAX];
        let mut count = 0;
        let mut wanted = 0;
        let mut room = true;
        let mut position = self.sent;
        let mut fill = |piece| {
            // A piece can be a whole value, where its memory is in one place.
            let piece: &[u8] = piece;
            let part = &piece[..piece.len().min(share - wanted)];
            slices[count] = IoSlice::new(part);
            wanted += part.len();
            count += 1;
            count < SLICES_PER_SEND_MAX && wanted < share
        };
        for insert in &self.inserts {
            if position < insert.at {
                room = fill(&self.bytes[position..insert.at]);
                position = insert.at;
            }
            let mut left = insert.len - insert.sent;
            if room {
                insert.payload.pieces(insert.sent, &mut |piece| {
                    let piece = &piece[..piece.len().min(left)];
                    left -= piece.len();
                    room = piece.is_empty() || fill(piece);
                    room && left > 0
                });
            }
            if !room {
                break;
            }
            if left > 0 {
                return Err(io::Error::other("a payload is shorter than it was said to be"));
            }
        }
        if room && position < self.bytes.len() {
            fill(&self.bytes[position..]);
        }
        Ok((wanted, sink.send_vectored(&slices[..count])?))
    }

    fn advance(&mut self, mut n: usize) {
        while let Some(insert) = self.inserts.front_mut() {
            let before = (insert.at - self.sent).min(n);
            self.sent += before;
            n -= before;
            let part = (insert.len - insert.sent).min(n);
            insert.sent += part;
            self.payload_bytes -= part;
            n -= part;
            if insert.sent < insert.len {
                return;
            }
            self.inserts.pop_front();
        }
        self.sent += n;
    }

    /// Moves what has not been sent into a new output of just that size, and leaves this one
    /// empty with its capacity.
    #[must_use]
    pub fn take_rest(&mut self) -> Self {
        let mut inserts = std::mem::take(&mut self.inserts);
        for insert in &mut inserts {
            insert.at -= self.sent;
        }
        let payload_bytes = std::mem::take(&mut self.payload_bytes);
        let rest =
            Self { bytes: self.bytes[self.sent..].to_vec(), sent: 0, inserts, payload_bytes };
        self.bytes.clear();
        self.sent = 0;
        rest
    }
}
