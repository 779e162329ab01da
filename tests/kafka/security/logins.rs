//! Logins: with every mechanism, with wrong words, in the wrong order, too late, and once more.

use std::time::Duration;

use millstream_tests::Outcome;
use millstream_tests::kafka::KafkaConnection;
use millstream_tests::sasl::{LoggedIn, authenticate, first, handshake, last, log_in, salted_password};
use millstream_transport::kafka::messages::alter_user_scram_credentials::request::{Deletion, Upsertion};
use millstream_transport::kafka::messages::alter_user_scram_credentials::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse,
};
use millstream_transport::kafka::messages::api_versions::ApiVersionsRequest;
use millstream_transport::kafka::messages::describe_user_scram_credentials::{
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse, request::User,
};
use millstream_transport::kafka::messages::metadata::MetadataRequest;
use millstream_transport::kafka::{ErrorCode, open_response};
use tokio::time::{Instant, timeout};

use super::{PASSWORD, make_user, of_user, open, strange, topics, with_users};
use crate::{METADATA, expect};

const MECHANISMS: [&str; 3] = ["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"];

async fn expect_end(what: &str, connection: &mut KafkaConnection) -> Outcome {
    match timeout(Duration::from_secs(20), connection.frame()).await {
        Ok(Ok(None)) => Ok(()),
        other => Err(format!("{what}: {other:?} instead of an end").into()),
    }
}

#[tokio::test]
async fn who_knows_the_password_is_let_in_by_every_mechanism_and_nobody_else() {
    with_users(&[], async |cluster| {
        let failed = ErrorCode::SaslAuthenticationFailed.code();
        for mechanism in MECHANISMS {
            let mut connection = strange(cluster).await?;
            let told = log_in(&mut connection, mechanism, ("alice", PASSWORD)).await?;
            expect(mechanism, told, LoggedIn { error_code: 0, lifetime_ms: 0 })?;
            topics(&mut connection).await?;
            for (user, password) in [("alice", "pen"), ("bob", PASSWORD), ("alice", "")] {
                let mut connection = strange(cluster).await?;
                let told = log_in(&mut connection, mechanism, (user, password)).await?;
                expect(mechanism, told.error_code, failed)?;
                expect_end("after a wrong password", &mut connection).await?;
            }
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn before_a_login_only_what_belongs_to_it_is_answered() {
    with_users(&[("sasl.server.max.receive.size", "1024")], async |cluster| {
        let mut connection = strange(cluster).await?;
        connection.ask(3, &ApiVersionsRequest::default()).await?;
        // A version that there is not: answered with those that there are (KIP-511).
        connection.send_bytes(b"\x00\x00\x00\x0a\x00\x12\x00\x7f\x00\x00\x00\x01\xff\xff").await?;
        connection.frame().await?.ok_or("no answer to a later version")?;
        connection.send(METADATA, &MetadataRequest::default()).await?;
        expect_end("metadata before the login", &mut connection).await?;

        let mut connection = strange(cluster).await?;
        let (error, mechanisms) = handshake(&mut connection, 1, "GSSAPI").await?;
        expect("a mechanism that there is not", error, ErrorCode::UnsupportedSaslMechanism.code())?;
        expect("those that there are", mechanisms, MECHANISMS.map(str::to_owned).to_vec())?;
        expect_end("after it", &mut connection).await?;

        let mut connection = strange(cluster).await?;
        let (error, ..) = authenticate(&mut connection, b"n,,n=alice,r=x").await?;
        expect("a login without a handshake", error, ErrorCode::IllegalSaslState.code())?;

        let mut connection = strange(cluster).await?;
        handshake(&mut connection, 1, "SCRAM-SHA-256").await?;
        connection.send(METADATA, &MetadataRequest::default()).await?;
        expect_end("metadata in the middle of the login", &mut connection).await?;

        let mut connection = strange(cluster).await?;
        connection.send_bytes(&2_000_i32.to_be_bytes()).await?;
        expect_end("a long request before the login", &mut connection).await?;

        let mut connection = open(cluster).await?;
        let (error, _) = handshake(&mut connection, 1, "PLAIN").await?;
        expect("a handshake where nobody logs in", error, ErrorCode::IllegalSaslState.code())?;
        topics(&mut connection).await.map(|_| ())
    })
    .await;
}

#[tokio::test]
async fn clients_of_the_first_handshake_send_their_messages_bare() {
    with_users(&[], async |cluster| {
        let mut connection = strange(cluster).await?;
        expect("the handshake", handshake(&mut connection, 0, "SCRAM-SHA-256").await?.0, 0)?;
        let bare = |message: &str| {
            let length = i32::try_from(message.len()).unwrap_or(0);
            [&length.to_be_bytes()[..], message.as_bytes()].concat()
        };
        connection.send_bytes(&bare(&first("alice"))).await?;
        let challenge = connection.frame().await?.ok_or("no challenge")?;
        let (message, expected) = last("SCRAM-SHA-256", ("alice", PASSWORD), &challenge)?;
        connection.send_bytes(&bare(&message)).await?;
        let answer = connection.frame().await?.ok_or("no answer")?;
        expect("the node's proof", &answer[..], expected.as_bytes())?;
        topics(&mut connection).await?;

        let mut connection = strange(cluster).await?;
        handshake(&mut connection, 0, "PLAIN").await?;
        connection.send_bytes(&bare("\0alice\0pen")).await?;
        expect_end("a wrong password", &mut connection).await
    })
    .await;
}

#[tokio::test]
async fn who_does_not_log_in_is_gone_in_time_and_who_fails_waits_alone() {
    let settings = [
        ("connections.authentication.timeout.ms", "1000"),
        ("connection.failed.authentication.delay.ms", "3000"),
    ];
    with_users(&settings, async |cluster| {
        let mut silent = strange(cluster).await?;
        let begun = Instant::now();
        let mut failing = strange(cluster).await?;
        let failed = async {
            let told = log_in(&mut failing, "SCRAM-SHA-256", ("alice", "pen")).await?;
            Outcome::Ok((told.error_code, begun.elapsed()))
        };
        let others = async {
            expect_end("silence", &mut silent).await?;
            for _ in 0..3 {
                topics(&mut of_user(cluster, "alice").await?).await?;
            }
            Outcome::Ok(begun.elapsed())
        };
        let (failed, others) = tokio::join!(failed, others);
        let ((code, after), others): ((i16, Duration), Outcome<Duration>) = (failed?, others);
        expect("a wrong password", code, ErrorCode::SaslAuthenticationFailed.code())?;
        expect("told late", after >= Duration::from_secs(3), true)?;
        // Others came and went while it waited, unless this machine stood still for so long.
        expect("others are not held up", others? < after, true)
    })
    .await;
}

#[tokio::test]
async fn a_login_that_lasts_is_renewed_by_the_same_user_or_ends() {
    with_users(&[("connections.max.reauth.ms", "5000")], async |cluster| {
        make_user(cluster, "bob").await?;
        let told = LoggedIn { error_code: 0, lifetime_ms: 5000 };
        let mut going = strange(cluster).await?;
        expect("a login", log_in(&mut going, "SCRAM-SHA-512", ("alice", PASSWORD)).await?, told.clone())?;
        let begun = Instant::now();
        let mut other = of_user(cluster, "alice").await?;
        let (error, _) = handshake(&mut other, 1, "PLAIN").await?;
        expect("another mechanism", error, ErrorCode::UnsupportedSaslMechanism.code())?;
        let changed = log_in(&mut other, "SCRAM-SHA-256", ("bob", PASSWORD)).await?;
        expect("another user", changed.error_code, ErrorCode::SaslAuthenticationFailed.code())?;
        expect_end("after it", &mut other).await?;
        let mut idle = of_user(cluster, "alice").await?;
        topics(&mut idle).await?;
        // Renewed until the others' time is over.
        while begun.elapsed() < Duration::from_secs(7) {
            tokio::time::sleep(Duration::from_millis(1_100)).await;
            let again = Instant::now();
            expect("again", log_in(&mut going, "SCRAM-SHA-512", ("alice", PASSWORD)).await?, told.clone())?;
            let (error, _) = handshake(&mut going, 1, "SCRAM-SHA-512").await?;
            // Unless this machine stood still for so long.
            let too_soon =
                again.elapsed() >= Duration::from_secs(1) || error == ErrorCode::IllegalSaslState.code();
            expect("twice within a second", too_soon, true)?;
            topics(&mut going).await?;
        }
        let mut late = of_user(cluster, "alice").await?;
        topics(&mut late).await?;
        idle.send(METADATA, &MetadataRequest::default()).await?;
        expect_end("a login that is over", &mut idle).await
    })
    .await;
}

async fn alter(
    connection: &mut KafkaConnection,
    upsertions: Vec<Upsertion<'_>>,
    deletions: Vec<Deletion<'_>>,
) -> Outcome<Vec<(String, i16)>> {
    let request =
        AlterUserScramCredentialsRequest { upsertions: upsertions.into(), deletions: deletions.into() };
    let frame = connection.ask(0, &request).await?;
    let (_, response) = open_response::<AlterUserScramCredentialsResponse<'_>>(&frame, 0)?;
    Ok(response.results.iter().map(|result| (result.user.to_string(), result.error_code)).collect())
}

/// What is told of each user: error, and each mechanism with its iterations.
type Described = Vec<(String, i16, Vec<(i8, i32)>)>;

async fn described(connection: &mut KafkaConnection, users: &[&str]) -> Outcome<Described> {
    let named = users.iter().map(|user| User { name: (*user).into() });
    let request = DescribeUserScramCredentialsRequest { users: Some(named.collect()) };
    let frame = connection.ask(0, &request).await?;
    let (_, response) = open_response::<DescribeUserScramCredentialsResponse<'_>>(&frame, 0)?;
    let results = response.results.iter().map(|result| {
        let infos = result.credential_infos.iter().map(|info| (info.mechanism, info.iterations));
        (result.user.to_string(), result.error_code, infos.collect())
    });
    Ok(results.collect())
}

fn upsertion(user: &str, mechanism: i8, iterations: i32) -> Outcome<Upsertion<'_>> {
    let salt = b"as random as can be".to_vec();
    let hashed = u32::try_from(iterations)?.max(1);
    let salted = salted_password("SCRAM-SHA-256", PASSWORD, &salt, hashed)?;
    Ok(Upsertion {
        name: user.into(),
        mechanism,
        iterations,
        salt: salt.into(),
        salted_password: salted.into(),
    })
}

#[tokio::test]
async fn users_are_made_described_and_removed_by_kafkas_calls() {
    with_users(&[], async |cluster| {
        let mut admin = open(cluster).await?;
        let wishes = vec![
            upsertion("carol", 1, 5000)?,
            upsertion("few", 1, 4095)?,
            upsertion("many", 1, 16385)?,
            upsertion("odd", 9, 4096)?,
            upsertion("", 1, 4096)?,
            upsertion("twice", 1, 4096)?,
            upsertion("twice", 1, 4096)?,
        ];
        let gone = vec![Deletion { name: "nobody".into(), mechanism: 1 }];
        let mut told = alter(&mut admin, wishes, gone).await?;
        told.sort();
        let code = |user: &str, error: ErrorCode| (user.to_owned(), error.code());
        let expected = vec![
            code("", ErrorCode::UnacceptableCredential),
            code("carol", ErrorCode::None),
            code("few", ErrorCode::UnacceptableCredential),
            code("many", ErrorCode::UnacceptableCredential),
            code("nobody", ErrorCode::ResourceNotFound),
            code("odd", ErrorCode::UnsupportedSaslMechanism),
            code("twice", ErrorCode::DuplicateResource),
        ];
        expect("changes", told, expected)?;
        let mut carol = strange(cluster).await?;
        let login = log_in(&mut carol, "SCRAM-SHA-256", ("carol", PASSWORD)).await?;
        expect("the new user", login.error_code, 0)?;
        let all = described(&mut admin, &[]).await?;
        let alice = ("alice".to_owned(), 0, vec![(1, 4096), (2, 4096)]);
        expect("all", all, vec![alice, ("carol".to_owned(), 0, vec![(1, 5000)])])?;
        let some = described(&mut admin, &["bob", "carol", "carol"]).await?;
        let missing = ("bob".to_owned(), ErrorCode::ResourceNotFound.code(), vec![]);
        expect(
            "some",
            some,
            vec![missing, ("carol".to_owned(), ErrorCode::DuplicateResource.code(), vec![])],
        )?;
        let gone = vec![Deletion { name: "carol".into(), mechanism: 1 }];
        expect("removed", alter(&mut admin, vec![], gone).await?, vec![code("carol", ErrorCode::None)])?;
        let mut carol = strange(cluster).await?;
        let login = log_in(&mut carol, "SCRAM-SHA-256", ("carol", PASSWORD)).await?;
        expect("who was removed", login.error_code, ErrorCode::SaslAuthenticationFailed.code())
    })
    .await;
}
