use metrics::{Counter, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use super::coordination::committing;
use super::*;
use crate::group::fakes::{beating, joining};

/// Keeps what gauges were last set to.
#[derive(Clone, Debug, Default)]
struct Gauges(Arc<Mutex<BTreeMap<String, f64>>>);

struct OneGauge(Gauges, String);

impl GaugeFn for OneGauge {
    fn increment(&self, _: f64) {}

    fn decrement(&self, _: f64) {}

    fn set(&self, value: f64) {
        self.0.0.lock().unwrap().insert(self.1.clone(), value);
    }
}

impl Recorder for Gauges {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let labels: Vec<String> = key.labels().map(|label| label.value().to_owned()).collect();
        Gauge::from_arc(Arc::new(OneGauge(self.clone(), format!("{} {}", key.name(), labels.join(" ")))))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

impl Gauges {
    fn get(&self, name: &str) -> Option<f64> {
        self.0.lock().unwrap().get(name).copied()
    }
}

#[tokio::test(start_paused = true)]
async fn the_coordinator_tells_how_far_groups_are_behind_and_who_owns_nothing() {
    let gauges = Gauges::default();
    let events = Events::new(NodeId(1), Arc::new(gauges.clone()));
    let topics = FakeTopics::of(&[("t", 3)]);
    let settings = GroupSettings { lag_interval_ms: 1_000, ..GroupSettings::default() };
    let node = Node::leading_with(&FakeLog::default(), &topics, settings, events).await;
    node.ask_patiently(joining("g", "a", &["t"])).await.unwrap();
    node.ask(committing("a", 1, &[(topics.partition("t", 1), 40)])).await.unwrap();
    pass(1_100).await;
    assert_eq!(gauges.get("millstream_group_lag_records g t 1"), Some(60.0));
    assert!(
        gauges.get("millstream_group_lag_seconds g t 1").is_some_and(|seconds| (1.0..1.2).contains(&seconds))
    );
    assert_eq!(gauges.get("millstream_group_lag_records g t 0"), None, "nothing was committed there");
    assert_eq!(gauges.get("millstream_group_members g "), None);
    assert_eq!(gauges.get("millstream_group_members g"), Some(1.0));
    assert_eq!(gauges.get("millstream_group_unowned_partitions g"), Some(0.0));

    node.ask(joining("g", "b", &["t"])).await.unwrap();
    let fewer = node.ask(beating("g", "a", 1)).await.unwrap().assigned;
    let given_up = crate::group::message::GroupHeartbeat { owned: fewer, ..beating("g", "a", 1) };
    node.ask(given_up).await.unwrap();
    pass(1_100).await;
    assert_eq!(gauges.get("millstream_group_unowned_partitions g"), Some(1.0), "b was not heard of since");

    node.front.resign(0, node.epoch);
    pass(10).await;
    assert_eq!(gauges.get("millstream_group_lag_records g t 1"), Some(0.0), "another node tells it now");
    assert_eq!(gauges.get("millstream_group_members g"), Some(0.0));
}
