//! The connections of a loop, by the tokens that their events come with.

use mio::Token;
use slab::Slab;

use super::connection::Connection;

/// A token's lower half is the key of a slot, its upper half a generation.
const KEY_BITS: u32 = 32;
const GENERATION_MASK: u32 = u32::MAX >> 1;
const _: () = assert!(usize::BITS == 64, "tokens carry a generation in their upper half");

/// The connections, each in a slot. A slot is used again, but with another generation, so that an
/// event of a closed connection does not reach its successor.
#[derive(Debug)]
pub(super) struct ConnectionTable<T> {
    slots: Slab<Slot<T>>,
    generation: u32,
}

#[derive(Debug)]
struct Slot<T> {
    connection: Connection<T>,
    generation: u32,
}

impl<T> ConnectionTable<T> {
    pub(super) fn new() -> Self {
        Self { slots: Slab::new(), generation: 0 }
    }

    /// The token of the connection that is inserted next.
    pub(super) fn next_token(&mut self) -> Token {
        self.generation = self.generation.wrapping_add(1) & GENERATION_MASK;
        token(self.slots.vacant_key(), self.generation)
    }

    /// Takes a connection in, under the token that [`next_token`](Self::next_token) has given.
    pub(super) fn insert(&mut self, connection: Connection<T>) -> usize {
        self.slots.insert(Slot { connection, generation: self.generation })
    }

    /// The key of the connection that a token stands for, unless it was closed.
    #[inline]
    pub(super) fn find(&self, token: Token) -> Option<usize> {
        let key = token.0 & ((1 << KEY_BITS) - 1);
        let slot = self.slots.get(key)?;
        (slot.generation == (token.0 >> KEY_BITS) as u32).then_some(key)
    }

    /// The token of the connection with this key.
    pub(super) fn token(&self, key: usize) -> Token {
        token(key, self.slots[key].generation)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: usize) -> Option<&mut Connection<T>> {
        self.slots.get_mut(key).map(|slot| &mut slot.connection)
    }

    #[inline]
    pub(super) fn get(&self, key: usize) -> Option<&Connection<T>> {
        self.slots.get(key).map(|slot| &slot.connection)
    }

    pub(super) fn remove(&mut self, key: usize) -> Connection<T> {
        self.slots.remove(key).connection
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// All keys are below.
    pub(super) fn key_max(&self) -> usize {
        self.slots.capacity()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Token, &Connection<T>)> {
        self.slots.iter().map(|(key, slot)| (token(key, slot.generation), &slot.connection))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Token, &mut Connection<T>)> {
        self.slots.iter_mut().map(|(key, slot)| (token(key, slot.generation), &mut slot.connection))
    }
}

fn token(key: usize, generation: u32) -> Token {
    Token((generation as usize) << KEY_BITS | key)
}
