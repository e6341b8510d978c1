//! What the fuzz targets compare corekv with: references that are slow and simple, written from
//! the RFCs and the contract and not from the code that they check.
//!
//! Where a request breaks several rules at once the contract does not say which is named. A
//! reference therefore gives all the statuses that would be true.

pub mod access;
pub mod chunked;
pub mod conditions;
pub mod head;
pub mod model;
pub mod origin;
pub mod reader;
pub mod response;
pub mod script;

use testkit::Numbers;

/// Status codes of which each would be a true answer.
pub type Statuses = Vec<u16>;

/// Cuts `length` bytes into pieces whose sizes follow from `seed`; 0 leaves them whole, and 1
/// cuts them into single bytes.
pub fn pieces(seed: u16, length: usize) -> Vec<usize> {
    match seed {
        0 => return vec![length],
        1 => return vec![1; length],
        _ => {}
    }
    let mut numbers = Numbers::new(seed.into());
    let mut left = length;
    let mut sizes = Vec::new();
    // A seed prefers small pieces or large ones, so that both kinds of cut are common.
    let size_max = 1 << (seed % 11);
    while left > 0 {
        let size = (1 + numbers.below(size_max) as usize).min(left);
        sizes.push(size);
        left -= size;
    }
    sizes
}
