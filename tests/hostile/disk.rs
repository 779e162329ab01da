//! A damaged disk under a node that is alone: nobody can heal it, and the rest is served.

use millstream_actors::ids::PartitionId;
use millstream_tests::disks::{cut_in_half, segments};
use millstream_tests::process::ProcessCluster;

use crate::{PROGRAM, make_topic, produce, says};

#[tokio::test]
async fn a_truncated_segment_is_told_and_other_partitions_are_served() {
    ProcessCluster::run(PROGRAM, 1, &[], async |cluster| {
        let client = cluster.client().await?;
        make_topic(&client, "damaged").await?;
        make_topic(&client, "whole").await?;
        produce(&client, "damaged").await?;
        produce(&client, "whole").await?;
        let topic = client.admin().describe_topic("damaged").await?.id;
        cluster.terminate(1).await?;
        let partition = PartitionId { topic, index: 0 };
        for segment in segments(&cluster.log_dir(1), partition)? {
            cut_in_half(&segment)?;
        }
        cluster.restart_node(1).await?;
        produce(&client, "whole").await?;
        says(
            &cluster.log_text(1)?,
            &["log recovered, in doubt", &partition.to_string(), "durable are missing or corrupt"],
        )?;
        // Silently emptied it is not: it has no leader until the operator decides.
        millstream_tests::until("the damaged partition is offline", async || {
            let described = millstream_tests::load::describe(&client, "damaged").await?;
            Ok(described.partitions.iter().all(|partition| partition.leader.is_none()).then_some(()))
        })
        .await
    })
    .await;
}
