//! The same summaries said to a database in a file, by a session that follows the protocol otherwise.

use std::path::Path;
use std::time::Duration;

use driftless::{Database, DrivenSession, Durability, Error, Map, PeerId, SessionTurn};
use driftless_core::reconcile::{Detail, Heard, Summary};
use driftless_core::rules::{Permission, Subject};
use driftless_core::session::{Ask, Opened, Output, ReadFrame, Role, Session};

use crate::hostile::{Attack, summaries};
use crate::measure::Meter;

// How often the file is written while the database is made.
const SELDOM: Duration = Duration::from_secs(1);

/// What each summary costs a database of so many commits in this folder, which is made if it is not there.
pub fn attacks_on_database(folder: &Path, commits: usize) -> Result<Vec<Attack>, Error> {
    let database = Database::builder().durability(Durability::Batched(SELDOM)).open(folder)?;
    let space = match database.spaces()?.first() {
        Some(summary) => database.space(&summary.id.to_string())?,
        None => database.create_space("hostile")?,
    };
    if space.members()?.iter().all(|member| member.subject != Subject::Anyone) {
        space.grant(Subject::Anyone, Permission::Read)?;
    }
    let notes = space.collection("notes")?;
    let here = usize::try_from(space.digest()?.commits).unwrap_or(usize::MAX);
    for number in here..commits {
        notes.insert(Map::from_json(&format!(r#"{{"n": {number}}}"#))?)?;
    }
    database.flush()?;
    let mut found = Vec::new();
    for (name, details) in summaries() {
        let meter = attack(&database, &space.id(), &details)?;
        found.push(Attack { name: format!("database: {name}"), meter });
    }
    Ok(found)
}

fn attack(database: &Database, space: &driftless::SpaceId, details: &[Detail]) -> Result<Meter, Error> {
    let (us, them) = (PeerId([9; 32]), database.peer()?);
    let mut hostile = Session::new(Role::Dialer, us, them, [3; 16], Vec::new());
    let mut victim = DrivenSession::new(database, Role::Listener, us)?;
    let mut details = details.iter().cloned().map(|detail| Summary { digest: [9; 8], detail });
    hostile.open(*space, None);
    let mut worst = Meter::new();
    loop {
        let mut quiet = true;
        while let Some(output) = hostile.poll() {
            quiet = false;
            match output {
                Output::Send(message) => {
                    let mut meter = Meter::new();
                    meter.call(|| victim.receive(&message))?;
                    loop {
                        // Frames for the other side are its, as soon as they are made.
                        meter.restart();
                        let turn = meter.call(|| victim.turn())?;
                        match turn {
                            Some(SessionTurn::Message(message)) => hostile.handle_frame(&message)?,
                            Some(_) => {}
                            None => break,
                        }
                    }
                    worst.join(&meter);
                }
                Output::Ask(Ask::Open { slot, .. }) => {
                    let summary = details.next().unwrap_or_default();
                    hostile.handle_opened(slot, Some(Opened { summary, readable: true, ready: false }));
                }
                Output::Ask(Ask::Hear { slot, .. }) => {
                    let answer = details.next();
                    hostile.handle_heard(slot, Heard { ready: answer.is_none(), answer });
                }
                Output::Ask(Ask::Read { slot }) => hostile.handle_read(slot, Some(ReadFrame::default())),
                // It acknowledges nothing.
                Output::Ask(_) | Output::Event(_) => {}
            }
        }
        if quiet {
            return Ok(worst);
        }
    }
}
