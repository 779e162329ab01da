// kafkajs, which asks in the oldest versions of all.

import { spawn } from "node:child_process";
import { compress, decompress, init } from "@bokuweb/zstd-wasm";
import kafkajs from "kafkajs";
import SnappyCodec from "kafkajs-snappy";
import lz4 from "lz4js";
import xxh from "lz4js/xxh32.js";

const { CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = kafkajs;
const NAME = "kafkajs";
const CODECS = { none: "None", gzip: "GZIP", snappy: "Snappy", lz4: "LZ4", zstd: "ZSTD" };

// lz4js does not say of its blocks that they need no others, and Kafka takes no other frames. Of one block it is true.
function independent(frame) {
  frame[4] |= 0x20;
  frame[6] = (xxh.hash(0, frame, 4, 2) >> 8) & 0xff;
  return frame;
}

await init();
CompressionCodecs[CompressionTypes.Snappy] = SnappyCodec;
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async (encoder) => independent(Buffer.from(lz4.compress(encoder.buffer))),
  decompress: async (buffer) => Buffer.from(lz4.decompress(buffer)),
});
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => Buffer.from(compress(encoder.buffer)),
  decompress: async (buffer) => Buffer.from(decompress(buffer)),
});

const kafka = new Kafka({
  clientId: NAME,
  brokers: process.env.BOOTSTRAP.split(","),
  logLevel: logLevel.ERROR,
  retry: { retries: 20, maxRetryTime: 2000 },
});
const admin = kafka.admin();
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function must(holds, what) {
  if (!holds) throw new Error(what);
}

async function until(what, is) {
  for (const end = Date.now() + 60_000; !(await is()); await pause(20)) {
    must(Date.now() < end, `not within 60 s: ${what}`);
  }
}

async function tell(name, check) {
  try {
    await check();
    console.log(`ok ${name}`);
  } catch (error) {
    console.error(error);
    console.log(`failed ${name}: ${String(error).replaceAll("\n", " ")}`);
  }
}

function node(action, number) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.env.NODE, [action, String(number)], { stdio: ["ignore", "ignore", "inherit"] });
    child.on("exit", (status) => (status === 0 ? resolve() : reject(new Error(`${action} of node ${number}`))));
  });
}

function records(first, end) {
  const numbers = Array.from({ length: end - first }, (_, i) => first + i);
  return numbers.map((i) => ({ key: `k${i % 17}`, value: `${NAME} ${i} ${"flight ".repeat(20)}` }));
}

// Each record once, those of a key in the order in which they were sent.
function same(sent, read, what) {
  must(sent.length === read.length, `${what}: ${sent.length} sent, ${read.length} read`);
  for (const key of new Set(sent.map((record) => record.key))) {
    const of = (all) => all.filter((record) => record.key === key).map((record) => record.value).join("\n");
    must(of(sent) === of(read), `${what}: others were read of ${key}, or in another order`);
  }
}

async function partitions(topic) {
  try {
    return (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions;
  } catch {
    return [];
  }
}

async function make(topic, numPartitions) {
  await admin.createTopics({ topics: [{ topic, numPartitions, replicationFactor: 3 }] });
  const led = (found) => found.length === numPartitions && found.every((one) => one.leader > 0);
  await until(`${topic} is there`, async () => led(await partitions(topic)));
}

async function send(topic, messages, compression = "none", settings = {}) {
  const producer = kafka.producer(settings);
  await producer.connect();
  const withHeaders = messages.map((message) => ({ ...message, headers: { from: NAME } }));
  await producer.send({ topic, messages: withHeaders, acks: -1, compression: CompressionTypes[CODECS[compression]] });
  await producer.disconnect();
}

// A consumer that meets an error joins its group anew, and waits until its former self has timed out.
const BEATS = { heartbeatInterval: 500, sessionTimeout: 6000 };

// A member of a group, and what it has read. The consumers of kafkajs are always members.
async function member(groupId, topic, settings = {}) {
  const consumer = kafka.consumer({ groupId, maxWaitTimeInMs: 100, retry: { retries: 50 }, ...BEATS, ...settings });
  const found = { consumer, read: [], assigned: 0 };
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    found.assigned = payload.memberAssignment[topic]?.length ?? 0;
  });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  found.running = consumer.run({
    eachMessage: async ({ partition, message }) => {
      const { key, value, headers, offset } = message;
      found.read.push({ key: String(key), value: String(value), from: String(headers.from), partition, offset });
    },
  });
  return found;
}

async function readTopic(topic, count, settings = {}) {
  const reader = await member(`${topic}-${Date.now()}`, topic, settings);
  await until(`${count} records of ${topic} read`, () => reader.read.length >= count);
  await pause(300);
  await reader.consumer.disconnect();
  must(reader.read.length === count, `${topic}: ${reader.read.length} records instead of ${count}`);
  return reader.read;
}

async function administered() {
  const topic = `${NAME}-admin`;
  await make(topic, 2);
  must((await partitions(topic)).every((one) => one.replicas.length === 3), "three replicas");
  const resource = { type: ConfigResourceTypes.TOPIC, name: topic };
  await admin.alterConfigs({
    validateOnly: false,
    resources: [{ ...resource, configEntries: [{ name: "retention.ms", value: "86400000" }] }],
  });
  await until("retention.ms is as it was set", async () => {
    const asked = { includeSynonyms: false, resources: [{ ...resource, configNames: ["retention.ms"] }] };
    return (await admin.describeConfigs(asked)).resources[0].configEntries[0].configValue === "86400000";
  });
  await admin.createPartitions({ topicPartitions: [{ topic, count: 4 }] });
  await until("four partitions", async () => (await partitions(topic)).length === 4);
  await admin.deleteTopics({ topics: [topic] });
  await until("the topic is gone", async () => !(await admin.listTopics()).includes(topic));
  must((await admin.describeCluster()).brokers.length === 3, "three nodes");
}

async function codec(name) {
  const topic = `${NAME}-${name}`;
  await make(topic, 3);
  await send(topic, records(0, 1000), name);
  const read = await readTopic(topic, 1000);
  same(records(0, 1000), read, name);
  must(read.every((record) => record.from === NAME), "headers");
}

// One member reads; with the second, each record goes to one of the two; without the first, all go to the second.
async function group() {
  const topic = `${NAME}-group`;
  await make(topic, 4);
  // It commits after each fetch, so that the next to have a partition goes on behind what was read.
  const first = await member(topic, topic);
  const take = async (members, begin, end) => {
    await send(topic, records(begin, end));
    const total = () => members.reduce((sum, one) => sum + one.read.length, 0);
    await until(`${end} records read`, () => total() >= end);
  };
  await take([first], 0, 400);
  const second = await member(topic, topic);
  await until("two partitions each", () => first.assigned === 2 && second.assigned === 2);
  await take([first, second], 400, 1200);
  await first.consumer.disconnect();
  await until("four partitions", () => second.assigned === 4);
  await take([first, second], 1200, 1600);
  await second.consumer.disconnect();
  must(first.read.length > 400 && second.read.length > 400, "one of two members read everything");
  const values = [...first.read, ...second.read].map((record) => record.value);
  must(values.length === 1600 && new Set(values).size === 1600, "each record to one member");
  await admin.deleteGroups([topic]);
}

async function seekByTime() {
  const topic = `${NAME}-time`;
  await make(topic, 1);
  const begin = Date.now() - 3_600_000;
  const messages = Array.from({ length: 100 }, (_, i) => ({ value: String(i), timestamp: String(begin + i * 1000) }));
  await send(topic, messages);
  const at = async (time) => Number((await admin.fetchTopicOffsetsByTimestamp(topic, time))[0].offset);
  must((await at(begin + 49_001)) === 50, `offset ${await at(begin + 49_001)} instead of 50`);
  const reader = await member(topic, topic);
  reader.consumer.seek({ topic, partition: 0, offset: String(await at(begin + 50_000)) });
  await until("the last is read", () => reader.read.at(-1)?.value === "99");
  await reader.consumer.disconnect();
  const from50 = reader.read.slice(reader.read.findLastIndex((record) => record.value === "50"));
  must(from50.length === 50, `${from50.length} records from 50 on`);
}

async function leaderKilled() {
  const topic = `${NAME}-kill`;
  await make(topic, 3);
  const leader = (await partitions(topic)).find((one) => one.partitionId === 0).leader;
  const follower = await member(`${topic}-during`, topic);
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1, retry: { retries: 50 } });
  await producer.connect();
  const sent = [];
  for (let i = 0; i < 150; i++) {
    // A send for each partition: of one for several, kafkajs leaves out, when it tries again, what moved to a node that has
    // answered for another partition, and reports it as sent (`brokersWithoutResponse` in its sendMessages.js).
    const messages = Array.from({ length: 21 }, (_, j) => {
      const number = i * 21 + j;
      return { key: String(number % 3), value: String(number), partition: number % 3 };
    });
    for (const partition of [0, 1, 2]) {
      // Once it is acknowledged it must not be lost.
      await producer.send({ topic, messages: messages.filter((one) => one.partition === partition), acks: -1 });
    }
    sent.push(...messages);
    await pause(10);
    if (i === 50) await node("kill", leader);
    if (i === 100) await node("start", leader);
  }
  await producer.disconnect();
  await until("the follower has read all", () => new Set(follower.read.map((one) => one.value)).size >= sent.length);
  await follower.consumer.disconnect();
  same(sent, await readTopic(topic, sent.length), "read after the kill");
}

async function transactions() {
  const [source, target] = [`${NAME}-source`, `${NAME}-target`];
  await make(source, 1);
  await make(target, 2);
  await send(source, records(0, 100));
  const settings = { transactionalId: NAME, maxInFlightRequests: 1, idempotent: true, transactionTimeout: 30_000 };
  const input = await readTopic(source, 100);
  const connected = async () => {
    const producer = kafka.producer(settings);
    await producer.connect();
    return producer;
  };
  const write = async (producer, messages, end) => {
    const transaction = await producer.transaction();
    await transaction.send({ topic: target, messages });
    if (end === "abort") {
      await transaction.abort();
      return;
    }
    const offset = String(end);
    const topics = [{ topic: source, partitions: [{ partition: 0, offset }] }];
    await transaction.sendOffsets({ consumerGroupId: source, topics });
    await transaction.commit();
  };
  const part = (begin, end) => input.slice(begin, end).map(({ key, value }) => ({ key, value }));
  const first = await connected();
  await write(first, part(0, 60), 60);
  await write(first, part(60, 100).map(({ key }) => ({ key, value: "aborted" })), "abort");
  // Another with the same id fences it.
  const second = await connected();
  await write(second, part(60, 100), 100);
  const zombie = await write(first, [{ key: "k", value: "of a zombie" }], 0).then(() => "committed", () => "fenced");
  must(zombie === "fenced", "the first producer was not fenced");
  await second.disconnect();
  await first.disconnect();
  const offsets = await admin.fetchOffsets({ groupId: source, topics: [source] });
  must(offsets[0].partitions[0].offset === "100", `the group's offset is ${offsets[0].partitions[0].offset}`);
  same(records(0, 100), await readTopic(target, 100), "committed");
  const all = await readTopic(target, 140, { readUncommitted: true });
  must(all.filter((record) => record.value === "aborted").length === 40, "the aborted records");
}

await admin.connect();
await tell("admin", administered);
for (const name of Object.keys(CODECS)) await tell(name, () => codec(name));
await tell("group", group);
await tell("time", seekByTime);
if (process.env.TRANSACTIONS === "yes") await tell("transactions", transactions);
await tell("kill", leaderKilled);
await admin.disconnect();
process.exit(0);
