//! The load generator's binary; everything is in [`corekv::bench`].

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(corekv::bench::main())
}
