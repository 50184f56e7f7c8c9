//! Prints what a process does, step by step, on its standard error: the spans and events of the library, one line each
//! as it ends. What the steps are is in ARCHITECTURE.md; no command knows of this.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::args::Global;
use crate::failure::Failure;

/// From now on, what `--log` and `$DRIFTLESS_LOG` name, or `-v` and `-vv` stand for; nothing where none is said.
pub(crate) fn print(global: &Global) -> Result<(), Failure> {
    let filter = match (&global.log, global.verbose) {
        (Some(filter), _) if !filter.is_empty() => filter.as_str(),
        (_, 0) => return Ok(()),
        (_, 1) => "driftless=debug,driftless_net=debug",
        _ => "driftless=trace,driftless_net=trace",
    };
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        let hint = "write `debug`, `driftless=trace`, or several of these with a comma between";
        Failure::invalid("invalid_log_filter", error, hint)
    })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(io::stderr)
        .with_ansi(false);
    // A second one is not made: this process has one command line.
    let _ = match global.json {
        true => lines.json().flatten_event(true).with_current_span(true).with_span_list(true).try_init(),
        false => lines.try_init(),
    };
    Ok(())
}
