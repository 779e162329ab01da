//! The TCP listener: accepts, counts, hands each connection to a core.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::connection;
use super::places::{Place, Places};
use super::service::Service;

/// The pause after a failed accept: it fails again at once where the process has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A listener that accepts. Dropped, it accepts no more, and its connections end.
#[derive(Debug)]
pub(crate) struct KafkaListener {
    /// Dropped with it: that is what it tells.
    _open: watch::Sender<()>,
    door: watch::Sender<bool>,
}

impl KafkaListener {
    /// Serves this socket, on the first core.
    pub(crate) fn start(socket: std::net::TcpListener, service: Service) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let (open, closing) = watch::channel(());
        let (door, closed) = watch::channel(false);
        let places = Places::new(service.limits.connections, service.limits.connections_per_address);
        let service = Arc::new(service);
        if let Some(core) = service.world.threads.cores().first().cloned() {
            core.spawn(move || async move {
                match TcpListener::from_std(socket) {
                    Ok(listener) => Accepting { listener, service, places, closing, closed }.run().await,
                    Err(error) => tracing::error!(%error, "clients of Kafka's protocol are not served"),
                }
            });
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
        let (service, closing) = (Arc::clone(&self.service), self.closing.clone());
        core.spawn(move || async move {
            match TcpStream::from_std(stream) {
                Ok(stream) => connection::serve(service, peer, stream.into_split(), (place, closing)),
                Err(error) => tracing::warn!(%peer, %error, "a connection of a client was lost"),
            }
        });
        Ok(())
    }
}
