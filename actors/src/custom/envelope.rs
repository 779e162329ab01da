//! A user's message as it travels: its name, the version of its form, and postcard bytes.

use bytes::Bytes;
use millstream_transport::message::{Answer, BodyMismatch};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::call::CallError;
use super::depth::{Bounded, LEVELS_MAX, Levels};

/// A message of a user's, usually an enum of all that an actor understands.
///
/// Its form is postcard, values nested at most 128 levels deep. An enum's variants are told by their place: new ones go to the end, or the version goes up.
/// ```
/// # use millstream_actors::custom::ActorMessage;
/// # use serde::{Deserialize, Serialize};
/// #[derive(Serialize, Deserialize)]
/// enum Greeting {
///     Hello { to: String },
/// }
///
/// impl ActorMessage for Greeting {
///     const NAME: &'static str = "greeting";
///     type Answer = String;
/// }
/// ```
pub trait ActorMessage: Serialize + DeserializeOwned + Send + 'static {
    /// What the message is called, the same for sender and actor; at most 255 bytes.
    const NAME: &'static str;
    /// The version of its form.
    const VERSION: u16 = 1;
    /// What it is answered with.
    type Answer: Serialize + DeserializeOwned + Send + 'static;

    /// The message from the bytes of an earlier version, where those are still understood; `None` where they are not, and
    /// the sender is told so.
    #[must_use]
    fn from_earlier(version: u16, bytes: &[u8]) -> Option<Result<Self, String>> {
        let _ = (version, bytes);
        None
    }

    /// What this message is called where it is shown to people: in the log line about a handler that runs long.
    #[must_use]
    fn label(&self) -> &'static str {
        Self::NAME
    }
}

/// A message of a user's as it travels. The bytes are a raw body of the message that carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// What the message is called.
    pub name: String,
    /// The version of its form.
    pub version: u16,
    /// The message.
    #[serde(skip)]
    pub body: Bytes,
}

impl Envelope {
    /// The longest name of a message.
    pub const NAME_BYTES_MAX: usize = 255;

    /// Seals a message that may have so many bytes.
    pub fn seal<M: ActorMessage>(message: &M, most: usize) -> Result<Self, CallError> {
        Ok(Self { name: M::NAME.to_owned(), version: M::VERSION, body: bytes(message, most)? })
    }

    /// The message in it; an error for its sender where it is another one, or of a version that is not understood.
    pub fn open<M: ActorMessage>(&self) -> Result<M, CallError> {
        if self.name != M::NAME {
            return Err(self.unknown::<M>());
        }
        if self.version == M::VERSION {
            return opened(&self.body);
        }
        match M::from_earlier(self.version, &self.body) {
            Some(read) => read.map_err(CallError::Malformed),
            None => Err(self.unknown::<M>()),
        }
    }

    fn unknown<M: ActorMessage>(&self) -> CallError {
        let expected = format!("{} in version {}", M::NAME, M::VERSION);
        CallError::UnknownMessage { name: self.name.clone(), version: self.version, expected }
    }

    /// A refusal where name or bytes are longer than allowed: of one that came from outside.
    pub fn check(&self, most: usize) -> Result<(), CallError> {
        if self.name.len() > Self::NAME_BYTES_MAX {
            return Err(CallError::Malformed("the message's name is longer than 255 bytes".to_owned()));
        }
        check_length(self.body.len(), most)
    }

    /// Takes the bytes out, as [`Message::take_bodies`](millstream_transport::message::Message::take_bodies) does.
    pub fn take_bodies(&mut self) -> Vec<Bytes> {
        vec![std::mem::take(&mut self.body)]
    }

    /// Puts the bytes back.
    pub fn put_bodies(&mut self, bodies: Vec<Bytes>) -> Result<(), BodyMismatch> {
        self.body = only(bodies)?;
        Ok(())
    }
}

/// The answer to a message of a user's as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// The answer in postcard.
    #[serde(skip)]
    pub body: Bytes,
}

impl Answer for Answered {
    fn take_bodies(&mut self) -> Vec<Bytes> {
        vec![std::mem::take(&mut self.body)]
    }

    fn put_bodies(&mut self, bodies: Vec<Bytes>) -> Result<(), BodyMismatch> {
        self.body = only(bodies)?;
        Ok(())
    }
}

/// An answer as it travels; it may have so many bytes.
pub fn seal_answer(answer: &impl Serialize, most: usize) -> Result<Answered, CallError> {
    Ok(Answered { body: bytes(answer, most)? })
}

/// The answer in its bytes.
pub fn open_answer<T: DeserializeOwned>(answered: &Answered) -> Result<T, CallError> {
    opened(&answered.body)
}

fn bytes(value: &impl Serialize, most: usize) -> Result<Bytes, CallError> {
    let bytes = postcard::to_stdvec(value).map_err(|error| CallError::Malformed(error.to_string()))?;
    check_length(bytes.len(), most)?;
    Ok(Bytes::from(bytes))
}

fn opened<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CallError> {
    let malformed = |error: postcard::Error| CallError::Malformed(error.to_string());
    let (mut reader, levels) = (postcard::Deserializer::from_bytes(bytes), Levels::new());
    let read = T::deserialize(Bounded { inner: &mut reader, levels: &levels });
    if levels.were_too_few() {
        return Err(CallError::Malformed(format!("values are nested more than {LEVELS_MAX} levels deep")));
    }
    let value = read.map_err(malformed)?;
    match reader.finalize().map_err(malformed)? {
        [] => Ok(value),
        rest => Err(CallError::Malformed(format!("{} bytes are left over", rest.len()))),
    }
}

fn check_length(length: usize, most: usize) -> Result<(), CallError> {
    if length <= most {
        return Ok(());
    }
    let wide = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
    Err(CallError::TooLarge { bytes: wide(length), most: wide(most) })
}

fn only(bodies: Vec<Bytes>) -> Result<Bytes, BodyMismatch> {
    BodyMismatch::check(1, bodies.len())?;
    Ok(bodies.into_iter().next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Note {
        Write(String),
        Read,
    }

    impl ActorMessage for Note {
        const NAME: &'static str = "note";
        const VERSION: u16 = 2;
        type Answer = u32;

        fn from_earlier(version: u16, bytes: &[u8]) -> Option<Result<Self, String>> {
            // Version 1 was the text alone.
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string());
            (version == 1).then(|| text(bytes).map(Self::Write))
        }
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct Other;

    impl ActorMessage for Other {
        const NAME: &'static str = "other";
        type Answer = ();
    }

    #[test]
    fn a_message_comes_out_as_it_went_in() {
        let sealed = Envelope::seal(&Note::Write("a".to_owned()), 100).unwrap();
        assert_eq!((sealed.name.as_str(), sealed.version, &*sealed.body), ("note", 2, &[0, 1, b'a'][..]));
        assert_eq!(sealed.open::<Note>().unwrap(), Note::Write("a".to_owned()));
        assert_eq!(open_answer::<u32>(&seal_answer(&7_u32, 9).unwrap()).unwrap(), 7);
    }

    #[test]
    fn another_message_a_later_version_and_garbage_are_errors_for_the_sender() {
        let sealed = Envelope::seal(&Note::Read, 100).unwrap();
        assert!(matches!(sealed.open::<Other>(), Err(CallError::UnknownMessage { .. })));
        let later = Envelope { version: 3, ..sealed.clone() };
        let error = later.open::<Note>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the actor does not know message note in version 3; it expects note in version 2"
        );
        for body in [vec![], vec![9], vec![1, 0], vec![0, 5, b'a']] {
            let garbage = Envelope { body: body.into(), ..sealed.clone() };
            assert!(matches!(garbage.open::<Note>(), Err(CallError::Malformed(_))));
        }
    }

    #[test]
    fn an_earlier_version_is_read_where_the_message_says_how() {
        let earlier = Envelope { name: "note".to_owned(), version: 1, body: Bytes::from_static(b"a") };
        assert_eq!(earlier.open::<Note>().unwrap(), Note::Write("a".to_owned()));
        let unreadable = Envelope { body: Bytes::from_static(&[0xff]), ..earlier };
        assert!(matches!(unreadable.open::<Note>(), Err(CallError::Malformed(_))));
    }

    #[derive(Debug, Serialize, Deserialize)]
    enum Deep {
        End,
        Down(Box<Self>),
    }

    impl ActorMessage for Deep {
        const NAME: &'static str = "deep";
        type Answer = ();
    }

    #[test]
    fn a_message_that_is_nested_too_deep_is_an_error_for_its_sender() {
        let nested = |levels| Envelope { name: "deep".to_owned(), version: 1, body: vec![1; levels].into() };
        let error = nested(1 << 20).open::<Deep>().unwrap_err();
        assert_eq!(error, CallError::Malformed("values are nested more than 128 levels deep".to_owned()));
        assert!(
            matches!(nested(3).open::<Deep>(), Err(CallError::Malformed(text)) if !text.contains("deep"))
        );
        let fits = Envelope::seal(&Deep::Down(Box::new(Deep::End)), 9).unwrap();
        assert!(matches!(fits.open::<Deep>(), Ok(Deep::Down(_))));
    }

    #[test]
    fn what_is_too_long_is_refused_on_both_sides() {
        let error = Envelope::seal(&Note::Write("abc".to_owned()), 4).unwrap_err();
        assert_eq!(error, CallError::TooLarge { bytes: 5, most: 4 });
        let sealed = Envelope::seal(&Note::Write("abc".to_owned()), 5).unwrap();
        assert!(sealed.check(5).is_ok() && sealed.check(4).is_err());
        let named = Envelope { name: "x".repeat(256), ..sealed };
        assert!(matches!(named.check(5), Err(CallError::Malformed(_))));
        assert!(matches!(seal_answer(&"abc", 3), Err(CallError::TooLarge { .. })));
    }
}
