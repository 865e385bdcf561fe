#!/usr/bin/env python3
"""A reader of WALT1 that follows docs/formats/native.md rule by rule: H6, R1 and so on are their numbers.

    walt1.py LOG...     each is a directory of segments, or the file of one
    walt1.py -          the paths are lines of standard input, and each is answered at once

It prints a line of JSON for the log (what it comes to), and one for each valid record.
"""
import json
import os
import re
import sys
from struct import unpack, unpack_from
from zlib import crc32

BLOCK, AREA, START, NO_LIMIT = 32768, 4096, 8192, 1 << 64
KINDS = ["write", "setlen", "data", "checkpoint", "commit", "seal", "pad"]
WRITE, SETLEN, DATA, CHECKPOINT, COMMIT, SEAL, PAD = range(1, 8)
FLAGS, CLOSE, STATE = {DATA: 1 | 2, CHECKPOINT: 8, COMMIT: 4}, 4, 8


class Unread(Exception):
    """The log is newer than this reader, or holds several logs."""


def u32(data, at):
    return unpack_from("<I", data, at)[0]


def rest_of_block(at):
    return BLOCK - at % BLOCK


def is_checkpoint(body, flags):
    if not flags & STATE:
        return len(body) == 16
    return len(body) in (24, 48) and u32(body, 20) in ((1, 2) if len(body) == 24 else (1,))


def file_body(file, at, record):
    return file[at + 24:at + 24 + record[2]]


class Header:
    def __init__(self, data):
        self.data = data = data[:128]
        sound = len(data) == 128 and data[:8] == b"\x89WALT\r\n\x1a" and crc32(data[:124]) == u32(data, 124)  # H1, H2
        self.newer = sound and (u32(data, 8) != 128 << 16 | 1 or u32(data, 12) != 0)  # H3, H4
        self.valid = sound and not self.newer and not any(data[52:56]) and not any(data[96:124])  # H5
        if self.valid:
            self.number, self.log_id, self.nonce, self.prev_nonce, self.prev_end = unpack_from("<I16sIII", data, 20)
            self.first, self.redo = unpack_from("<QQ", data, 56)


def header_of(file, number):  # H6
    valid = [copy for copy in (Header(file[:128]), Header(file[AREA:AREA + 128])) if copy.valid]
    return next((copy for copy in valid if copy.number == number), valid[0] if valid else None)


class Segment:
    """What the bytes of one file are: `found` is a list of (what, from, to, detail)."""

    def __init__(self, name, number, file, before, next_file, log_id, alone):
        self.name, self.file, self.number, self.before, self.log_id = name, file, number or 0, before, log_id
        self.named, self.alone, self.header = number, alone, header_of(file, number)
        self.next = header_of(next_file, self.number + 1) if next_file else None
        self.nonce = self.seal = self.last = None
        self.transaction, self.promise, self.limit = 0, START, NO_LIMIT
        self.found, self.claims, self.hidden, self.contradicted = [], [], [], False
        self.set_aside = not self.headers()
        if self.set_aside:
            return
        at = START
        while at < len(file):
            at = self.record(at) if at < self.limit else self.after_limit(at)
        if len(file) < (self.limit if self.limit < NO_LIMIT and len(file) >= START else START):
            self.damage(len(file), len(file))  # D3
        elif self.seal and next_file is None and self.seal[0] > self.number and not alone:
            self.found.append(("gap", len(file), len(file), None))  # C8

    def add(self, what, start, end, detail=None):
        self.found.append((what, start, end, detail))
        return end

    def damage(self, start, end):
        self.transaction = 0
        return self.add("damage", start, end)

    def headers(self):
        header, file = self.header, self.file
        if len(file) < AREA:  # H7
            return self.add("damage", 0, len(file)) == len(file)
        if Header(file).newer:  # H8
            raise Unread("newer")
        gap = header and self.gap(header)
        if gap:
            self.add("gap", 0, 0, gap)
        if gap == "foreign" or gap == "misplaced" and not self.alone:  # C3
            return self.add("stale", 0, len(file)) is None
        if header:
            self.number, self.nonce, self.transaction = header.number, header.nonce, header.first
            self.log_id = self.log_id or header.log_id
        elif self.follows():  # C5
            self.nonce = self.next.prev_nonce
        elif self.before and self.before.seal and self.before.seal[0] == self.number:
            self.nonce = self.before.seal[1]
        self.set_limit()
        for at in (0, AREA):  # H7
            area, complete = file[at:at + AREA], len(file) >= at + AREA
            if complete and Header(area).newer:
                raise Unread("newer")
            good = complete and header and area[:128] == header.data and not any(area[128:])
            self.add("header" if good else "damage", at, at + len(area))
        return True

    def gap(self, header):  # C2
        before = self.before
        if self.named not in (None, header.number):
            return "misplaced"
        if self.log_id not in (None, header.log_id):
            return "foreign"
        if before and header.number != before.named + 1:
            return "missing"
        if before and before.nonce not in (None, header.prev_nonce):
            return "forked"
        if before and before.limit <= len(before.file) and all(what != "damage" for what, *_ in before.found):
            end, following = before.last or (START, before.header.first)
            if end != header.prev_end:
                return "end-mismatch"
            if following != header.first:
                return "transaction-mismatch"
        return "redo-ahead" if header.redo > header.number << 32 | START and not self.alone else None

    def follows(self):
        return self.next and self.log_id in (None, self.next.log_id) and self.next.number == self.number + 1

    def set_limit(self):  # C6
        if self.follows() and self.next.prev_nonce == self.nonce:
            self.promise = self.limit = max(self.next.prev_end, START)

    def parse(self, at, head=None):
        """R2 to R5: kind, flags, length, CRC of the payload, end."""
        head = self.file[at:at + 24] if head is None else head
        if len(head) < 24 or crc32(head[:20]) != u32(head, 20):
            return None
        magic, kind, flags, length, zero, nonce, offset, crc = unpack_from("<2sBBHHIII", head)
        if magic != b"\x9d\xe7" or zero or kind == 0 or length > 32744 or offset != at:
            return None
        if self.nonce is None and head == self.file[at:at + 24]:  # S9
            self.nonce = nonce
            self.set_limit()
        end = at + 24 + (length + 7) // 8 * 8
        return (kind, flags, length, crc, end) if nonce == self.nonce and end - at <= rest_of_block(at) else None

    def payload(self, at, record, limit=NO_LIMIT):
        """R6 and R7: what the record carries; None where it is not valid."""
        kind, flags, length, crc, end = record
        body = self.file[at + 24:min(end, limit)]
        if len(body) != end - at - 24 or crc32(body) != crc:
            return None
        valid = {WRITE: length > 8, SETLEN: length == 8, DATA: True, COMMIT: length == 24, SEAL: length == 8, PAD: not any(body)}
        valid[CHECKPOINT] = is_checkpoint(body[:length], flags)
        payload = body[:length] if valid.get(kind) else None
        return None if payload and self.is_ahead(at, kind, payload) else payload

    def is_ahead(self, at, kind, payload):  # R9
        if kind == COMMIT:
            return max(unpack_from("<II", payload, 16)) > at
        return kind == CHECKPOINT and self.header and unpack_from("<Q", payload)[0] > self.number << 32 | at

    def headers_within(self, start, end):
        at = self.file.find(b"\x9d\xe7", start, end)
        while at >= 0:
            record = self.parse(at) if self.nonce is not None and at + 24 <= end else None
            if record:
                yield at, record
            at = self.file.find(b"\x9d\xe7", at + 1, end)

    def record(self, at):
        file, rest = self.file, rest_of_block(at)
        block_end = min(at + rest, len(file))
        if rest < 24:  # S2
            return self.damage(at, block_end) if any(file[at:block_end]) else self.add("padding", at, block_end)
        record = self.parse(at)
        end = min(block_end, self.limit)
        if record and record[4] <= len(file) and crc32(file[at + 24:record[4]]) == record[3]:  # S3
            return self.intact(at, record)
        if not any(file[at:end]):  # S4
            self.transaction = 0
            return self.add("unwritten" if self.limit == NO_LIMIT else "damage", at, end)
        if record:  # S5
            if not any(other < min(record[4], len(file)) for other, _ in self.headers_within(at + 1, end)):
                return self.damaged(at, record)
        else:
            record = self.put_back(at)
            if record:  # S6
                self.testify(self.payload(at, record), record)
                return self.damaged(at, record)
        for other, record in self.headers_within(at + 1, end):  # S8
            commit = self.testify(self.payload(other, record, end), record)
            if commit:
                self.hidden.append(commit)
                self.claims += [record[4]] if commit[1] < other or not record[1] & CLOSE else []
        used = len(file[at:end].rstrip(b"\0"))  # S7
        return self.damage(at, min(at + (used + 7) // 8 * 8, end))

    def put_back(self, at):
        head = self.file[at:at + 24]
        for bit in range(192 if len(head) == 24 else 0):
            record = self.parse(at, head[:bit // 8] + bytes([head[bit // 8] ^ 1 << bit % 8]) + head[bit // 8 + 1:])
            if record and self.nonce is not None:
                return record

    def testify(self, payload, record):
        if payload and record[0] == COMMIT:
            transaction, _, first, durable = unpack("<QQII", payload)
            self.promise = max(self.promise, durable)
            return transaction, first

    def damaged(self, at, record):
        kind, flags, _, _, end = record
        end = min(end, len(self.file))
        if kind == COMMIT and not flags & CLOSE:
            self.claims.append(end)
        return self.damage(at, end)

    def intact(self, at, record):
        kind, flags, _, _, end = record
        if kind > PAD or flags & ~FLAGS.get(kind, 0):  # R8
            raise Unread("newer")
        payload, transaction, commit = self.payload(at, record), self.transaction, None
        if payload is None:
            body = file_body(self.file, at, record)
            well_formed = kind == COMMIT and len(body) == 24 or kind == CHECKPOINT and is_checkpoint(body, flags)
            self.contradicted |= bool(well_formed and self.is_ahead(at, kind, body))  # V3
            return self.damage(at, end)
        if kind == PAD:
            return self.add("padding", at, end)
        if kind == COMMIT:
            transaction, first = self.testify(payload, record)
            counts = not flags & CLOSE or first < at  # T2
            commit, self.transaction, self.last = (first, counts), transaction + 1, (end, transaction + 1)
        if kind == SEAL:
            self.seal, transaction = unpack("<II", payload), 0
            self.promise = max(self.promise, at if at % BLOCK else at - 24)  # T4
        return self.add("record", at, end, (kind, transaction, commit, payload))

    def after_limit(self, at):  # C7
        rest = rest_of_block(self.limit)
        place = self.limit if rest >= 32 else self.limit + rest
        pad, seal = self.parse(self.limit), self.parse(place)
        filled = at == place or not any(self.file[at:place]) or pad and pad[0] == PAD
        if at <= place and filled and seal and seal[0] == SEAL and self.payload(place, seal) == self.next.data[20:24] + self.next.data[40:44]:
            if place > at:
                self.add("padding", at, place)
            return self.add("record", place, place + 32, (SEAL, 0, None, b""))
        end = min(at + rest_of_block(at), len(self.file))
        if any(self.is_of_another(*record) for record in [(at, self.parse(at)), *self.headers_within(at + 1, end)]):  # C9
            self.contradicted = True
            return self.damage(at, end)
        return self.add("stale" if any(self.file[at:end]) else "unwritten", at, end)

    def is_of_another(self, at, record):  # C9
        payload = record and record[0] in (COMMIT, SEAL) and self.payload(at, record)
        if not payload:
            return False
        if record[0] == COMMIT:
            return u32(payload, 20) > self.limit
        return payload != self.next.data[20:24] + self.next.data[40:44]

    def spans(self):  # D1, D2
        spans, doubt = [], []
        for span in self.found:
            what, start, end, _ = span
            if what in ("record", "header"):
                fill = [doubt.pop()] if doubt and doubt[-1][0] == "padding" else []
                spans += [("damage", doubt[0][1], doubt[-1][2], None)] if doubt else []
                spans, doubt = spans + fill + [span], []
            elif what == "gap":
                spans, doubt = spans + doubt + [span], []
            elif doubt and doubt[-1][0] == what:
                doubt[-1] = (what, doubt[-1][1], end, None)
            else:
                (doubt if doubt or what != "padding" else spans).append(span)
        return spans + doubt


def segments_of(path):
    alone = not os.path.isdir(path)
    names = [os.path.basename(path)] if alone else sorted(os.listdir(path))
    numbers = {name: int(name[:8], 16) for name in names if re.fullmatch(r"[0-9a-f]{8}\.wal", name)}
    names = names if alone else [name for name in names if numbers.get(name)]  # F1, F2
    files = [open(path if alone else os.path.join(path, name), "rb").read() for name in names]
    heads = [header_of(file, numbers.get(name)) for name, file in zip(names, files)]
    ids = [head.log_id for name, head in zip(names, heads) if head and head.number == numbers.get(name)]
    log_id = next((one for one in ids if ids.count(one) * 2 > len(ids)), None) if not alone else None  # C1
    if ids and not alone and log_id is None:
        raise Unread("refused")
    segments, before = [], None
    for index, name in enumerate(names):
        following = files[index + 1] if index + 1 < len(names) else None
        segment = Segment(name, numbers.get(name), files[index], before, following, log_id, alone)
        segments.append(segment)
        foreign = segment.set_aside and any(span[3] == "foreign" for span in segment.found)
        before = before if foreign and before is None else segment  # C2
    if not alone and lacks_beginning(segments, log_id):
        segments[0].found.insert(0, ("gap", 0, 0, "missing"))
    return segments


def lacks_beginning(segments, log_id):  # C4
    own = [s for s in segments if s.header and (s.header.number, s.header.log_id) == (s.named, log_id)]
    redo = [s.header.redo >> 32 for s in own]
    first = next((s.named for s in segments if s in own or not s.header or s.header.number != s.named), 0)
    for segment in segments:
        said, floor = None, 0
        for what, start, end, detail in segment.spans():
            floor = end if what == "damage" else floor
            if what == "record" and detail[0] == CHECKPOINT:
                said = (start, unpack_from("<Q", detail[3])[0] >> 32)
            if what == "record" and detail[2]:
                redo += [said[1]] if said and floor <= detail[2][0] <= said[0] else []
                said = None
    return own and first > max(redo)


def report(path):
    try:
        segments = segments_of(path)
    except Unread as why:
        return [{"verdict": str(why)}]
    keys = ["records", "transactions", "salvageable", "salvageable_transactions", "undecided", "stale_bytes"]
    count, lines, damage = dict.fromkeys(keys, 0), [], []
    valid = committed = {"file": segments[0].name, "offset": 0}
    gap = fault = corrupt = False
    any_commit, hurt = False, False
    for segment in segments:
        floor, tear, following, behind, hurt_here = 0, None, None, list(segment.hidden), False
        for what, start, end, detail in segment.spans():
            if what == "record":
                kind, transaction, commit, _ = detail
                entry = {"file": segment.name, "offset": start, "len": end - start}
                lines.append({**entry, "kind": KINDS[kind - 1], "transaction": transaction or None})
                count["salvageable" if damage else "records"] += 1
                valid = valid if damage else {"file": segment.name, "offset": end}
                if commit and commit[0] >= floor:  # T3
                    count["salvageable_transactions" if damage else "transactions"] += commit[1]
                    committed, any_commit = (committed, any_commit) if damage else (valid, True)
                if commit and damage:
                    behind.append((transaction, commit[0]))
                elif commit and commit[1]:
                    following = transaction + 1
                if commit and commit[1]:
                    segment.claims.append(end)
            elif what == "header":
                corrupt |= hurt  # V4
                if not damage:
                    valid, following = {"file": segment.name, "offset": end}, segment.header.first
                    committed = committed if any_commit else valid
            elif what in ("damage", "gap"):
                tear = (start, following) if not damage and what == "damage" else tear
                damage.append({"file": segment.name, "offset": start, "len": end - start})
                gap, fault = gap or what == "gap", fault or what == "damage"
                floor, hurt_here = (end, True) if what == "damage" else (floor, hurt_here)
            elif what == "stale":
                count["stale_bytes"] += end - start
            corrupt |= what in ("damage", "unwritten") and start < segment.promise and not segment.set_aside  # V2
        if tear and tear[1] is not None and behind:  # A1
            number, first = min(behind, key=lambda commit: (commit[0], -commit[1]))
            corrupt |= number == tear[1] and first > tear[0] >= START and first != tear[0] + rest_of_block(tear[0])
        corrupt |= segment.contradicted  # V3
        count["undecided"] += sum(end > segment.promise for end in segment.claims)
        hurt |= hurt_here
    verdict = "corrupt" if fault and corrupt else "incomplete" if gap else "torn-tail" if fault else "clean"
    return [{"verdict": verdict, **count, "valid_end": valid, "committed_end": committed, "damage": damage}] + lines


if __name__ == "__main__":
    for line in sys.stdin if sys.argv[1:] == ["-"] else sys.argv[1:]:
        print("\n".join(json.dumps(answer) for answer in report(line.rstrip("\n"))), flush=True)
