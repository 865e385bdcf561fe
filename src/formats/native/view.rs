//! What a record and a segment header say, field by field.

use super::layout::{self, RECORD_HEADER, SegmentHeader};
use super::payload::{CLOSE, CONT, Checkpoint, Commit, MORE, RecordKind, Seal, SetLen, Write};
use crate::format::{Fields, Position, Record, Role, Seen, TargetState, Value};

/// The kinds that a dump can show; PAD is fill, not a record.
pub(super) const KINDS: &[&str] = &["write", "setlen", "data", "checkpoint", "commit", "seal"];

/// The kind and the flags of a record that a scan has lent. The scan has checked the header: a record whose sum fails is none.
pub fn kind_and_flags(record: &Record<'_>) -> Option<(RecordKind, u8)> {
    let head: &[u8; RECORD_HEADER] = record.head.first_chunk()?;
    Some((RecordKind::from_u8(head[layout::record::KIND])?, head[layout::record::FLAGS]))
}

pub(super) fn kind(record: &Record<'_>) -> Option<RecordKind> {
    Some(kind_and_flags(record)?.0)
}

pub(super) fn describe(record: &Record<'_>, out: &mut dyn Fields) {
    let Some((kind, flags)) = kind_and_flags(record) else { return };
    let payload = record.payload;
    let flag = |bit: u8| flags & bit != 0;
    match kind {
        RecordKind::Write => {
            let Some(write) = Write::parse(payload) else { return };
            out.field("target_offset", Value::Number(write.offset));
            out.field("bytes", Value::Number(write.bytes.len() as u64));
        }
        RecordKind::SetLen => {
            let Some(set_len) = SetLen::parse(payload) else { return };
            out.field("target_len", Value::Number(set_len.len));
        }
        RecordKind::Data => {
            out.field("bytes", Value::Number(payload.len() as u64));
            for (name, bit) in [("continues", CONT), ("more", MORE)] {
                if flag(bit) {
                    out.field(name, Value::Flag(true));
                }
            }
        }
        RecordKind::Checkpoint => {
            let Some(checkpoint) = Checkpoint::parse(payload) else { return };
            out.field("redo_lsn", Value::Text(&Position::SegmentOffset(checkpoint.redo_lsn.0)));
            out.field("target_len", Value::Number(checkpoint.target_len));
            if let Some(state) = &checkpoint.state {
                describe_state(state, out);
            }
        }
        RecordKind::Commit => {
            let Some(commit) = Commit::parse(payload) else { return };
            out.field("time", Value::Time(commit.time_ns));
            out.field("first_off", Value::Number(commit.first_off.into()));
            out.field("durable_off", Value::Number(commit.durable_off.into()));
            if flag(CLOSE) {
                out.field("close", Value::Flag(true));
            }
        }
        RecordKind::Seal => {
            let Some(seal) = Seal::parse(payload) else { return };
            out.field("next_segment", Value::Number(seal.next_number.into()));
            out.field("next_nonce", Value::Hex(seal.next_nonce));
        }
        RecordKind::Pad => {}
    }
}

fn describe_state(state: &TargetState, out: &mut dyn Fields) {
    out.field("target_crc", Value::Hex(state.crc));
    let name = match state.role {
        Role::Fact(_) => "fact",
        Role::Intent => "intent",
    };
    out.field("state", Value::Text(&name));
    if let Role::Fact(Some(Seen { inode, times })) = state.role {
        out.field("inode", Value::Number(inode));
        out.field("modified", Value::Time(times.modified_ns));
        out.field("changed", Value::Time(times.changed_ns));
    }
}

pub(super) fn describe_header(header: &SegmentHeader, out: &mut dyn Fields) {
    out.field("number", Value::Number(header.number.into()));
    out.field("log_id", Value::Bytes(&header.log_id));
    out.field("target_id", Value::Bytes(&header.target_id));
    out.field("nonce", Value::Hex(header.nonce));
    out.field("prev_nonce", Value::Hex(header.prev_nonce));
    out.field("prev_end", Value::Number(header.prev_end.into()));
    out.field("first_transaction", Value::Number(header.first_transaction));
    out.field("redo_lsn", Value::Text(&Position::SegmentOffset(header.redo_lsn.0)));
    out.field("created", Value::Time(header.created_ns));
}
