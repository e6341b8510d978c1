//! The floor: corekv's event loop without HTTP and without a store. It counts blank lines and
//! answers each with a canned response as long as corekv's, so what it costs per request is
//! what recv, send and the loop cost. Everything above it is corekv's to explain.
//!
//! It understands just enough to measure with: heads without bodies, and POSTs whose body has
//! no blank line in it and came with the head.
//!
//! ```sh
//! cargo run --release -p measure --bin floor -- 127.0.0.1:8082 0
//! ```
//! The second argument lists the cores, as corekv's `--cores`.

use corekv::net::{
    Class, Flow, Iteration, Output, Prefetched, Progress, Rejection, Server, Service, Settings,
    Wait,
};

/// As long as corekv's answer to a GET of a five-byte value.
const HIT: &[u8] =
    b"HTTP/1.1 200 OK\r\nDate: Tue, 24 Nov 2026 03:34:56 GMT\r\nContent-Length: 5\r\n\r\nvalue";

/// As long as corekv's answer to a POST that replaces a value.
const REPLACED: &[u8] = b"HTTP/1.1 204 No Content\r\nDate: Tue, 24 Nov 2026 03:34:56 GMT\r\n\r\n";

struct Floor {
    blank_line: memchr::memmem::Finder<'static>,
}

impl Service for Floor {
    type Session = ();
    type Batch = ();

    fn open(&mut self, _class: Class) {}

    fn answer(
        &mut self,
        (): &mut (),
        prefetched: Prefetched<'_, ()>,
        output: &mut Output,
        _iteration: &Iteration,
    ) -> Progress {
        let input = prefetched.input();
        let mut answered = 0;
        let mut consumed = 0;
        for end in self.blank_line.find_iter(input) {
            // A body lies between the blank line before and the method: which of the two it is
            // shows in the first letter behind the digits of the body.
            let head = &input[consumed..end];
            let posts = head.iter().find(|byte| byte.is_ascii_alphabetic()) == Some(&b'P');
            output.bytes().extend_from_slice(if posts { REPLACED } else { HIT });
            answered += 1;
            consumed = end + 4;
        }
        // A body behind the last head is taken with the next head.
        Progress { consumed, answered, flow: Flow::More }
    }

    fn waits_for(&self, (): &(), _buffered: bool) -> Wait {
        Wait::Idle
    }

    fn reject(&mut self, (): &mut (), _why: Rejection, _output: &mut Output) {}
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8082".to_owned()).parse()?;
    let cores = arguments.next().unwrap_or_else(|| "auto".to_owned()).parse()?;
    let server = Server::bind(&[address], None, Settings { cores, ..Settings::default() })?;
    println!("listening on {}", server.addresses()[0]);
    server.run(|_| Floor { blank_line: memchr::memmem::Finder::new(b"\r\n\r\n") })?;
    Ok(())
}
