//! The floor: corekv's event loop without HTTP and without a store. It counts blank lines and
//! answers each with a canned response as long as corekv's, so what it costs per request is
//! what recv, send and the loop cost. Everything above it is corekv's to explain.
//!
//! It understands just enough to measure with: heads without bodies, and POSTs whose body has
//! VALUE_BYTES.
//!
//! ```sh
//! cargo run --release -p measure --bin floor -- 127.0.0.1:8082 0 8
//! ```
//! The address may be `unix:PATH`. The second argument lists the cores, as corekv's `--cores`.

use std::sync::Arc;

use corekv::net::{
    Class, Flow, Iteration, Output, Payload, Prefetched, Progress, Rejection, Server, Service,
    Settings, Wait,
};
use measure::canned::{Asked, Canned};

/// Values from this length on are sent from where they lie, as corekv sends them.
const LARGE_VALUE_BYTES_MIN: usize = 16 << 10;

struct Floor(Arc<Canned>);

/// A canned value that is sent without a copy.
#[derive(Debug)]
struct CannedValue(Arc<Canned>);

impl Payload for CannedValue {
    fn pieces<'a>(&'a self, from: usize, each: &mut dyn FnMut(&'a [u8]) -> bool) {
        each(&self.0.value[from..]);
    }
}

impl Service for Floor {
    /// What is left of a body.
    type Session = usize;
    type Batch = ();

    fn open(&mut self, _class: Class) -> usize {
        0
    }

    fn answer(
        &mut self,
        body: &mut usize,
        prefetched: Prefetched<'_, ()>,
        output: &mut Output,
        _iteration: &Iteration,
    ) -> Progress {
        let canned = &self.0;
        let mut answered = 0;
        let consumed = canned.answer(body, prefetched.input(), |asked| {
            answered += 1;
            if asked == Asked::Write {
                output.bytes().extend_from_slice(&canned.replaced);
                return;
            }
            output.bytes().extend_from_slice(&canned.hit);
            if canned.value.len() < LARGE_VALUE_BYTES_MIN {
                output.bytes().extend_from_slice(&canned.value);
            } else {
                output.insert(Box::new(CannedValue(Arc::clone(canned))), canned.value.len());
            }
        });
        Progress { consumed, answered, flow: Flow::More }
    }

    fn waits_for(&self, body: &usize, _buffered: bool) -> Wait {
        if *body > 0 { Wait::Body } else { Wait::Idle }
    }

    fn reject(&mut self, _body: &mut usize, _why: Rejection, _output: &mut Output) {}
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8082".to_owned()).parse()?;
    let cores = arguments.next().unwrap_or_else(|| "auto".to_owned()).parse()?;
    let value_bytes = arguments.next().unwrap_or_else(|| "8".to_owned()).parse()?;
    let server = Server::bind(&[address], None, Settings { cores, ..Settings::default() })?;
    println!("listening on {}", server.addresses()[0]);
    let canned = Arc::new(Canned::new(value_bytes));
    server.run(|_| Floor(Arc::clone(&canned)))?;
    Ok(())
}
