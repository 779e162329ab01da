//! The follower's side of replication: what the leader says is checked, appended, synced and reported.

use actix::Handler;
use bytes::{Bytes, BytesMut};

use super::super::following::{FromLeader, Opening, Told};
use super::super::state::truncate::cut_point;
use super::super::state::{Admission, Input};
use super::Replica;
use super::produce::markers_in;
use crate::events::partition::FeedRejected;
use crate::ids::{LeaderEpoch, Offset};
use crate::log::LogError;
use crate::record::{BatchHeader, batches, hole, verify_checksum};

impl Handler<FromLeader> for Replica {
    type Result = ();

    fn handle(&mut self, message: FromLeader, _: &mut Self::Context) {
        let _turn = self.turn();
        let FromLeader { epoch, told } = message;
        match told {
            Told::Opened(opening) => self.opened(epoch, opening),
            Told::Fed { batches, high_watermark, log_start } => {
                if !batches.is_empty() {
                    self.replicate(epoch, &batches);
                }
                self.step(Input::Heard(epoch, high_watermark, log_start));
                self.upkeep.high_watermark_moved(self.now());
                self.wake_nearby();
            }
            Told::LeftSet => self.step(Input::LeftSet(epoch)),
            Told::Interrupted => self.step(Input::Interrupted(epoch)),
        }
        self.settle();
    }
}

impl Replica {
    fn opened(&mut self, epoch: LeaderEpoch, opening: Opening) {
        match opening {
            Opening::Accepted { end, high_watermark, log_start } => {
                self.step(Input::Accepted(epoch, end));
                self.step(Input::Heard(epoch, high_watermark, log_start));
            }
            Opening::Diverged { epoch: leaders, end } => {
                let epochs = |epoch| self.log.epochs().end_offset_for(epoch);
                let at = cut_point(self.facts(), &epochs, leaders, end);
                self.step(Input::Diverged(epoch, at));
            }
            Opening::OutOfRange { start } => self.step(Input::OutOfRange(epoch, start)),
        }
    }

    fn replicate(&mut self, epoch: LeaderEpoch, bytes: &Bytes) {
        let bytes = &rest_of_hole(bytes, self.state.log().end);
        let base = match BatchHeader::parse(bytes) {
            Ok(header) => header.base_offset,
            Err(error) => return self.reject(epoch, &error.to_string()),
        };
        match self.state.admits(epoch, base) {
            Admission::Stale => {}
            Admission::Gap => self.reject(epoch, "it does not go on where the log ends"),
            Admission::Append => match check(bytes, base, epoch, self.state.log().last_epoch) {
                Ok((whole, headers)) => self.append_replicated(epoch, whole, &headers),
                Err(found) => self.reject(epoch, &found),
            },
        }
    }

    fn append_replicated(&mut self, epoch: LeaderEpoch, whole: Vec<Bytes>, headers: &[BatchHeader]) {
        let markers = markers_in(&whole, headers);
        let rolled = match self.log.append(whole) {
            Ok(appended) => appended.rolled,
            // The log holds them against its end once more; it took none.
            Err(error @ LogError::NotNext { .. }) => return self.reject(epoch, &error.to_string()),
            Err(error) => {
                self.log_failed(&error);
                return self.step(Input::Interrupted(epoch));
            }
        };
        let now_ms = self.clock.wall_ms();
        let bytes: usize = headers.iter().map(BatchHeader::total_bytes).sum();
        self.shared.series.replicated_bytes.increment(u64::try_from(bytes).unwrap_or(0));
        let mut records = 0;
        for header in headers {
            self.producers.record(header, markers.get(&header.base_offset).copied(), now_ms);
            records += u64::try_from(header.count).unwrap_or(0);
        }
        let facts = self.facts();
        self.step(Input::LogChanged(facts));
        if facts.durable_end == facts.end {
            self.step(Input::Durable(facts.end));
        }
        self.make_durable(records);
        if rolled {
            self.keep_producers();
        }
    }

    fn reject(&mut self, epoch: LeaderEpoch, found: &str) {
        self.shared.events.emit(FeedRejected { partition: self.partition, found });
        self.step(Input::Interrupted(epoch));
    }
}

/// A leader whose log is compacted may have one batch for offsets of which this log has some already: what is left of it
/// begins where the log ends. Other batches are never joined, so their bounds are the same everywhere.
fn rest_of_hole(bytes: &Bytes, end: Offset) -> Bytes {
    let Ok(header) = BatchHeader::parse(bytes) else { return bytes.clone() };
    let total_bytes = header.total_bytes();
    let holds_end = header.base_offset < end && end < header.next_offset();
    if !header.is_hole() || !holds_end || verify_checksum(bytes).is_err() {
        return bytes.clone();
    }
    let mut rest =
        BytesMut::from(hole(end, header.last_offset(), header.leader_epoch, header.max_timestamp_ms));
    rest.extend_from_slice(bytes.get(total_bytes..).unwrap_or_default());
    rest.freeze()
}

/// Checks that batches are whole, undamaged, without a gap, and of epochs that can be.
fn check(
    bytes: &Bytes,
    base: Offset,
    epoch: LeaderEpoch,
    last_epoch: Option<LeaderEpoch>,
) -> Result<(Vec<Bytes>, Vec<BatchHeader>), String> {
    let (mut whole, mut headers) = (Vec::new(), Vec::new());
    let (mut next, mut least) = (base, last_epoch.unwrap_or(LeaderEpoch(0)));
    for batch in batches(bytes) {
        let batch = batch.map_err(|error| error.to_string())?;
        batch.verify_checksum().map_err(|error| error.to_string())?;
        let header = batch.header;
        // Where compaction removed batches, one without records stands for them.
        if header.base_offset != next {
            return Err(format!("offset {} stands where {next} belongs", header.base_offset));
        }
        if header.leader_epoch < least || header.leader_epoch > epoch {
            return Err(format!("epoch {} stands behind {least}, in epoch {epoch}", header.leader_epoch));
        }
        next = header.next_offset();
        least = header.leader_epoch;
        headers.push(header);
        whole.push(batch.bytes);
    }
    Ok((whole, headers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_hole_that_begins_before_the_logs_end_the_rest_is_taken() {
        let wide = hole(Offset(10), Offset(29), LeaderEpoch(2), 7);
        let bytes = Bytes::from([&wide[..], &hole(Offset(30), Offset(30), LeaderEpoch(3), 7)[..]].concat());
        assert_eq!(rest_of_hole(&bytes, Offset(10)), bytes);
        let rest = rest_of_hole(&bytes, Offset(25));
        let (_, headers) = check(&rest, Offset(25), LeaderEpoch(3), Some(LeaderEpoch(2))).unwrap();
        let spans: Vec<_> =
            headers.iter().map(|h| (h.base_offset.0, h.next_offset().0, h.leader_epoch.0)).collect();
        assert_eq!(spans, [(25, 30, 2), (30, 31, 3)]);
        assert_eq!(rest_of_hole(&bytes, Offset(30)), bytes, "another one's turn");
        let mut damaged = bytes.to_vec();
        damaged[40] ^= 1;
        assert_eq!(rest_of_hole(&damaged.clone().into(), Offset(25)), damaged, "for the check to find");
    }

    #[test]
    fn a_gap_between_batches_is_refused() {
        let gap =
            [hole(Offset(0), Offset(4), LeaderEpoch(0), 0), hole(Offset(6), Offset(9), LeaderEpoch(0), 0)];
        let refused = check(&gap.concat().into(), Offset(0), LeaderEpoch(0), None).unwrap_err();
        assert_eq!(refused, "offset 6 stands where 5 belongs");
    }
}
