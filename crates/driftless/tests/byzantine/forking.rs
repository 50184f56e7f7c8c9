//! One author, one number, many commits: shown to different peers, or without end; and times that lie.

use std::time::Instant;

use driftless::{Permission, Strength, Subject};
use driftless_core::commit::Vouched;

use crate::peer::{Byzantine, Wire};
use crate::pen::{FAR, chain, frame, header, now, sign};
use crate::trio::Trio;

fn pen() -> Permission {
    Permission::Write(Strength(20))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_chains_shown_to_two_peers_are_both_kept_and_the_proof_is_everywhere() {
    for (name, wire) in Wire::each() {
        let mut trio = Trio::new(&wire).await;
        let mallory = Byzantine::new(&wire, 66);
        let grant = trio.admit(mallory.author(), pen()).await;
        let (one, other) = (
            chain(&mallory.key, trio.id, &[grant], 30, 100),
            chain(&mallory.key, trio.id, &[grant], 20, 200),
        );
        let mut to_ann = mallory.open(&trio.ann.address, trio.id).await;
        assert_eq!(to_ann.offer(frame(trio.id, &one)).await, Some(Vec::new()), "{name}");
        let mut to_bob = mallory.open(&trio.bob.address, trio.id).await;
        assert_eq!(to_bob.offer(frame(trio.id, &other)).await, Some(Vec::new()), "{name}");
        trio.write_everywhere();
        trio.converge().await;
        for honest in [&trio.ann, &trio.bob, &trio.cem] {
            let status = honest.db.status().unwrap();
            let forked: Vec<_> = status.spaces[0].forked.iter().map(|fork| fork.author).collect();
            assert_eq!(forked, [mallory.author()], "{name}");
            let items = honest.space().collection("items").unwrap();
            for id in [100, 129, 200, 219] {
                assert!(items.get(&id.into()).unwrap().is_some(), "{name}: {id}");
            }
        }
        trio.holds(name).await;
    }
}

// What many forks cost is measured against as many commits in one chain: a fork must be no lever.
async fn forks_against_a_chain(count: usize) {
    let mut costs = Vec::new();
    for forks in [false, true] {
        let [(_, wire), _] = Wire::each();
        let mut trio = Trio::new(&wire).await;
        let mallory = Byzantine::new(&wire, 66);
        let grant = trio.admit(mallory.author(), pen()).await;
        let commits: Vec<Vouched> = match forks {
            false => chain(&mallory.key, trio.id, &[grant], count, 100),
            true => (0..count as i64)
                .map(|n| sign(header(mallory.author(), trio.id, &[grant], now()), 100 + n, &mallory.key))
                .collect(),
        };
        let begun = Instant::now();
        let mut talk = mallory.open(&trio.ann.address, trio.id).await;
        for commits in commits.chunks(100) {
            assert_eq!(talk.offer(frame(trio.id, commits)).await, Some(Vec::new()));
        }
        let taken = begun.elapsed();
        trio.converge().await;
        let spread = begun.elapsed() - taken;
        // Nothing new: what does it cost to find that out?
        let again = Instant::now();
        trio.converge().await;
        costs.push((taken, spread, again.elapsed()));
        assert_eq!(trio.cem.commits(), trio.ann.commits());
        // An author with more branches than one grant can name is removed like any other.
        trio.ann.space().revoke(Subject::Key(mallory.author())).unwrap();
        trio.holds("forks").await;
    }
    let [(chain_taken, chain_spread, _), (taken, spread, again)] = costs[..] else { panic!() };
    eprintln!("{count}: {costs:?}");
    assert!(taken < 6 * chain_taken + std::time::Duration::from_secs(2), "{costs:?}");
    assert!(spread < 6 * chain_spread + std::time::Duration::from_secs(2), "{costs:?}");
    assert!(again < std::time::Duration::from_secs(5), "{costs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_forks_of_one_number_cost_what_a_thousand_commits_cost() {
    let count = std::env::var("DRIFTLESS_FORKS").ok().and_then(|count| count.parse().ok()).unwrap_or(1500);
    forks_against_a_chain(count).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_year_2999_is_held_given_on_and_wins_nothing() {
    for (name, wire) in Wire::each() {
        let mut trio = Trio::new(&wire).await;
        let mallory = Byzantine::new(&wire, 66);
        let grant = trio.admit(mallory.author(), pen()).await;
        // Over one of Ann's documents, a hundred times, each later than the one before.
        let mut commits: Vec<Vouched> = Vec::new();
        for n in 0..100 {
            let mut header = header(mallory.author(), trio.id, &[grant], FAR + n);
            if let Some(last) = commits.last() {
                (header.seq, header.previous) = (last.header().seq + 1, Some(last.id()));
                header.parents = Vec::new();
            }
            commits.push(sign(header, -1, &mallory.key));
        }
        let mut talk = mallory.open(&trio.ann.address, trio.id).await;
        assert_eq!(talk.offer(frame(trio.id, &commits)).await, Some(Vec::new()), "{name}");
        trio.converge().await;
        for honest in [&trio.ann, &trio.bob, &trio.cem] {
            assert_eq!(honest.db.status().unwrap().spaces[0].counts.held, 100, "{name}");
            let items = honest.space().collection("items").unwrap();
            let first = items.get(&(-1).into()).unwrap().unwrap();
            assert!(first.fields.to_json().contains("canary"), "{name}: the future has won");
        }
        trio.holds(name).await;
        // Nobody's clock was dragged along.
        let log = trio.bob.space().digest().unwrap();
        assert!(log.commits > 100);
        assert!(now() < FAR);
    }
}
