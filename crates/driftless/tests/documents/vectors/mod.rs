//! What two or more devices must agree on, each over a network in memory and over HTTP. The numbers are those of the
//! design of document stores that these come from.

mod arrivals;
mod clocks;
mod conflicts;
mod devices;

macro_rules! vectors {
    ($($number:literal $group:ident :: $name:ident;)*) => {
        $(mod $name {
            use crate::world::World;

            #[tokio::test(flavor = "multi_thread")]
            async fn over_memory() {
                super::$group::$name(&World::memory()).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn over_http() {
                super::$group::$name(&World::http()).await;
            }
        })*

        #[test]
        fn no_number_is_there_twice() {
            let mut numbers = [$($number),*].to_vec();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), [$($number),*].len());
        }
    };
}

vectors! {
    1 conflicts::two_titles_end_the_same_in_both_orders;
    2 conflicts::a_tie_is_decided_by_the_commits_ids;
    3 conflicts::three_count_at_once;
    4 conflicts::one_pulls_what_another_pushes;
    5 conflicts::a_deletion_wins_over_what_is_set_later;
    6 arrivals::an_edit_comes_before_the_create_and_a_child_before_its_parent;
    7 arrivals::a_thousand_commits_with_poison_in_the_middle;
    11 clocks::clocks_are_an_hour_ahead_an_hour_behind_and_ten_years_ahead;
    13 arrivals::a_hub_sends_on_what_it_has_never_heard_of;
    14 devices::two_devices_of_one_person_have_different_logs;
}
