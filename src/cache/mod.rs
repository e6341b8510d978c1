//! The cache: a batch of requests -> the store -> responses. The only place that knows HTTP and
//! keys and values.
//!
//! ```text
//!   Cache::look_up    Routes::find: a key is hashed, and its index line asked for
//!   Cache::prefetch   the key's entry is asked for
//!   Cache::answer     Cache::check: access and method; then Keys or Pages
//! ```
//!
//! - A method is answered in `handler.rs` (`Cache::answer_one`), which `Cache::check` lets it come to.
//! - What a read says beside the value's bytes is in `representation.rs`, on what terms a write is
//!   carried out in `terms.rs`; requests without preconditions and the like go past both.
//! - An error response is a line of `refusals.rs`, a reserved name a page of `route.rs` and
//!   `pages.rs`, a metric a row of `metrics.rs`.

mod counters;
mod dashboard;
mod exposition;
mod handler;
mod kept_sets;
mod key_lengths;
mod keys;
mod large_payload;
mod lookup;
mod metrics;
mod namespaces;
mod pages;
mod pending;
mod refusals;
mod representation;
mod route;
mod settings;
mod snapshot_page;
mod stored_fields;
mod terms;
mod turborepo;

pub use counters::Counters;
pub use dashboard::{History, Recorder};
pub use exposition::Format;
pub use handler::Cache;
pub use kept_sets::KeptSets;
pub use lookup::Lookup;
pub use metrics::Metrics;
pub use namespaces::Namespaces;
pub use pending::{BodilessRequest, Pending};
pub use route::Routes;
pub use settings::{CacheHeaders, MissStatus, Settings, StoreStatus};
pub use stored_fields::StoredFields;
pub(crate) use turborepo::{KEPT_FIELDS as TURBOREPO_FIELDS, TEAM as TURBOREPO_TEAM};
