//! The settings as the node uses them.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use millstream_actors::group::migration::MigrationPolicy;
use millstream_actors::ids::NodeId;
use millstream_actors::image::Nodes;
use millstream_actors::log::CleanerSettings;
use millstream_actors::topic_config::TopicConfig;

use super::actors::ActorsConfig;
use super::kafka::KafkaConfig;
use super::{ConfigError, Settings};

/// A first voter of the quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    /// The node.
    pub node: NodeId,
    /// Its `host:port`.
    pub address: String,
}

/// The certificate files of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authority's certificate.
    pub authority: PathBuf,
    /// The node's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// A node's settings, checked and typed. The documentation of each is in the catalogue ([`super::catalogue::all`]).
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "each field is the setting of its name; the catalogue documents it")]
pub struct NodeConfig {
    pub node_id: NodeId,
    pub data_dir: PathBuf,
    pub cores: usize,
    pub shutdown_timeout: Duration,
    pub quic_listen: SocketAddr,
    pub quic_advertised: String,
    /// `broker.rack`, if it is set.
    pub rack: Option<String>,
    pub quic_mtu_bytes: u16,
    pub quic_stream_window_bytes: u32,
    pub quic_link_window_bytes: u32,
    pub quic_send_window_bytes: u64,
    pub quic_socket_buffer_bytes: usize,
    pub kafka: KafkaConfig,
    pub queued_request_max_bytes: u32,
    pub queued_fetch_max_bytes: usize,
    pub http_listen: SocketAddr,
    pub tls: Option<TlsFiles>,
    pub voters: Vec<Voter>,
    pub heartbeat: Duration,
    pub lease: Duration,
    pub dead_after: Duration,
    pub default_partitions: i32,
    pub default_replication_factor: Option<i16>,
    /// `entity.partitions`.
    pub entity_partitions: i32,
    /// `entity.dedupe.ms`.
    pub entity_dedupe: Duration,
    /// `entity.idle.ms`.
    pub entity_idle: Duration,
    /// `transaction.state.log.num.partitions`.
    pub transactions_partitions: i32,
    /// `transaction.max.timeout.ms`.
    pub transaction_timeout_max: Duration,
    /// `transactional.id.expiration.ms`.
    pub transactional_id_expiration: Duration,
    /// Overrides that a topic made without them gets.
    pub topic_defaults: BTreeMap<String, String>,
    pub tail_cache_bytes: u64,
    pub open_files: usize,
    pub retention_check_interval: Duration,
    pub cleaner: CleanerSettings,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration: Duration,
    /// `producer.ids.max`.
    pub producer_ids_max: usize,
    pub replica_lag_max: Duration,
    pub leader_sync_lag_max: Duration,
    pub offsets_partitions: i32,
    pub session_timeout: Duration,
    pub group_heartbeat_interval: Duration,
    pub group_migration: MigrationPolicy,
    pub streams_session_timeout: Duration,
    pub streams_heartbeat_interval: Duration,
    pub offsets_retention: Duration,
    pub actors: ActorsConfig,
}

const TOPIC_DEFAULTS: [&str; 7] = [
    "min.insync.replicas",
    "flush.policy",
    "retention.ms",
    "retention.bytes",
    "segment.bytes",
    "segment.ms",
    "max.message.bytes",
];

impl NodeConfig {
    /// The typed form of these settings; an error where they contradict each other.
    pub fn new(settings: &Settings) -> Result<Self, ConfigError> {
        let reader = Reader(settings);
        let quic_listen = reader.socket("quic.listen")?;
        let advertised = reader.advertised()?;
        let node_id = NodeId(reader.number("node.id")?);
        let lease = reader.duration_ms("liveness.lease.ms")?;
        let dead_after = reader.duration_ms("liveness.dead.ms")?;
        if dead_after <= lease {
            return Err(reader.wrong("liveness.dead.ms", "must be greater than liveness.lease.ms"));
        }
        Ok(Self {
            node_id,
            data_dir: PathBuf::from(settings.value("data.dir")),
            cores: reader.number("node.cores")?,
            shutdown_timeout: reader.duration_ms("shutdown.timeout.ms")?,
            quic_listen,
            quic_mtu_bytes: reader.number("quic.mtu.bytes")?,
            quic_stream_window_bytes: reader.number("quic.stream.window.bytes")?,
            quic_link_window_bytes: reader.number("quic.link.window.bytes")?,
            quic_send_window_bytes: reader.number("quic.send.window.bytes")?,
            queued_request_max_bytes: reader.number("queued.max.request.bytes")?,
            queued_fetch_max_bytes: reader.number("queued.max.fetch.bytes")?,
            quic_socket_buffer_bytes: reader.number("quic.socket.buffer.bytes")?,
            actors: ActorsConfig::read(&reader)?,
            kafka: KafkaConfig::read(&reader, quic_listen, &advertised)?,
            http_listen: reader.socket("http.listen")?,
            tls: reader.tls()?,
            voters: reader.voters(node_id, &advertised)?,
            quic_advertised: advertised,
            rack: reader.rack()?,
            heartbeat: reader.duration_ms("liveness.heartbeat.ms")?,
            lease,
            dead_after,
            default_partitions: reader.number("num.partitions")?,
            default_replication_factor: Some(reader.number("default.replication.factor")?)
                .filter(|factor| *factor > 0),
            topic_defaults: reader.topic_defaults()?,
            tail_cache_bytes: reader.number("log.tail.cache.bytes")?,
            open_files: reader.number("log.open.files.max")?,
            retention_check_interval: reader.duration_ms("log.retention.check.interval.ms")?,
            cleaner: CleanerSettings {
                dedupe_bytes: reader.number("log.cleaner.dedupe.buffer.size")?,
                bytes_per_second: reader.number("log.cleaner.io.max.bytes.per.second")?,
            },
            producer_id_expiration: reader.duration_ms("producer.id.expiration.ms")?,
            producer_ids_max: reader.number("producer.ids.max")?,
            replica_lag_max: reader.duration_ms("replica.lag.time.max.ms")?,
            leader_sync_lag_max: reader.duration_ms("leader.sync.lag.max.ms")?,
            entity_partitions: reader.number("entity.partitions")?,
            entity_dedupe: reader.duration_ms("entity.dedupe.ms")?,
            entity_idle: reader.duration_ms("entity.idle.ms")?,
            transactions_partitions: reader.number("transaction.state.log.num.partitions")?,
            transaction_timeout_max: reader.duration_ms("transaction.max.timeout.ms")?,
            transactional_id_expiration: reader.duration_ms("transactional.id.expiration.ms")?,
            offsets_partitions: reader.number("offsets.topic.num.partitions")?,
            session_timeout: reader.duration_ms("group.consumer.session.timeout.ms")?,
            group_heartbeat_interval: reader.duration_ms("group.consumer.heartbeat.interval.ms")?,
            group_migration: MigrationPolicy::named(reader.text("group.consumer.migration.policy"))
                .ok_or_else(|| reader.wrong("group.consumer.migration.policy", "is no policy"))?,
            streams_session_timeout: reader.duration_ms("group.streams.session.timeout.ms")?,
            streams_heartbeat_interval: reader.duration_ms("group.streams.heartbeat.interval.ms")?,
            offsets_retention: Duration::from_secs(60 * reader.number::<u64>("offsets.retention.minutes")?),
        })
    }

    /// These settings once the node listens: others are told the port that it got where port 0 asked for any free one.
    #[must_use]
    pub fn listening_at(mut self, port: u16) -> Self {
        let me = self.node_id;
        let own = self.voters.iter_mut().filter(|voter| voter.node == me).map(|voter| &mut voter.address);
        for address in own.chain([&mut self.quic_advertised]) {
            if let Some(host) = address.strip_suffix(":0") {
                *address = format!("{host}:{port}");
            }
        }
        self
    }
}

/// Reads settings; what is wrong with one names it.
pub(super) struct Reader<'a>(&'a Settings);

impl Reader<'_> {
    pub(super) fn wrong(&self, name: &str, reason: &str) -> ConfigError {
        let value = self.0.value(name).to_owned();
        ConfigError::Value { name: name.to_owned(), value, reason: reason.to_owned() }
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.0.value(name)
    }

    fn rack(&self) -> Result<Option<String>, ConfigError> {
        let rack = self.text("broker.rack");
        if rack.len() > Nodes::RACK_BYTES_MAX {
            return Err(self.wrong("broker.rack", "must not be longer than 255 bytes"));
        }
        Ok(Some(rack.to_owned()).filter(|rack| !rack.is_empty()))
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, ConfigError> {
        self.0.value(name).parse().map_err(|_| self.wrong(name, "must be true or false"))
    }

    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<T, ConfigError> {
        self.0.value(name).parse().map_err(|_| self.wrong(name, "is not a number that fits"))
    }

    pub(super) fn duration_ms(&self, name: &str) -> Result<Duration, ConfigError> {
        self.number(name).map(Duration::from_millis)
    }

    fn socket(&self, name: &str) -> Result<SocketAddr, ConfigError> {
        self.resolve(name, self.0.value(name))
    }

    pub(super) fn resolve(&self, name: &str, address: &str) -> Result<SocketAddr, ConfigError> {
        address
            .to_socket_addrs()
            .ok()
            .and_then(|mut addresses| addresses.next())
            .ok_or_else(|| self.wrong(name, "is not an address of this machine (host:port)"))
    }

    /// What others are told: an address at which this node can be reached from elsewhere.
    fn advertised(&self) -> Result<String, ConfigError> {
        let names = ["quic.advertised", "quic.listen"];
        let name = names.into_iter().find(|name| !self.0.value(name).is_empty()).unwrap_or("quic.listen");
        let address = self.0.value(name);
        if address.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_unspecified()) {
            return Err(self.wrong(
                name,
                "is every address of this machine and none that others can reach it at: set quic.advertised to one",
            ));
        }
        Ok(address.to_owned())
    }

    fn tls(&self) -> Result<Option<TlsFiles>, ConfigError> {
        let names = ["tls.authority", "tls.certificate", "tls.key"];
        let [authority, certificate, key] = names.map(|name| self.0.value(name));
        if [authority, certificate, key].iter().all(|path| path.is_empty()) {
            return Ok(None);
        }
        if let Some(name) = names.iter().find(|name| self.0.value(name).is_empty()) {
            return Err(self
                .wrong(name, "tls.authority, tls.certificate and tls.key are given together or not at all"));
        }
        Ok(Some(TlsFiles { authority: authority.into(), certificate: certificate.into(), key: key.into() }))
    }

    fn voters(&self, me: NodeId, address: &str) -> Result<Vec<Voter>, ConfigError> {
        const NAME: &str = "quorum.voters";
        let text = self.0.value(NAME);
        if text.is_empty() {
            return Ok(vec![Voter { node: me, address: address.to_owned() }]);
        }
        let mut voters = Vec::new();
        for part in text.split(',').map(str::trim) {
            let voter = part.split_once('@').and_then(|(id, address)| {
                let node = NodeId(id.parse().ok().filter(|id| *id > 0)?);
                let (host, port) = address.rsplit_once(':')?;
                // Any free port is found by nobody but the node that gets it.
                let is_found = |port| port > 0 || node == me;
                (!host.is_empty() && port.parse::<u16>().is_ok_and(is_found))
                    .then(|| Voter { node, address: address.to_owned() })
            });
            voters.push(voter.ok_or_else(|| self.wrong(NAME, "must be id@host:port, separated by commas"))?);
        }
        let ids: std::collections::BTreeSet<_> = voters.iter().map(|voter| voter.node).collect();
        if ids.len() != voters.len() {
            return Err(self.wrong(NAME, "names a node twice"));
        }
        if voters.len() != 1 && voters.len() != 3 {
            return Err(
                self.wrong(NAME, "must name 1 or 3 voters; more join later by `millstream quorum add`")
            );
        }
        Ok(voters)
    }

    fn topic_defaults(&self) -> Result<BTreeMap<String, String>, ConfigError> {
        let given = TOPIC_DEFAULTS.iter().filter_map(|name| {
            let value = self.0.given().get(name)?;
            Some(((*name).to_owned(), value.clone()))
        });
        let overrides: BTreeMap<_, _> = given.collect();
        TopicConfig::parse(&overrides).map_err(|wrong| ConfigError::Value {
            name: wrong.name,
            value: wrong.value,
            reason: wrong.reason,
        })?;
        Ok(overrides)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&str, &str)]) -> Result<NodeConfig, ConfigError> {
        let mut settings = Settings::default();
        for (name, value) in pairs {
            settings = settings.set(name, value)?;
        }
        NodeConfig::new(&settings)
    }

    #[test]
    fn a_single_node_needs_no_configuration() {
        let config = with(&[]).unwrap();
        assert_eq!(config.node_id, NodeId(1));
        assert_eq!(config.voters, [Voter { node: NodeId(1), address: "127.0.0.1:9092".into() }]);
        assert_eq!(config.default_replication_factor, None);
    }

    #[test]
    fn voters_are_one_or_three_distinct_nodes() {
        assert_eq!(with(&[("quorum.voters", "1@a:1,2@b:1,3@c:1")]).unwrap().voters.len(), 3);
        for wrong in ["1@a:1,2@b:1", "1@a:1,1@b:1,3@c:1", "a:1", "0@a:1", "1@a", "1@a:1,2@b:0,3@c:1"] {
            let error = with(&[("quorum.voters", wrong)]).unwrap_err();
            assert!(error.to_string().starts_with("quorum.voters = "), "{error}");
        }
    }

    #[test]
    fn where_any_free_port_was_asked_for_the_one_it_got_is_told() {
        let told = |pairs: &[(&str, &str)]| {
            let config = with(pairs).unwrap().listening_at(4711);
            (config.quic_advertised, config.voters[0].address.clone())
        };
        let both = |address: &str| (address.to_owned(), address.to_owned());
        assert_eq!(told(&[("quic.listen", "127.0.0.1:0")]), both("127.0.0.1:4711"));
        assert_eq!(told(&[("quic.listen", "[::1]:0")]), both("[::1]:4711"));
        assert_eq!(told(&[("quic.listen", "0.0.0.0:0"), ("quic.advertised", "host:0")]), both("host:4711"));
        assert_eq!(told(&[("quic.listen", "0.0.0.0:0"), ("quic.advertised", "host:9")]), both("host:9"));
        assert_eq!(told(&[("quic.listen", "127.0.0.1:10")]), both("127.0.0.1:10"));
    }

    #[test]
    fn an_address_that_nobody_can_reach_is_not_told_to_others() {
        for (listen, advertised) in [("0.0.0.0:9092", ""), ("[::]:9092", ""), ("127.0.0.1:1", "0.0.0.0:2")] {
            let error = with(&[("quic.listen", listen), ("quic.advertised", advertised)]).unwrap_err();
            assert!(error.to_string().contains("set quic.advertised"), "{error}");
        }
        let config = with(&[("quic.listen", "0.0.0.0:9092"), ("quic.advertised", "node-1:9092")]).unwrap();
        assert_eq!(config.quic_advertised, "node-1:9092");
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused() {
        assert!(with(&[("liveness.dead.ms", "200")]).unwrap_err().to_string().contains("liveness.lease.ms"));
        assert!(with(&[("tls.key", "k.pem")]).unwrap_err().to_string().contains("together"));
    }
}
