//! Another process of this program: what it says line by line, what it uses, how many files it may open.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::stopwatch::Failure;

/// A process that ends when it is dropped: its input ends, and so does it.
pub(crate) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

/// What a process uses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    /// Bytes of memory now, and at most so far.
    pub resident: u64,
    pub peak: u64,
    /// Threads now.
    pub threads: u64,
    /// CPU of all threads since it began.
    pub cpu: Duration,
}

impl Process {
    /// This program with these arguments.
    pub(crate) fn start(arguments: &[&str]) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = BufReader::new(child.stdout.take().ok_or("the process has no output")?).lines();
        Ok(Self { input: child.stdin.take(), child, output })
    }

    /// The next line that it says.
    pub(crate) fn hear(&mut self) -> Result<String, Failure> {
        Ok(self.output.next().ok_or("a process of the bench ended too early")??)
    }

    pub(crate) fn tell(&mut self, line: &str) -> Result<(), Failure> {
        let input = self.input.as_mut().ok_or("the process has no input")?;
        Ok(writeln!(input, "{line}")?)
    }

    /// What it uses, as Linux tells.
    pub(crate) fn used(&self) -> Result<Used, Failure> {
        let folder = format!("/proc/{}", self.child.id());
        let missing = "this bench reads what processes use from /proc, which only Linux has";
        let status = std::fs::read_to_string(format!("{folder}/status")).map_err(|_| missing)?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).ok_or(missing)
        };
        let stat = std::fs::read_to_string(format!("{folder}/stat"))?;
        // After the name in brackets, which may hold anything: fields 14 and 15 of all, in hundredths of a second.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
        let hundredths: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(Used {
            resident: number("VmRSS:")? * 1024,
            peak: number("VmHWM:")? * 1024,
            threads: number("Threads:")?,
            cpu: Duration::from_millis(hundredths * 10),
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

/// Lets this process open so many files, if the system allows it.
pub(crate) fn allow_files(wanted: u64) -> Result<(), Failure> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).map_err(|_| {
        let most = maximum.map_or("unlimited".into(), |most| most.to_string());
        format!("{wanted} open files are needed and {most} allowed: raise it with `ulimit -Hn {wanted}`")
            .into()
    })
}
