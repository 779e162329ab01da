use super::election;
use super::*;
use crate::cluster::message::ElectionKind;
use crate::error::ErrorCode;
use crate::ids::Incarnation;
use crate::image::fixture::*;
use crate::image::{Command, HostedType, Outcome, Registration, ReportedDoubt};
use proptest::prelude::*;

const ID: (u128, i32) = (1, 0);

fn id() -> PartitionId {
    partition(ID.0, ID.1)
}

fn judge(image: &Image, waited_out: bool) -> Verdict {
    let topic = image.topics().get(topic(1)).unwrap();
    verdict(image.nodes(), topic, topic.partition(0).unwrap(), waited_out)
}

/// Applies what is due until nothing is.
fn settle(image: &mut Image) {
    for _ in 0..4 {
        let due = due(image, None, &BTreeSet::new());
        if due.elections.is_empty() {
            return;
        }
        done(image, Command::ElectLeaders { elections: due.elections });
    }
    panic!("elections do not come to an end");
}

fn three_with(config: &[(&str, &str)]) -> Image {
    let mut image = live_nodes(&[1, 2, 3]);
    done(&mut image, create_with(1, &[&[1, 2, 3]], config));
    image
}

fn shrink(image: &mut Image, nodes: &[u32]) {
    let members: Vec<Member> = nodes.iter().map(|node| member(*node, 1)).collect();
    let command = alter(image, id(), &members);
    done(image, command);
}

/// The node starts anew, in this life, with these doubts, and is live.
fn restart(image: &mut Image, node: u32, life: u64, doubts: Vec<ReportedDoubt>) {
    let mut registration = registration(node, life);
    registration.doubts = doubts;
    done(image, Command::RegisterNode(registration));
    done(image, unfence(node, life));
}

fn cut(end: i64) -> Vec<ReportedDoubt> {
    vec![reported(id(), doubt(DoubtCause::Cut, 0, end))]
}

fn emptied(image: &mut Image, node: u32, life: u64) {
    let mut registration = registration(node, life);
    registration.directories = vec![directory(node + 10)];
    done(image, Command::RegisterNode(registration));
    done(image, unfence(node, life));
}

fn leader(image: &Image) -> Option<u32> {
    state(image, id()).leader.map(|leader| leader.node.0)
}

fn in_sync(image: &Image) -> Vec<u32> {
    state(image, id()).in_sync.iter().map(|member| member.node.0).collect()
}

#[test]
fn a_partition_with_a_live_leader_and_live_members_stands() {
    assert_eq!(judge(&three(), false), Verdict::Stands);
    assert_eq!(due(&three(), None, &BTreeSet::new()), Due::default());
}

#[test]
fn the_next_replica_leads_when_the_leader_dies_and_the_dead_one_leaves_the_set() {
    let mut image = three();
    done(&mut image, fence(1, 1));
    settle(&mut image);
    assert_eq!((leader(&image), in_sync(&image)), (Some(2), vec![2, 3]));
    assert_eq!(state(&image, id()).leader_epoch, LeaderEpoch(1));
}

#[test]
fn a_dead_follower_leaves_the_set_and_the_leader_stays_in_its_epoch() {
    let mut image = three();
    done(&mut image, fence(3, 1));
    settle(&mut image);
    assert_eq!((leader(&image), in_sync(&image)), (Some(1), vec![1, 2]));
    assert_eq!(state(&image, id()).leader_epoch, LeaderEpoch(0));
}

#[test]
fn one_outside_the_set_is_never_elected() {
    let mut image = three();
    shrink(&mut image, &[1]);
    done(&mut image, fence(1, 1));
    settle(&mut image);
    assert_eq!((leader(&image), in_sync(&image)), (None, vec![1]));
    assert_eq!(judge(&image, true), Verdict::Stands);
    restart(&mut image, 1, 2, vec![]);
    settle(&mut image);
    assert_eq!(state(&image, id()).leader, Some(member(1, 2)));
}

#[test]
fn one_outside_the_set_is_elected_where_the_topic_asks_for_it() {
    let mut image = three_with(&[("unclean.leader.election.enable", "true")]);
    shrink(&mut image, &[1]);
    done(&mut image, fence(1, 1));
    assert_eq!(judge(&image, false), Verdict::Elect(Choice::Alone { leader: member(2, 1), unclean: true }));
    settle(&mut image);
    assert_eq!((leader(&image), in_sync(&image)), (Some(2), vec![2]));
}

#[test]
fn when_all_members_die_none_leaves_the_set_and_the_first_back_leads() {
    let mut image = three();
    for node in 1..4 {
        done(&mut image, fence(node, 1));
    }
    settle(&mut image);
    assert_eq!((leader(&image), in_sync(&image)), (None, vec![1, 2, 3]));
    restart(&mut image, 3, 2, vec![]);
    settle(&mut image);
    assert_eq!((leader(&image), in_sync(&image)), (Some(3), vec![3]));
}

#[test]
fn a_leader_that_restarts_quickly_leads_only_in_a_new_epoch() {
    let mut alone = live_nodes(&[1]);
    done(&mut alone, create(1, &[&[1]]));
    done(&mut alone, Command::RegisterNode(registration(1, 2)));
    assert_eq!(judge(&alone, false), Verdict::Waits, "it is about to be live");
    done(&mut alone, unfence(1, 2));
    settle(&mut alone);
    assert_eq!(state(&alone, id()).leader, Some(member(1, 2)));
    assert_eq!(state(&alone, id()).leader_epoch, LeaderEpoch(1));

    let mut image = three();
    done(&mut image, Command::RegisterNode(registration(1, 2)));
    settle(&mut image);
    assert_eq!((leader(&image), in_sync(&image)), (Some(2), vec![1, 2, 3]), "it keeps its membership");
}

#[test]
fn a_member_in_doubt_leaves_the_set_while_another_is_beyond_doubt() {
    let mut image = three();
    restart(&mut image, 1, 2, cut(5));
    settle(&mut image);
    assert_eq!((leader(&image), in_sync(&image)), (Some(2), vec![2, 3]));
    assert_eq!(state(&image, id()).doubts, []);
}

#[test]
fn a_member_with_a_new_disk_leaves_the_set_while_another_is_beyond_doubt() {
    let mut image = three();
    emptied(&mut image, 1, 2);
    settle(&mut image);
    assert_eq!((leader(&image), in_sync(&image)), (Some(2), vec![2, 3]));
}

#[test]
fn where_all_are_in_doubt_the_greatest_leads_when_all_have_reported() {
    let mut image = three();
    for node in 1..4 {
        done(&mut image, fence(node, 1));
    }
    settle(&mut image);
    restart(&mut image, 1, 2, cut(5));
    assert_eq!(judge(&image, false), Verdict::Waits);
    restart(&mut image, 2, 2, cut(9));
    assert_eq!(judge(&image, false), Verdict::Waits);
    assert_eq!(in_sync(&image), [1, 2, 3], "the dead may be beyond doubt and stay");
    restart(&mut image, 3, 2, cut(7));
    settle(&mut image);
    assert_eq!(state(&image, id()).leader, Some(member(2, 2)));
    assert_eq!(in_sync(&image), [2]);
}

#[test]
fn a_later_epoch_is_greater_than_a_later_end() {
    let mut image = live_nodes(&[1, 2]);
    done(&mut image, create(1, &[&[1, 2]]));
    restart(&mut image, 1, 2, vec![reported(id(), doubt(DoubtCause::Cut, 3, 50))]);
    restart(&mut image, 2, 2, vec![reported(id(), doubt(DoubtCause::Cut, 4, 10))]);
    settle(&mut image);
    assert_eq!(leader(&image), Some(2));
}

#[test]
fn who_does_not_come_back_is_not_waited_for_for_ever() {
    let mut image = three();
    for node in 1..4 {
        done(&mut image, fence(node, 1));
    }
    settle(&mut image);
    restart(&mut image, 1, 2, cut(5));
    let patient = due(&image, None, &BTreeSet::new());
    assert_eq!(patient.waiting, BTreeSet::from([id()]));
    let due = due(&image, None, &patient.waiting);
    done(&mut image, Command::ElectLeaders { elections: due.elections });
    assert_eq!((leader(&image), in_sync(&image)), (Some(1), vec![1]));
}

#[test]
fn one_beyond_doubt_that_comes_back_in_time_leads_before_those_in_doubt() {
    let mut image = three();
    for node in 1..4 {
        done(&mut image, fence(node, 1));
    }
    settle(&mut image);
    restart(&mut image, 1, 2, cut(500));
    restart(&mut image, 3, 2, vec![]);
    settle(&mut image);
    assert_eq!((leader(&image), in_sync(&image)), (Some(3), vec![3]));
}

#[test]
fn a_lone_member_with_a_new_disk_is_offline_unless_the_topic_leaves_records_to_the_page_cache() {
    for (policy, led) in [("sync", None), ("os", Some(1))] {
        let mut image = three_with(&[("flush.policy", policy)]);
        shrink(&mut image, &[1]);
        emptied(&mut image, 1, 2);
        settle(&mut image);
        assert_eq!(leader(&image), led, "{policy}");
        assert_eq!(in_sync(&image), [1], "{policy}");
    }
}

#[test]
fn the_operator_frees_a_lone_member_with_a_new_disk_by_an_unclean_election() {
    let mut image = three();
    shrink(&mut image, &[1]);
    emptied(&mut image, 1, 2);
    settle(&mut image);
    let changes = settings(&[("unclean.leader.election.enable", Some("true"))]);
    done(&mut image, Command::AlterTopicConfig { id: topic(1), changes });
    settle(&mut image);
    let now = state(&image, id()).leader.unwrap();
    assert_eq!((now.node, now.incarnation, now.directory), (NodeId(1), Incarnation(2), directory(11)));
}

#[test]
fn a_member_whose_directory_failed_leads_nothing() {
    let mut image = three();
    let failed = vec![reported(id(), doubt(DoubtCause::DirectoryFailed, 0, 0))];
    let report =
        |node, doubts| Command::ReportDoubts { node: NodeId(node), incarnation: Incarnation(1), doubts };
    done(&mut image, report(1, failed.clone()));
    settle(&mut image);
    assert_eq!((leader(&image), in_sync(&image)), (Some(2), vec![2, 3]));
    done(&mut image, fence(3, 1));
    settle(&mut image);
    done(&mut image, report(2, failed));
    settle(&mut image);
    assert_eq!((leader(&image), in_sync(&image)), (None, vec![2]));
    restart(&mut image, 2, 2, cut(5));
    settle(&mut image);
    assert_eq!(leader(&image), Some(2), "after a restart it is cut back to what it had synced");
}

#[test]
fn a_leader_that_hands_over_is_followed_and_leaves_the_set_but_not_if_it_is_the_last() {
    let mut image = three();
    done(&mut image, Command::HandOver { node: NodeId(1), incarnation: Incarnation(1) });
    settle(&mut image);
    assert_eq!((leader(&image), in_sync(&image)), (Some(2), vec![2, 3]));
    for node in [2, 3] {
        done(&mut image, Command::HandOver { node: NodeId(node), incarnation: Incarnation(1) });
        settle(&mut image);
    }
    assert_eq!((leader(&image), in_sync(&image)), (Some(3), vec![3]));
}

#[test]
fn a_leader_that_resigns_is_followed_by_another_or_by_itself_in_a_new_epoch() {
    let mut image = three();
    let to_other = moved(&image, id(), NodeId(1), LeaderEpoch(0), true).unwrap();
    assert_eq!(to_other.choice, lead(2, &[1, 2, 3]));
    assert_eq!(moved(&image, id(), NodeId(1), LeaderEpoch(1), true), None);
    assert_eq!(moved(&image, id(), NodeId(2), LeaderEpoch(0), true), None);
    shrink(&mut image, &[1]);
    assert_eq!(moved(&image, id(), NodeId(1), LeaderEpoch(0), false), None);
    let to_itself = moved(&image, id(), NodeId(1), LeaderEpoch(0), true).unwrap();
    done(&mut image, Command::ElectLeaders { elections: vec![to_itself] });
    assert_eq!((leader(&image), state(&image, id()).leader_epoch), (Some(1), LeaderEpoch(1)));
}

#[test]
fn leaderships_go_back_to_the_preferred_leaders_a_few_at_a_time() {
    let mut image = live_nodes(&[1, 2]);
    done(&mut image, create(1, &[&[1, 2], &[1, 2], &[1, 2], &[2, 1]]));
    done(&mut image, fence(1, 1));
    settle(&mut image);
    restart(&mut image, 1, 2, vec![]);
    assert_eq!(rebalance(&image, |_| true, 9), [], "it is not in sync yet");
    for index in 0..3 {
        let command = alter(&image, partition(1, index), &[member(1, 2), member(2, 1)]);
        done(&mut image, command);
    }
    assert_eq!(rebalance(&image, |_| false, 9), []);
    let elections = rebalance(&image, |_| true, 2);
    assert_eq!(elections.len(), 2);
    done(&mut image, Command::ElectLeaders { elections });
    assert_eq!(rebalance(&image, |_| true, 2).len(), 1);
}

#[test]
fn only_topics_that_changed_are_looked_at_unless_nodes_did() {
    let mut image = three();
    let before = image.clone();
    assert!(due(&image, Some(&before), &BTreeSet::new()).elections.is_empty());
    done(&mut image, fence(1, 1));
    assert_eq!(due(&image, Some(&before), &BTreeSet::new()).elections.len(), 1);
    let fenced = image.clone();
    assert_eq!(due(&image, Some(&fenced), &BTreeSet::new()).elections.len(), 0, "it was looked at");
}

#[derive(Clone, Debug)]
enum Happening {
    Dies(u32),
    Returns { node: u32, doubt: Option<i64>, emptied: bool },
    Resumes(u32),
    HandsOver(u32),
    Resigns,
    Grows,
}

fn happenings() -> impl Strategy<Value = Happening> {
    prop_oneof![
        3 => (1u32..4).prop_map(Happening::Dies),
        4 => (1u32..4, prop::option::of(0i64..9), prop::bool::weighted(0.2))
            .prop_map(|(node, doubt, emptied)| Happening::Returns { node, doubt, emptied }),
        1 => (1u32..4).prop_map(Happening::Resumes),
        1 => (1u32..4).prop_map(Happening::HandsOver),
        1 => Just(Happening::Resigns),
        3 => Just(Happening::Grows),
    ]
}

fn happen(image: &mut Image, happening: &Happening) {
    let life = |node: u32| image.nodes().get(NodeId(node)).unwrap().incarnation;
    let command = match happening {
        Happening::Dies(node) => fence(*node, life(*node).0),
        Happening::Resumes(node) => unfence(*node, life(*node).0),
        Happening::HandsOver(node) => Command::HandOver { node: NodeId(*node), incarnation: life(*node) },
        Happening::Returns { node, doubt, emptied } => {
            let life = life(*node).0 + 1;
            let mut registration = registration(*node, life);
            registration.doubts = doubt.map(cut).unwrap_or_default();
            if *emptied {
                registration.directories = vec![directory(*node + 10 * u32::try_from(life).unwrap())];
            } else {
                registration.directories = image.nodes().get(NodeId(*node)).unwrap().directories.clone();
            }
            apply(image, Command::RegisterNode(registration));
            unfence(*node, life)
        }
        Happening::Resigns => {
            let Some(leader) = state(image, id()).leader else { return };
            let epoch = state(image, id()).leader_epoch;
            let Some(chosen) = moved(image, id(), leader.node, epoch, true) else { return };
            Command::ElectLeaders { elections: vec![chosen] }
        }
        Happening::Grows => {
            let live = image.nodes().live();
            let members = live.filter_map(|(node, known)| {
                state(image, id()).member(node).or_else(|| known.new_member(node, id()))
            });
            let members: Vec<Member> = members.collect();
            if state(image, id()).leader.is_none_or(|leader| !members.contains(&leader)) {
                return;
            }
            alter(image, id(), &members)
        }
    };
    apply(image, command);
}

proptest! {
    #[test]
    fn whatever_happens_elections_are_accepted_come_to_an_end_and_leave_a_leader_where_one_can_lead(
        unclean in any::<bool>(),
        happenings in prop::collection::vec(happenings(), 1..40),
    ) {
        let value = if unclean { "true" } else { "false" };
        let mut image = three_with(&[("unclean.leader.election.enable", value)]);
        for happening in &happenings {
            happen(&mut image, happening);
            let before = state(&image, id());
            let elected = due(&image, None, &BTreeSet::new()).elections;
            for found in &elected {
                if let Choice::Lead { leader, .. } | Choice::Alone { leader: Member { node: leader, .. }, unclean: false } = &found.choice {
                    prop_assert!(before.member(*leader).is_some());
                }
                let dirty = matches!(found.choice, Choice::Alone { unclean: true, .. });
                prop_assert!(unclean || !dirty);
            }
            settle(&mut image);
            let now = state(&image, id());
            if let Some(leader) = now.leader {
                let known = image.nodes().get(leader.node).unwrap();
                prop_assert!(now.in_sync.contains(&leader));
                let waits = judge(&image, false) == Verdict::Waits;
                prop_assert!(waits || known.incarnation == leader.incarnation);
                prop_assert!(waits || known.state != NodeState::Fenced);
            }
            let ready = now.in_sync.iter().any(|m| standing(image.nodes(), &now, *m) == Standing::Ready);
            prop_assert!(!ready || now.leader.is_some());
        }
    }
}

#[test]
fn an_outcome_says_which_elections_came_too_late() {
    let mut image = three();
    let early = moved(&image, id(), NodeId(1), LeaderEpoch(0), false).unwrap();
    done(&mut image, Command::ElectLeaders { elections: vec![early.clone()] });
    let outcome = apply(&mut image, Command::ElectLeaders { elections: vec![early] });
    assert!(matches!(outcome, Outcome::Elected { refused } if refused.len() == 1));
}

fn tell(image: &mut Image, node: u32, life: u64, epoch: i32, end: i64) {
    let doubts = vec![reported(id(), doubt(DoubtCause::Cut, epoch, end))];
    done(image, Command::ReportDoubts { node: NodeId(node), incarnation: Incarnation(life), doubts });
}

#[test]
fn after_a_recovery_of_the_quorum_the_log_that_reaches_furthest_leads_whatever_the_set_says_of_it() {
    let mut image = three().recovered();
    assert_eq!(judge(&image, false), Verdict::Stands, "nobody has said anything");
    tell(&mut image, 1, 1, 4, 90);
    tell(&mut image, 2, 1, 5, 80);
    assert_eq!(judge(&image, false), Verdict::Waits, "node 3 may reach further");
    tell(&mut image, 3, 1, 5, 70);
    settle(&mut image);
    assert_eq!((leader(&image), in_sync(&image)), (Some(2), vec![2]));
}

#[test]
fn after_a_recovery_of_the_quorum_the_one_log_that_was_not_lost_leads_also_where_it_is_empty() {
    let mut image = three().recovered();
    emptied(&mut image, 1, 2);
    emptied(&mut image, 2, 2);
    restart(&mut image, 3, 2, Vec::new());
    tell(&mut image, 3, 2, -1, 0);
    settle(&mut image);
    assert_eq!((leader(&image), in_sync(&image)), (Some(3), vec![3]));
}

#[test]
fn an_operator_elects_what_is_left_and_is_told_first_what_that_is() {
    let mut image = three();
    shrink(&mut image, &[1]);
    emptied(&mut image, 1, 2);
    settle(&mut image);
    assert_eq!(leader(&image), None);
    let ask = |image: &Image, node, confirmed| decided(image, id(), NodeId(node), confirmed);
    let told = ask(&image, 2, false).unwrap_err().text;
    assert!(told.contains("node 1: was in sync, and has lost its log"), "{told}");
    assert!(told.contains("node 2: was not in sync, it lacks records"), "{told}");
    assert!(ask(&image, 9, true).unwrap_err().text.contains("node 9 cannot lead"));
    let chosen = ask(&image, 2, true).unwrap();
    assert_eq!(chosen.choice, Choice::Alone { leader: member(2, 1), unclean: true });
    assert!(ask(&three(), 2, true).unwrap_err().text.contains("node 1 leads"));
}

#[test]
fn after_a_recovery_of_the_quorum_not_even_an_unclean_topic_is_led_by_the_first_to_come() {
    let mut image = three_with(&[("unclean.leader.election.enable", "true")]).recovered();
    restart(&mut image, 2, 2, vec![]);
    assert_eq!(judge(&image, false), Verdict::Waits);
    assert!(matches!(judge(&image, true), Verdict::Elect(Choice::Alone { unclean: true, .. })));
}

#[test]
fn the_preferred_replica_is_given_the_lead_when_it_is_asked_for_and_can_have_it() {
    let mut image = three();
    let ask = |image: &Image| {
        let asked = asked(image, id(), ElectionKind::Preferred);
        asked.map(|made| made.choice).map_err(|refusal| refusal.code)
    };
    assert_eq!(ask(&image), Err(ErrorCode::ElectionNotNeeded));
    done(&mut image, fence(1, 1));
    settle(&mut image);
    assert_eq!(ask(&image), Err(ErrorCode::PreferredLeaderNotAvailable), "it is away");
    restart(&mut image, 1, 2, vec![]);
    assert_eq!(ask(&image), Err(ErrorCode::PreferredLeaderNotAvailable), "it is not in sync");
    let back = alter(&image, id(), &[member(1, 2), member(2, 1), member(3, 1)]);
    done(&mut image, back);
    let choice = ask(&image).unwrap();
    let elect = election(id(), &state(&image, id()), choice);
    done(&mut image, Command::ElectLeaders { elections: vec![elect] });
    assert_eq!((leader(&image), in_sync(&image)), (Some(1), vec![1, 2, 3]));
    let nowhere = asked(&image, partition(7, 0), ElectionKind::Preferred).unwrap_err();
    assert_eq!(nowhere.code, ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn an_unclean_election_is_made_only_without_a_leader_and_where_the_topic_allows_it() {
    for (allowed, expected) in [
        ("false", Err(ErrorCode::EligibleLeadersNotAvailable)),
        ("true", Ok(Choice::Alone { leader: member(2, 1), unclean: true })),
    ] {
        let mut image = three_with(&[("unclean.leader.election.enable", allowed)]);
        let ask = |image: &Image| {
            let asked = asked(image, id(), ElectionKind::Unclean);
            asked.map(|made| made.choice).map_err(|refusal| refusal.code)
        };
        assert_eq!(ask(&image), Err(ErrorCode::ElectionNotNeeded));
        shrink(&mut image, &[1]);
        done(&mut image, fence(1, 1));
        let nobody = election(id(), &state(&image, id()), Choice::Nobody);
        done(&mut image, Command::ElectLeaders { elections: vec![nobody] });
        assert_eq!(ask(&image), expected);
    }
}

#[test]
fn an_unclean_election_asked_for_gives_what_the_controller_would_and_passes_over_nobody_who_has_more() {
    let ask = |image: &Image| {
        let asked = asked(image, id(), ElectionKind::Unclean);
        asked.map(|made| made.choice).map_err(|refusal| refusal.code)
    };
    let unclean = [("unclean.leader.election.enable", "true")];
    let mut image = three_with(&unclean);
    for node in [1, 2] {
        done(&mut image, fence(node, 1));
        settle(&mut image);
    }
    assert_eq!((leader(&image), in_sync(&image)), (Some(3), vec![3]));
    restart(&mut image, 1, 2, vec![]);
    done(&mut image, fence(3, 1));
    let nobody = election(id(), &state(&image, id()), Choice::Nobody);
    done(&mut image, Command::ElectLeaders { elections: vec![nobody] });
    restart(&mut image, 3, 2, vec![]);
    let clean = Choice::Lead { leader: NodeId(3), in_sync: vec![NodeId(3)] };
    assert_eq!(ask(&image), Ok(clean), "it lacks nothing, and others stand before it in the list");

    let mut image = three_with(&unclean).recovered();
    restart(&mut image, 2, 2, vec![]);
    assert_eq!(ask(&image), Err(ErrorCode::EligibleLeadersNotAvailable), "others have not told yet");
    tell(&mut image, 1, 1, 4, 90);
    tell(&mut image, 2, 2, 5, 80);
    tell(&mut image, 3, 1, 5, 70);
    assert_eq!(
        ask(&image),
        Ok(Choice::Alone { leader: member(2, 2), unclean: false }),
        "it reaches furthest"
    );
}

/// Nodes 1 and 2 with the topic of accounts, of which the second hosts them.
fn accounts() -> Image {
    let mut image = Image::default();
    for node in [1, 2] {
        let registration = Registration { feature_level: 3, ..registration(node, 1) };
        done(&mut image, Command::RegisterNode(registration));
        done(&mut image, unfence(node, 1));
    }
    done(&mut image, Command::SetFeatureLevel { level: 3 });
    let replicas = vec![vec![NodeId(1), NodeId(2)]];
    let (name, config) = ("__entity_account".to_owned(), Default::default());
    done(&mut image, Command::CreateTopic { id: topic(1), name, config, internal: true, replicas });
    host(&mut image, 2, 1);
    image
}

fn host(image: &mut Image, node: u32, life: u64) {
    let types = vec![HostedType { kind: "account".to_owned(), first: 1, last: 1 }];
    let (node, incarnation) = (NodeId(node), Incarnation(life));
    done(image, Command::HostEntities { node, incarnation, types });
}

#[test]
fn entities_are_led_by_a_node_that_hosts_their_type_and_given_back_to_no_other() {
    let mut image = accounts();
    settle(&mut image);
    assert_eq!(state(&image, id()).leader, Some(member(2, 1)));
    assert_eq!(rebalance(&image, |_| true, 10), []);
    host(&mut image, 1, 1);
    assert_eq!(rebalance(&image, |_| true, 10).len(), 1);
}

#[test]
fn entities_whose_hosts_are_away_are_led_by_whoever_can() {
    let mut image = accounts();
    settle(&mut image);
    done(&mut image, fence(2, 1));
    settle(&mut image);
    assert_eq!(state(&image, id()).leader, Some(member(1, 1)));
}
