//! What a client may rely on, rule by rule (docs/http-api.md). Where a request ends is the
//! business of framing.rs; this is about what requests mean.

#[path = "contract/conditions.rs"]
mod conditions;
#[path = "contract/expectations.rs"]
mod expectations;
#[path = "contract/headers.rs"]
mod headers;
#[path = "contract/kept.rs"]
mod kept;
#[path = "contract/keys.rs"]
mod keys;
#[path = "contract/lifetime.rs"]
mod lifetime;
#[path = "contract/limits.rs"]
mod limits;
#[path = "contract/methods.rs"]
mod methods;
#[path = "contract/order.rs"]
mod order;
#[path = "contract/origins.rs"]
mod origins;
#[path = "contract/purge.rs"]
mod purge;
#[path = "contract/ranges.rs"]
mod ranges;
#[path = "contract/reserved.rs"]
mod reserved;
#[path = "contract/turborepo.rs"]
mod turborepo;
#[path = "contract/values.rs"]
mod values;
