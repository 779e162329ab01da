//! A client that logs in: SCRAM and PLAIN, as simple as they can be.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use millstream_transport::kafka::messages::sasl_authenticate::{
    SaslAuthenticateRequest, SaslAuthenticateResponse,
};
use millstream_transport::kafka::messages::sasl_handshake::{SaslHandshakeRequest, SaslHandshakeResponse};
use millstream_transport::kafka::open_response;
use ring::{digest, hmac, pbkdf2};

use crate::Outcome;
use crate::kafka::KafkaConnection;

/// The client's part of the nonce: here nobody has to be surprised.
const NONCE: &str = "fyko+d2lbbFgONRv9qkxdawL";

/// What a client was told at the end of its login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedIn {
    /// 0, or why not.
    pub error_code: i16,
    /// How long it lasts; 0 for as long as the connection.
    pub lifetime_ms: i64,
}

/// One of the two hashes.
#[derive(Clone, Copy)]
struct Hash {
    hmac: hmac::Algorithm,
    digest: &'static digest::Algorithm,
    pbkdf2: pbkdf2::Algorithm,
}

fn hash(mechanism: &str) -> Outcome<Hash> {
    match mechanism {
        "SCRAM-SHA-256" => {
            Ok(Hash { hmac: hmac::HMAC_SHA256, digest: &digest::SHA256, pbkdf2: pbkdf2::PBKDF2_HMAC_SHA256 })
        }
        "SCRAM-SHA-512" => {
            Ok(Hash { hmac: hmac::HMAC_SHA512, digest: &digest::SHA512, pbkdf2: pbkdf2::PBKDF2_HMAC_SHA512 })
        }
        other => Err(format!("{other} is no mechanism of SCRAM").into()),
    }
}

impl Hash {
    fn mac(self, key: &[u8], text: &[u8]) -> Vec<u8> {
        hmac::sign(&hmac::Key::new(self.hmac, key), text).as_ref().to_vec()
    }

    fn salted(self, password: &str, salt: &[u8], iterations: u32) -> Outcome<Vec<u8>> {
        let mut salted = vec![0; self.digest.output_len()];
        let iterations = NonZeroU32::new(iterations).ok_or("no iterations")?;
        pbkdf2::derive(self.pbkdf2, iterations, salt, password.as_bytes(), &mut salted);
        Ok(salted)
    }

    /// The client's proof, and what the server must answer to it.
    fn proof(self, salted: &[u8], said: &str) -> (Vec<u8>, Vec<u8>) {
        let client = self.mac(salted, b"Client Key");
        let stored = digest::digest(self.digest, &client);
        let signature = self.mac(stored.as_ref(), said.as_bytes());
        let proof = client.iter().zip(&signature).map(|(one, other)| one ^ other).collect();
        (proof, self.mac(&self.mac(salted, b"Server Key"), said.as_bytes()))
    }
}

/// A password's salted hash, as clients make it who give a user a credential.
pub fn salted_password(mechanism: &str, password: &str, salt: &[u8], iterations: u32) -> Outcome<Vec<u8>> {
    hash(mechanism)?.salted(password, salt, iterations)
}

/// Names a mechanism: the error and the mechanisms told.
pub async fn handshake(
    connection: &mut KafkaConnection,
    version: i16,
    mechanism: &str,
) -> Outcome<(i16, Vec<String>)> {
    let request = SaslHandshakeRequest { mechanism: mechanism.into() };
    let frame = connection.ask(version, &request).await?;
    let (_, response) = open_response::<SaslHandshakeResponse<'_>>(&frame, version)?;
    Ok((response.error_code, response.mechanisms.iter().map(Into::into).collect()))
}

/// Sends a message of a login in a request: error, answer, lifetime.
pub async fn authenticate(connection: &mut KafkaConnection, message: &[u8]) -> Outcome<(i16, Vec<u8>, i64)> {
    const VERSION: i16 = 2;
    let frame = connection.ask(VERSION, &SaslAuthenticateRequest { auth_bytes: message.into() }).await?;
    let (_, response) = open_response::<SaslAuthenticateResponse<'_>>(&frame, VERSION)?;
    Ok((response.error_code, response.auth_bytes.to_vec(), response.session_lifetime_ms))
}

/// Logs in with SCRAM or PLAIN; what was told at the end.
pub async fn log_in(
    connection: &mut KafkaConnection,
    mechanism: &str,
    (user, password): (&str, &str),
) -> Outcome<LoggedIn> {
    let (error_code, _) = handshake(connection, 1, mechanism).await?;
    if error_code != 0 {
        return Ok(LoggedIn { error_code, lifetime_ms: 0 });
    }
    if mechanism == "PLAIN" {
        let message = format!("\0{user}\0{password}");
        let (error_code, _, lifetime_ms) = authenticate(connection, message.as_bytes()).await?;
        return Ok(LoggedIn { error_code, lifetime_ms });
    }
    let (error_code, challenge, _) = authenticate(connection, first(user).as_bytes()).await?;
    if error_code != 0 {
        return Ok(LoggedIn { error_code, lifetime_ms: 0 });
    }
    let (last, expected) = last(mechanism, (user, password), &challenge)?;
    let (error_code, answer, lifetime_ms) = authenticate(connection, last.as_bytes()).await?;
    if error_code == 0 && answer != expected.as_bytes() {
        return Err("the node does not know the credential either".into());
    }
    Ok(LoggedIn { error_code, lifetime_ms })
}

/// The first message of SCRAM.
#[must_use]
pub fn first(user: &str) -> String {
    format!("n,,{}", first_bare(user))
}

fn first_bare(user: &str) -> String {
    format!("n={user},r={NONCE}")
}

/// The last message of SCRAM, and what the server is to answer.
pub fn last(mechanism: &str, (user, password): (&str, &str), challenge: &[u8]) -> Outcome<(String, String)> {
    let challenge = std::str::from_utf8(challenge)?;
    let field = |name: &str| {
        let found = challenge.split(',').find_map(|field| field.strip_prefix(name));
        found.ok_or_else(|| format!("{challenge:?} has no {name}"))
    };
    let (nonce, salt, iterations) = (field("r=")?, STANDARD.decode(field("s=")?)?, field("i=")?.parse()?);
    let hash = hash(mechanism)?;
    let salted = hash.salted(password, &salt, iterations)?;
    let without_proof = format!("c=biws,r={nonce}");
    let said = format!("{},{challenge},{without_proof}", first_bare(user));
    let (proof, server) = hash.proof(&salted, &said);
    let last = format!("{without_proof},p={}", STANDARD.encode(proof));
    Ok((last, format!("v={}", STANDARD.encode(server))))
}
