//! Order within a pipeline. The long pipelines are in pipeline.rs.

use testkit::Server;

fn get(key: &str) -> String {
    format!("GET /{key} HTTP/1.1\r\nHost: t\r\n\r\n")
}

fn put(key: &str, value: &str) -> String {
    format!("PUT /{key} HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{value}", value.len())
}

#[test]
fn a_read_sees_every_earlier_write_of_its_pipeline() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let delete = "DELETE /k HTTP/1.1\r\nHost: t\r\n\r\n";
    let pipeline = [
        get("k"),
        put("k", "a"),
        get("k"),
        put("k", "bb"),
        get("k"),
        put("other", "x"),
        get("k"),
        delete.to_owned(),
        get("k"),
        put("k", "ccc"),
        get("k"),
        get("size"),
    ];
    client.send(pipeline.concat());
    let answers: Vec<_> = pipeline.iter().map(|_| client.response()).collect();
    let seen: Vec<_> = answers.iter().map(|a| (a.status, a.line())).collect();
    let expected = [
        (404, ""),
        (201, ""),
        (200, "a"),
        (204, ""),
        (200, "bb"),
        (201, ""),
        (200, "bb"),
        (204, ""),
        (404, ""),
        (201, ""),
        (200, "ccc"),
        (200, "2"),
    ]
    .map(|(status, line)| (status, line.to_owned()));
    assert_eq!(seen, expected);
}

#[test]
fn every_kind_of_answer_keeps_its_place() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let large = "L".repeat(300_000);
    client.put("/large", &large);
    for _ in 0..20 {
        client.send(
            [
                get("large"),
                "HEAD /large HTTP/1.1\r\nHost: t\r\n\r\n".to_owned(),
                get("healthz"),
                "PATCH /x HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc".to_owned(),
                get("%zz"),
                put("small", "s"),
                get("small"),
                "FROB /x HTTP/1.1\r\nHost: t\r\n\r\n".to_owned(),
                get("large"),
                "DELETE /small HTTP/1.1\r\nHost: t\r\n\r\n".to_owned(),
                get("metrics"),
                "OPTIONS * HTTP/1.1\r\nHost: t\r\n\r\n".to_owned(),
                get("large"),
            ]
            .concat(),
        );
        assert_eq!(client.response().body.len(), large.len());
        assert_eq!(client.response_to_head().field("Content-Length"), Some("300000"));
        assert_eq!(client.response().line(), "ok");
        assert_eq!(client.response().status, 405);
        assert_eq!(client.response().status, 400);
        assert_eq!(client.response().status, 201);
        assert_eq!(client.response().line(), "s");
        assert_eq!(client.response().status, 501);
        assert_eq!(client.response().body.len(), large.len());
        assert_eq!(client.response().status, 204);
        assert!(client.response().line().contains("corekv_"));
        assert_eq!(client.response().status, 204);
        assert_eq!(client.response().body.len(), large.len());
    }
}

#[test]
fn earlier_answers_come_before_the_error_that_ends_the_connection() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let large = "L".repeat(4_000_000);
    client.put("/large", &large);
    client.send(
        [get("large"), put("k", "v"), get("k"), "BROKEN\r\n\r\n".to_owned(), get("k")].concat(),
    );
    assert_eq!(client.response().body.len(), large.len());
    assert_eq!(client.response().status, 201);
    assert_eq!(client.response().line(), "v");
    client.response().assert_closing_error(400);
    client.assert_closed();
}
