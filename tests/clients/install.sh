#!/usr/bin/env bash
# install.sh CLIENT: gets a client and what it runs on, each by its name from its registry.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${CLIENTS_CACHE:?}

# needs PROGRAM PACKAGE...: of Debian's packages, where the program is missing.
needs() {
    command -v "$1" >/dev/null && return
    command -v apt-get >/dev/null || { echo "$1 is missing, and there is no apt-get to install ${*:2}" >&2 && return 1; }
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${@:2}"
}

# Whether a directory of the cache was made of these very files; if not it is made anew.
is_made_of() {
    local made=$cache/$1 sum
    sum=$(cat "${@:2}" | sha256sum)
    [ "$(cat "$made/made-of" 2>/dev/null)" = "$sum" ] && return
    rm -rf "$made"
    mkdir -p "$made"
    return 1
}
made_of() { cat "${@:2}" | sha256sum >"$cache/$1/made-of"; }

python() {
    needs python3 python3
    is_made_of python "$here/python/requirements.txt" && return
    python3 -m venv "$cache/python" 2>/dev/null || {
        needs python3-venv python3-venv
        python3 -m venv "$cache/python"
    }
    "$cache/python/bin/pip" install -q --disable-pip-version-check -r "$here/python/requirements.txt"
    made_of python "$here/python/requirements.txt"
}

go_client() {
    needs go golang-go
    (cd "$here/go" && go build -o "$cache/go/$1" "./$1")
}

java_clients() {
    needs javac default-jdk-headless
    needs mvn maven
    local files=("$here/java/pom.xml" "$here"/java/*.java)
    is_made_of java "${files[@]}" && return
    mvn -q -B -f "$here/java/pom.xml" dependency:copy-dependencies -DoutputDirectory="$cache/java/lib" -DincludeScope=runtime
    javac -d "$cache/java/classes" -cp "$cache/java/lib/*" "${files[@]:1}"
    made_of java "${files[@]}"
}

javascript() {
    needs node nodejs
    needs npm npm
    local files=("$here/javascript/package.json" "$here/javascript/kafkajs.mjs")
    is_made_of javascript "${files[@]}" && return
    cp "${files[@]}" "$cache/javascript"
    (cd "$cache/javascript" && npm install --silent --no-audit --no-fund --no-package-lock --ignore-scripts)
    made_of javascript "${files[@]}"
}

rust() {
    needs make make
    cargo build --release --locked --quiet --manifest-path "$here/rust/Cargo.toml" --target-dir "$cache/rust"
}

needs curl curl
case $1 in
kcat) needs kcat kcat ;;
confluent-kafka | kafka-python) python ;;
franz-go) go_client franz ;;
sarama) go_client sarama ;;
java | java-tools | copy | streams) java_clients ;;
connect | secured)
    needs kcat kcat
    needs openssl openssl
    java_clients
    ;;
kafkajs) javascript ;;
rdkafka) rust ;;
*)
    echo "install.sh: no client is named $1" >&2
    exit 2
    ;;
esac
