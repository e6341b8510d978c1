//! Real programs against the real server: build caches, HTTP libraries and load generators that
//! were not written here. A test whose program isn't installed says so and passes; `.ci/install`
//! installs all of them. `tests/curl.rs` has the rest of curl.

mod peers;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use peers::{Daemon, both, command, find, find_package, folder, output_of, script, stdout_of};
use testkit::{Client, Numbers, Server};

/// A server that wants a token, and the folder of its token file: `secret` may do all, `viewer`
/// may read.
fn guarded_server() -> (Server, tempfile::TempDir) {
    let folder = folder();
    let file = folder.path().join("tokens");
    fs::write(&file, "secret\nviewer read-only\n").expect("the token file");
    (Server::start(&["--auth-file", file.to_str().expect("text")]), folder)
}

/// The number that stands after `name` on a line of its own.
fn number(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let line = line.unwrap_or_else(|| panic!("no {name:?} in {text}"));
    line.trim().parse().unwrap_or_else(|_| panic!("{name:?} is {line:?}"))
}

mod curl {
    use super::*;

    fn curl(home: &Path) -> Option<Command> {
        let mut command = command(find("curl")?, home);
        command.args(["-q", "-sS", "--max-time", "30", "--path-as-is", "--globoff"]);
        Some(command)
    }

    #[test]
    fn keys_are_taken_as_they_are() {
        let home = folder();
        let server = Server::start(&[]);
        let targets = [
            "/../up",
            "/./here",
            "/a/../b",
            "/a//b",
            "//a",
            "/%00",
            "/%ff%fe",
            "/%20space",
            "/100%25",
            "/[a]{b}|c^d`e",
            "/~!$&'()*+,;=:@",
            "/a%2Fb",
            "/a%0d%0aX-Injected:%20y",
            "/size/",
            "/k\u{65e5}",
        ];
        for (n, target) in targets.iter().enumerate() {
            let url = format!("http://{}{target}", server.address());
            let Some(mut put) = curl(home.path()) else { return };
            put.args(["-w", "%{http_code}", "-o", "/dev/null", "-X", "PUT", "-d", target, &url]);
            assert_eq!(stdout_of(&mut put), "201", "{target}");
            let mut get = curl(home.path()).expect("found before");
            get.args(["-w", " %{http_code}", &url]);
            assert_eq!(stdout_of(&mut get), format!("{target} 200"));
            assert_eq!(server.connect().size(), n as u64 + 1, "{target} is another's key");
        }
        // Other spellings of the same keys.
        for (target, value) in [
            ("/a/b", "/a%2Fb"),
            ("/%61//%62", "/a//b"),
            ("/%2Fa?q", "//a"),
            ("/k%E6%97%A5", "/k\u{65e5}"),
        ] {
            let mut get = curl(home.path()).expect("found before");
            get.arg(format!("http://{}{target}", server.address()));
            assert_eq!(stdout_of(&mut get), value, "{target}");
        }
    }

    #[test]
    fn tokens_as_bearer_and_as_password() {
        let home = folder();
        let (server, _tokens) = guarded_server();
        let url = format!("http://{}/k", server.address());
        let cases: &[(&[&str], &str)] = &[
            (&["-d", "v"], "401"),
            (&["-d", "v", "-u", "any:wrong"], "401"),
            (&["-d", "v", "-u", "any:secret"], "201"),
            (&["-d", "v", "-H", "Authorization: Bearer secret"], "204"),
            (&["-d", "v", "-u", "any:viewer"], "403"),
            (&["-u", "any:viewer"], "200"),
            (&["-H", "Authorization: Bearer viewer"], "200"),
            // curl first asks without, and takes Basic from what the 401 offers.
            (&["--anyauth", "-u", "any:secret", "-X", "DELETE"], "204"),
        ];
        for (arguments, status) in cases {
            let Some(mut curl) = curl(home.path()) else { return };
            curl.args(["-o", "/dev/null", "-w", "%{http_code}"]).args(*arguments).arg(&url);
            assert_eq!(stdout_of(&mut curl), *status, "{arguments:?}");
        }
    }
}

mod ccache {
    use super::*;

    /// One compilation with an empty local cache; gives ccache's own counts of it.
    fn compile(folder: &Path, storage: &str) -> Option<String> {
        let (program, _) = (find("ccache")?, find("gcc")?);
        let local = folder.join("local");
        let _ = fs::remove_dir_all(&local);
        let ccache = || {
            let mut ccache = command(&program, folder);
            ccache.current_dir(folder).env("CCACHE_DIR", &local);
            ccache.env("CCACHE_REMOTE_STORAGE", storage);
            ccache
        };
        fs::write(folder.join("source.c"), "int answer(void) { return 42; }\n").expect("a source");
        stdout_of(ccache().args(["gcc", "-c", "source.c", "-o", "source.o"]));
        assert!(fs::metadata(folder.join("source.o")).is_ok_and(|object| object.len() > 0));
        let counts = stdout_of(ccache().arg("--print-stats"));
        for trouble in ["remote_storage_error", "remote_storage_timeout"] {
            assert_eq!(number(&counts, trouble), 0, "{storage}: {counts}");
        }
        Some(counts)
    }

    /// A cold compilation stores, the next one with an empty local cache finds it.
    fn stores_and_finds(server: &Server, storage: &str) {
        let folder = folder();
        let storage = storage.replace("HOST", server.address());
        let Some(counts) = compile(folder.path(), &storage) else { return };
        assert_eq!(number(&counts, "remote_storage_miss"), 1, "{storage}: {counts}");
        assert_eq!(number(&counts, "remote_storage_write"), 2, "{storage}: {counts}");
        let counts = compile(folder.path(), &storage).expect("installed");
        assert_eq!(number(&counts, "cache_miss"), 0, "{storage}: {counts}");
        assert_eq!(number(&counts, "remote_storage_hit"), 1, "{storage}: {counts}");
        assert_eq!(number(&counts, "remote_storage_read_hit"), 2, "{storage}: {counts}");
    }

    #[test]
    fn every_layout() {
        let server = Server::start(&[]);
        stores_and_finds(&server, "http://HOST");
        stores_and_finds(&server, "http://HOST/flat|layout=flat");
        stores_and_finds(&server, "http://HOST/bazel|layout=bazel");
        stores_and_finds(&server, "http://HOST/new|keep-alive=false");
    }

    #[test]
    fn tokens() {
        let (server, _tokens) = guarded_server();
        stores_and_finds(&server, "http://HOST/bearer|bearer-token=secret");
        stores_and_finds(&server, "http://any:secret@HOST/basic");
        // One that may only read finds what the other has stored.
        let folder = folder();
        let storage = format!("http://{}/basic|bearer-token=viewer|read-only", server.address());
        let Some(counts) = compile(folder.path(), &storage) else { return };
        assert_eq!(number(&counts, "remote_storage_hit"), 1, "{counts}");
    }

    /// `recache` makes ccache write where it has a value already.
    #[test]
    fn a_known_value_is_replaced() {
        let server = Server::start(&[]);
        let folder = folder();
        let storage = format!("http://{}", server.address());
        if compile(folder.path(), &storage).is_none() {
            return;
        }
        let size = server.connect().size();
        let mut ccache = command(find("ccache").expect("found before"), folder.path());
        ccache.current_dir(folder.path()).env("CCACHE_DIR", folder.path().join("local"));
        ccache.env("CCACHE_REMOTE_STORAGE", &storage).env("CCACHE_RECACHE", "1");
        stdout_of(ccache.args(["gcc", "-c", "source.c", "-o", "source.o"]));
        assert_eq!(server.connect().size(), size);
    }
}

mod sccache {
    use super::*;

    /// Starts sccache's own server with nothing but this cache, compiles once, and gives its
    /// statistics as JSON.
    fn compile(settings: &[(&str, &str)]) -> Option<String> {
        let (program, _) = (find("sccache")?, find("gcc")?);
        let folder = folder();
        let sccache = || {
            let mut sccache = command(&program, folder.path());
            sccache.current_dir(folder.path()).envs(settings.iter().copied());
            sccache.env("SCCACHE_SERVER_UDS", folder.path().join("socket"));
            sccache
        };
        let mut server = sccache();
        server.env("SCCACHE_START_SERVER", "1").env("SCCACHE_NO_DAEMON", "1");
        let mut daemon = Daemon::start(&mut server, folder.path());
        daemon.wait_until(|| folder.path().join("socket").exists());
        fs::write(folder.path().join("s.c"), "int answer(void) { return 42; }\n").expect("source");
        stdout_of(sccache().args(["gcc", "-c", "s.c", "-o", "s.o"]));
        // The value is stored beside the compilation, so what it took to do so comes a bit later.
        let mut statistics = String::new();
        daemon.wait_until(|| {
            statistics = stdout_of(sccache().args(["--show-stats", "--stats-format", "json"]));
            ["cache_hits", "cache_writes", "cache_write_errors"]
                .iter()
                .any(|n| count(&statistics, n) > 0)
        });
        Some(statistics)
    }

    /// A number of the statistics, or the sum over languages.
    fn count(statistics: &str, name: &str) -> u64 {
        let json: String = statistics.split_whitespace().collect();
        let rest = json.split_once(&format!("\"{name}\":")).expect(name).1;
        let rest = rest.strip_prefix("{\"counts\":{").unwrap_or(rest);
        let end = rest.find('}').unwrap_or(rest.len());
        let own = if rest.starts_with(|first: char| first.is_ascii_digit()) {
            rest.split([',', '}']).next().expect("split gives one")
        } else {
            &rest[..end]
        };
        own.split([',', ':']).filter_map(|word| word.parse::<u64>().ok()).sum()
    }

    fn stores_and_finds(settings: &[(&str, &str)]) {
        let Some(statistics) = compile(settings) else { return };
        assert_eq!(count(&statistics, "cache_write_errors"), 0, "{statistics}");
        assert_eq!(count(&statistics, "cache_writes"), 1, "{statistics}");
        let statistics = compile(settings).expect("installed");
        assert_eq!(count(&statistics, "cache_hits"), 1, "{statistics}");
        assert_eq!(count(&statistics, "cache_read_errors"), 0, "{statistics}");
    }

    #[test]
    fn at_the_root() {
        let server = Server::start(&[]);
        stores_and_finds(&[("SCCACHE_WEBDAV_ENDPOINT", &format!("http://{}", server.address()))]);
    }

    #[test]
    fn with_the_reserved_names_elsewhere() {
        let server = Server::start(&["--admin", "127.0.0.1:0"]);
        stores_and_finds(&[("SCCACHE_WEBDAV_ENDPOINT", &format!("http://{}", server.address()))]);
    }

    #[test]
    fn below_a_prefix() {
        let server = Server::start(&[]);
        stores_and_finds(&[
            ("SCCACHE_WEBDAV_ENDPOINT", &format!("http://{}", server.address())),
            ("SCCACHE_WEBDAV_KEY_PREFIX", "team/sccache"),
        ]);
    }

    #[test]
    fn tokens() {
        let (server, _tokens) = guarded_server();
        let endpoint = format!("http://{}", server.address());
        let endpoint = ("SCCACHE_WEBDAV_ENDPOINT", endpoint.as_str());
        stores_and_finds(&[endpoint, ("SCCACHE_WEBDAV_TOKEN", "secret")]);
        let user = ("SCCACHE_WEBDAV_USERNAME", "any");
        let prefix = ("SCCACHE_WEBDAV_KEY_PREFIX", "basic");
        stores_and_finds(&[endpoint, user, ("SCCACHE_WEBDAV_PASSWORD", "secret"), prefix]);
    }
}

mod bazel {
    use super::*;

    /// Builds one target without any local state, and gives what Bazel said.
    fn build(folder: &Path, run: u32, arguments: &[&str]) -> Option<String> {
        let program = find("bazel")?;
        let workspace = folder.join("workspace");
        fs::create_dir_all(&workspace).expect("a folder");
        fs::write(workspace.join("WORKSPACE"), "").expect("a file");
        let rule = "genrule(name = \"g\", outs = [\"out\"], cmd = \"echo hello > $@\")\n";
        fs::write(workspace.join("BUILD"), rule).expect("a file");
        let mut bazel = command(program, folder);
        bazel.current_dir(&workspace).arg("--batch").arg("--nohome_rc");
        bazel.arg(format!("--output_user_root={}/root", folder.display()));
        bazel.arg(format!("--output_base={}/base{run}", folder.display()));
        bazel.args(["build", "--spawn_strategy=local", "//:g"]).args(arguments);
        let output = output_of(&mut bazel);
        let said = both(&output);
        assert!(output.status.success(), "{said}");
        assert!(!said.contains("WARNING: Reading from Remote Cache"), "{said}");
        assert!(!said.contains("WARNING: Writing to Remote Cache"), "{said}");
        Some(said)
    }

    /// With both kinds of credentials: stores with one, finds with the other.
    #[test]
    #[ignore = "takes Bazel or Gradle, and ten seconds; .ci/run runs it"]
    fn the_program() {
        let (server, _tokens) = guarded_server();
        let folder = folder();
        let basic = format!("--remote_cache=http://any:secret@{}", server.address());
        let Some(said) = build(folder.path(), 1, &[&basic]) else { return };
        assert!(said.contains(" 1 local"), "{said}");
        let bearer = format!("--remote_cache=http://{}", server.address());
        let header = "--remote_header=Authorization=Bearer viewer";
        let upload = "--remote_upload_local_results=false";
        let said = build(folder.path(), 2, &[&bearer, header, upload]).expect("installed");
        assert!(said.contains("1 remote cache hit"), "{said}");
    }

    fn get(path: &str) -> String {
        format!(
            "GET {path} HTTP/1.1\r\nhost: 127.0.0.1:8080\r\nconnection: keep-alive\r\n\
             accept: */*\r\naccept-encoding: gzip\r\nuser-agent: bazel/6.5.0\r\n\r\n"
        )
    }

    /// What Bazel sends, byte for byte as recorded: an action is asked for, its outputs are stored
    /// before it, on several connections; then another machine asks for all of them.
    #[test]
    fn its_requests() {
        let server = Server::start(&[]);
        let hash = |n: u32| format!("{n:064x}");
        let (mut actions, mut outputs) = (server.connect(), server.connect());
        let action = format!("/ac/{}", hash(1));
        let miss = actions.exchange(get(&action));
        assert_eq!((miss.status, miss.body.as_slice()), (404, &b""[..]));
        let values = [Numbers::new(1).bytes(4_783), Numbers::new(2).bytes(3 << 20), Vec::new()];
        let put = |path: &str, body: &[u8]| {
            let head = format!(
                "PUT {path} HTTP/1.1\r\nhost: 127.0.0.1:8080\r\naccept: */*\r\n\
                 content-length: {}\r\nconnection: keep-alive\r\nuser-agent: bazel/6.5.0\r\n\r\n",
                body.len()
            );
            [head.as_bytes(), body].concat()
        };
        for (n, value) in (2..).zip(&values) {
            let request = put(&format!("/cas/{}", hash(n)), value);
            // The head goes out alone, without asking to continue; the body follows in pieces.
            let head = request.len() - value.len();
            outputs.send(&request[..head]);
            for piece in value.chunks(8_192) {
                outputs.send(piece);
            }
            assert_eq!(outputs.response().status, 201);
        }
        assert_eq!(actions.exchange(put(&action, b"result")).status, 201);
        // The same outputs from another build replace themselves.
        assert_eq!(outputs.exchange(put(&format!("/cas/{}", hash(2)), &values[0])).status, 204);
        // Where the length is not known before, the body comes chunked.
        outputs.send(format!(
            "PUT /cas/{} HTTP/1.1\r\nhost: 127.0.0.1:8080\r\naccept: */*\r\n\
             transfer-encoding: chunked\r\nconnection: keep-alive\r\nuser-agent: bazel/6.5.0\r\n\
             \r\n",
            hash(9)
        ));
        for piece in values[1].chunks(8_192) {
            outputs.send(format!("{:x}\r\n", piece.len()));
            outputs.send(piece);
            outputs.send("\r\n");
        }
        outputs.send("0\r\n\r\n");
        assert_eq!(outputs.response().status, 201);

        let mut other = server.connect();
        assert_eq!(other.exchange(get(&action)).body, b"result");
        for (n, value) in (2..).zip(&values).chain([(9, &values[1])]) {
            let hit = other.exchange(get(&format!("/cas/{}", hash(n))));
            assert_eq!(hit.status, 200);
            // gzip is accepted by the client, but these bytes are what was stored.
            assert_eq!(hit.field("Content-Encoding"), None);
            assert!(hit.body == *value, "output {n} has changed");
        }
    }
}

mod gradle {
    use super::*;

    /// Builds one task without any local state, and gives what Gradle said.
    fn build(folder: &Path, address: &str, credentials: &str, expect: bool) -> Option<String> {
        let program = find("gradle")?;
        let project = folder.join("project");
        let _ = fs::remove_dir_all(&project);
        fs::create_dir_all(&project).expect("a folder");
        // An address without TLS has to be allowed by name from Gradle 6 on, and is not asked for
        // before.
        let settings = format!(
            "buildCache {{
                local {{ enabled = false }}
                remote(HttpBuildCache) {{
                    url = 'http://{address}/gradle/'
                    push = true
                    {credentials}
                    if (it.hasProperty('allowInsecureProtocol')) {{ allowInsecureProtocol = true }}
                    if (it.hasProperty('useExpectContinue')) {{ useExpectContinue = {expect} }}
                }}
            }}
            "
        );
        fs::write(project.join("settings.gradle"), settings).expect("a file");
        let task = "@CacheableTask
            class Up extends DefaultTask {
                @InputFile @PathSensitive(PathSensitivity.NONE) File source
                @OutputFile File result
                @TaskAction void run() { result.text = source.text.toUpperCase() }
            }
            task up(type: Up) { source = file('in'); result = file(\"$buildDir/out\") }
            ";
        fs::write(project.join("build.gradle"), task).expect("a file");
        fs::write(project.join("in"), "hello").expect("a file");
        let mut gradle = command(program, folder);
        gradle.current_dir(&project).env("GRADLE_USER_HOME", folder.join("gradle"));
        gradle.args(["--no-daemon", "--build-cache", "--console=plain", "up"]);
        let said = stdout_of(&mut gradle);
        assert_eq!(fs::read_to_string(project.join("build/out")).expect("the result"), "HELLO");
        Some(said)
    }

    #[test]
    #[ignore = "takes Bazel or Gradle, and ten seconds; .ci/run runs it"]
    fn the_program() {
        let (server, _tokens) = guarded_server();
        let folder = folder();
        let credentials = "credentials { username = 'any'; password = 'secret' }";
        let build = || build(folder.path(), server.address(), credentials, true);
        let Some(said) = build() else { return };
        assert!(!said.contains("FROM-CACHE"), "{said}");
        let said = build().expect("installed");
        assert!(said.contains("FROM-CACHE"), "{said}");
    }

    const AGENT: &str = "Connection: Keep-Alive\r\nUser-Agent: Gradle/8.5 (Linux;6.1;amd64)\r\n\
                         Accept-Encoding: gzip,x-gzip,deflate\r\n";

    fn get(client: &mut Client, path: &str) -> testkit::Response {
        client.exchange(format!(
            "GET {path} HTTP/1.1\r\n\
             Accept: application/vnd.gradle.build-cache-artifact.v2, */*\r\n\
             X-Gradle-Version: 8.5\r\nHost: 127.0.0.1:8080\r\n{AGENT}\r\n"
        ))
    }

    fn head_of_put(path: &str, length: usize, more: &str) -> String {
        format!(
            "PUT {path} HTTP/1.1\r\n\
             Content-Type: application/vnd.gradle.build-cache-artifact.v2\r\n\
             X-Gradle-Version: 8.5\r\nContent-Length: {length}\r\nHost: 127.0.0.1:8080\r\n\
             {AGENT}{more}\r\n"
        )
    }

    /// What Gradle sends, byte for byte as recorded.
    #[test]
    fn its_requests() {
        let server = Server::start(&["--value-bytes-max", "1MiB"]);
        let mut client = server.connect();
        let path = "/gradle/671530fd3baf9ccd501a6fb3d92c378e";
        assert_eq!(get(&mut client, path).status, 404);
        let value = Numbers::new(3).bytes(300_000);
        client.send(head_of_put(path, value.len(), ""));
        client.send(&value);
        assert_eq!(client.response().status, 201);
        let hit = get(&mut client, path);
        assert!(hit.status == 200 && hit.body == value);

        // `useExpectContinue`: the body waits for the interim response.
        client.send(head_of_put(path, value.len(), "Expect: 100-continue\r\n"));
        assert_eq!(client.response().status, 100);
        client.send(&value);
        assert_eq!(client.response().status, 204);

        // Too large an artifact is 413, which Gradle takes for "not cached" and goes on. With
        // Expect nothing of it is sent.
        client.send(head_of_put("/gradle/large", 2 << 20, "Expect: 100-continue\r\n"));
        assert_eq!(client.response().status, 413);
        client.assert_closed();
        let mut client = server.connect();
        client.send(head_of_put("/gradle/large", 2 << 20, ""));
        client.send(Numbers::new(4).bytes(2 << 20));
        assert_eq!(client.response().status, 413);
        let mut client = server.connect();
        assert_eq!(get(&mut client, "/gradle/large").status, 404);
        assert_eq!(get(&mut client, path).status, 200);
    }
}

mod libraries {
    use super::*;

    #[test]
    fn python_http_client() {
        let Some(python) = find("python3") else { return };
        let (server, home) = (Server::start(&[]), folder());
        let mut python = command(python, home.path());
        python.arg("-I").arg(script("http_client.py")).arg(server.address());
        assert_eq!(stdout_of(&mut python), "all answers were right\n");
    }

    fn node(home: &Path, modules: &Path) -> Option<Command> {
        let mut node = command(find("node")?, home);
        node.env("NODE_PATH", modules);
        Some(node)
    }

    #[test]
    fn undici_pipelines() {
        let (server, home) = (Server::start(&[]), folder());
        let Some(modules) = find_package("undici") else { return };
        let Some(mut node) = node(home.path(), &modules) else { return };
        node.arg(script("undici.cjs")).arg(server.address());
        let said = stdout_of(&mut node);
        assert!(said.starts_with("6000 right answers"), "{said}");
    }

    /// The numbers of a line of JSON that autocannon prints.
    fn field(json: &str, name: &str) -> u64 {
        let rest = json.split_once(&format!("\"{name}\":")).expect(name).1;
        rest.split([',', '}']).next().expect("split gives one").parse().expect(name)
    }

    #[test]
    fn autocannon_pipelines() {
        let (server, home) = (Server::start(&[]), folder());
        let Some(modules) = find_package("autocannon") else { return };
        let autocannon: PathBuf = modules.join("autocannon/autocannon.js");
        let value = "v".repeat(100);
        let url = format!("http://{}/k", server.address());
        assert_eq!(server.connect().put("/k", &value).status, 201);
        for arguments in [&["-E", &value][..], &["-m", "PUT", "-b", &value]] {
            let Some(mut node) = node(home.path(), &modules) else { return };
            node.arg(&autocannon).args(["-j", "-n", "-p", "10", "-c", "4", "-a", "4000"]);
            let said = stdout_of(node.args(arguments).arg(&url));
            for trouble in ["errors", "timeouts", "mismatches", "non2xx", "resets"] {
                assert_eq!(field(&said, trouble), 0, "{trouble}: {said}");
            }
            // It stops at the last request that it sends, with up to ten per connection under way.
            assert!(field(&said, "2xx") >= 4_000 - 4 * 10, "{said}");
        }
        assert_eq!(server.connect().get("/k").body, value.as_bytes());
    }
}

mod load {
    use super::*;

    const PIPELINE: &str = "\
init = function(args)
    local requests = {}
    for n = 1, 16 do
        if n % 4 == 0 then
            requests[n] = wrk.format('PUT', '/k' .. n, nil, 'value ' .. n)
        else
            requests[n] = wrk.format('GET', '/k4')
        end
    end
    pipeline = table.concat(requests)
end
request = function() return pipeline end
";

    #[test]
    fn wrk() {
        let (server, home) = (Server::start(&[]), folder());
        let file = home.path().join("pipeline.lua");
        fs::write(&file, PIPELINE).expect("the script");
        let url = format!("http://{}/k4", server.address());
        assert_eq!(server.connect().put("/k4", "value 4").status, 201);
        for script in [None, Some(&file)] {
            let Some(program) = find("wrk") else { return };
            let mut wrk = command(program, home.path());
            wrk.args(["-t", "1", "-c", "8", "-d", "1s"]);
            if let Some(script) = script {
                wrk.arg("-s").arg(script);
            }
            let said = stdout_of(wrk.arg(&url));
            assert!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "{said}");
            let line = said.lines().find(|line| line.contains(" requests in ")).expect("a sum");
            let requests: u64 = line.split_whitespace().next().unwrap().parse().expect("a number");
            assert!(requests > 1_000, "{said}");
        }
    }

    #[test]
    fn h2load() {
        let (server, home) = (Server::start(&[]), folder());
        let body = home.path().join("body");
        fs::write(&body, vec![7; 5_000]).expect("the body");
        let body = body.to_str().expect("text");
        let url = format!("http://{}/k", server.address());
        // It puts one more request on the way before the answer to the last has come.
        for arguments in [&["-d", body][..], &[], &["-m", "10"]] {
            let Some(program) = find("h2load") else { return };
            let mut h2load = command(program, home.path());
            h2load.args(["--h1", "-n", "3000", "-c", "4", "-t", "1"]).args(arguments);
            let said = stdout_of(h2load.arg(&url));
            let done = "3000 done, 3000 succeeded, 0 failed, 0 errored, 0 timeout";
            assert!(said.contains(done), "{arguments:?}: {said}");
            assert!(said.contains("status codes: 3000 2xx"), "{arguments:?}: {said}");
        }
        assert_eq!(server.connect().get("/k").body, vec![7; 5_000]);
    }
}
