//! SCRAM (RFC 5802, RFC 7677), the server's side, and the making of credentials. Pure.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use millstream_actors::access::{ScramCredential, ScramMechanism};
use ring::{digest, hmac, pbkdf2};

/// Channel binding is not spoken here: the client says that it does not either, or that it thinks so.
const NO_BINDING: [&str; 2] = ["n", "y"];

/// What is wrong with a message of a client. It is not told: only that the login failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ScramError {
    /// It is no message of SCRAM.
    #[error("a message is not one of SCRAM: {0}")]
    Malformed(&'static str),
    /// The proof is not one of somebody who knows the password.
    #[error("the proof is wrong")]
    WrongProof,
}

fn hmac_of(mechanism: ScramMechanism) -> hmac::Algorithm {
    match mechanism {
        ScramMechanism::Sha256 => hmac::HMAC_SHA256,
        ScramMechanism::Sha512 => hmac::HMAC_SHA512,
    }
}

fn mac(mechanism: ScramMechanism, key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac_of(mechanism), key), text).as_ref().to_vec()
}

fn hash(mechanism: ScramMechanism, bytes: &[u8]) -> Vec<u8> {
    let algorithm = match mechanism {
        ScramMechanism::Sha256 => &digest::SHA256,
        ScramMechanism::Sha512 => &digest::SHA512,
    };
    digest::digest(algorithm, bytes).as_ref().to_vec()
}

/// The password's hash, `iterations` times: what takes its time.
pub(crate) fn salted_password(
    mechanism: ScramMechanism,
    password: &[u8],
    salt: &[u8],
    iterations: u32,
) -> Vec<u8> {
    let algorithm = match mechanism {
        ScramMechanism::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        ScramMechanism::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
    };
    let mut salted = vec![0; mechanism.key_bytes()];
    let iterations = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
    pbkdf2::derive(algorithm, iterations, salt, password, &mut salted);
    salted
}

/// The credential of somebody whose salted password this is.
pub(crate) fn credential(
    mechanism: ScramMechanism,
    salted_password: &[u8],
    salt: Vec<u8>,
    iterations: u32,
) -> ScramCredential {
    let client_key = mac(mechanism, salted_password, b"Client Key");
    ScramCredential {
        salt,
        stored_key: hash(mechanism, &client_key),
        server_key: mac(mechanism, salted_password, b"Server Key"),
        iterations,
    }
}

/// Whether this is the password of the credential's owner. Takes as long as a credential costs.
pub(crate) fn is_password(mechanism: ScramMechanism, credential: &ScramCredential, password: &[u8]) -> bool {
    let salted = salted_password(mechanism, password, &credential.salt, credential.iterations);
    let stored = hash(mechanism, &mac(mechanism, &salted, b"Client Key"));
    is_same(&stored, &credential.stored_key)
}

/// In a time that does not tell where they differ: what is compared are their signatures, and those in constant time.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"comparison");
    hmac::verify(&key, one, hmac::sign(&key, other).as_ref()).is_ok()
}

/// What a client says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientFirst {
    /// The user.
    pub(crate) user: String,
    /// The header before it, which the client repeats later.
    header: String,
    bare: String,
    nonce: String,
}

impl ClientFirst {
    /// Reads it.
    pub(crate) fn parse(message: &[u8]) -> Result<Self, ScramError> {
        let text = std::str::from_utf8(message).map_err(|_| ScramError::Malformed("it is not UTF-8"))?;
        let mut parts = text.splitn(3, ',');
        let (Some(binding), Some(on_behalf), Some(bare)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(ScramError::Malformed("it has no header"));
        };
        if !NO_BINDING.contains(&binding) {
            return Err(ScramError::Malformed("it wants channel binding"));
        }
        let mut fields = bare.split(',');
        let user = fields.next().and_then(|field| field.strip_prefix("n="));
        let nonce = fields.next().and_then(|field| field.strip_prefix("r="));
        let (Some(user), Some(nonce)) = (user, nonce) else {
            return Err(ScramError::Malformed("it has no user and nonce"));
        };
        let user = plain_name(user).filter(|user| !user.is_empty());
        let user = user.ok_or(ScramError::Malformed("the user's name is wrong"))?;
        let is_for = on_behalf.strip_prefix("a=").map(plain_name);
        if !on_behalf.is_empty() && is_for != Some(Some(user.clone())) {
            return Err(ScramError::Malformed("it is on behalf of somebody else"));
        }
        if nonce.is_empty() || !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ScramError::Malformed("the nonce is wrong"));
        }
        Ok(Self {
            user,
            header: format!("{binding},{on_behalf},"),
            bare: bare.to_owned(),
            nonce: nonce.to_owned(),
        })
    }
}

/// A name in which comma and equals sign are written as `=2C` and `=3D`.
fn plain_name(text: &str) -> Option<String> {
    let mut parts = text.split('=');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        let (letter, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            (None, None) => return None,
        };
        name.push(letter);
        name.push_str(rest);
    }
    Some(name)
}

/// An exchange after the server's first message.
#[derive(Debug)]
pub(crate) struct Challenged {
    mechanism: ScramMechanism,
    credential: ScramCredential,
    first: ClientFirst,
    server_first: String,
    nonce: String,
}

impl Challenged {
    /// The server's first message; `nonce` is its own part of the nonce, in printable letters without comma.
    pub(crate) fn new(
        mechanism: ScramMechanism,
        credential: ScramCredential,
        first: ClientFirst,
        nonce: &str,
    ) -> (Self, Vec<u8>) {
        let nonce = format!("{}{nonce}", first.nonce);
        let salt = STANDARD.encode(&credential.salt);
        let server_first = format!("r={nonce},s={salt},i={}", credential.iterations);
        let message = server_first.clone().into_bytes();
        (Self { mechanism, credential, first, server_first, nonce }, message)
    }

    /// The user that the exchange is about.
    pub(crate) fn user(&self) -> &str {
        &self.first.user
    }

    /// Checks the client's final message; the server's is then its own proof.
    pub(crate) fn finish(self, message: &[u8]) -> Result<Vec<u8>, ScramError> {
        let text = std::str::from_utf8(message).map_err(|_| ScramError::Malformed("it is not UTF-8"))?;
        let (without_proof, proof) =
            text.rsplit_once(",p=").ok_or(ScramError::Malformed("it has no proof"))?;
        let mut fields = without_proof.split(',');
        let header = fields.next().and_then(|field| field.strip_prefix("c="));
        if header != Some(STANDARD.encode(&self.first.header).as_str()) {
            return Err(ScramError::Malformed("it has another header than the first message"));
        }
        if fields.next().and_then(|field| field.strip_prefix("r=")) != Some(self.nonce.as_str()) {
            return Err(ScramError::Malformed("it has another nonce"));
        }
        let proof = STANDARD.decode(proof).map_err(|_| ScramError::Malformed("the proof is not base64"))?;
        let said = format!("{},{},{without_proof}", self.first.bare, self.server_first);
        let signature = mac(self.mechanism, &self.credential.stored_key, said.as_bytes());
        if proof.len() != signature.len() {
            return Err(ScramError::WrongProof);
        }
        let client_key: Vec<u8> = proof.iter().zip(&signature).map(|(one, other)| one ^ other).collect();
        if !is_same(&hash(self.mechanism, &client_key), &self.credential.stored_key) {
            return Err(ScramError::WrongProof);
        }
        let server = mac(self.mechanism, &self.credential.server_key, said.as_bytes());
        Ok(format!("v={}", STANDARD.encode(server)).into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677, section 3.
    const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";
    const SERVER_FIRST: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                         p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn pencil(mechanism: ScramMechanism) -> ScramCredential {
        let salt = STANDARD.decode(SALT).unwrap();
        let salted = salted_password(mechanism, b"pencil", &salt, 4096);
        credential(mechanism, &salted, salt, 4096)
    }

    fn challenged(mechanism: ScramMechanism) -> (Challenged, String) {
        let first = ClientFirst::parse(FIRST.as_bytes()).unwrap();
        assert_eq!(first.user, "user");
        let (challenged, message) = Challenged::new(mechanism, pencil(mechanism), first, SERVER_NONCE);
        (challenged, String::from_utf8(message).unwrap())
    }

    #[test]
    fn the_exchange_of_rfc_7677_is_spoken_to_the_letter() {
        let (challenged, message) = challenged(ScramMechanism::Sha256);
        assert_eq!(message, SERVER_FIRST);
        assert_eq!(challenged.finish(FINAL.as_bytes()).unwrap(), SERVER_FINAL.as_bytes());
    }

    #[test]
    fn a_wrong_proof_nonce_or_header_lets_nobody_in() {
        let (_, proof) = FINAL.rsplit_once(",p=").unwrap();
        for (wrong, error) in [
            (FINAL.replace("dHz", "dHy"), ScramError::WrongProof),
            (FINAL.replace("$k0", "$k1"), ScramError::Malformed("it has another nonce")),
            (
                FINAL.replace("biws", "eSws"),
                ScramError::Malformed("it has another header than the first message"),
            ),
            (FINAL.replace(proof, "AAAA"), ScramError::WrongProof),
            (FINAL.replace(proof, "!"), ScramError::Malformed("the proof is not base64")),
            ("c=biws".to_owned(), ScramError::Malformed("it has no proof")),
        ] {
            let (challenged, _) = challenged(ScramMechanism::Sha256);
            assert_eq!(challenged.finish(wrong.as_bytes()), Err(error), "{wrong}");
        }
        let (challenged, _) = challenged(ScramMechanism::Sha512);
        assert_eq!(challenged.finish(FINAL.as_bytes()), Err(ScramError::WrongProof));
    }

    #[test]
    fn a_first_message_has_no_channel_binding_and_speaks_for_its_user_only() {
        let user = |message: &str| ClientFirst::parse(message.as_bytes()).map(|first| first.user);
        assert_eq!(user("y,,n=a,r=x").as_deref(), Ok("a"));
        assert_eq!(user("n,a=a,n=a,r=x").as_deref(), Ok("a"));
        assert_eq!(user("n,,n=a=2Cb=3Dc,r=x,tokenauth=false").as_deref(), Ok("a,b=c"));
        for wrong in [
            "",
            "n",
            "p=tls-unique,,n=a,r=x",
            "n,a=b,n=a,r=x",
            "n,,n=a",
            "n,,n=,r=x",
            "n,,n=a=2D,r=x",
            "n,,m=x,n=a,r=x",
            "n,,n=a,r=",
        ] {
            assert!(user(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn whatever_comes_instead_of_a_message_is_refused_or_read() {
        let letters = [b',', b'=', b'a', 0, 0xff, b'\n'];
        for message in [FIRST, FINAL, "n,a=x,n=a=2C,r=b", "c=biws,r=,p="] {
            let bytes = message.as_bytes();
            for end in 0..=bytes.len() {
                for letter in letters {
                    let mut changed = bytes[..end].to_vec();
                    changed.push(letter);
                    changed.extend(bytes.iter().skip(end + 1));
                    // That neither stumbles is all that is asked here.
                    let _ = ClientFirst::parse(&changed);
                    let (challenged, _) = challenged(ScramMechanism::Sha256);
                    let is_right = changed == FINAL.as_bytes();
                    assert_eq!(challenged.finish(&changed).is_ok(), is_right, "{changed:?}");
                }
            }
        }
    }

    #[test]
    fn a_password_is_checked_against_the_same_credential() {
        for mechanism in ScramMechanism::ALL {
            let credential = pencil(mechanism);
            assert!(is_password(mechanism, &credential, b"pencil"));
            assert!(!is_password(mechanism, &credential, b"pencils"));
            assert_eq!(credential.check(mechanism), Ok(()));
        }
    }

    #[test]
    fn a_salted_password_is_the_one_of_rfc_7914() {
        let salted = salted_password(ScramMechanism::Sha256, b"passwd", b"salt", 1);
        let expected = [0x55, 0xac, 0x04, 0x6e, 0x56, 0xe3, 0x08, 0x9f];
        assert_eq!(salted[..8], expected);
    }
}
