//! The subject of a certificate as RFC 2253 writes it, the last part first: what Kafka's brokers see on the JVM.

use std::fmt::Write as _;

use x509_parser::prelude::{
    AttributeTypeAndValue, FromDer, RelativeDistinguishedName, X509Certificate, X509Name,
};

/// The types of parts that RFC 2253 has names for; others stand as their number, and their value as its bytes.
const NAMES: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

/// What means something in a subject, and is escaped where it does not.
const SPECIAL: &str = ",=+<>#;\"\\";

/// The subject of a certificate in DER; the error says why it has none.
pub(crate) fn subject(certificate: &[u8]) -> Result<String, String> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|error| error.to_string())?;
    Ok(written(certificate.subject()))
}

fn written(name: &X509Name<'_>) -> String {
    let part =
        |part: &RelativeDistinguishedName<'_>| part.iter().map(attribute).collect::<Vec<_>>().join("+");
    let mut parts: Vec<String> = name.iter_rdn().map(part).collect();
    parts.reverse();
    parts.join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let id = attribute.attr_type().to_id_string();
    let name = NAMES.iter().find(|(known, _)| *known == id).map(|(_, name)| *name);
    match (name, attribute.as_str()) {
        (Some(name), Ok(value)) => format!("{name}={}", escaped(value)),
        (name, _) => format!("{}={}", name.unwrap_or(&id), bytes_of(attribute)),
    }
}

fn escaped(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut text = String::with_capacity(value.len());
    for (at, letter) in value.chars().enumerate() {
        let is_edge = at == 0 || at == last;
        if letter == '\0' {
            text.push_str("\\00");
            continue;
        }
        if SPECIAL.contains(letter) || (letter == ' ' && is_edge) {
            text.push('\\');
        }
        text.push(letter);
    }
    text
}

/// A value in DER, as hexadecimal digits behind `#`.
fn bytes_of(attribute: &AttributeTypeAndValue<'_>) -> String {
    let value = attribute.attr_value();
    let data: &[u8] = value.data;
    let tag = u8::try_from(value.header.tag().0 & 0x1f).unwrap_or_default();
    let mut der = vec![tag];
    match u8::try_from(data.len()) {
        Ok(length) if length < 0x80 => der.push(length),
        _ => {
            let length = data.len().to_be_bytes();
            let length: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
            der.push(0x80 | u8::try_from(length.len()).unwrap_or_default());
            der.extend(length);
        }
    }
    der.extend_from_slice(data);
    let mut text = "#".to_owned();
    for byte in der {
        // Into a string, which does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_is_escaped_and_spaces_at_the_edges() {
        assert_eq!(escaped("a,b=c+d"), "a\\,b\\=c\\+d");
        assert_eq!(escaped(" a b "), "\\ a b\\ ");
        assert_eq!(escaped("#\"\\"), "\\#\\\"\\\\");
    }

    #[test]
    fn what_is_no_certificate_has_no_subject() {
        assert!(subject(b"no").is_err());
    }
}
