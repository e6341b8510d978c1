//! nginx, HAProxy, Varnish and Apache Traffic Server, each in front of one server and reached
//! through sockets in a folder of their own, or one that it is handed over, so that no port has to
//! be guessed.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;

use rustix::io::{FdFlags, fcntl_setfd};
use socket2::SockAddr;
use tempfile::TempDir;

use super::tap::MARK;
use super::wire::Peer;
use super::{Daemon, command, find, folder};

/// A program, with the places where it listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `buffered` is nginx as it comes; `streaming` passes bodies on as they arrive and keeps
    /// fields with odd names.
    Nginx,
    /// `strict` is HAProxy as it comes; `lenient` accepts requests that it would refuse.
    Haproxy,
    /// `pass` forwards every request.
    Varnish,
    /// `map` forwards every request, on TCP: it can't listen on a path.
    TrafficServer,
    /// `front` is nginx that keeps what it may.
    NginxCache,
    /// `builtin` is Varnish by its own rules; `revalidating` keeps everything, and asks each time
    /// whether it has changed.
    VarnishCache,
}

/// A running proxy.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// Names and sockets of the places where it listens.
    pub(crate) fronts: Vec<(&'static str, SockAddr)>,
    // The process ends before its folder goes.
    daemon: Daemon,
    folder: TempDir,
}

impl Proxy {
    /// Starts the program in front of the server at `upstream`, a `host:port` or for nginx and
    /// HAProxy a `unix:` path; `None` if it isn't installed.
    #[track_caller]
    pub(crate) fn start(kind: Kind, upstream: &str) -> Option<Self> {
        let folder = folder();
        let at = folder.path().to_str().expect("text").to_owned();
        // Kept until the program has it.
        let mut listener = None;
        let (names, mut command): (&[&str], Command) = match kind {
            Kind::Nginx => {
                let program = find("nginx")?;
                let config = format!("{at}/nginx.conf");
                fs::write(&config, nginx(&at, upstream)).expect("the configuration");
                let mut command = command(program, folder.path());
                command.args(["-p", &at, "-e", "stderr", "-c", &config]);
                (&["buffered", "streaming"], command)
            }
            Kind::NginxCache => {
                let program = find("nginx")?;
                let config = format!("{at}/nginx.conf");
                fs::write(&config, nginx_cache(&at, upstream)).expect("the configuration");
                let mut command = command(program, folder.path());
                command.args(["-p", &at, "-e", "stderr", "-c", &config]);
                (&["front"], command)
            }
            Kind::Haproxy => {
                let program = find("haproxy")?;
                let config = format!("{at}/haproxy.cfg");
                fs::write(&config, haproxy(&at, upstream)).expect("the configuration");
                let mut command = command(program, folder.path());
                command.args(["-db", "-f", &config]);
                (&["strict", "lenient"], command)
            }
            Kind::Varnish => (&["pass"], varnish(folder.path(), &vcl(upstream), &["pass"])?),
            Kind::VarnishCache => {
                let names = &["builtin", "revalidating"];
                (names, varnish(folder.path(), &caching_vcl(upstream), names)?)
            }
            Kind::TrafficServer => {
                let program = find("traffic_server")?;
                let listener = listener.insert(inheritable_listener());
                traffic_server(folder.path(), listener, upstream);
                let mut command = command(program, folder.path());
                command.env("TS_RUNROOT", &at);
                (&["map"], command)
            }
        };
        let mut daemon = Daemon::start(&mut command, folder.path());
        let place = |name: &str| match &listener {
            Some(listener) => SockAddr::from(address(listener)),
            None => SockAddr::unix(folder.path().join(name)).expect("a short path"),
        };
        let fronts: Vec<_> = names.iter().map(|name| (*name, place(name))).collect();
        drop(listener);
        daemon.wait_until(|| {
            fronts.iter().all(|(_, place)| {
                Peer::try_connect(place).is_ok_and(|mut peer| {
                    peer.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
                    peer.next(false).is_some_and(|answer| answer.status == 200)
                })
            })
        });
        Some(Self { fronts, daemon, folder })
    }
}

fn nginx(at: &str, upstream: &str) -> String {
    // Within an upstream block nginx takes `unix:path` as it takes `host:port`.
    format!(
        "user root;
daemon off;
worker_processes 1;
pid {at}/nginx.pid;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {at}/body;
    proxy_temp_path {at}/proxy;
    fastcgi_temp_path {at}/fastcgi;
    uwsgi_temp_path {at}/uwsgi;
    scgi_temp_path {at}/scgi;
    client_max_body_size 64m;
    merge_slashes off;
    keepalive_requests 1000000;
    upstream corekv {{ server {upstream}; keepalive 8; }}
    proxy_http_version 1.1;
    proxy_set_header Connection \"\";
    proxy_set_header {};
    server {{
        listen unix:{at}/buffered;
        location / {{ proxy_pass http://corekv; }}
    }}
    server {{
        listen unix:{at}/streaming;
        ignore_invalid_headers off;
        underscores_in_headers on;
        location / {{
            proxy_request_buffering off;
            proxy_buffering off;
            proxy_pass http://corekv;
        }}
    }}
}}
",
        MARK.replace(':', "")
    )
}

fn nginx_cache(at: &str, upstream: &str) -> String {
    format!(
        "user root;
daemon off;
worker_processes 1;
pid {at}/nginx.pid;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {at}/body;
    proxy_temp_path {at}/proxy;
    fastcgi_temp_path {at}/fastcgi;
    uwsgi_temp_path {at}/uwsgi;
    scgi_temp_path {at}/scgi;
    proxy_cache_path {at}/cache keys_zone=values:1m;
    upstream corekv {{ server {upstream}; keepalive 8; }}
    proxy_http_version 1.1;
    proxy_set_header Connection \"\";
    server {{
        listen unix:{at}/front;
        location / {{
            proxy_cache values;
            proxy_cache_revalidate on;
            add_header X-Cache $upstream_cache_status;
            proxy_pass http://corekv;
        }}
    }}
}}
"
    )
}

/// Varnish that listens at each of the names.
fn varnish(folder: &Path, vcl: &str, names: &[&str]) -> Option<Command> {
    let program = find("varnishd")?;
    let at = folder.to_str().expect("text");
    let config = format!("{at}/default.vcl");
    fs::write(&config, vcl).expect("the configuration");
    let mut command = command(program, folder);
    // No management port, no shared secret, no change of user: a child of this test.
    command.args(["-F", "-j", "none", "-T", "none", "-n"]);
    command.args([&format!("{at}/work"), "-f", &config, "-s", "malloc,64m"]);
    for name in names {
        command.arg("-a").arg(format!("{name}={at}/{name}"));
    }
    command.args(["-p", "thread_pools=1", "-p", "vsl_space=4m"]);
    Some(command)
}

fn haproxy(at: &str, upstream: &str) -> String {
    let upstream = upstream.replace("unix:", "unix@");
    let mark = MARK.replace(':', "");
    format!(
        "global
    maxconn 256
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 20s
    timeout server 20s
    timeout http-request 10s
    http-reuse always
frontend strict
    bind unix@{at}/strict
    default_backend strict
frontend lenient
    bind unix@{at}/lenient
    option accept-invalid-http-request
    default_backend lenient
backend strict
    http-request set-header {mark}
    server corekv {upstream}
backend lenient
    http-request set-header {mark}
    server corekv {upstream}
"
    )
}

fn vcl(upstream: &str) -> String {
    let (host, port) = upstream.rsplit_once(':').expect("host:port");
    let (name, value) = MARK.split_once(": ").expect("a field");
    // Returning from each subroutine keeps Varnish's own rules out: no cache in between, and
    // bodies of GET go on to the server.
    format!(
        "vcl 4.1;
backend default {{ .host = \"{host}\"; .port = \"{port}\"; }}
sub vcl_recv {{ return (pass); }}
sub vcl_backend_fetch {{ set bereq.http.{name} = \"{value}\"; return (fetch); }}
sub vcl_backend_response {{ set beresp.uncacheable = true; return (deliver); }}
"
    )
}

/// Varnish's own rules apply where nothing else is said. The second place is what
/// `docs/http-api.md` recommends.
fn caching_vcl(upstream: &str) -> String {
    let (host, port) = upstream.rsplit_once(':').expect("host:port");
    format!(
        "vcl 4.1;
backend default {{ .host = \"{host}\"; .port = \"{port}\"; }}
sub vcl_recv {{
    if (local.socket == \"revalidating\") {{
        set req.http.X-Place = local.socket;
        if (req.method == \"GET\") {{ return (hash); }}
    }}
}}
sub vcl_hash {{ hash_data(req.http.X-Place); }}
sub vcl_backend_response {{
    if (bereq.http.X-Place) {{
        set beresp.ttl = 1ms * 0.001;
        set beresp.grace = 0s;
        set beresp.keep = 1h;
        return (deliver);
    }}
}}
"
    )
}

/// Without it only reading is allowed.
const IP_ALLOW: &str =
    "ip_allow: [{ apply: in, ip_addrs: 127.0.0.1, action: allow, methods: ALL }]\n";

/// A socket that the programs which are started from now on have, too.
fn inheritable_listener() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("O_NONBLOCK");
    fcntl_setfd(&listener, FdFlags::empty()).expect("FD_CLOEXEC can be cleared");
    listener
}

fn address(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().expect("an address")
}

/// Writes what Apache Traffic Server wants to find in its folder.
fn traffic_server(folder: &Path, listener: &TcpListener, upstream: &str) {
    let at = folder.to_str().expect("text");
    let (name, value) = MARK.split_once(": ").expect("a field");
    let mut layout = String::new();
    for (key, place) in [
        ("prefix", at),
        ("exec_prefix", at),
        ("bindir", "/usr/bin"),
        ("sbindir", "/usr/sbin"),
        ("libdir", "/usr/lib"),
        ("libexecdir", "/usr/lib/trafficserver/modules"),
        ("sysconfdir", at),
        ("datadir", at),
        ("includedir", at),
        ("localstatedir", at),
        ("runtimedir", at),
        ("logdir", at),
        ("mandir", at),
        ("infodir", at),
        ("cachedir", at),
    ] {
        layout.push_str(&format!("{key}: {place}\n"));
    }
    let (port, fd) = (address(listener).port(), listener.as_raw_fd());
    // `#-1` leaves the user as it is. Nothing is cached, and no field is made up.
    let records = format!(
        "CONFIG proxy.config.http.server_ports STRING {port}:fd={fd}
CONFIG proxy.config.admin.user_id STRING #-1
CONFIG proxy.config.exec_thread.autoconfig INT 0
CONFIG proxy.config.exec_thread.limit INT 1
CONFIG proxy.config.http.cache.http INT 0
CONFIG proxy.config.log.logging_enabled INT 0
CONFIG proxy.config.url_remap.pristine_host_hdr INT 1
CONFIG proxy.config.http.insert_request_via_str INT 0
"
    );
    let rules = format!("cond %{{SEND_REQUEST_HDR_HOOK}}\nset-header {name} \"{value}\"\n");
    for (file, text) in [
        ("runroot.yaml", layout),
        ("records.config", records),
        ("remap.config", format!("map / http://{upstream}/\n")),
        ("plugin.config", format!("header_rewrite.so {at}/mark.config\n")),
        ("mark.config", rules),
        ("ip_allow.yaml", IP_ALLOW.to_owned()),
        ("storage.config", String::new()),
    ] {
        fs::write(folder.join(file), text).expect("the configuration");
    }
}
