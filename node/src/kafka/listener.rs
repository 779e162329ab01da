//! The TCP listeners: accept, count, hand each connection to a core.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use millstream_actors::ids::{Incarnation, NodeId};
use millstream_actors::image::Image;
use millstream_transport::world;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::gate;
use super::places::{Antechamber, Bounds, NoPlace, Place, Places, Waiting};
use super::service::Service;
use super::session::Entrance;
use crate::security::origin::Origin;

/// The pause after a failed accept: it fails again at once where the process has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The listeners of a node, which accept. Dropped, they accept no more, and their connections end.
#[derive(Debug)]
pub(crate) struct KafkaListeners {
    /// Dropped with them: that is what it tells.
    _open: watch::Sender<()>,
    door: watch::Sender<bool>,
}

impl KafkaListeners {
    /// Serves these sockets, on the first core; the bounds on connections are of all together.
    pub(crate) fn start(
        sockets: Vec<(std::net::TcpListener, Entrance)>,
        service: Service,
    ) -> io::Result<Self> {
        let (open, closing) = watch::channel(());
        let (door, closed) = watch::channel(false);
        let places = Places::new(Bounds {
            what: "connections (max.connections, max.connections.per.ip)",
            most: service.limits.connections,
            most_per_address: service.limits.connections_per_address,
        });
        let antechamber = Antechamber::new();
        let service = Arc::new(service);
        for (socket, entrance) in sockets {
            socket.set_nonblocking(true)?;
            let (service, places, entrance) = (Arc::clone(&service), places.clone(), Arc::new(entrance));
            let (closing, closed, antechamber) = (closing.clone(), closed.clone(), antechamber.clone());
            if let Some(core) = service.world.threads.cores().first().cloned() {
                core.spawn(move || async move {
                    match TcpListener::from_std(socket) {
                        Ok(listener) => {
                            let (shared, ends) = ((service, places, antechamber), (closing, closed));
                            Accepting::new(listener, entrance, shared, ends).run().await;
                        }
                        Err(error) => tracing::error!(%error, "clients of Kafka's protocol are not served"),
                    }
                });
            }
        }
        Ok(Self { _open: open, door })
    }

    /// Accepts no more; connections go on.
    pub(crate) fn close_door(&self) {
        self.door.send_replace(true);
    }
}

struct Accepting {
    listener: TcpListener,
    entrance: Arc<Entrance>,
    service: Arc<Service>,
    places: Places,
    antechamber: Antechamber,
    closing: watch::Receiver<()>,
    closed: watch::Receiver<bool>,
}

type Shared = (Arc<Service>, Places, Antechamber);
type Ends = (watch::Receiver<()>, watch::Receiver<bool>);

impl Accepting {
    fn new(
        listener: TcpListener,
        entrance: Arc<Entrance>,
        (service, places, antechamber): Shared,
        (closing, closed): Ends,
    ) -> Self {
        Self { listener, entrance, service, places, antechamber, closing, closed }
    }

    async fn run(self) {
        let (mut closing, mut closed) = (self.closing.clone(), self.closed.clone());
        tokio::select! {
            biased;
            _ = closing.changed() => {}
            _ = closed.changed() => {}
            () = self.serve() => {}
        }
    }

    /// Accepts, but not before what was decided before this life is known here (as Kafka's brokers do): by the metadata of
    /// the last snapshot, or none at all, a topic would not exist, a removed user would be let in, what was denied would be
    /// allowed. Once known, all are served from here whether there is a quorum or not.
    async fn serve(&self) {
        let Service { images, me, incarnation, .. } = &*self.service;
        caught_up(images.clone(), *me, *incarnation).await;
        self.accept().await;
    }

    /// A place for a connection, and one among those that are not in yet where clients show who they are.
    fn places(&self, origin: Origin) -> Result<(Place, Waiting), NoPlace> {
        let protocol = self.entrance.protocol;
        let waiting = self.antechamber.enter(origin, (protocol.has_tls(), protocol.has_sasl()))?;
        Ok((self.places.take(origin)?, waiting))
    }

    async fn accept(&self) {
        let listener = &self.listener;
        let mut turn = 0_usize;
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection of a client was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let places = match self.places(Origin::of(peer.ip())) {
                Ok(places) => places,
                Err(reason) => {
                    tracing::warn!(%peer, %reason, "a connection of a client was refused");
                    continue;
                }
            };
            turn = turn.wrapping_add(1);
            if let Err(error) = self.hand_over(stream, peer, places, turn) {
                tracing::warn!(%peer, %error, "a connection of a client was lost");
            }
        }
    }

    /// Gives a connection to a core: its socket is then watched by that core's own runtime.
    fn hand_over(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        (place, waiting): (Place, Waiting),
        turn: usize,
    ) -> io::Result<()> {
        // An answer is written at once and whole; nothing is won by waiting for more.
        stream.set_nodelay(true)?;
        let stream = stream.into_std()?;
        let cores = self.service.world.threads.cores();
        let Some(core) = turn.checked_rem(cores.len()).and_then(|index| cores.get(index)) else {
            return Ok(());
        };
        let (service, entrance) = (Arc::clone(&self.service), Arc::clone(&self.entrance));
        let closing = self.closing.clone();
        core.spawn(move || async move {
            match TcpStream::from_std(stream) {
                Ok(stream) => gate::enter(service, entrance, (stream, peer), (place, waiting, closing)).await,
                Err(error) => tracing::warn!(%peer, %error, "a connection of a client was lost"),
            }
        });
        Ok(())
    }
}

/// Waits until the image shows this life of the node: it then has all that was decided before the life began.
async fn caught_up(mut images: world::watch::Receiver<Arc<Image>>, me: NodeId, life: Incarnation) {
    let shows = |image: &Image| image.nodes().get(me).is_some_and(|known| known.incarnation == life);
    while !shows(&images.borrow_and_update()) {
        // Images end with the node.
        images.changed_or_never().await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use millstream_actors::ids::DirectoryId;
    use millstream_actors::image::{Command, Registration};

    use super::*;

    fn registration(life: u64) -> Command {
        Command::RegisterNode(Registration {
            node: NodeId(1),
            incarnation: Incarnation(life),
            address: "host:9092".to_owned(),
            directories: vec![DirectoryId(uuid::Uuid::from_u128(1))],
            doubts: vec![],
            feature_level: 2,
            at_ms: 0,
        })
    }

    #[test]
    fn nobody_is_let_in_before_the_image_shows_this_life_of_the_node() {
        let (sender, images) = world::watch::channel(Arc::new(Image::default()));
        let mut waiting = pin!(caught_up(images, NodeId(1), Incarnation(2)));
        let mut is_over = || waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        assert!(!is_over(), "nothing is known");
        let mut image = Image::default();
        image.apply(1, &registration(1));
        sender.send_replace(Arc::new(image.clone()));
        assert!(!is_over(), "an earlier life");
        image.apply(2, &registration(2));
        sender.send_replace(Arc::new(image));
        assert!(is_over());
    }
}
