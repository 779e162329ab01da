//! Fetch sessions: what is read is said once, and what is new is told once.

use millstream_tests::Outcome;
use millstream_tests::kafka::KafkaConnection;
use millstream_transport::kafka::messages::fetch::{self, FetchRequest, FetchResponse};
use millstream_transport::kafka::{ErrorCode, Uuid, open_response};

use crate::records::{batch, produce};
use crate::{connect, expect, make_topic, with_node};

/// The first version with sessions, and the first that names topics by id.
const BY_NAME: i16 = 12;
const BY_ID: i16 = 16;

struct Asked<'a> {
    version: i16,
    session: (i32, i32),
    /// Topics to read from these offsets on.
    wanted: &'a [(&'a str, Uuid, i64)],
    forgotten: &'a [(&'a str, Uuid)],
}

/// The error, the session, and of each topic in the answer its error and how many bytes it has.
type Told = (i16, i32, Vec<(i16, bool)>);

async fn ask(connection: &mut KafkaConnection, asked: Asked<'_>) -> Outcome<Told> {
    let by_id = asked.version >= 13;
    let topics = asked.wanted.iter().map(|(name, id, offset)| fetch::request::Topic {
        topic: if by_id { "".into() } else { (*name).into() },
        topic_id: if by_id { *id } else { Uuid::ZERO },
        partitions: vec![fetch::request::Partition {
            fetch_offset: *offset,
            partition_max_bytes: 1 << 20,
            ..Default::default()
        }]
        .into(),
    });
    let forgotten = asked.forgotten.iter().map(|(name, id)| fetch::request::ForgottenTopicsData {
        topic: if by_id { "".into() } else { (*name).into() },
        topic_id: if by_id { *id } else { Uuid::ZERO },
        partitions: vec![0].into(),
    });
    let request = FetchRequest {
        max_wait_ms: 10,
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_id: asked.session.0,
        session_epoch: asked.session.1,
        topics: topics.collect(),
        forgotten_topics_data: forgotten.collect(),
        ..Default::default()
    };
    let frame = connection.ask(asked.version, &request).await?;
    let (_, response) = open_response::<FetchResponse<'_>>(&frame, asked.version)?;
    let mut told = Vec::new();
    for topic in &response.responses {
        told.extend(topic.partitions.iter().map(|partition| {
            (partition.error_code, partition.records.is_some_and(|records| !records.is_empty()))
        }));
    }
    Ok((response.error_code, response.session_id, told))
}

#[tokio::test]
async fn a_session_tells_what_is_new_and_nothing_else() {
    with_node(async |cluster| {
        let mut connection = connect(cluster).await?;
        for version in [BY_NAME, BY_ID] {
            let (name, other) = (&*format!("a-{version}"), &*format!("b-{version}"));
            let one = (name, make_topic(&mut connection, name).await?, 0);
            let two = (other, make_topic(&mut connection, other).await?, 0);
            for topic in [(one.0, one.1), (two.0, two.1)] {
                produce(&mut connection, 9, topic, -1, batch(&["x"], 1_000)?).await?;
            }
            let (first, left) = ([one, two], [(two.0, two.1)]);
            let next = [(one.0, one.1, 1), (two.0, two.1, 1)];
            let asked = |session, wanted, forgotten| Asked { version, session, wanted, forgotten };
            let (error, id, told) = ask(&mut connection, asked((0, 0), &first, &[])).await?;
            expect("all at first", (error, id > 0, told), (0, true, vec![(0, true), (0, true)]))?;
            // Both are read to their ends from here on: nothing is new.
            expect("nothing new", ask(&mut connection, asked((id, 1), &next, &[])).await?, (0, id, vec![]))?;
            produce(&mut connection, 9, (two.0, two.1), -1, batch(&["y"], 1_000)?).await?;
            let told = ask(&mut connection, asked((id, 2), &[], &[])).await?;
            expect("one record", told, (0, id, vec![(0, true)]))?;
            let told = ask(&mut connection, asked((id, 3), &[], &left)).await?;
            expect("without the second", told, (0, id, vec![]))?;

            let stale = (ErrorCode::InvalidFetchSessionEpoch.code(), 0, vec![]);
            expect("a stale epoch", ask(&mut connection, asked((id, 3), &[], &[])).await?, stale)?;
            let mixed =
                Asked { version: if version == BY_ID { BY_NAME } else { BY_ID }, ..asked((id, 4), &[], &[]) };
            let refused = (ErrorCode::FetchSessionTopicIdError.code(), 0, vec![]);
            expect("named otherwise", ask(&mut connection, mixed).await?, refused)?;
            let (error, none, told) = ask(&mut connection, asked((id, -1), &first[..1], &[])).await?;
            expect("the end of it", (error, none, told.len()), (0, 0, 1))?;
            let gone = (ErrorCode::FetchSessionIdNotFound.code(), 0, vec![]);
            expect("it is gone", ask(&mut connection, asked((id, 4), &[], &[])).await?, gone)?;
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_error_is_told_each_time_until_it_is_over() {
    with_node(async |cluster| {
        let mut connection = connect(cluster).await?;
        let wanted: &[_] = &[("later", Uuid::ZERO, 0)];
        let asked = |session, wanted| Asked { version: BY_NAME, session, wanted, forgotten: &[] };
        let unknown = (ErrorCode::UnknownTopicOrPartition.code(), false);
        let (_, id, told) = ask(&mut connection, asked((0, 0), wanted)).await?;
        expect("at first", told, vec![unknown])?;
        expect("again", ask(&mut connection, asked((id, 1), &[])).await?.2, vec![unknown])?;
        let topic = ("later", make_topic(&mut connection, "later").await?);
        produce(&mut connection, 9, topic, -1, batch(&["x"], 1_000)?).await?;
        expect("over", ask(&mut connection, asked((id, 2), &[])).await?.2, vec![(0, true)])
    })
    .await;
}
