//! The stages of a connection's input: received, parsed, prefetched, answered.
//!
//! Each stage is a value that the next one takes, so that input is parsed before it is answered, is
//! answered once, and is the same bytes all the way. An event loop takes the input of a few
//! connections through a stage before it takes any of them to the next: what the answers need of
//! memory arrives meanwhile.

/// Bytes that were received and not looked at, and the space for what parsing makes of them.
#[derive(Debug)]
pub struct Received<'a, B> {
    input: &'a [u8],
    batch: &'a mut B,
}

/// Input whose messages are known. To be prefetched.
#[derive(Debug)]
pub struct Parsed<'a, B> {
    input: &'a [u8],
    batch: &'a mut B,
    messages: usize,
}

/// Input whose answers have been asked for from memory. To be answered.
#[derive(Debug)]
pub struct Prefetched<'a, B> {
    input: &'a [u8],
    batch: &'a mut B,
}

impl<'a, B> Received<'a, B> {
    /// The first stage. What `batch` holds from earlier input is of no account.
    pub fn new(input: &'a [u8], batch: &'a mut B) -> Self {
        Self { input, batch }
    }

    /// The bytes, and what parsing fills.
    #[inline]
    pub fn parts(&mut self) -> (&'a [u8], &mut B) {
        (self.input, self.batch)
    }

    /// The next stage, with that many complete messages.
    #[inline]
    #[must_use]
    pub fn parsed(self, messages: usize) -> Parsed<'a, B> {
        Parsed { input: self.input, batch: self.batch, messages }
    }
}

impl<'a, B> Parsed<'a, B> {
    /// Complete messages that the input has.
    #[inline]
    #[must_use]
    pub fn messages(&self) -> usize {
        self.messages
    }

    /// What parsing has filled.
    #[inline]
    pub fn batch(&mut self) -> &mut B {
        self.batch
    }

    /// The next stage.
    #[inline]
    #[must_use]
    pub fn prefetched(self) -> Prefetched<'a, B> {
        Prefetched { input: self.input, batch: self.batch }
    }
}

impl<'a, B> Prefetched<'a, B> {
    /// The bytes.
    #[inline]
    #[must_use]
    pub fn input(&self) -> &'a [u8] {
        self.input
    }

    /// The bytes, and what parsing made of them.
    #[inline]
    #[must_use]
    pub fn into_parts(self) -> (&'a [u8], &'a mut B) {
        (self.input, self.batch)
    }
}
