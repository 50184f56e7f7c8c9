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
            slept: 0,
            asleep: None,
            slow: 0,
            busy: 0,
            ticket: None,
            told: BTreeSet::new(),
        }
    }
}

impl Member {
    /// The commits that it has, also those that are not durable yet. A space that never came is not there.
    pub(super) fn held(&self, spaces: &[SpaceId]) -> BTreeSet<CommitId> {
        spaces.iter().flat_map(|space| self.peer.ids(space).unwrap_or_default()).collect()
    }
}

impl Connection {
    pub(super) fn side(&self, member: usize) -> Option<usize> {
        self.ends.iter().position(|end| *end == member)
    }

    pub(super) fn said(&self) -> usize {
        self.said
    }

    // Whether something is on its way that comes only after this.
    fn stalls(&self, late: u64) -> bool {
        let last = |way: &Way| way.coming.last_key_value().is_some_and(|((at, _), _)| *at > late);
        self.ways.iter().any(last)
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
        let spaces = self.spaces;
        let changes = self.database(at)?.changes();
        let seed = self.dice.bits();
        let Some(member) = self.members.get_mut(at) else { return Ok(()) };
        member.changes = Some(changes);
        member.plan = Plan::new(seed);
        // A new start, a new count.
        (member.slept, member.asleep, member.busy) = (0, None, 0);
        let now = self.now;
        for space in spaces {
            // One that is not here yet is wanted as all are.
            let wanted = match member.peer.space(&space) {
                Ok(space) => space.wanted().map_err(fault("what is wanted"))?,
                Err(_) => Some(driftless::Wanted { on_commit: true, interval: Some(300) }),
            };
            member.plan.want(space, wanted);
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
            let ms = (START as i64).saturating_add(run).saturating_add(member.offset).max(0) as u64;
            member.peer.clock.set(ms - ms % self.tick);
        }
    }

    /// What its clock shows that never goes back, and stands still while the machine sleeps.
    pub(super) fn time(&self, at: usize) -> u64 {
        let Some(member) = self.members.get(at) else { return self.now };
        member.asleep.unwrap_or(self.now).saturating_sub(member.slept)
    }

    /// Does what its plan says is due.
    pub(super) fn drive(&mut self, at: usize) -> Result<(), Fault> {
        if !self.is_up(at) {
            return Ok(());
        }
        let (now, time) = (self.now, self.time(at));
        let Some(member) = self.members.get_mut(at).filter(|member| !member.frozen) else { return Ok(()) };
        let actions = member.plan.due(time);
        member.kept = member.plan.unsent();
        let next = member.plan.next().map(|next| next.saturating_add(member.slept));
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
                    let world = self.spaces[0];
                    let ticket = self.members.get(at).and_then(|member| member.ticket.clone());
                    for space in spaces {
                        let Some(side) = self.side(id, at) else { continue };
                        match ticket.as_ref().filter(|_| space == world) {
                            Some(ticket) => side.join(ticket).map_err(fault("joining"))?,
                            None => side.open(space),
                        }
                    }
                    self.talk(id, at)?;
                }
                Action::HangUp(other) => {
                    if let Some(id) = self.connection(at, super::member(&other)) {
                        self.end(id);
                    }
                }
                // Other dead lines are found out by themselves here; a slow one answers too late.
                Action::Check(other) => {
                    let late = now + 30 * SECOND;
                    if let Some(id) = self.connection(at, super::member(&other))
                        && self.connections.get(&id).is_some_and(|connection| connection.stalls(late))
                    {
                        self.plan_for(late, What::Dead(id));
                    }
                }
            }
        }
        Ok(())
    }

    fn connection(&self, one: usize, other: usize) -> Option<u64> {
        let between =
            |connection: &Connection| connection.ends == [one, other] || connection.ends == [other, one];
        let live = |connection: &&Connection| connection.pulls.is_none();
        let mut found = self.connections.iter().filter(|(_, connection)| live(connection));
        found.find(|(_, connection)| between(connection)).map(|(id, _)| *id)
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
        if self.connection(from, to).is_some() {
            // The other one was faster.
            return Ok(());
        }
        let Some(number) = self.connect(from, to, None)? else {
            let time = self.time(from);
            if let Some(member) = self.members.get_mut(from) {
                member.plan.failed_to_connect(&name(to), time);
            }
            return self.drive(from);
        };
        self.note(&format!("{from} calls {to}"));
        for (at, other) in [(from, to), (to, from)] {
            let time = self.time(at);
            if let Some(member) = self.members.get_mut(at) {
                // Who was called serves, and asks for nothing by itself unless it knows the caller.
                if member.others.contains(&other) || at == from {
                    member.plan.connected(name(other), time);
                }
            }
        }
        self.talk(number, from)?;
        self.talk(number, to)?;
        self.drive(from)?;
        self.drive(to)
    }

    // A connection, if both are there and nothing is cut.
    fn connect(&mut self, from: usize, to: usize, pulls: Option<SpaceId>) -> Result<Option<u64>, Fault> {
        let answered = self.is_up(to)
            && !self.is_cut(from, to)
            && !self.is_cut(to, from)
            && self.members.get(to).is_some_and(|member| !member.frozen);
        if !answered {
            return Ok(None);
        }
        let (one, other) = (self.database(from)?, self.database(to)?);
        let id = |database: &driftless::Database| database.peer().map_err(fault("a peer"));
        let sides = [
            DrivenSession::new(&one, Role::Dialer, id(&other)?).map_err(fault("a session"))?,
            DrivenSession::new(&other, Role::Listener, id(&one)?).map_err(fault("a session"))?,
        ];
        self.number += 2;
        let connection = Connection {
            ends: [from, to],
            sides,
            proven: Default::default(),
            pulls,
            cursor: None,
            ways: Default::default(),
            said: 0,
        };
        self.connections.insert(self.number, connection);
        Ok(Some(self.number))
    }

    /// A member gets what is new at those that it knows, from where it last got to, over connections of their own.
    pub(super) fn pull(&mut self, at: usize) -> Result<(), Fault> {
        let others = self.members.get(at).map(|member| member.others.clone()).unwrap_or_default();
        let inside = self.members.get(at).is_some_and(|member| member.inside);
        if !self.is_up(at) || self.members.get(at).is_some_and(|member| member.frozen) {
            return Ok(());
        }
        for other in others {
            let inner = inside && self.dice.once_in(3);
            self.pull_from(at, other, self.spaces[usize::from(inner)])?;
        }
        Ok(())
    }

    fn pull_from(&mut self, at: usize, other: usize, space: SpaceId) -> Result<(), Fault> {
        let Some(id) = self.connect(at, other, Some(space))? else { return Ok(()) };
        self.note(&format!("{at} pulls from {other}"));
        if let Some(side) = self.side(id, at) {
            side.pull(space).map_err(fault("a pull"))?;
        }
        self.plan_for(self.now + 10 * MINUTE, What::Dead(id));
        self.talk(id, at)?;
        self.talk(id, other)
    }

    fn disconnected(&mut self, at: usize, other: usize) {
        let time = self.time(at);
        if let Some(member) = self.members.get_mut(at) {
            member.plan.disconnected(&name(other), time);
            member.kept = member.plan.unsent();
        }
        self.plan_for(self.now + 1, What::Wake(at));
    }

    /// A connection is gone, and both find out.
    pub(super) fn end(&mut self, id: u64) {
        let Some(connection) = self.connections.remove(&id) else { return };
        let [one, other] = connection.ends;
        if connection.pulls.is_some() {
            return;
        }
        self.note(&format!("{one} and {other} are not connected any more"));
        self.disconnected(one, other);
        self.disconnected(other, one);
    }

    /// Whatever a side has to say is said, and its news are heard.
    pub(super) fn talk(&mut self, id: u64, at: usize) -> Result<(), Fault> {
        if self.members.get(at).is_none_or(|member| member.frozen || member.changes.is_none()) {
            return Ok(());
        }
        let was_readable = self.lets_in(id, at);
        let mut news = Vec::new();
        loop {
            let Some(side) = self.side(id, at) else { return Ok(()) };
            match side.turn() {
                Ok(Some(SessionTurn::Message(message))) => self.say(id, at, message, was_readable)?,
                Ok(Some(SessionTurn::Work)) => {}
                Ok(Some(SessionTurn::News(event))) => news.push(event),
                Ok(None) => break,
                Err(error) if is_harmless(&error) => {
                    self.end(id);
                    return self.listen(at);
                }
                Err(error) => return Err(format!("a session of {at}: {error}")),
            }
        }
        let Some(other) = self.other(id, at) else { return self.listen(at) };
        for event in news {
            self.note(&format!("{at} with {other}: {event:?}"));
            self.hear(id, at, other, event)?;
        }
        self.listen(at)
    }

    fn hear(&mut self, id: u64, at: usize, other: usize, event: Event) -> Result<(), Fault> {
        let time = self.time(at);
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        let Some(side) = connection.side(at) else { return Ok(()) };
        if let Event::Proven(keys) = event {
            if let Some(proven) = connection.proven.get_mut(side) {
                *proven = keys;
            }
            return Ok(());
        }
        if connection.pulls.is_some() {
            return if side == 0 { self.pulled(id, at, event) } else { Ok(()) };
        }
        let Some(member) = self.members.get_mut(at) else { return Ok(()) };
        let (plan, peer) = (&mut member.plan, name(other));
        match event {
            Event::Settled(space) => plan.settled(&peer, &space, time),
            Event::Unchanged(ref spaces) => spaces.iter().for_each(|space| plan.settled(&peer, space, time)),
            Event::Closed(space) => plan.closed(&peer, &space, time),
            Event::Later(space) | Event::Declined(space, ..) | Event::Stalled(space) => {
                plan.failed(&peer, &space, time);
            }
            Event::Proven(_) | Event::Pulled(..) | Event::Answered(..) | Event::Found(..) => {}
            Event::Changed(_) | Event::Located(_) => {}
        }
        match event {
            Event::Settled(space) if space == self.spaces[0] => self.redeem(id, at),
            _ => Ok(()),
        }
    }

    // Whoever came in by a ticket says so in the rules.
    fn redeem(&mut self, id: u64, at: usize) -> Result<(), Fault> {
        let Some(ticket) = self.members.get_mut(at).and_then(|member| member.ticket.take()) else {
            return Ok(());
        };
        let Some(redeemed) = self.side(id, at).map(|side| side.redeem(&ticket)) else { return Ok(()) };
        match redeemed {
            Ok(Some(commit)) => {
                self.wrote(at, commit);
                self.count("join by ticket");
            }
            Ok(None) => {}
            Err(error) if is_refusal(&error) => {
                if let Some(member) = self.members.get_mut(at) {
                    member.ticket = Some(ticket);
                }
            }
            Err(Error::AuthorForked { .. } | Error::Restored) => {}
            Err(error) => return Err(format!("a ticket used by {at}: {error}")),
        }
        Ok(())
    }

    // What became of a pull: where a cursor is of no use, both sides reconcile.
    fn pulled(&mut self, id: u64, at: usize, event: Event) -> Result<(), Fault> {
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        let Some(side) = connection.sides.first_mut() else { return Ok(()) };
        match event {
            Event::Pulled(space, PullEnd::Stale(cursor)) => {
                connection.cursor = Some(cursor);
                side.open(space);
                self.talk(id, at)
            }
            Event::Pulled(space, PullEnd::Unfit) => {
                side.open(space);
                self.count("unfit page");
                self.talk(id, at)
            }
            Event::Settled(space) => {
                if let Some(cursor) = connection.cursor {
                    side.keep_cursor(&space, &cursor).map_err(fault("a cursor"))?;
                }
                self.end(id);
                Ok(())
            }
            Event::Unchanged(_) => Ok(()),
            _ => {
                self.end(id);
                Ok(())
            }
        }
    }

    pub(super) fn other(&self, id: u64, at: usize) -> Option<usize> {
        self.connections.get(&id)?.ends.into_iter().find(|end| *end != at)
    }

    fn say(&mut self, id: u64, from: usize, message: Vec<u8>, was_readable: bool) -> Result<(), Fault> {
        let Some(to) = self.other(id, from) else { return Ok(()) };
        if message.windows(MARKER.len()).any(|window| window == MARKER)
            && !was_readable
            && !self.lets_in(id, from)
        {
            return Err(format!("{from} sent {to} what it may not read"));
        }
        let parcel = Parcel::new(message, &self.spaces);
        self.overhear(&parcel);
        let number = self.number;
        self.number += 2;
        let busy = self.members.get(from).map_or(0, |member| member.busy);
        let (now, quality) = (self.now.max(busy), self.quality);
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        let Some(side) = connection.side(to) else { return Ok(()) };
        connection.said += 1;
        *self.carried.entry((from.min(to), from.max(to))).or_default() += parcel.count as u64;
        let mut told = Vec::new();
        self.sent += parcel.count as u64;
        if let Some(back) = connection.ways.get_mut(1 - side) {
            // What came over this connection, and was taken, is not to be sent back over it.
            if !back.again {
                let echo = parcel.commits.iter().filter(|commit| back.delivered.contains(*commit));
                self.echoes += echo.count() as u64;
            }
            told = back.answered(&parcel);
        }
        // A store with a broken disk serves what it reads.
        let page = matches!(&parcel.message, Some(Message::Pulled { frames, .. }) if !frames.is_empty());
        let parcel = if page && !self.calm && self.dice.once_in(3) { self.damage(parcel) } else { parcel };
        let acknowledges = !told.is_empty();
        if let Some(member) = self.members.get_mut(from) {
            member.told.extend(told);
        }
        // The moment at which most can be lost.
        if acknowledges && !self.calm && self.dice.once_in(200) {
            self.plan_for(now + 1, What::Crash(from));
        }
        let Some(way) = self.connections.get_mut(&id).and_then(|connection| connection.ways.get_mut(side))
        else {
            return Ok(());
        };
        way.again |= parcel.asks_again();
        let (sent, arrives) = way.send(parcel, now, number, &quality, &mut self.dice);
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

    fn damage(&mut self, mut parcel: Parcel) -> Parcel {
        let Some((number, _)) = take_number(&parcel.bytes) else { return parcel };
        let Some(Message::Pulled { frames, .. }) = &mut parcel.message else { return parcel };
        let at = self.dice.below(frames.len());
        if let Some(frame) = frames.get_mut(at) {
            let place = self.dice.below(frame.len());
            if let Some(byte) = frame.get_mut(place) {
                *byte ^= 1 << self.dice.below(8);
            }
        }
        self.count("damaged page");
        let bytes = parcel.message.map(|message| numbered(number, &message)).unwrap_or_default();
        Parcel::new(bytes, &self.spaces)
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
        loop {
            if let Some(busy) = self.members.get(to).map(|member| member.busy).filter(|busy| *busy > now) {
                self.plan_for(busy, What::Arrive(id, side));
                return Ok(());
            }
            let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
            let (Some(way), Some(session)) = (connection.ways.get_mut(side), connection.sides.get_mut(side))
            else {
                return Ok(());
            };
            let due = way.coming.first_key_value().filter(|((at, _), _)| *at <= now).map(|(key, _)| *key);
            let Some(parcel) = due.and_then(|key| way.coming.remove(&key)) else { return Ok(()) };
            way.arrived(&parcel);
            let received = session.receive(&parcel.bytes);
            if let Some(Message::Pull { space, cursor: Some(cursor), .. }) = &parcel.message {
                self.has_up_to(from, to, space, cursor)?;
            }
            match received {
                Ok(()) => {
                    if !parcel.commits.is_empty() {
                        self.work_disk(to);
                    }
                    self.talk(id, to)?;
                    if matches!(parcel.message, Some(Message::Pulled { .. })) {
                        self.has_what_its_cursor_says(id, to, from)?;
                    }
                }
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
        self.work_disk(at);
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
            if let Some(connection) = self.connections.remove(&id).filter(|c| c.pulls.is_none()) {
                let other = connection.ends.into_iter().find(|end| *end != at);
                other.into_iter().for_each(|other| self.disconnected(other, at));
            }
        }
        let Some(member) = self.members.get_mut(at) else { return Ok(()) };
        member.changes = None;
        member.frozen = false;
        member.waking = None;
        let here = member.held(&self.spaces);
        member.told.retain(|commit| here.contains(commit));
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
        let here = member.held(&spaces);
        if let Some(lost) = member.told.iter().find(|commit| !here.contains(*commit)) {
            return Err(format!("{at} told a peer that {lost} is durable, and lost it in a crash"));
        }
        if let Some(lost) = member.peer.written.iter().find(|commit| !here.contains(*commit)) {
            return Err(format!("{lost} was acknowledged at {at} and is lost after a crash"));
        }
        self.note(&format!("{at} is back"));
        self.begin(at)
    }

    pub(super) fn thaw(&mut self, at: usize) -> Result<(), Fault> {
        let now = self.now;
        if let Some(member) = self.members.get_mut(at) {
            member.frozen = false;
            member.slept += member.asleep.take().map_or(0, |since| now - since);
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
