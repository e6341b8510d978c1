//! Settings that a program makes a server with: whatever they are, there is a server or an error.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use corekv::net::{self, Address};
use corekv::store::{self, Store};
use corekv::{Config, Cores, Server, http};
use proptest::prelude::*;

/// On a port that the system chooses.
fn usual() -> Config {
    Config {
        listen: vec![Address::Tcp(([127, 0, 0, 1], 0).into())],
        cores: Cores::List(vec![0]),
        pin: false,
        memory_bytes_max: 1 << 20,
        ..Config::default()
    }
}

/// Binds, and if that works, serves a request and ends.
fn try_out(config: &Config) -> std::io::Result<()> {
    let server = Server::bind(config)?;
    let (stopper, address) = (server.stopper(), server.local_addrs().remove(0));
    let Address::Tcp(address) = address else { unreachable!("a TCP address was asked for") };
    let thread = std::thread::spawn(move || server.run());
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"PUT /k HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\nv")?;
    let mut answer = [0; 9];
    // Extreme limits may cut it off.
    if stream.read_exact(&mut answer).is_ok() {
        assert_eq!(&answer, b"HTTP/1.1 ");
    }
    drop(stream);
    stopper.stop();
    thread.join().expect("no panic")
}

#[test]
fn settings_out_of_range_are_errors_that_name_them() {
    type Change = fn(&mut Config);
    let cases: [(&str, Change); 26] = [
        ("listen", |c| c.listen.clear()),
        ("snapshot_interval", |c| c.snapshot_interval = Some(Duration::from_secs(1))),
        ("snapshot_age_max", |c| c.snapshot_age_max = Some(Duration::from_secs(1))),
        ("snapshot_required", |c| c.snapshot_required = true),
        ("snapshot_interval", |c| {
            c.snapshot = Some("snapshot".into());
            c.snapshot_interval = Some(Duration::from_millis(999));
        }),
        ("unix_mode", |c| c.unix_mode = 0o1000),
        ("cores", |c| c.cores = Cores::List(Vec::new())),
        ("cores", |c| c.cores = Cores::List(vec![1, 0, 1])),
        ("cores", |c| c.cores = Cores::List(vec![usize::MAX])),
        ("memory_bytes_max", |c| c.memory_bytes_max = 0),
        ("memory_bytes_max", |c| c.memory_bytes_max = u64::MAX),
        ("ttl_seconds", |c| c.ttl_seconds = Some(0)),
        ("ttl_seconds", |c| c.ttl_seconds = Some(u32::MAX)),
        ("key_bytes_max", |c| c.key_bytes_max = 0),
        ("key_bytes_max", |c| c.key_bytes_max = store::KEY_BYTES_MAX + 1),
        ("value_bytes_max", |c| c.value_bytes_max = 0),
        ("header_bytes_max", |c| c.header_bytes_max = 0),
        ("header_bytes_max", |c| c.header_bytes_max = usize::MAX),
        ("connections_max", |c| c.connections_max = 0),
        ("connections_max", |c| c.connections_max = usize::MAX),
        ("idle_timeout", |c| c.idle_timeout = Duration::MAX),
        ("header_timeout", |c| c.header_timeout = Duration::MAX),
        ("body_timeout", |c| c.body_timeout = Duration::ZERO),
        ("drain_timeout", |c| c.drain_timeout = Duration::MAX),
        ("min_rate", |c| c.min_rate = u64::MAX),
        ("min_rate_grace", |c| c.min_rate_grace = Duration::MAX),
    ];
    for (setting, change) in cases {
        let mut config = usual();
        assert_eq!(config.validate(), Ok(()));
        change(&mut config);
        assert_eq!(config.validate().expect_err(setting).setting(), setting);
        let error = Server::bind(&config).expect_err(setting);
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{setting}: {error}");
        assert!(error.to_string().starts_with(setting), "{setting}: {error}");
    }
}

#[test]
fn the_layers_check_their_own_settings() {
    let settings = net::Settings { connections_max: usize::MAX, ..Default::default() };
    let address = Address::Tcp(([127, 0, 0, 1], 0).into());
    assert!(net::Server::bind(&[address], None, settings).is_err());
    for (partitions, memory_bytes_max) in
        [(0, 1 << 20), (usize::MAX, 1 << 20), (1, 0), (1, u64::MAX)]
    {
        let settings = store::Settings { partitions, memory_bytes_max };
        assert!(Store::new(settings).is_err(), "{settings:?}");
    }
    let settings = http::Settings { header_bytes_max: usize::MAX, ..Default::default() };
    assert!(settings.validate().is_err());
}

/// Numbers from both ends and from within, among them those next to powers of two.
fn extreme() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        Just(1),
        Just(u64::MAX),
        (0u32..64, -1i64..=1).prop_map(|(bits, off)| (1u64 << bits).saturating_add_signed(off)),
        any::<u64>(),
    ]
}

fn extreme_time() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::MAX),
        extreme().prop_map(Duration::from_nanos),
        extreme().prop_map(Duration::from_secs),
    ]
}

fn cores() -> impl Strategy<Value = Cores> {
    let number = prop_oneof![0usize..4, Just(1023), Just(1024), any::<usize>()];
    prop_oneof![
        4 => Just(Cores::List(vec![0])),
        1 => Just(Cores::Auto),
        1 => prop::collection::vec(number, 0..4).prop_map(Cores::List),
    ]
}

prop_compose! {
    /// Any one or two settings at their extremes, so that many a configuration passes the check.
    fn any_config()(
        which in prop::collection::vec(0usize..14, 1..3),
        numbers in prop::collection::vec(extreme(), 14),
        times in prop::collection::vec(extreme_time(), 14),
        cores in cores(),
    ) -> Config {
        let mut config = usual();
        for at in which {
            let (number, time) = (numbers[at], times[at]);
            match at {
                0 => config.cores = cores.clone(),
                1 => config.memory_bytes_max = number,
                2 => config.ttl_seconds = Some(number as u32),
                3 => config.key_bytes_max = number as usize,
                4 => config.value_bytes_max = number,
                5 => config.header_bytes_max = number as usize,
                6 => config.connections_max = number as usize,
                7 => config.header_timeout = time,
                8 => config.body_timeout = time,
                9 => config.idle_timeout = time,
                10 => config.drain_timeout = time,
                11 => config.min_rate = number,
                12 => config.min_rate_grace = time,
                _ => config.unix_mode = number as u32,
            }
        }
        config
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_config_makes_a_server_panic(config in any_config()) {
        let valid = config.validate();
        let outcome = try_out(&config);
        if valid.is_err() {
            prop_assert!(outcome.is_err(), "{valid:?}");
        }
    }
}
