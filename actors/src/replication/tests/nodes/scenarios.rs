use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use millstream_transport::world::simulation::{self, Simulation};
use millstream_transport::world::{Disk, DiskCall, OpenMode, Random};

use super::super::memory::MemoryNetwork;
use super::client::{Acknowledged, Fronts, ask_produce, check, produce_until, read_until};
use super::controller::{TestController, partition};
use super::node::{TestNode, TestWarnings};
use crate::ids::NodeId;
use crate::partition::replica::produce::tests::DEADLY;
use crate::record::{BatchBuilder, Compression};

struct Cluster {
    simulation: Simulation,
    network: MemoryNetwork,
    controller: TestController,
    nodes: Vec<TestNode>,
    fronts: Fronts,
    random: Random,
    stop: Rc<RefCell<bool>>,
    stop_reading: Rc<RefCell<bool>>,
    producers: Vec<actix_rt::task::JoinHandle<Acknowledged>>,
    readers: Vec<actix_rt::task::JoinHandle<BTreeMap<i64, String>>>,
}

const PARTITIONS: i32 = 2;

impl Cluster {
    async fn start(simulation: Simulation) -> Self {
        Self::start_with(simulation, BTreeMap::new()).await
    }

    async fn start_with(simulation: Simulation, config: BTreeMap<String, String>) -> Self {
        let random = Random::seeded(simulation.seed_of("faults"));
        let warnings = TestWarnings::default();
        let mut cluster = Self {
            controller: TestController::new(Random::seeded(simulation.seed_of("controller"))),
            simulation,
            network: MemoryNetwork::default(),
            nodes: (1..=3).map(|id| TestNode::new(id, warnings.clone())).collect(),
            fronts: Rc::default(),
            random,
            stop: Rc::default(),
            stop_reading: Rc::default(),
            producers: Vec::new(),
            readers: Vec::new(),
        };
        for at in 0..3 {
            cluster.restart(at).await;
        }
        cluster.controller.create_topic(PARTITIONS as usize, &[1, 2, 3], config);
        for index in 0..PARTITIONS {
            for producer in 0..2 {
                cluster.producers.push(actix_rt::spawn(produce_until(
                    cluster.controller.clone(),
                    Rc::clone(&cluster.fronts),
                    i64::from(index * 10 + producer),
                    index,
                    Rc::clone(&cluster.stop),
                )));
            }
            cluster.readers.push(actix_rt::spawn(read_until(
                cluster.controller.clone(),
                Rc::clone(&cluster.fronts),
                index,
                Rc::clone(&cluster.stop_reading),
            )));
        }
        cluster.run(300).await;
        cluster
    }

    async fn run(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    async fn restart(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.start(&self.simulation, &self.network, &self.controller).await;
        let front = node.life.as_ref().unwrap().front.clone();
        self.fronts.borrow_mut().insert(node.id, front);
    }

    fn kill(&mut self, at: usize, with_power: bool) {
        let node = &mut self.nodes[at];
        self.fronts.borrow_mut().remove(&node.id);
        node.die(&self.network, &self.controller, with_power);
    }

    fn notice(&self) {
        for node in &self.nodes {
            node.noticed(&self.controller);
        }
    }

    fn in_sync(&self, index: i32) -> usize {
        self.controller.image().partition(partition(index)).unwrap().in_sync.len()
    }

    fn leader(&self, index: i32) -> Option<NodeId> {
        self.controller.image().partition(partition(index)).unwrap().leader.map(|leader| leader.node)
    }

    /// Everybody comes back; everything acknowledged is there; all replicas are in sync and equal.
    async fn check(mut self) -> usize {
        for at in 0..3 {
            self.restart(at).await;
        }
        for _ in 0..100 {
            self.run(200).await;
            if (0..PARTITIONS).all(|index| self.in_sync(index) == 3) {
                break;
            }
        }
        self.run(500).await;
        for index in 0..PARTITIONS {
            assert_eq!(self.in_sync(index), 3, "{:?}", self.controller.image().partition(partition(index)));
        }
        *self.stop.borrow_mut() = true;
        let mut acknowledged = Vec::new();
        for producer in self.producers.drain(..) {
            acknowledged.push(producer.await.unwrap());
        }
        *self.stop_reading.borrow_mut() = true;
        let mut total = 0;
        for (index, reader) in self.readers.drain(..).enumerate() {
            let seen = reader.await.unwrap();
            check(&seen, &acknowledged[index * 2..index * 2 + 2]);
            total += seen.len();
        }
        self.run(1000).await;
        self.check_equal();
        total
    }

    fn check_equal(&self) {
        let of = |node: &TestNode| {
            let disk = node.disk.disk();
            segments(&*disk, Path::new("/data"))
        };
        let first = of(&self.nodes[0]);
        assert!(!first.is_empty());
        for node in &self.nodes[1..] {
            assert!(of(node) == first, "the replicas on nodes 1 and {} differ", node.id);
        }
    }
}

/// All log files, in order.
fn log_files(disk: &dyn Disk, directory: &Path) -> Vec<PathBuf> {
    let logs = disk.list(directory).unwrap();
    let files = logs.iter().flat_map(|log| disk.list(log).unwrap_or_default());
    files.filter(|file| file.extension().is_some_and(|extension| extension == "log")).collect()
}

/// The bytes of all log files by partition, in order.
fn segments(disk: &dyn Disk, directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for file in log_files(disk, directory) {
        let open = disk.open(&file, OpenMode::Read).unwrap();
        let mut bytes = vec![0; usize::try_from(open.length().unwrap()).unwrap()];
        open.read_at(&mut bytes, 0).unwrap();
        all.entry(file.parent().unwrap().to_path_buf()).or_insert_with(Vec::new).extend(bytes);
    }
    all
}

fn deadly_batch() -> bytes::Bytes {
    let mut builder = BatchBuilder::new(1 << 20, Compression::NONE);
    builder.push(1_767_225_600_000, None, Some(DEADLY), &[]).unwrap();
    builder.finish(None)
}

fn simulate<F: Future<Output = ()>>(seed: u64, scenario: impl FnOnce(Simulation) -> F) {
    simulation::run_within(seed, Duration::from_secs(600), scenario);
}

#[test]
fn three_nodes_replicate_and_every_record_is_there_once() {
    simulate(1, |simulation| async move {
        let cluster = Cluster::start(simulation).await;
        cluster.run(2000).await;
        let records = cluster.check().await;
        assert!(records > 500, "{records} records");
    });
}

#[test]
fn a_killed_leader_is_followed_by_another_and_comes_back() {
    simulate(2, |simulation| async move {
        let mut cluster = Cluster::start(simulation).await;
        for _ in 0..4 {
            let leader = cluster.leader(0).unwrap().0 as usize - 1;
            cluster.kill(leader, false);
            cluster.run(400).await;
            cluster.notice();
            cluster.run(700).await;
            assert!(cluster.leader(0).is_some());
            cluster.restart(leader).await;
            cluster.run(1500).await;
        }
        cluster.check().await;
    });
}

#[test]
fn all_nodes_lose_power_at_once() {
    simulate(3, |simulation| async move {
        let mut cluster = Cluster::start(simulation).await;
        for _ in 0..3 {
            cluster.run(500).await;
            for at in 0..3 {
                cluster.kill(at, true);
            }
            cluster.run(300).await;
            for at in 0..3 {
                cluster.restart(at).await;
            }
        }
        cluster.check().await;
    });
}

#[test]
fn a_node_whose_disk_was_emptied_refetches() {
    simulate(4, |simulation| async move {
        let mut cluster = Cluster::start(simulation).await;
        for at in [0, 2] {
            cluster.run(500).await;
            cluster.kill(at, false);
            cluster.nodes[at].disk.empty_directory(Path::new("/data")).unwrap();
            cluster.run(500).await;
            cluster.notice();
            cluster.restart(at).await;
            cluster.run(1500).await;
        }
        cluster.check().await;
    });
}

#[test]
fn a_failed_sync_moves_the_leaders_and_the_node_heals_by_a_restart() {
    simulate(5, |simulation| async move {
        let mut cluster = Cluster::start(simulation).await;
        let leader = cluster.leader(0).unwrap();
        let at = leader.0 as usize - 1;
        cluster.nodes[at].disk.fail(DiskCall::Sync, Path::new("/data"), 1);
        cluster.run(1000).await;
        assert_ne!(cluster.leader(0), Some(leader));
        cluster.kill(at, false);
        cluster.run(500).await;
        cluster.notice();
        cluster.restart(at).await;
        cluster.run(1000).await;
        cluster.check().await;
    });
}

#[test]
fn without_a_controller_producing_and_fetching_go_on() {
    simulate(6, |simulation| async move {
        let mut cluster = Cluster::start(simulation).await;
        cluster.controller.set_down(true);
        cluster.run(15_000).await;
        cluster.controller.set_down(false);
        cluster.kill(1, true);
        cluster.run(500).await;
        cluster.notice();
        cluster.run(500).await;
        let records = cluster.check().await;
        assert!(records > 3_000, "{records} records");
    });
}

#[test]
fn nodes_stop_in_order_one_after_the_other() {
    simulate(7, |simulation| async move {
        let mut cluster = Cluster::start(simulation).await;
        for at in 0..3 {
            let id = cluster.nodes[at].id;
            let (network, controller) = (cluster.network.clone(), cluster.controller.clone());
            cluster.nodes[at].stop(&network, &controller).await;
            cluster.fronts.borrow_mut().remove(&id);
            cluster.run(500).await;
            cluster.restart(at).await;
            cluster.run(1500).await;
        }
        cluster.check().await;
    });
}

#[test]
fn a_flipped_bit_is_never_served_and_healed_from_the_others() {
    simulate(8, |simulation| async move {
        let mut cluster = Cluster::start(simulation).await;
        cluster.run(1000).await;
        // What lies in memory hides what lies on the disk: all start again.
        for at in 0..3 {
            cluster.kill(at, false);
        }
        cluster.notice();
        for at in 0..3 {
            cluster.restart(at).await;
        }
        cluster.run(500).await;
        let leader = cluster.leader(0).unwrap();
        let disk = cluster.nodes[leader.0 as usize - 1].disk.clone();
        let log = log_files(&*disk.disk(), Path::new("/data")).remove(0);
        disk.flip_bit(&log, 20_000, 3).unwrap();
        disk.evict_cache();

        // A reader from the beginning, who finds it.
        cluster.readers.push(actix_rt::spawn(read_until(
            cluster.controller.clone(),
            Rc::clone(&cluster.fronts),
            0,
            Rc::clone(&cluster.stop_reading),
        )));
        cluster.run(2000).await;
        assert_ne!(cluster.leader(0), Some(leader), "another leads");
        let late = cluster.readers.pop().unwrap();
        cluster.check().await;
        assert!(late.await.unwrap().len() > 100, "the late reader read everything");
    });
}

#[test]
fn a_request_that_kills_its_replica_twice_is_quarantined_and_others_go_on() {
    simulate(9, |simulation| async move {
        let mut cluster = Cluster::start(simulation).await;
        let deadly = deadly_batch();
        let mut deaths = 0;
        let refused = loop {
            let front = cluster.leader(0).and_then(|leader| cluster.fronts.borrow().get(&leader).cloned());
            if let Some(front) = front {
                let refusal = ask_produce(&front, partition(0), deadly.clone()).await.unwrap_err();
                if !refusal.code.is_retriable() {
                    break refusal;
                }
                deaths += usize::from(refusal.text.contains("stopped before"));
            }
            cluster.run(100).await;
            assert!(deaths < 7, "it kills for ever");
        };
        assert!(refused.text.contains("killed"), "{refused}");
        assert_eq!(deaths, 2, "however many nodes lead in turn");
        cluster.run(2000).await;
        for at in 0..3 {
            cluster.restart(at).await;
        }
        cluster.check().await;
    });
}

fn faults(seed: u64) {
    simulate(seed, |simulation| async move {
        let mut cluster = Cluster::start(simulation).await;
        cluster.controller.lose_answers(30);
        for _ in 0..12 {
            let at = usize::try_from(cluster.random.range(0, 3)).unwrap();
            match cluster.random.range(0, 9) {
                0 | 1 => cluster.kill(at, false),
                2 | 3 => cluster.kill(at, true),
                4 => cluster.network.cut(),
                5 => cluster.nodes[at].disk.slow(Duration::from_millis(1)..=Duration::from_millis(40)),
                6 => {
                    cluster.nodes[at].disk.fail(DiskCall::Sync, Path::new("/data"), 1);
                    cluster.run(cluster.random.range(1, 500)).await;
                    cluster.kill(at, false);
                    cluster.nodes[at].disk.fail_nothing();
                }
                7 => {
                    cluster.nodes[at].disk.set_full(true);
                    cluster.run(cluster.random.range(1, 3000)).await;
                    cluster.nodes[at].disk.set_full(false);
                }
                _ => {}
            }
            cluster.run(cluster.random.range(1, 800)).await;
            if cluster.random.chance(0.7) {
                cluster.notice();
            }
            cluster.run(cluster.random.range(1, 800)).await;
            for at in 0..3 {
                if cluster.random.chance(0.5) {
                    cluster.restart(at).await;
                }
            }
        }
        cluster.controller.lose_answers(0);
        cluster.check().await;
    });
}

#[test]
fn no_acknowledged_record_is_lost_whatever_fails() {
    for seed in 100..104 {
        faults(seed);
    }
}

#[test]
fn the_same_seed_gives_the_same_logs() {
    let run = |seed| {
        let mut logs = BTreeMap::new();
        simulation::run(seed, |simulation| {
            let logs = &mut logs;
            async move {
                let mut cluster = Cluster::start(simulation).await;
                cluster.run(200).await;
                cluster.kill(0, true);
                cluster.run(400).await;
                cluster.notice();
                cluster.restart(0).await;
                cluster.run(300).await;
                *logs = segments(&*cluster.nodes[0].disk.disk(), Path::new("/data"));
            }
        });
        logs
    };
    assert!(run(77) == run(77), "two runs from one seed differ");
    assert!(run(77) != run(78), "another seed gives another run");
}
