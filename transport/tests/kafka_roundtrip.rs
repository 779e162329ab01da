//! Random messages of every kind and version, written by a second reading of the schemas, are read and written again.
//!
//! The writer here walks the parsed schemas at run time and shares nothing with what is generated from them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what fails here fails the test")]

#[path = "../build/field.rs"]
mod field;
#[path = "../build/parse.rs"]
mod parse;
#[path = "../build/schema.rs"]
mod schema;

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use millstream_transport::kafka::{CATALOGUE, Entry, Writer};
use proptest::prelude::*;
use schema::{Field, Kind, Message, Preset, Schema, Struct};

static SCHEMAS: LazyLock<Vec<Schema>> = LazyLock::new(|| {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let mut schemas = Vec::new();
    for file in fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "schema") {
            let messages = parse::parse(&fs::read_to_string(&path).unwrap())
                .unwrap_or_else(|fault| panic!("{}", fault.in_file(&path)));
            schemas.push(Schema { name: String::new(), messages });
        }
    }
    schema::check_unique(&schemas).unwrap();
    schemas
});

fn messages() -> impl Iterator<Item = (&'static Message, &'static Entry)> {
    SCHEMAS
        .iter()
        .flat_map(|schema| &schema.messages)
        .map(|message| (message, CATALOGUE.iter().find(|entry| entry.name == message.name).unwrap()))
}

/// Chooses what a message holds.
enum Choice {
    Random(u64),
    /// What every field holds where nothing was said.
    Default,
}

impl Choice {
    fn below(&mut self, limit: u64) -> u64 {
        let Self::Random(state) = self else { return 0 };
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) % limit
    }

    /// A number that is small, extreme, or anything.
    fn number(&mut self) -> i64 {
        let any = self.below(1 << 31) << 33 | self.below(1 << 31) << 2 | self.below(4);
        match self.below(4) {
            0 => i64::try_from(any % 5).unwrap() - 2,
            1 => i64::MAX,
            2 => i64::MIN,
            _ => i64::from_ne_bytes(any.to_ne_bytes()),
        }
    }
}

/// A message as bytes, and the same with tagged fields in it that nobody knows.
struct Walk<'a> {
    message: &'a Message,
    version: i16,
    choice: Choice,
    plain: Vec<u8>,
    noisy: Vec<u8>,
}

impl<'a> Walk<'a> {
    fn new(message: &'a Message, version: i16, choice: Choice) -> Self {
        Self { message, version, choice, plain: Vec::new(), noisy: Vec::new() }
    }

    fn is_flexible(&self) -> bool {
        self.message.flexible.is_some_and(|first| self.version >= first)
    }

    fn put(&mut self, bytes: &[u8]) {
        self.plain.extend_from_slice(bytes);
        self.noisy.extend_from_slice(bytes);
    }

    fn structure(&mut self, structure: &Struct) {
        let there = |field: &&Field| (field.versions.first..=field.versions.last).contains(&self.version);
        let (tagged, fields) =
            structure.fields.iter().filter(there).partition::<Vec<_>, _>(|field| field.tag.is_some());
        for field in fields {
            self.field(field);
        }
        if self.is_flexible() {
            self.tags(tagged);
        }
    }

    fn tags(&mut self, mut fields: Vec<&Field>) {
        fields.sort_by_key(|field| field.tag);
        let mut tags = Vec::new();
        for field in fields {
            let mut default = Walk::new(self.message, self.version, Choice::Default);
            default.field(field);
            let (plain, noisy) = (std::mem::take(&mut self.plain), std::mem::take(&mut self.noisy));
            self.field(field);
            let plain = std::mem::replace(&mut self.plain, plain);
            let noisy = std::mem::replace(&mut self.noisy, noisy);
            if plain != default.plain {
                tags.push((field.tag.unwrap(), plain, noisy));
            }
        }
        let unknown = self.choice.below(2);
        let count = u64::try_from(tags.len()).unwrap();
        varint(&mut self.plain, count);
        varint(&mut self.noisy, count + unknown);
        for (number, plain, noisy) in tags {
            for (to, bytes) in [(&mut self.plain, plain), (&mut self.noisy, noisy)] {
                varint(to, number.into());
                varint(to, u64::try_from(bytes.len()).unwrap());
                to.extend(bytes);
            }
        }
        if unknown == 1 {
            varint(&mut self.noisy, 1000);
            varint(&mut self.noisy, 3);
            self.noisy.extend_from_slice(&[1, 2, 3]);
        }
    }

    fn field(&mut self, field: &Field) {
        let nullable = field.nullable.is_some_and(|range| (range.first..=range.last).contains(&self.version));
        let null = match self.choice {
            Choice::Default => field.preset == Preset::Null,
            Choice::Random(_) => nullable && self.choice.below(3) == 0,
        };
        if field.array {
            let count = if null { None } else { Some(self.choice.below(4)) };
            self.length(count, 4);
            for _ in 0..count.unwrap_or_default() {
                self.value(field);
            }
            return;
        }
        match (&field.kind, null) {
            (Kind::Struct(_), true) => self.put(&[0xff]),
            (Kind::String, true) if field.fixed => self.put(&[0xff; 2]),
            (Kind::String, true) => self.length(None, 2),
            (_, true) => self.length(None, 4),
            (Kind::Struct(_), false) if nullable => {
                self.put(&[1]);
                self.value(field);
            }
            _ => self.value(field),
        }
    }

    /// A length as wide as this, or a compact one.
    fn length(&mut self, length: Option<u64>, wide: usize) {
        if self.is_flexible() {
            let mut bytes = Vec::new();
            varint(&mut bytes, length.map_or(0, |length| length + 1));
            self.put(&bytes);
        } else {
            let length = length.map_or(-1, |length| i64::try_from(length).unwrap());
            self.put(&length.to_be_bytes()[8 - wide..]);
        }
    }

    fn value(&mut self, field: &Field) {
        let wide = match &field.kind {
            Kind::Bool => {
                return {
                    let byte = self.choice.below(2).to_be_bytes()[7];
                    self.put(&[byte])
                };
            }
            Kind::Struct(name) => {
                let structure = self.message.structs.iter().find(|found| &found.name == name).unwrap();
                return self.structure(structure);
            }
            Kind::String => return self.text(field.fixed),
            Kind::Bytes | Kind::Records => {
                let length = self.choice.below(200);
                self.length(Some(length), 4);
                return self.put(&vec![7; usize::try_from(length).unwrap()]);
            }
            Kind::Uuid => {
                let byte = self.choice.below(3).to_be_bytes()[7];
                return self.put(&[byte; 16]);
            }
            // Any bits are a number, but two that are not are not equal: no extremes here.
            Kind::F64 => {
                let number = f64::from(u32::try_from(self.choice.below(1000)).unwrap());
                return self.put(&number.to_be_bytes());
            }
            Kind::I8 => 1,
            Kind::I16 | Kind::U16 => 2,
            Kind::I32 | Kind::U32 => 4,
            Kind::I64 => 8,
        };
        let number = match (&self.choice, &field.preset) {
            (Choice::Default, Preset::Number(number)) => *number,
            (Choice::Default, _) => 0,
            (Choice::Random(_), _) => self.choice.number(),
        };
        self.put(&number.to_be_bytes()[8 - wide..]);
    }

    fn text(&mut self, fixed: bool) {
        let length = [0, 1, 5, 127, 128, 300][usize::try_from(self.choice.below(6)).unwrap()];
        let text = if self.choice.below(2) == 0 { "ö".repeat(length) } else { "x".repeat(length) };
        let length = u64::try_from(text.len()).unwrap();
        if fixed {
            self.put(&length.to_be_bytes()[6..]);
        } else {
            self.length(Some(length), 2);
        }
        self.put(text.as_bytes());
    }
}

fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push((value & 0x7f | 0x80).to_be_bytes()[7]);
        value >>= 7;
    }
    to.push(value.to_be_bytes()[7]);
}

fn rewrite(entry: &Entry, bytes: &[u8], from: i16, to: i16) -> Result<Vec<u8>, String> {
    let mut writer = Writer::new();
    (entry.rewrite)(bytes, from, to, &mut writer).map_err(|error| error.to_string())?;
    Ok(writer.into_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_the_schemas_describe_is_read_and_written_again(seed: u64) {
        for (message, entry) in messages() {
            for version in message.versions.first..=message.versions.last {
                let mut walk = Walk::new(message, version, Choice::Random(seed));
                walk.structure(&message.structs[0]);
                prop_assert_eq!(rewrite(entry, &walk.plain, version, version), Ok(walk.plain.clone()), "{} {}", entry.name, version);
                prop_assert_eq!(rewrite(entry, &walk.noisy, version, version), Ok(walk.plain), "{} {}", entry.name, version);
            }
        }
    }

    #[test]
    fn what_can_be_written_in_another_version_is_read_in_it(seed: u64) {
        for (message, entry) in messages() {
            for version in message.versions.first..=message.versions.last {
                let mut walk = Walk::new(message, version, Choice::Random(seed));
                walk.structure(&message.structs[0]);
                for other in message.versions.first..=message.versions.last {
                    if let Ok(bytes) = rewrite(entry, &walk.plain, version, other) {
                        prop_assert_eq!(rewrite(entry, &bytes, other, other), Ok(bytes), "{} {}", entry.name, other);
                    }
                }
            }
        }
    }
}

#[test]
fn each_default_of_a_schema_is_what_is_read_where_a_tagged_field_is_absent() {
    for (message, entry) in messages() {
        for version in message.versions.first..=message.versions.last {
            let mut walk = Walk::new(message, version, Choice::Default);
            walk.structure(&message.structs[0]);
            assert_eq!(rewrite(entry, &walk.plain, version, version), Ok(walk.plain));
        }
    }
}
