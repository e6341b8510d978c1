//! Words for those who are not let in.

use std::sync::Arc;

use super::counters::Counters;
use super::handler::Handler;
use super::protocol::{Protocol, Settings};
use super::request::Requests;
use super::response::Responses;
use crate::net::{Class, Dismissal, Output, Service};

/// Handles no requests, because none are read.
struct Nobody;

impl Handler for Nobody {
    type Upload = ();
    type Batch = ();

    fn handle(&mut self, _requests: Requests<'_>, (): &mut (), _responses: &mut Responses<'_>) {}
}

/// Appends what a connection is told that no event loop takes, for
/// [`turn_away_with`](crate::net::Server::turn_away_with): the same as a loop would say.
pub fn refusal(settings: Settings, counters: Arc<Counters>) -> impl FnMut(&mut Output) + Send {
    let mut protocol = Protocol::new(Nobody, settings, counters);
    move |output| {
        let mut session = protocol.open(Class::Refused);
        protocol.dismiss(&mut session, Dismissal::Refused, output);
    }
}
