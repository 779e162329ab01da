//! The TCP listeners: accept, count, hand each connection to a core.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::gate;
use super::places::{Place, Places};
use super::service::Service;
use super::session::Entrance;

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
        let places = Places::new(service.limits.connections, service.limits.connections_per_address);
        let service = Arc::new(service);
        for (socket, entrance) in sockets {
            socket.set_nonblocking(true)?;
            let (service, places, entrance) = (Arc::clone(&service), places.clone(), Arc::new(entrance));
            let (closing, closed) = (closing.clone(), closed.clone());
            if let Some(core) = service.world.threads.cores().first().cloned() {
                core.spawn(move || async move {
                    match TcpListener::from_std(socket) {
                        Ok(listener) => {
                            Accepting { listener, entrance, service, places, closing, closed }.run().await;
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
    closing: watch::Receiver<()>,
    closed: watch::Receiver<bool>,
}

impl Accepting {
    async fn run(self) {
        let (mut closing, mut closed) = (self.closing.clone(), self.closed.clone());
        tokio::select! {
            biased;
            _ = closing.changed() => {}
            _ = closed.changed() => {}
            () = self.accept() => {}
        }
    }

    async fn accept(&self) {
        let (listener, places) = (&self.listener, &self.places);
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
            let place = match places.take(peer.ip()) {
                Ok(place) => place,
                Err(reason) => {
                    tracing::warn!(%peer, %reason, "a connection of a client was refused");
                    continue;
                }
            };
            turn = turn.wrapping_add(1);
            if let Err(error) = self.hand_over(stream, peer, place, turn) {
                tracing::warn!(%peer, %error, "a connection of a client was lost");
            }
        }
    }

    /// Gives a connection to a core: its socket is then watched by that core's own runtime.
    fn hand_over(&self, stream: TcpStream, peer: SocketAddr, place: Place, turn: usize) -> io::Result<()> {
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
                Ok(stream) => gate::enter(service, entrance, (stream, peer), (place, closing)).await,
                Err(error) => tracing::warn!(%peer, %error, "a connection of a client was lost"),
            }
        });
        Ok(())
    }
}
