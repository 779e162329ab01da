"""What the Python clients share: how a check is told, and what is sent and must come back."""

import os
import subprocess
import sys
import time
import traceback
from collections import Counter

BOOTSTRAP = os.environ["BOOTSTRAP"]
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def tell(checks):
    """Runs checks, pairs of a name and a function, and prints a line for each; transactions only where they are served."""
    for name, check in checks:
        if name == "transactions" and os.environ["TRANSACTIONS"] != "yes":
            continue
        try:
            check()
            print(f"ok {name}", flush=True)
        except Exception as error:
            traceback.print_exc()
            print(f"failed {name}: {type(error).__name__}: {error}".replace("\n", " "), flush=True)
    sys.stdout.flush()


def node(action, number):
    """Kills or starts a node."""
    subprocess.run([os.environ["NODE"], action, str(number)], check=True)


def records(client, first, end):
    """Keys and values that compress well."""
    return [(f"k{i % 17}".encode(), (f"{client} {i} " + "flight " * 20).encode()) for i in range(first, end)]


def same(sent, read, what):
    """Each record once, and those of a key in the order in which they were sent."""
    assert Counter(sent) == Counter(read), f"{what}: {len(sent)} sent, {len(read)} read, or others"
    for key in {key for key, _ in sent}:
        of_key = lambda all: [value for name, value in all if name == key]
        assert of_key(sent) == of_key(read), f"{what}: another order of {key}"


def each_once(counts, sent):
    """Each record went to one member, by counts of pairs of a member and a value."""
    read = Counter()
    for (_, value), times in counts.items():
        read[value] += times
    twice = sum(times > 1 for times in read.values())
    missing = sum(value not in read for _, value in sent)
    assert (twice, missing, len(read)) == (0, 0, len(sent)), f"{twice} records read twice, {missing} never"


def until(seconds, done, step, what):
    """Steps until it is done."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"not within {seconds} s: {what()}"
        step()
