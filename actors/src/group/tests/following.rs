use super::*;
use crate::group::fakes::joining;
use crate::group::following::{ImageCoordinators, ImageTopics, OFFSETS_TOPIC, follow, led_by};
use crate::ids::Incarnation;
use crate::image::fixture::{alter, create, done, election, lead, live_nodes, member, partition, topic};
use crate::image::{Command, Image};

const OFFSETS: u128 = 99;

fn create_offsets_topic(image: &mut Image, replicas: &[&[u32]]) {
    let replicas = replicas.iter().map(|nodes| nodes.iter().map(|node| NodeId(*node)).collect()).collect();
    let (name, config) = (OFFSETS_TOPIC.to_owned(), BTreeMap::new());
    done(image, Command::CreateTopic { id: topic(OFFSETS), name, config, internal: true, replicas });
}

#[test]
fn a_view_of_an_image_knows_topics_by_name_and_id() {
    let mut image = live_nodes(&[1]);
    done(&mut image, create(1, &[&[1], &[1]]));
    let view = ImageTopics::of(&image);
    assert_eq!(view.names(), ["topic-1".into()]);
    assert_eq!(view.named("topic-1").map(|shape| (shape.id, shape.partitions)), Some((topic(1), 2)));
    assert_eq!(view.identified(topic(1)), Some(("topic-1".into(), 2)));
    assert!(view.named("topic-2").is_none() && view.identified(topic(2)).is_none());
}

#[test]
fn only_leaderships_of_this_life_count() {
    let mut image = live_nodes(&[1, 2]);
    assert!(led_by(&image, OFFSETS_TOPIC, NodeId(1), Incarnation(1)).is_empty());
    create_offsets_topic(&mut image, &[&[1, 2], &[2, 1]]);
    let led = led_by(&image, OFFSETS_TOPIC, NodeId(1), Incarnation(1));
    assert_eq!(led.into_iter().collect::<Vec<_>>(), [(0, (partition(OFFSETS, 0), LeaderEpoch(0)))]);
    assert!(led_by(&image, OFFSETS_TOPIC, NodeId(1), Incarnation(2)).is_empty());
}

#[tokio::test(start_paused = true)]
async fn groups_are_coordinated_where_the_image_has_their_partition_led() {
    let log = FakeLog::default();
    let node = Node::leading(&log, &FakeTopics::default()).await;
    node.front.resign(0, LeaderEpoch(100));
    log.with(|shelf| shelf.epochs.insert(0, LeaderEpoch(0)));

    let mut image = live_nodes(&[1, 2]);
    done(&mut image, create(1, &[&[1], &[1]]));
    let (images, receiver) = watch::channel(Arc::new(image.clone()));
    let lease = Arc::clone(&node.lease);
    let topics = node.topics.clone();
    let me = (NodeId(1), Incarnation(1));
    let following = tokio::spawn(follow(node.front.clone(), receiver, topics, me, move |_, _| {
        Arc::<FakeLease>::clone(&lease)
    }));
    pass(1).await;
    let join = joining("g", "a", &["topic-1"]);
    assert_eq!(node.ask(join.clone()).await.unwrap_err().code, ErrorCode::NotCoordinator);

    create_offsets_topic(&mut image, &[&[1, 2]]);
    images.send_replace(Arc::new(image.clone()));
    pass(1).await;
    assert_eq!(count(&node.ask_patiently(join.clone()).await.unwrap()), Some(2));

    let version = node.topics.borrow().version();
    let smaller = alter(&image, partition(OFFSETS, 0), &[member(1, 1)]);
    done(&mut image, smaller);
    images.send_replace(Arc::new(image.clone()));
    pass(1).await;
    assert_eq!(node.topics.borrow().version(), version, "an in-sync set is no matter of groups");

    let back = alter(&image, partition(OFFSETS, 0), &[member(1, 1), member(2, 1)]);
    done(&mut image, back);
    let elsewhere = election(&image, partition(OFFSETS, 0), lead(2, &[2]));
    done(&mut image, elsewhere);
    images.send_replace(Arc::new(image.clone()));
    pass(1).await;
    assert_eq!(node.ask(join).await.unwrap_err().code, ErrorCode::NotCoordinator);
    drop(images);
    following.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_offsets_topic_is_made_and_waited_for() {
    let mut image = live_nodes(&[1]);
    let (images, receiver) = watch::channel(Arc::new(image.clone()));
    create_offsets_topic(&mut image, &[&[1]]);
    let made = Arc::new(image);
    let later = images.clone();
    let coordinators = ImageCoordinators::new(receiver, OFFSETS_TOPIC, move || {
        let (images, made) = (later.clone(), Arc::clone(&made));
        async move {
            tokio::spawn(async move {
                pass(50).await;
                images.send_replace(made);
            });
            Ok(())
        }
        .boxed()
    });
    assert_eq!((coordinators.partitions(), coordinators.leader(0)), (None, None));
    coordinators.create().await.unwrap();
    assert_eq!((coordinators.partitions(), coordinators.leader(0)), (Some(1), Some(NodeId(1))));
    assert_eq!(coordinators.leader(1), None);
}
