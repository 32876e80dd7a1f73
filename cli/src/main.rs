//! The binary `holdfast`: hands the process's arguments to the library and its exit code to the system.

use std::process::ExitCode;

use sys as _; // Its global allocator is the program's.

fn main() -> ExitCode {
    cli::main(std::env::args_os())
}
