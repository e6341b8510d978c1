//! A request that was parsed, apart from its bytes.

use std::ops::Range;

use super::fields::Fields;
use super::hosts;
use super::method::Method;
use super::origin::{self, Origin};
use super::refusal::Refusal;
use super::target::Target;

/// A request without its bytes: where its parts lie in the input.
#[derive(Debug, Clone, Copy)]
pub struct ParsedRequest {
    /// The method.
    pub method: Method,
    /// What the target names.
    pub target: Target,
    /// What the header fields say.
    pub fields: Fields,
    pub(super) path_at: u32,
    pub(super) path_len: u32,
    /// Where the target ends: the space before the version.
    pub(super) target_end: u32,
    pub(super) body_at: u32,
    pub(super) body_len: u32,
}

impl ParsedRequest {
    /// A request whose body, if it has one, begins at `body_at`.
    #[inline(always)] // Into the loop over a connection's input.
    pub(super) fn new(
        method: Method,
        target: Target,
        path: Range<usize>,
        target_end: usize,
        fields: Fields,
        body_at: usize,
    ) -> Self {
        Self {
            method,
            target,
            fields,
            path_at: path.start as u32,
            path_len: path.len() as u32,
            target_end: target_end as u32,
            body_at: body_at as u32,
            body_len: 0,
        }
    }

    /// The path as it stands in the input that it was parsed from.
    pub(super) fn encoded_path<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        &input[self.path_at as usize..][..self.path_len as usize]
    }

    /// The answer to a request that is refused whatever it is about, because of where it comes
    /// from, or where `checks_host` is set because of whom it means.
    pub(super) fn refusal(&self, checks_host: bool) -> Option<Refusal> {
        let sender = self.fields.sender;
        if checks_host && sender.host_is_foreign() {
            return Some(hosts::MISDIRECTED);
        }
        (sender.origin() == Origin::Foreign).then(|| origin::refusal(self.method))
    }
}
