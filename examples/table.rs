//! A handler with a table of its own: a key-value server with a hash map that all event loops share.
//!
//! ```sh
//! cargo run --release --example table -- 127.0.0.1:8082
//! curl -T - http://127.0.0.1:8082/name <<< Ada
//! curl http://127.0.0.1:8082/name
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use corekv::http::{
    self, Handler, Method, Persistence, Protocol, Refusal, Request, Requests, Responses, Status,
};
use corekv::net;

/// Longest value, in bytes.
const VALUE_BYTES_MAX: u64 = 1 << 20;

type Map = HashMap<Box<[u8]>, Box<[u8]>>;

/// One per event loop; the map is shared. Nothing bounds the number of keys.
struct Table {
    map: Arc<Mutex<Map>>,
}

/// A value whose bytes arrive in several pieces.
struct Upload {
    method: Method,
    key: Box<[u8]>,
    value: Vec<u8>,
}

impl Table {
    fn map(&self) -> MutexGuard<'_, Map> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, key: Box<[u8]>, value: Box<[u8]>) -> Status {
        match self.map().insert(key, value) {
            Some(_) => Status::NoContent,
            None => Status::Created,
        }
    }
}

impl Handler for Table {
    type Lookup = ();
    type Pending = Upload;

    fn look_up(&mut self, _request: &Request<'_>) {}

    fn answer(&mut self, requests: Requests<'_, ()>, responses: &mut Responses<'_>) {
        for (request, ()) in requests.iter() {
            let (method, persistence) = (request.method, request.fields.persistence);
            let status = match method {
                Method::Get | Method::Head => {
                    if let Some(value) = self.map().get(request.path) {
                        responses.body(&request, "application/octet-stream", value);
                        continue;
                    }
                    Status::NotFound
                }
                Method::Put => self.put(request.path.into(), request.body.into()),
                Method::Delete => match self.map().remove(request.path) {
                    Some(_) => Status::NoContent,
                    None => Status::NotFound,
                },
                _ => {
                    responses.empty_with(
                        &request,
                        Status::MethodNotAllowed,
                        ("Allow", "GET, HEAD, PUT, DELETE"),
                    );
                    continue;
                }
            };
            responses.empty(method, persistence, status);
        }
    }

    fn begin(&mut self, request: Request<'_>) -> Result<Upload, Refusal> {
        if request.method != Method::Put {
            return Err(Refusal::new(Status::MethodNotAllowed, "only PUT takes a body"));
        }
        Ok(Upload { method: request.method, key: request.path.into(), value: Vec::new() })
    }

    fn append(&mut self, upload: &mut Upload, bytes: &[u8]) -> Result<(), Refusal> {
        upload.value.extend_from_slice(bytes);
        Ok(())
    }

    fn held_bytes(&self, upload: &Upload) -> usize {
        upload.key.len() + upload.value.capacity()
    }

    fn finish(
        &mut self,
        upload: Upload,
        persistence: Persistence,
        responses: &mut Responses<'_>,
    ) -> Option<Upload> {
        let status = self.put(upload.key, upload.value.into());
        responses.empty(upload.method, persistence, status);
        None
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8082".to_owned());
    let server = net::Server::bind(&[address.parse()?], None, net::Settings::default())?;
    println!("listening on {}", server.addresses()[0]);
    let map = Arc::default();
    let settings = http::Settings { body_bytes_max: VALUE_BYTES_MAX, ..http::Settings::default() };
    server.run(move |_| {
        let table = Table { map: Arc::clone(&map) };
        Protocol::new(table, settings.clone(), Arc::default())
    })?;
    Ok(())
}
