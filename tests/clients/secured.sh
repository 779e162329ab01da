#!/usr/bin/env bash
# A cluster of its own whose clients log in (SASL_SSL with SCRAM-SHA-512) or show a certificate (SSL), with access control
# lists: Kafka's tools make users and lists, Kafka's Java client and kcat do what they may, and are refused the rest.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
directory=$(mktemp -d)
work=$directory
. "$here/cluster.sh"
. "$here/java-tools.sh"

# What the nodes have is thrown away: they need not stop cleanly.
clean_up() {
    local node
    trap '' INT TERM
    for node in 1 2 3; do
        [ ! -s "$CLUSTER/$node.pid" ] || "$NODE" kill "$node" 2>/dev/null
    done
    stop_cluster
    rm -rf "$directory"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Of an authority of their own, which is the only one that clients trust: one certificate for the nodes, one for each client.
tls=$directory/tls
certificate_of() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" \
        -config <(printf '[req]\ndistinguished_name=name\n[name]\n') -keyout "$tls/$1.key" -out "$tls/$1.pem" "${@:2}"
}
certificates() {
    local holder by=(-CA "$tls/authority.pem" -CAkey "$tls/authority.key" -addext basicConstraints=critical,CA:FALSE)
    mkdir "$tls" && certificate_of authority -addext basicConstraints=critical,CA:TRUE || return
    certificate_of nodes "${by[@]}" -addext subjectAltName=DNS:localhost,IP:127.0.0.1 || return
    for holder in app nobody; do certificate_of "$holder" "${by[@]}" || return; done
}

start_secured() {
    start_cluster \
        --set 'listeners=SASL_SSL://127.0.0.1:{port},SSL://127.0.0.1:{port+2}' \
        --set "ssl.keystore.location=$tls/nodes.pem" \
        --set "ssl.key.location=$tls/nodes.key" \
        --set "ssl.truststore.location=$tls/authority.pem" \
        --set ssl.client.auth=required \
        --set 'ssl.principal.mapping.rules=RULE:^CN=(.*)$/$1/' \
        --set sasl.enabled.mechanisms=SCRAM-SHA-512 \
        --set authorizer.class.name=acl \
        --set super.users=User:admin
}

# properties USER PASSWORD: a file with how this user logs in.
properties() {
    cat >"$directory/$1.properties" <<END
security.protocol=SASL_SSL
sasl.mechanism=SCRAM-SHA-512
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="$1" password="$2";
ssl.truststore.type=PEM
ssl.truststore.location=$tls/authority.pem
END
}

administer() { tool "$1" --bootstrap-server "$BOOTSTRAP" --command-config "$directory/admin.properties" "${@:2}"; }
acls() { administer org.apache.kafka.tools.AclCommand "$@"; }

# The first user comes from who has a certificate of the cluster, the others from this one.
users() {
    local user
    echo admin-secret | "$built/millstream" user set admin --mechanism SCRAM-SHA-512 --bootstrap "${BOOTSTRAP%%,*}" \
        --certs "$CLUSTER/data/certs" >&2 || fails "millstream user set" || return
    for user in app nobody; do
        administer kafka.admin.ConfigCommand --alter --entity-type users --entity-name "$user" \
            --add-config "SCRAM-SHA-512=[iterations=4096,password=$user-secret]" || fails "$user is not made" || return
    done
    administer kafka.admin.ConfigCommand --describe --entity-type users >"$directory/told" || fails "--describe" || return
    [ "$(grep -c 'SCRAM-SHA-512=iterations=4096' "$directory/told")" = 3 ] || fails "not three users: $(cat "$directory/told")"
}

# `app` may write, read by group and transact under one prefix.
prefixed=(--allow-principal User:app --topic secured --resource-pattern-type prefixed)
lists() {
    acls --add "${prefixed[@]}" --producer --consumer --group secured --transactional-id secured || fails "--add" || return
    acls --list --principal User:app >"$directory/told" || fails "--list" || return
    grep -q 'resourceType=TRANSACTIONAL_ID, name=secured, patternType=PREFIXED' "$directory/told" ||
        fails "--list does not have what was added" || return
    administer org.apache.kafka.tools.TopicCommand --create --topic secured-source --partitions 2 --replication-factor 3 ||
        fails "the first topic" || return
    administer org.apache.kafka.tools.TopicCommand --create --topic secured-target --partitions 2 --replication-factor 3 ||
        fails "the second topic"
}

# by_certificate USER ARGUMENT...: kcat at the listener that asks for certificates; USER - has none.
by_certificate() {
    local shown=(-X "ssl.certificate.location=$tls/$1.pem" -X "ssl.key.location=$tls/$1.key")
    [ "$1" != - ] || shown=()
    timeout --foreground 10 kcat -b "$ssl" -X security.protocol=SSL -X "ssl.ca.location=$tls/authority.pem" \
        -X message.timeout.ms=5000 "${shown[@]}" "${@:2}" 2>"$directory/kcat"
}
certificate() {
    echo by-certificate | by_certificate app -P -t secured-source -p 0 || fails "app may not write" || return
    by_certificate app -C -q -e -o beginning -t secured-source >"$directory/read" || fails "app may not read" || return
    grep -qx by-certificate "$directory/read" || fails "what app wrote is not there" || return
    by_certificate app -L | grep -q 'topic "secured-target"' || fails "app sees no topic" || return
    by_certificate nobody -L >"$directory/read" || fails "nobody is not let in" || return
    grep -q ' 0 topics' "$directory/read" || fails "nobody sees topics"
}
no_certificate() {
    ! by_certificate - -L -m 3 >"$directory/read" || fails "let in" || return
    # The nodes say what they miss; any other failure proves nothing.
    grep -qi 'alert certificate required' "$directory/kcat" || fails "$(tail -n 1 "$directory/kcat")"
}
taken_away() {
    acls --remove --force "${prefixed[@]}" --producer --transactional-id secured || fails "--remove" || return
    ! echo again | by_certificate app -P -t secured-source -p 0 || fails "app may still write" || return
    grep -q 'authorization failed' "$directory/kcat" || fails "$(tail -n 1 "$directory/kcat")"
}

# Runs what several checks of the Java client are told by.
java_client() {
    java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx256M -Dlog4j2.configurationFile="$directory/log4j2.properties" \
        -cp "$CLIENTS_CACHE/java/classes:$CLIENTS_CACHE/java/lib/*" Secured "$directory"
}

certificates && start_secured || exit 1
# Ports of the second listener.
ssl=$(awk -v RS=, -F: '{ printf "%s%s:%d", (NR > 1 ? "," : ""), $1, $2 + 2 }' <<<"$BOOTSTRAP")
properties admin admin-secret
properties app app-secret
properties nobody nobody-secret
sed 's/app-secret/a-guess/' "$directory/app.properties" >"$directory/guess.properties"
told users users
told lists lists
java_client
told certificate certificate
told no-certificate no_certificate
told taken-away taken_away
no_complaints() { why=$(complaints); }
told no-complaints no_complaints
