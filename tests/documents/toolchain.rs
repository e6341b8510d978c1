//! The toolchain that is pinned is the oldest one that is supported, so that `.ci/run` is its test.

use super::markdown::read;

/// The value of `name = "value"`.
fn value<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_prefix('='));
    line.unwrap_or_else(|| panic!("{name} is missing")).trim().trim_matches('"')
}

#[test]
fn the_pinned_toolchain_is_the_oldest_supported_one() {
    let (manifest, pin) = (read("Cargo.toml"), read("rust-toolchain.toml"));
    let (oldest, pinned) = (value(&manifest, "rust-version"), value(&pin, "channel"));
    assert!(pinned == oldest || pinned == format!("{oldest}.0"), "{pinned} is not {oldest}");
}
