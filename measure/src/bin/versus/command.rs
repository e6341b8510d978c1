//! How each server is started: its command line, and its configuration where it needs one.

use std::fs;
use std::process::Command;

use corekv::net::Address;

use crate::running::Start;
use crate::server::Program;

/// Longest value that nginx takes from its configuration, in bytes; longer ones come from a file.
const NGINX_TEXT_BYTES_MAX: usize = 2 << 10;

/// The command that starts a program which listens at the address.
pub(crate) fn command(
    program: &Program,
    start: &Start<'_>,
    address: &Address,
) -> std::io::Result<Command> {
    let cores = start.cores.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let listen = match address {
        Address::Tcp(address) => address.to_string(),
        Address::Unix(path) => format!("unix:{}", path.display()),
    };
    let mut command;
    match program {
        Program::Floor => {
            command = Command::new(start.programs.join("floor"));
            command.args([&listen, &cores, &start.setup.value_bytes.to_string()]);
        }
        Program::Corekv(path, flags) => {
            command = Command::new(path);
            command.args(flags);
            command.args(["--listen", &listen, "--cores", &cores, "--memory", "1GiB"]);
        }
        Program::Reference => {
            command = Command::new(start.programs.join("reference"));
            command.args([&listen, &cores, &start.setup.value_bytes.to_string()]);
        }
        Program::Redis => command = redis(start, address),
        Program::Memcached => command = memcached(start, address),
        Program::Nginx => {
            let path = start.folder.join("nginx.conf");
            fs::write(&path, nginx(start, &listen)?)?;
            command = Command::new("nginx");
            command.arg("-p").arg(start.folder).arg("-c").arg(path);
            command.args(["-e", "nginx-error.log"]);
        }
        Program::Haproxy => {
            let path = start.folder.join("haproxy.cfg");
            fs::write(&path, haproxy(start, address)?)?;
            command = Command::new("haproxy");
            command.arg("-f").arg(path);
        }
        Program::Haterm => command = haterm(start, address),
    }
    // Debian has daemons where only root looks for them.
    command.env("PATH", path());
    Ok(command)
}

/// Where programs are looked for.
pub(crate) fn path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/sbin:/usr/local/sbin")
}

fn redis(start: &Start<'_>, address: &Address) -> Command {
    let mut command = Command::new("redis-server");
    command.args(["--save", "", "--appendonly", "no", "--daemonize", "no"]);
    command.args(["--io-threads", &start.cores.len().to_string(), "--dir"]).arg(start.folder);
    match address {
        Address::Tcp(address) => {
            command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string()])
        }
        Address::Unix(path) => command.args(["--port", "0", "--unixsocket"]).arg(path),
    };
    command
}

fn memcached(start: &Start<'_>, address: &Address) -> Command {
    let mut command = Command::new("memcached");
    command.args(["-t", &start.cores.len().to_string(), "-m", "1024", "-U", "0", "-u", "root"]);
    // As many requests of a connection in a row as a pipeline has.
    command.args(["-R", "64"]);
    match address {
        Address::Tcp(address) => {
            command.args(["-l", "127.0.0.1", "-p", &address.port().to_string()])
        }
        Address::Unix(path) => command.arg("-s").arg(path),
    };
    command
}

fn haterm(start: &Start<'_>, address: &Address) -> Command {
    let mut command = Command::new("haterm");
    command.args(["-G", &format!("nbthread {}", start.cores.len())]);
    match address {
        Address::Tcp(address) => command.args(["-L", &address.to_string()]),
        // It wants an address in any case.
        Address::Unix(path) => {
            command.args(["-L", "127.0.0.1:0", "-F"]).arg(format!("bind unix@{}", path.display()))
        }
    };
    command
}

/// nginx answers every GET with the same value.
fn nginx(start: &Start<'_>, listen: &str) -> std::io::Result<String> {
    let bytes = start.setup.value_bytes;
    let answer = if bytes <= NGINX_TEXT_BYTES_MAX {
        format!("return 200 \"{}\";", "v".repeat(bytes))
    } else {
        fs::write(start.folder.join("value"), vec![b'v'; bytes])?;
        format!(
            "root {}; open_file_cache max=10; sendfile on; tcp_nopush on; try_files /value =404;",
            start.folder.display()
        )
    };
    let workers = start.cores.len();
    Ok(format!(
        "daemon off;
worker_processes {workers};
user root;
pid nginx.pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    default_type text/plain;
    server {{
        listen {listen};
        location / {{
            if ($request_method = POST) {{ return 204; }}
            {answer}
        }}
    }}
}}
"
    ))
}

/// HAProxy answers every GET with the same value, which it holds in memory.
fn haproxy(start: &Start<'_>, address: &Address) -> std::io::Result<String> {
    let bind = match address {
        Address::Tcp(address) => address.to_string(),
        Address::Unix(path) => format!("unix@{}", path.display()),
    };
    let bytes = start.setup.value_bytes;
    let value = start.folder.join("haproxy-value");
    fs::write(&value, vec![b'v'; bytes])?;
    let (threads, value, buffer) = (start.cores.len(), value.display(), (2 * bytes).max(16 << 10));
    Ok(format!(
        "global
    nbthread {threads}
    tune.bufsize {buffer}
defaults
    mode http
    timeout client 1h
    timeout http-keep-alive 1h
    timeout http-request 1h
frontend measured
    bind {bind}
    http-request wait-for-body time 10s if METH_POST
    http-request return status 204 if METH_POST
    http-request return status 200 content-type text/plain file {value}
"
    ))
}
