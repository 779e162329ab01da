//! Two streams, whose records meet that have the same key and are near each other in event time.
//!
//! Each side's records are kept in a buffer while their windows are open, and each record looks through the other's. Of a left
//! or outer join a record that has met no other when its window closes is a result by itself: once, at the next step of the
//! task's stream time, and never before ([KAFKA-10847]: sent on arrival it would be followed by the pair that it is part of).
//! Which records meet is a matter of event time and stream time alone, so that it does not depend on who was killed when.
//!
//! [KAFKA-10847]: https://issues.apache.org/jira/browse/KAFKA-10847

mod buffer;
mod state;
mod unjoined;
mod windows;

use std::sync::{Arc, Mutex};

pub use windows::JoinWindows;
use windows::Spans;

use super::super::builder::of_one_builder;
use super::super::codec::{Coded, SharedCodec};
use super::super::event::{Data, Event};
use super::super::graph::{Vertex, VertexId};
use super::super::operator::{Assembly, entered};
use super::super::scope::{Scope, StreamError};
use super::super::stream::Stream;
use buffer::{Buffer, Marks};
use state::Join;
use unjoined::Unjoined;

/// How a join of two streams is called, and the forms of what it keeps.
#[derive(Debug)]
pub struct Joined<K, L, R> {
    name: String,
    key: SharedCodec<K>,
    left: SharedCodec<L>,
    right: SharedCodec<R>,
}

impl<K: Data, L: Data, R: Data> Joined<K, L, R> {
    /// Of this name (unique in its topology and the same for ever: its stores are called after it), keeping keys and the
    /// values of both sides in these forms.
    #[must_use]
    pub fn with(
        name: impl Into<String>,
        key: SharedCodec<K>,
        left: SharedCodec<L>,
        right: SharedCodec<R>,
    ) -> Self {
        Self { name: name.into(), key, left, right }
    }
}

impl<K: Coded, L: Coded, R: Coded> From<&str> for Joined<K, L, R> {
    fn from(name: &str) -> Self {
        Self::with(name, K::codec(), L::codec(), R::codec())
    }
}

type With<K, L, R, W> = dyn Fn(&K, Option<L>, Option<R>) -> Option<W> + Send + Sync;

/// Of which sides records are results by themselves.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    keeps_left: bool,
    keeps_right: bool,
}

impl Kind {
    /// How far behind stream time a record may be that is sent when its window closes.
    fn delay_ms(self, spans: Spans) -> i64 {
        let left_ms = if self.keeps_left { spans.after_ms.saturating_add(spans.grace_ms) } else { 0 };
        let right_ms = if self.keeps_right { spans.before_ms.saturating_add(spans.grace_ms) } else { 0 };
        left_ms.max(right_ms)
    }
}

impl<K: Data, L: Data> Stream<K, L> {
    /// What `with` makes of each pair of records of the same key that are near each other in event time. A result occurs when
    /// the later of the two did.
    pub fn join<R: Data, W: Data>(
        &self,
        other: &Stream<K, R>,
        with: impl Fn(&K, L, R) -> W + Send + Sync + 'static,
        windows: JoinWindows,
        joined: impl Into<Joined<K, L, R>>,
    ) -> Stream<K, W> {
        let with = move |key: &K, left: Option<L>, right: Option<R>| Some(with(key, left?, right?));
        let kind = Kind { name: "join", keeps_left: false, keeps_right: false };
        self.join_windowed(other, Arc::new(with), windows, (kind, joined.into()))
    }

    /// The same; and of each record of this stream that meets none what `with` makes of it alone, when its window closes.
    pub fn left_join<R: Data, W: Data>(
        &self,
        other: &Stream<K, R>,
        with: impl Fn(&K, L, Option<R>) -> W + Send + Sync + 'static,
        windows: JoinWindows,
        joined: impl Into<Joined<K, L, R>>,
    ) -> Stream<K, W> {
        let with = move |key: &K, left: Option<L>, right: Option<R>| Some(with(key, left?, right));
        let kind = Kind { name: "left-join", keeps_left: true, keeps_right: false };
        self.join_windowed(other, Arc::new(with), windows, (kind, joined.into()))
    }

    /// The same; and of each record of either stream that meets none what `with` makes of it alone, when its window closes.
    pub fn outer_join<R: Data, W: Data>(
        &self,
        other: &Stream<K, R>,
        with: impl Fn(&K, Option<L>, Option<R>) -> W + Send + Sync + 'static,
        windows: JoinWindows,
        joined: impl Into<Joined<K, L, R>>,
    ) -> Stream<K, W> {
        let with = move |key: &K, left: Option<L>, right: Option<R>| Some(with(key, left, right));
        let kind = Kind { name: "outer-join", keeps_left: true, keeps_right: true };
        self.join_windowed(other, Arc::new(with), windows, (kind, joined.into()))
    }

    fn join_windowed<R: Data, W: Data>(
        &self,
        other: &Stream<K, R>,
        with: Arc<With<K, L, R, W>>,
        windows: JoinWindows,
        (kind, joined): (Kind, Joined<K, L, R>),
    ) -> Stream<K, W> {
        of_one_builder(&self.graph, &other.graph);
        let mut graph = entered(&self.graph);
        graph.needs_key_of_partition(self.is_scattered, self.vertex, "joined with another");
        graph.needs_key_of_partition(other.is_scattered, other.vertex, "joined with another");
        let spans = windows.spans(&mut graph);
        let retention_ms = Some(spans.retention_ms());
        let mut store = |side: &str| graph.add_kept((&format!("{}-{side}", joined.name), true), retention_ms);
        let mut stores = vec![store("left"), store("right")];
        if kind.keeps_left {
            stores.push(store("unjoined"));
        }
        let name = graph.name(Some(&joined.name), kind.name);
        let (parents, places) = ([self.vertex, other.vertex], stores.clone());
        let build = move |id: VertexId, assembly: &mut Assembly<'_>| {
            let places: Result<Vec<usize>, _> = places.iter().map(|store| assembly.place(*store)).collect();
            let join = Join {
                key: Arc::clone(&joined.key),
                left: Buffer::new(place(&places, 0)?, spans.retention_ms(), &joined.left),
                right: Buffer::new(place(&places, 1)?, spans.retention_ms(), &joined.right),
                unjoined: kind.keeps_left.then(|| place(&places, 2).map(Unjoined::new)).transpose()?,
                marks: Marks::new(place(&places, 0)?),
                time: assembly.seen_time(id),
                kind,
                spans,
                with: Arc::clone(&with),
                outlet: assembly.outlet::<K, W>(id)?,
            };
            let join = Arc::new(Mutex::new(join));
            let left = Arc::clone(&join);
            assembly.attach_operator(parents[0], move |event: Event<K, L>, scope: &mut Scope| {
                entered(&left).left(event, scope)
            });
            let right = Arc::clone(&join);
            assembly.attach_operator(parents[1], move |event: Event<K, R>, scope: &mut Scope| {
                entered(&right).right(event, scope)
            });
            assembly.hooks.push(join);
            Ok(())
        };
        let vertex = graph.add(Vertex::join(name, parents.to_vec(), stores, build));
        graph.delays(vertex, kind.delay_ms(spans));
        drop(graph);
        Stream::new(Arc::clone(&self.graph), vertex, false)
    }
}

fn place(places: &Result<Vec<usize>, StreamError>, number: usize) -> Result<usize, StreamError> {
    let places = places.as_ref().map_err(Clone::clone)?;
    places.get(number).copied().ok_or_else(|| StreamError::Broken(format!("a join has no store {number}")))
}
