"""kafka-python, which speaks the protocol by itself."""

import threading
import time
from collections import Counter

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from checks import BOOTSTRAP, CODECS, each_once, node, records, same, tell, until

NAME = "kafka-python"
SERVERS = BOOTSTRAP.split(",")
admin = KafkaAdminClient(bootstrap_servers=SERVERS)


def make(topic, partitions, **configs):
    options = {"num_partitions": partitions, "replication_factor": 3, "configs": configs}
    admin.create_topics({topic: options})
    wait_for(lambda: len(described(topic)) == partitions, f"{topic} is not there")


def described(topic):
    found = [p for t in admin.describe_topics([topic]) for p in t["partitions"]]
    return [p for p in found if p["leader_id"] > 0]


def wait_for(done, what):
    until(10, done, lambda: time.sleep(0.05), lambda: what)


def consumer(**settings):
    base = {"bootstrap_servers": SERVERS, "auto_offset_reset": "earliest", "enable_auto_commit": False}
    return KafkaConsumer(**(base | settings))


def poll(reader):
    return [record for of_one in reader.poll(200).values() for record in of_one]


def read(reader, count, seconds=20):
    found = []
    until(seconds, lambda: len(found) >= count, lambda: found.extend(poll(reader)), lambda: f"{len(found)} of {count}")
    return found


def read_topic(topic, partitions, count, **settings):
    reader = consumer(**settings)
    reader.assign([TopicPartition(topic, p) for p in range(partitions)])
    found = read(reader, count)
    assert len(found + poll(reader)) == count, f"{topic}: more than {count} records"
    reader.close()
    return found


def send(topic, pairs, **settings):
    producer = KafkaProducer(bootstrap_servers=SERVERS, acks="all", linger_ms=5, **settings)
    sends = [producer.send(topic, value, key, headers=[("from", NAME.encode())]) for key, value in pairs]
    producer.flush(20)
    for future in sends:
        future.get(20)
    producer.close()


def pairs(found):
    return [(record.key, record.value) for record in found]


def administered():
    topic = f"{NAME}-admin"
    make(topic, 2, **{"retention.ms": "86400000"})
    assert all(len(p["replica_nodes"]) == 3 for p in described(topic)), described(topic)
    setting = lambda: _setting(topic, "retention.ms")
    assert setting() == "86400000", setting()
    admin.alter_configs([ConfigResource("TOPIC", topic, {"retention.ms": "43200000"})])
    wait_for(lambda: setting() == "43200000", "the setting is as it was")
    admin.create_partitions({topic: 4})
    wait_for(lambda: len(described(topic)) == 4, "not four partitions")
    admin.delete_topics([topic])
    wait_for(lambda: topic not in admin.list_topics(), "deleted, still listed")
    assert len(admin.describe_cluster()["brokers"]) == 3


def _setting(topic, name):
    told = admin.describe_configs([ConfigResource("TOPIC", topic, {name: None})], config_filter="all")
    return told["topic"][topic][name]["value"]


def codec(name):
    topic, sent = f"{NAME}-{name}", records(NAME, 0, 1000)
    make(topic, 3)
    send(topic, sent, compression_type=None if name == "none" else name)
    found = read_topic(topic, 3, len(sent))
    same(sent, pairs(found), name)
    assert all(list(record.headers) == [("from", NAME.encode())] for record in found), "a header"


class Member(threading.Thread):
    """A member of a group, polled by a thread of its own without a pause.

    kafka-python forgets a join that was completed while nobody polled, and joins again: members that one thread polls in turn
    may rebalance for ever."""

    def __init__(self, name, topic, counts):
        super().__init__(daemon=True)
        self.name, self.counts, self.error, self.owned = name, counts, None, set()
        # Shorter than the check waits. A goodbye is said once, and is lost where the coordinator moves just then, as it does
        # when a node that was killed takes its leaders back.
        self.reader = consumer(group_id=topic, client_id=f"{topic}-{name}", session_timeout_ms=10_000)
        self.reader.subscribe([topic])
        self.commit, self.leave = threading.Event(), threading.Event()
        self.start()

    def run(self):
        try:
            while not self.leave.is_set():
                for record in poll(self.reader):
                    self.counts[self.name, record.value] += 1
                self.owned = self.reader.assignment()
                if self.commit.is_set():
                    self.reader.commit()
                    self.commit.clear()
            self.reader.close()
        except Exception as error:
            self.error = error

    def close(self):
        self.leave.set()
        self.join(30)
        assert not self.is_alive() and not self.error, self.error or f"{self.name} does not leave"


def group():
    topic = f"{NAME}-group"
    make(topic, 4)
    counts = Counter()
    members = {"first": Member("first", topic, counts)}

    def wait(seconds, done, what):
        def step():
            time.sleep(0.02)
            for one in members.values():
                assert not one.error, one.error

        until(seconds, done, step, what)

    def read_until(total):
        wait(30, lambda: counts.total() >= total, lambda: f"{counts.total()} of {total}")
        for one in members.values():
            one.commit.set()
        wait(10, lambda: not any(one.commit.is_set() for one in members.values()), lambda: "offsets are not committed")

    sent = records(NAME, 0, 1600)
    send(topic, sent[:400])
    read_until(400)
    members["second"] = Member("second", topic, counts)
    split = lambda: [len(one.owned) for one in members.values()] == [2, 2]
    wait(30, split, lambda: [one.owned for one in members.values()])
    send(topic, sent[400:1200])
    read_until(1200)
    assert {name for name, _ in counts} == {"first", "second"}, "one of two members read everything"
    members.pop("first").close()
    # What is read while partitions change hands, and is not committed, is read again: that is no fault.
    wait(30, lambda: len(members["second"].owned) == 4, lambda: "the second member did not take over")
    send(topic, sent[1200:])
    read_until(1600)
    members["second"].close()
    each_once(counts, sent)
    admin.delete_groups([topic])


def seek_by_time():
    topic = f"{NAME}-time"
    make(topic, 1)
    begin = int(time.time() * 1000) - 3_600_000
    producer = KafkaProducer(bootstrap_servers=SERVERS)
    for i in range(100):
        producer.send(topic, str(i).encode(), partition=0, timestamp_ms=begin + i * 1000)
    producer.flush(20)
    producer.close()
    reader, place = consumer(), TopicPartition(topic, 0)
    reader.assign([place])
    at = lambda when: reader.offsets_for_times({place: when})[place]
    assert at(begin + 49_001).offset == 50, at(begin + 49_001)
    assert at(begin + 100_000) is None, at(begin + 100_000)
    reader.seek(place, at(begin + 50_000).offset)
    assert [record.value for record in read(reader, 50)] == [str(i).encode() for i in range(50, 100)]
    reader.close()


def leader_killed():
    topic, total = f"{NAME}-kill", 3000
    make(topic, 3)
    leader = next(p["leader_id"] for p in described(topic) if p["partition_index"] == 0)
    producer = KafkaProducer(bootstrap_servers=SERVERS, enable_idempotence=True, linger_ms=5)
    found, wrong = [], []

    def follow():
        try:
            reader = consumer()
            reader.assign([TopicPartition(topic, p) for p in range(3)])
            found.extend(read(reader, total, 60))
            reader.close()
        except Exception as error:
            wrong.append(error)

    follower = threading.Thread(target=follow)
    follower.start()
    sent, sends = [(str(i % 3).encode(), str(i).encode()) for i in range(total)], []
    for i, (key, value) in enumerate(sent):
        sends.append(producer.send(topic, value, key, partition=i % 3))
        time.sleep(0.001)
        if i == total // 3:
            node("kill", leader)
        if i == total * 2 // 3:
            node("start", leader)
    producer.flush(30)
    for future in sends:
        future.get(30)
    producer.close()
    follower.join()
    assert not wrong, wrong[0]
    same(sent, pairs(found), "read during the kill")
    same(sent, pairs(read_topic(topic, 3, total)), "read after it")


def transactions():
    source, target = f"{NAME}-source", f"{NAME}-target"
    make(source, 1)
    make(target, 2)
    send(source, records(NAME, 0, 100))
    settings = {"bootstrap_servers": SERVERS, "transactional_id": NAME, "transaction_timeout_ms": 30_000}

    def copy(reader, producer, count):
        copied = read(reader, count)[:count]
        producer.begin_transaction()
        for record in copied:
            producer.send(target, record.value, record.key)
        end = OffsetAndMetadata(copied[-1].offset + 1, "", -1)
        producer.send_offsets_to_transaction({TopicPartition(source, 0): end}, reader.group_metadata())
        producer.commit_transaction()

    reader = consumer(group_id=source, max_poll_records=20)
    reader.subscribe([source])
    first = KafkaProducer(**settings)
    first.init_transactions()
    copy(reader, first, 60)
    first.begin_transaction()
    for i in range(40):
        first.send(target, f"aborted {i}".encode(), f"k{i}".encode())
    first.flush(10)
    first.abort_transaction()
    reader.close()
    # Another with the same id goes on where the group's offsets are, and the first is fenced.
    reader = consumer(group_id=source, max_poll_records=20)
    reader.subscribe([source])
    second = KafkaProducer(**settings)
    second.init_transactions()
    copy(reader, second, 40)
    try:
        first.begin_transaction()
        first.send(target, b"of a zombie").get(30)
        first.commit_transaction()
    except KafkaError:
        pass
    else:
        raise AssertionError("the first producer was not fenced")
    # A transaction has ended when its outcome is decided; its offsets are there once its markers are.
    wait_for(lambda: reader.committed(TopicPartition(source, 0)) == 100, "the group's offsets are not there")
    reader.close()
    second.close()
    first.close(timeout=1)
    committed = read_topic(target, 2, 100, isolation_level="read_committed")
    same(records(NAME, 0, 100), pairs(committed), "committed")
    assert len(read_topic(target, 2, 140)) == 140


tell(
    [("admin", administered)]
    + [(name, lambda name=name: codec(name)) for name in CODECS]
    + [("group", group), ("time", seek_by_time), ("transactions", transactions), ("kill", leader_killed)]
)
