//! The names that are not keys, and the address that takes them away from the data port.

use testkit::{Client, Server};

const ALLOW: &str = "Content-Type: text/plain\r\nAllow: GET, HEAD, OPTIONS\r\n";

#[test]
fn size_counts_live_keys() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    assert_eq!(client.get("/size").line(), "0");
    for n in 0..100_u64 {
        client.put(&format!("/k{n}"), "v");
        assert_eq!(client.size(), n + 1);
    }
    client.put("/k7", "again");
    assert_eq!(client.size(), 100);
    client.call("DELETE", "/k7");
    client.call("DELETE", "/k7");
    client.get("/absent");
    assert_eq!(client.size(), 99);
    let mut other = server.connect();
    assert_eq!(other.size(), 99);
}

#[test]
fn the_pages_have_their_content() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let health = client.get("/healthz");
    assert_eq!((health.status, health.line().as_str()), (200, "ok"));
    let size = client.get("/size");
    assert_eq!((size.status, size.line().as_str()), (200, "0"));
    let root = client.get("/");
    assert_eq!(root.status, 200);
    let text = String::from_utf8(root.body.clone()).expect("text");
    assert!(text.contains("corekv"), "{text}");
    assert!(text.contains(env!("CARGO_PKG_VERSION")), "{text}");
    for call in ["GET", "PUT", "DELETE", "/size", "/metrics", "/healthz"] {
        assert!(text.contains(call), "the page names {call}: {text}");
    }
    let metrics = client.get("/metrics");
    assert_eq!(metrics.status, 200);
    let kind = metrics.field("Content-Type").expect("a type");
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    for (name, page) in [("/", root), ("/size", size), ("/healthz", health)] {
        let kind = page.field("Content-Type").unwrap_or("text/plain");
        assert!(kind.starts_with("text/plain"), "{name}: {kind}");
        let head = client.call("HEAD", name);
        assert_eq!(head.status, 200);
        assert_eq!(head.field("Content-Length"), page.field("Content-Length"), "{name}");
    }
    assert_eq!(client.call("HEAD", "/metrics").status, 200);
}

#[test]
fn reserved_names_are_reserved_in_every_spelling() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for name in ["/size", "/%73ize", "/siz%65", "/size?x", "http://t/size", "/%73%69%7A%65"] {
        assert_eq!(client.get(name).line(), "0", "{name}");
    }
    for name in [
        "/size",
        "/%73ize",
        "/metrics",
        "/healthz",
        "/health%7a",
        "/",
        "/?x",
        "http://t/",
        "http://t/metrics",
    ] {
        for method in ["PUT", "POST", "DELETE"] {
            client.call(method, name).assert_error(405, ALLOW);
        }
        assert_eq!(
            client.call("OPTIONS", name).text(),
            "HTTP/1.1 204 No Content\r\nDate: -\r\nAllow: GET, HEAD, OPTIONS\r\n\r\n",
            "{name}"
        );
        client.put(name, "a body that is dropped").assert_error(405, ALLOW);
        // What sccache asks of the root before it writes.
        assert_eq!(
            client.call("PROPFIND", name).text(),
            "HTTP/1.1 404 Not Found\r\nDate: -\r\nContent-Length: 0\r\n\r\n"
        );
    }
    assert_eq!(client.size(), 0);
}

#[test]
fn names_that_only_look_reserved_are_keys() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let names =
        ["/Size", "/size/", "//size", "/size%20", "/metrics/x", "/HEALTHZ", "/siz", "/sizes"];
    for name in names {
        assert_eq!(client.get(name).status, 404, "{name}");
        assert_eq!(client.put(name, name).status, 201, "{name}");
        assert_eq!(client.get(name).line(), name);
    }
    assert_eq!(client.size(), names.len() as u64);
}

#[test]
fn an_admin_address_has_the_reserved_names_for_itself() {
    let server = Server::start(&["--admin", "127.0.0.1:0"]);
    let mut data = server.connect();
    let mut admin = Client::connect(server.admin.as_deref().expect("an admin address"));
    for name in ["/size", "/metrics", "/healthz", "/%73ize2"] {
        assert_eq!(data.get(name).status, 404, "{name} is an ordinary key");
        assert_eq!(data.put(name, "v").status, 201, "{name}");
        assert_eq!(data.get(name).line(), "v");
    }
    assert_eq!(data.get("/%73ize").line(), "v");
    for method in ["GET", "PUT", "DELETE"] {
        data.call(method, "/").assert_soft_error(400);
    }
    assert_eq!(
        data.call("OPTIONS", "/size").field("Allow"),
        Some("GET, HEAD, PUT, POST, DELETE, OPTIONS")
    );

    assert_eq!(admin.size(), 4);
    assert_eq!(admin.get("/healthz").line(), "ok");
    assert!(admin.get("/metrics").line().contains("corekv_keys"));
    assert_eq!(admin.get("/").status, 200);
    admin.get("/k1").assert_soft_error(404);
    admin.put("/size", "v").assert_error(405, ALLOW);
    assert_eq!(data.call("DELETE", "/size").status, 204);
    assert_eq!(admin.size(), 3);
}

#[test]
fn several_addresses_serve_the_same_keys() {
    let server = Server::start(&["--listen", "127.0.0.1:0", "--listen", "[::1]:0"]);
    assert_eq!(server.addresses.len(), 3, "{:?}", server.addresses);
    let mut clients: Vec<_> = server.addresses.iter().map(|a| Client::connect(a)).collect();
    for n in 0..clients.len() {
        let value = n.to_string();
        clients[n].put("/k", &value);
        for client in &mut clients {
            assert_eq!(client.get("/k").line(), value);
        }
    }
}
