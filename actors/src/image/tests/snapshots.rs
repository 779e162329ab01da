use super::fixture::*;
use crate::ids::{Incarnation, LeaderEpoch, NodeId, ProducerId};
use crate::image::{
    Alteration, Choice, Command, DoubtCause, Features, Image, ImageError, Outcome, QuotaAlteration,
    QuotaKind, QuotaValue, ReassignmentStep, Registration, decode_entry, decode_outcomes, encode_entry,
    encode_outcomes,
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An image with something of everything.
fn everything() -> Image {
    let mut image = live_nodes(&[1, 2]);
    done(&mut image, Command::Found { cluster: uuid::Uuid::from_u128(0xc1) });
    done(&mut image, create_with(1, &[&[1, 2]], &[("flush.policy", "os")]));
    done(&mut image, Command::AllocateProducerIds { count: 1000 });
    let doubts = vec![reported(partition(1, 0), doubt(DoubtCause::Cut, 0, 42))];
    done(&mut image, Command::ReportDoubts { node: NodeId(2), incarnation: Incarnation(1), doubts });
    image
}

fn reassign(step: ReassignmentStep) -> Command {
    let (partition, epoch) = (partition(1, 0), LeaderEpoch(0));
    Command::AlterReassignments { alterations: vec![Alteration { partition, epoch, set_version: 1, step }] }
}

fn rack(rack: Option<&str>) -> Command {
    let rack = rack.map(ToOwned::to_owned);
    Command::SetRack { node: NodeId(1), incarnation: Incarnation(1), rack }
}

fn quota(value: Option<f64>) -> Command {
    let entity = [(QuotaKind::User, Some("ann".to_owned())), (QuotaKind::ClientId, None)].into();
    let value = value.and_then(QuotaValue::new);
    let changes = [("producer_byte_rate".to_owned(), value)].into();
    Command::AlterQuotas { alterations: vec![QuotaAlteration { entity, changes }] }
}

/// The same image with what came with the second form.
fn everything_since() -> Image {
    let mut image = everything();
    done(&mut image, reassign(ReassignmentStep::Begin { target: vec![NodeId(2)] }));
    done(&mut image, rack(Some("east")));
    done(&mut image, quota(Some(1024.5)));
    image
}

fn commands() -> Vec<Command> {
    let image = three();
    let id = partition(1, 0);
    vec![
        Command::Found { cluster: uuid::Uuid::from_u128(0xc1) },
        Command::SetFeatureLevel { level: 1 },
        Command::RegisterNode(registration(1, 2)),
        unfence(1, 2),
        fence(1, 2),
        Command::HandOver { node: NodeId(1), incarnation: Incarnation(2) },
        create_with(2, &[&[1, 2]], &[("retention.ms", "1")]),
        Command::DeleteTopic { id: topic(2) },
        Command::CreatePartitions { id: topic(1), from: 1, replicas: vec![vec![NodeId(3)]] },
        Command::AlterTopicConfig { id: topic(1), changes: settings(&[("retention.ms", None)]) },
        alter(&image, id, &[member(1, 1)]),
        election(&image, id, Choice::Keep { in_sync: vec![NodeId(1)] }),
        election(&image, id, lead(2, &[2, 3])),
        election(&image, id, Choice::Nobody),
        election(&image, id, Choice::Alone { leader: member(3, 1), unclean: true }),
        Command::ReportDoubts {
            node: NodeId(1),
            incarnation: Incarnation(1),
            doubts: vec![reported(id, doubt(DoubtCause::EndsEarly, 3, 9))],
        },
        Command::AllocateProducerIds { count: 1000 },
        reassign(ReassignmentStep::Begin { target: vec![NodeId(2), NodeId(1)] }),
        reassign(ReassignmentStep::Complete { leader: Some(NodeId(2)) }),
        reassign(ReassignmentStep::Cancel { leader: None }),
        reassign(ReassignmentStep::Raise { target: vec![NodeId(2), NodeId(1)] }),
        rack(Some("east")),
        rack(None),
        quota(Some(1024.5)),
        quota(None),
        Command::ForgetNode { node: NodeId(3) },
    ]
}

#[test]
fn a_snapshot_gives_the_image_back() {
    for image in [everything(), everything_since()] {
        assert_eq!(Image::decode(&image.encode()).unwrap(), image);
    }
}

#[test]
fn the_bytes_of_a_snapshot_of_version_1_stay() {
    assert_eq!(hex(&everything().encode()), include_str!("golden/image-v1.hex").trim());
}

#[test]
fn the_bytes_of_a_snapshot_of_version_2_stay() {
    assert_eq!(hex(&everything_since().encode()), include_str!("golden/image-v2-administration.hex").trim());
}

#[test]
fn the_bytes_of_what_somebody_chose_stay_and_are_read_back() {
    let level = Features::CHOSEN_REPLICAS;
    let mut image = Image::default();
    done(&mut image, Command::RegisterNode(Registration { feature_level: level, ..registration(1, 1) }));
    done(&mut image, unfence(1, 1));
    done(&mut image, Command::SetFeatureLevel { level });
    let (config, replicas) = (std::collections::BTreeMap::new(), vec![vec![NodeId(1)]]);
    let name = "__consumer_offsets".to_owned();
    done(&mut image, Command::CreateTopic { id: topic(1), name, config, internal: true, replicas });
    let before = image.encode();
    let step = ReassignmentStep::Begin { target: vec![NodeId(1)] };
    let alteration = Alteration { partition: partition(1, 0), epoch: LeaderEpoch(0), set_version: 0, step };
    done(&mut image, Command::AlterReassignments { alterations: vec![alteration] });
    let bytes = image.encode();
    // Kind, version and length; one partition of topic 1, its number, and one node: 1.
    assert!(hex(&bytes).ends_with("03011501100000000000000000000000000000a001000101"), "{}", hex(&bytes));
    assert!(!hex(&before).contains("03011501"));
    assert_eq!(Image::decode(&bytes).unwrap(), image);
}

#[test]
fn what_came_with_a_second_form_is_written_in_it_only_while_it_is_there() {
    let mut image = everything();
    done(&mut image, quota(Some(3.0)));
    assert_eq!(image.encode().first(), Some(&2));
    done(&mut image, quota(None));
    assert_eq!(image.encode().first(), Some(&1));
}

#[test]
fn the_bytes_of_commands_of_version_1_stay() {
    let lines: Vec<String> = commands().iter().map(|c| hex(&encode_entry(std::slice::from_ref(c)))).collect();
    let golden: Vec<&str> = include_str!("golden/commands-v1.hex").lines().collect();
    assert_eq!(lines, golden);
    assert_eq!(decode_entry(&encode_entry(&commands())).unwrap(), commands());
}

#[test]
fn the_bytes_of_outcomes_of_version_1_stay() {
    let refusal = crate::error::Refusal::new(crate::error::ErrorCode::InvalidTopic, "no");
    let outcomes = vec![
        Outcome::Done,
        Outcome::Refused(refusal.clone()),
        Outcome::InSync(vec![(partition(1, 0), Ok(7)), (partition(1, 1), Err(refusal.clone()))]),
        Outcome::Elected { refused: vec![(partition(1, 2), refusal)] },
        Outcome::ProducerIds { first: ProducerId(5), count: 2 },
    ];
    let bytes = encode_outcomes(&outcomes);
    assert_eq!(decode_outcomes(&bytes).unwrap(), outcomes);
    assert_eq!(hex(&bytes), include_str!("golden/outcomes-v1.hex").trim());
}

#[test]
fn the_bytes_of_an_outcome_of_reassignments_stay() {
    let refusal = crate::error::Refusal::new(crate::error::ErrorCode::InvalidTopic, "no");
    let bytes = encode_outcomes(&[Outcome::Reassigned { refused: vec![(partition(1, 2), refusal)] }]);
    assert_eq!(hex(&bytes), include_str!("golden/outcome-of-reassignments.hex").trim());
}

#[test]
fn a_later_version_is_told_apart_from_garbage() {
    let mut bytes = everything().encode();
    *bytes.first_mut().unwrap() = 3;
    let error = Image::decode(&bytes).unwrap_err();
    assert!(error.to_string().contains("upgrade"), "{error}");
    assert!(matches!(Image::decode(&[1, 2, 3]), Err(ImageError::Malformed { .. })));
    assert!(matches!(Image::decode(&[]), Err(ImageError::Malformed { .. })));
    assert!(matches!(decode_entry(&[9, 0]), Err(ImageError::Newer { version: 9, .. })));
}

#[test]
fn a_cut_snapshot_is_an_error_wherever_it_is_cut() {
    for bytes in [everything().encode(), everything_since().encode()] {
        for end in 0..bytes.len() {
            assert!(Image::decode(&bytes[..end]).is_err(), "{end}");
        }
    }
}
