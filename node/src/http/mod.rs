//! What people and their tools ask over HTTP: metrics, health, actors, applications of streams.

pub(crate) mod actors;
mod health;
pub(crate) mod streams;

use std::fmt;
use std::future::IntoFuture as _;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

pub use actors::Actors;
pub use health::{Health, HealthReport};
pub use streams::Applications;

use crate::telemetry::Metrics;

#[derive(Clone)]
struct Shared {
    metrics: Metrics,
    health: Arc<dyn Health>,
    listed: Listed,
}

/// What lives in the cluster, to be listed.
#[derive(Clone)]
pub struct Listed {
    /// The actors of nodes.
    pub actors: Arc<dyn Actors>,
    /// The applications of streams.
    pub applications: Arc<dyn Applications>,
}

impl fmt::Debug for Listed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Listed")
    }
}

/// The HTTP server of a node, on a thread of its own. Dropping it stops it.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// How often histograms are folded between scrapes.
const UPKEEP: std::time::Duration = std::time::Duration::from_secs(5);

impl HttpServer {
    /// Listens at `address` (port 0 for any free one); an error where that is not possible.
    pub fn start(
        address: SocketAddr,
        metrics: Metrics,
        health: Arc<dyn Health>,
        listed: Listed,
    ) -> std::io::Result<Self> {
        let listener = std::net::TcpListener::bind(address).map_err(|error| {
            std::io::Error::new(error.kind(), format!("http.listen {address} cannot be used: {error}"))
        })?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = Shared { metrics, health, listed };
        let thread = std::thread::Builder::new()
            .name("http".to_owned())
            .spawn(move || runtime.block_on(serve(listener, shared, stopped)))?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of a handler has been answered with 500 already.
            let _ = thread.join();
        }
    }
}

async fn serve(listener: std::net::TcpListener, shared: Shared, stopped: oneshot::Receiver<()>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the HTTP listener cannot be served");
            return;
        }
    };
    let metrics = shared.metrics.clone();
    let router = Router::new()
        .route("/metrics", get(metrics_text))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/actors", get(list_actors))
        .route("/streams", get(list_streams))
        .with_state(shared);
    let upkeep = async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            metrics.upkeep();
        }
    };
    // No wait for open connections: a scraper's keep-alive must not hold up the stop of a node.
    tokio::select! {
        biased;
        _ = stopped => {}
        () = upkeep => {}
        served = axum::serve(listener, router).into_future() => {
            if let Err(error) = served {
                tracing::error!(%error, "the HTTP server has stopped");
            }
        }
    }
}

async fn metrics_text(State(shared): State<Shared>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], shared.metrics.render()).into_response()
}

async fn live(State(shared): State<Shared>) -> Response {
    let report = shared.health.report();
    answer(report.is_live(), report)
}

async fn ready(State(shared): State<Shared>) -> Response {
    let report = shared.health.report();
    answer(report.is_ready(), report)
}

async fn list_actors(State(shared): State<Shared>, asked: Query<actors::Asked>) -> Response {
    Json(actors::answer(&*shared.listed.actors, asked).await).into_response()
}

async fn list_streams(State(shared): State<Shared>, asked: Query<streams::Asked>) -> Response {
    match streams::answer(&*shared.listed.applications, asked).await {
        Ok(reports) => Json(reports).into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error).into_response(),
    }
}

fn answer(well: bool, report: HealthReport) -> Response {
    let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report)).into_response()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[derive(Debug, Default)]
    struct Switch(AtomicBool);

    impl Health for Switch {
        fn report(&self) -> HealthReport {
            let on = self.0.load(Ordering::Relaxed);
            HealthReport { recovered: on, followed_quorum: on, joined: on, ..HealthReport::default() }
        }
    }

    fn nothing() -> Listed {
        Listed {
            actors: Arc::new(actors::Fixed(Vec::new())),
            applications: Arc::new(streams::Fixed(Vec::new())),
        }
    }

    fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn readiness_follows_the_node_and_liveness_does_not() {
        let health = Arc::new(Switch::default());
        let server =
            HttpServer::start(([127, 0, 0, 1], 0).into(), Metrics::new().unwrap(), health.clone(), nothing())
                .unwrap();
        assert!(ask(server.address(), "/readyz").starts_with("HTTP/1.1 503"));
        assert!(ask(server.address(), "/livez").starts_with("HTTP/1.1 200"));
        health.0.store(true, Ordering::Relaxed);
        assert!(ask(server.address(), "/readyz").starts_with("HTTP/1.1 200"));
    }

    #[test]
    fn metrics_are_served_as_text() {
        let metrics = Metrics::new().unwrap();
        metrics
            .events(millstream_actors::ids::NodeId(1))
            .counter("millstream_records_in_total", Vec::new())
            .increment(1);
        let server =
            HttpServer::start(([127, 0, 0, 1], 0).into(), metrics, Arc::new(Switch::default()), nothing())
                .unwrap();
        let text = ask(server.address(), "/metrics");
        assert!(
            text.contains("text/plain; version=0.0.4") && text.contains("millstream_records_in_total 1"),
            "{text}"
        );
    }

    #[test]
    fn applications_are_served_as_json_and_an_unknown_word_is_refused() {
        let metrics = Metrics::new().unwrap();
        let health = Arc::new(Switch::default());
        let server = HttpServer::start(([127, 0, 0, 1], 0).into(), metrics, health, nothing()).unwrap();
        let text = ask(server.address(), "/streams?application=a");
        assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("[]"), "{text}");
        assert!(ask(server.address(), "/streams?app=a").starts_with("HTTP/1.1 400"));
    }

    #[test]
    fn an_address_in_use_is_told() {
        let metrics = Metrics::new().unwrap();
        let first = HttpServer::start(
            ([127, 0, 0, 1], 0).into(),
            metrics.clone(),
            Arc::new(Switch::default()),
            nothing(),
        )
        .unwrap();
        let error =
            HttpServer::start(first.address(), metrics, Arc::new(Switch::default()), nothing()).unwrap_err();
        assert!(error.to_string().contains(&first.address().to_string()), "{error}");
    }
}
