//! The applications of streams of the cluster as JSON, over HTTP and from the command line.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::extract::Query;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use millstream_actors::client::{Client, ClientError, NodeClient};
use millstream_actors::ids::{Offset, PartitionId};
use millstream_actors::partition::message::OffsetSpec;
use millstream_actors::streams::StoreSize;
use millstream_actors::streams::query::message::{MemberShown, StoreShape, StreamsShown, TaskShape};
use serde::{Deserialize, Serialize};

/// Stores whose size is asked for, of an application that is named.
const SIZES_MAX: usize = 100;

/// How long the tasks of an application may take to say it of a store; all stores are asked at once.
const SIZE_WITHIN: Duration = Duration::from_secs(2);

/// Tells of applications of streams.
pub trait Applications: Send + Sync {
    /// All that run, or this one only.
    fn report(
        &self,
        application: Option<String>,
    ) -> BoxFuture<'static, Result<Vec<ApplicationReport>, ClientError>>;
}

impl Applications for NodeClient {
    fn report(
        &self,
        application: Option<String>,
    ) -> BoxFuture<'static, Result<Vec<ApplicationReport>, ClientError>> {
        let client = self.get();
        async move { report(&client, application.as_deref()).await }.boxed()
    }
}

/// What may be said behind the question mark.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    application: Option<String>,
}

/// The answer to `GET /streams`.
pub(super) async fn answer(
    applications: &dyn Applications,
    Query(asked): Query<Asked>,
) -> Result<Vec<ApplicationReport>, String> {
    applications.report(asked.application).await.map_err(|error| error.to_string())
}

/// An application, with names that stay.
#[derive(Clone, Debug, Serialize)]
pub struct ApplicationReport {
    pub(crate) application: String,
    pub(crate) members: Vec<MemberReport>,
    pub(crate) stores: Vec<StoreReport>,
    pub(crate) inputs: Vec<InputReport>,
}

/// A process of an application.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct MemberReport {
    pub(crate) member: String,
    pub(crate) instance: String,
    pub(crate) host: String,
    pub(crate) heard_ms: u64,
    pub(crate) tasks: Vec<String>,
    pub(crate) standbys: Vec<String>,
    pub(crate) waiting_queries: u32,
}

/// A store of an application that can be asked.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StoreReport {
    pub(crate) store: String,
    /// None of a global table.
    pub(crate) sub_topology: Option<u32>,
    pub(crate) partitions: i32,
    /// About; none where it was not asked for, or nobody said.
    pub(crate) entries: Option<u64>,
    pub(crate) bytes: Option<u64>,
}

/// How far an application has read a partition.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct InputReport {
    pub(crate) partition: String,
    pub(crate) committed: i64,
    /// Not known while the partition has no leader.
    pub(crate) end: Option<i64>,
    pub(crate) lag: Option<i64>,
}

/// What is told of the applications that run; of one that is named also where it has committed to without running.
pub(crate) async fn report(
    client: &Client,
    application: Option<&str>,
) -> Result<Vec<ApplicationReport>, ClientError> {
    let is_one = application.is_some();
    let mut shown = client.list_streams(application).await?;
    if let Some(application) = application {
        shown.entry(application.to_owned()).or_insert_with(|| StreamsShown {
            application: application.to_owned(),
            members: BTreeMap::new(),
        });
    }
    let mut reports = Vec::new();
    for (application, shown) in shown {
        let inputs = inputs(client, &application).await?;
        let shapes = shown.members.values().flat_map(|member| &member.stores);
        let shapes: BTreeSet<StoreShape> = shapes.cloned().collect();
        let sized = shapes.into_iter().enumerate().map(|(place, shape)| {
            let (is_asked, application) = (is_one && place < SIZES_MAX, application.as_str());
            async move {
                let size = if is_asked { size(client, application, &shape.name).await } else { None };
                of_store(shape, size)
            }
        });
        let stores = join_all(sized).await;
        let members = shown.members.into_iter().map(of_member).collect();
        reports.push(ApplicationReport { application, members, stores, inputs });
    }
    Ok(reports)
}

/// How much a store has; nothing where nobody says so in time.
async fn size(client: &Client, application: &str, store: &str) -> Option<StoreSize> {
    let application = client.streams(application).within(SIZE_WITHIN);
    let store = application.store::<Bytes, Bytes>(store);
    tokio::time::timeout(SIZE_WITHIN, store.size()).await.ok()?.ok()
}

fn of_store(store: StoreShape, size: Option<StoreSize>) -> StoreReport {
    StoreReport {
        store: store.name,
        sub_topology: store.part,
        partitions: store.partitions,
        entries: size.map(|size| size.entries),
        bytes: size.map(|size| size.bytes),
    }
}

fn of_member((id, member): (String, MemberShown)) -> MemberReport {
    let named = |is_standby: bool| {
        let tasks = member.tasks.iter().filter(move |task| task.is_standby == is_standby);
        tasks.map(|TaskShape { part, partition, .. }| format!("{part}_{partition}")).collect()
    };
    MemberReport {
        member: id,
        tasks: named(false),
        standbys: named(true),
        instance: member.instance,
        host: member.host,
        heard_ms: member.heard_ms,
        waiting_queries: member.waiting,
    }
}

/// What the application has committed, against the ends of what it reads.
async fn inputs(client: &Client, application: &str) -> Result<Vec<InputReport>, ClientError> {
    client.admin().list_topics().await?;
    let committed = client.admin().committed(application).await?;
    let view = client.metadata().view();
    // A partition without a leader cannot tell its end; it must not keep the others from being shown.
    let led = committed.keys().filter(|id| view.leader(**id).is_some());
    let wanted: Vec<_> = led.filter_map(|id| Some((view.name(*id)?, OffsetSpec::Latest))).collect();
    let ends = client.admin().offsets(&wanted).await?;
    let ends: BTreeMap<PartitionId, Offset> =
        ends.into_iter().filter_map(|(name, listed)| Some((view.id(&name)?, listed.offset?))).collect();
    let mut reports: Vec<InputReport> = Vec::new();
    for (id, committed) in committed {
        // Topics of the library's own that were deleted leave their offsets behind.
        let Some(name) = view.name(id) else { continue };
        let end = ends.get(&id).map(|end| end.0);
        let lag = end.map(|end| end.saturating_sub(committed.offset.0).max(0));
        reports.push(InputReport { partition: name.to_string(), committed: committed.offset.0, end, lag });
    }
    reports.sort_by(|one, other| one.partition.cmp(&other.partition));
    Ok(reports)
}

/// Always the same, for tests.
#[cfg(test)]
pub(super) struct Fixed(pub(super) Vec<ApplicationReport>);

#[cfg(test)]
impl Applications for Fixed {
    fn report(&self, _: Option<String>) -> BoxFuture<'static, Result<Vec<ApplicationReport>, ClientError>> {
        std::future::ready(Ok(self.0.clone())).boxed()
    }
}
