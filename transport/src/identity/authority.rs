//! The cluster's certificate authority: made once, signs the certificates of nodes and clients.

use std::fmt;
use std::time::Duration;

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ED25519, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::{ClusterId, Credentials, Holder, Identity, IdentityError, NodeId, checked_client_name};
use crate::world::{Clock, Random};

/// How long certificates are valid. They start a day in the past, so that clocks may differ.
pub const VALIDITY_DAYS: u64 = 3_653;

const DAY: Duration = Duration::from_secs(86_400);

/// Signs the certificates of one cluster. Whoever has its key can make nodes: keep it off them.
///
/// Keys are Ed25519: small, and of one length, which keeps the size of every handshake the same (a simulation
/// hashes sizes).
pub struct ClusterAuthority {
    cluster: ClusterId,
    certificate: String,
    key: String,
    issuer: Issuer<'static, KeyPair>,
    clock: Clock,
    random: Random,
}

impl ClusterAuthority {
    /// A new authority, for a new cluster.
    pub fn create(clock: &Clock, random: &Random) -> Result<Self, IdentityError> {
        let cluster = ClusterId(random.uuid());
        let identity = Identity { cluster, holder: Holder::Authority };
        let mut params = parameters(&identity, clock, random)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = new_key()?;
        let certificate = params.self_signed(&key).map_err(making)?;
        Self::load(&certificate.pem(), &key.serialize_pem(), clock, random)
    }

    /// The authority whose certificate and key these PEM texts are.
    pub fn load(certificate: &str, key: &str, clock: &Clock, random: &Random) -> Result<Self, IdentityError> {
        let der = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|error| IdentityError::Pem { what: "certificate", error: error.to_string() })?;
        let identity = Identity::of(&der)?;
        if identity.holder != Holder::Authority {
            let reason = format!("it is of {}, an authority's is needed", identity.holder);
            return Err(IdentityError::NotOfMillstream(reason));
        }
        let pair = KeyPair::from_pem(key)
            .map_err(|error| IdentityError::Pem { what: "private key", error: error.to_string() })?;
        let issuer = Issuer::from_ca_cert_der(&der, pair).map_err(making)?;
        Ok(Self {
            cluster: identity.cluster,
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            issuer,
            clock: clock.clone(),
            random: random.clone(),
        })
    }

    /// The cluster it signs for.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// Its certificate: every node and client needs it.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate
    }

    /// Its private key: nobody but who issues certificates needs it.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key
    }

    /// A new key and certificate for a node. `names` (host names or addresses) are noted in it for people and for
    /// tools that look at names; links between nodes go by the node id.
    pub fn issue_node(&self, node: NodeId, names: &[String]) -> Result<Credentials, IdentityError> {
        let both = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(Holder::Node(node), names, both.to_vec())
    }

    /// A new key and certificate for a client.
    pub fn issue_client(&self, name: &str) -> Result<Credentials, IdentityError> {
        let holder = Holder::Client(checked_client_name(name)?.to_owned());
        self.issue(holder, &[], vec![ExtendedKeyUsagePurpose::ClientAuth])
    }

    fn issue(
        &self,
        holder: Holder,
        names: &[String],
        purposes: Vec<ExtendedKeyUsagePurpose>,
    ) -> Result<Credentials, IdentityError> {
        let identity = Identity { cluster: self.cluster, holder };
        let mut params = parameters(&identity, &self.clock, &self.random)?;
        for name in names {
            params.subject_alt_names.push(alternative_name(name)?);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = purposes;
        params.use_authority_key_identifier_extension = true;
        let key = new_key()?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(making)?;
        Credentials::from_pem(&self.certificate, &certificate.pem(), &key.serialize_pem())
    }
}

impl fmt::Debug for ClusterAuthority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ClusterAuthority").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// What authority, nodes and clients have in common.
fn parameters(
    identity: &Identity,
    clock: &Clock,
    random: &Random,
) -> Result<CertificateParams, IdentityError> {
    let mut params = CertificateParams::default();
    let now = Duration::from_millis(u64::try_from(clock.wall_ms()).unwrap_or(0));
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(DAY);
    params.not_after = epoch + now + Duration::from_secs(VALIDITY_DAYS * 86_400);
    // The top bits are fixed so that the number takes eight bytes every time.
    let serial = (random.next_u64() >> 2) | (1 << 62);
    params.serial_number = Some(SerialNumber::from_slice(&serial.to_be_bytes()));
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, format!("Millstream cluster {}", identity.cluster));
    name.push(DnType::CommonName, identity.holder.to_string());
    params.distinguished_name = name;
    let uri = Ia5String::try_from(identity.to_string()).map_err(making)?;
    params.subject_alt_names = vec![SanType::URI(uri)];
    Ok(params)
}

fn alternative_name(name: &str) -> Result<SanType, IdentityError> {
    if let Ok(address) = name.parse() {
        return Ok(SanType::IpAddress(address));
    }
    Ok(SanType::DnsName(Ia5String::try_from(name).map_err(making)?))
}

fn new_key() -> Result<KeyPair, IdentityError> {
    KeyPair::generate_for(&PKCS_ED25519).map_err(making)
}

fn making(error: impl fmt::Display) -> IdentityError {
    IdentityError::Making(error.to_string())
}

#[cfg(test)]
impl ClusterAuthority {
    /// From now on names another cluster in what it issues.
    pub(super) fn misname(&mut self, cluster: ClusterId) {
        self.cluster = cluster;
    }

    /// A node's certificate and key, unchecked against the authority's own cluster.
    pub(super) fn issue_unchecked(&self, node: NodeId) -> Result<(String, String), IdentityError> {
        let identity = Identity { cluster: self.cluster, holder: Holder::Node(node) };
        let mut params = parameters(&identity, &self.clock, &self.random)?;
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = new_key()?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(making)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}
