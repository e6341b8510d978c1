//! Keys and values, and nothing of HTTP or sockets.
//!
//! Every key lives in exactly one partition, chosen by its hash; there is one partition per
//! core. Any core reads and writes any partition directly, so a write is visible to every core
//! the moment that the call which made it returns.
//!
//! | files | what |
//! |---|---|
//! | `store`, `settings`, `key`, `clock`, `outcome`, `statistics`, `namespaces` | what users see |
//! | `optimistic_read`, `plain_value`, `small_value`, `large_value`, `upload` | values in the hands of readers, and on their way in |
//! | `scan`, `popularity` | a walk over all keys, and what eviction knows of each |
//! | `partitions`, `partition` | operations, and room that is made in another partition |
//! | `reclaimer`, `effort`, `compaction`, `policy`, `ghosts`, `queue_sizer`, `duel` | what is evicted, and where |
//! | `maintenance`, `wheel` | what expires |
//! | `purges`, `generation`, `sweep`, `sweeper` | what is purged, and how its memory comes back |
//! | `writer` | keeps the parts of a partition in step |
//! | `log`, `list`, `entry`, `header`, `word_writer`, `batch` | entries, and the queues that they are in |
//! | `chain` | the pages of a large value, and who refers to them |
//! | `table`, `index`, `index_writer`, `bucket`, `lines`, `sequence`, `atomic`, `hasher` | from a key to its entry |
//! | `pages`, `page_allocator` | uniform pages, and which of them are free |
//! | `memory`, `mapping`, `prefault`, `space` | memory from the operating system |
//! | `budget`, `claims` | the account of the memory limit, and what eviction can't take back for now |
//! | `invariants` | checked after every operation of the model tests |

mod atomic;
mod batch;
mod bucket;
mod budget;
mod chain;
mod claims;
mod clock;
mod compaction;
mod duel;
mod effort;
mod entry;
mod fingerprint;
mod generation;
mod ghosts;
mod hasher;
mod header;
mod index;
#[cfg(test)]
mod index_tests;
mod index_writer;
#[cfg(debug_assertions)]
mod invariants;
mod key;
mod large_value;
mod lines;
mod list;
mod log;
mod maintenance;
mod mapping;
mod memory;
mod namespaces;
mod optimistic_read;
mod outcome;
mod page_allocator;
mod pages;
mod partition;
mod partitions;
mod plain_value;
mod policy;
mod popularity;
mod prefault;
mod purges;
mod queue_sizer;
mod reclaimer;
mod scan;
mod sequence;
mod settings;
mod small_value;
mod space;
mod statistics;
#[allow(clippy::module_inception)] // The type that the module is named after.
mod store;
mod stored;
mod sweep;
mod sweeper;
mod table;
mod tags;
mod upload;
mod wheel;
mod word_writer;
mod writer;

pub use clock::{Clock, Expiry, TTL_SECONDS_MAX, Tick};
pub use fingerprint::{Fingerprint, Fingerprinter};
pub use header::KEY_BYTES_MAX;
pub use index::SlotHint;
pub use key::{Hash, Key};
pub use large_value::LargeValue;
pub use namespaces::NamespaceStatistics;
pub use optimistic_read::OptimisticRead;
pub use outcome::{Busy, Full, Written};
pub use plain_value::PlainValue;
pub use popularity::{POPULARITY_RANKS, Popularity};
pub use scan::{Scan, Scanned, ScannedValue};
pub use settings::Settings;
pub use small_value::SmallValue;
pub use statistics::Statistics;
pub use store::{Store, Value};
pub use stored::Stored;
pub use upload::Upload;
