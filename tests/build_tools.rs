//! Build tools of JavaScript and of whole repositories against the real server: a build that fills
//! the cache, then one without any local state that is served from it, with and without tokens. A
//! test whose program isn't installed says so and passes; `.ci/install` installs all of them. ccache,
//! sccache, Bazel and Gradle are in `tests/clients.rs`.

mod peers;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use peers::{both, command, find, find_package, folder, installed_folder, output_of, stdout_of};
use tempfile::TempDir;
use testkit::Server;

/// A server, and what a tool has to know of it.
struct Cache {
    server: Server,
    /// What may read and write, and what may read; none if no token is needed.
    tokens: Option<(&'static str, &'static str)>,
    _folder: TempDir,
}

impl Cache {
    fn open(flags: &[&str]) -> Self {
        Self { server: Server::start(flags), tokens: None, _folder: folder() }
    }

    fn guarded(flags: &[&str]) -> Self {
        let folder = folder();
        let file = folder.path().join("tokens");
        fs::write(&file, "secret\nviewer read-only\n").expect("the token file");
        let file = ["--auth-file", file.to_str().expect("text")];
        let server = Server::start(&[flags, &file].concat());
        Self { server, tokens: Some(("secret", "viewer")), _folder: folder }
    }

    /// One of each kind.
    fn both(flags: &[&str]) -> [Self; 2] {
        [Self::open(flags), Self::guarded(flags)]
    }

    fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    fn writer(&self) -> Option<&'static str> {
        self.tokens.map(|(writer, _)| writer)
    }

    fn reader(&self) -> Option<&'static str> {
        self.tokens.map(|(_, reader)| reader)
    }
}

/// A program that came with a package of npm.
fn program(package: &str, name: &str) -> Option<PathBuf> {
    Some(find_package(package)?.join(".bin").join(name))
}

/// Writes the files of a workspace into an empty folder, so that nothing of an earlier build is left.
fn write_all(folder: &Path, files: &[(&str, &str)]) {
    let _ = fs::remove_dir_all(folder);
    for (name, text) in files {
        let file = folder.join(name);
        fs::create_dir_all(file.parent().expect("it is in a folder")).expect("a folder");
        fs::write(file, text).expect("a file");
    }
}

/// Makes a folder a Git repository with one commit.
fn commit(folder: &Path, home: &Path) -> Option<()> {
    let git = find("git")?;
    let author = ["-c", "user.name=t", "-c", "user.email=t@example.com"];
    for arguments in [&["init", "-q", "-b", "master"][..], &["add", "-A"], &["commit", "-qm", "t"]]
    {
        let mut git = command(&git, home);
        stdout_of(git.current_dir(folder).args(author).args(arguments));
    }
    Some(())
}

/// Without colours and other sequences for terminals.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, sequence)) = rest.split_once("\x1b[") {
        plain += before;
        let end =
            sequence.find(|c: char| c.is_ascii_alphabetic()).map_or(sequence.len(), |at| at + 1);
        rest = &sequence[end..];
    }
    plain + rest
}

/// What a build said, and whether it succeeded.
fn outcome(command: &mut Command) -> (bool, String) {
    let output = output_of(command);
    (output.status.success(), plain(&both(&output)))
}

mod nx {
    use super::*;

    fn build(
        home: &Path,
        cache: &Cache,
        token: Option<&str>,
        input: &str,
    ) -> Option<(bool, String)> {
        let (nx, modules) = (program("nx", "nx")?, find_package("nx")?);
        let workspace = home.join("workspace");
        let project = r#"{"name": "a", "targets": {"build": {"command": "cat a/in > a/out",
            "cache": true, "inputs": ["{projectRoot}/in"], "outputs": ["{projectRoot}/out"]}}}"#;
        write_all(
            &workspace,
            &[
                ("package.json", r#"{"name": "w", "private": true, "version": "0.0.0"}"#),
                ("nx.json", r#"{"analytics": false, "neverConnectToCloud": true}"#),
                ("a/project.json", project),
                ("a/in", input),
            ],
        );
        std::os::unix::fs::symlink(modules, workspace.join("node_modules")).expect("a link");
        let mut nx = command(nx, home);
        nx.current_dir(&workspace).args(["build", "a"]).env("CI", "1").env("NX_DAEMON", "false");
        nx.env("NX_SELF_HOSTED_REMOTE_CACHE_SERVER", cache.url() + "/nx");
        if let Some(token) = token {
            nx.env("NX_SELF_HOSTED_REMOTE_CACHE_ACCESS_TOKEN", token);
        }
        let (succeeded, said) = outcome(&mut nx);
        if succeeded {
            assert_eq!(fs::read_to_string(workspace.join("a/out")).expect("the result"), input);
        }
        Some((succeeded, said))
    }

    #[test]
    #[ignore = "takes ten seconds, and Nx; .ci/run runs it"]
    fn stores_and_finds() {
        for cache in Cache::both(&["--store-status", "200"]) {
            let home = folder();
            let Some((true, said)) = build(home.path(), &cache, cache.writer(), "hello") else {
                assert!(find_package("nx").is_none(), "the first build failed");
                return;
            };
            assert!(!said.contains("[remote cache]"), "{said}");
            let home = folder();
            let built = build(home.path(), &cache, cache.reader(), "hello").expect("installed");
            assert!(built.0 && built.1.contains("[remote cache]"), "{}", built.1);
            // One that may not write builds all the same.
            let built = build(home.path(), &cache, cache.reader(), "other").expect("installed");
            assert!(built.0 && !built.1.contains("[remote cache]"), "{}", built.1);
        }
    }

    /// What `docs/build-cache.md` warns of.
    #[test]
    #[ignore = "takes ten seconds, and Nx; .ci/run runs it"]
    fn a_store_that_is_not_200_fails_the_run() {
        let home = folder();
        let cache = Cache::open(&["--store-status", "200", "--value-bytes-max", "1KiB"]);
        let noise: String =
            testkit::Numbers::new(5).bytes(8 << 10).iter().map(|b| format!("{b:x}")).collect();
        let Some((succeeded, said)) = build(home.path(), &cache, None, &noise) else { return };
        assert!(!succeeded && said.contains("413"), "{said}");
        let cache = Cache::open(&[]);
        let (succeeded, said) = build(home.path(), &cache, None, "hello").expect("installed");
        assert!(!succeeded && said.contains("Unexpected response status: 20"), "{said}");
    }
}

mod turborepo {
    use super::*;

    const KEY: &str = "a key of thirty-two bytes or more";

    struct Build<'a> {
        cache: &'a Cache,
        token: Option<&'a str>,
        team: &'a str,
        key: &'a str,
    }

    impl Build<'_> {
        /// Builds one task without any local state, and gives what turbo said.
        fn run(&self, home: &Path) -> Option<String> {
            let turbo = program("turbo", "turbo")?;
            let workspace = home.join("workspace");
            let lock = r#"{"name": "w", "version": "0.0.0", "lockfileVersion": 3, "packages": {
                "": {"name": "w", "version": "0.0.0", "workspaces": ["packages/*"]},
                "node_modules/a": {"resolved": "packages/a", "link": true},
                "packages/a": {"name": "a", "version": "0.0.0"}}}"#;
            let package = r#"{"name": "w", "private": true, "version": "0.0.0",
                "packageManager": "npm@10.0.0", "workspaces": ["packages/*"]}"#;
            let project =
                r#"{"name": "a", "version": "0.0.0", "scripts": {"build": "cat in > out"}}"#;
            let tasks = r#"{"remoteCache": {"signature": true},
                "tasks": {"build": {"inputs": ["in"], "outputs": ["out"]}}}"#;
            write_all(
                &workspace,
                &[
                    ("package.json", package),
                    ("package-lock.json", lock),
                    ("turbo.json", tasks),
                    ("packages/a/package.json", project),
                    ("packages/a/in", "hello"),
                ],
            );
            let mut turbo = command(turbo, home);
            turbo.current_dir(&workspace).args(["run", "build"]).env("CI", "1");
            turbo.env("TURBO_TELEMETRY_DISABLED", "1").env("TURBO_API", self.cache.url() + "/ci");
            // It sends one in any case.
            turbo.env("TURBO_TOKEN", self.token.unwrap_or("none")).env("TURBO_TEAM", self.team);
            turbo.env("TURBO_REMOTE_CACHE_SIGNATURE_KEY", self.key);
            let (succeeded, said) = outcome(&mut turbo);
            assert!(succeeded, "{said}");
            assert!(said.contains("Remote caching enabled"), "{said}");
            let result = fs::read_to_string(workspace.join("packages/a/out"));
            assert_eq!(result.expect("the result"), "hello");
            Some(said)
        }
    }

    #[test]
    #[ignore = "takes ten seconds, and Turborepo; .ci/run runs it"]
    fn stores_and_finds() {
        for cache in Cache::both(&["--turborepo"]) {
            let home = folder();
            let build = Build { cache: &cache, token: cache.writer(), team: "blue", key: KEY };
            let Some(said) = build.run(home.path()) else { return };
            assert!(said.contains("cache miss"), "{said}");
            let home = folder();
            let reader = Build { token: cache.reader(), ..build };
            let said = reader.run(home.path()).expect("installed");
            assert!(said.contains("cache hit") && !said.contains("WARNING  failed"), "{said}");

            // Neither another team's artifact nor one with another signature is taken.
            let other = Build { team: "green", ..reader };
            assert!(other.run(home.path()).expect("installed").contains("cache miss"));
            let forged = Build { key: "another key of thirty-two bytes", ..reader };
            assert!(forged.run(home.path()).expect("installed").contains("cache miss"));
        }
    }
}

mod rush {
    use super::*;

    /// The version of a package, and of the package manager that Rush has installed.
    fn versions(modules: &Path) -> (String, String) {
        let package = fs::read_to_string(modules.join("@microsoft/rush/package.json"));
        let package = package.expect("it is installed");
        let rush = package.split_once("\"version\": \"").expect("a version").1;
        let rush = rush.split('"').next().expect("split gives one").to_owned();
        let pnpm = fs::read_dir(installed_folder().join("rush")).expect("it is installed");
        let pnpm = pnpm
            .flat_map(|node| fs::read_dir(node.expect("an entry").path()).into_iter().flatten());
        let pnpm = pnpm.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let pnpm = pnpm.filter_map(|name| Some(name.strip_prefix("pnpm-")?.to_owned()));
        (
            rush,
            pnpm.filter(|version| {
                version.bytes().all(|byte| byte == b'.' || byte.is_ascii_digit())
            })
            .max()
            .expect("a version of pnpm"),
        )
    }

    fn rush(home: &Path) -> Option<Command> {
        let mut rush = command(program("@microsoft/rush", "rush")?, home);
        rush.current_dir(home.join("repository")).env("CI", "1");
        rush.env("RUSH_GLOBAL_FOLDER", installed_folder().join("rush"));
        Some(rush)
    }

    /// A repository with its dependencies, of which it has none.
    fn repository(home: &Path, cache: &Cache) -> Option<()> {
        let modules = find_package("@microsoft/rush")?;
        let (rush_version, pnpm_version) = versions(&modules);
        let rush_json = format!(
            r#"{{"rushVersion": "{rush_version}", "pnpmVersion": "{pnpm_version}",
                "nodeSupportedVersionRange": ">=18",
                "projects": [{{"packageName": "a", "projectFolder": "a"}}]}}"#
        );
        let build_cache = format!(
            r#"{{"buildCacheEnabled": true, "cacheProvider": "http", "httpConfiguration":
                {{"url": "{}/rush/", "isCacheWriteAllowed": true}}}}"#,
            cache.url()
        );
        let script = r#"{"name": "a", "version": "0.0.0",
            "scripts": {"build": "mkdir -p out && cp in out/out"}}"#;
        let outputs = r#"{"operationSettings":
            [{"operationName": "build", "outputFolderNames": ["out"]}]}"#;
        write_all(
            &home.join("repository"),
            &[
                ("rush.json", &rush_json),
                ("common/config/rush/build-cache.json", &build_cache),
                ("a/package.json", script),
                ("a/config/rush-project.json", outputs),
                ("a/in", "hello"),
                (".gitignore", "node_modules\ntemp\nout\n.rush\nrush-logs\n"),
            ],
        );
        commit(&home.join("repository"), home)?;
        stdout_of(rush(home)?.arg("update"));
        Some(())
    }

    /// Builds without results of an earlier build, and gives what Rush said.
    fn build(home: &Path, credential: Option<&str>) -> String {
        let repository = home.join("repository");
        for left in ["common/temp/build-cache", "a/out", "a/rush-logs", "a/.rush/temp/operation"] {
            let _ = fs::remove_dir_all(repository.join(left));
        }
        let mut rush = rush(home).expect("found before");
        rush.arg("build");
        if let Some(credential) = credential {
            rush.env("RUSH_BUILD_CACHE_CREDENTIAL", credential);
        }
        let (succeeded, said) = outcome(&mut rush);
        assert!(succeeded, "{said}");
        assert_eq!(fs::read_to_string(repository.join("a/out/out")).expect("the result"), "hello");
        said
    }

    #[test]
    #[ignore = "takes half a minute, and Rush; .ci/run runs it"]
    fn stores_and_finds() {
        for cache in Cache::both(&[]) {
            let home = folder();
            if repository(home.path(), &cache).is_none() {
                return;
            }
            let [writer, reader] = [cache.writer(), cache.reader()]
                .map(|token| token.map(|token| format!("Bearer {token}")));
            let said = build(home.path(), writer.as_deref());
            assert!(!said.contains("restored from the build cache"), "{said}");
            let said = build(home.path(), reader.as_deref());
            assert!(said.contains("\"a\" was restored from the build cache"), "{said}");
        }
    }
}

mod moon {
    use super::*;

    /// Builds one task without any local state, and gives what moon said.
    fn build(home: &Path, cache: &Cache, token: Option<&str>) -> Option<String> {
        let moon = program("@moonrepo/cli", "moon")?;
        let workspace = home.join("workspace");
        let remote = format!(
            "projects:\n  a: 'a'\nvcs:\n  defaultBranch: 'master'\ntelemetry: false\n\
             remote:\n  api: 'http'\n  host: '{}'\n  cache:\n    instanceName: 'moon'\n",
            cache.url()
        );
        let auth = if token.is_some() { "  auth:\n    token: 'CACHE_TOKEN'\n" } else { "" };
        let project = "language: 'bash'\ntasks:\n  build:\n    command: 'cp in out'\n    \
                       inputs: ['in']\n    outputs: ['out']\n    toolchain: 'system'\n";
        write_all(
            &workspace,
            &[
                (".moon/workspace.yml", &(remote + auth)),
                ("a/moon.yml", project),
                ("a/in", "hello"),
                (".gitignore", ".moon/cache\n"),
            ],
        );
        commit(&workspace, home)?;
        let mut moon = command(moon, home);
        moon.current_dir(&workspace).args(["run", "a:build"]).env("CI", "1");
        if let Some(token) = token {
            moon.env("CACHE_TOKEN", token);
        }
        let (succeeded, said) = outcome(&mut moon);
        assert!(succeeded && !said.contains("WARN"), "{said}");
        assert_eq!(fs::read_to_string(workspace.join("a/out")).expect("the result"), "hello");
        Some(said)
    }

    #[test]
    #[ignore = "takes a few seconds, and moon; .ci/run runs it"]
    fn stores_and_finds() {
        // The address and the token are no part of what moon makes its keys from.
        for cache in Cache::both(&["--cas-prefix", "/moon/cas/"]) {
            let home = folder();
            let Some(said) = build(home.path(), &cache, cache.writer()) else { return };
            assert!(!said.contains("cached from remote"), "{said}");
            let home = folder();
            let said = build(home.path(), &cache, cache.reader());
            // Which files the key is made from depends on the settings, that name the token.
            let said = said.expect("installed");
            assert!(said.contains("cached from remote"), "{said}");
        }
    }
}

mod metro {
    use super::*;

    /// Bundles two modules without any local state, and gives the bundle.
    fn bundle(home: &Path, cache: &Cache, token: Option<&str>) -> Option<String> {
        let (node, modules) = (find("node")?, find_package("metro")?);
        let workspace = home.join("workspace");
        let headers = token.map(|token| format!("Authorization: 'Bearer {token}'"));
        let modules = modules.to_str().expect("text");
        let config = format!(
            "const {{HttpStore}} = require('metro-cache');
             module.exports = {{
                 cacheStores: [new HttpStore({{
                     endpoint: '{}/metro',
                     headers: {{{}}},
                 }})],
                 maxWorkers: 1,
                 watchFolders: ['{modules}/metro-runtime', '{modules}/@babel/runtime'],
                 resolver: {{useWatchman: false, nodeModulesPaths: ['{modules}']}},
             }};",
            cache.url(),
            headers.unwrap_or_default()
        );
        write_all(
            &workspace,
            &[
                ("package.json", r#"{"name": "w", "version": "0.0.0"}"#),
                ("metro.config.js", &config),
                ("index.js", "console.log('hello', require('./b'));"),
                ("b.js", "module.exports = 42;"),
                ("temporary/of-metro", ""),
            ],
        );
        let mut metro = command(node, home);
        metro.current_dir(&workspace).env("NODE_PATH", modules).env("CI", "1");
        // Where it keeps what it knows of the files.
        metro.env("TMPDIR", workspace.join("temporary"));
        metro.arg(format!("{modules}/.bin/metro")).args(["build", "index.js", "--out", "out.js"]);
        stdout_of(metro.args(["-c", "metro.config.js"]));
        Some(fs::read_to_string(workspace.join("out.js")).expect("the bundle"))
    }

    fn counter(cache: &Cache, name: &str) -> u64 {
        let credentials = format!("Authorization: Bearer {}\r\n", cache.reader().unwrap_or("none"));
        let request = format!("GET /metrics HTTP/1.1\r\nHost: t\r\n{credentials}\r\n");
        let metrics = cache.server.connect().exchange(request).line();
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.expect(name).parse().expect("a number")
    }

    #[test]
    #[ignore = "takes twenty seconds, and Metro; .ci/run runs it"]
    fn stores_and_finds() {
        for cache in Cache::both(&[]) {
            let home = folder();
            let Some(cold) = bundle(home.path(), &cache, cache.writer()) else { return };
            let misses = counter(&cache, "corekv_misses_total");
            assert!(misses >= 2 && counter(&cache, "corekv_hits_total") == 0);
            let warm = bundle(home.path(), &cache, cache.reader()).expect("installed");
            assert_eq!(warm, cold);
            assert_eq!(counter(&cache, "corekv_misses_total"), misses);
            assert_eq!(counter(&cache, "corekv_hits_total"), misses);
        }
    }
}
