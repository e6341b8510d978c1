//! Which header fields a response has, and that it has no others.

use std::time::{SystemTime, UNIX_EPOCH};

use testkit::{Server, is_imf_fixdate};

/// Seconds since 1970 of an IMF-fixdate, and whether its day of the week is right.
fn seconds(date: &str) -> (i64, bool) {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let number = |from: usize, to: usize| date[from..to].parse::<i64>().expect("digits");
    let month = MONTHS.find(&date[8..11]).expect("a month") as i64 / 3;
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut days = number(5, 7) - 1;
    for year in 1970..number(12, 16) {
        days += if is_leap(year) { 366 } else { 365 };
    }
    let lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    for past in 0..month {
        days += lengths[past as usize] + i64::from(past == 1 && is_leap(number(12, 16)));
    }
    let day = days * 86_400;
    let time = number(17, 19) * 3_600 + number(20, 22) * 60 + number(23, 25);
    (day + time, DAYS[days as usize % 7] == &date[..3])
}

#[test]
fn the_reader_of_dates_is_right() {
    assert_eq!(seconds("Thu, 01 Jan 1970 00:00:00 GMT"), (0, true));
    assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), (784_111_777, true));
    assert_eq!(seconds("Tue, 29 Feb 2000 12:00:00 GMT"), (951_825_600, true));
    assert!(!seconds("Mon, 06 Nov 1994 08:49:37 GMT").1);
}

#[test]
fn every_response_has_the_date() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.put("/k", "v");
    for request in [
        "GET /k HTTP/1.1\r\nHost: t\r\n\r\n",
        "GET /absent HTTP/1.1\r\nHost: t\r\n\r\n",
        "GET /size HTTP/1.1\r\nHost: t\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: t\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n",
        "PUT /k HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\nv",
        "DELETE /k HTTP/1.1\r\nHost: t\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: t\r\n\r\n",
        "PATCH /k HTTP/1.1\r\nHost: t\r\n\r\n",
        "FROB /k HTTP/1.1\r\nHost: t\r\n\r\n",
        "PUT /size HTTP/1.1\r\nHost: t\r\n\r\n",
        "GET /%zz HTTP/1.1\r\nHost: t\r\n\r\n",
        "GET /k HTTP/1.1\r\n\r\n",
    ] {
        let response = client.exchange(request);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let date = response.field("Date").unwrap_or_else(|| panic!("no Date after {request:?}"));
        assert!(is_imf_fixdate(date), "{date}");
        let (sent, day_is_right) = seconds(date);
        assert!(day_is_right, "{date}");
        // Two seconds for a clock that is read once per turn of a loop and a slow test machine.
        assert!((sent - now as i64).abs() <= 2, "{date} is not now");
    }
}

#[test]
fn the_date_moves_on() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let first = seconds(client.get("/k").field("Date").expect("a date")).0;
    testkit::eventually("a later date", || {
        seconds(client.get("/k").field("Date").expect("a date")).0 >= first + 2
    });
}

#[test]
fn without_dates_only_the_length_is_left() {
    let server = Server::start(&["--no-date"]);
    let mut client = server.connect();
    assert_eq!(client.get("/k").text(), "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.put("/k", "v1").text(), "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.put("/k", "v1").text(), "HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(client.get("/k").text(), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nv1");
    for request in [
        "GET /size HTTP/1.1\r\nHost: t\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: t\r\n\r\n",
        "PATCH /k HTTP/1.1\r\nHost: t\r\n\r\n",
        "GET /k HTTP/1.1\r\nHost: t\r\nHost: t\r\n\r\n",
    ] {
        let response = client.exchange(request);
        assert_eq!(response.field("Date"), None, "{request:?}");
    }
    client.assert_closed();
}

#[test]
fn errors_say_what_was_wrong() {
    let server = Server::start(&[]);
    let cases: [(&str, u16, &[&str]); 8] = [
        ("GET /k HTTP/1.1\r\n\r\n", 400, &["host"]),
        (
            "GET /k HTTP/1.1\r\nHost: t\r\nX : y\r\n\r\n",
            400,
            &["field", "header", "colon", "space"],
        ),
        ("PUT /k HTTP/1.1\r\nHost: t\r\nContent-Length: x\r\n\r\n", 400, &["content-length"]),
        (
            "PUT /k HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
            &["transfer-encoding"],
        ),
        ("PUT /k HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n", 400, &["chunk"]),
        (
            "PUT /k HTTP/1.1\r\nHost: t\r\nContent-Length: 999999999\r\n\r\n",
            413,
            &["value-bytes-max"],
        ),
        ("GET /k HTTP/3.0\r\nHost: t\r\n\r\n", 505, &["version", "http/1.1"]),
        (
            "PUT /k HTTP/1.1\r\nHost: t\r\nExpect: x\r\nContent-Length: 1\r\n\r\n",
            417,
            &["100-continue", "expect"],
        ),
    ];
    for (request, status, words) in cases {
        let mut client = server.connect();
        let error = client.exchange(request);
        error.assert_closing_error(status);
        let line = error.line().to_lowercase();
        assert!(words.iter().any(|w| line.contains(w)), "{request:?} got only {line:?}");
        client.assert_closed();
    }
}
