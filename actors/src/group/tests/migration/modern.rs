//! A client of KIP-848 that does as Kafka's does.

use super::*;
use crate::group::fakes::joining;
use crate::group::message::GroupHeartbeat;

pub(super) struct Modern {
    pub(super) id: String,
    pub(super) epoch: i32,
    pub(super) reads: BTreeSet<PartitionId>,
    pub(super) heard: Instant,
    pub(super) refused: Option<ErrorCode>,
    instance: Option<String>,
    told: BTreeSet<PartitionId>,
    is_unsure: bool,
}

impl Modern {
    pub(super) fn new(id: &str) -> Self {
        let (reads, told) = (BTreeSet::new(), BTreeSet::new());
        let (heard, refused, instance) = (Instant::now(), None, None);
        Self { id: id.to_owned(), epoch: 0, reads, heard, refused, instance, told, is_unsure: false }
    }

    pub(super) fn fixed(id: &str, instance: &str) -> Self {
        Self { instance: Some(instance.to_owned()), ..Self::new(id) }
    }

    fn heartbeat(&self) -> GroupHeartbeat {
        let says_all = self.epoch == 0 || self.is_unsure;
        GroupHeartbeat {
            member_epoch: self.epoch,
            instance: self.instance.clone(),
            topics: says_all.then(|| vec!["t".to_owned()]),
            owned: Some(self.reads.iter().copied().collect()),
            ..joining("g", &self.id, &[])
        }
    }

    pub(super) async fn act(&mut self, rig: &Rig) {
        self.reads.retain(|partition| self.told.contains(partition));
        let answer = rig.node.ask(self.heartbeat()).await;
        self.refused = answer.as_ref().err().map(|refusal| refusal.code);
        match answer {
            Ok(answer) => {
                (self.heard, self.epoch, self.is_unsure) = (Instant::now(), answer.member_epoch, false);
                if let Some(assigned) = answer.assigned {
                    self.told = assigned.into_iter().collect();
                    self.reads.extend(&self.told);
                }
            }
            Err(refusal) => match refusal.code {
                ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch | ErrorCode::GroupIdNotFound => {
                    self.epoch = 0;
                    self.reads.clear();
                    self.told.clear();
                }
                _ => self.is_unsure = true,
            },
        }
    }

    pub(super) async fn stop(self, rig: &Rig) {
        let epoch = if self.instance.is_some() { -2 } else { -1 };
        if self.epoch > 0 {
            let leaving =
                GroupHeartbeat { member_epoch: epoch, topics: None, owned: None, ..self.heartbeat() };
            let _coordinator_may_move = rig.node.ask(leaving).await;
        }
    }
}
