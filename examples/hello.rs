//! The event loop with a handler of a few lines: an HTTP server that greets.
//!
//! ```sh
//! cargo run --release --example hello -- 127.0.0.1:8081
//! curl http://127.0.0.1:8081/Ada
//! ```

use std::sync::Arc;

use corekv::http::{self, Handler, Protocol, Request, Requests, Responses};
use corekv::net;

struct Hello;

impl Handler for Hello {
    type Lookup = ();
    type Pending = ();

    fn look_up(&mut self, _request: &Request<'_>) {}

    fn answer(&mut self, requests: Requests<'_, ()>, responses: &mut Responses<'_>) {
        for (request, ()) in requests.iter() {
            let greeting = [b"Hello, ", request.path, b"!\n"].concat();
            responses.body(&request, "text/plain", &greeting);
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8081".to_owned());
    let server = net::Server::bind(&[address.parse()?], None, net::Settings::default())?;
    println!("listening on {}", server.addresses()[0]);
    server.run(|_| Protocol::new(Hello, http::Settings::default(), Arc::default()))?;
    Ok(())
}
