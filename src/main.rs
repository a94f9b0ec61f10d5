//! The `gateway` binary: hands the command line to the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    moengage_whatsapp_gateway::cli::run()
}
