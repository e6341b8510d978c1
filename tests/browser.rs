//! A real browser and a page of another site: what such a page can't do to the server, and that
//! what the server itself shows is still shown. A test whose browser isn't installed says so and
//! passes; `.ci/install` installs it. The rules without a browser are in `tests/contract/origins.rs`.

mod peers;

use peers::browser::{Browser, document};
use peers::site::Site;
use testkit::{Client, Server};

/// Where the other site is: another port of this machine, which for browsers is the same site, and
/// a name of its own.
const PLACES: [&str; 2] = ["127.0.0.1", "attacker.example"];

/// Holds `good` at `/victim` and what a page must not get to know at `/secret`.
fn server() -> (Server, Client) {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.put("/victim", "good");
    client.put("/secret", "stolen = 'secret'");
    (server, client)
}

/// Opens the page at each place, and calls `check` with what it reported; `None` if no browser is
/// installed. In the page, `SERVER` stands for the server's host and port, and `PORT` for the port.
#[track_caller]
fn visit(server: &Server, page: &str, mut check: impl FnMut(&str)) -> Option<()> {
    let port = server.address().rsplit_once(':').expect("a port").1;
    let page = page.replace("SERVER", server.address()).replace("PORT", port);
    for place in PLACES {
        let site = Site::start(&page, server.address());
        let url = format!("http://{place}:{}/", site.port);
        let _browser = Browser::open(&url)?;
        check(&site.report());
    }
    Some(())
}

/// Checks that the values are as they were, and nothing came to them.
#[track_caller]
fn assert_untouched(client: &mut Client) {
    assert_eq!(client.get("/victim").line(), "good");
    assert_eq!(client.size(), 2);
}

/// Checks that the server has refused so many requests of a method: without requests that reach it
/// nothing would be shown. A browser may repeat one.
#[track_caller]
fn assert_refused(client: &mut Client, method: &str, requests: usize) {
    let name = format!("corekv_requests_total{{method=\"{method}\",status=\"4xx\"}} ");
    let metrics = client.get("/metrics").line();
    let count = metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse::<usize>().ok());
    assert!(count.is_some_and(|count| count >= requests), "{method}: {count:?} of {requests}");
}

#[test]
#[ignore = "takes half a minute in all, and Chromium; .ci/run runs it"]
fn a_page_of_another_origin_cannot_write() {
    let (server, mut client) = server();
    let page = "<script>
        onload = async () => {
            const post = {method: 'POST', mode: 'no-cors', body: 'bad'};
            for (const host of ['SERVER', '0.0.0.0:PORT', 'localhost:PORT']) {
                await fetch(`http://${host}/victim`, post).catch(() => 0);
                await fetch(`http://${host}/new`, post).catch(() => 0);
            }
            for (const method of ['PUT', 'DELETE'])
                await fetch('http://SERVER/victim', {method, body: 'bad'}).catch(() => 0);
            report('done');
        };
    </script>";
    let visited = visit(&server, page, |report| {
        assert_eq!(report, "done");
        assert_untouched(&mut client);
    });
    if visited.is_some() {
        assert_refused(&mut client, "POST", 6 * PLACES.len());
    }
}

#[test]
#[ignore = "takes half a minute in all, and Chromium; .ci/run runs it"]
fn a_form_on_a_page_of_another_origin_cannot_write() {
    let (server, mut client) = server();
    let page = "<iframe name=frame></iframe>
        <form method=post enctype=text/plain target=frame><input name=bad></form>
        <script>
        onload = async () => {
            for (const name of ['victim', 'new']) {
                document.forms[0].action = 'http://SERVER/' + name;
                document.forms[0].submit();
                // A form that came through and replaced a value would show nothing.
                await new Promise((done) => {
                    document.querySelector('iframe').onload = done;
                    setTimeout(done, 5000);
                });
            }
            report('done');
        };
    </script>";
    let visited = visit(&server, page, |report| {
        assert_eq!(report, "done");
        assert_untouched(&mut client);
    });
    if visited.is_some() {
        assert_refused(&mut client, "POST", 2 * PLACES.len());
    }
}

/// Everything that it does is done when its frame is loaded.
const STORED_PAGE: &str = "<!doctype html><p>stored</p><script>
    const call = (method, name, body) => {
        const request = new XMLHttpRequest();
        request.open(method, name, false);
        request.send(body);
        return request.responseText;
    };
    document.body.append(call('GET', '/secret'));
    call('PUT', '/new', 'bad');
    call('DELETE', '/victim');
</script>";

#[test]
#[ignore = "takes half a minute in all, and Chromium; .ci/run runs it"]
fn a_stored_page_in_a_frame_runs_no_script() {
    let (server, mut client) = server();
    client.put("/page", STORED_PAGE);
    client.call("DELETE", "/secret");
    let page = "<iframe src='http://SERVER/page'></iframe><script>
        onload = () => report('done');
    </script>";
    let visited = visit(&server, page, |report| {
        assert_eq!(report, "done");
        assert_untouched(&mut client);
    });
    if visited.is_some() {
        assert_refused(&mut client, "GET", PLACES.len());
    }
}

#[test]
#[ignore = "takes half a minute in all, and Chromium; .ci/run runs it"]
fn a_stored_page_that_is_opened_runs_no_script() {
    let (server, mut client) = server();
    client.call("DELETE", "/secret");
    client.put("/page", STORED_PAGE);
    let url = format!("http://{}/page", server.address());
    let Some(shown) = document(&url) else { return };
    assert!(shown.contains("stored"), "{shown}");
    assert_untouched(&mut client);
}

#[test]
#[ignore = "takes half a minute in all, and Chromium; .ci/run runs it"]
fn a_page_of_another_origin_cannot_run_a_value_as_script() {
    let (server, mut client) = server();
    // The last two lead to this machine, but browsers do not say there who asks.
    let page = "<script>
        onload = async () => {
            const hosts = ['SERVER', 'localhost:PORT', '0.0.0.0:PORT', '[::ffff:127.0.0.1]:PORT'];
            let came = [];
            for (const host of hosts) {
                window.stolen = undefined;
                const script = document.createElement('script');
                script.src = `http://${host}/secret`;
                const ended = new Promise((done) => script.onload = script.onerror = done);
                document.head.append(script);
                await ended;
                if (window.stolen) came.push(host);
            }
            report('from ' + came);
        };
    </script>";
    let visited = visit(&server, page, |report| assert_eq!(report, "from "));
    if visited.is_some() {
        assert_refused(&mut client, "GET", 4 * PLACES.len());
    }
}

#[test]
#[ignore = "takes half a minute in all, and Chromium; .ci/run runs it"]
fn a_page_whose_name_leads_to_the_server_gets_nothing() {
    let (server, mut client) = server();
    let page = "<script>
        onload = async () => {
            let said = [];
            for (const method of ['GET', 'PUT', 'POST', 'DELETE']) {
                const target = method == 'GET' ? '/secret' : '/victim';
                const body = method == 'GET' ? undefined : 'bad';
                const answer = await fetch(target, {method, body});
                said.push(answer.status + ' ' + await answer.text());
            }
            report(said.join(''));
        };
    </script>";
    let site = Site::start(page, server.address());
    let Some(_browser) = Browser::open(&format!("http://attacker.example:{}/", site.port)) else {
        return;
    };
    let report = site.report();
    assert_eq!(report.matches("421 ").count(), 4, "{report}");
    assert!(!report.contains("secret") && report.contains("--host"), "{report}");
    assert_untouched(&mut client);
}

#[test]
#[ignore = "takes half a minute in all, and Chromium; .ci/run runs it"]
fn the_servers_own_pages_and_the_values_are_shown() {
    let (server, _client) = server();
    for (host, name, text) in [
        ("127.0.0.1", "", "in-memory key-value cache"),
        ("127.0.0.1", "size", "2"),
        ("127.0.0.1", "metrics", "corekv_keys 2"),
        ("127.0.0.1", "healthz", "ok"),
        ("127.0.0.1", "victim", "good"),
        ("localhost", "victim", "good"),
    ] {
        let url = format!("http://{}/{name}", server.address().replace("127.0.0.1", host));
        let Some(shown) = document(&url) else { return };
        assert!(shown.contains(text), "{url}: {shown}");
    }
}

#[test]
#[ignore = "takes half a minute in all, and Chromium; .ci/run runs it"]
fn a_link_on_a_page_of_another_site_leads_to_a_value() {
    let (server, mut client) = server();
    let page = "<script>onload = () => location = 'http://SERVER/victim';</script>";
    let page = page.replace("SERVER", server.address());
    for (n, place) in PLACES.iter().enumerate() {
        let site = Site::start(&page, server.address());
        let Some(_browser) = Browser::open(&format!("http://{place}:{}/", site.port)) else {
            return;
        };
        testkit::eventually("the value is read", || {
            let metrics = client.get("/metrics").line();
            metrics.contains(&format!("corekv_hits_total {}\n", n + 1))
        });
    }
}

/// A picture of three by two pixels.
const PNG: &[u8] = b"\x89PNG\x0d\x0a\x1a\x0a\x00\x00\x00\x0dIHDR\x00\x00\x00\x03\x00\x00\x00\x02\x08\x02\x00\x00\x00\x12\x16\xf1M\
    \x00\x00\x00\x0eIDATx\x9cch\x80\x01\x068\x0b\x00Z\x14\x09\x01\xb2\x12=\x87\x00\x00\x00\x00IEND\xaeB`\x82";

#[test]
#[ignore = "takes half a minute in all, and Chromium; .ci/run runs it"]
fn values_are_shown_by_their_types() {
    let server = Server::start(&["--keep-fields", "content-type"]);
    let mut client = server.connect();
    for (name, kind, value, expected) in [
        ("text", "text/plain; charset=utf-8", "grüße <b>".as_bytes(), "grüße &lt;b&gt;</pre>"),
        ("json", "application/json", br#"{"a": [1, "<b>"]}"#, r#"{"a": [1, "&lt;b&gt;"]}"#),
        // The title has the size, if the picture could be read.
        ("image", "image/png", PNG, "(3×2)</title>"),
        // What it is said to be decides, and not what it looks like.
        ("looks", "text/plain", b"<h1>title</h1>", "&lt;h1&gt;title&lt;/h1&gt;"),
    ] {
        let type_field = format!("Content-Type: {kind}\r\n");
        client.put_with(&format!("/{name}"), &type_field, value);
        let url = format!("http://{}/{name}", server.address());
        let Some(shown) = document(&url) else { return };
        assert!(shown.contains(expected), "{name}: {shown}");
    }
}

#[test]
#[ignore = "takes half a minute in all, and Chromium; .ci/run runs it"]
fn documents_that_are_kept_with_their_types_run_no_script() {
    let server = Server::start(&["--keep-fields", "content-type"]);
    let mut client = server.connect();
    client.put("/victim", "good");
    let script = "document.documentElement.setAttribute('ran', 'yes');
        fetch('/victim', {method: 'PUT', body: 'bad'}); fetch('/new', {method: 'PUT', body: 'bad'});";
    let html = format!("<!doctype html><h1>title</h1><script>{script}</script>");
    let svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg'><text>title</text><script>{script}</script></svg>"
    );
    let xhtml = format!(
        "<html xmlns='http://www.w3.org/1999/xhtml'><body><h1>title</h1><script>{script}</script></body></html>"
    );
    for (n, (kind, value)) in [
        ("text/html", &html),
        ("image/svg+xml", &svg),
        ("application/xhtml+xml", &xhtml),
        ("text/xml", &xhtml),
    ]
    .into_iter()
    .enumerate()
    {
        let type_field = format!("Content-Type: {kind}\r\n");
        client.put_with("/document", &type_field, value);
        let Some(shown) = document(&format!("http://{}/document", server.address())) else {
            return;
        };
        // It is shown as what it is.
        assert!(shown.contains(">title<"), "{kind}: {shown}");
        assert!(!shown.contains("ran="), "{kind}: {shown}");
        assert_eq!(client.get("/victim").line(), "good", "{kind}");
        assert_eq!(client.size(), 2, "{kind} {n}");
    }
}
