//! Rest: all lines are good again, all clocks are right, and everybody may read and write. How long it takes until
//! everybody has everything, and what it costs one who was away.

use super::*;

impl Mesh {
    /// All lines are good and all clocks right; everybody may read and write, and wants to. Sees that everybody comes to
    /// have everything, that it is silent then, and what happens if one is away for a while.
    pub fn rest(&mut self) -> Result<(), Fault> {
        self.heal()?;
        for at in 0..self.members.len() {
            self.doctor(at)?;
            // Who was thrown out between two is no way from one to the other.
            self.acquaint(at, 0);
            let (time, spaces) = (self.time(at), self.spaces);
            let Some(member) = self.members.get_mut(at) else { continue };
            for other in member.others.clone() {
                member.plan.peer(name(other), spaces, time);
            }
        }
        // What admins wrote apart comes together first; it may throw somebody out once more.
        let (mut rounds, mut whole) = (0, false);
        while rounds < 3 || !whole && rounds < 10 {
            self.sync_now()?;
            self.run_for(2 * MINUTE)?;
            whole = self.make_whole()?;
            rounds += 1;
        }
        self.come_together()?;
        self.same_forks()?;
        self.silence()?;
        let long = self.dice.once_in(8);
        self.away(if long { 30 * DAY } else { HOUR })?;
        // A body that came late may go back to where it came from meanwhile; nothing else does.
        if self.echoes * 5 > self.sent {
            return Err(format!(
                "{} of {} commits were sent to whoever they had come from",
                self.echoes, self.sent
            ));
        }
        Ok(())
    }

    // All that is broken is mended.
    fn heal(&mut self) -> Result<(), Fault> {
        self.calm = true;
        self.cut.clear();
        self.quality = Quality { delay: 20, ..Quality::default() };
        let harm =
            |what: &What| matches!(what, What::Weather | What::Heal(..) | What::Crash(_) | What::Cut(..));
        self.agenda.retain(|(_, _, what)| !harm(what));
        self.tick = 1;
        let ahead = self.members.iter().map(|member| member.offset).max().unwrap_or_default().max(0);
        for at in 0..self.members.len() {
            let Some(member) = self.members.get_mut(at) else { continue };
            (member.offset, member.drift) = (ahead + 2 * DAY as i64, 0);
            (member.slow, member.busy) = (0, 0);
            if member.frozen {
                self.thaw(at)?;
            }
            if !self.is_up(at) {
                self.revive(at)?;
            }
            for space in self.spaces {
                self.want(at, &space, &Preferences::default())?;
            }
        }
        // What hangs in a line for hours is not waited for.
        let ids: Vec<u64> = self.connections.keys().copied().collect();
        ids.into_iter().for_each(|id| self.end(id));
        Ok(())
    }

    // Everybody has everything before the longest pause and one interval are over, with nobody asking for it.
    fn come_together(&mut self) -> Result<(), Fault> {
        let begun = self.now;
        loop {
            if self.is_equal()? {
                self.slowest = self.slowest.max(self.now - begun);
                return Ok(());
            }
            if self.now >= begun + PATIENCE {
                break;
            }
            self.run_for(SECOND)?;
        }
        let mut told = format!("not equal after {} s", PATIENCE / SECOND);
        for (at, digests) in self.digests()?.iter().enumerate() {
            let status = self.database(at)?.status().map_err(fault("the status"))?;
            for (space, digest) in status.spaces.iter().zip(digests) {
                told += &format!("\n  {at}: {digest:?} {:?}", space.counts);
            }
            told += &format!("\n  {at}: refused {:?}", status.refused);
        }
        Err(told)
    }

    // One is away, and the others go on. Then it meets one of them, and then all.
    fn away(&mut self, time: u64) -> Result<(), Fault> {
        let at = 1 + self.dice.below(self.members.len() - 1);
        let others: Vec<usize> = (0..self.members.len()).filter(|other| *other != at).collect();
        let known = self.members.get(at).map(|member| member.others.clone()).unwrap_or_default();
        let Some(friend) = self.dice.pick(&known).copied() else { return Ok(()) };
        for other in &others {
            self.cut.extend([(at, *other), (*other, at)]);
        }
        self.note(&format!("{at} is away"));
        for _ in 0..3 + self.dice.below(6) {
            let by = self.dice.below(self.members.len());
            self.write(by)?;
            self.run_for(20 * SECOND)?;
        }
        if time > HOUR {
            // Everybody sleeps for most of it: nothing happens in it that would not happen in an hour.
            self.now += time;
        } else {
            self.run_for(time)?;
        }
        for by in others.iter().copied().chain([at]) {
            self.write(by)?;
            self.flush(by)?;
        }
        self.run_for(PATIENCE)?;
        let lacks = self.lacks(at, friend);
        self.carried.clear();
        self.cut.retain(|line| *line != (at, friend) && *line != (friend, at));
        let begun = self.now;
        while self.lacks(at, friend) > 0 {
            if self.now > begun + PATIENCE {
                return Err(format!(
                    "{at} was away, and has not caught up with {friend} after {} s",
                    PATIENCE / SECOND
                ));
            }
            self.run_for(SECOND)?;
        }
        self.slowest = self.slowest.max(self.now - begun);
        let carried = self.carried.get(&(at.min(friend), at.max(friend))).copied().unwrap_or_default();
        self.cut.clear();
        self.come_together()?;
        self.caught_up.push((lacks, carried));
        Ok(())
    }

    // Commits that one of two has and the other lacks, of spaces that both may read.
    fn lacks(&self, one: usize, other: usize) -> u64 {
        let both = [one, other].iter().all(|at| self.members.get(*at).is_some_and(|member| member.inside));
        let spaces = self.spaces.get(..1 + usize::from(both)).unwrap_or_default();
        let held = |at: usize| self.members.get(at).map(|member| member.held(spaces)).unwrap_or_default();
        held(one).symmetric_difference(&held(other)).count() as u64
    }

    fn sync_now(&mut self) -> Result<(), Fault> {
        for at in 0..self.members.len() {
            let time = self.time(at);
            if let Some(member) = self.members.get_mut(at) {
                member.plan.sync_now(None, None, time);
            }
            self.drive(at)?;
        }
        Ok(())
    }

    // Who was thrown out comes in again, so that what everybody has can be compared. Whether nothing was to be done: a
    // founder who finds that there was a copy of it begins anew.
    fn make_whole(&mut self) -> Result<bool, Fault> {
        let mut whole = true;
        let authors: Vec<(usize, AuthorId)> = (0..self.members.len())
            .map(|at| Ok((at, self.database(at)?.author().map_err(fault("an author"))?)))
            .collect::<Result<_, Fault>>()?;
        let founder = self.database(0)?;
        let founder = founder.author().map_err(fault("an author"))?;
        for (at, author) in authors {
            let inside = self.members.get(at).is_some_and(|member| member.inside);
            for space in self.spaces.into_iter().take(1 + usize::from(inside)) {
                if author == founder {
                    continue;
                }
                let space = self.space(0, &space)?;
                let members = space.members().map_err(fault("the members"))?;
                let mut own = members.iter().filter(|member| member.subject == Subject::Key(author));
                if own.any(|member| member.permission.may_write()) {
                    continue;
                }
                match space.grant(Subject::Key(author), writer(at)) {
                    // An admin that is as strong as the founder, who is itself, needs nothing.
                    Ok(commit) => {
                        whole = false;
                        self.wrote(0, commit);
                    }
                    Err(Error::AuthorForked { .. }) => {
                        self.doctor(0)?;
                        return Ok(false);
                    }
                    Err(error) if is_refusal(&error) => {}
                    Err(error) => return Err(format!("a last grant: {error}")),
                }
            }
        }
        self.flush(0)?;
        Ok(whole)
    }

    // Whoever may read a space has the same of it.
    fn is_equal(&mut self) -> Result<bool, Fault> {
        let digests = self.digests()?;
        let first: Vec<_> = digests.first().cloned().unwrap_or_default();
        let mut equal = true;
        for (digests, member) in digests.iter().zip(&self.members) {
            equal &= digests.first() == first.first();
            equal &= !member.inside || digests.get(1) == first.get(1);
        }
        Ok(equal)
    }

    fn digests(&self) -> Result<Vec<Vec<Option<driftless::Digest>>>, Fault> {
        let mut all = Vec::new();
        for at in 0..self.members.len() {
            let mut own = Vec::new();
            for space in &self.spaces {
                own.push(
                    self.space(at, space).and_then(|space| space.digest().map_err(fault("a digest"))).ok(),
                );
            }
            all.push(own);
        }
        Ok(all)
    }

    // Once everybody has everything, nobody says anything that was not asked for by the clock.
    fn silence(&mut self) -> Result<(), Fault> {
        self.run_for(30 * SECOND)?;
        let before: usize = self.connections.values().map(|connection| connection.said()).sum();
        self.run_for(20 * SECOND)?;
        let after: usize = self.connections.values().map(|connection| connection.said()).sum();
        if after > before + 64 * self.connections.len() {
            return Err(format!("{} messages though nothing changes", after - before));
        }
        Ok(())
    }
}
