//! The `gateway` binary: hands the command line to the library.

use mimalloc::MiMalloc;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    moengage_whatsapp_gateway::cli::run()
}
