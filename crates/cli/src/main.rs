//! The driftless command: a local-first document database in a terminal. Modules are listed low to high.

mod failure;

mod contract;

mod output;

mod input;

mod args;

mod import;

mod demo;

mod command;

fn main() -> std::process::ExitCode {
    command::main()
}
