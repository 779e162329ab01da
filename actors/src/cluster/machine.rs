//! What the quorum drives: entries in, outcomes out, both opaque bytes to it.

use std::sync::Arc;

use millstream_transport::world::watch;

use crate::error::{ErrorCode, Refusal};
use crate::image::{Image, Outcome, decode_entry, encode_outcomes};

/// The state that the quorum's log builds. Deterministic: the same entries give the same state and outcomes everywhere.
pub trait Machine: Send {
    /// Applies the entry at `index` of the log; its outcome goes to whoever proposed it.
    fn apply(&mut self, index: u64, entry: &[u8]) -> Vec<u8>;

    /// The state as bytes, for a node that is too far behind and for cutting the log.
    fn snapshot(&self) -> Vec<u8>;

    /// Takes over a state that [`Machine::snapshot`] gave after the entry at `index`; an error leaves the state as it was.
    fn restore(&mut self, index: u64, snapshot: &[u8]) -> Result<(), String>;
}

/// The cluster's metadata as the machine of its quorum. Publishes the image after every entry.
#[derive(Debug)]
pub struct ImageMachine {
    image: Image,
    published: watch::Sender<Arc<Image>>,
}

impl ImageMachine {
    /// A machine at the empty image, and where its images appear.
    #[must_use]
    pub fn new() -> (Self, watch::Receiver<Arc<Image>>) {
        let image = Image::default();
        let (published, images) = watch::channel(Arc::new(image.clone()));
        (Self { image, published }, images)
    }

    fn publish(&self) {
        self.published.send_replace(Arc::new(self.image.clone()));
    }
}

impl Machine for ImageMachine {
    fn apply(&mut self, index: u64, entry: &[u8]) -> Vec<u8> {
        let outcomes = match decode_entry(entry) {
            Ok(commands) => self.image.apply_entry(index, &commands),
            // Only a program later than all feature levels allow writes such an entry. Every node refuses it alike.
            Err(error) => {
                self.image.apply_entry(index, &[]);
                vec![Outcome::Refused(Refusal::new(ErrorCode::UnsupportedVersion, error.to_string()))]
            }
        };
        self.publish();
        encode_outcomes(&outcomes)
    }

    fn snapshot(&self) -> Vec<u8> {
        self.image.encode()
    }

    fn restore(&mut self, index: u64, snapshot: &[u8]) -> Result<(), String> {
        let mut image = Image::decode(snapshot).map_err(|error| error.to_string())?;
        image.apply_entry(index, &[]);
        self.image = image;
        self.publish();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Command, decode_outcomes, encode_entry};

    fn found() -> Vec<u8> {
        encode_entry(&[
            Command::Found { cluster: uuid::Uuid::from_u128(7) },
            Command::AllocateProducerIds { count: 5 },
        ])
    }

    #[test]
    fn an_entry_is_applied_published_and_answered() {
        let (mut machine, images) = ImageMachine::new();
        let outcomes = decode_outcomes(&machine.apply(4, &found())).unwrap();
        assert_eq!(outcomes.len(), 2);
        assert_eq!(images.borrow().version(), 4);
        assert_eq!(images.borrow().producer_ids().next, 5);
    }

    #[test]
    fn a_restored_machine_goes_on_from_the_snapshot() {
        let (mut one, _) = ImageMachine::new();
        one.apply(4, &found());
        let (mut two, images) = ImageMachine::new();
        two.restore(4, &one.snapshot()).unwrap();
        assert_eq!(one.apply(5, &found()), two.apply(5, &found()));
        assert_eq!(one.snapshot(), two.snapshot());
        assert_eq!(images.borrow().version(), 5);
    }

    #[test]
    fn what_does_not_decode_is_refused_and_changes_nothing() {
        let (mut machine, images) = ImageMachine::new();
        machine.apply(1, &found());
        assert!(machine.restore(2, &[7, 7]).is_err());
        let outcomes = decode_outcomes(&machine.apply(2, &[7, 7])).unwrap();
        assert!(matches!(outcomes.as_slice(), [Outcome::Refused(_)]));
        assert_eq!(images.borrow().producer_ids().next, 5);
        assert_eq!(images.borrow().version(), 2);
    }
}
