//! Programs of this repository, and processes that end with a value.

use std::env;
use std::path::PathBuf;
use std::process::Child;

/// Where a program of this repository was built: where cargo says in a test, and otherwise beside
/// the running program.
///
/// # Panics
/// If the running program is nowhere.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    if let Some(path) = env::var_os(format!("CARGO_BIN_EXE_{name}")) {
        return path.into();
    }
    let own = env::current_exe().expect("a program is somewhere");
    let folder = own.parent().expect("a program is in a folder");
    // Tests and benches are one folder deeper.
    let folder = if folder.ends_with("deps") { folder.parent() } else { Some(folder) };
    folder.expect("a target folder").join(name)
}

/// A child that is killed with the value, so that a test that fails leaves none behind.
#[derive(Debug)]
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
