//! `bundle export` and `bundle import`: a space as a file, from one database to another by hand.

use std::fs::OpenOptions;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use driftless::{Exported, Space};
use tempfile::NamedTempFile;

use super::Context;
use crate::args::BundleCommand;
use crate::contract;
use crate::failure::Failure;
use crate::output::{Output, counted, size_text};

pub(super) fn run(context: &mut Context, command: BundleCommand) -> Result<(), Failure> {
    match command {
        BundleCommand::Export { space, file } => export(context, &space, &file),
        BundleCommand::Import { file } => import(context, &file),
    }
}

fn export(context: &mut Context, space: &str, file: &Path) -> Result<(), Failure> {
    let space = context.read()?.space(space)?;
    let to_stdout = file == Path::new("-");
    let exported = if to_stdout {
        let mut sink = Sink { inner: context.output.raw(), failed: None };
        let exported = space.export(&mut sink, &mut |_| ());
        // Why standard output could not be written matters more than that the export could not.
        if let Some(error) = sink.failed {
            return Err(error.into());
        }
        let exported = exported?;
        context.output.flush()?;
        exported
    } else {
        export_to_file(&space, &context.input.path(file))?
    };
    let line = contract::Exported { space: space.id(), commits: exported.commits, bytes: exported.bytes };
    let output = &mut context.output;
    let sentence = format!("{}, {}", counted(line.commits, "commit"), size_text(line.bytes));
    match (to_stdout, output.json) {
        (true, _) => {
            output.note(sentence);
            Ok(())
        }
        (false, true) => output.record(&line),
        (false, false) => output.text(sentence),
    }
}

/// A file appears whole or not at all; what is no plain file (a pipe, a device) is written as it is.
fn export_to_file(space: &Space, file: &Path) -> Result<Exported, Failure> {
    // A link stays a link; what it leads to is replaced.
    let file = &file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let failure = |error: io::Error| Failure::file(file, &error);
    if file.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        let opened = OpenOptions::new().write(true).open(file).map_err(failure)?;
        return write_out(space, opened, file);
    }
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".driftless-bundle-");
    // A bundle is made to be given away, so it gets the permissions of any new file, not of a secret one.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let temporary: NamedTempFile = builder.tempfile_in(folder).map_err(failure)?;
    let exported = write_out(space, temporary.as_file(), file)?;
    temporary.as_file().sync_all().map_err(failure)?;
    temporary.persist(file).map_err(|error| failure(error.error))?;
    Ok(exported)
}

fn write_out(space: &Space, target: impl Write, file: &Path) -> Result<Exported, Failure> {
    let mut sink = Sink { inner: BufWriter::new(target), failed: None };
    let exported = space.export(&mut sink, &mut |_| ());
    let flushed = sink.flush();
    match (sink.failed, exported, flushed) {
        (Some(error), _, _) | (None, Ok(_), Err(error)) => Err(Failure::file(file, &error)),
        (None, exported, _) => Ok(exported?),
    }
}

/// Keeps the error of a write, which the library only passes on as text.
struct Sink<W> {
    inner: W,
    failed: Option<io::Error>,
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes);
        self.keep(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.inner.flush();
        self.keep(flushed)
    }
}

impl<W> Sink<W> {
    fn keep<T>(&mut self, outcome: io::Result<T>) -> io::Result<T> {
        outcome.map_err(|error| {
            let kind = error.kind();
            // Interrupted writes are tried again by whoever called.
            if kind != io::ErrorKind::Interrupted {
                self.failed = Some(error);
            }
            kind.into()
        })
    }
}

fn import(context: &mut Context, file: &Path) -> Result<(), Failure> {
    let database = context.maintain()?;
    let mut source: Box<dyn Read> = if file == Path::new("-") {
        context.input.stdin()
    } else {
        Box::new(BufReader::new(context.input.open(file)?))
    };
    let imported = database.import(&mut source, &mut |_| ())?;
    let line = contract::Imported::from(imported);
    let output = &mut context.output;
    if output.json {
        output.record(&line)?
    } else {
        print(output, &line)?
    }
    if line.damaged == 0 {
        return Ok(());
    }
    let message = format!("{}: {} in the bundle", file.display(), counted(line.damaged, "damaged place"));
    let hint = "what is intact was taken; import an intact copy too, or `sync` with a peer";
    Err(Failure::invalid("damaged_bundle", message, hint))
}

// Damaged places printed for people; `--json` names more.
const SHOWN: usize = 10;

fn print(output: &mut Output, line: &contract::Imported) -> Result<(), Failure> {
    output.text(format!(
        "{}, {} of them new",
        counted(line.commits, "commit"),
        line.commits.saturating_sub(line.known)
    ))?;
    let states = [
        (line.applied, "applied"),
        (line.held, "held"),
        (line.void, "void"),
        (line.wanted, "wanted"),
        (line.refused, "refused"),
        (line.declined, "declined"),
    ];
    let states: Vec<String> = states
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, state)| format!("{count} {state}"))
        .collect();
    if !states.is_empty() {
        output.text(states.join(", "))?;
    }
    for damage in line.damage.iter().take(SHOWN) {
        let contract::Damage { frame, offset, bytes, reason, .. } = damage;
        output.text(format!("frame {frame}, byte {offset}, {}: {reason}", size_text(*bytes)))?;
    }
    if line.held + line.void + line.wanted + line.refused + line.declined > 0 {
        output.note("`driftless status` says why");
    }
    Ok(())
}
