//! What happens to members without their doing: owners who write, admins who throw out, lines that break, machines
//! that die, clocks that jump, devices that are copied or set back, and somebody hostile.

use super::*;

impl Mesh {
    /// One thing on the agenda.
    pub(super) fn happen(&mut self, what: What) -> Result<(), Fault> {
        self.turn_clocks();
        match what {
            What::Weather => self.weather(),
            What::Wake(at) => self.drive(at),
            What::Dialed(from, to) => self.dialed(from, to),
            What::Arrive(id, side) => self.arrive(id, side),
            What::Dead(id) => {
                self.end(id);
                Ok(())
            }
            What::Revive(at) => self.revive(at),
            What::Heal(from, to) => {
                self.cut.remove(&(from, to));
                self.note(&format!("{from} reaches {to} again"));
                Ok(())
            }
            What::Thaw(at) => self.thaw(at),
            What::Crash(at) => self.crash_some(at),
            What::Cut(from, to, until) => {
                self.cut(from, to, until);
                Ok(())
            }
            What::Flush(at) => self.flush(at),
        }
    }

    fn weather(&mut self) -> Result<(), Fault> {
        let pause = match self.dice.below(20) {
            0 => 10 * MINUTE,
            1..4 => MINUTE,
            4..10 => 10 * SECOND,
            _ => SECOND / 2,
        };
        let pause = 1 + self.dice.below(pause as usize) as u64;
        self.plan_for(self.now + pause, What::Weather);
        let at = self.dice.below(self.members.len());
        match self.dice.below(124) {
            0..40 if self.is_up(at) => self.write(at),
            // Several at the same moment, about the same.
            40..56 => (0..self.members.len())
                .try_for_each(|at| if self.is_up(at) { self.write(at) } else { Ok(()) }),
            56..61 => self.cut_off(),
            61..63 => self.swizzle(),
            63..67 => self.crash_some(at),
            67..72 => self.turn_clock(at),
            72..79 => self.govern(at),
            79..83 => self.forge(),
            83..86 => self.freeze(at, false),
            86..88 => self.freeze(at, true),
            88..91 => self.keep_backup(at),
            91..93 => self.set_back(at),
            93 => self.copy(at),
            94..97 => self.break_one(),
            97..100 => self.impostor(at),
            100..102 => self.newcomer(),
            102..105 if self.is_up(at) => self.prefer(at),
            105..107 => self.slow_disk(at),
            107..114 => self.pull(at),
            114..117 => self.look(at),
            _ if self.is_up(at) => self.doctor(at),
            _ => Ok(()),
        }
    }

    pub(super) fn write(&mut self, at: usize) -> Result<(), Fault> {
        let inside = self.members.get(at).is_some_and(|member| member.inside) && self.dice.once_in(3);
        let [world, inner] = self.spaces;
        let Ok(space) = self.space(at, if inside { &inner } else { &world }) else { return Ok(()) };
        let count = if self.dice.once_in(10) { 10 } else { 1 };
        for _ in 0..count {
            match self.edit(&space, inside) {
                Ok(Some(commit)) => self.wrote(at, commit),
                Ok(None) => {}
                Err(Error::AuthorForked { .. }) => self.doctor(at)?,
                Err(error) if is_refusal(&error) || matches!(error, Error::Restored) => {}
                Err(error) => return Err(format!("a write at {at}: {error}")),
            }
        }
        Ok(())
    }

    fn edit(&mut self, space: &Space, inside: bool) -> Result<Option<CommitId>, Error> {
        let collection = space.collection(self.dice.pick(&COLLECTIONS).copied().unwrap_or("notes"))?;
        let id = DocumentId::from(self.dice.below(DOCUMENTS) as i64);
        let n = self.dice.below(1000);
        let mark = if inside { std::str::from_utf8(MARKER).unwrap_or_default() } else { "" };
        let operators = |text: String| operators_from_json(&text).map_err(Error::from);
        let written = match self.dice.below(8) {
            0 => collection.save(&id, Map::from_json(&format!(r#"{{"a": {n}, "mark": "{mark}"}}"#))?)?,
            1 => collection.delete(&id)?,
            2 => collection.restore(&id)?,
            3 | 4 => {
                collection.edit(&id, operators(format!(r#"{{"$set": {{"a": {n}, "mark": "{mark}"}}}}"#))?)?
            }
            5 => collection.edit(&id, operators(format!(r#"{{"$inc": {{"n": {n}}}}}"#))?)?,
            6 => collection.edit(&id, operators(format!(r#"{{"$push": {{"log": {n}}}}}"#))?)?,
            _ => collection.edit(&id, operators(format!(r#"{{"$addToSet": {{"set": {}}}}}"#, n % 5))?)?,
        };
        Ok(written.commit)
    }

    // Nothing gets through between two, in both directions or in one.
    fn cut_off(&mut self) -> Result<(), Fault> {
        let (from, to) = (self.dice.below(self.members.len()), self.dice.below(self.members.len()));
        if from == to {
            return Ok(());
        }
        let both = self.dice.once_in(2);
        let until = self.now + SECOND + self.dice.below(20 * MINUTE as usize) as u64;
        self.cut(from, to, until);
        if both {
            self.cut(to, from, until);
        }
        let name = if both { "partition" } else { "one-sided partition" };
        // It does something only to those who talk, or want to.
        let talk = self.members.get(from).is_some_and(|member| member.others.contains(&to))
            || self.members.get(to).is_some_and(|member| member.others.contains(&from));
        if talk {
            self.count(name);
        }
        Ok(())
    }

    fn cut(&mut self, from: usize, to: usize, until: u64) {
        self.note(&format!("{from} does not reach {to}"));
        self.cut.insert((from, to));
        self.plan_for(until, What::Heal(from, to));
    }

    // Lines are cut one after the other, and heal in another order.
    fn swizzle(&mut self) -> Result<(), Fault> {
        let count = self.members.len();
        let mut lines: Vec<(usize, usize)> =
            (0..count).flat_map(|from| (0..from).map(move |to| (from, to))).collect();
        self.dice.shuffle(&mut lines);
        lines.truncate(2 + self.dice.below(4));
        let mut heals: Vec<u64> = lines.iter().map(|_| self.dice.below(5 * MINUTE as usize) as u64).collect();
        heals.sort_unstable();
        self.dice.shuffle(&mut heals);
        let mut at = self.now;
        let last = at + 10 * SECOND * lines.len() as u64;
        for ((from, to), heal) in lines.into_iter().zip(heals) {
            at += 1 + self.dice.below(10 * SECOND as usize) as u64;
            self.plan_for(at, What::Cut(from, to, last + heal));
            self.plan_for(at, What::Cut(to, from, last + heal));
        }
        self.count("swizzle");
        Ok(())
    }

    // Everything that is to be durable takes seconds from now on; or not any more.
    fn slow_disk(&mut self, at: usize) -> Result<(), Fault> {
        let slow = if self.dice.once_in(3) { 0 } else { 5 * SECOND };
        if let Some(member) = self.members.get_mut(at) {
            member.slow = slow;
        }
        Ok(())
    }

    /// The disk of a member has to make something durable: whoever wants something of it waits.
    pub(super) fn work_disk(&mut self, at: usize) {
        let slow = self.members.get(at).map_or(0, |member| member.slow);
        if slow == 0 {
            return;
        }
        let until = self.now + self.dice.below(slow as usize) as u64;
        if let Some(member) = self.members.get_mut(at) {
            member.busy = member.busy.max(until);
        }
        self.count("slow disk");
    }

    // What an owner wants of a space: often, now and then, or not at all.
    fn prefer(&mut self, at: usize) -> Result<(), Fault> {
        let space = self.spaces[self.dice.below(2)];
        let interval = self.dice.pick(&[None, Some(30), Some(300), Some(3600)]).copied().flatten();
        let enabled = !self.dice.once_in(3);
        let preferences =
            Preferences { enabled, on_commit: self.dice.once_in(2), interval, ..Preferences::default() };
        if self.want(at, &space, &preferences)? {
            self.count(if enabled { "other interval" } else { "sync off" });
        }
        self.drive(at)
    }

    /// An owner says what he wants of a space; `false` if it is not there.
    pub(super) fn want(
        &mut self,
        at: usize,
        space: &SpaceId,
        preferences: &Preferences,
    ) -> Result<bool, Fault> {
        let Ok(handle) = self.space(at, space) else { return Ok(false) };
        handle.set_preferences(preferences).map_err(fault("preferences"))?;
        let wanted = handle.wanted().map_err(fault("preferences"))?;
        self.note(&format!("{at} wants {wanted:?}"));
        if let Some(member) = self.members.get_mut(at) {
            member.plan.want(*space, wanted);
        }
        Ok(true)
    }

    // Somebody new comes with a ticket, which may be gone before he uses it.
    fn newcomer(&mut self) -> Result<(), Fault> {
        let new = self.members.len();
        if new >= MOST || !self.is_up(0) {
            return Ok(());
        }
        let space = self.space(0, &self.spaces[0])?;
        let uses = self.dice.once_in(2).then(|| 1 + self.dice.below(2) as u32);
        let expires = self.dice.once_in(3).then(|| Duration::from_millis(HOUR));
        let ticket =
            match space.invite(Invite { permission: writer(new), uses, expires, addresses: Vec::new() }) {
                Ok(ticket) => ticket,
                Err(Error::AuthorForked { .. }) => return self.doctor(0),
                Err(error) if is_refusal(&error) || matches!(error, Error::Restored) => return Ok(()),
                Err(error) => return Err(format!("a ticket: {error}")),
            };
        self.plan_for(self.now + SECOND, What::Flush(0));
        let disk = Disk::new().map_err(fault("a disk"))?;
        let peer = Peer::new(self.dice.bits(), Home::Disk(disk), START)?;
        let mut member = Member::new(peer, self.dice.bits(), false);
        member.ticket = Some(ticket);
        self.members.push(member);
        self.acquaint(new, 0);
        let other = self.dice.below(new);
        self.acquaint(new, other);
        self.note(&format!("{new} comes with a ticket"));
        self.begin(new)
    }

    fn crash_some(&mut self, at: usize) -> Result<(), Fault> {
        if !self.is_up(at) {
            return Ok(());
        }
        self.crash(at)?;
        let longest = if self.dice.once_in(10) { 2 * HOUR } else { 30 * SECOND };
        let back = self.now + 1 + self.dice.below(longest as usize) as u64;
        self.plan_for(back, What::Revive(at));
        Ok(())
    }

    fn turn_clock(&mut self, at: usize) -> Result<(), Fault> {
        let step = self.dice.below(2 * DAY as usize) as i64;
        let (what, offset, drift) = match self.dice.below(6) {
            0 => ("clock step", -step, 0),
            1 => ("clock step", step, 0),
            2 => ("clock step", self.dice.below(20 * MINUTE as usize) as i64, 0),
            3 => ("clock drift", 0, 100),
            4 => ("clock drift", 0, -100),
            _ => ("clock step", 0, 0),
        };
        let Some(member) = self.members.get_mut(at) else { return Ok(()) };
        (member.offset, member.drift) = (offset, drift);
        self.note(&format!("{at}: {what} {offset} {drift}"));
        self.count(what);
        self.turn_clocks();
        Ok(())
    }

    // Somebody is let in, made more or less, or thrown out.
    fn govern(&mut self, by: usize) -> Result<(), Fault> {
        let by = if self.dice.once_in(2) { 0 } else { by };
        if !self.is_up(by) {
            return Ok(());
        }
        let is_inside = |at: usize| self.members.get(at).is_some_and(|member| member.inside);
        let inner = is_inside(by) && self.dice.once_in(3);
        let about = self.dice.below(self.members.len() + 1);
        if inner && !self.members.get(about).is_some_and(|member| member.inside) {
            return Ok(());
        }
        let author = match self.members.get(about) {
            Some(_) if !self.is_up(about) => return Ok(()),
            Some(_) => self.database(about)?.author().map_err(fault("an author"))?,
            None => self.hostile.author(),
        };
        let Ok(space) = self.space(by, &self.spaces[usize::from(inner)]) else { return Ok(()) };
        let revoked = self.dice.once_in(3);
        let done = if revoked {
            space.revoke(Subject::Key(author))
        } else {
            let strength = Strength(1 + self.dice.below(10) as u32);
            let permission = match self.dice.below(4) {
                0 => Permission::Admin(strength),
                1 => Permission::Read,
                _ => Permission::Write(strength),
            };
            space.grant(Subject::Key(author), permission)
        };
        match done {
            Ok(commit) => {
                self.wrote(by, commit);
                self.count(if revoked { "revocation" } else { "grant" });
                Ok(())
            }
            Err(Error::AuthorForked { .. }) => self.doctor(by),
            Err(error) if is_refusal(&error) || matches!(error, Error::Restored) => Ok(()),
            Err(error) => Err(format!("a grant by {by}: {error}")),
        }
    }

    // Somebody whose program is not ours writes something, and brings it to one of us.
    fn forge(&mut self) -> Result<(), Fault> {
        let at = self.dice.below(self.members.len());
        let world = self.spaces[0];
        if !self.is_up(at) || self.space(at, &world).is_err() {
            return Ok(());
        }
        let Some(peer) = self.members.get(at).map(|member| &member.peer) else { return Ok(()) };
        let (known, now) = (peer.known(&world)?, peer.clock.now());
        let mut others = Vec::new();
        for at in (0..self.members.len()).filter(|at| self.is_up(*at)) {
            others.push(self.database(at)?.author().map_err(fault("an author"))?);
        }
        let (what, commits) = self.hostile.commits(&mut self.dice, &known, &others, now);
        self.note(&format!("{at} gets {what} from somebody hostile"));
        if let Some(peer) = self.members.get(at).map(|member| &member.peer) {
            peer.import(&pieces::join(commits.iter(), 1))?;
        }
        self.count("hostile peer");
        self.plan_for(self.now + SECOND / 2, What::Flush(at));
        self.listen(at)
    }

    // A process is stopped for a while, as by a debugger; or its machine sleeps, and its clock that never goes back with it.
    fn freeze(&mut self, at: usize, sleeps: bool) -> Result<(), Fault> {
        if !self.is_up(at) || self.members.get(at).is_some_and(|member| member.frozen) {
            return Ok(());
        }
        let longest = if sleeps { 3 * HOUR } else { 2 * MINUTE };
        let (now, until) = (self.now, self.now + self.dice.below(longest as usize) as u64);
        if let Some(member) = self.members.get_mut(at) {
            member.frozen = true;
            member.asleep = sleeps.then_some(now);
        }
        self.note(&format!("{at} {}", if sleeps { "sleeps" } else { "is stopped" }));
        self.count(if sleeps { "sleeping machine" } else { "stopped process" });
        self.plan_for(until, What::Thaw(at));
        Ok(())
    }

    fn keep_backup(&mut self, at: usize) -> Result<(), Fault> {
        if self.is_up(at)
            && let Some(member) = self.members.get_mut(at)
        {
            member.backup = member.peer.image()?;
        }
        Ok(())
    }

    // A device goes back to its backup. What nobody else has is gone with it.
    fn set_back(&mut self, at: usize) -> Result<(), Fault> {
        let all_up = (0..self.members.len()).all(|at| self.is_up(at));
        let Some(member) = self.members.get_mut(at).filter(|member| all_up && member.backup.is_some()) else {
            return Ok(());
        };
        let Some((disk, written)) = member.backup.take() else { return Ok(()) };
        self.crash(at)?;
        let others = self.members.iter().enumerate().filter(|(other, _)| *other != at);
        let elsewhere: BTreeSet<CommitId> = others.flat_map(|(_, other)| other.held(&self.spaces)).collect();
        let clock = self.members.get(at).map(|member| member.peer.clock.now()).unwrap_or(START);
        let peer = Peer::on(self.dice.bits(), disk, written, clock)?;
        let Some(member) = self.members.get_mut(at) else { return Ok(()) };
        member.peer = peer;
        let here = member.held(&self.spaces);
        member.told.retain(|commit| here.contains(commit));
        // Nobody else had what others had written and lost, either.
        let gone = |commit: &&CommitId| !here.contains(*commit) && !elsewhere.contains(*commit);
        self.forgiven.extend(self.acknowledged.iter().filter(gone));
        self.note(&format!("{at} goes back to its backup"));
        self.count("restored backup");
        self.begin(at)
    }

    // A second device with the same keys, and the same neighbours.
    fn copy(&mut self, at: usize) -> Result<(), Fault> {
        if self.members.len() >= MOST || !self.is_up(at) {
            return Ok(());
        }
        self.flush(at)?;
        let Some(member) = self.members.get(at) else { return Ok(()) };
        let Some((disk, written)) = member.peer.image()? else { return Ok(()) };
        let (clock, inside, others) = (member.peer.clock.now(), member.inside, member.others.clone());
        let peer = Peer::on(self.dice.bits(), disk, written, clock)?;
        let new = self.members.len();
        let mut copy = Member::new(peer, self.dice.bits(), inside);
        copy.others = others;
        self.members.push(copy);
        let other = if new > 1 { self.dice.below(new) } else { 0 };
        self.acquaint(new, other);
        self.note(&format!("{new} is a copy of {at}"));
        self.count("clone");
        self.begin(new)
    }

    fn break_one(&mut self) -> Result<(), Fault> {
        let ids: Vec<u64> = self.connections.keys().copied().collect();
        if let Some(id) = self.dice.pick(&ids).copied() {
            self.count("broken connection");
            self.end(id);
        }
        Ok(())
    }
}
