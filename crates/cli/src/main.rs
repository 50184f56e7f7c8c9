//! The driftless command: a local-first document database in a terminal. Modules are listed low to high.

mod failure;

mod contract;

mod args;

mod secret;

mod terminal;

mod output;

mod spans;

mod input;

mod import;

mod runtime;

mod demo;

mod command;

fn main() -> std::process::ExitCode {
    command::main()
}
