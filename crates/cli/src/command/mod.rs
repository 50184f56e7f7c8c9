//! Runs commands: reads the command line, opens the database as each needs it, and turns the outcome into an exit code.

mod access;
mod bundle;
mod database;
mod doctor;
mod document;
mod explain;
mod history;
mod hub;
mod index;
mod mailbox;
mod member;
mod metrics;
#[cfg(feature = "iroh")]
mod nearby;
mod network;
mod policy_test;
mod prefs;
mod query;
mod repair;
mod roots;
mod rows;
mod schema;
mod serve;
mod settings;
mod share;
#[cfg(unix)]
mod socket;
mod space;
mod stop;
mod ui;
mod user;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use driftless::{Access, Collection, Database, MailboxHub, Network, OpenMode, Password, Space, SyncEngine};
use etcetera::BaseStrategy;
use tokio::runtime::Handle;

use crate::args::{Arguments, Command, Global, InCollection, OneDocument};
use crate::failure::{Exit, Failure};
use crate::output::{Output, escape, print_failure};
use crate::secret::{Question, Secrets, Which};
use crate::terminal::{Input, Looks, Terminal};

/// What every command gets: the global options, where to read, and where to print.
struct Context {
    global: Global,
    output: Output,
    input: Input,
    secrets: Box<dyn Secrets>,
    /// Of a command that `serve` runs for a client; else it opens the database itself.
    served: Option<Served>,
    /// Bytes of pages that the command keeps in memory, if it needs less than others.
    page_memory: Option<u64>,
}

/// What a command gets from the `serve` that runs it.
#[derive(Clone)]
struct Served {
    shared: Arc<Serving>,
    /// Nobody reads the output any more, or `serve` is about to end.
    gone: Arc<AtomicBool>,
}

/// What `serve` keeps open.
struct Serving {
    database: Database,
    network: Network,
    engine: SyncEngine,
    runtime: Handle,
    addresses: Vec<String>,
    /// The mailbox that others use, if it serves one.
    mailbox: Option<MailboxHub>,
}

/// Runs the process's command line.
pub(crate) fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let arguments = match Arguments::try_parse_from(&words) {
        Ok(arguments) => arguments,
        Err(error) => return not_understood(&error, &words),
    };
    if let Err(failure) = crate::spans::print(&arguments.global) {
        print_failure(&mut std::io::stderr(), Looks::own(), &failure, arguments.global.json);
        return failure.exit.into();
    }
    #[cfg(unix)]
    if runs_in_serve(&arguments.command)
        && let Ok(dir) = dir(&arguments.global)
        && let Some(code) = socket::forward(&dir, &words, &arguments.command, arguments.global.json)
    {
        return code;
    }
    execute(arguments, Terminal::own(), None).into()
}

/// Runs a command to its end, and prints why it failed if it does.
fn execute(arguments: Arguments, terminal: Terminal, served: Option<Served>) -> Exit {
    let Arguments { global, command } = arguments;
    let Terminal { stdout, stderr, input, secrets, looks } = terminal;
    let output = Output::new(&global, stdout, stderr, looks);
    let mut context = Context { global, output, input, secrets, served, page_memory: None };
    let outcome = run(&mut context, command).and_then(|()| context.output.flush());
    let Err(failure) = outcome else { return Exit::Done };
    // What was printed before the failure stays valid; if it cannot be handed over, the failure says more.
    let _ = context.output.flush();
    if !failure.is_silent() {
        context.output.failure(&failure);
    }
    failure.exit
}

/// Whether a `serve` on the same folder runs the command. The others do not work on a database that is there.
#[cfg(unix)]
fn runs_in_serve(command: &Command) -> bool {
    !matches!(
        command,
        Command::Init { .. }
            | Command::Serve { .. }
            | Command::Demo { .. }
            | Command::Completions { .. }
            | Command::Fsck { repair: true, .. }
    )
}

fn run(context: &mut Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Init { from: Some(file), original_is_gone, .. } => {
            database::restore(context, &file, original_is_gone)
        }
        Command::Init { name, password, .. } => database::init(context, name, password),
        Command::User(command) => user::user(context, command),
        Command::Key(command) => user::key(context, command),
        Command::Space(command) => space::run(context, command),
        Command::Insert { at, fields, id, parent } => {
            document::insert(context, &at, &fields, id.as_deref(), parent.as_deref())
        }
        Command::Import { at, file, key, format } => {
            document::import(context, &at, &file, key.as_deref(), format)
        }
        Command::Get { document, at } => document::get(context, &document, at.as_deref()),
        Command::Diff { document, from, to } => document::diff(context, &document, &from, to.as_deref()),
        Command::Explain { space, key: Some(key), .. } => explain::key(context, &space, &key),
        Command::Explain { space, collection, id, peer, key: None } => {
            let (collection, id) = (collection.unwrap_or_default(), id.unwrap_or_default());
            explain::run(
                context,
                &OneDocument { at: InCollection { space, collection }, id },
                peer.as_deref(),
            )
        }
        Command::Edit { document, operators } => document::edit(context, &document, &operators),
        Command::Save { document, fields } => document::save(context, &document, &fields),
        Command::Delete(document) => document::delete(context, &document),
        Command::Restore(document) => document::restore(context, &document),
        Command::Share(command) => share::run(context, command),
        Command::Query(command) => query::run(context, command),
        Command::Index(command) => index::run(context, command),
        Command::Schema(command) => schema::run(context, command),
        Command::Prefs { space, wishes } => prefs::run(context, space.as_deref(), &wishes),
        Command::Log { space, collection, id, limit } => {
            history::log(context, &space, collection.zip(id), limit)
        }
        Command::Digest { space } => history::digest(context, &space),
        Command::Member(command) => member::run(context, command),
        Command::Status { space } => database::status(context, space.as_deref()),
        Command::Doctor { fix, keep_key } => doctor::run(context, fix, keep_key),
        Command::Rebuild { space } => database::rebuild(context, space.as_deref()),
        Command::Fsck { repair: true, peer, .. } => repair::repair(context, peer.as_deref()),
        Command::Fsck { space, .. } => repair::fsck(context, space.as_deref()),
        Command::Backup { file } => repair::backup(context, &file),
        Command::Compact { space } => database::compact(context, space.as_deref()),
        Command::Bundle(command) => bundle::run(context, command),
        Command::Rows(command) => rows::run(context, command),
        Command::Serve {
            http,
            #[cfg(feature = "iroh")]
            iroh,
            #[cfg(feature = "iroh")]
            relay,
            #[cfg(feature = "iroh")]
            lan,
            address,
            metrics,
            link_local,
            ui,
            hub,
            config,
        } => {
            let flags = settings::Settings {
                http,
                #[cfg(feature = "iroh")]
                iroh: iroh.map(settings::Iroh::At),
                #[cfg(feature = "iroh")]
                relay,
                #[cfg(feature = "iroh")]
                lan: lan.then_some(true),
                address,
                metrics,
                link_local: link_local.then_some(true),
                ui: ui.ui,
                ui_token_file: ui.ui_token_file,
                ui_origin: ui.ui_origin,
                ui_host: ui.ui_host,
                ui_pages: ui.ui_pages,
                insecure_http: ui.insecure_http.then_some(true),
                mailbox: hub.mailbox,
                mailbox_http: hub.mailbox_http,
                mailbox_token_file: hub.mailbox_token_file,
                mailbox_bytes: hub.mailbox_bytes,
                mailbox_objects: hub.mailbox_objects,
                mailbox_writer_bytes: hub.mailbox_writer_bytes,
                mailbox_writer_objects: hub.mailbox_writer_objects,
            };
            let settings = flags.over(config.as_deref())?;
            serve::run(context, &settings)
        }
        Command::Ticket { space, permission, uses, expires, address, qr } => {
            let choices = network::Choices { permission, uses, expires, addresses: address, qr };
            network::ticket(context, &space, choices)
        }
        Command::Join { ticket, name } => network::join(context, &ticket, name.as_deref()),
        Command::Access(command) => access::run(context, command),
        Command::Roots(command) => roots::run(context, command),
        Command::Sync { space, peer, pull, once: _ } => {
            network::sync(context, space.as_deref(), peer.as_deref(), pull)
        }
        #[cfg(feature = "iroh")]
        Command::Peers { lan: true, timeout } => nearby::list(context, &timeout),
        Command::Peers { .. } => network::peers(context),
        Command::Mailbox(command) => mailbox::run(context, command),
        Command::Peer(command) => network::peer(context, command),
        Command::Demo { file, keep } => {
            crate::demo::run(&mut context.output, file.as_deref(), keep.as_deref())
        }
        Command::Completions { shell } => {
            // Written to memory first: the generator panics where it cannot write.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "driftless", &mut script);
            Ok(std::io::Write::write_all(context.output.raw(), &script)?)
        }
    }
}

/// Help and version are printed as asked for; everything else is wrong usage.
fn not_understood(error: &clap::Error, words: &[OsString]) -> ExitCode {
    let json = words.iter().take_while(|word| *word != "--").any(|word| word == "--json");
    match error.kind() {
        // A pipe that nobody reads is no reason to fail.
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if !json => {
            let _ = error.print();
            Exit::Usage.into()
        }
        _ => {
            print_failure(&mut std::io::stderr(), Looks::own(), &usage(error), json);
            Exit::Usage.into()
        }
    }
}

/// One sentence and one hint out of what clap prints: `error: sentence`, `  tip: ..`, `Usage: ..`.
fn usage(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let sentence = match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            "a command is missing".to_owned()
        }
        _ => {
            let lines = text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim);
            lines.collect::<Vec<_>>().join(" ").trim_start_matches("error: ").to_owned()
        }
    };
    let line = |start: &str| text.lines().map(str::trim).find_map(|line| line.strip_prefix(start));
    let hint = match (line("tip: "), line("Usage: ")) {
        (Some(tip), _) => tip.to_owned(),
        (None, Some(usage)) => format!("usage: {usage}"),
        (None, None) => "`driftless --help` lists the commands; each has `--help` too".to_owned(),
    };
    Failure::usage(sentence, hint)
}

/// The folder of the database.
fn dir(global: &Global) -> Result<PathBuf, Failure> {
    let not_empty = |dir: &PathBuf| !dir.as_os_str().is_empty();
    if let Some(dir) = &global.dir {
        let empty = || Failure::usage("`--dir` names no folder", "give it a path, or leave it out");
        return Some(dir.clone()).filter(not_empty).ok_or_else(empty);
    }
    if let Some(dir) = std::env::var_os("DRIFTLESS_DIR").map(PathBuf::from).filter(not_empty) {
        return Ok(dir);
    }
    match etcetera::choose_base_strategy() {
        Ok(folders) => Ok(folders.data_dir().join("driftless")),
        Err(error) => Err(Failure::usage(
            format!("there is no default folder: {error}"),
            "name one with `--dir` or $DRIFTLESS_DIR",
        )),
    }
}

impl Context {
    fn dir(&self) -> Result<PathBuf, Failure> {
        dir(&self.global)
    }

    /// The database for commands that only read; another process may write meanwhile.
    fn read(&mut self) -> Result<Database, Failure> {
        self.open(Access::Read)
    }

    /// The database for commands that sign: as a user who has given the password, if there is one.
    fn write(&mut self) -> Result<Database, Failure> {
        let database = self.opened(Access::Write)?;
        match &self.global.user {
            // An unknown name looks like a wrong password.
            Some(name) if !self.is_served_as(&database, name)? => {
                let name = name.clone();
                let known = database.users()?.into_iter().find(|user| user.name == name);
                match known {
                    Some(user) if !user.has_password => Ok(database.login(&name, None)?),
                    _ => self.log_in(&database, &name),
                }
            }
            _ if database.is_logged_in()? => Ok(database),
            _ => {
                let name = database.user()?;
                self.log_in(&database, &name)
            }
        }
    }

    /// The database for commands that change it without signing anything; no other process may do so meanwhile.
    fn maintain(&mut self) -> Result<Database, Failure> {
        self.open(Access::Write)
    }

    fn open(&mut self, access: Access) -> Result<Database, Failure> {
        let database = self.opened(access)?;
        match &self.global.user {
            Some(name) if !self.is_served_as(&database, name)? => Ok(database.as_user(name)?),
            _ => Ok(database),
        }
    }

    // In `serve` its user has given the password, if there is one.
    fn is_served_as(&self, database: &Database, name: &str) -> Result<bool, Failure> {
        Ok(self.served.is_some() && database.user()? == *name && database.is_logged_in()?)
    }

    // As the default user, or the one of `serve`.
    fn opened(&mut self, access: Access) -> Result<Database, Failure> {
        if let Some(served) = &self.served {
            return Ok(served.shared.database.clone());
        }
        let dir = self.dir()?;
        let start = Instant::now();
        let mut builder = Database::builder().open_mode(OpenMode::Open).access(access);
        if let Some(bytes) = self.page_memory {
            builder = builder.page_memory(bytes);
        }
        let database = builder.open(&dir)?;
        let dir = dir.display().to_string();
        let milliseconds = start.elapsed().as_millis();
        self.output.detail(format!("opened {} in {milliseconds} ms", escape(&dir)));
        Ok(database)
    }

    fn log_in(&mut self, database: &Database, name: &str) -> Result<Database, Failure> {
        let file = self.global.password_file.clone();
        let prompt = format!("password of {}", escape(name));
        let question = Question { which: Which::Present, prompt, file, twice: false };
        let password = self.secrets.ask(&question)?;
        let password = password.ok_or_else(|| driftless::Error::LoginNeeded(name.to_owned()))?;
        Ok(database.login(name, Some(&password))?)
    }

    /// A password that is set now.
    fn new_password(&mut self, name: &str, file: Option<PathBuf>) -> Result<Password, Failure> {
        let prompt = format!("new password of {}", escape(name));
        self.password(Question { which: Which::New, prompt, file, twice: true })
    }

    /// The password of a key as text; `twice` if it is set now.
    fn key_password(&mut self, file: Option<PathBuf>, twice: bool) -> Result<Password, Failure> {
        let prompt = "password of the key".to_owned();
        self.password(Question { which: Which::OfKey, prompt, file, twice })
    }

    fn password(&mut self, question: Question) -> Result<Password, Failure> {
        let password = self.secrets.ask(&question)?;
        password.ok_or_else(|| {
            let hint = "it comes from a prompt, a file or the environment: see `--help` of the command";
            Failure::new(Exit::Refused, "login_needed", "a password is needed, and none was given", hint)
        })
    }

    /// A collection for reading.
    fn read_collection(&mut self, at: &InCollection) -> Result<Collection, Failure> {
        collection(&self.read()?, at)
    }

    /// A collection for writing.
    fn write_collection(&mut self, at: &InCollection) -> Result<Collection, Failure> {
        collection(&self.write()?, at)
    }
}

fn collection(database: &Database, at: &InCollection) -> Result<Collection, Failure> {
    Ok(database.space(&at.space)?.collection(&at.collection)?)
}

/// The spaces that a command is about: the one it names, or all.
fn chosen(database: &Database, space: Option<&str>) -> Result<Vec<Space>, Failure> {
    match space {
        Some(name) => Ok(vec![database.space(name)?]),
        None => {
            let summaries = database.spaces()?;
            summaries.iter().map(|summary| Ok(database.space(&summary.id.to_string())?)).collect()
        }
    }
}
