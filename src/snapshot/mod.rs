//! The contents of a store in a file, so that a restart loses nothing.
//!
//! ```text
//!   store ── Scan ──> writer ──> replacement: PATH.tmp, fsync, rename, fsync of the folder
//!                                                                 │
//!   store <─ restore ── reader <──────────────────────────────────┘
//! ```
//!
//! | files | what |
//! |---|---|
//! | `format` | what the bytes of a file mean |
//! | `moment` | how long ago a file was written, whatever the clocks did since |
//! | `replacement` | a file that takes the place of another as a whole or not at all |
//! | `writer`, `saver` | writing a store's contents, and when that is done |
//! | `reader`, `selection` | reading them, and what of them if there is too much |
//! | `status` | what is known of all that, for metrics and the admin address |
//!
//! The module knows keys, values and what is kept beside them, which it gets and gives as
//! [`Fields`] has it; and nothing of HTTP.

mod fields;
mod format;
mod moment;
mod reader;
mod replacement;
mod saver;
mod selection;
mod status;
mod writer;

pub use fields::Fields;
pub use reader::{Limits, LoadError, Loaded, load};
pub use saver::{Busy, Running, Saver};
pub use status::{Saved, Status};
pub use writer::{Contents, save};
