//! Quotas of clients: kept, told by what a filter finds, refused where Kafka refuses them.

use millstream_tests::kafka::KafkaConnection;
use millstream_tests::{Outcome, until};
use millstream_transport::kafka::messages::alter_client_quotas::request::{Entity, Entry, Op};
use millstream_transport::kafka::messages::alter_client_quotas::{
    AlterClientQuotasRequest, AlterClientQuotasResponse,
};
use millstream_transport::kafka::messages::describe_client_quotas::request::Component;
use millstream_transport::kafka::messages::describe_client_quotas::{
    DescribeClientQuotasRequest, DescribeClientQuotasResponse,
};
use millstream_transport::kafka::{ErrorCode, open_response};

use crate::{connect, expect, with_node};

const VERSION: i16 = 1;
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const ANY: i8 = 2;

/// Parts of an entity.
type Parts<'a> = &'a [(&'a str, Option<&'a str>)];

/// Changes one quota of each of these entities; no value removes it.
async fn alter(
    connection: &mut KafkaConnection,
    wanted: &[(Parts<'_>, &str, Option<f64>)],
    validate_only: bool,
) -> Outcome<Vec<i16>> {
    let entries = wanted.iter().map(|(parts, key, value)| {
        let entity = |(kind, name): &(&str, Option<&str>)| Entity {
            entity_type: (*kind).to_owned().into(),
            entity_name: name.map(|name| name.to_owned().into()),
        };
        let op = Op { key: (*key).to_owned().into(), value: value.unwrap_or(0.0), remove: value.is_none() };
        Entry { entity: parts.iter().map(entity).collect(), ops: vec![op].into() }
    });
    let request = AlterClientQuotasRequest { entries: entries.collect(), validate_only };
    let frame = connection.ask(VERSION, &request).await?;
    let (_, response) = open_response::<AlterClientQuotasResponse<'_>>(&frame, VERSION)?;
    Ok(response.entries.iter().map(|entry| entry.error_code).collect())
}

/// Quotas as `kind=name ... quota=value`.
async fn describe(
    connection: &mut KafkaConnection,
    components: &[(&str, i8, Option<&str>)],
    strict: bool,
) -> Outcome<(i16, Vec<String>)> {
    let components = components.iter().map(|(kind, match_type, name)| Component {
        entity_type: (*kind).to_owned().into(),
        match_type: *match_type,
        r#match: name.map(|name| name.to_owned().into()),
    });
    let request = DescribeClientQuotasRequest { components: components.collect(), strict };
    let frame = connection.ask(VERSION, &request).await?;
    let (_, response) = open_response::<DescribeClientQuotasResponse<'_>>(&frame, VERSION)?;
    let mut found = Vec::new();
    for entry in response.entries.iter().flat_map(|entries| entries.iter()) {
        let parts = entry
            .entity
            .iter()
            .map(|part| format!("{}={}", part.entity_type, part.entity_name.unwrap_or_else(|| "*".into())));
        let values = entry.values.iter().map(|value| format!("{}={}", value.key, value.value));
        found.push(parts.chain(values).collect::<Vec<_>>().join(" "));
    }
    Ok((response.error_code, found))
}

#[tokio::test]
async fn quotas_are_kept_and_found() {
    with_node(async |cluster| {
        let mut connection = connect(cluster).await?;
        let user: Parts<'_> = &[("user", Some("ann"))];
        let both: Parts<'_> = &[("user", Some("ann")), ("client-id", None)];
        let address: Parts<'_> = &[("ip", Some("10.0.0.1"))];
        let wanted = [
            (user, "producer_byte_rate", Some(1024.0)),
            (both, "request_percentage", Some(12.5)),
            (address, "connection_creation_rate", Some(3.0)),
        ];
        expect("checked", alter(&mut connection, &wanted, true).await?, vec![0, 0, 0])?;
        expect("nothing yet", describe(&mut connection, &[], false).await?, (0, vec![]))?;
        expect("changed", alter(&mut connection, &wanted, false).await?, vec![0, 0, 0])?;
        let all = until("all quotas", async || {
            Ok(Some(describe(&mut connection, &[], false).await?).filter(|(_, found)| found.len() == 3))
        })
        .await?;
        let of_user = "user=ann producer_byte_rate=1024".to_owned();
        let of_both = "user=ann client-id=* request_percentage=12.5".to_owned();
        let of_address = "ip=10.0.0.1 connection_creation_rate=3".to_owned();
        let mut sorted = all.1;
        sorted.sort_unstable();
        expect("all", sorted, vec![of_address.clone(), of_both.clone(), of_user.clone()])?;
        let exact = [("user", EXACT, Some("ann"))];
        expect("strictly", describe(&mut connection, &exact, true).await?, (0, vec![of_user.clone()]))?;
        let default = [("client-id", DEFAULT, None)];
        expect("for all", describe(&mut connection, &default, false).await?, (0, vec![of_both.clone()]))?;
        let any = [("ip", ANY, None)];
        expect("of any address", describe(&mut connection, &any, true).await?, (0, vec![of_address]))?;
        let removed = alter(&mut connection, &[(user, "producer_byte_rate", None)], false).await?;
        expect("removed", removed, vec![0])?;
        until("it is gone", async || {
            let (_, found) = describe(&mut connection, &exact, true).await?;
            Ok(found.is_empty().then_some(()))
        })
        .await
    })
    .await;
}

#[tokio::test]
async fn what_kafka_refuses_as_a_quota_is_refused_and_the_rest_is_done() {
    with_node(async |cluster| {
        let mut connection = connect(cluster).await?;
        let invalid = ErrorCode::InvalidRequest.code();
        let user: Parts<'_> = &[("user", None)];
        let wanted: [(Parts<'_>, &str, Option<f64>); 5] = [
            (&[], "producer_byte_rate", Some(1.0)),
            (&[("ip", None), ("user", None)], "connection_creation_rate", Some(1.0)),
            (user, "connection_creation_rate", Some(1.0)),
            (user, "producer_byte_rate", Some(-1.0)),
            (user, "consumer_byte_rate", Some(5.0)),
        ];
        let told = alter(&mut connection, &wanted, false).await?;
        expect("changes", told, vec![invalid, invalid, invalid, invalid, 0])?;
        let refused = [
            (vec![("user", EXACT, None)], invalid),
            (vec![("user", ANY, Some("x"))], invalid),
            (vec![("user", 7, None)], invalid),
            (vec![("user", ANY, None), ("user", ANY, None)], invalid),
            (vec![("user", ANY, None), ("ip", ANY, None)], invalid),
            (vec![("group", ANY, None)], ErrorCode::UnsupportedVersion.code()),
        ];
        for (components, code) in refused {
            let (error, found) = describe(&mut connection, &components, false).await?;
            expect("a filter", (error, found.len()), (code, 0))?;
        }
        Ok(())
    })
    .await;
}
