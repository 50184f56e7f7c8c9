//! The plan, event by event.

use super::*;

const USUAL: Wanted = Wanted { on_commit: true, interval: Some(300) };
const ANN: PeerId = PeerId([1; 32]);
const BEN: PeerId = PeerId([2; 32]);
const NOTES: SpaceId = SpaceId([7; 32]);
const SHOP: SpaceId = SpaceId([8; 32]);

fn dial(peer: PeerId) -> Vec<Action> {
    vec![Action::Dial(peer)]
}

fn exchange(peer: PeerId, spaces: &[SpaceId]) -> Vec<Action> {
    vec![Action::Exchange(peer, spaces.to_vec())]
}

fn plan(wanted: Wanted) -> Plan {
    let mut plan = Plan::new(5);
    plan.want(NOTES, Some(wanted));
    plan.peer(ANN, [NOTES], 0);
    plan
}

/// Connected at 0, everything the same.
fn quiet(wanted: Wanted) -> Plan {
    let mut plan = plan(wanted);
    assert_eq!(plan.due(0), dial(ANN));
    plan.connected(ANN, 0);
    assert_eq!(plan.due(0), exchange(ANN, &[NOTES]));
    plan.settled(&ANN, &NOTES, 0);
    plan
}

#[test]
fn who_syncs_on_commit_stays_connected_and_who_does_not_hangs_up() {
    let mut live = quiet(USUAL);
    assert_eq!((live.due(0), live.is_idle()), (vec![], true));
    assert_eq!(live.next(), Some(CHECK_MS));
    assert_eq!(live.due(CHECK_MS), [Action::Check(ANN)]);
    let mut rare = quiet(Wanted { on_commit: false, interval: Some(300) });
    assert_eq!(rare.due(0), [Action::HangUp(ANN)]);
    rare.committed(&NOTES, None);
    assert_eq!((rare.due(299_999), rare.next()), (vec![], Some(300_000)));
    assert_eq!(rare.due(300_000), dial(ANN));
}

#[test]
fn the_smallest_interval_of_all_users_is_used_and_where_all_are_off_nothing_is_sent() {
    let (slow, fast) =
        (Wanted { on_commit: false, interval: Some(300) }, Wanted { on_commit: false, interval: Some(60) });
    let mut plan = quiet(slow.and(fast));
    assert_eq!(plan.due(0), [Action::HangUp(ANN)]);
    assert_eq!((plan.due(59_999), plan.due(60_000)), (vec![], dial(ANN)));
    plan.connected(ANN, 60_000);
    plan.want(NOTES, None);
    assert_eq!(plan.due(60_000), [Action::HangUp(ANN)]);
    plan.committed(&NOTES, None);
    assert_eq!((plan.due(u64::MAX), plan.next()), (vec![], None));
}

#[test]
fn failures_pause_up_to_64_seconds_and_never_give_up() {
    let mut plan = plan(USUAL);
    let mut now = 0;
    for attempt in 1..100 {
        assert_eq!(plan.due(now), dial(ANN), "attempt {attempt}");
        assert_eq!(plan.due(now), []);
        plan.failed_to_connect(&ANN, now);
        let next = plan.next().unwrap();
        let longest = (1000 << attempt.min(6)).min(LONGEST_PAUSE_MS);
        assert!((longest / 2..=longest).contains(&(next - now)), "attempt {attempt}: {}", next - now);
        assert_eq!(plan.due(next - 1), []);
        now = next;
    }
    plan.connected(ANN, now);
    assert_eq!(plan.due(now), exchange(ANN, &[NOTES]));
    plan.settled(&ANN, &NOTES, now);
    plan.disconnected(&ANN, now);
    assert!(plan.next().unwrap() <= now + 2000, "after it worked the pauses begin anew");
}

#[test]
fn a_connection_that_breaks_before_anything_was_exchanged_is_an_attempt_that_failed() {
    let mut plan = plan(USUAL);
    let mut now = 0;
    for _ in 0..8 {
        assert_eq!(plan.due(now), dial(ANN));
        plan.connected(ANN, now);
        assert_eq!(plan.due(now), exchange(ANN, &[NOTES]));
        plan.disconnected(&ANN, now);
        now = plan.next().unwrap();
    }
    assert_eq!(plan.unsent()[&ANN], Unsent { attempts: 8, spaces: vec![NOTES] });
}

#[test]
fn what_was_not_sent_survives_a_restart_and_is_due_at_once() {
    let mut before = quiet(USUAL);
    before.disconnected(&ANN, 10);
    before.committed(&NOTES, None);
    before.due(5000);
    before.failed_to_connect(&ANN, 5000);
    let unsent = before.unsent();
    assert_eq!(unsent[&ANN], Unsent { attempts: 2, spaces: vec![NOTES] });
    let mut after = Plan::new(6);
    after.want(NOTES, Some(Wanted { on_commit: true, interval: None }));
    after.restore(ANN, &unsent[&ANN], 0);
    assert!(!after.is_idle());
    assert_eq!(after.due(0), dial(ANN));
    after.failed_to_connect(&ANN, 0);
    assert!(after.next().unwrap() >= 4000, "it goes on where it was, and does not knock every second again");
}

#[test]
fn a_commit_from_a_peer_goes_to_the_others() {
    let mut plan = Plan::new(5);
    plan.want(NOTES, Some(Wanted { on_commit: true, interval: None }));
    plan.peer(ANN, [NOTES], 0);
    plan.peer(BEN, [NOTES], 0);
    for peer in [ANN, BEN] {
        plan.connected(peer, 0);
        plan.settled(&peer, &NOTES, 0);
    }
    plan.disconnected(&BEN, 0);
    plan.committed(&NOTES, Some(&ANN));
    assert_eq!(plan.unsent().keys().collect::<Vec<_>>(), [&BEN]);
    assert_eq!(plan.unsent()[&BEN].spaces, [NOTES]);
}

#[test]
fn only_what_users_want_is_exchanged_and_now_means_now() {
    let mut plan = quiet(USUAL);
    plan.peer(ANN, [NOTES, SHOP], 0);
    assert_eq!(plan.due(0), []);
    plan.want(SHOP, Some(USUAL));
    assert_eq!(plan.due(0), exchange(ANN, &[SHOP]));
    plan.failed(&ANN, &SHOP, 0);
    assert_eq!(plan.due(0), []);
    plan.sync_now(None, Some(&SHOP), 0);
    assert_eq!(plan.due(0), exchange(ANN, &[SHOP]));
}

#[test]
fn while_paused_nothing_is_done_and_afterwards_all_of_it() {
    let mut plan = quiet(USUAL);
    plan.pause();
    assert_eq!((plan.due(0), plan.next()), (vec![Action::HangUp(ANN)], None));
    plan.committed(&NOTES, None);
    assert_eq!(plan.due(1_000_000), []);
    plan.resume();
    assert_eq!(plan.due(1_000_000), dial(ANN));
}

#[test]
fn who_cannot_be_found_is_not_dialed_and_gets_all_when_it_comes() {
    let mut plan = plan(USUAL);
    plan.can_be_dialed(&ANN, false);
    assert_eq!((plan.due(1_000_000), plan.next()), (vec![], None));
    plan.committed(&NOTES, None);
    plan.connected(ANN, 2_000_000);
    assert_eq!(plan.due(2_000_000), exchange(ANN, &[NOTES]));
    plan.settled(&ANN, &NOTES, 2_000_000);
    plan.disconnected(&ANN, 2_000_000);
    assert_eq!(plan.due(3_000_000), []);
    plan.can_be_dialed(&ANN, true);
    assert_eq!(plan.due(3_000_000), dial(ANN));
}

#[test]
fn what_waits_is_told_once_and_again_when_it_waits_no_more() {
    let mut plan = quiet(USUAL);
    assert_eq!(plan.take_unsent(), []);
    plan.disconnected(&ANN, 0);
    let first = plan.take_unsent();
    assert_eq!(first, [(ANN, Unsent { attempts: 1, spaces: vec![] })]);
    for _ in 0..3 {
        plan.committed(&NOTES, None);
    }
    assert_eq!(plan.take_unsent(), [(ANN, Unsent { attempts: 1, spaces: vec![NOTES] })]);
    assert_eq!(plan.take_unsent(), []);
    plan.connected(ANN, 10);
    plan.due(10);
    plan.settled(&ANN, &NOTES, 10);
    assert_eq!(plan.take_unsent(), [(ANN, Unsent::default())]);
}

#[test]
fn a_space_that_the_peer_does_not_open_is_asked_for_again_ever_more_rarely() {
    let mut plan = plan(Wanted { on_commit: true, interval: None });
    let mut now = 0;
    for pause in [2000, 4000, 8000, 16_000, 32_000, 64_000, 64_000] {
        assert_eq!(plan.due(now), dial(ANN));
        plan.connected(ANN, now);
        assert_eq!(plan.due(now), exchange(ANN, &[NOTES]));
        plan.closed(&ANN, &NOTES, now);
        assert_eq!((plan.due(now), plan.next()), (vec![Action::HangUp(ANN)], Some(now + pause)));
        now += pause;
    }
    plan.due(now);
    plan.connected(ANN, now);
    plan.due(now);
    plan.settled(&ANN, &NOTES, now);
    assert_eq!((plan.due(now), plan.next()), (vec![], Some(now + CHECK_MS)), "it is kept again");
}

#[test]
fn a_space_that_is_wanted_again_is_exchanged_at_once() {
    let mut plan = quiet(USUAL);
    plan.want(NOTES, None);
    assert_eq!(plan.due(1), [Action::HangUp(ANN)]);
    plan.want(NOTES, Some(USUAL));
    assert_eq!(plan.due(2), dial(ANN));
}

#[test]
fn a_commit_on_a_busy_hub_costs_a_look_at_nobody() {
    let mut plan = Plan::new(5);
    let peer = |n: u32| {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&n.to_be_bytes());
        PeerId(id)
    };
    let space = |n: u32| SpaceId(peer(n).0);
    for n in 0..100 {
        plan.want(space(n), Some(USUAL));
    }
    for n in 0..1000 {
        plan.peer(peer(n), (0..100).map(space), 0);
        plan.connected(peer(n), 0);
    }
    assert_eq!(plan.due(0).len(), 1000);
    for n in 0..1000 {
        (0..100).for_each(|space_of| plan.settled(&peer(n), &space(space_of), 0));
    }
    for now in 0..1000 {
        plan.committed(&space(now as u32 % 100), None);
        plan.settled(&peer(now as u32), &space(now as u32 % 100), now);
        assert_eq!(plan.due(now), []);
    }
    assert_eq!(plan.next(), Some(CHECK_MS), "nobody is to be looked at before");
}
