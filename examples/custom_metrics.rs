//! Learn how to put metrics of your own beside those of the node: one scrape tells both.
//!
//! `cargo run --release --example custom_metrics`

use std::error::Error;
use std::time::Duration;

use millstream::config::Settings;
use millstream::{
    ActorContext, ActorMessage, ActorSettings, CallError, Handled, NamedActor, Node, UserMetrics, WrongSeries,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    cents: u32,
}

impl ActorMessage for Order {
    const NAME: &'static str = "order";
    type Answer = ();
}

/// Handles to series: made once, moved with every order.
struct Desk {
    taken: millstream::Counter,
    refused: millstream::Counter,
    largest: millstream::Gauge,
    largest_cents: u32,
}

impl Desk {
    fn new(metrics: &UserMetrics) -> Result<Self, WrongSeries> {
        let orders = |outcome| {
            metrics.counter("orders_total", "Orders that came to the desk.", &[("outcome", outcome)])
        };
        Ok(Self {
            taken: orders("taken")?,
            refused: orders("refused")?,
            largest: metrics.gauge("order_largest_cents", "The largest order taken.", &[])?,
            largest_cents: 0,
        })
    }
}

impl NamedActor for Desk {
    const KIND: &'static str = "desk";
    type Message = Order;

    async fn handle(&mut self, order: Order, _: &ActorContext) -> Handled<Order> {
        if order.cents == 0 {
            self.refused.increment(1);
            return Err(CallError::Refused("nothing is ordered for nothing".to_owned()));
        }
        self.taken.increment(1);
        self.largest_cents = self.largest_cents.max(order.cents);
        self.largest.set(self.largest_cents);
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    run(|line| println!("{line}")).await
}

async fn run(mut say: impl FnMut(String)) -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let settings = Settings::default()
        .set("data.dir", &directory.path().to_string_lossy())?
        .set("node.cores", "1")?
        .set("quic.listen", "127.0.0.1:0")?
        .set("http.listen", "127.0.0.1:0")?;
    let node = Node::start(&settings)?;
    if !node.wait_until_ready(Duration::from_secs(20)).await {
        return Err("the node did not become ready".into());
    }
    let metrics = node.actors().metrics();
    // Wrong names are refused at once, not in the handler.
    Desk::new(&metrics)?;
    let make = move || Desk::new(&metrics).expect("the same names were right a moment ago");
    node.actors().spawn("desk", ActorSettings::default(), make).await?;
    for cents in [250, 0, 990, 120] {
        // What became of it is told by the metrics.
        drop(node.actors().ask("desk", &Order { cents }, Duration::from_secs(5)).await);
    }
    // What GET /metrics answers at the address of `http.listen`.
    let scrape = node.metrics().render();
    let ours = ["orders_total{", "order_largest_cents ", "millstream_user_messages_handled_total{"];
    for line in scrape.lines().filter(|line| ours.iter().any(|start| line.starts_with(start))) {
        say(line.to_owned());
    }
    node.stop()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn own_series_stand_beside_those_of_the_node() {
        let mut said = Vec::new();
        run(|line| said.push(line)).await.unwrap();
        said.sort();
        let expected = [
            "millstream_user_messages_handled_total{kind=\"desk\"} 4",
            "order_largest_cents 990",
            "orders_total{outcome=\"refused\"} 1",
            "orders_total{outcome=\"taken\"} 3",
        ];
        assert_eq!(said, expected);
    }
}
