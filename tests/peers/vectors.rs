//! Request smuggling: messages that two parsers may end at different places, each with a second
//! request inside that stores a key if any of them takes it for one.

/// What a proxy may make of the second request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inside {
    /// By every reading that RFC 9112 allows it is part of the first request, or nothing at all.
    Hidden,
    /// A proxy may read the bytes before it as a complete request; then the second one is the
    /// client's own next request, and the proxy must know that it forwards it.
    MayFollow,
}

/// One message.
#[derive(Debug, Clone)]
pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) inside: Inside,
    pub(crate) bytes: Vec<u8>,
    /// Bytes that go first, the others after an answer, or when none has come for a while.
    pub(crate) first: usize,
}

impl Vector {
    /// Most responses that any reading owes the client: the first request's, and where the second
    /// may follow its own and one to what is left over.
    pub(crate) fn owed_max(&self) -> usize {
        match self.inside {
            Inside::Hidden => 1,
            Inside::MayFollow => 3,
        }
    }
}

/// Spellings of `Transfer-Encoding: chunked` that parsers disagree about, without the last CRLF.
const CODINGS: &[(&str, &str)] = &[
    ("plain", "Transfer-Encoding: chunked"),
    ("upper case", "TRANSFER-ENCODING: CHUNKED"),
    ("space before colon", "Transfer-Encoding : chunked"),
    ("tab before colon", "Transfer-Encoding\t: chunked"),
    ("no space", "Transfer-Encoding:chunked"),
    ("tab", "Transfer-Encoding:\tchunked"),
    ("vertical tab", "Transfer-Encoding:\x0bchunked"),
    ("form feed", "Transfer-Encoding: chunked\x0c"),
    ("NUL", "Transfer-Encoding: chunked\0"),
    ("NUL in name", "Transfer-Encoding\0: chunked"),
    ("x before", "Transfer-Encoding: xchunked"),
    ("quoted", "Transfer-Encoding: \"chunked\""),
    ("parameter", "Transfer-Encoding: chunked;q=1"),
    ("comma", "Transfer-Encoding: chunked,"),
    ("comma before", "Transfer-Encoding: ,chunked"),
    ("identity after", "Transfer-Encoding: chunked, identity"),
    ("identity before", "Transfer-Encoding: identity, chunked"),
    ("identity", "Transfer-Encoding: identity"),
    ("gzip before", "Transfer-Encoding: gzip, chunked"),
    ("twice in a list", "Transfer-Encoding: chunked, chunked"),
    ("twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
    ("then another", "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow"),
    ("after another", "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked"),
    ("then empty", "Transfer-Encoding: chunked\r\nTransfer-Encoding:"),
    ("obs-fold", "Transfer-Encoding:\r\n chunked"),
    ("obs-fold before colon", "Transfer-Encoding\r\n : chunked"),
    ("folded into another field", "X: y\r\n Transfer-Encoding: chunked"),
    ("after a bare LF", "X: y\nTransfer-Encoding: chunked"),
    ("after a bare CR", "X: y\rTransfer-Encoding: chunked"),
    ("after CR CR LF", "X: y\r\r\nTransfer-Encoding: chunked"),
    ("space first", " Transfer-Encoding: chunked"),
    ("underscore", "Transfer_Encoding: chunked"),
    ("space in name", "Transfer Encoding: chunked"),
    ("high byte", "Transfer-Encoding: \u{e9}chunked"),
    ("listed in Connection", "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked"),
];

/// Every message, each with `target` as the second request's.
pub(crate) fn all(target: impl Fn(usize) -> String) -> Vec<(Vector, String)> {
    let mut list = List { vectors: Vec::new(), target: Box::new(target) };
    lengths(&mut list);
    parts(&mut list);
    codings(&mut list);
    chunks(&mut list);
    heads(&mut list);
    list.vectors
}

struct List<'a> {
    vectors: Vec<(Vector, String)>,
    target: Box<dyn Fn(usize) -> String + 'a>,
}

impl List<'_> {
    /// Adds a message that `build` makes around the second request.
    fn add(&mut self, name: &str, inside: Inside, build: impl FnOnce(&str) -> String) {
        let target = (self.target)(self.vectors.len());
        let second =
            format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nPOISON");
        let bytes = build(&second).into_bytes();
        let first = bytes.len();
        self.vectors.push((Vector { name: name.to_owned(), inside, bytes, first }, target));
    }
}

/// A body that is announced with Expect, and of which less than half comes with the head. Apache
/// Traffic Server 9.2 sends that part twice if it is told to continue, so that the end of the body,
/// where the second request is, is left over.
fn parts(list: &mut List<'_>) {
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "PROPFIND", "PATCH", "PUT", "POST"] {
        for filler in [1, 100, 200] {
            let name = format!("a part of a body, with Expect, by {method}, {filler} bytes more");
            // Nothing is stored there, so that the answer to HEAD announces no body: who counts
            // responses does not know the methods.
            let path = if method == "HEAD" { "absent" } else { "front" };
            let mut part = 0;
            list.add(&name, Inside::Hidden, |second| {
                part = second.len();
                let body = format!("{}{second}", "x".repeat(part + filler));
                format!(
                    "{method} /{path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
                     Content-Length: {}\r\n\r\n{body}",
                    body.len()
                )
            });
            let (vector, _) = list.vectors.last_mut().expect("it was added");
            vector.first = vector.bytes.len() - part - filler;
        }
    }
}

fn lengths(list: &mut List<'_>) {
    use Inside::{Hidden, MayFollow};
    for method in ["POST", "PUT", "GET", "DELETE", "OPTIONS", "PROPFIND", "PATCH", "FROB"] {
        list.add(&format!("CL.0 by {method}"), Hidden, |second| {
            let len = second.len();
            format!("{method} /front HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n{second}")
        });
    }
    list.add("CL.0 with Expect", Hidden, |second| {
        let len = second.len();
        format!(
            "POST /front HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
             Content-Length: {len}\r\n\r\n{second}"
        )
    });
    list.add("CL.0 with an unknown Expect", Hidden, |second| {
        let len = second.len();
        format!(
            "POST /front HTTP/1.1\r\nHost: a\r\nExpect: cow\r\n\
             Content-Length: {len}\r\n\r\n{second}"
        )
    });
    list.add("CL.0 with Content-Length in Connection", Hidden, |second| {
        let len = second.len();
        format!(
            "POST /front HTTP/1.1\r\nHost: a\r\nConnection: Content-Length\r\n\
             Content-Length: {len}\r\n\r\n{second}"
        )
    });
    list.add("CL.0 with Upgrade", Hidden, |second| {
        let len = second.len();
        format!(
            "POST /front HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n\
             Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\
             Content-Length: {len}\r\n\r\n{second}"
        )
    });
    for (name, lines) in [
        ("CL 0 then CL", "Content-Length: 0\r\nContent-Length: LEN"),
        ("CL then CL 0", "Content-Length: LEN\r\nContent-Length: 0"),
        ("CL list", "Content-Length: 0, LEN"),
        ("CL list of equals", "Content-Length: LEN, LEN"),
        ("CL with plus", "Content-Length: +LEN"),
        ("CL with minus", "Content-Length: -LEN"),
        ("CL in hex", "Content-Length: 0xLEN"),
        ("CL with a space within", "Content-Length: 0 LEN"),
        ("CL with a NUL", "Content-Length: LEN\0"),
        ("CL with a vertical tab", "Content-Length: \x0bLEN"),
        ("CL with a space before the colon", "Content-Length : LEN"),
        ("CL with an underscore", "Content_Length: LEN"),
        ("CL folded", "Content-Length:\r\n LEN"),
        ("CL after a bare LF", "X: y\nContent-Length: LEN"),
        ("CL after a bare CR", "X: y\rContent-Length: LEN"),
        ("CL empty", "Content-Length: "),
        ("CL with a fraction", "Content-Length: LEN.0"),
    ] {
        list.add(name, MayFollow, |second| {
            let lines = lines.replace("LEN", &second.len().to_string());
            format!("POST /front HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n{second}")
        });
    }
    // 2^64 wraps to 0. HAProxy 2.6 reads it so and forwards it as it is: only because the server
    // refuses it do the two stay in step.
    list.add("CL of 2^64", MayFollow, |second| {
        format!(
            "POST /front HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n{second}"
        )
    });
    list.add("CL with zeros before", Hidden, |second| {
        let len = second.len();
        format!(
            "POST /front HTTP/1.1\r\nHost: a\r\nContent-Length: 00000000000000000000000{len}\r\n\
             \r\n{second}"
        )
    });
}

fn codings(list: &mut List<'_>) {
    use Inside::{Hidden, MayFollow};
    for (name, coding) in CODINGS {
        list.add(&format!("CL.TE, {name}"), MayFollow, |second| {
            let body = format!("0\r\n\r\n{second}");
            let len = body.len();
            format!(
                "POST /front HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n{coding}\r\n\r\n{body}"
            )
        });
        list.add(&format!("TE.CL, {name}"), MayFollow, |second| {
            let size = format!("{:x}\r\n", second.len());
            let len = size.len();
            format!(
                "POST /front HTTP/1.1\r\nHost: a\r\n{coding}\r\nContent-Length: {len}\r\n\r\n\
                 {size}{second}\r\n0\r\n\r\n"
            )
        });
        list.add(&format!("TE.0, {name}"), MayFollow, |second| {
            format!("POST /front HTTP/1.1\r\nHost: a\r\n{coding}\r\n\r\n0\r\n\r\n{second}")
        });
    }
    list.add("TE.0 by GET", Hidden, |second| {
        let len = second.len();
        format!(
            "GET /front HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
             {len:x}\r\n{second}\r\n0\r\n\r\n"
        )
    });
    list.add("TE of HTTP/1.0", MayFollow, |second| {
        format!(
            "POST /front HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\
             Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{second}"
        )
    });
    list.add("TE and CL of HTTP/1.0", MayFollow, |second| {
        let len = 5 + second.len();
        format!(
            "POST /front HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\
             Content-Length: {len}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{second}"
        )
    });
}

fn chunks(list: &mut List<'_>) {
    use Inside::{Hidden, MayFollow};
    // In each the second request lies where a parser that takes the trick ends the body.
    for (name, inside, body) in [
        ("size with 0x", Hidden, "0x5\r\nhello\r\n0\r\n\r\nSECOND"),
        ("size with plus", Hidden, "+5\r\nhello\r\n0\r\n\r\nSECOND"),
        ("size with minus", Hidden, "-1\r\nSECOND"),
        ("size of 2^64", Hidden, "10000000000000000\r\n\r\nSECOND"),
        ("size of 2^32", Hidden, "100000000\r\n\r\nSECOND"),
        ("size with an underscore", Hidden, "0_5\r\nhello\r\n0\r\n\r\nSECOND"),
        ("size empty", Hidden, "\r\nSECOND"),
        ("size with spaces", MayFollow, "5  \r\nhello\r\n0\r\n\r\nSECOND"),
        ("size after a space", MayFollow, " 5\r\nhello\r\n0\r\n\r\nSECOND"),
        ("bare LF after size", MayFollow, "5\nhello\r\n0\r\n\r\nSECOND"),
        ("bare CR after size", Hidden, "5\rhello\r\n0\r\n\r\nSECOND"),
        ("bare LF after data", MayFollow, "5\r\nhello\n0\r\n\r\nSECOND"),
        ("no CRLF after data", Hidden, "5\r\nhello0\r\n\r\nSECOND"),
        ("two bytes for CRLF", Hidden, "5\r\nhelloXX0\r\n\r\nSECOND"),
        ("last chunk of zeros", MayFollow, "000\r\n\r\nSECOND"),
        ("extension", MayFollow, "0;a=b\r\n\r\nSECOND"),
        ("quoted CRLF in extension", MayFollow, "5;a=\"\r\nhello\"\r\n0\r\n\r\nSECOND"),
        ("bare LF in extension", MayFollow, "2;\nxx\r\n45\r\n0\r\n\r\nSECOND"),
        ("bare CR in extension", MayFollow, "2;\rxx\r\nhe\r\n0\r\n\r\nSECOND"),
        ("NUL in extension", MayFollow, "0;\0\r\n\r\nSECOND"),
        ("trailer", MayFollow, "0\r\nX: y\r\n\r\nSECOND"),
        ("length in trailer", MayFollow, "0\r\nContent-Length: 500\r\n\r\nSECOND"),
        ("coding in trailer", MayFollow, "0\r\nTransfer-Encoding: chunked\r\n\r\nSECOND"),
        ("bare LF in trailer", MayFollow, "0\r\nX: y\n\r\nSECOND"),
        ("bare LFs end the trailer", MayFollow, "0\r\nX: y\n\nSECOND"),
        ("bare LF ends the body", MayFollow, "0\n\nSECOND"),
        ("broken trailer", MayFollow, "0\r\nX y\r\n\r\nSECOND"),
        ("trailer is the second request", Hidden, "0\r\nSECOND"),
    ] {
        list.add(&format!("chunks: {name}"), inside, |second| {
            let body = body.replace("SECOND", second);
            format!("POST /front HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
        });
    }
}

fn heads(list: &mut List<'_>) {
    use Inside::{Hidden, MayFollow};
    let lone = |second: &str, end: &str| second.replace("\r\n", end);
    list.add("second request after bare LFs", MayFollow, |second| {
        format!("GET /front HTTP/1.1\r\nHost: a\r\nX: y\n\n{second}")
    });
    list.add("second request after bare CRs", Hidden, |second| {
        format!("GET /front HTTP/1.1\r\nHost: a\r\nX: y\r\r{}\r\n\r\n", lone(second, "\r"))
    });
    list.add("second request in a value, by bare CR", Hidden, |second| {
        format!("GET /front HTTP/1.1\r\nHost: a\r\nX: y\r{}\r\n\r\n", lone(second, "\r"))
    });
    list.add("second request in a value, by NUL", Hidden, |second| {
        format!("GET /front HTTP/1.1\r\nHost: a\r\nX: y\0{}\r\n\r\n", lone(second, "\0"))
    });
    list.add("second request folded into a value", Hidden, |second| {
        format!("GET /front HTTP/1.1\r\nHost: a\r\nX: y\r\n {}\r\n\r\n", lone(second, "\r\n "))
    });
    list.add("second request encoded in the target", Hidden, |second| {
        let line = second.replace("\r\n", "%0d%0a").replace(' ', "%20");
        format!(
            "GET /front%20HTTP/1.1%0d%0aHost:%20a%0d%0a%0d%0a{line} HTTP/1.1\r\nHost: a\r\n\r\n"
        )
    });
    list.add("second request encoded in the query", Hidden, |second| {
        let line = second.replace("\r\n", "%0d%0a").replace(' ', "%20");
        format!("GET /front?%20HTTP/1.1%0d%0a%0d%0a{line} HTTP/1.1\r\nHost: a\r\n\r\n")
    });
    list.add("no blank line", Hidden, |second| {
        format!("GET /front HTTP/1.1\r\nHost: a\r\n{second}")
    });
    list.add("no version", MayFollow, |second| format!("GET /front\r\n{second}"));
    list.add("no version, blank line", MayFollow, |second| format!("GET /front\r\n\r\n{second}"));
    list.add("bare LF after the request line", MayFollow, |second| {
        format!("GET /front HTTP/1.1\nHost: a\r\n\r\n{second}")
    });
    for version in ["HTTP/1.2", "HTTP/2.0", "HTTP/1.01", "HTTP/11", "http/1.1"] {
        list.add(&format!("version {version}"), Hidden, |second| {
            let len = second.len();
            format!("POST /front {version}\r\nHost: a\r\nContent-Length: {len}\r\n\r\n{second}")
        });
    }
    for (name, target, host) in [
        ("absolute form with another Host", "http://b/front", "Host: a\r\n"),
        ("absolute form without Host", "http://b/front", ""),
        ("absolute form with a user", "http://a@b/front", "Host: b\r\n"),
        ("two Hosts", "/front", "Host: a\r\nHost: b\r\n"),
        ("Host with a path", "/front", "Host: a/b\r\n"),
        ("Host with a space before the colon", "/front", "Host: a\r\nHost : b\r\n"),
        ("no Host", "/front", ""),
        ("space in target", "/front a", "Host: a\r\n"),
        ("tab in the request line", "/front\tHTTP/1.1", "Host: a\r\n"),
        ("fragment", "/front#a", "Host: a\r\n"),
    ] {
        list.add(name, Hidden, |second| {
            let len = second.len();
            format!("POST {target} HTTP/1.1\r\n{host}Content-Length: {len}\r\n\r\n{second}")
        });
    }
    list.add("CONNECT", MayFollow, |second| {
        format!("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n{second}")
    });
    list.add("Upgrade to a websocket", MayFollow, |second| {
        format!(
            "GET /front HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n{second}"
        )
    });
}
