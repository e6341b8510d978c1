//! The load generator's binary; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(corekv_bench::main())
}
