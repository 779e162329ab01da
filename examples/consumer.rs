//! Learn how to read records in a group: rebalances arrive among the records, as events.
//!
//! Run it twice, and the two share the partitions. Needs a running cluster, and what the example `producer` sends:
//! `cargo run --release --example consumer -- 127.0.0.1:9092 millstream-data/certs`

use std::error::Error;

use millstream::certificates::{CertificateFolder, LOCAL_CLIENT};
use millstream::{Client, ClientSettings, Consumer, ConsumerEvent, ConsumerSettings, OffsetReset};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let node = arguments.next().unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let certificates = arguments.next().unwrap_or_else(|| "millstream-data/certs".to_owned());
    let credentials = CertificateFolder::new(certificates).client(LOCAL_CLIENT)?;
    let client = Client::connect(credentials, ClientSettings::new([node])).await?;

    let settings =
        ConsumerSettings { offset_reset: OffsetReset::Earliest, ..ConsumerSettings::group("readers") };
    let mut consumer = Consumer::new(&client, settings)?;
    consumer.subscribe(["greetings"])?;
    println!("reading until Ctrl-C");
    loop {
        let event = tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => break,
            event = consumer.next() => event?,
        };
        match event {
            ConsumerEvent::Records(fetched) => {
                for record in fetched.records() {
                    let record = record?;
                    let value =
                        String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
                    println!("{} at {}: {value}", fetched.partition, record.offset);
                }
            }
            // What was handed out before counts as processed, and is committed when the next event is asked for.
            ConsumerEvent::Assigned(partitions) => println!("now reading {partitions:?}"),
            ConsumerEvent::Revoked(partitions) => println!("giving up {partitions:?}"),
            ConsumerEvent::Lost(partitions) => println!("lost {partitions:?}"),
        }
    }
    // Commits, and leaves the group: the others need not wait for this member to expire.
    consumer.close().await;
    client.close().await;
    Ok(())
}
