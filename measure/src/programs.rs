//! The servers of this repository, built and found.

use std::path::PathBuf;
use std::process::Command;

use crate::machine::root;

/// Builds corekv and the named programs of this package, optimized, and says in which folder they
/// lie: that of the calling program.
///
/// # Errors
/// If they can't be built.
///
/// # Panics
/// Never: a program is in a folder.
pub fn build(own: &[&str]) -> Result<PathBuf, String> {
    // Apart, so that each has the features that it is built with elsewhere, and nothing is built twice.
    cargo(&["-p", "corekv", "--bin", "corekv"])?;
    if !own.is_empty() {
        let bins = own.iter().flat_map(|name| ["--bin", name]);
        cargo(&["-p", "measure"].into_iter().chain(bins).collect::<Vec<_>>())?;
    }
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    Ok(this.parent().expect("a program is in a folder").to_owned())
}

fn cargo(what: &[&str]) -> Result<(), String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(root())
        .args(["build", "--release", "--locked", "--quiet"])
        .args(what)
        .status()
        .map_err(|error| format!("cargo can't be started: {error}"))?;
    if status.success() { Ok(()) } else { Err("the servers can't be built".to_owned()) }
}
