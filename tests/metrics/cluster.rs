//! A cluster that works and loses a node: what its nodes tell meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use millstream::{Client, CreateTopic, ProducerRecord, ProducerSettings};
use millstream_actors::events::catalogue::{self, Kind, Labels};
use millstream_tests::load::{Load, LoadSettings};
use millstream_tests::process::{ProcessCluster, http};
use millstream_tests::{Outcome, until};

use crate::PROGRAM;
use crate::exposition::{self, Scrape};
use crate::expressions::{alerts, panels};

/// The scrapes of all nodes, by their ids.
type Scrapes = BTreeMap<u32, Scrape>;

async fn scrape(cluster: &ProcessCluster, id: u32) -> Outcome<Scrape> {
    let answer = http::get(cluster.http(id), "/metrics").await?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer of HTTP")?;
    if !head.starts_with("HTTP/1.1 200") || !head.contains("text/plain; version=0.0.4") {
        return Err(format!("node {id} answers {head}").into());
    }
    Ok(exposition::parse(body).map_err(|error| format!("node {id}: {error}"))?)
}

async fn scrape_all(cluster: &ProcessCluster) -> Outcome<Scrapes> {
    let mut scrapes = Scrapes::new();
    for id in cluster.running() {
        scrapes.insert(id, scrape(cluster, id).await?);
    }
    Ok(scrapes)
}

/// The values of all samples of this name, on all nodes.
fn values<'a>(scrapes: &'a Scrapes, name: &'a str) -> impl Iterator<Item = f64> + 'a {
    let family = name.strip_suffix("_count").unwrap_or(name);
    scrapes
        .values()
        .filter_map(move |scrape| scrape.get(family))
        .flat_map(|family| &family.samples)
        .filter(move |sample| sample.name == name)
        .map(|sample| sample.value)
}

fn sum(scrapes: &Scrapes, name: &str) -> f64 {
    values(scrapes, name).sum()
}

/// Scrapes until a series over all nodes is as it should be.
async fn until_sum(
    cluster: &ProcessCluster,
    name: &str,
    what: &str,
    is_well: impl Fn(f64) -> bool,
) -> Outcome<Scrapes> {
    until(&format!("{name} {what}"), async || {
        let scrapes = scrape_all(cluster).await?;
        Ok(is_well(sum(&scrapes, name)).then_some(scrapes))
    })
    .await
}

/// Every node tells every series of the catalogue, as the catalogue says, and no other.
fn are_as_the_catalogue_says(scrapes: &Scrapes) -> Outcome {
    let known: BTreeMap<_, _> = catalogue::all().map(|series| (series.name, series)).collect();
    for (node, scrape) in scrapes {
        for (name, family) in scrape {
            let series = known.get(&**name).ok_or_else(|| format!("{name} is in no catalogue"))?;
            let kind = match series.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            if family.kind != kind || family.help != series.help {
                return Err(format!("node {node}: {name} is a {}: {}", family.kind, family.help).into());
            }
            for sample in &family.samples {
                let names: BTreeSet<_> =
                    sample.labels.keys().map(String::as_str).filter(|label| *label != "le").collect();
                if names != series.labels.names().iter().copied().collect() {
                    return Err(format!("node {node}: {name} has the labels {names:?}").into());
                }
                if let Labels::Known(label, values) = series.labels
                    && !sample.labels.get(label).is_some_and(|value| values.contains(&value.as_str()))
                {
                    return Err(format!("node {node}: {name} has {:?}", sample.labels).into());
                }
            }
        }
        let silent = known
            .values()
            .find(|series| !matches!(series.labels, Labels::Open(_)) && !scrape.contains_key(series.name));
        if let Some(series) = silent {
            return Err(format!("node {node} does not tell {}", series.name).into());
        }
    }
    Ok(())
}

/// Whether a series comes with the code of users: here is none.
fn comes_with_users(name: &str) -> bool {
    ["millstream_user_", "millstream_entity_", "millstream_streams_"]
        .iter()
        .any(|first| name.starts_with(first))
}

/// Every expression of every panel and alert finds what it asks for.
fn have_what_is_asked_for(scrapes: &Scrapes) -> Outcome {
    let told: BTreeSet<_> = scrapes
        .values()
        .flat_map(|scrape| scrape.values().flat_map(|family| &family.samples))
        .map(|sample| sample.name.as_str())
        .collect();
    let of_panels = panels()?.into_iter().flat_map(|panel| panel.expressions);
    for expression in of_panels.chain(alerts()?) {
        for name in expression.series() {
            if !told.contains(name.as_str()) && !comes_with_users(&name) {
                return Err(format!("{} asks for {name}, and no node tells it", expression.of).into());
            }
        }
    }
    Ok(())
}

/// What has to have moved in a cluster that was written to and read from.
const MOVED: &[&str] = &[
    "millstream_produce_seconds_count",
    "millstream_append_seconds_count",
    "millstream_log_append_seconds_count",
    "millstream_log_sync_seconds_count",
    "millstream_replication_durable_seconds_count",
    "millstream_fetch_seconds_count",
    "millstream_quorum_commit_seconds_count",
    "millstream_group_load_seconds_count",
    "millstream_records_in_total",
    "millstream_in_bytes_total",
    "millstream_out_bytes_total",
    "millstream_replicated_bytes_total",
    "millstream_replication_sent_bytes_total",
    "millstream_replication_received_bytes_total",
    "millstream_replication_sessions",
    "millstream_log_appended_bytes_total",
    "millstream_log_synced_files_total",
    "millstream_log_directory_free_bytes",
    "millstream_log_directory_size_bytes",
    "millstream_group_members",
    "millstream_group_members_joined_total",
    "millstream_group_rebalances_total",
    "millstream_transactions_committed_total",
    "millstream_transactions_aborted_total",
    "millstream_transactions_seconds_count",
    "millstream_transactions_marker_seconds_count",
    "millstream_partitions_led",
    "millstream_cluster_partitions",
    "millstream_actor_alive",
    "millstream_actor_handled_total",
    "millstream_actor_handler_seconds_count",
    "millstream_peer_links",
    "millstream_peer_asks_total",
    "millstream_peer_requests_total",
    "millstream_peer_sent_bytes_total",
    "millstream_peer_received_bytes_total",
];

/// What must be zero in a cluster in which nothing is wrong.
const STILL: &[&str] = &[
    "millstream_invariant_broken_total",
    "millstream_actor_restarts_total",
    "millstream_log_corruptions_total",
    "millstream_log_directory_failed",
    "millstream_quorum_failed",
    "millstream_node_quorum_lost",
    "millstream_cluster_offline_partitions",
    "millstream_cluster_under_replicated_partitions",
    "millstream_partitions_under_replicated",
    "millstream_transactions_open",
    "millstream_transactions_timed_out_total",
    "millstream_transactions_fenced_total",
];

fn tell_a_cluster_that_is_well(scrapes: &Scrapes) -> Outcome {
    for name in MOVED {
        if sum(scrapes, name) <= 0.0 {
            return Err(format!("{name} has not moved").into());
        }
    }
    for name in STILL {
        if sum(scrapes, name) != 0.0 {
            return Err(format!("{name} is {} though nothing is wrong", sum(scrapes, name)).into());
        }
    }
    for (name, expected) in [
        ("millstream_node_ready", 3.0),
        ("millstream_node_info", 3.0),
        ("millstream_controller_active", 1.0),
        ("millstream_cluster_live_nodes", 3.0),
    ] {
        if sum(scrapes, name) != expected {
            return Err(format!("{name} is {}, not {expected}", sum(scrapes, name)).into());
        }
    }
    Ok(())
}

fn plain(name: &str) -> CreateTopic {
    CreateTopic {
        name: name.to_owned(),
        partitions: Some(1),
        replication_factor: None,
        config: BTreeMap::new(),
    }
}

/// Two transactions, one of which commits; waits until the markers of both are written.
async fn make_transactions(cluster: &ProcessCluster, client: &Client, topic: &str) -> Outcome {
    let settings = ProducerSettings::transactional("counted");
    let mut producer = client.transactional_producer(settings).await?;
    for commits in [true, false] {
        let mut transaction = producer.begin().await?;
        transaction.send(ProducerRecord::to(topic).value("x")).await?.await?;
        if commits {
            transaction.commit().await?;
        } else {
            transaction.abort().await?;
        }
    }
    let marked = "millstream_transactions_marker_seconds_count";
    until_sum(cluster, marked, "is 2", |sum| sum == 2.0).await.map(drop)
}

/// The lag is measured now and then: waits for it.
async fn lag_is_told(cluster: &ProcessCluster) -> Outcome {
    let lag = "millstream_group_lag_seconds";
    until("the lag of the group", async || Ok(values(&scrape_all(cluster).await?, lag).next().map(drop)))
        .await
}

#[tokio::test]
async fn metrics_tell_the_story_of_a_node_that_is_killed_and_comes_back() {
    ProcessCluster::run(PROGRAM, 3, &[], async |cluster| {
        // From the first moment on, though nothing has happened.
        are_as_the_catalogue_says(&scrape_all(cluster).await?)?;
        let client = cluster.client().await?;
        client.admin().create_topic(plain("copies")).await?;
        make_transactions(cluster, &client, "copies").await?;
        let load = Load::start(&client, LoadSettings::default()).await?;
        load.acknowledges(50).await?;
        load.in_sync().await?;
        lag_is_told(cluster).await?;
        let under = "millstream_cluster_under_replicated_partitions";
        let scrapes = until_sum(cluster, under, "is 0", |sum| sum == 0.0).await?;
        are_as_the_catalogue_says(&scrapes)?;
        have_what_is_asked_for(&scrapes)?;
        tell_a_cluster_that_is_well(&scrapes)?;

        let killed = load.leader(0).await?;
        cluster.kill_9(killed)?;
        until_sum(cluster, under, "is more than 0", |sum| sum > 0.0).await?;
        load.acknowledges(50).await?;
        let scrapes = scrape_all(cluster).await?;
        if sum(&scrapes, "millstream_nodes_died_total") <= 0.0 {
            return Err("nobody counts the node that died".into());
        }
        if sum(&scrapes, "millstream_cluster_live_nodes") != 2.0 {
            return Err("the controller does not tell that two nodes are left".into());
        }
        let is_clean = |sample: &&exposition::Sample| {
            sample.labels.get("kind").is_some_and(|kind| kind == "clean") && sample.value > 0.0
        };
        let elections = scrapes.values().filter_map(|scrape| scrape.get("millstream_elections_total"));
        if elections.flat_map(|family| &family.samples).find(is_clean).is_none() {
            return Err("nobody counts the elections".into());
        }

        cluster.restart_node(killed).await?;
        load.in_sync().await?;
        // Perhaps by another coordinator now.
        lag_is_told(cluster).await?;
        let scrapes = until_sum(cluster, under, "is 0 again", |sum| sum == 0.0).await?;
        are_as_the_catalogue_says(&scrapes)?;
        have_what_is_asked_for(&scrapes)?;
        load.finish().await?;
        Ok(())
    })
    .await;
}
