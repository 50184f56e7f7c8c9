//! A PostgreSQL server of its own for a test: made, started and stopped with the programs of the machine. A machine that
//! has none says so, and the test passes.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The password of everybody on it.
pub(crate) const PASSWORD: &str = "of the tests";

/// A running server; it is stopped when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    folder: tempfile::TempDir,
    programs: PathBuf,
    port: u16,
}

impl Server {
    /// Starts one with these settings; `None`, and a line on standard error, where the machine has no PostgreSQL.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Option<Self> {
        let Some(programs) = programs() else {
            eprintln!("not tried: there is no PostgreSQL on this machine (`apt-get install postgresql`)");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder can be made");
        let port = free_port();
        let server = Self { folder, programs, port };
        server.make();
        let quoted = settings.iter().map(|(name, value)| format!("{name} = '{value}'\n"));
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\nfsync = off\n{}",
            server.folder().display(),
            quoted.collect::<String>()
        );
        let file = server.folder().join("data/postgresql.auto.conf");
        fs::write(&file, settings).expect("settings can be written");
        server.own(&file);
        let (data, log) = (server.data(), server.folder().join("log").display().to_string());
        if !server.run("pg_ctl", &["-D", &data, "-l", &log, "-w", "start"]) {
            panic!("{}", fs::read_to_string(&log).unwrap_or_default());
        }
        Some(server)
    }

    /// Where its socket is, and whatever the test puts there.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A URL of the database that is always there, over TCP.
    pub(crate) fn url(&self, user: &str, query: &str) -> String {
        format!("postgres://{user}@localhost:{}/postgres?{query}", self.port)
    }

    /// The same over the socket.
    pub(crate) fn socket_url(&self, user: &str) -> String {
        let folder = self.folder().display().to_string().replace('/', "%2F");
        format!("postgres://{user}@{folder}:{}/postgres", self.port)
    }

    /// Runs SQL as whoever runs the server.
    pub(crate) fn sql(&self, sql: &str) {
        let port = self.port.to_string();
        let words =
            ["-h", "127.0.0.1", "-p", &port, "-U", "ann", "-v", "ON_ERROR_STOP=1", "-qc", sql, "postgres"];
        assert!(self.run("psql", &words), "{sql}");
    }

    fn data(&self) -> String {
        self.folder().join("data").display().to_string()
    }

    fn make(&self) {
        let word = self.folder().join("word");
        fs::write(&word, PASSWORD).expect("a file can be written");
        self.own(self.folder());
        self.own(&word);
        let (data, word) = (self.data(), format!("--pwfile={}", word.display()));
        let words = ["-D", &data, "-U", "ann", "-A", "scram-sha-256", &word, "--no-sync", "--encoding=UTF8"];
        // Where names are not in the order of their bytes, if it can be had.
        let other_order = ["--locale=C", "--locale-provider=icu", "--icu-locale=en"];
        if !self.run("initdb", &[&words[..], &other_order].concat()) {
            let _ = fs::remove_dir_all(&data);
            assert!(self.run("initdb", &[&words[..], &["--locale=C"]].concat()), "initdb fails");
        }
    }

    fn run(&self, program: &str, words: &[&str]) -> bool {
        let mut command = Command::new(self.programs.join(program));
        command.args(words).current_dir("/").env("PGPASSWORD", PASSWORD).env("LC_ALL", "C");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some((user, group)) = instead_of_root() {
            command.uid(user).gid(group);
        }
        command.status().expect("a program of PostgreSQL runs").success()
    }

    /// Gives a file to whoever runs the server, and to nobody else.
    pub(crate) fn own(&self, path: &Path) {
        if let Some((user, group)) = instead_of_root() {
            chown(path, Some(user), Some(group)).expect("root can give files away");
        }
        let mode = if path.is_dir() { 0o700 } else { 0o600 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("rights can be set");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.run("pg_ctl", &["-D", &self.data(), "-m", "immediate", "-w", "stop"]);
    }
}

// Nobody listens there once this returns.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("a listener has an address").port()
}

// The newest that is installed where Debian and others put it, or that is on the path.
fn programs() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = ["/usr/lib/postgresql", "/usr/pgsql"]
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flat_map(|folder| folder.flatten().map(|version| version.path().join("bin")))
        .collect();
    found.sort();
    found.reverse();
    let path = std::env::var_os("PATH").unwrap_or_default();
    found.extend(std::env::split_paths(&path));
    let has_all =
        |folder: &PathBuf| ["initdb", "pg_ctl", "psql"].iter().all(|name| folder.join(name).is_file());
    found.into_iter().find(has_all)
}

// PostgreSQL refuses to run as root: then it runs as the user that the package made, or as nobody.
fn instead_of_root() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").ok()?.uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let ids = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).filter_map(|field| field.parse().ok());
        numbers.next().zip(numbers.next())
    };
    ids("postgres").or_else(|| ids("nobody"))
}
