//! Learn how to put a node inside your own program: it starts, is used, and stops, on threads of its own.
//!
//! `cargo run --release --example embedded`

use std::error::Error;
use std::time::Duration;

use millstream::certificates::LOCAL_CLIENT;
use millstream::config::Settings;
use millstream::{
    Client, ClientSettings, Consumer, ConsumerEvent, ConsumerSettings, CreateTopic, Node, ProducerRecord,
    ProducerSettings, SeekTo, TopicPartition,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let settings = Settings::default()
        .set("data.dir", &directory.path().to_string_lossy())?
        // Any free port: the node says which it got. A node that others are to find has its own.
        .set("quic.listen", "127.0.0.1:0")?
        .set("http.listen", "127.0.0.1:0")?;
    let node = Node::start(&settings)?;
    if !node.wait_until_ready(Duration::from_secs(10)).await {
        return Err("the node did not become ready".into());
    }

    let credentials = node.certificates().client(LOCAL_CLIENT)?;
    let client = Client::connect(credentials, ClientSettings::new([node.quic_address().to_string()])).await?;
    let topic = CreateTopic {
        name: "thoughts".to_owned(),
        partitions: Some(1),
        replication_factor: Some(1),
        config: Default::default(),
    };
    client.admin().create_topic(topic).await?;

    let producer = client.producer(ProducerSettings::default()).await?;
    let delivery = producer.send(ProducerRecord::to("thoughts").value("a log inside")).await?;
    println!("written: {:?}", delivery.await?);

    let mut consumer = Consumer::new(&client, ConsumerSettings::default())?;
    consumer.assign([(TopicPartition::new("thoughts", 0), SeekTo::Beginning)]).await?;
    if let ConsumerEvent::Records(fetched) = consumer.next().await? {
        for record in fetched.records() {
            println!("read: {:?}", record?.value);
        }
    }

    consumer.close().await;
    producer.close(Duration::from_secs(1)).await;
    client.close().await;
    // Syncs and leaves in order; dropped, it would end as if killed, and lose nothing that was acknowledged.
    node.stop()?;
    Ok(())
}
