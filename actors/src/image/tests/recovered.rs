use super::fixture::*;
use crate::ids::{Incarnation, NodeId};
use crate::image::{Command, DoubtCause, Image};

#[test]
fn nothing_that_the_lost_may_have_given_out_is_given_out_again() {
    let mut image = three();
    done(&mut image, Command::AllocateProducerIds { count: 5 });
    let recovered = image.recovered();
    let (before, after) = (state(&image, partition(1, 0)), state(&recovered, partition(1, 0)));
    assert!(after.leader_epoch.0 > before.leader_epoch.0 + 60_000);
    assert!(recovered.producer_ids().next > 4_000_000_000);
    assert_eq!((after.leader, &after.in_sync), (None, &before.in_sync));
    assert_eq!(Image::decode(&recovered.encode()).unwrap(), recovered);
}

#[test]
fn every_member_is_asked_how_far_it_reaches_in_its_present_life() {
    let mut image = three().recovered();
    let id = partition(1, 0);
    let asked = |image: &Image, node, life| image.untold(NodeId(node), Incarnation(life)).collect::<Vec<_>>();
    assert_eq!(asked(&image, 2, 1), [id]);
    done(&mut image, Command::RegisterNode(registration(2, 5)));
    assert_eq!((asked(&image, 2, 1), asked(&image, 2, 5)), (vec![], vec![id]));
    let doubts = vec![reported(id, doubt(DoubtCause::Cut, 3, 9))];
    done(&mut image, Command::ReportDoubts { node: NodeId(2), incarnation: Incarnation(5), doubts });
    assert_eq!(asked(&image, 2, 5), []);
    assert_eq!(asked(&image, 3, 1), [id]);
}

#[test]
fn who_was_in_doubt_before_is_asked_again_and_its_cause_stays() {
    let mut image = three();
    let id = partition(1, 0);
    let doubts = vec![reported(id, doubt(DoubtCause::EndsEarly, 0, 4))];
    done(&mut image, Command::ReportDoubts { node: NodeId(2), incarnation: Incarnation(1), doubts });
    let image = image.recovered();
    let known = state(&image, id).doubt(NodeId(2)).unwrap();
    assert_eq!((known.cause, known.is_told()), (DoubtCause::EndsEarly, false));
}
