//! A controller of a few lines: applies commands to the image at once, elects what is due, tells every node later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millstream_transport::world::Random;
use millstream_transport::world::watch;

use crate::cluster::election::{due, moved};
use crate::ids::{DirectoryId, Incarnation, NodeId, PartitionId, TopicId};
use crate::image::{Command, Image, InSyncChange, Outcome, Registration, ReportedDoubt};
use crate::partition::controller_link::{Altered, ControllerLink, GivenUp};

#[derive(Clone, Debug)]
pub(super) struct TestController(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    image: Image,
    index: u64,
    told: BTreeMap<NodeId, watch::Sender<Arc<Image>>>,
    random: Random,
    is_down: bool,
    /// Of a hundred answers to changes of in-sync sets, so many are lost.
    lost_answers: u64,
}

impl TestController {
    pub(super) fn new(random: Random) -> Self {
        let inner = Inner {
            image: Image::default(),
            index: 0,
            told: BTreeMap::new(),
            random,
            is_down: false,
            lost_answers: 0,
        };
        let this = Self(Arc::new(Mutex::new(inner)));
        this.apply(Command::Found { cluster: uuid::Uuid::from_u128(1) });
        this
    }

    pub(super) fn image(&self) -> Image {
        self.0.lock().unwrap().image.clone()
    }

    pub(super) fn set_down(&self, is_down: bool) {
        self.0.lock().unwrap().is_down = is_down;
        if !is_down {
            self.settle();
        }
    }

    pub(super) fn lose_answers(&self, percent: u64) {
        self.0.lock().unwrap().lost_answers = percent;
    }

    pub(super) fn apply(&self, command: Command) -> Outcome {
        let outcome = {
            let mut inner = self.0.lock().unwrap();
            inner.index += 1;
            let index = inner.index;
            inner.image.apply(index, &command)
        };
        self.settle();
        outcome
    }

    /// Elects what is due, and tells everybody a little later.
    fn settle(&self) {
        let mut inner = self.0.lock().unwrap();
        if inner.is_down {
            return;
        }
        for _ in 0..10 {
            let elections = due(&inner.image, None, &BTreeSet::new()).elections;
            if elections.is_empty() {
                break;
            }
            inner.index += 1;
            let index = inner.index;
            inner.image.apply(index, &Command::ElectLeaders { elections });
        }
        let image = Arc::new(inner.image.clone());
        for told in inner.told.values() {
            let delay = Duration::from_millis(inner.random.range(1, 10));
            let (told, image) = (told.clone(), Arc::clone(&image));
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                told.send_if_modified(|known| {
                    let newer = image.version() > known.version();
                    if newer {
                        *known = image;
                    }
                    newer
                });
            });
        }
    }

    pub(super) fn register(
        &self,
        node: NodeId,
        incarnation: Incarnation,
        directory: DirectoryId,
        doubts: Vec<ReportedDoubt>,
    ) -> watch::Receiver<Arc<Image>> {
        let (send, receive) = watch::channel(Arc::new(Image::default()));
        self.0.lock().unwrap().told.insert(node, send);
        self.apply(Command::RegisterNode(Registration {
            node,
            incarnation,
            address: format!("host{node}:1"),
            directories: vec![directory],
            doubts,
            feature_level: 1,
            at_ms: 0,
        }));
        self.apply(Command::UnfenceNode { node, incarnation });
        receive
    }

    pub(super) fn forget(&self, node: NodeId) {
        self.0.lock().unwrap().told.remove(&node);
    }

    pub(super) fn create_topic(&self, partitions: usize, replicas: &[u32], config: BTreeMap<String, String>) {
        let replicas: Vec<NodeId> = replicas.iter().map(|node| NodeId(*node)).collect();
        let turned = |index: usize| {
            let mut turned = replicas.clone();
            turned.rotate_left(index % replicas.len());
            turned
        };
        let outcome = self.apply(Command::CreateTopic {
            id: TopicId(uuid::Uuid::from_u128(7)),
            name: "flights".to_owned(),
            config,
            internal: false,
            replicas: (0..partitions).map(turned).collect(),
        });
        assert_eq!(outcome, Outcome::Done);
    }
}

/// One node's way to the controller. Cut when the node dies.
#[derive(Debug)]
pub(super) struct TestLink {
    pub(super) controller: TestController,
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
    pub(super) is_cut: Arc<std::sync::atomic::AtomicBool>,
}

impl TestLink {
    fn reaches(&self) -> bool {
        !self.is_cut.load(std::sync::atomic::Ordering::Relaxed) && !self.controller.0.lock().unwrap().is_down
    }

    fn later(&self, act: impl FnOnce(&TestController) + Send + 'static) {
        if !self.reaches() {
            return;
        }
        let controller = self.controller.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(3)).await;
            act(&controller);
        });
    }
}

impl ControllerLink for TestLink {
    fn alter_in_sync(&self, changes: Vec<InSyncChange>, done: Box<dyn FnOnce(Altered) + Send>) {
        let (node, incarnation) = (self.node, self.incarnation);
        if !self.reaches() {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(200)).await;
                done(None);
            });
            return;
        }
        self.later(move |controller| {
            let outcome = controller.apply(Command::AlterInSync { node, incarnation, changes });
            let is_lost = {
                let inner = controller.0.lock().unwrap();
                inner.random.range(0, 100) < inner.lost_answers
            };
            match outcome {
                Outcome::InSync(results) if !is_lost => done(Some(results)),
                _ => done(None),
            }
        });
    }

    fn resign(&self, given_up: Vec<GivenUp>) {
        let node = self.node;
        self.later(move |controller| {
            for GivenUp { partition, epoch, again } in given_up {
                let image = controller.image();
                if let Some(election) = moved(&image, partition, node, epoch, again) {
                    controller.apply(Command::ElectLeaders { elections: vec![election] });
                }
            }
        });
    }

    fn report_doubts(&self, doubts: Vec<ReportedDoubt>) {
        let (node, incarnation) = (self.node, self.incarnation);
        self.later(move |controller| {
            controller.apply(Command::ReportDoubts { node, incarnation, doubts });
        });
    }
}

pub(super) fn partition(index: i32) -> PartitionId {
    PartitionId { topic: TopicId(uuid::Uuid::from_u128(7)), index }
}
