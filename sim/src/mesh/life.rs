//! What members do by themselves: call, talk, hear, keep, and come back after a crash.

use super::*;

impl Member {
    pub(super) fn new(peer: Peer, seed: u64, inside: bool) -> Self {
        Self {
            peer,
            changes: None,
            plan: Plan::new(seed),
            kept: BTreeMap::new(),
            staged: Vec::new(),
            others: Vec::new(),
            offset: 0,
            drift: 0,
            inside,
            frozen: false,
            waking: None,
            backup: None,
        }
    }
}

impl Connection {
    fn side(&self, member: usize) -> Option<usize> {
        self.ends.iter().position(|end| *end == member)
    }

    pub(super) fn said(&self) -> usize {
        self.said
    }
}

impl Mesh {
    pub(super) fn database(&self, at: usize) -> Result<driftless::Database, Fault> {
        let member = self.members.get(at).ok_or("nobody")?;
        Ok(member.peer.database()?.clone())
    }

    pub(super) fn space(&self, at: usize, space: &SpaceId) -> Result<Space, Fault> {
        self.members.get(at).ok_or("nobody")?.peer.space(space)
    }

    /// Whether its process runs.
    pub(super) fn is_up(&self, at: usize) -> bool {
        self.members.get(at).is_some_and(|member| member.changes.is_some())
    }

    /// Its process starts: it knows again whom it knew, and what was not sent.
    pub(super) fn begin(&mut self, at: usize) -> Result<(), Fault> {
        let (now, spaces) = (self.now, self.spaces);
        let changes = self.database(at)?.changes();
        let seed = self.dice.bits();
        let Some(member) = self.members.get_mut(at) else { return Ok(()) };
        member.changes = Some(changes);
        member.plan = Plan::new(seed);
        for space in spaces {
            member.plan.want(space, Some(driftless::Wanted { on_commit: true, interval: Some(300) }));
        }
        for (peer, unsent) in &member.kept {
            member.plan.restore(*peer, unsent, now);
        }
        for other in member.others.clone() {
            member.plan.peer(name(other), spaces, now);
        }
        self.turn_clocks();
        self.drive(at)
    }

    /// Every wall clock shows what its machine believes.
    pub(super) fn turn_clocks(&mut self) {
        for member in &self.members {
            let run = (self.now as i64).saturating_mul(1000 + member.drift) / 1000;
            let ms = (START as i64).saturating_add(run).saturating_add(member.offset);
            member.peer.clock.set(ms.max(0) as u64);
        }
    }

    /// Does what its plan says is due.
    pub(super) fn drive(&mut self, at: usize) -> Result<(), Fault> {
        if !self.is_up(at) {
            return Ok(());
        }
        let now = self.now;
        let Some(member) = self.members.get_mut(at).filter(|member| !member.frozen) else { return Ok(()) };
        let actions = member.plan.due(now);
        member.kept = member.plan.unsent();
        let next = member.plan.next();
        if let Some(next) =
            next.filter(|next| member.waking.is_none_or(|waking| waking > *next || waking <= now))
        {
            member.waking = Some(next);
            self.plan_for(next.max(now + 1), What::Wake(at));
        }
        for action in actions {
            match action {
                Action::Dial(other) => {
                    let delay = 1 + self.dice.below(self.quality.delay.max(1) as usize) as u64;
                    self.plan_for(now + delay, What::Dialed(at, super::member(&other)));
                }
                Action::Exchange(other, spaces) => {
                    let Some(id) = self.connection(at, super::member(&other)) else {
                        self.disconnected(at, super::member(&other));
                        continue;
                    };
                    if let Some(side) = self.side(id, at) {
                        spaces.iter().for_each(|space| side.open(*space));
                    }
                    self.talk(id, at)?;
                }
                Action::HangUp(other) => {
                    if let Some(id) = self.connection(at, super::member(&other)) {
                        self.end(id);
                    }
                }
                // A dead line is found out by itself here.
                Action::Check(_) => {}
            }
        }
        Ok(())
    }

    fn connection(&self, one: usize, other: usize) -> Option<u64> {
        let between =
            |connection: &Connection| connection.ends == [one, other] || connection.ends == [other, one];
        self.connections.iter().find(|(_, connection)| between(connection)).map(|(id, _)| *id)
    }

    fn side(&mut self, id: u64, at: usize) -> Option<&mut DrivenSession> {
        let connection = self.connections.get_mut(&id)?;
        let side = connection.side(at)?;
        connection.sides.get_mut(side)
    }

    pub(super) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut.contains(&(from, to))
    }

    /// A call ends: with a connection, or without.
    pub(super) fn dialed(&mut self, from: usize, to: usize) -> Result<(), Fault> {
        if !self.is_up(from) {
            return Ok(());
        }
        let now = self.now;
        if self.connection(from, to).is_some() {
            // The other one was faster.
            return Ok(());
        }
        let answered = self.is_up(to)
            && !self.is_cut(from, to)
            && !self.is_cut(to, from)
            && self.members.get(to).is_some_and(|member| !member.frozen);
        if !answered {
            if let Some(member) = self.members.get_mut(from) {
                member.plan.failed_to_connect(&name(to), now);
            }
            return self.drive(from);
        }
        let (one, other) = (self.database(from)?, self.database(to)?);
        let id = |database: &driftless::Database| database.peer().map_err(fault("a peer"));
        let sides = [
            DrivenSession::new(&one, Role::Dialer, id(&other)?).map_err(fault("a session"))?,
            DrivenSession::new(&other, Role::Listener, id(&one)?).map_err(fault("a session"))?,
        ];
        self.number += 2;
        let number = self.number;
        let connection = Connection { ends: [from, to], sides, ways: Default::default(), said: 0 };
        self.connections.insert(number, connection);
        self.note(&format!("{from} calls {to}"));
        for (at, other) in [(from, to), (to, from)] {
            if let Some(member) = self.members.get_mut(at) {
                // Who was called serves, and asks for nothing by itself unless it knows the caller.
                if member.others.contains(&other) || at == from {
                    member.plan.connected(name(other), now);
                }
            }
        }
        self.talk(number, from)?;
        self.talk(number, to)?;
        self.drive(from)?;
        self.drive(to)
    }

    fn disconnected(&mut self, at: usize, other: usize) {
        let now = self.now;
        if let Some(member) = self.members.get_mut(at) {
            member.plan.disconnected(&name(other), now);
            member.kept = member.plan.unsent();
        }
        self.plan_for(now + 1, What::Wake(at));
    }

    /// A connection is gone, and both find out.
    pub(super) fn end(&mut self, id: u64) {
        let Some(connection) = self.connections.remove(&id) else { return };
        let [one, other] = connection.ends;
        self.note(&format!("{one} and {other} are not connected any more"));
        self.disconnected(one, other);
        self.disconnected(other, one);
    }

    /// Whatever a side has to say is said, and its news are heard.
    pub(super) fn talk(&mut self, id: u64, at: usize) -> Result<(), Fault> {
        if self.members.get(at).is_none_or(|member| member.frozen || member.changes.is_none()) {
            return Ok(());
        }
        let Some(side) = self.side(id, at) else { return Ok(()) };
        let (messages, news) = match side.work() {
            Ok(worked) => worked,
            Err(error) if is_harmless(&error) => {
                self.end(id);
                return self.listen(at);
            }
            Err(error) => return Err(format!("a session of {at}: {error}")),
        };
        for message in messages {
            self.say(id, at, message)?;
        }
        let now = self.now;
        let Some(other) = self.other(id, at) else { return self.listen(at) };
        let trace: Vec<String> = news.iter().map(|event| format!("{at} with {other}: {event:?}")).collect();
        trace.iter().for_each(|line| self.note(line));
        if let Some(member) = self.members.get_mut(at) {
            let (plan, peer) = (&mut member.plan, name(other));
            for event in news {
                match event {
                    Event::Settled(space) => plan.settled(&peer, &space, now),
                    Event::Unchanged(spaces) => {
                        spaces.iter().for_each(|space| plan.settled(&peer, space, now))
                    }
                    Event::Closed(space) => plan.closed(&peer, &space, now),
                    Event::Later(space) | Event::Declined(space, ..) | Event::Stalled(space) => {
                        plan.failed(&peer, &space, now);
                    }
                    Event::Proven(_) | Event::Pulled(..) | Event::Answered(..) | Event::Found(..) => {}
                }
            }
        }
        self.listen(at)
    }

    pub(super) fn other(&self, id: u64, at: usize) -> Option<usize> {
        self.connections.get(&id)?.ends.into_iter().find(|end| *end != at)
    }

    fn say(&mut self, id: u64, from: usize, message: Vec<u8>) -> Result<(), Fault> {
        let (now, number) = (self.now, self.number);
        self.number += 2;
        let Some(to) = self.other(id, from) else { return Ok(()) };
        let inside = self.members.get(to).is_some_and(|member| member.inside);
        if !inside && message.windows(MARKER.len()).any(|window| window == MARKER) {
            return Err(format!("{from} sent {to} what it may not read"));
        }
        let carried = line::commits(&message, &self.spaces);
        let quality = self.quality;
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        let Some(side) = connection.side(to) else { return Ok(()) };
        connection.said += 1;
        if let Some(back) = connection.ways.get_mut(1 - side).filter(|back| !back.again) {
            // What came over this connection, and was taken, is not sent back over it.
            if let Some(echo) = carried.iter().find(|commit| back.delivered.contains(*commit)) {
                return Err(format!("{from} sent {to} commit {echo}, which it had from there"));
            }
            back.answered(&message);
        }
        let Some(way) = connection.ways.get_mut(side) else { return Ok(()) };
        if line::asks_again(&message) {
            way.again = true;
        }
        let (sent, arrives) = way.send(message, now, number, &quality, &mut self.dice);
        match sent {
            Sent::Well => {}
            Sent::Badly(what) => {
                self.count(what);
                if what == "garbling" {
                    // Transports are authenticated: nothing comes after it.
                    self.plan_for(arrives + 1, What::Dead(id));
                }
            }
            Sent::Lost => {
                // Nothing of a stream is lost but its end.
                self.count("loss");
                let later = now + self.dice.below(MINUTE as usize) as u64;
                self.plan_for(later, What::Dead(id));
            }
        }
        self.plan_for(arrives, What::Arrive(id, side));
        Ok(())
    }

    /// What is there for a side of a connection is heard.
    pub(super) fn arrive(&mut self, id: u64, side: usize) -> Result<(), Fault> {
        let now = self.now;
        let Some(connection) = self.connections.get(&id) else { return Ok(()) };
        let (Some(to), Some(from)) =
            (connection.ends.get(side).copied(), connection.ends.get(1 - side).copied())
        else {
            return Ok(());
        };
        if self.is_cut(from, to) {
            // It waits in the line; whoever waits for an answer gives up before long.
            let later = now + 10 * SECOND + self.dice.below(MINUTE as usize) as u64;
            self.plan_for(later, What::Dead(id));
            return Ok(());
        }
        if self.members.get(to).is_some_and(|member| member.frozen) {
            self.plan_for(now + SECOND, What::Arrive(id, side));
            return Ok(());
        }
        let spaces = self.spaces;
        loop {
            let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
            let (Some(way), Some(session)) = (connection.ways.get_mut(side), connection.sides.get_mut(side))
            else {
                return Ok(());
            };
            let due = way.coming.first_key_value().filter(|((at, _), _)| *at <= now).map(|(key, _)| *key);
            let Some(message) = due.and_then(|key| way.coming.remove(&key)) else { return Ok(()) };
            way.arrived(&message, &spaces);
            match session.receive(&message) {
                Ok(()) => self.talk(id, to)?,
                Err(error) if is_harmless(&error) => {
                    self.note(&format!("{to} ends it with {from}: {error}"));
                    self.end(id);
                }
                Err(error) => return Err(format!("{to} hears {from}: {error}")),
            }
            self.drive(to)?;
        }
    }

    /// What became durable is told to whoever is connected.
    pub(super) fn listen(&mut self, at: usize) -> Result<(), Fault> {
        let mut changed = BTreeSet::new();
        let Some(member) = self.members.get_mut(at) else { return Ok(()) };
        while let Some(event) = member.changes.as_ref().and_then(|changes| changes.wait_for(Duration::ZERO)) {
            match event {
                Told::Change(change) => _ = changed.insert(change.space),
                Told::Missed => changed.extend(self.spaces),
            }
        }
        for space in &changed {
            member.plan.committed(space, None);
        }
        if changed.is_empty() {
            return Ok(());
        }
        self.note(&format!("{at} hears of {changed:?}"));
        let ids: Vec<u64> =
            self.connections.iter().filter(|(_, c)| c.side(at).is_some()).map(|(id, _)| *id).collect();
        for id in ids {
            if let Some(side) = self.side(id, at) {
                changed.iter().for_each(|space| side.changed(space));
            }
            self.talk(id, at)?;
        }
        self.drive(at)
    }

    /// The owner was told that it is written; it is durable after the next flush.
    pub(super) fn wrote(&mut self, at: usize, commit: CommitId) {
        self.note(&format!("{at}: wrote {commit}"));
        if let Some(member) = self.members.get_mut(at) {
            if member.staged.is_empty() {
                let delay = self.dice.below(3000) as u64;
                let when = self.now + delay;
                self.number += 2;
                self.agenda.insert((when, self.number, What::Flush(at)));
            }
            member.staged.push(commit);
        }
    }

    pub(super) fn flush(&mut self, at: usize) -> Result<(), Fault> {
        if !self.is_up(at) {
            return Ok(());
        }
        self.database(at)?.flush().map_err(fault("a flush"))?;
        if let Some(member) = self.members.get_mut(at) {
            let staged = std::mem::take(&mut member.staged);
            self.acknowledged.extend(&staged);
            member.peer.written.extend(staged);
        }
        self.listen(at)
    }

    /// The process dies with the machine.
    pub(super) fn crash(&mut self, at: usize) -> Result<(), Fault> {
        let ids: Vec<u64> =
            self.connections.iter().filter(|(_, c)| c.side(at).is_some()).map(|(id, _)| *id).collect();
        for id in ids {
            if let Some(connection) = self.connections.remove(&id) {
                let other = connection.ends.into_iter().find(|end| *end != at);
                other.into_iter().for_each(|other| self.disconnected(other, at));
            }
        }
        let Some(member) = self.members.get_mut(at) else { return Ok(()) };
        member.changes = None;
        member.frozen = false;
        member.waking = None;
        let staged = std::mem::take(&mut member.staged);
        let lost = member.peer.crash()?;
        self.note(&format!("{at} crashes, and loses {} commits", staged.len()));
        self.count("crash");
        if lost {
            self.count("lost writes");
        }
        Ok(())
    }

    /// And comes back: what was acknowledged is there, and what was not is there or not.
    pub(super) fn revive(&mut self, at: usize) -> Result<(), Fault> {
        if self.is_up(at) {
            return Ok(());
        }
        self.turn_clocks();
        let spaces = self.spaces;
        let Some(member) = self.members.get_mut(at) else { return Ok(()) };
        member.peer.revive()?;
        let mut here = BTreeSet::new();
        for space in spaces {
            // One that never came is not there.
            here.extend(member.peer.ids(&space).unwrap_or_default());
        }
        if let Some(lost) = member.peer.written.iter().find(|commit| !here.contains(*commit)) {
            return Err(format!("{lost} was acknowledged at {at} and is lost after a crash"));
        }
        self.note(&format!("{at} is back"));
        self.begin(at)
    }

    pub(super) fn thaw(&mut self, at: usize) -> Result<(), Fault> {
        if let Some(member) = self.members.get_mut(at) {
            member.frozen = false;
        }
        let ids: Vec<u64> =
            self.connections.iter().filter(|(_, c)| c.side(at).is_some()).map(|(id, _)| *id).collect();
        for id in ids {
            self.talk(id, at)?;
        }
        self.drive(at)
    }

    /// A copy that met its original takes a new key, or believes that it is the only one left.
    pub(super) fn doctor(&mut self, at: usize) -> Result<(), Fault> {
        let database = self.database(at)?;
        let status = database.status().map_err(fault("the status"))?;
        if status.copied.is_none() {
            return Ok(());
        }
        let keeps = self.dice.once_in(3);
        self.note(&format!("{at} {} its key", if keeps { "keeps" } else { "renews" }));
        if keeps {
            return database.keep_author().map_err(fault("keeping a key"));
        }
        database.renew_author().map_err(fault("a new key"))?;
        self.flush(at)?;
        // It proves its new key on the next connection.
        let ids: Vec<u64> =
            self.connections.iter().filter(|(_, c)| c.side(at).is_some()).map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.end(id));
        Ok(())
    }
}

/// Errors with which a connection may end when the line is bad: it is dialed again.
fn is_harmless(error: &Error) -> bool {
    matches!(error, Error::Peer(_) | Error::Unreachable(_) | Error::NotOpen(_))
}
