"""confluent-kafka, which is librdkafka."""

import threading
import time
from collections import Counter

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic

from checks import BOOTSTRAP, CODECS, each_once, node, records, same, tell, until

NAME = "confluent-kafka"
admin = AdminClient({"bootstrap.servers": BOOTSTRAP})


def done(futures):
    return {key: future.result(30) for key, future in futures.items()}


def make(topic, partitions, **config):
    done(admin.create_topics([NewTopic(topic, partitions, 3, config=config)]))
    until(10, lambda: len(described(topic)) == partitions, lambda: time.sleep(0.05), lambda: f"{topic} is not there")


def described(topic):
    known = admin.list_topics(topic, timeout=10).topics[topic]
    return [] if known.error else [p for p in known.partitions.values() if p.leader > 0]


def consumer(**settings):
    base = {"bootstrap.servers": BOOTSTRAP, "group.id": NAME, "auto.offset.reset": "earliest"}
    return Consumer(base | {"enable.auto.commit": False} | {k.replace("_", "."): v for k, v in settings.items()})


def read(reader, count, seconds=20):
    """Polls so many records."""
    found = []

    def step():
        message = reader.poll(0.2)
        if message is not None:
            if message.error():
                raise KafkaException(message.error())
            found.append(message)

    until(seconds, lambda: len(found) >= count, step, lambda: f"{len(found)} of {count} records")
    return found


def read_topic(topic, partitions, count, **settings):
    reader = consumer(**settings)
    reader.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(partitions)])
    found = read(reader, count)
    assert reader.poll(0.5) is None, f"{topic}: more than {count} records"
    reader.close()
    return found


def send(topic, pairs, **settings):
    producer = Producer({"bootstrap.servers": BOOTSTRAP, "acks": "all", "linger.ms": 5} | settings)
    wrong = []
    for key, value in pairs:
        producer.produce(topic, value, key, on_delivery=lambda error, _: error and wrong.append(error),
                         headers={"from": NAME})
    assert producer.flush(20) == 0, "not all were delivered"
    assert not wrong, wrong[0]


def administered():
    topic = f"{NAME}-admin"
    make(topic, 2, **{"retention.ms": "86400000"})
    partitions = described(topic)
    assert all(len(p.replicas) == 3 and p.leader in p.replicas for p in partitions), partitions
    assert len(done(admin.describe_topics(TopicCollection([topic])))[topic].partitions) == 2
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    setting = lambda: done(admin.describe_configs([resource]))[resource]["retention.ms"].value
    assert setting() == "86400000", setting()
    change = ConfigEntry("retention.ms", "43200000", incremental_operation=AlterConfigOpType.SET)
    done(admin.incremental_alter_configs([ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[change])]))
    until(10, lambda: setting() == "43200000", lambda: time.sleep(0.05), setting)
    done(admin.create_partitions([NewPartitions(topic, 4)]))
    until(10, lambda: len(described(topic)) == 4, lambda: time.sleep(0.05), lambda: described(topic))
    done(admin.delete_topics([topic]))
    until(10, lambda: topic not in admin.list_topics(timeout=10).topics, lambda: time.sleep(0.05), lambda: "deleted, still listed")
    assert len(admin.describe_cluster().result(10).nodes) == 3


def codec(name):
    topic, sent = f"{NAME}-{name}", records(NAME, 0, 1000)
    make(topic, 3)
    send(topic, sent, **{"compression.type": name})
    found = read_topic(topic, 3, len(sent))
    same(sent, [(message.key(), message.value()) for message in found], name)
    assert all(message.headers() == [("from", NAME.encode())] for message in found), "a header"


def group(protocol):
    topic = f"{NAME}-group-{protocol}"
    make(topic, 4)
    settings = {"group_id": topic, "group_protocol": protocol}
    counts = Counter()
    members = {"first": consumer(**settings)}
    members["first"].subscribe([topic])

    def step():
        for name, member in members.items():
            # One at a time: a batch of librdkafka's may be cut short by a rebalance.
            while (message := member.poll(0.05)) is not None:
                assert not message.error(), message.error()
                counts[name, message.value()] += 1

    def read_until(total):
        until(30, lambda: sum(counts.values()) >= total, step, lambda: f"{sum(counts.values())} of {total}")
        for member in members.values():
            member.commit(asynchronous=False)

    sent = records(NAME, 0, 1600)
    send(topic, sent[:400])
    read_until(400)
    members["second"] = consumer(**settings)
    members["second"].subscribe([topic])
    split = lambda: [len(member.assignment()) for member in members.values()] == [2, 2]
    until(30, split, step, lambda: [member.assignment() for member in members.values()])
    send(topic, sent[400:1200])
    read_until(1200)
    assert {name for name, _ in counts} == {"first", "second"}, "one of two members read everything"
    members.pop("first").close()
    # What is read while partitions change hands, and is not committed, is read again: that is no fault.
    whole = lambda: len(members["second"].assignment()) == 4
    until(30, whole, step, lambda: "the second member did not take over")
    send(topic, sent[1200:])
    read_until(1600)
    members["second"].close()
    each_once(counts, sent)
    done(admin.delete_consumer_groups([topic]))


def seek_by_time():
    topic = f"{NAME}-time"
    make(topic, 1)
    begin = int(time.time() * 1000) - 3_600_000
    producer = Producer({"bootstrap.servers": BOOTSTRAP})
    for i in range(100):
        producer.produce(topic, str(i), partition=0, timestamp=begin + i * 1000)
    assert producer.flush(20) == 0
    reader = consumer()
    place = lambda at: reader.offsets_for_times([TopicPartition(topic, 0, at)], timeout=10)[0]
    assert place(begin + 49_001).offset == 50, place(begin + 49_001)
    assert place(begin + 100_000).offset < 0, place(begin + 100_000)
    reader.assign([place(begin + 50_000)])
    assert [m.value() for m in read(reader, 50)] == [str(i).encode() for i in range(50, 100)]
    reader.close()


def leader_killed():
    topic, total = f"{NAME}-kill", 3000
    make(topic, 3)
    leader = admin.list_topics(topic, timeout=10).topics[topic].partitions[0].leader
    producer = Producer({"bootstrap.servers": BOOTSTRAP, "enable.idempotence": True, "linger.ms": 5})
    acknowledged, found, wrong = set(), [], []

    def delivered(error, message):
        if error:
            wrong.append(error)
        else:
            acknowledged.add(message.value())

    def follow():
        reader = consumer()
        reader.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(3)])
        try:
            found.extend(read(reader, total, 60))
        except Exception as error:
            wrong.append(error)
        reader.close()

    follower = threading.Thread(target=follow)
    follower.start()
    sent = [(str(i % 3), str(i).encode()) for i in range(total)]
    for i, (key, value) in enumerate(sent):
        producer.produce(topic, value, key, partition=i % 3, on_delivery=delivered)
        producer.poll(0.001)
        if i == total // 3:
            node("kill", leader)
        if i == total * 2 // 3:
            node("start", leader)
    assert producer.flush(30) == 0, "not all were delivered"
    follower.join()
    assert not wrong, wrong[0]
    assert len(acknowledged) == total, f"{len(acknowledged)} acknowledged"
    same(sent, [(m.key().decode(), m.value()) for m in found], "read during the kill")
    same(sent, [(m.key().decode(), m.value()) for m in read_topic(topic, 3, total)], "read after it")


def transactions():
    source, target = f"{NAME}-source", f"{NAME}-target"
    make(source, 1)
    make(target, 2)
    send(source, records(NAME, 0, 100))
    reader = consumer(group_id=source)
    reader.subscribe([source])
    settings = {"bootstrap.servers": BOOTSTRAP, "transactional.id": NAME, "transaction.timeout.ms": 30_000}
    producer = Producer(settings)
    producer.init_transactions(30)
    copied = read(reader, 60)
    producer.begin_transaction()
    for message in copied:
        producer.produce(target, message.value(), message.key())
    producer.send_offsets_to_transaction(reader.position(reader.assignment()), reader.consumer_group_metadata(), 30)
    producer.commit_transaction(30)
    producer.begin_transaction()
    for i in range(40):
        producer.produce(target, f"aborted {i}", f"k{i}")
    producer.flush(10)
    producer.abort_transaction(30)
    reader.close()
    # Another with the same id goes on where the group's offsets are, and the first is fenced.
    reader = consumer(group_id=source)
    reader.subscribe([source])
    second = Producer(settings)
    second.init_transactions(30)
    rest = read(reader, 40)
    second.begin_transaction()
    for message in rest:
        second.produce(target, message.value(), message.key())
    second.send_offsets_to_transaction(reader.position(reader.assignment()), reader.consumer_group_metadata(), 30)
    second.commit_transaction(30)
    try:
        producer.begin_transaction()
        producer.produce(target, "of a zombie")
        producer.commit_transaction(30)
        raise AssertionError("the first producer was not fenced")
    except KafkaException as error:
        assert error.args[0].fatal() or error.args[0].txn_requires_abort(), error
    committed = reader.committed([TopicPartition(source, 0)], timeout=10)[0].offset
    assert committed == 100, f"the group's offset is {committed}"
    reader.close()
    pairs = lambda found: [(m.key(), m.value()) for m in found]
    same(records(NAME, 0, 100), pairs(read_topic(target, 2, 100, isolation_level="read_committed")), "committed")
    assert len(read_topic(target, 2, 140, isolation_level="read_uncommitted")) == 140


tell(
    [("admin", administered)]
    + [(name, lambda name=name: codec(name)) for name in CODECS]
    + [
        ("group", lambda: group("classic")),
        ("group-848", lambda: group("consumer")),
        ("time", seek_by_time),
        ("transactions", transactions),
        ("kill", leader_killed),
    ]
)
