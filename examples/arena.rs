//! An entry for public benchmarks, on the library's event loop and HTTP: the endpoints that TechEmpower's
//! `plaintext` and `json` and HttpArena's `baseline`, `pipelined` and `limited-conn` ask for.
//!
//! ```sh
//! cargo run --release --example arena -- 0.0.0.0:8080
//! curl 'http://127.0.0.1:8080/baseline11?a=13&b=42' -d 20
//! ```
//!
//! | target | answer |
//! |---|---|
//! | `GET /plaintext` | `Hello, World!` |
//! | `GET /json` | an object with that message, serialized anew for each request |
//! | `GET /pipeline` | `ok` |
//! | `GET /baseline11?a=13&b=42` | the sum of the values, in decimal |
//! | `POST /baseline11?a=13&b=42` | the sum of the values and of the number in the body |

use std::sync::Arc;

use corekv::http::{
    self, Handler, Method, Persistence, Protocol, Refusal, Request, Requests, Responses, Status,
};
use corekv::net;

/// Longest number in a body, in bytes: all digits of an `i64`, a sign, and a line's end.
const NUMBER_BYTES_MAX: usize = 24;

const TEXT: &str = "text/plain";

struct Arena;

/// A POST whose body arrives in pieces.
struct Pending {
    /// The sum of the query's values.
    sum: i64,
    /// What the body has brought so far.
    number: Vec<u8>,
}

/// The number in some text, which may have white space around it.
fn number(text: &[u8]) -> Result<i64, Refusal> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok());
    number.ok_or_else(|| Refusal::new(Status::BadRequest, "what is summed must be a number"))
}

fn add(one: i64, other: i64) -> Result<i64, Refusal> {
    one.checked_add(other)
        .ok_or_else(|| Refusal::new(Status::BadRequest, "the sum must be less than 2^63"))
}

/// The sum of the values of a query.
fn sum(query: &[u8]) -> Result<i64, Refusal> {
    let parts = query.split(|&byte| byte == b'&').filter(|part| !part.is_empty());
    parts
        .map(|part| part.splitn(2, |&byte| byte == b'=').nth(1).unwrap_or_default())
        .try_fold(0, |sum, value| add(sum, number(value)?))
}

/// Answers with 200. These benchmarks want a Server field.
fn ok(
    responses: &mut Responses<'_>,
    method: Method,
    persistence: Persistence,
    content_type: &str,
    body: &[u8],
) {
    let head = responses.head(method, persistence, Status::Ok).field("Server", b"corekv");
    head.field("Content-Type", content_type.as_bytes()).body(body.len());
    if method != Method::Head {
        responses.bytes().extend_from_slice(body);
    }
}

fn answer(request: &Request<'_>, responses: &mut Responses<'_>) {
    let (method, persistence) = (request.method, request.fields.persistence);
    let reads = matches!(method, Method::Get | Method::Head);
    match request.path {
        b"pipeline" if reads => ok(responses, method, persistence, TEXT, b"ok"),
        b"plaintext" if reads => ok(responses, method, persistence, TEXT, b"Hello, World!"),
        b"json" if reads => {
            let message = serde_json::json!({ "message": "Hello, World!" }).to_string();
            ok(responses, method, persistence, "application/json", message.as_bytes());
        }
        b"baseline11" if reads || method == Method::Post => {
            let total = sum(request.query()).and_then(|sum| match method {
                Method::Post => add(sum, number(request.body)?),
                _ => Ok(sum),
            });
            match total {
                Ok(total) => {
                    ok(responses, method, persistence, TEXT, total.to_string().as_bytes());
                }
                Err(refusal) => responses.refuse(method, persistence, refusal),
            }
        }
        b"pipeline" | b"plaintext" | b"json" | b"baseline11" => {
            let allow = if request.path == b"baseline11" { "GET, HEAD, POST" } else { "GET, HEAD" };
            responses.empty_with(request, Status::MethodNotAllowed, ("Allow", allow));
        }
        _ => responses.empty(method, persistence, Status::NotFound),
    }
}

impl Handler for Arena {
    type Lookup = ();
    type Pending = Pending;

    fn look_up(&mut self, _request: &Request<'_>) {}

    fn answer(&mut self, requests: Requests<'_, ()>, responses: &mut Responses<'_>) {
        for (request, ()) in requests.iter() {
            answer(&request, responses);
        }
    }

    fn begin(&mut self, request: Request<'_>) -> Result<Pending, Refusal> {
        if (request.method, request.path) != (Method::Post, b"baseline11") {
            return Err(Refusal::new(Status::MethodNotAllowed, "only /baseline11 takes a body"));
        }
        Ok(Pending { sum: sum(request.query())?, number: Vec::new() })
    }

    fn append(&mut self, pending: &mut Pending, bytes: &[u8]) -> Result<(), Refusal> {
        if pending.number.len() + bytes.len() > NUMBER_BYTES_MAX {
            return Err(Refusal::new(Status::ContentTooLarge, "the body must be a number"));
        }
        pending.number.extend_from_slice(bytes);
        Ok(())
    }

    fn held_bytes(&self, pending: &Pending) -> usize {
        pending.number.capacity()
    }

    fn finish(
        &mut self,
        pending: Pending,
        persistence: Persistence,
        responses: &mut Responses<'_>,
    ) -> Option<Pending> {
        match number(&pending.number).and_then(|number| add(pending.sum, number)) {
            Ok(total) => {
                ok(responses, Method::Post, persistence, TEXT, total.to_string().as_bytes());
            }
            Err(refusal) => responses.refuse(Method::Post, persistence, refusal),
        }
        None
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let server = net::Server::bind(&[address.parse()?], None, net::Settings::default())?;
    println!("listening on {}", server.addresses()[0]);
    server.run(|_| Protocol::new(Arena, http::Settings::default(), Arc::default()))?;
    Ok(())
}
