//! Puts an application back to where it begins: as `kafka-streams-application-reset` does it in the cluster, and its local
//! state beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::run::{StreamsError, StreamsSettings};
use super::store::DiskStore;
use crate::client::{Client, ClientError, TopicPartition, TopicView};
use crate::error::ErrorCode;
use crate::group::message::GroupState;
use crate::ids::Offset;
use crate::partition::message::OffsetSpec;

/// How long it is waited for the end of a transaction.
const STABLE_WITHIN: Duration = Duration::from_secs(2);

/// What the names of topics of the library's own end with.
const OWN: [&str; 2] = ["-changelog", "-repartition"];

/// Where an application is to read its inputs from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetTo {
    /// The first record there is.
    Earliest,
    /// Behind the last record there is.
    Latest,
    /// The first record of this time or later, in milliseconds since 1970; where there is none, behind the last.
    Time(i64),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reset {
    /// The application.
    pub application: String,
    /// The topics that it reads and whose offsets are set; of others they stay as they are.
    pub inputs: Vec<String>,
    /// Where to.
    pub to: ResetTo,
    /// Only what would be done is told.
    pub is_dry_run: bool,
}

/// What was done, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResetDone {
    /// Of each partition of the inputs where it was committed to before, and where it is now.
    pub offsets: BTreeMap<TopicPartition, (Option<Offset>, Offset)>,
    /// Topics of the library's own that were deleted.
    pub deleted: Vec<String>,
    /// Topics that are not, since they may be those of this other application, whose name begins like this one's.
    pub left: Vec<(String, String)>,
}

/// An application cannot be reset.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ResetError {
    /// Something of it runs still.
    #[error("{application} cannot be reset: {reason}")]
    Runs {
        /// The application.
        application: String,
        /// What, and what to do.
        reason: String,
    },
    /// The cluster says no, or nothing.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl Reset {
    /// Sets the offsets of the application's inputs, then deletes its changelog and repartition topics. Refused while it has
    /// members, or a transaction of it is open. What is in state directories is deleted by [`clean_up`], in each of its
    /// processes: without that they have state that nothing explains any more.
    pub async fn run(&self, client: &Client) -> Result<ResetDone, ResetError> {
        let topics = client.admin().list_topics().await?;
        self.check_members(client).await?;
        let (own, left) = self.own(client, &topics).await?;
        self.check_transactions(client, &own).await?;
        let inputs = self.inputs(client).await?;
        let offsets = self.offsets(client, &inputs).await?;
        let deleted = own.iter().map(|topic| topic.name.to_string()).collect();
        let done = ResetDone { offsets, deleted, left };
        if self.is_dry_run {
            return Ok(done);
        }
        let view = client.metadata().view();
        let named = done.offsets.iter().filter_map(|(of, (_, next))| Some((view.id(of)?, *next)));
        let named: BTreeMap<_, _> = named.collect();
        if !named.is_empty() {
            client.admin().reset_offsets(&self.application, named).await?;
        }
        for topic in &done.deleted {
            client.admin().delete_topic(topic).await?;
        }
        Ok(done)
    }

    fn runs(&self, reason: impl Into<String>) -> ResetError {
        ResetError::Runs { application: self.application.clone(), reason: reason.into() }
    }

    async fn check_members(&self, client: &Client) -> Result<(), ResetError> {
        let shown = client.list_streams(Some(&self.application)).await?;
        let members = shown.values().flat_map(|shown| shown.members.values());
        let here: Vec<_> =
            members.map(|member| format!("{:?} at {}", member.instance, member.host)).collect();
        if !here.is_empty() {
            let text = format!(
                "it runs in {}; end it first. A process that died is forgotten some seconds after that",
                here.join(", ")
            );
            return Err(self.runs(text));
        }
        match client.admin().describe_group(&self.application).await {
            Ok(group) if group.state == GroupState::Empty && group.members.is_empty() => Ok(()),
            Ok(group) => {
                Err(self.runs(format!("its group has {} members; end them first", group.members.len())))
            }
            Err(ClientError::Refused(refusal)) if refusal.code == ErrorCode::GroupIdNotFound => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The topics of the library's own, and those that may be another application's.
    async fn own(
        &self,
        client: &Client,
        topics: &[Arc<TopicView>],
    ) -> Result<(Vec<Arc<TopicView>>, Vec<(String, String)>), ResetError> {
        let groups: BTreeSet<String> = client.admin().list_groups().await?.into_keys().collect();
        let (mut own, mut left) = (Vec::new(), Vec::new());
        for topic in topics.iter().filter(|topic| is_own(&self.application, &topic.name)) {
            match other(&self.application, &groups, &topic.name) {
                Some(other) => left.push((topic.name.to_string(), other.to_owned())),
                None => own.push(Arc::clone(topic)),
            }
        }
        Ok((own, left))
    }

    /// Neither an offset nor a record of its own topics waits for the end of a transaction.
    async fn check_transactions(&self, client: &Client, own: &[Arc<TopicView>]) -> Result<(), ResetError> {
        let open = || self.runs("a transaction of it is open; it ends within its transaction.timeout.ms");
        let committed = client.admin().committed(&self.application).await?;
        let stable =
            client.stable_commits(&self.application, committed.keys().copied().collect(), STABLE_WITHIN);
        match stable.await {
            Ok(_) => {}
            Err(ClientError::TimedOut { .. }) => return Err(open()),
            Err(error) => return Err(error.into()),
        }
        let partitions: Vec<TopicPartition> = own.iter().flat_map(|topic| partitions(topic)).collect();
        let ends = listed(client, &partitions, OffsetSpec::Latest).await?;
        let stable = listed(client, &partitions, OffsetSpec::LastStable).await?;
        let is_open = ends.iter().any(|(of, end)| stable.get(of).is_some_and(|stable| stable < end));
        if is_open { Err(open()) } else { Ok(()) }
    }

    async fn inputs(&self, client: &Client) -> Result<Vec<TopicPartition>, ResetError> {
        let mut inputs = Vec::new();
        for topic in &self.inputs {
            inputs.extend(partitions(&*client.admin().describe_topic(topic).await?));
        }
        Ok(inputs)
    }

    async fn offsets(
        &self,
        client: &Client,
        inputs: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, (Option<Offset>, Offset)>, ResetError> {
        let committed = client.admin().committed(&self.application).await?;
        let spec = match self.to {
            ResetTo::Earliest => OffsetSpec::Earliest,
            ResetTo::Latest => OffsetSpec::Latest,
            ResetTo::Time(ms) => OffsetSpec::Timestamp(ms),
        };
        let (to, ends) =
            (listed(client, inputs, spec).await?, listed(client, inputs, OffsetSpec::Latest).await?);
        let view = client.metadata().view();
        let each = inputs.iter().filter_map(|of| {
            let next = to.get(of).or_else(|| ends.get(of))?;
            let before = view.id(of).and_then(|id| committed.get(&id)).map(|committed| committed.offset);
            Some((of.clone(), (before, *next)))
        });
        Ok(each.collect())
    }
}

fn partitions(topic: &TopicView) -> Vec<TopicPartition> {
    topic.partition_ids().map(|id| TopicPartition::new(Arc::clone(&topic.name), id.index)).collect()
}

async fn listed(
    client: &Client,
    of: &[TopicPartition],
    spec: OffsetSpec,
) -> Result<BTreeMap<TopicPartition, Offset>, ClientError> {
    let wanted: Vec<_> = of.iter().map(|of| (of.clone(), spec)).collect();
    let found = client.admin().offsets(&wanted).await?;
    Ok(found.into_iter().filter_map(|(of, listed)| Some((of, listed.offset?))).collect())
}

/// Whether a topic bears the name of one that the library makes for an application.
fn is_own(application: &str, topic: &str) -> bool {
    let rest = topic.strip_prefix(application).and_then(|rest| rest.strip_prefix('-'));
    rest.is_some_and(|rest| OWN.iter().any(|end| rest.ends_with(end)))
}

/// Another application that may have made the topic: one whose name goes on as the topic's does.
fn other<'a>(application: &str, groups: &'a BTreeSet<String>, topic: &str) -> Option<&'a str> {
    let longer = groups.iter().filter(|group| group.len() > application.len() && is_own(group, topic));
    longer.map(String::as_str).max_by_key(|group| group.len())
}

/// Deletes what an application has in the state directory of these settings: all of it, while no process uses it. Its next
/// start reads its stores from their changelogs.
pub fn clean_up(application: &str, settings: &StreamsSettings) -> Result<(), StreamsError> {
    let Some(directory) = &settings.state_dir else { return Ok(()) };
    DiskStore::delete_all(&directory.join(application)).map_err(|error| StreamsError::Stream(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_of_the_librarys_own_are_known_by_their_names_and_those_of_others_left() {
        assert!(is_own("app", "app-counts-changelog") && is_own("app", "app-words-repartition"));
        for not in ["app-counts", "apps-counts-changelog", "counts-changelog", "app"] {
            assert!(!is_own("app", not), "{not}");
        }
        let groups: BTreeSet<String> = ["app", "app-b", "app-b-c", "x"].map(str::to_owned).into();
        assert_eq!(other("app", &groups, "app-counts-changelog"), None);
        assert_eq!(other("app", &groups, "app-b-counts-changelog"), Some("app-b"));
        assert_eq!(other("app", &groups, "app-b-c-counts-changelog"), Some("app-b-c"));
        assert_eq!(other("app-b", &groups, "app-b-counts-changelog"), None);
    }

    #[test]
    fn local_state_is_deleted_while_nobody_uses_it() {
        let root = tempfile::tempdir().unwrap();
        let settings =
            StreamsSettings { state_dir: Some(root.path().to_owned()), ..StreamsSettings::default() };
        let (task, other) = (root.path().join("app").join("0_0"), root.path().join("other").join("0_0"));
        clean_up("app", &settings).unwrap();
        let budget = settings.disk_budget;
        let opened = DiskStore::open_all(&task, &["s"], budget).unwrap();
        drop(DiskStore::open_all(&other, &["s"], budget).unwrap());
        let error = clean_up("app", &settings).unwrap_err().to_string();
        assert!(error.contains("in use"), "{error}");
        assert!(task.join("database").exists());
        drop(opened);
        let process = std::fs::File::create(root.path().join("app").join("process")).unwrap();
        process.lock().unwrap();
        let error = clean_up("app", &settings).unwrap_err().to_string();
        assert!(error.contains("in use"), "a process lives that has no task open: {error}");
        drop(process);
        clean_up("app", &settings).unwrap();
        assert!(!root.path().join("app").exists() && other.exists());
    }
}
