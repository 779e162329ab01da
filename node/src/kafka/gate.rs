//! The way in: from an accepted stream to a connection whose client is known.
//!
//! Until then there is no connection: frames are read one at a time, short ones only, and three APIs are answered. A
//! client that is too slow, or says anything else, is gone; one whose login failed is told so after a while, in which it
//! holds up nobody but itself. What such clients send takes its place among strangers, not among those who are in.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millstream_transport::kafka::messages::api_versions::ApiVersionsRequest;
use millstream_transport::kafka::messages::sasl_authenticate::SaslAuthenticateRequest;
use millstream_transport::kafka::messages::sasl_handshake::SaslHandshakeRequest;
use millstream_transport::kafka::{
    ApiKey, DecodeError, EncodeError, Encoded, ErrorCode, Prelude, Request, encode_response, open_request,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::api::{api_versions, sasl_authenticate, sasl_handshake};
use super::connection;
use super::frames::{FrameFailure, FrameReader};
use super::places::{NoPlace, Place, Waiting};
use super::service::Service;
use super::session::{Entrance, Session, ends, lifetime_ms};
use super::table;
use crate::config::SaslMechanism;
use crate::security::checks::Asker;
use crate::security::origin::Origin;
use crate::security::principal::Principal;
use crate::security::sasl::{Exchange, LoginFailed, Step};

/// The first version of SaslHandshake whose client wraps its messages in requests.
const WRAPS_FROM: i16 = 1;

/// How long the handshake of TLS may take, if not less is left of `connections.authentication.timeout.ms`: some round trips and
/// a signature on each side.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);

/// What a client has to take the answer that says that its login failed, beyond the time that it had.
const TELLING: Duration = Duration::from_secs(1);

/// Why a client is not let in.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("it said nothing, and left")]
    Left,
    #[error("it was not in within {0} ms (connections.authentication.timeout.ms)")]
    Late(u128),
    #[error("TLS: {0}")]
    Tls(io::Error),
    #[error("its TLS handshake was not over within {0} ms")]
    Handshake(u128),
    #[error("{0}")]
    Full(#[from] NoPlace),
    #[error("TLS is not set up")]
    NoTls,
    #[error("{0}")]
    Certificate(String),
    #[error("{0}")]
    Frame(#[from] FrameFailure),
    #[error("{0}")]
    Stream(#[from] io::Error),
    #[error("{0}")]
    Garbage(#[from] DecodeError),
    #[error("an answer cannot be written: {0}")]
    Answer(#[from] EncodeError),
    #[error("it asked for {0} before it had logged in")]
    NotYet(String),
    /// It is told so.
    #[error("{reason}")]
    Told { reason: String, answer: Option<Encoded> },
}

type Closing = watch::Receiver<()>;

/// Lets a client in, or not; serves it then. `place` is given back when it is gone, what it has as one that waits when it is in
/// or gone.
pub(super) async fn enter(
    service: Arc<Service>,
    entrance: Arc<Entrance>,
    (stream, peer): (TcpStream, SocketAddr),
    (place, mut waiting, mut closing): (Place, Waiting, Closing),
) {
    let deadline = service.world.clock.now() + service.sasl.config.within;
    let (name, refusals) = (Arc::clone(&entrance.name), service.admissions.refused.clone());
    let ending = (place, closing.clone());
    let entering = async {
        let anonymous = Principal::anonymous();
        if !entrance.protocol.has_tls() {
            return go_on(service, entrance, peer, stream.into_split(), (anonymous, deadline, ending)).await;
        }
        let Some(tls) = &service.tls else { return Err(Refused::NoTls) };
        let logs_in = entrance.protocol.has_sasl();
        let accepting = tls.acceptor(logs_in).accept(stream);
        let within = HANDSHAKE_WITHIN.min(service.sasl.config.within);
        let slow = |_| Refused::Handshake(within.as_millis());
        let stream = timeout(within, accepting).await.map_err(slow)?.map_err(Refused::Tls)?;
        waiting.shaken(Origin::of(peer.ip()), logs_in)?;
        let shown = stream.get_ref().1.peer_certificates();
        let principal =
            if logs_in { anonymous } else { tls.principal(shown).map_err(Refused::Certificate)? };
        go_on(Arc::clone(&service), entrance, peer, tokio::io::split(stream), (principal, deadline, ending))
            .await
    };
    tokio::select! {
        biased;
        // It never changes: this is the listener's end.
        _ = closing.changed() => {}
        entered = entering => if let Err(refused) = entered {
            refusals.increment(1);
            tracing::info!(%peer, listener = %name, reason = %refused, "a client was not let in");
        }
    }
}

fn late(service: &Service) -> Refused {
    Refused::Late(service.sasl.config.within.as_millis())
}

/// Lets a client log in where it is to, and serves it.
async fn go_on<R, W>(
    service: Arc<Service>,
    entrance: Arc<Entrance>,
    peer: SocketAddr,
    (read, mut write): (R, W),
    (principal, deadline, ending): (Principal, Instant, (Place, Closing)),
) -> Result<(), Refused>
where
    R: AsyncRead + Unpin + 'static,
    W: AsyncWrite + Unpin + 'static,
{
    let logs_in = entrance.protocol.has_sasl();
    let most = service.limits.request_bytes;
    let (first, intake) = match logs_in {
        true => (service.sasl.config.request_max_bytes.min(most), &service.strangers),
        false => (most, &service.intake),
    };
    let mut reader = FrameReader::new(read, first, intake.clone());
    let session = if logs_in {
        let asker = Asker::Stranger(Origin::of(peer.ip()));
        let mut login = Login { service: &service, asker, reader: &mut reader, write: &mut write };
        let Ok(told) = timeout_at(deadline, login.run()).await else { return Err(late(&service)) };
        match told {
            Ok((principal, mechanism)) => {
                let ends = ends(service.world.clock.now(), service.sasl.config.lasts);
                Session::new(entrance, principal, peer.ip()).logged_in(mechanism, ends)
            }
            Err(refused) => return Err(tell_later(&service, refused, (&mut write, deadline)).await),
        }
    } else {
        Session::new(entrance, principal, peer.ip())
    };
    reader.take_up_to(most, service.intake.clone());
    service.admissions.admitted.increment(1);
    connection::serve(service, Arc::new(session), peer, (reader, write), ending);
    Ok(())
}

/// Tells a client after a while that its login failed. That while is all that it gets beyond the time it had to log in,
/// and a moment to read what it is told.
async fn tell_later<W: AsyncWrite + Unpin>(
    service: &Service,
    refused: Refused,
    (write, deadline): (&mut W, Instant),
) -> Refused {
    let Refused::Told { reason, answer } = refused else { return refused };
    let delay = service.sasl.config.failed_delay;
    tokio::time::sleep(delay).await;
    if let Some(answer) = answer {
        let deadline = deadline + delay + TELLING;
        // Whether it arrives or not, the connection ends here.
        let _ = timeout_at(deadline, send(write, &answer)).await;
        let _ = timeout_at(deadline, write.shutdown()).await;
    }
    Refused::Told { reason, answer: None }
}

async fn send<W: AsyncWrite + Unpin>(write: &mut W, answer: &Encoded) -> io::Result<()> {
    for chunk in &answer.chunks {
        write.write_all(chunk).await?;
    }
    write.flush().await
}

/// A login on a new stream.
struct Login<'a, R, W> {
    service: &'a Arc<Service>,
    asker: Asker,
    reader: &'a mut FrameReader<R>,
    write: &'a mut W,
}

/// How far it is.
enum Stage {
    /// No mechanism was chosen.
    Beginning,
    /// Messages come in requests.
    Wrapped(Exchange),
    /// Messages come as they are, each behind its length.
    Bare(Exchange),
}

/// What comes of a request.
enum Turn {
    Next(Stage),
    Done(Principal, SaslMechanism),
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Login<'_, R, W> {
    async fn run(&mut self) -> Result<(Principal, SaslMechanism), Refused> {
        let mut stage = Stage::Beginning;
        loop {
            let Some((frame, held)) = self.reader.next().await? else { return Err(Refused::Left) };
            let turn = match stage {
                Stage::Bare(exchange) => self.bare(exchange, &frame).await?,
                stage => self.wrapped(stage, &frame).await?,
            };
            drop(held);
            match turn {
                Turn::Next(next) => stage = next,
                Turn::Done(principal, mechanism) => return Ok((principal, mechanism)),
            }
        }
    }

    async fn wrapped(&mut self, stage: Stage, frame: &Bytes) -> Result<Turn, Refused> {
        let prelude = Prelude::parse(frame)?;
        let not_yet = || Refused::NotYet(format!("API {} version {}", prelude.key, prelude.version));
        let key = ApiKey::from_code(prelude.key).ok_or_else(not_yet)?;
        let served = table::entry(key).is_some_and(|entry| entry.versions.contains(&prelude.version));
        match (key, stage) {
            (ApiKey::ApiVersions, stage) => {
                let answer = self.versions(prelude, served, frame)?;
                send(self.write, &answer).await?;
                Ok(Turn::Next(stage))
            }
            (ApiKey::SaslHandshake, Stage::Beginning) if served => self.handshake(prelude, frame).await,
            (ApiKey::SaslAuthenticate, Stage::Wrapped(exchange)) if served => {
                self.authenticate(prelude, exchange, frame).await
            }
            (ApiKey::SaslAuthenticate, _) if served => {
                let reason = "it sent SaslAuthenticate before SaslHandshake".to_owned();
                let response = sasl_authenticate::refusal(ErrorCode::IllegalSaslState);
                let answer = encode_response(prelude.correlation_id, prelude.version, &response)?;
                Err(Refused::Told { reason, answer: Some(answer) })
            }
            _ => Err(not_yet()),
        }
    }

    fn versions(&self, prelude: Prelude, served: bool, frame: &Bytes) -> Result<Encoded, Refused> {
        if !served {
            let version = api_versions::UNDERSTOOD_BY_ALL;
            return Ok(encode_response(prelude.correlation_id, version, &api_versions::refusal())?);
        }
        let opened = open_request(frame, ApiKey::ApiVersions)?;
        let (request, _) =
            <ApiVersionsRequest<'_> as millstream_transport::kafka::Message<'_>>::decode_first(
                opened.body,
                prelude.version,
            )?;
        let response = api_versions::response(self.service, prelude.version, &request);
        Ok(encode_response(prelude.correlation_id, prelude.version, &response)?)
    }

    async fn handshake(&mut self, prelude: Prelude, frame: &Bytes) -> Result<Turn, Refused> {
        let request: SaslHandshakeRequest<'_> = read(prelude, frame)?;
        let exchange = self.service.sasl.begin(&request.mechanism, self.asker);
        let response = sasl_handshake::response(&self.service.sasl, exchange.is_some());
        let answer = encode_response(prelude.correlation_id, prelude.version, &response)?;
        let Some(exchange) = exchange else {
            let reason = format!("the mechanism {:?} is not in sasl.enabled.mechanisms", request.mechanism);
            return Err(Refused::Told { reason, answer: Some(answer) });
        };
        send(self.write, &answer).await?;
        let is_wrapped = prelude.version >= WRAPS_FROM;
        Ok(Turn::Next(if is_wrapped { Stage::Wrapped(exchange) } else { Stage::Bare(exchange) }))
    }

    async fn authenticate(
        &mut self,
        prelude: Prelude,
        mut exchange: Exchange,
        frame: &Bytes,
    ) -> Result<Turn, Refused> {
        let request: SaslAuthenticateRequest<'_> = read(prelude, frame)?;
        let step = exchange.step(&self.service.sasl, &request.auth_bytes).await;
        let (response, outcome) = match step {
            Step::Challenge(message) => {
                (sasl_authenticate::challenge(message), Ok(Turn::Next(Stage::Wrapped(exchange))))
            }
            Step::Done(principal, message) => {
                let lifetime = lifetime_ms(self.service.sasl.config.lasts);
                let done = Turn::Done(principal, exchange.mechanism());
                (sasl_authenticate::success(message, lifetime), Ok(done))
            }
            Step::Failed(failed) => {
                (sasl_authenticate::refusal(ErrorCode::SaslAuthenticationFailed), Err(failed))
            }
        };
        let answer = encode_response(prelude.correlation_id, prelude.version, &response)?;
        match outcome {
            Ok(turn) => {
                send(self.write, &answer).await?;
                Ok(turn)
            }
            Err(failed) => Err(told(&failed, Some(answer))),
        }
    }

    /// A message as it is; the answer is one, too, and there is none that says that the login failed.
    async fn bare(&mut self, mut exchange: Exchange, message: &Bytes) -> Result<Turn, Refused> {
        let (message, turn) = match exchange.step(&self.service.sasl, message).await {
            Step::Challenge(message) => (message, Turn::Next(Stage::Bare(exchange))),
            Step::Done(principal, message) => (message, Turn::Done(principal, exchange.mechanism())),
            Step::Failed(failed) => return Err(told(&failed, None)),
        };
        let length = i32::try_from(message.len()).unwrap_or(i32::MAX);
        self.write.write_all(&length.to_be_bytes()).await?;
        self.write.write_all(&message).await?;
        self.write.flush().await?;
        Ok(turn)
    }
}

fn told(failed: &LoginFailed, answer: Option<Encoded>) -> Refused {
    Refused::Told { reason: failed.to_string(), answer }
}

fn read<'a, M: Request<'a>>(prelude: Prelude, frame: &'a Bytes) -> Result<M, Refused> {
    let opened = open_request(frame, M::KEY)?;
    let (message, _) = M::decode_first(opened.body, prelude.version)?;
    Ok(message)
}
