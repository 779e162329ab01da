use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Greeting {
    name: String,
    count: u32,
}

fn head(form: Form) -> Head {
    Head { form, kind: 0x0102, version: 3, correlation: 300 }
}

fn greeting() -> Greeting {
    Greeting { name: "ab".into(), count: 5 }
}

fn flat(encoded: &Encoded) -> Bytes {
    let mut all = BytesMut::new();
    for chunk in &encoded.chunks {
        all.extend_from_slice(chunk);
    }
    assert_eq!(all.len(), encoded.bytes);
    all.freeze()
}

fn decode(mut bytes: Bytes, limit: usize) -> Result<Frame, FrameError> {
    let found = bytes.len();
    if found < PREFIX_BYTES {
        return Err(FrameError::Length { expected: PREFIX_BYTES, found });
    }
    let prefix = bytes.split_to(PREFIX_BYTES);
    Prefix::parse(prefix.as_ref().try_into().unwrap(), limit)?.decode(bytes)
}

#[test]
fn version_1_of_the_layout_has_these_bytes() {
    let bodies = vec![Bytes::from_static(b"xyz"), Bytes::new(), Bytes::from_static(b"!")];
    let encoded = encode(head(Form::Answer), &greeting(), bodies, MAX_FRAME_BYTES).unwrap();
    let golden: &[u8] = &[
        27, 0, 0, 0, // length: 23 of header, 4 of bodies
        23, 0, 0, 0, // header
        0xe8, 0x03, 0x01, 0x2f, // checksum
        0x02, 0x01, 3, 0, // kind, version
        1, 0xac, 0x02, // envelope: answer, correlation 300
        3, 0, 0, 0, // three bodies
        3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, // their lengths
        2, b'a', b'b', 5, // the message
        b'x', b'y', b'z', b'!', // the bodies
    ];
    assert_eq!(flat(&encoded).as_ref(), golden);
}

#[test]
fn bodies_are_neither_copied_when_encoded_nor_when_decoded() {
    let body = Bytes::from(vec![7; 1000]);
    let encoded = encode(head(Form::OneWay), &greeting(), vec![body.clone()], MAX_FRAME_BYTES).unwrap();
    assert_eq!(encoded.chunks[1].as_ptr(), body.as_ptr());
    let received = flat(&encoded);
    let frame = decode(received.clone(), MAX_FRAME_BYTES).unwrap();
    assert!(received.as_ptr_range().contains(&frame.bodies[0].as_ptr()));
}

#[test]
fn a_frame_over_the_limit_is_refused_on_both_sides() {
    let bodies = vec![Bytes::from(vec![0; 100])];
    let error = encode(head(Form::Request), &greeting(), bodies.clone(), 100).unwrap_err();
    assert!(matches!(error, FrameError::TooLong { limit: 100, .. }), "{error}");
    let whole = flat(&encode(head(Form::Request), &greeting(), bodies, MAX_FRAME_BYTES).unwrap());
    assert!(matches!(decode(whole, 100), Err(FrameError::TooLong { limit: 100, .. })));
}

#[test]
fn every_flipped_bit_of_prefix_and_header_is_found() {
    let bodies = vec![Bytes::from_static(b"body")];
    let whole = flat(&encode(head(Form::Request), &greeting(), bodies, MAX_FRAME_BYTES).unwrap());
    for bit in 0..(whole.len() - 4) * 8 {
        let mut damaged = whole.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(damaged.into(), MAX_FRAME_BYTES).is_err(), "bit {bit}");
    }
}

#[test]
fn a_promise_of_many_bytes_takes_no_memory_before_they_come() {
    let whole = flat(
        &encode(head(Form::Request), &greeting(), vec![Bytes::from(vec![0; 40 << 20])], MAX_FRAME_BYTES)
            .unwrap(),
    );
    let mut assembler = Assembler::new(MAX_FRAME_BYTES);
    assembler.push(whole.slice(..100));
    assert_eq!(assembler.next_frame(), Ok(None));
    assert!(!assembler.is_between_frames());
    assert!(assembler.memory_bytes() <= 1 << 20);
    assembler.push(whole.slice(100..));
    assert_eq!(assembler.next_frame().unwrap().unwrap().bodies[0].len(), 40 << 20);
}

/// A frame with a valid checksum around whatever the header holds.
fn sealed(region: &[u8], bodies: &[u8]) -> Bytes {
    let fields = encode::Fields {
        length: u32::try_from(region.len() + bodies.len()).unwrap(),
        header: u32::try_from(region.len()).unwrap(),
        kind: 1,
        version: 1,
    };
    let mut whole = Vec::new();
    whole.extend_from_slice(&fields.length.to_le_bytes());
    whole.extend_from_slice(&fields.header.to_le_bytes());
    whole.extend_from_slice(&fields.checksum(region).to_le_bytes());
    whole.extend_from_slice(&[1, 0, 1, 0]);
    whole.extend_from_slice(region);
    whole.extend_from_slice(bodies);
    whole.into()
}

#[test]
fn a_body_count_that_the_header_cannot_hold_is_refused() {
    let mut region = vec![0, 0];
    region.extend_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(
        decode(sealed(&region, b"abc"), MAX_FRAME_BYTES),
        Err(FrameError::BodyTable { left: 0, .. })
    ));
}

#[test]
fn body_lengths_that_do_not_add_up_are_refused() {
    for lengths in [[1, 1], [u32::MAX, 4], [3, 1]] {
        let mut region = vec![0, 0, 2, 0, 0, 0];
        region.extend(lengths.iter().flat_map(|length| length.to_le_bytes()));
        let error = decode(sealed(&region, b"abc"), MAX_FRAME_BYTES).unwrap_err();
        assert!(matches!(error, FrameError::BodySum { left: 3, .. }), "{error}");
    }
}

proptest! {
    #[test]
    fn what_was_encoded_is_decoded(
        form in prop::sample::select(vec![Form::Request, Form::Answer, Form::OneWay, Form::Error, Form::Open, Form::Item]),
        kind: u16, version: u16, correlation: u64, name in ".{0,40}", count: u32,
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..8),
    ) {
        let head = Head { form, kind, version, correlation };
        let message = Greeting { name, count };
        let bodies = bodies.into_iter().map(Bytes::from).collect::<Vec<_>>();
        let encoded = encode(head, &message, bodies.clone(), MAX_FRAME_BYTES).unwrap();
        let frame = decode(flat(&encoded), MAX_FRAME_BYTES).unwrap();
        prop_assert_eq!(frame.head, head);
        prop_assert_eq!(postcard::from_bytes::<Greeting>(&frame.header).unwrap(), message);
        prop_assert_eq!(frame.bodies, bodies);
    }

    #[test]
    fn garbage_never_panics_and_never_takes_more_than_it_brought(
        garbage in prop::collection::vec(any::<u8>(), 0..300), limit in 0..400_usize,
    ) {
        let length = garbage.len();
        if let Ok(frame) = decode(garbage.into(), limit) {
            prop_assert!(frame.bytes() <= length);
        }
    }

    #[test]
    fn garbage_under_a_valid_checksum_never_panics(
        region in prop::collection::vec(any::<u8>(), 0..60), bodies in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let whole = sealed(&region, &bodies);
        let length = whole.len();
        if let Ok(frame) = decode(whole, MAX_FRAME_BYTES) {
            prop_assert!(frame.bytes() <= length);
            prop_assert!(frame.bodies.len() * 4 <= region.len());
        }
    }

    #[test]
    fn frames_are_put_together_from_pieces_of_any_size(
        sizes in prop::collection::vec(0..3000_usize, 1..6), cuts in prop::collection::vec(1..700_usize, 1..40),
    ) {
        let mut stream = BytesMut::new();
        for size in &sizes {
            let bodies = vec![Bytes::from(vec![u8::try_from(size % 251).unwrap(); *size])];
            stream.extend_from_slice(&flat(&encode(head(Form::Item), &greeting(), bodies, 5000).unwrap()));
        }
        let mut stream = stream.freeze();
        let mut assembler = Assembler::new(5000);
        let (mut found, mut cuts) = (Vec::new(), cuts.iter().cycle());
        loop {
            while let Some(frame) = assembler.next_frame().unwrap() {
                found.push(frame.bodies[0].len());
            }
            if stream.is_empty() {
                break;
            }
            assembler.push(stream.split_to((*cuts.next().unwrap()).min(stream.len())));
        }
        prop_assert!(assembler.is_between_frames());
        prop_assert_eq!(found, sizes);
    }

    #[test]
    fn a_frame_cut_short_is_refused(cut in 0..30_usize) {
        let whole = flat(&encode(head(Form::Request), &greeting(), vec![Bytes::from_static(b"0123456789")], 1000).unwrap());
        prop_assert!(decode(whole.slice(..cut.min(whole.len() - 1)), 1000).is_err());
    }
}
