use millstream_transport::world::simulation;

use super::*;
use crate::client::fake::{FakeCluster, at};
use crate::ids::NodeId;

#[test]
fn who_wishes_for_news_all_the_time_still_gets_it() {
    simulation::run(1, |run| async move {
        let cluster = FakeCluster::new(3);
        cluster.change(|state| state.latency = Duration::from_millis(80));
        let id = cluster.topic("t", 1);
        let client = cluster.client(&run);
        let metadata = client.metadata();
        metadata.topic("t", Duration::from_secs(5)).await.unwrap();
        cluster.move_leader(at(id, 0), Some(3));
        let moved = async {
            while metadata.view().leader(at(id, 0)).is_none_or(|(leader, _)| leader != NodeId(3)) {
                metadata.refresh();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(2), moved).await.unwrap();
    });
}

#[test]
fn a_node_that_does_not_answer_holds_no_wish_up_for_long() {
    simulation::run(2, |run| async move {
        let cluster = FakeCluster::new(2);
        let id = cluster.topic("t", 1);
        let client = cluster.client(&run);
        let metadata = client.metadata();
        metadata.topic("t", Duration::from_secs(5)).await.unwrap();
        cluster.move_leader(at(id, 0), Some(2));
        cluster.decide(|state| state.nodes.insert(NodeId(1), false));
        let moved = async {
            while metadata.view().leader(at(id, 0)).is_none_or(|(leader, _)| leader != NodeId(2)) {
                metadata.refresh();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(3), moved).await.unwrap();
    });
}
