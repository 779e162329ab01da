//! Where a stream goes: through a topic of the user's, or to one that each record chooses.

use std::sync::Arc;

use super::builder::{Consumed, Produced, sink, source};
use super::codec::{Coded, SharedCodec};
use super::event::{Data, Event};
use super::graph::{Vertex, VertexId};
use super::operator::{Assembly, entered};
use super::scope::{Origin, Outgoing, Scope};
use super::stream::Stream;

impl<K: Data, V: Data> Stream<K, V> {
    /// Writes it to a topic of the user's, which must be there, and goes on from that. Others may read and write it, too, so
    /// it is kept, and its time is what its records say; a topic of the library's own ([`Stream::repartition`]) is purged.
    pub fn through(&self, topic: impl Into<Produced<K, V>>) -> Self {
        let produced = Arc::new(topic.into());
        sink(&self.graph, self.vertex, &produced);
        let (key, value) = (Arc::clone(&produced.key), Arc::clone(&produced.value));
        let consumed = Consumed::with(&produced.topic, key, value);
        let vertex = source(&self.graph, &Arc::new(consumed), None);
        Self::new(Arc::clone(&self.graph), vertex, false)
    }

    /// Writes each record to the topic that this names, of its key and value and of where it came from.
    pub fn to_chosen<T: AsRef<str>>(&self, choose: impl Fn(&K, &V, &Origin) -> T + Send + Sync + 'static)
    where
        K: Coded,
        V: Coded,
    {
        self.to_chosen_with(choose, K::codec(), V::codec());
    }

    /// The same, with keys and values in these forms.
    pub fn to_chosen_with<T: AsRef<str>>(
        &self,
        choose: impl Fn(&K, &V, &Origin) -> T + Send + Sync + 'static,
        key: SharedCodec<K>,
        value: SharedCodec<V>,
    ) {
        let (from, choose) = (self.vertex, Arc::new(choose));
        let build = move |_: VertexId, assembly: &mut Assembly<'_>| {
            let (choose, key, value) = (Arc::clone(&choose), Arc::clone(&key), Arc::clone(&value));
            let mut last: Arc<str> = Arc::from("");
            assembly.attach_operator(from, move |event: Event<K, V>, scope: &mut Scope| {
                let chosen = choose(&event.key, &event.value, &scope.origin);
                if *last != *chosen.as_ref() {
                    last = Arc::from(chosen.as_ref());
                }
                let outgoing = Outgoing {
                    topic: Arc::clone(&last),
                    partition: None,
                    key: key.encode(&event.key)?,
                    value: value.encode(&event.value)?,
                    timestamp_ms: event.timestamp_ms,
                    headers: Arc::clone(&scope.origin.headers),
                };
                scope.sent.push(outgoing);
                Ok(())
            });
            Ok(())
        };
        let mut graph = entered(&self.graph);
        let name = graph.name(None, "sink-chosen");
        graph.add(Vertex::operator(name, vec![self.vertex], Vec::new(), build));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{StreamBuilder, TopologyDriver};

    #[test]
    fn each_record_goes_to_the_topic_that_it_chooses() {
        let builder = StreamBuilder::new("app");
        builder.stream::<String, i64>("in").to_chosen(|_, value, origin| {
            let kind = if *value < 10 { "small" } else { "large" };
            format!("{kind}-of-{}", origin.topic)
        });
        let mut driver = TopologyDriver::new(&builder.build().unwrap(), 2).unwrap();
        for value in [1_i64, 20, 2] {
            driver.send("in", &"k".to_owned(), &value, 0).unwrap();
        }
        let mut read = |topic: &str| -> Vec<i64> {
            driver.read::<String, i64>(topic).unwrap().into_iter().map(|event| event.value).collect()
        };
        assert_eq!((read("small-of-in"), read("large-of-in")), (vec![1, 2], vec![20]));
    }

    #[test]
    fn a_stream_goes_on_from_a_topic_of_the_users_that_others_write_too() {
        let builder = StreamBuilder::new("app");
        let stream = builder.stream::<String, i64>("in").select_key(|_, value| value.to_string());
        stream.through("between").group_by_key("unused").count("counts");
        let mut driver = TopologyDriver::new(&builder.build().unwrap(), 3).unwrap();
        for value in [1_i64, 1, 2] {
            driver.send("in", &"k".to_owned(), &value, 0).unwrap();
        }
        driver.send("between", &"1".to_owned(), &7_i64, 0).unwrap();
        driver.end().unwrap();
        let mut counts = driver.all::<String, i64>("counts").unwrap();
        counts.sort();
        assert_eq!(counts, [("1".to_owned(), 3), ("2".to_owned(), 1)]);
        assert!(driver.times_ms().iter().all(|time| *time == i64::MAX));
    }
}
