//! Access control lists: made, found, removed; and what they say.

use millstream_tests::Outcome;
use millstream_tests::kafka::KafkaConnection;
use millstream_transport::kafka::messages::create_acls::request::Creation;
use millstream_transport::kafka::messages::create_acls::{CreateAclsRequest, CreateAclsResponse};
use millstream_transport::kafka::messages::delete_acls::request::Filter;
use millstream_transport::kafka::messages::delete_acls::{DeleteAclsRequest, DeleteAclsResponse};
use millstream_transport::kafka::messages::describe_acls::{DescribeAclsRequest, DescribeAclsResponse};
use millstream_transport::kafka::messages::metadata::request::Topic as Asked;
use millstream_transport::kafka::messages::metadata::{MetadataRequest, MetadataResponse};
use millstream_transport::kafka::{ErrorCode, open_response};

use super::{of_user, open, topics, with_users};
use crate::{METADATA, expect, make_topic};
use millstream_tests::until;

/// Numbers of the protocol.
pub(super) const ANY: i8 = 1;
const MATCH: i8 = 2;
pub(super) const TOPIC: i8 = 2;
pub(super) const LITERAL: i8 = 3;
const PREFIXED: i8 = 4;
const DENY: i8 = 2;
pub(super) const ALLOW: i8 = 3;
const READ: i8 = 3;
const CREATE: i8 = 5;
const DESCRIBE: i8 = 8;

/// With lists; who comes in by the open listener may do everything.
pub(super) const WITH_LISTS: [(&str, &str); 2] =
    [("authorizer.class.name", "acl"), ("super.users", "User:admin; User:ANONYMOUS")];

/// An entry about alice.
pub(super) fn entry(resource: i8, name: &str, operation: i8) -> Creation<'_> {
    Creation {
        resource_type: resource,
        resource_name: name.into(),
        resource_pattern_type: LITERAL,
        principal: "User:alice".into(),
        host: "*".into(),
        operation,
        permission_type: ALLOW,
    }
}

pub(super) async fn create(
    connection: &mut KafkaConnection,
    entries: Vec<Creation<'_>>,
) -> Outcome<Vec<i16>> {
    let frame = connection.ask(3, &CreateAclsRequest { creations: entries.into() }).await?;
    let (_, response) = open_response::<CreateAclsResponse<'_>>(&frame, 3)?;
    Ok(response.results.iter().map(|result| result.error_code).collect())
}

fn every(name: Option<&str>, pattern: i8) -> Filter<'_> {
    Filter {
        resource_type_filter: ANY,
        resource_name_filter: name.map(Into::into),
        pattern_type_filter: pattern,
        principal_filter: None,
        host_filter: None,
        operation: ANY,
        permission_type: ANY,
    }
}

async fn delete(connection: &mut KafkaConnection, filters: Vec<Filter<'_>>) -> Outcome<Vec<(i16, usize)>> {
    let frame = connection.ask(3, &DeleteAclsRequest { filters: filters.into() }).await?;
    let (_, response) = open_response::<DeleteAclsResponse<'_>>(&frame, 3)?;
    Ok(response.filter_results.iter().map(|told| (told.error_code, told.matching_acls.len())).collect())
}

/// Removes all entries.
pub(super) async fn clear(connection: &mut KafkaConnection) -> Outcome {
    delete(connection, vec![every(None, ANY)]).await.map(|_| ())
}

/// What there is: names with the number of their entries.
async fn describe(
    connection: &mut KafkaConnection,
    name: Option<&str>,
    pattern: i8,
) -> Outcome<(i16, Vec<(String, i8, usize)>)> {
    let request = DescribeAclsRequest {
        resource_type_filter: TOPIC,
        resource_name_filter: name.map(Into::into),
        pattern_type_filter: pattern,
        principal_filter: None,
        host_filter: None,
        operation: ANY,
        permission_type: ANY,
    };
    let frame = connection.ask(3, &request).await?;
    let (_, response) = open_response::<DescribeAclsResponse<'_>>(&frame, 3)?;
    let found = response
        .resources
        .iter()
        .map(|found| (found.resource_name.to_string(), found.pattern_type, found.acls.len()));
    Ok((response.error_code, found.collect()))
}

#[tokio::test]
async fn without_an_authorizer_everybody_may_and_calls_about_lists_say_that_there_are_none() {
    with_users(&[], async |cluster| {
        let mut alice = of_user(cluster, "alice").await?;
        let disabled = ErrorCode::SecurityDisabled.code();
        expect("create", create(&mut alice, vec![entry(TOPIC, "t", READ)]).await?, vec![disabled])?;
        expect("describe", describe(&mut alice, None, ANY).await?, (disabled, vec![]))?;
        expect("delete", delete(&mut alice, vec![every(None, ANY)]).await?, vec![(disabled, 0)])?;
        make_topic(&mut alice, "flights").await.map(|_| ())
    })
    .await;
}

#[tokio::test]
async fn entries_are_made_found_and_removed_by_name_and_by_what_they_speak_of() {
    with_users(&WITH_LISTS, async |cluster| {
        let mut admin = open(cluster).await?;
        let prefixed = Creation { resource_pattern_type: PREFIXED, ..entry(TOPIC, "fl", READ) };
        let nameless = entry(TOPIC, "", READ);
        let any = entry(ANY, "t", READ);
        let wishes = vec![
            entry(TOPIC, "flights", READ),
            entry(TOPIC, "flights", DESCRIBE),
            prefixed,
            nameless,
            any,
            entry(TOPIC, "*", READ),
        ];
        let invalid = ErrorCode::InvalidRequest.code();
        expect("made", create(&mut admin, wishes).await?, vec![0, 0, 0, invalid, invalid, 0])?;
        let there = |name: &str, pattern: i8, count: usize| (name.to_owned(), pattern, count);
        let all = vec![there("*", LITERAL, 1), there("fl", PREFIXED, 1), there("flights", LITERAL, 2)];
        until("all entries", async || {
            Ok((describe(&mut admin, None, ANY).await? == (0, all.clone())).then_some(()))
        })
        .await?;
        let literal = describe(&mut admin, Some("flights"), LITERAL).await?;
        expect("by name", literal.1, vec![there("flights", LITERAL, 2)])?;
        let matched = describe(&mut admin, Some("flights"), MATCH).await?;
        expect("what speaks of it", matched.1, all)?;
        expect("a pattern that there is not", describe(&mut admin, None, 9).await?.0, invalid)?;
        let filters = vec![every(Some("flights"), LITERAL), every(Some("flights"), MATCH), every(None, 9)];
        let removed = delete(&mut admin, filters).await?;
        expect("removed, each once", removed, vec![(0, 2), (0, 2), (invalid, 0)])?;
        until(
            "no entries",
            async || Ok((describe(&mut admin, None, ANY).await? == (0, vec![])).then_some(())),
        )
        .await
    })
    .await;
}

async fn topic_code(connection: &mut KafkaConnection, name: &str) -> Outcome<i16> {
    let asked = Asked { name: Some(name.into()), ..Default::default() };
    let request = MetadataRequest {
        topics: Some(vec![asked].into()),
        allow_auto_topic_creation: true,
        ..Default::default()
    };
    let frame = connection.ask(METADATA, &request).await?;
    let (_, response) = open_response::<MetadataResponse<'_>>(&frame, METADATA)?;
    Ok(response.topics.iter().next().ok_or("no topic in the answer")?.error_code)
}

#[tokio::test]
async fn names_are_hidden_from_who_may_not_describe_them_and_made_by_who_may_create_them() {
    with_users(&WITH_LISTS, async |cluster| {
        let mut admin = open(cluster).await?;
        for topic in ["flights", "flights-late", "trains"] {
            make_topic(&mut admin, topic).await?;
        }
        let mut alice = of_user(cluster, "alice").await?;
        expect("nothing yet", topics(&mut alice).await?, vec![])?;
        let denied = ErrorCode::TopicAuthorizationFailed.code();
        expect("one that there is", topic_code(&mut alice, "flights").await?, denied)?;
        expect("one that there is not", topic_code(&mut alice, "nowhere").await?, denied)?;
        let prefixed = Creation { resource_pattern_type: PREFIXED, ..entry(TOPIC, "flights", READ) };
        let hidden = Creation { permission_type: DENY, ..entry(TOPIC, "flights-late", DESCRIBE) };
        let others = Creation { principal: "User:bob".into(), ..entry(TOPIC, "*", READ) };
        let elsewhere = Creation { host: "10.1.2.3".into(), ..entry(TOPIC, "trains", READ) };
        let describes = entry(TOPIC, "new", DESCRIBE);
        create(&mut admin, vec![prefixed, hidden, others, elsewhere, describes]).await?;
        until("what alice may describe", async || {
            Ok((topics(&mut alice).await? == ["flights"]).then_some(()))
        })
        .await?;
        expect("described, not created", topic_code(&mut alice, "new").await?, denied)?;
        create(&mut admin, vec![entry(TOPIC, "new", CREATE)]).await?;
        until("created", async || Ok((topic_code(&mut alice, "new").await? == 0).then_some(()))).await?;
        clear(&mut admin).await?;
        until("nothing again", async || Ok(topics(&mut alice).await?.is_empty().then_some(()))).await
    })
    .await;
}

#[tokio::test]
async fn what_no_list_speaks_of_is_open_to_everybody_where_the_setting_says_so() {
    let settings = [WITH_LISTS[0], WITH_LISTS[1], ("allow.everyone.if.no.acl.found", "true")];
    with_users(&settings, async |cluster| {
        let mut admin = open(cluster).await?;
        let mut alice = of_user(cluster, "alice").await?;
        make_topic(&mut alice, "flights").await?;
        let others = Creation { principal: "User:bob".into(), ..entry(TOPIC, "flights", READ) };
        create(&mut admin, vec![others]).await?;
        let denied = ErrorCode::TopicAuthorizationFailed.code();
        until("it is bob's now", async || {
            Ok((topic_code(&mut alice, "flights").await? == denied).then_some(()))
        })
        .await
    })
    .await;
}
