use super::*;
use crate::cluster::message::{CreatePartitions, CreateTopic, DeleteTopic};
use crate::ids::NodeId;
use crate::image::fixture::{
    apply, directory, done, live_nodes, registration, settings, state, three, topic, unfence,
};

fn topic_request(name: &str, partitions: Option<i32>, factor: Option<i16>) -> CreateTopic {
    CreateTopic { name: name.to_owned(), partitions, replication_factor: factor, config: BTreeMap::new() }
}

fn make(image: &Image, request: CreateTopic) -> Result<Vec<Vec<u32>>, ErrorCode> {
    match client(ClientRequest::CreateTopic(topic(9), request), image, TopicDefaults::default()) {
        Ok((Command::CreateTopic { replicas, .. }, ClientAnswer::Topic(id))) => {
            assert_eq!(id, topic(9));
            Ok(replicas.iter().map(|set| set.iter().map(|node| node.0).collect()).collect())
        }
        Err(Err(refusal)) => Err(refusal.code),
        other => panic!("{other:?}"),
    }
}

fn refused(image: &Image, request: ClientRequest) -> Refusal {
    client(request, image, TopicDefaults::default()).unwrap_err().unwrap_err()
}

#[test]
fn a_topic_gets_the_defaults_where_its_maker_does_not_say() {
    for (nodes, factor) in [(vec![1], 1), (vec![1, 2], 2), (vec![1, 2, 3, 4], 3)] {
        let image = live_nodes(&nodes);
        for request in [topic_request("a", None, None), topic_request("a", Some(-1), Some(-1))] {
            let replicas = make(&image, request).unwrap();
            assert_eq!((replicas.len(), replicas[0].len()), (1, factor));
        }
    }
}

#[test]
fn a_topic_that_cannot_be_had_is_refused() {
    let image = three();
    let code = |request| make(&image, request).unwrap_err();
    assert_eq!(code(topic_request("a/b", None, None)), ErrorCode::InvalidTopic);
    assert_eq!(code(topic_request("topic-1", None, None)), ErrorCode::TopicAlreadyExists);
    assert_eq!(code(topic_request("a", Some(0), None)), ErrorCode::InvalidPartitions);
    assert_eq!(code(topic_request("a", Some(-2), None)), ErrorCode::InvalidPartitions);
    assert_eq!(code(topic_request("a", Some(10_001), None)), ErrorCode::InvalidPartitions);
    assert_eq!(code(topic_request("a", None, Some(4))), ErrorCode::InvalidReplicationFactor);
    assert_eq!(code(topic_request("a", None, Some(0))), ErrorCode::InvalidReplicationFactor);
    let mut typo = topic_request("a", None, None);
    typo.config.insert("retention.mz".to_owned(), "1".to_owned());
    assert_eq!(code(typo), ErrorCode::InvalidConfig);
}

#[test]
fn the_systems_own_topics_are_marked_and_stay() {
    let mut image = live_nodes(&[1]);
    let request = topic_request("__consumer_offsets", None, None);
    let (command, _) =
        client(ClientRequest::CreateTopic(topic(9), request), &image, TopicDefaults::default()).unwrap();
    done(&mut image, command);
    assert!(image.topics().named("__consumer_offsets").unwrap().internal);
    let delete = ClientRequest::DeleteTopic(DeleteTopic { name: "__consumer_offsets".to_owned() });
    assert_eq!(refused(&image, delete).code, ErrorCode::InvalidRequest);
}

#[test]
fn a_topic_of_entities_stays_compacted_and_takes_their_largest_batches() {
    let mut image = live_nodes(&[1]);
    let name = "__entity_account".to_owned();
    let settings = |policy: &str, bytes: &str| {
        let all = [("cleanup.policy", policy), ("max.message.bytes", bytes)];
        all.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    };
    let request = |config| CreateTopic { config, ..topic_request(&name, None, None) };
    for config in [BTreeMap::new(), settings("compact,delete", "2097152"), settings("compact", "1000000")] {
        let create = ClientRequest::CreateTopic(topic(9), request(config));
        assert_eq!(refused(&image, create).code, ErrorCode::InvalidConfig);
    }
    let replicas = vec![vec![NodeId(1)]];
    let config = settings("compact", "2097152");
    done(
        &mut image,
        Command::CreateTopic { id: topic(9), name: name.clone(), config, internal: true, replicas },
    );
    let alter = |changes: &[(&str, Option<&str>)]| {
        let changes = changes.iter().map(|(name, value)| ((*name).to_owned(), value.map(Into::into)));
        ClientRequest::AlterTopicConfig(AlterTopicConfig { name: name.clone(), changes: changes.collect() })
    };
    for changes in [
        [("cleanup.policy", Some("delete"))],
        [("cleanup.policy", Some("compact,delete"))],
        [("cleanup.policy", None)],
        [("max.message.bytes", None)],
    ] {
        let refusal = refused(&image, alter(&changes));
        assert_eq!(refusal.code, ErrorCode::InvalidConfig);
        assert!(refusal.text.contains("cleanup.policy stays compact"), "{refusal}");
    }
    assert!(client(alter(&[("segment.bytes", Some("1048576"))]), &image, TopicDefaults::default()).is_ok());
    let delete = ClientRequest::DeleteTopic(DeleteTopic { name });
    assert_eq!(refused(&image, delete).code, ErrorCode::InvalidRequest);
}

#[test]
fn what_does_not_exist_cannot_be_changed() {
    let image = three();
    let name = "nowhere".to_owned();
    for request in [
        ClientRequest::DeleteTopic(DeleteTopic { name: name.clone() }),
        ClientRequest::CreatePartitions(CreatePartitions { name: name.clone(), total: 2 }),
        ClientRequest::AlterTopicConfig(AlterTopicConfig { name, changes: BTreeMap::new() }),
    ] {
        let refusal = refused(&image, request);
        assert_eq!(refusal.code, ErrorCode::UnknownTopicOrPartition);
        assert!(refusal.text.contains("nowhere"), "{refusal}");
    }
}

#[test]
fn partitions_only_become_more_and_have_as_many_replicas_as_the_first() {
    let image = three();
    let grow =
        |total| ClientRequest::CreatePartitions(CreatePartitions { name: "topic-1".to_owned(), total });
    for total in [-1, 0, 1, 10_001] {
        assert_eq!(refused(&image, grow(total)).code, ErrorCode::InvalidPartitions, "{total}");
    }
    let (command, _) = client(grow(3), &image, TopicDefaults::default()).unwrap();
    let Command::CreatePartitions { from, replicas, .. } = command else { panic!("{command:?}") };
    assert_eq!((from, replicas.len()), (1, 2));
    assert!(replicas.iter().all(|set| set.len() == 3));
}

#[test]
fn a_wrong_setting_is_refused_with_its_name() {
    let changes = settings(&[("segment.bytes", Some("5"))]);
    let request = ClientRequest::AlterTopicConfig(AlterTopicConfig { name: "topic-1".to_owned(), changes });
    let refusal = refused(&three(), request);
    assert_eq!(refusal.code, ErrorCode::InvalidConfig);
    assert!(refusal.text.contains("segment.bytes=5"), "{refusal}");
}

#[test]
fn an_operators_election_needs_no_setting_of_the_topic_and_leaves_none() {
    let mut image = three();
    let id = PartitionId { topic: topic(1), index: 0 };
    for node in [1, 2, 3] {
        let mut registration = registration(node, 2);
        registration.directories = vec![directory(node + 10)];
        done(&mut image, Command::RegisterNode(registration));
        done(&mut image, unfence(node, 2));
    }
    let nobody = crate::image::fixture::election(&image, id, crate::image::Choice::Nobody);
    done(&mut image, nobody);
    let request =
        ElectReplica { topic: "topic-1".to_owned(), partition: 0, node: NodeId(2), is_confirmed: true };
    let (reply, mut answer) = Reply::channel();
    let request = Request::Client(ClientRequest::ElectReplica(request), reply);
    let planned = plan(request, &image, PlanSettings { topics: TopicDefaults::default(), names_max: 10 }, 0);
    assert_eq!(planned.decided, Some(id));
    let outcomes: Vec<Outcome> =
        planned.commands.into_iter().map(|command| apply(&mut image, command)).collect();
    (planned.settle)(Ok(&outcomes));
    assert_eq!(answer.try_recv().unwrap(), Ok(ClientAnswer::Done));
    assert_eq!(state(&image, id).leader.map(|leader| leader.node.0), Some(2));
    assert!(image.topics().get(topic(1)).unwrap().overrides.is_empty());
}
