"""Python's http.client against the server at the address given; exits non-zero on a difference."""

import http.client
import sys

host, port = sys.argv[1].rsplit(":", 1)


def call(method, target, body=None, headers=None, chunked=False):
    connection.request(method, target, body, headers or {}, encode_chunked=chunked)
    response = connection.getresponse()
    return response.status, response.read(), response


def expect(actual, wanted, what):
    if actual != wanted:
        sys.exit(f"{what}: {actual!r:.200}, not {wanted!r:.200}")


connection = http.client.HTTPConnection(host, int(port), timeout=30)
connection.connect()
socket = connection.sock

expect(call("GET", "/k")[:2], (404, b""), "a miss")
expect(call("PUT", "/k", b"one")[:2], (201, b""), "a new key")
expect(call("POST", "/k", "second")[:2], (204, b""), "a known key")
expect(call("GET", "/k")[:2], (200, b"second"), "a hit")
status, body, response = call("HEAD", "/k")
expect((status, body, response.getheader("Content-Length")), (200, b"", "6"), "HEAD")
expect(call("PUT", "/empty", b"")[:2], (201, b""), "an empty value")
expect(call("GET", "/empty")[:2], (200, b""), "an empty value back")

large = bytes(range(256)) * (10 * 4096)
pieces = (large[at : at + 70_001] for at in range(0, len(large), 70_001))
# A body of unknown length: http.client sends it chunked.
expect(call("PUT", "/chunked", pieces, chunked=True)[:2], (201, b""), "a chunked upload")
expect(call("GET", "/chunked")[:2], (200, large), "the chunked upload back")
expect(call("PUT", "/large", large)[:2], (201, b""), "a large upload")
expect(call("GET", "/large")[:2], (200, large), "the large upload back")

for n in range(500):
    value = str(n).encode()
    expect(call("PUT", f"/n{n % 7}", value)[0], 201 if n < 7 else 204, f"write {n}")
    expect(call("GET", f"/n{n % 7}")[:2], (200, value), f"read {n}")
for n in range(100):
    # Many errors in between must not end the connection either.
    expect(call("BREW", "/k", b"tea")[0], 501, "an unknown method")
    expect(call("PATCH", "/k", b"x")[0], 405, "a known one")
expect(call("DELETE", "/k")[:2], (204, b""), "DELETE")
expect(call("DELETE", "/k")[:2], (404, b""), "DELETE again")

# http.client opens a new connection without a word when the old one was closed.
expect(connection.sock is socket, True, "one connection for all")
status, _, response = call("GET", "/k", headers={"Connection": "close"})
expect((status, response.getheader("Connection")), (404, "close"), "the last request")
expect(connection.sock, None, "closed on request")
print("all answers were right")
